"""File lists: what lies in a folder, drawing a split, and split lists on paper."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from thesislib.datasets.base import NORMAL, Item, Listing
from thesislib.errors import InputError

SPLIT_SEED = 0
"""Seed of the splits that no one published; not the run's seed.

Runs that differ in their seed alone have to judge the same images, or they could
not be compared image by image.
"""

_LEFTOVERS = {"__macosx", "thumbs.db", "desktop.ini"}


def is_leftover(path: Path) -> bool:
    """Whether a file system or an archiver left this behind (`._x`, `.DS_Store`)."""
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
    """File name relative to the dataset's folder, with forward slashes."""
    return path.relative_to(folder).as_posix()


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
        masks: Masks by the stem of their image.
    """
    return [
        Item(
            id=relative(path, folder),
            path=path,
            split=split,
            label=int(kind != NORMAL),
            kind=kind,
            mask=masks.get(path.stem) if masks else None,
        )
        for path in files
    ]


def masks_by_stem(
    images: Sequence[Path], folder: Path, word: str = "mask"
) -> dict[str, Path]:
    """Masks of images by their common stem.

    Args:
        images: Images that need a mask each, of one folder.
        folder: Where the masks lie.
        word: What a mask is called there.

    Raises:
        InputError: If an image has none.
    """
    masks = {path.stem: path for path in image_files(folder)}
    if bare := [path.name for path in images if path.stem not in masks]:
        raise InputError(
            f"{len(bare)} image(s) of {images[0].parent} have no {word} of the same "
            f"name in {folder.name}, the first {bare[0]}."
        )
    return masks


def draw_split(
    normals: Sequence[Item],
    num_train: int,
    num_test: int,
    hashes: dict[Path, str],
    seed: int = SPLIT_SEED,
) -> dict[str, str]:
    """Divide normal images at random into training and test; the rest is left out.

    Copies of an image are left out first, so that none can end up in both parts.
    The order of the draw is that of sha256(seed, file name): the same on every
    machine, and one file more or less moves no other. With fewer images than
    `num_train + num_test`, both parts shrink alike, each to one image at least.

    Args:
        normals: Images to draw from.
        num_train: Images wanted for training.
        num_test: Images wanted for testing.
        hashes: Content hash of every file.
        seed: Seed of the draw.

    Returns:
        Split, "train" or "test", by item id.

    Raises:
        InputError: If there are fewer than two images.
    """
    distinct = {hashes[item.path]: item.id for item in reversed(normals)}.values()
    if len(distinct) < 2:
        raise InputError(
            f"{len(distinct)} distinct normal image(s) found ({', '.join(distinct)})"
            ", but a split into training and test needs at least 2."
        )
    if len(distinct) < num_train + num_test:
        share = num_test / (num_train + num_test)
        num_test = min(max(1, round(len(distinct) * share)), len(distinct) - 1)
        num_train = len(distinct) - num_test

    def order(id: str) -> tuple[bytes, str]:
        name = id.rsplit("/", 1)[-1]
        return hashlib.sha256(f"{seed}/{name}".encode()).digest(), id

    splits = ["train"] * num_train + ["test"] * num_test
    return dict(zip(sorted(distinct, key=order), splits, strict=False))


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
    rows = _rows(path)
    endings = _endings(listing.items)
    chosen: dict[str, str] = {}
    for line, row in rows:
        where = f"line {line} of the file list {path.name}"
        name, split = row["file"].strip(), row["split"].strip()
        matches = endings.get(name.replace("\\", "/").removeprefix("./"), ())
        if len(matches) != 1:
            problem = "several files match" if matches else "the dataset has no such"
            raise InputError(f"{where} names {name!r}, but {problem} image.")
        (item,) = matches
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


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The file list {path} cannot be read: {error}.") from error
    if missing := [name for name in ("file", "split") if name not in names]:
        raise InputError(
            f"The file list {path} lacks the column(s) {', '.join(missing)}; its first "
            "line has to name at least the columns file and split."
        )
    if short := [line for line, row in rows if row["split"] is None]:
        raise InputError(f"Line {short[0]} of the file list {path} is too short.")
    return rows


def _endings(items: Iterable[Item]) -> dict[str, list[Item]]:
    """All items that a full or shortened file name may mean."""
    endings = defaultdict(list)
    for item in items:
        parts = item.id.split("/")
        for start in range(len(parts)):
            endings["/".join(parts[start:])].append(item)
    full = {item.id: [item] for item in items}  # a full name means itself
    return dict(endings) | full
