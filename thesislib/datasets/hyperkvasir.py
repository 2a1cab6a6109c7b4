"""Colonoscopy images of Hyper-Kvasir (Borgli et al., 2020)."""

from pathlib import Path
from typing import ClassVar

from thesislib.datasets.base import NORMAL, Adapter, Listing
from thesislib.datasets.filelist import (
    SPLIT_SEED,
    as_items,
    image_files,
    masks_by_stem,
)
from thesislib.errors import InputError

_NORMAL_CLASSES = (
    "anatomical-landmarks/cecum",
    "anatomical-landmarks/ileum",
    "quality-of-mucosal-views/bbps-2-3",
)
_NUM_TRAIN, _NUM_TEST = 1_600, 500


class HyperKvasir(Adapter):
    """Hyper-Kvasir as the thesis splits it, Sections 2.4 and 4.3.1.

    Source: https://datasets.simula.no/hyper-kvasir (OSF osf.io/mh9sj), archives
    `hyper-kvasir-labeled-images.zip` and `hyper-kvasir-segmented-images.zip`.
    Licence: CC BY 4.0; its README asks for permission before competitions and
    commercial use.

    Folder, official: `labeled-images/lower-gi-tract/...` and
    `segmented-images/{images,masks}/NAME.jpg`. Or the authors' re-pack:
    `train_set/`, `test_set/normal_test/` and `test_set/abnormal_test/`.

    Counts: 1,600 normal for training; 500 normal and 1,000 polyp images with masks
    for testing. Normal are cecum, ileum and bbps-2-3 of the lower tract, 2,166
    images, of which the thesis keeps 2,100 without saying which: they are drawn
    with a fixed seed and recorded. The segmented images also lie in the class
    folder `polyps`, which is not read. The re-pack has no masks. No patient ids are
    published, so patients may occur in both splits.

    Every image, and its mask alike, loses its dark frame and the position overlay:
    as in the authors' code for CCD, an image of 512 px is cut to 45..475 on both
    axes. We cut and resize in one step.
    """

    name = "hyperkvasir"
    title = "Hyper-Kvasir images"
    modality = "colonoscopy"
    url = "https://datasets.simula.no/hyper-kvasir"
    licence = "CC BY 4.0"
    fetch = (
        "hyper-kvasir-labeled-images.zip and hyper-kvasir-segmented-images.zip from "
        "https://datasets.simula.no/hyper-kvasir"
    )
    layout = (
        "labeled-images and segmented-images (or the authors' train_set and test_set)"
    )
    folders = ("hyper-kvasir", "hyperkvasir", "HyperKvasir", "Hyper-Kvasir")
    published: ClassVar = {
        "train normal": _NUM_TRAIN,
        "test normal": _NUM_TEST,
        "test abnormal": 1_000,
    }
    box = (45 / 512, 475 / 512)

    def locate(self, folder: Path) -> Path | None:
        official = _labelled(folder) or _segmented(folder)
        repack = (folder / "train_set").is_dir() and (folder / "test_set").is_dir()
        return folder if official or repack else None

    def listing(self, folder: Path) -> Listing:
        if (folder / "train_set").is_dir():
            return _repack(folder)
        return _official(folder)


def _official(folder: Path) -> Listing:
    labelled, segmented = _labelled(folder), _segmented(folder)
    for part, name in ((labelled, "labeled-images"), (segmented, "segmented-images")):
        if part is None:
            raise InputError(
                f"{folder} has no folder {name}; Hyper-Kvasir needs "
                f"{HyperKvasir.layout}."
            )
    normals = [
        path
        for name in _NORMAL_CLASSES
        for path in image_files(labelled / "lower-gi-tract" / name)
    ]
    polyps = image_files(segmented / "images")
    masks = masks_by_stem(polyps, segmented / "masks")
    items = as_items(normals, folder, "")
    items += as_items(polyps, folder, "test", "polyp", masks)
    rule = (
        f"cecum, ileum and bbps-2-3: {_NUM_TRAIN} for training and {_NUM_TEST} for "
        f"testing drawn with seed {SPLIT_SEED}; all segmented images for testing"
    )
    note = "no patient ids are published: patients may occur in both splits"
    draw = (_NUM_TRAIN, _NUM_TEST)
    return Listing(items=tuple(items), rule=rule, draw=draw, notes=(note,))


def _repack(folder: Path) -> Listing:
    parts = (
        ("train", "train_set", NORMAL),
        ("test", "test_set/normal_test", NORMAL),
        ("test", "test_set/abnormal_test", "polyp"),
    )
    items = [
        item
        for split, part, kind in parts
        for item in as_items(image_files(folder / part), folder, split, kind)
    ]
    notes = (
        "the authors' re-pack, which has no masks",
        "no patient ids are published: patients may occur in both splits",
    )
    return Listing(items=tuple(items), rule="folders of the re-pack", notes=notes)


def _labelled(folder: Path) -> Path | None:
    return _first(folder, "labeled-images", "lower-gi-tract")


def _segmented(folder: Path) -> Path | None:
    return _first(folder, "segmented-images", "images")


def _first(folder: Path, name: str, content: str) -> Path | None:
    """The folder `name`, also inside or instead of one named as its archive."""
    archive = folder / f"hyper-kvasir-{name}"
    for place in (folder / name, archive / name, archive):
        if (place / content).is_dir():
            return place
    return None
