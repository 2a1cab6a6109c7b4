"""Anyone's images, in one of two folder layouts."""

from dataclasses import replace
from pathlib import Path

from thesislib.datasets import dicom
from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.datasets.filelist import (
    SPLIT_SEED,
    entries,
    image_files,
    relative,
    subfolders,
)
from thesislib.errors import InputError

_NORMAL_NAMES = ("good", "normal")
_LARGEST_TEST_SHARE = 0.3  # of the normal images, ours


class Folder(Adapter):
    """Images of one's own, as MVTec AD lays it out or simply in two parts.

    Layout 1 (Bergmann et al., 2019): `train/good/` holds normal images,
    `test/good/` normal and `test/<anything else>/` abnormal ones. Optional masks lie
    in `ground_truth/<the same>/<stem>_mask.png`, or under the image's own name with
    any ending.

    Layout 2: `normal/` and `abnormal/`, the latter flat or with one folder a kind;
    optional masks in `ground_truth/abnormal/` or `ground_truth/<kind>/`. The split is
    drawn with a fixed seed: as many normal test images as there are abnormal ones,
    but at most 30 % of the normal ones, which else train. Where patients are known,
    whole patients are drawn, about as many images, and normal images of patients who
    have abnormal ones as well never train.

    Pictures and DICOM files may lie side by side.

    Masks are given for all abnormal images or for none. Licence and counts are the
    owner's affair.
    """

    name = "folder"
    title = "your own images"
    modality = "unknown"
    has_phantom = False
    url = ""
    licence = "as the owner says"
    fetch = "nothing: these are your own images"
    layout = (
        "train/good and test/<kinds> (layout of MVTec AD), or normal/ and abnormal/"
    )
    folders = ()
    published = None
    takes_patients = True

    def locate(self, folder: Path) -> Path | None:
        for parts in (("train", "test"), ("normal", "abnormal")):
            if all((folder / part).is_dir() for part in parts):
                return folder
        return None

    def listing(self, folder: Path) -> Listing:
        if (folder / "train").is_dir():
            listing = _mvtec(folder)
        else:
            listing = _two_folders(folder)
        dicom.require((item.path for item in listing.items), folder.name)
        return replace(listing, items=_with_masks(listing.items, folder))


def _mvtec(folder: Path) -> Listing:
    good = _normal_folder(folder / "train")
    if good is None:
        raise InputError(
            f"{folder / 'train'} has no folder good; the normal training images have "
            "to lie in train/good."
        )
    notes = []
    if ignored := [p.name for p in subfolders(folder / "train") if p != good]:
        notes.append(f"folders of train/ other than good are ignored: {ignored}")
    if _normal_folder(folder / "test") is None:
        raise InputError(
            f"{folder / 'test'} has no folder good; the normal test images have to lie "
            "in test/good."
        )
    items = [_item(path, folder, "train") for path in image_files(good)]
    kinds = subfolders(folder / "test")
    for kind in kinds:
        label = int(kind.name.lower() not in _NORMAL_NAMES)
        items += [
            _item(path, folder, "test", label, kind.name) for path in image_files(kind)
        ]
    if not any(item.label for item in items):
        raise InputError(
            f"{folder / 'test'} has no folder of abnormal images beside good."
        )
    return Listing(
        items=tuple(items), rule="folders train and test", notes=tuple(notes)
    )


def _two_folders(folder: Path) -> Listing:
    normals = [_item(path, folder, "") for path in image_files(folder / "normal")]
    top = folder / "abnormal"
    abnormals = [
        _item(path, folder, "test", 1, kind.name)
        for kind in subfolders(top) or [top]
        for path in image_files(kind)
    ]
    if subfolders(top) and (loose := [p for p in entries(top) if p.is_file()]):
        raise InputError(
            f"{top} holds folders and, beside them, the file {loose[0].name}; put all "
            "abnormal images into folders, one a kind, or none."
        )
    num_test = min(len(abnormals), max(1, int(_LARGEST_TEST_SHARE * len(normals))))
    return Listing(
        items=(*normals, *abnormals),
        rule=f"normal/ divided with seed {SPLIT_SEED}, {num_test} for testing",
        draw=(max(1, len(normals) - num_test), num_test),
    )


def _normal_folder(folder: Path) -> Path | None:
    for path in subfolders(folder):
        if path.name.lower() in _NORMAL_NAMES:
            return path
    return None


def _item(
    path: Path, folder: Path, split: str, label: int = 0, kind: str = NORMAL
) -> Item:
    return Item(
        id=relative(path, folder),
        path=path,
        split=split,
        label=label,
        kind=kind if label else NORMAL,
    )


def _with_masks(items: tuple[Item, ...], folder: Path) -> tuple[Item, ...]:
    """Abnormal images with their masks, if there is a folder `ground_truth`."""
    top = folder / "ground_truth"
    if not top.is_dir():
        return items
    kinds = {item.kind for item in items if item.label}
    masks = {
        (kind.name, mask.stem.removesuffix("_mask")): mask
        for kind in subfolders(top)
        if kind.name in kinds
        for mask in image_files(kind)
    }
    paired = tuple(
        replace(item, mask=masks.get((item.kind, _stem(item.path))))
        if item.label
        else item
        for item in items
    )
    if bare := [item for item in paired if item.label and item.mask is None]:
        first = bare[0]
        raise InputError(
            f"{folder.name}/ground_truth holds no mask for {len(bare)} abnormal "
            f"image(s), the first {first.id}; expected ground_truth/{first.kind}/"
            f"{_stem(first.path)}_mask.png, for all abnormal images or without the "
            "folder ground_truth for none."
        )
    return paired


def _stem(path: Path) -> str:
    """Name without its ending; a DICOM file may have none but a UID with points."""
    if dicom.is_dicom(path) and path.suffix.lower() != dicom.ENDING:
        return path.name
    return path.stem
