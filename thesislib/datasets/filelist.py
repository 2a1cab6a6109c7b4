"""File lists: what lies in a folder, drawing a split, and split lists on paper."""

import csv
import hashlib
import io
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path

from thesislib.datasets.base import NORMAL, Item, Listing
from thesislib.errors import InputError

SPLIT_SEED = 0
"""Seed of the splits that no one published; not the run's seed.

Runs that differ in their seed alone have to judge the same images, or they could
not be compared image by image.
"""

ENDINGS = (
    *(".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif"),
    *(".tiff", ".webp"),
)
"""Of pictures, as Pillow reads them."""

_NAMED = 5  # files or folders that a sentence names
_LEFTOVERS = {"__macosx", "thumbs.db", "desktop.ini", "dicomdir"}


def is_leftover(path: Path) -> bool:
    """Whether a file system, an archiver or an export left this behind (`._x`,
    `.DS_Store`, `DICOMDIR`)."""
    return path.name.startswith(".") or path.name.lower() in _LEFTOVERS


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, leftovers left out.

    Raises:
        InputError: If the folder is absent or cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if not is_leftover(path)]
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be read: {error.strerror}."
        ) from error
    return sorted(found, key=lambda path: path.name)


def contents(folder: Path) -> str:
    """What lies in a folder, one phrase."""
    found = entries(folder)
    folders = [shown(path.name) for path in found if path.is_dir()]
    images = [p.name for p in found if is_picture(p) and not p.is_dir()]
    broken = [shown(p.name) for p in found if p.is_symlink() and not p.exists()]
    others = len(found) - len(folders) - len(images)
    parts = [
        f"{len(images)} image(s)" if images else "",
        f"the folder(s) {some(folders)}" if folders else "",
        f"{others} other file(s)" if others else "",
        f"among them the broken link(s) {some(broken)}" if broken else "",
    ]
    return ", ".join(filter(None, parts)) or "nothing"


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def subfolders(folder: Path) -> list[Path]:
    """Folders that lie directly in a folder, sorted by name."""
    return [path for path in entries(folder) if path.is_dir()]


def image_files(folder: Path) -> list[Path]:
    """Files that lie directly in a class folder, sorted by name.

    Every one of them counts as an image: what is none is found out, and named,
    when it is decoded.

    Raises:
        InputError: If the folder is absent, unreadable, holds no file, or holds
            folders, whose images would be passed over.
    """
    found = entries(folder)
    if folders := [path.name for path in found if path.is_dir()]:
        raise InputError(
            f"The folder {folder} holds a folder, {folders[0]}; images have to lie "
            "directly in it."
        )
    if not found:
        raise InputError(f"The folder {folder} holds no images; it needs at least one.")
    return found


def relative(path: Path, folder: Path) -> str:
    """File name relative to the dataset's folder, with forward slashes.

    Raises:
        InputError: If the name cannot be stored, because it is not UTF-8.
    """
    name = path.relative_to(folder).as_posix()
    require_text(name, f"in {shown(folder)}")
    return name


def require_text(name: str, where: str) -> None:
    """Names stand in records and tables, which are UTF-8.

    Raises:
        InputError: If this one has bytes that are not.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The name {shown(name)} {where} is not UTF-8, so that it cannot be kept "
            "in a record; rename it."
        ) from None


def shown(name: object) -> str:
    r"""A name as one can print it on a line: what cannot be printed as `\xe9`."""
    text = str(name)
    if text.isprintable():
        return text
    bytes_of = text.encode("utf-8", "surrogateescape").decode(
        "utf-8", "backslashreplace"
    )
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in bytes_of
    )


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS takes accents apart."""
    return unicodedata.normalize("NFC", name)


def is_picture(path: Path) -> bool:
    """Whether a file's name ends as that of an image does."""
    return path.suffix.lower() in (*ENDINGS, ".dcm")


def as_items(
    files: Iterable[Path],
    folder: Path,
    split: str,
    kind: str = NORMAL,
    masks: Mapping[str, Path] | None = None,
) -> list[Item]:
    """Images of one class and split.

    Args:
        files: Images inside the dataset's folder.
        folder: The dataset's folder.
        split: "train", "test", or "" for ones to draw from.
        kind: "normal", or the class of the abnormality.
        masks: Masks by the stem of their image, composed.
    """
    return [
        Item(
            id=relative(path, folder),
            path=path,
            split=split,
            label=int(kind != NORMAL),
            kind=kind,
            mask=masks.get(composed(path.stem)) if masks else None,
        )
        for path in files
    ]


