"""The idx files of MNIST and of the datasets that follow its layout.

Big-endian: a magic number (2051 images, 2049 labels), the count and, for images, rows
and columns as 32-bit integers; then one byte a pixel or label. Plain or gzip.
"""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thesislib.errors import InputError

PARTS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
SIDE = 28  # pixels
NUM_CLASSES = 10
_KINDS = {"images": (2051, "idx3"), "labels": (2049, "idx1")}  # magic, in the name
_HEADER = {"images": 16, "labels": 8}  # bytes
_MOST = 10_000_000  # images; a larger count is a damaged header


class Idx(NamedTuple):
    """One idx file. Axes: N images."""

    values: np.ndarray  # images (N, 28, 28) or labels (N,), uint8
    md5: str  # of the decompressed file, hexadecimal


def find(folder: Path, part: str) -> Path | None:
    """The file of a part of `PARTS`, in one of its spellings; plain before gzip."""
    _, kind = _KINDS[part.partition("-")[2]]
    for ending in ("", ".gz"):
        for joint in "-.":
            path = folder / f"{part}{joint}{kind}-ubyte{ending}"
            if path.is_file():
                return path
    return None


def files(folder: Path, title: str) -> list[Path]:
    """The four files in the order of `PARTS`.

    Raises:
        InputError: If any is missing; it names them all.
    """
    found = [find(folder, part) for part in PARTS]
    missing = [
        f"{part}-{_KINDS[part.partition('-')[2]][1]}-ubyte(.gz)"
        for part, path in zip(PARTS, found, strict=True)
        if path is None
    ]
    if missing:
        raise InputError(
            f"{folder} lacks {' and '.join(missing)}; {title} need all four idx files, "
            "two for training and two (t10k) for testing."
        )
    return found


def read(path: Path, kind: str) -> Idx:
    """Read one file.

    Args:
        path: Plain, or gzip where the name ends in `.gz`.
        kind: "images" or "labels".

    Raises:
        InputError: If it cannot be read, is no idx file of this kind, shorter or
            longer than its header says, has images of another size than 28 x 28, or
            labels above 9.
    """
    magic, _ = _KINDS[kind]
    length = _HEADER[kind]
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            head = file.read(length)
            numbers = np.frombuffer(head[: len(head) // 4 * 4], dtype=">u4")
            if len(head) < length or numbers[0] != magic:
                raise InputError(_no_idx(path, kind, numbers))
            count, shape = int(numbers[1]), tuple(int(n) for n in numbers[2:])
            if shape not in ((), (SIDE, SIDE)):
                raise InputError(
                    f"{path} holds images of {' x '.join(map(str, shape))} pixels; "
                    f"expected {SIDE} x {SIDE}."
                )
            if not 0 < count <= _MOST:
                raise InputError(f"{path} says that it holds {count} {kind}.")
            size = count * (SIDE * SIDE if shape else 1)
            body = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}.") from error
    if len(body) != size:
        than = "shorter" if len(body) < size else "longer"
        raise InputError(
            f"{path} is {than} than its header says: {count} {kind} take "
            f"{size + length} bytes."
        )
    values = np.frombuffer(body, dtype=np.uint8).reshape(count, *shape)
    if kind == "labels" and values.max() >= NUM_CLASSES:
        raise InputError(
            f"{path} holds the label {values.max()}; labels go from 0 to "
            f"{NUM_CLASSES - 1}."
        )
    digest = hashlib.md5(head, usedforsecurity=False)
    digest.update(body)
    return Idx(values, digest.hexdigest())


def check_pair(images: Idx, labels: Idx, image_path: Path, label_path: Path) -> None:
    """Images and labels of a split have to be equally many.

    Raises:
        InputError: If they are not.
    """
    if len(images.values) != len(labels.values):
        raise InputError(
            f"{image_path} holds {len(images.values)} images, but {label_path.name} "
            f"{len(labels.values)} labels; the two have to belong together."
        )


def _no_idx(path: Path, kind: str, numbers: np.ndarray) -> str:
    starts = f"starts with {numbers[0]}" if len(numbers) else "is empty"
    return (
        f"{path} {starts}, but an idx file of {kind} starts with the magic number "
        f"{_KINDS[kind][0]} and a count."
    )
