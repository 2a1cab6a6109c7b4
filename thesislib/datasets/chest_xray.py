"""Chest X-rays of children with and without pneumonia (Kermany et al., 2018)."""

import re
from pathlib import Path
from typing import ClassVar

from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.datasets.filelist import image_files, relative
from thesislib.errors import InputError

_PATIENT = (
    re.compile(r"(person\d+)_", re.IGNORECASE),  # person1_bacteria_1.jpeg
    re.compile(r"((?:NORMAL2-)?IM-\d+)-", re.IGNORECASE),  # NORMAL2-IM-0019-0001.jpeg
    re.compile(r"(?:NORMAL|BACTERIA|VIRUS)-(\d+)-", re.IGNORECASE),  # Mendeley v3
)


class ChestXray(Adapter):
    """Kermany chest X-rays, the second dataset of SALAD.

    Source: Kermany, Zhang, Goldbaum, "Labeled Optical Coherence Tomography (OCT)
    and Chest X-Ray Images for Classification", Mendeley Data, doi
    10.17632/rscbjbr9sj; on Kaggle `paultimothymooney/chest-xray-pneumonia`.
    Licence: CC BY 4.0.

    Folder: `chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg`, on Kaggle also
    `val/`. A second copy nested inside (`chest_xray/chest_xray/`) and `__MACOSX/`
    are not read.

    Counts: 1,349 normal for training; 234 normal and 390 pneumonia for testing
    (SALAD, Section IV.A, the Mendeley split). Kaggle moved 8 of the 1,349 to
    `val/NORMAL`; they are joined to the training images again. Training images
    with pneumonia and those of `val/` are not used.

    Patients: the number in `person<N>` and `IM-<N>`, which the publication does
    not explain. `NORMAL2-IM-<N>` is taken for a series with numbers of its own,
    since both series use the same numbers.
    """

    name = "chestxray"
    title = "Kermany chest X-rays"
    modality = "chest-xray"
    url = "https://doi.org/10.17632/rscbjbr9sj"
    licence = "CC BY 4.0"
    fetch = (
        "ChestXRay2017.zip from Mendeley Data (doi 10.17632/rscbjbr9sj) or "
        "paultimothymooney/chest-xray-pneumonia from Kaggle"
    )
    layout = "train/NORMAL, test/NORMAL and test/PNEUMONIA"
    folders = (
        "chest_xray",
        "ChestXRay2017/chest_xray",
        "chest-xray-pneumonia/chest_xray",
        "CellData/chest_xray",
        "ZhangLabData/CellData/chest_xray",
    )
    published: ClassVar = {
        "train normal": 1_349,
        "test normal": 234,
        "test abnormal": 390,
    }

    def locate(self, folder: Path) -> Path | None:
        for place in (folder, folder / "chest_xray"):
            if (place / "train/NORMAL").is_dir() or (place / "test/NORMAL").is_dir():
                return place
        return None

    def listing(self, folder: Path) -> Listing:
        for part in ("train/NORMAL", "test/NORMAL", "test/PNEUMONIA"):
            if not (folder / part).is_dir():
                raise InputError(
                    f"{folder} has no folder {part}; {self.title} need {self.layout}."
                )
        items, notes = [], []
        parts = [("train", "train/NORMAL", 0), ("test", "test/NORMAL", 0)]
        parts.append(("test", "test/PNEUMONIA", 1))
        if (folder / "val/NORMAL").is_dir():
            parts.insert(1, ("train", "val/NORMAL", 0))
            notes.append("the normal images of val/ are joined to the training images")
        for split, part, label in parts:
            for path in image_files(folder / part):
                items.append(
                    Item(
                        id=relative(path, folder),
                        path=path,
                        split=split,
                        label=label,
                        kind=_kind(path.name) if label else NORMAL,
                        patient=patient(path.name),
                    )
                )
        return Listing(
            items=tuple(items), rule="official train and test", notes=tuple(notes)
        )


def patient(name: str) -> str:
    """Patient that a file name speaks of; the name itself where it names none."""
    for pattern in _PATIENT:
        if match := pattern.match(name):
            return match[1].lower()
    return name


def _kind(name: str) -> str:
    """Bacterial or viral pneumonia, as the file name says, else just pneumonia."""
    for kind in ("bacteria", "virus"):
        if kind in name.lower():
            return kind
    return "pneumonia"