def masks_by_stem(
    images: Sequence[Path], folder: Path, word: str = "mask"
) -> dict[str, Path]:
    """Masks of images by their common stem, composed.

    Args:
        images: Images that need a mask each, of one folder.
        folder: Where the masks lie.
        word: What a mask is called there.

    Raises:
        InputError: If an image has none, or several images or masks are of one stem.
    """
    found = pair_masks(images, image_files(folder))
    if bare := [path.name for path in images if path not in found]:
        raise InputError(
            f"{len(bare)} image(s) of {images[0].parent} have no {word} of the same "
            f"name in {folder.name}, the first {bare[0]}."
        )
    return {composed(image.stem): mask for image, mask in found.items()}


def pair_masks(
    images: Iterable[Path],
    masks: Iterable[Path],
    stem: Callable[[Path], str] = lambda path: path.stem,
) -> dict[Path, Path]:
    """Masks by image: each has the image's stem, or that and `_mask`, and any ending.

    Args:
        images: Of one folder.
        masks: Of one folder.
        stem: Of an image.

    Raises:
        InputError: If it cannot be known which mask is whose: two images have one
            stem and a mask, or one image has two masks.
    """
    by_stem, own = defaultdict(list), defaultdict(list)
    for mask in masks:
        by_stem[composed(mask.stem)].append(mask)
    for image in images:
        own[composed(stem(image))].append(image)
    found = {}
    for name, several in own.items():
        given = by_stem.get(f"{name}_mask", [])
        if name.removesuffix("_mask") not in own.keys() - {name}:  # not another's mask
            given = given + by_stem.get(name, [])
        if given and len(several) > 1:
            raise InputError(
                f"{_both(several)} have the mask {shown(given[0].name)} between them, "
                "so that it cannot be known whose it is; rename one of them, and its "
                "mask."
            )
        if len(given) > 1:
            raise InputError(
                f"{_both(given)} are masks of the one image {shown(several[0].name)} "
                f"in {shown(several[0].parent)}; keep one of them."
            )
        if given:
            found[several[0]] = given[0]
    return found


def _both(files: Sequence[Path]) -> str:
    names = " and ".join(shown(path.name) for path in files)
    return f"{names} in {shown(files[0].parent)}"


def draw_split(
    normals: Sequence[Item],
    num_train: int,
    num_test: int,
    hashes: dict[Path, str],
    seed: int = SPLIT_SEED,
    tested: Collection[str] = (),
) -> dict[str, str]:
    """Divide normal images at random into training and test; the rest is left out.

    Copies of an image are left out first, so that none can end up in both parts.
    The order of the draw is that of sha256(seed, file name): the same on every
    machine, and one file more or less moves no other. With fewer images than
    `num_train + num_test`, both parts shrink alike, each to one image at least.

    Where items have a patient, whole patients are drawn, in the order of the first of
    their file names, and each part ends with the patient that brings it nearest to
    its number of images; with one image a patient that is the draw by image. Patients
    that are `tested` anyway have all their images tested.

    Args:
        normals: Images to draw from.
        num_train: Images wanted for training.
        num_test: Images wanted for testing.
        hashes: Content hash of every file.
        seed: Seed of the draw.
        tested: Patients who have abnormal test images, and so must not train.

    Returns:
        Split, "train" or "test", by item id.

    Raises:
        InputError: If there are fewer than two images, or patients.
    """
    distinct = {hashes[item.path]: item for item in reversed(normals)}.values()
    if len(distinct) < 2:
        names = ", ".join(item.id for item in distinct)
        raise InputError(
            f"{len(distinct)} distinct normal image(s) found ({names})"
            ", but a split into training and test needs at least 2."
        )
    if len(distinct) < num_train + num_test:
        share = num_test / (num_train + num_test)
        num_test = min(max(1, round(len(distinct) * share)), len(distinct) - 1)
        num_train = len(distinct) - num_test

    groups = defaultdict(list)  # patient, or the image itself -> ids of images
    for item in distinct:
        groups[item.patient or item.id].append(item.id)
    forced = [id for name, ids in groups.items() if name in tested for id in ids]

    def order(ids: Sequence[str]) -> tuple[bytes, str]:
        first = min(ids)
        name = first.rsplit("/", 1)[-1]
        return hashlib.sha256(f"{seed}/{name}".encode()).digest(), first

    free = sorted((i for name, i in groups.items() if name not in tested), key=order)
    _check_groups(len(free), bool(forced))
    ends = list(accumulate(map(len, free)))  # images up to and with each patient
    last = len(free) if forced else len(free) - 1
    train_end = _nearest(ends[:last], num_train) + 1
    splits = dict.fromkeys(chain(*free[:train_end]), "train")
    wanted = num_train + max(0, num_test - len(forced))
    test_end = _nearest(ends, wanted) + 1
    if not forced:
        test_end = max(test_end, train_end + 1)
    splits |= dict.fromkeys(chain(*free[train_end:test_end]), "test")
    return splits | dict.fromkeys(forced, "test")


