"""Colonoscopy frames of Liu et al. (2020), the private data of chapters 3 to 5."""

import re
from pathlib import Path
from typing import ClassVar

from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.datasets.filelist import image_files, relative
from thesislib.errors import InputError

_NAME = re.compile(r"(normal|abnormal)_(?:.*_)?(\d+)\.\w+", re.IGNORECASE)


class LiuColonoscopy(Adapter):
    """Frames of 18 colonoscopies of 15 patients, thesis Section 4.3.1.

    Source: not public; from the authors (Liu et al., "Photoshopping colonoscopy video
    frames", ISBI 2020). Licence: as they agree.

    Folder: one flat folder a role, `train/`, `test/` and optionally `val/`, each with
    files `normal_<int>.<ending>` and `abnormal_<int>.<ending>`, as the authors' code
    for FSAD-Net reads them. That code labels normal 1 and abnormal 0; here, as
    everywhere, normal is 0 and abnormal 1.

    Counts: 13,250 normal for training; 677 normal and 290 polyp frames for testing;
    100 normal for validation, not used. Splits are patient-disjoint by the authors;
    no patient ids are published. Frames are 64 x 64 px. No masks.
    """

    name = "liu-colonoscopy"
    title = "Liu et al.'s colonoscopy frames"
    modality = "colonoscopy"
    url = "https://github.com/tianyu0207/FSAD-Net"
    licence = "private, as agreed with the authors"
    fetch = "them from the authors (they are not public)"
    layout = "train/normal_<int>.* and test/{normal,abnormal}_<int>.*"
    folders = ("liu-colonoscopy", "liu_colonoscopy", "Colonoscopy")
    published: ClassVar = {
        "train normal": 13_250,
        "test normal": 677,
        "test abnormal": 290,
    }

    def locate(self, folder: Path) -> Path | None:
        if not all((folder / part).is_dir() for part in ("train", "test")):
            return None
        names = (path.name for path in (folder / "test").iterdir())
        return folder if any(map(_NAME.fullmatch, names)) else None

    def listing(self, folder: Path) -> Listing:
        items, notes, unused = [], [], 0
        for split in ("train", "test"):
            for path in sorted(image_files(folder / split), key=_order):
                kind = _match(path)[1].lower()
                if (split, kind) == ("train", "abnormal"):
                    unused += 1  # chapter 10 learns from a few of them
                    continue
                items.append(
                    Item(
                        id=relative(path, folder),
                        path=path,
                        split=split,
                        label=int(kind == "abnormal"),
                        kind="polyp" if kind == "abnormal" else NORMAL,
                    )
                )
        if unused:
            notes.append(f"{unused} abnormal training images are not used")
        if (folder / "val").is_dir():
            notes.append("the validation images in val/ are not used")
        return Listing(
            items=tuple(items), rule="folders train and test", notes=tuple(notes)
        )


def _match(path: Path) -> re.Match:
    if match := _NAME.fullmatch(path.name):
        return match
    raise InputError(
        f"{path} is named neither normal_<int> nor abnormal_<int>, so its label is "
        "not known."
    )


def _order(path: Path) -> tuple[int, str]:
    """Frames in the order of their numbers: 2 before 10."""
    return int(_match(path)[2]), path.name
