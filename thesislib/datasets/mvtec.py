"""Industrial objects and textures: MVTec AD (Bergmann et al., 2019)."""

from pathlib import Path
from typing import ClassVar

from thesislib.datasets.base import Adapter, Item, Listing
from thesislib.datasets.filelist import (
    as_items,
    composed,
    image_files,
    pair_masks,
    subfolders,
)
from thesislib.errors import InputError

_GOOD = "good"


class MvtecAd(Adapter):
    """MVTec AD, each of 15 categories a dataset of its own, thesis Section 6.4.1.

    Source: https://www.mvtec.com/company/research/datasets/mvtec-ad, archive
    `mvtec_anomaly_detection.tar.xz`. Licence: CC BY-NC-SA 4.0.

    Folder: `CATEGORY/train/good/`, `CATEGORY/test/good/`, `CATEGORY/test/DEFECT/` and
    `CATEGORY/ground_truth/DEFECT/NAME_mask.png`. Folders other than `good` under
    `train` are ignored and noted (the authors' code for IGD puts one there).

    Counts: 3,629 images without defects for training; 467 without and 1,258 with
    defects for testing, all of these with masks. Fewer categories are partial data,
    though each complete category is not.

    Grey PNGs (grid, screw, zipper) are repeated over three channels. No phantom.
    """

    name = "mvtec"
    title = "MVTec AD images"
    modality = "industrial"
    has_phantom = False
    url = "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    licence = "CC BY-NC-SA 4.0"
    fetch = (
        "mvtec_anomaly_detection.tar.xz from "
        "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    )
    layout = "bottle/train/good, bottle/test and bottle/ground_truth, and so 14 others"
    folders = ("mvtec_anomaly_detection", "mvtec", "MVTec", "mvtec_ad", "MVTecAD")
    published: ClassVar = {
        "train normal": 3_629,
        "test normal": 467,
        "test abnormal": 1_258,
    }
    class_counts: ClassVar = {  # Bergmann et al., 2019, Table 1
        "bottle": (209, 20, 63),
        "cable": (224, 58, 92),
        "capsule": (219, 23, 109),
        "carpet": (280, 28, 89),
        "grid": (264, 21, 57),
        "hazelnut": (391, 40, 70),
        "leather": (245, 32, 92),
        "metal_nut": (220, 22, 93),
        "pill": (267, 26, 141),
        "screw": (320, 41, 119),
        "tile": (230, 33, 84),
        "toothbrush": (60, 12, 30),
        "transistor": (213, 60, 40),
        "wood": (247, 19, 60),
        "zipper": (240, 32, 119),
    }
    class_names = tuple(class_counts)

    def locate(self, folder: Path) -> Path | None:
        there = any((folder / c / "train" / _GOOD).is_dir() for c in self.class_names)
        return folder if there else None

    def listing(self, folder: Path) -> Listing:
        items, notes = [], []
        there = [name for name in self.class_names if (folder / name).is_dir()]
        for name in there:
            items += _category(folder, name, notes)
        if absent := [name for name in self.class_names if name not in there]:
            notes.append(f"categories that are not there: {', '.join(absent)}")
        return Listing(
            items=tuple(items), rule="folders train and test", notes=tuple(notes)
        )


def _category(folder: Path, name: str, notes: list[str]) -> list[Item]:
    """Images of one category; what a reader should know is added to the notes.

    Raises:
        InputError: If a part or a mask is missing.
    """
    own = folder / name
    for part in (f"train/{_GOOD}", f"test/{_GOOD}", "ground_truth"):
        if not (own / part).is_dir():
            raise InputError(
                f"{own} has no folder {part}; every category needs train/{_GOOD}, "
                f"test/{_GOOD}, other folders in test, and ground_truth."
            )
    train = subfolders(own / "train")
    if other := [path.name for path in train if path.name != _GOOD]:
        notes.append(f"ignored in {name}/train: {', '.join(other)}")
    items = as_items(image_files(own / "train" / _GOOD), folder, "train")
    for kind in subfolders(own / "test"):
        images = image_files(kind)
        if kind.name == _GOOD:
            items += as_items(images, folder, "test")
            continue
        drawn = own / "ground_truth" / kind.name
        found = pair_masks(images, image_files(drawn) if drawn.is_dir() else ())
        if bare := [path for path in images if path not in found]:
            raise InputError(
                f"{own} holds no mask for the image {kind.name}/{bare[0].name}; "
                f"expected ground_truth/{kind.name}/{bare[0].stem}_mask.png."
            )
        masks = {composed(image.stem): mask for image, mask in found.items()}
        items += as_items(images, folder, "test", kind.name, masks)
    return items