def _check_groups(num_free: int, forced: bool) -> None:
    if forced and not num_free:
        raise InputError(
            "Every patient with normal images has abnormal ones as well, so that no "
            "patient is left to train on."
        )
    if not forced and num_free < 2:
        raise InputError(
            "All normal images are of one patient, but a split into training and test "
            "by patient needs at least 2."
        )


def _nearest(ends: Sequence[int], wanted: int) -> int:
    """Index of the number nearest to the one wanted, the first of two."""
    return min(range(len(ends)), key=lambda index: abs(ends[index] - wanted))


def to_csv(items: Iterable[Item], folder: Path) -> str:
    """The split as a file list, which `apply` reads back to the same split."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "split", "label", "kind", "patient", "mask"])
    for item in items:
        if item.split:
            mask = relative(item.mask, folder) if item.mask else ""
            patient = item.patient or ""
            writer.writerow([item.id, item.split, item.label, item.kind, patient, mask])
    return text.getvalue()


def apply(listing: Listing, path: Path) -> Listing:
    """Divide a dataset as an explicit file list says, instead of the adapter's rule.

    Args:
        listing: The adapter's listing; labels, masks and patients stay as they are.
        path: A CSV file, UTF-8, with the columns `file` (name relative to the
            dataset's folder, or the end of it where that is unique) and `split`
            (`train` or `test`); a column `label` is checked, others are ignored.
            Images that it does not list are left out.

    Raises:
        InputError: If the list cannot be read, names a file that the dataset does
            not have or twice, or puts an abnormal image into the training split.
    """
    rows = read_rows(path, "file list", ("file", "split"))
    endings = by_ending(listing.items)
    chosen: dict[str, str] = {}
    for line, row in rows:
        where = f"line {line} of the file list {path.name}"
        name, split = row["file"].strip(), row["split"].strip()
        item = named(name, endings, where)
        if split not in ("train", "test"):
            raise InputError(
                f"{where} has split {split!r}; allowed are 'train' and 'test'."
            )
        if item.id in chosen:
            raise InputError(f"{where} names {name!r} a second time.")
        label = (row.get("label") or "").strip()
        if label and label != str(item.label):
            raise InputError(
                f"{where} gives {name!r} the label {label}, but by its folder it has "
                f"{item.label} (0 normal, 1 abnormal)."
            )
        if split == "train" and item.label:
            raise InputError(
                f"{where} puts the abnormal image {name!r} into the training split, "
                "which takes normal images only."
            )
        chosen[item.id] = split
    items = tuple(replace(i, split=chosen.get(i.id, "")) for i in listing.items)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return replace(
        listing,
        items=items,
        rule=f"file list, sha256 {digest}",
        draw=None,
        notes=(*listing.notes, f"the split is that of the file list {path.name}"),
    )


def read_rows(
    path: Path, what: str, columns: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """Line number and fields of each row of a CSV file, UTF-8.

    Args:
        path: The file.
        what: What it is called in messages.
        columns: Those that it needs.

    Raises:
        InputError: If it cannot be read, or lacks a column or a field.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The {what} {path} cannot be read: {error}.") from error
    if missing := [name for name in columns if name not in names]:
        raise InputError(
            f"The {what} {path} lacks the column(s) {', '.join(missing)}; its first "
            f"line has to name at least the columns {' and '.join(columns)}."
        )
    if short := [n for n, row in rows if any(row[name] is None for name in columns)]:
        raise InputError(f"Line {short[0]} of the {what} {path} is too short.")
    return rows


def named(name: str, endings: Mapping[str, Sequence[Item]], where: str) -> Item:
    """The one image that a full or shortened file name means.

    Args:
        name: As a line of a CSV file gives it.
        endings: What `by_ending` gives.
        where: The line, for messages.

    Raises:
        InputError: If there is none, or several.
    """
    name = composed(name)
    slashed = name.replace("\\", "/").removeprefix("./")  # as Windows writes it
    matches = endings.get(name) or endings.get(slashed, ())
    if len(matches) != 1:
        problem = "several files match" if matches else "the dataset has no such"
        raise InputError(f"{where} names {name!r}, but {problem} image.")
    return matches[0]


def by_ending(items: Collection[Item]) -> dict[str, list[Item]]:
    """All items that a full or shortened file name may mean."""
    endings = defaultdict(list)
    for item in items:
        parts = composed(item.id).split("/")
        for start in range(len(parts)):
            endings["/".join(parts[start:])].append(item)
    full = defaultdict(list)  # a full name means itself
    for item in items:
        full[composed(item.id)].append(item)
    return dict(endings) | dict(full)
