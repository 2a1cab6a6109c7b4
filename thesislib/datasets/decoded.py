"""A split of image files, decoded once and kept as arrays."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from thesislib.datasets import decode, dicom
from thesislib.datasets.base import Adapter, Item
from thesislib.datasets.cache import Entry, Writer, build_once
from thesislib.datasets.reading import Progress, num_threads
from thesislib.errors import InputError


@dataclass(frozen=True)
class Decoded:
    """One split after decoding. Axes: N images that could be read."""

    images: np.ndarray  # (N, 3, H, W), uint8, mapped
    masks: np.ndarray | None  # (N, H, W), bool, mapped; None where none are given
    items: tuple[Item, ...]  # (N,)
    problems: tuple[str, ...]  # "file (reason)" of each that could not be read


def decode_split(
    items: Sequence[Item],
    hashes: dict[Path, str],
    adapter: Adapter,
    image_size: int,
    cache: Path,
    progress: Progress | None = None,
) -> Decoded:
    """Decode a split through the cache.

    Args:
        items: Images in the order wanted; masks are read if any item has one, and
            are empty for normal images.
        hashes: Content hash of every file, part of the key.
        adapter: Says how to crop and how to read masks.
        image_size: Side, pixels.
        cache: Folder of the cache.
        progress: Called with (images done, images).

    Raises:
        InputError: If the system does not let a file be read, or the cache cannot
            be written. Files that are no proper images are returned as problems.
    """
    with_masks = any(item.mask for item in items)
    entry = Entry(cache / "images", _key(items, hashes, adapter, image_size))

    def one(item: Item) -> tuple[np.ndarray, np.ndarray | None] | str:
        file = item.path
        try:
            image, full = decode.read_image(file, image_size, adapter.box)
            if not with_masks:
                return image, None
            if item.mask is None:
                return image, np.zeros((image_size, image_size), dtype=bool)
            file = item.mask
            return image, decode.read_mask(
                file,
                image_size,
                adapter.box,
                full=full,
                heat_map=adapter.heat_maps,
            )
        except decode.BadImageError as error:
            name = item.id
            if file == item.mask:
                name = f"mask {file.parent.name}/{file.name}"
            if not error.lasting:
                raise InputError(f"{name} cannot be read: {error}.") from error
            return f"{name} ({error})"

    def build(writer: Writer) -> None:
        per_image = (3 + with_masks) * image_size**2
        writer.reserve(len(items) * per_image)
        kept, problems = [], []
        for index, result in enumerate(_in_threads(one, items)):
            if isinstance(result, str):
                problems.append(result)
            else:
                writer.append("images", result[0])
                if with_masks:
                    writer.append("masks", result[1])
                kept.append(index)
            if progress:
                progress(index + 1, len(items))
        writer.note = {"kept": kept, "problems": problems}

    arrays, note = build_once(entry, build)
    if "images" not in arrays:
        empty = (0, 3, image_size, image_size)
        arrays = {"images": np.zeros(empty, dtype=np.uint8)}
    return Decoded(
        arrays["images"],
        arrays.get("masks"),
        tuple(items[index] for index in note["kept"]),
        tuple(note["problems"]),
    )


def _in_threads(one: Callable, items: Sequence, ahead: int = 256) -> Iterator:
    """Results of `one` in order, worked out in threads, at most `ahead` at a time."""
    with ThreadPoolExecutor(num_threads()) as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(one, items[start : start + ahead])


def _key(
    items: Sequence[Item], hashes: dict[Path, str], adapter: Adapter, image_size: int
) -> str:
    """Address of a decoded split: contents, order, size, crop, decoders."""
    facts = [
        [decode.VERSION, PIL.__version__, image_size, adapter.box, adapter.heat_maps],
        [[hashes[i.path], hashes[i.mask] if i.mask else ""] for i in items],
        [i.id for i in items],  # named among the problems
    ]
    if any(dicom.is_dicom(item.path) for item in items):
        facts.append(["pydicom", dicom.version()])
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return f"{adapter.name}-{image_size}-{digest}"
