"""Anyone's images, in one of two folder layouts."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from thesislib.datasets import dicom
from thesislib.datasets.base import NORMAL, Adapter, Item, Listing
from thesislib.datasets.filelist import (
    SPLIT_SEED,
    composed,
    contents,
    entries,
    image_files,
    is_leftover,
    is_picture,
    pair_masks,
    relative,
    shown,
    some,
    subfolders,
)
from thesislib.errors import InputError

_LARGEST_TEST_SHARE = 0.3  # of the normal images, ours

_ROLES = {  # what a folder is, by its name in lower case; the first is the usual one
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "normal": ("normal", "good", "ok", "healthy", "normals", "nominal", "negative"),
    "abnormal": (
        *("abnormal", "bad", "ng", "sick", "anomaly", "anomalies", "anomalous"),
        *("abnormals", "defect", "defects", "defective", "diseased", "ill", "nok"),
        *("not_good", "not_ok", "positive", "unhealthy", "faulty"),
    ),
    "ground_truth": ("ground_truth", "groundtruth", "gt", "masks"),
}
_USUAL = {"train", "test", "good", "normal", "abnormal", "ground_truth"}


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

    Names in other case and the other names of `_ROLES` are read as what they mean, and
    a note says so; two folders that may both be meant are an error. What else lies
    there, and is not read, is counted in notes.

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
    split_is_owners = True

    def locate(self, folder: Path) -> Path | None:
        return folder if _layout(folder) else None

    def unlike(self, folder: Path) -> str:
        roles = _roles(folder)
        normal, abnormal = (
            [shown(path.name) for path in roles[role]]
            for role in ("normal", "abnormal")
        )
        others = [shown(path.name) for path in roles[""]]
        inside = [path for path in roles[""] if _layout(path)]
        if inside:
            what = some([shown(path.name) for path in inside])
            return (
                f"it holds {len(inside)} folder(s) that are such datasets themselves "
                f"({what}); give one of them, as {shown(inside[0])}"
            )
        if normal and not abnormal:
            beside = (
                f" and {some(others)}, which may be the abnormal ones: they have to "
                "lie in abnormal/, one folder a kind"
                if others
                else ", but no folder of abnormal ones, on which detection is judged"
            )
            return f"it holds normal images in {normal[0]}{beside}"
        if abnormal and not normal:
            return (
                f"it holds abnormal images in {abnormal[0]}, but no folder of normal "
                "ones, from which to learn"
            )
        if bool(roles["train"]) != bool(roles["test"]):
            one, other = ("train", "test") if roles["train"] else ("test", "train")
            return f"it holds {shown(roles[one][0].name)}, but no folder {other}"
        if _pictures(folder):
            return f"it holds {contents(folder)}, and no folder says which are normal"
        return ""

    def listing(self, folder: Path) -> Listing:
        roles = _roles(folder)
        listing = (_mvtec if _layout(folder) == "mvtec" else _two_folders)(
            folder, roles
        )
        dicom.require((item.path for item in listing.items), folder.name)
        masks = _one(roles, "ground_truth", folder) if roles["ground_truth"] else None
        items, notes = _with_masks(listing.items, folder, masks)
        read = {item.path.relative_to(folder).parts[0] for item in items}
        used = [path for path in entries(folder) if path.name in read or path == masks]
        notes += _renamed([p for p in used if p.is_dir()], folder)
        notes += _passed_over(folder, used)
        return replace(listing, items=items, notes=(*listing.notes, *notes))


def _word(path: Path) -> str:
    """A folder's name without what people write in different ways."""
    return re.sub(r"[\s_-]+", "_", composed(path.name).strip().casefold())


def _role(path: Path) -> str:
    """Key of `_ROLES`, "" for a name that means none."""
    word = _word(path)
    return next((role for role, words in _ROLES.items() if word in words), "")


def _roles(folder: Path) -> dict[str, list[Path]]:
    """Folders by what they are; "" holds the others."""
    found: dict[str, list[Path]] = {role: [] for role in (*_ROLES, "")}
    for path in subfolders(folder):
        found[_role(path)].append(path)
    return found


def _layout(folder: Path) -> str:
    """The layout of a folder: "mvtec", "two", or "" for neither.

    Raises:
        InputError: If it has both.
    """
    roles = _roles(folder)
    split = roles["train"] and roles["test"]
    two = roles["normal"] and roles["abnormal"]
    if split and two:
        names = [
            shown(roles[r][0].name) for r in ("train", "test", "normal", "abnormal")
        ]
        raise InputError(
            f"{shown(folder)} holds the folders {', '.join(names)}, which are two "
            "layouts at once; move two of them away."
        )
    return "mvtec" if split else "two" if two else ""


def _one(roles: dict[str, list[Path]], role: str, folder: Path) -> Path:
    """The only folder of a role.

    Raises:
        InputError: If there are several.
    """
    if len(roles[role]) > 1:
        names = " and ".join(shown(path.name) for path in roles[role])
        raise InputError(
            f"{shown(folder)} holds the folders {names}, each of which may be meant by "
            f"{_ROLES[role][0]}; rename or merge them."
        )
    return roles[role][0]


def _mvtec(folder: Path, roles: dict[str, list[Path]]) -> Listing:
    train, test = (_one(roles, role, folder) for role in ("train", "test"))
    good, notes = _good(train, "training"), []
    for path in subfolders(train):
        if path != good:
            notes.append(
                f"folders of {shown(train.name)}/ other than {shown(good.name)} are "
                f"ignored: {_counted(path)}"
            )
    good_test = _good(test, "test")
    notes += _renamed([p for p in (good, good_test) if p], folder)
    notes += _passed_over(train, [good, *subfolders(train)])
    notes += _passed_over(test, subfolders(test))
    items = [_item(path, folder, "train") for path in image_files(good)]
    for kind in subfolders(test):
        label = int(kind != good_test)
        items += [
            _item(path, folder, "test", label, kind.name) for path in image_files(kind)
        ]
    if not any(item.label for item in items):
        raise InputError(
            f"{shown(test)} has no folder of abnormal images beside "
            f"{shown(good_test.name)}."
        )
    return Listing(
        items=tuple(items), rule="folders train and test", notes=tuple(notes)
    )


