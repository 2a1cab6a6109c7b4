"""Fundus photographs with and without glaucoma: LAG (Li et al., 2019)."""

import json
from pathlib import Path
from typing import ClassVar

from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.datasets.filelist import (
    SPLIT_SEED,
    as_items,
    image_files,
    masks_by_stem,
    relative,
)
from thesislib.errors import InputError

_NUM_TRAIN, _NUM_TEST = 2_343, 800
_CLASSES = ("non_glaucoma", "suspicious_glaucoma")


class Lag(Adapter):
    """LAG, part 1, as the thesis splits it, Sections 2.4 and 4.3.1.

    Source: https://github.com/smilell/AG-CNN, `LAG_database_part_1.rar`, password on
    request to the authors. Licence: academic use only, re-upload forbidden.

    Folder: `LAG_database_part_1/{non_glaucoma,suspicious_glaucoma}/` with `image/`,
    `attention_map/` and `label/` each, images and maps sharing their names. Or the
    re-pack of MedIAnomaly: `images/` and `data.json`, without maps and with a split
    that is not the thesis's.

    Counts: 2,343 negatives for training; 800 negatives and 1,711 positives for
    testing. Which 800 is not published: they are drawn with a fixed seed and
    recorded.

    Masks: attention maps are grey heat maps of where ophthalmologists looked, not
    outlines of lesions. How the thesis makes masks of them is not stated; we cut
    every map at its own Otsu threshold. Negatives get an empty mask.
    """

    name = "lag"
    title = "LAG fundus photographs"
    modality = "fundus"
    url = "https://github.com/smilell/AG-CNN"
    licence = "academic use only, no re-upload"
    fetch = (
        "LAG_database_part_1.rar as https://github.com/smilell/AG-CNN says (password "
        "on request)"
    )
    layout = (
        "non_glaucoma/image, suspicious_glaucoma/image and "
        "suspicious_glaucoma/attention_map"
    )
    folders = ("LAG_database_part_1", "LAG", "lag")
    published: ClassVar = {
        "train normal": _NUM_TRAIN,
        "test normal": _NUM_TEST,
        "test abnormal": 1_711,
    }
    heat_maps = True

    def locate(self, folder: Path) -> Path | None:
        if all((folder / name / "image").is_dir() for name in _CLASSES):
            return folder
        repack = (folder / "data.json").is_file() and (folder / "images").is_dir()
        return folder if repack else None

    def listing(self, folder: Path) -> Listing:
        if (folder / "data.json").is_file():
            return _repack(folder)
        return _official(folder)


def _official(folder: Path) -> Listing:
    negative, positive = (folder / name for name in _CLASSES)
    items = as_items(image_files(negative / "image"), folder, "")
    glaucoma = image_files(positive / "image")
    maps, note = {}, "no folder attention_map: no masks"
    if (positive / "attention_map").is_dir():
        maps = masks_by_stem(glaucoma, positive / "attention_map", "map")
        note = "masks are attention maps, each cut at its Otsu threshold"
    items += as_items(glaucoma, folder, "test", "glaucoma", maps)
    rule = (
        f"non_glaucoma: {_NUM_TRAIN} for training and {_NUM_TEST} for testing drawn "
        f"with seed {SPLIT_SEED}; all suspicious_glaucoma for testing"
    )
    draw = (_NUM_TRAIN, _NUM_TEST)
    return Listing(items=tuple(items), rule=rule, draw=draw, notes=(note,))


def _repack(folder: Path) -> Listing:
    """MedIAnomaly's `data.json`: names under train."0", test."0" and test."1"."""
    path = folder / "data.json"
    try:
        lists = json.loads(path.read_text(encoding="utf-8-sig"))
        parts = (
            ("train", 0, lists["train"]["0"]),
            ("test", 0, lists["test"]["0"]),
            ("test", 1, lists["test"]["1"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} cannot be used: expected JSON with file names under train."0", '
            f'test."0" and test."1", found {error!r}.'
        ) from error
    images = {path.name: path for path in image_files(folder / "images")}
    names = [Path(str(name)).name for _, _, part in parts for name in part]
    if missing := [name for name in names if name not in images]:
        raise InputError(
            f"{len(missing)} file(s) that {path} lists are not in images, the first "
            f"{missing[0]}."
        )
    items = tuple(
        Item(
            id=relative(images[Path(str(name)).name], folder),
            path=images[Path(str(name)).name],
            split=split,
            label=label,
            kind="glaucoma" if label else NORMAL,
        )
        for split, label, part in parts
        for name in part
    )
    notes = ("MedIAnomaly's re-pack: another split than the thesis's, no maps",)
    return Listing(items=items, rule="data.json of MedIAnomaly", notes=notes)