def _good(part: Path, word: str) -> Path:
    """The folder of normal images in `train` or `test`.

    Raises:
        InputError: If there is none, or several.
    """
    roles = _roles(part)
    if not roles["normal"]:
        raise InputError(
            f"{shown(part)} has no folder good, but holds {contents(part)}; the normal "
            f"{word} images have to lie in {shown(part.name)}/good."
        )
    return _one(roles, "normal", part)


def _two_folders(folder: Path, roles: dict[str, list[Path]]) -> Listing:
    normal, top = (_one(roles, role, folder) for role in ("normal", "abnormal"))
    normals = [_item(path, folder, "") for path in image_files(normal)]
    kinds = subfolders(top)
    if kinds and (loose := [p for p in entries(top) if not p.is_dir()]):
        raise InputError(
            f"{shown(top)} holds folders and, beside them, the file "
            f"{shown(loose[0].name)}; put all abnormal images into folders, one a "
            "kind, or none."
        )
    notes = []
    abnormals = []
    for kind in kinds or [top]:
        name = kind.name if kinds else "abnormal"
        if kinds and _role(kind) == NORMAL:  # of an abnormal image, all the same
            name = f"{top.name}/{kind.name}"
            notes.append(
                f"the images of {shown(name)} are taken for abnormal ones, since they "
                f"lie in {shown(top.name)}"
            )
        files = image_files(kind)
        abnormals += [_item(path, folder, "test", 1, name) for path in files]
    num_test = min(len(abnormals), max(1, int(_LARGEST_TEST_SHARE * len(normals))))
    return Listing(
        items=(*normals, *abnormals),
        rule=f"normal/ divided with seed {SPLIT_SEED}, {num_test} for testing",
        draw=(max(1, len(normals) - num_test), num_test),
        notes=tuple(notes),
    )


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


def _with_masks(
    items: tuple[Item, ...], folder: Path, top: Path | None
) -> tuple[tuple[Item, ...], list[str]]:
    """Abnormal images with their masks, if there are any, and notes on other masks."""
    if top is None:
        return items, []
    images: dict[str, list[Path]] = {}
    for item in items:
        if item.label:
            images.setdefault(composed(item.path.parent.name), []).append(item.path)
    flat = len(images) == 1 and all(i.kind == "abnormal" for i in items if i.label)
    masks: dict[Path, Path] = {}
    unread = [path for path in entries(top) if not path.is_dir() and is_picture(path)]
    for kind in subfolders(top):
        name = composed(kind.name)
        if name not in images and flat and _role(kind) == "abnormal":
            name = next(iter(images))
        files = image_files(kind) if name in images else _pictures(kind)
        found = pair_masks(images.get(name, ()), files, _stem)
        masks |= found
        unread += sorted(set(files) - set(found.values()))
    paired = tuple(replace(item, mask=masks.get(item.path)) for item in items)
    if bare := [item for item in paired if item.label and item.mask is None]:
        first = bare[0]
        place = f"{shown(top.name)}/{shown(first.path.parent.name)}"
        raise InputError(
            f"{shown(folder.name)}/{shown(top.name)} holds no mask for {len(bare)} "
            f"abnormal image(s), the first {shown(first.id)}; expected {place}/"
            f"{shown(_stem(first.path))}_mask.png, for all abnormal images or without "
            f"the folder {shown(top.name)} for none."
        )
    names = [shown(mask.relative_to(folder).as_posix()) for mask in unread]
    return paired, (
        [f"{len(names)} mask(s) belong to no abnormal image: {some(names)}"]
        if names
        else []
    )


def _renamed(read: Iterable[Path], folder: Path) -> list[str]:
    """Notes on folders that are read under another name than the usual one."""
    return [
        f"{shown(relative(path, folder))}/ is taken for "
        f"{'good' if role == NORMAL and path.parent != folder else role}/"
        for path in read
        if (role := _role(path)) and path.name not in _USUAL
    ]


def _passed_over(folder: Path, read: Sequence[Path]) -> list[str]:
    """Notes on what lies in a folder and is not read: loose images, other folders."""
    notes = []
    if loose := _pictures(folder):
        notes.append(
            f"{len(loose)} image(s) lie loose in {shown(folder.name)}/ and are not "
            f"read: {some([shown(path.name) for path in loose])}"
        )
    if others := [path for path in subfolders(folder) if path not in read]:
        notes.append(
            f"{len(others)} other folder(s) in {shown(folder.name)}/ are not read: "
            f"{some([_counted(path) for path in others])}"
        )
    return notes


def _pictures(folder: Path) -> list[Path]:
    """Images that lie directly in a folder."""
    return [path for path in entries(folder) if is_picture(path) and not path.is_dir()]


def _counted(folder: Path) -> str:
    """A folder's name and how many images lie in it, however deep."""
    number = sum(
        is_picture(path := Path(file)) and not is_leftover(path)
        for _, _, files in os.walk(folder)
        for file in files
    )
    return f"{shown(folder.name)} ({number} image{'s' if number != 1 else ''})"


def _stem(path: Path) -> str:
    """Name without its ending; a DICOM file may have none but a UID with points."""
    if dicom.is_dicom(path) and path.suffix.lower() != dicom.ENDING:
        return path.name
    return path.stem
