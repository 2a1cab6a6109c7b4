"""A split of image files, decoded once and kept as arrays."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL

from thesislib.datasets import decode, dicom
from thesislib.datasets.base import Adapter, Item
from thesislib.datasets.cache import Entry, Writer, build_once
from thesislib.datasets.filelist import shown
from thesislib.datasets.greys import Greys
from thesislib.datasets.reading import Progress, num_threads
from thesislib.errors import InputError

_DIGEST = 16  # bytes


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One split after decoding. Axes: N images that could be read."""

    images: np.ndarray  # (N, 3, H, W), uint8, mapped
    masks: np.ndarray | None  # (N, H, W), bool, mapped; None where none are given
    items: tuple[Item, ...]  # (N,)
    problems: tuple[str, ...]  # "file (reason)" of each that could not be read
    sizes: np.ndarray  # (N, 2), int32, width and height of the originals
    digests: dict[Path, str]  # of the pixels before they are resized, hexadecimal
    levels: dict[int, str]  # grey levels of the masks, and a mask that has each

    def without(self, ids: Collection[str]) -> "Decoded":
        """The split without some images."""
        kept = [index for index, item in enumerate(self.items) if item.id not in ids]
        return replace(
            self,
            images=self.images[kept],
            masks=None if self.masks is None else self.masks[kept],
            items=tuple(self.items[index] for index in kept),
            sizes=self.sizes[kept],
        )


def decode_split(
    items: Sequence[Item],
    hashes: dict[Path, str],
    adapter: Adapter,
    image_size: int,
    cache: Path,
    progress: Progress | None = None,
    *,
    greys: Greys | None = None,
    whole: Collection[Path] = (),
    lesion: tuple[int, ...] = (),
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
        greys: Ends of greys of more than 8 bits.
        whole: JPEGs whose digest has to be that of all their pixels.
        lesion: Grey levels of masks that are lesions; () takes the upper half.

    Raises:
        InputError: If the system does not let a file be read, or the cache cannot
            be written. Files that are no proper images are returned as problems.
    """
    with_masks = any(item.mask for item in items)
    reading = [
        [greys.low, greys.high] if greys else None,
        [item.id for item in items if item.path in whole],
        lesion,
    ]
    key = _key(items, hashes, adapter, image_size, reading)
    entry = Entry(cache / "images", key)

    def one(item: Item) -> dict[str, np.ndarray | set[int]] | str:
        file, hasher = item.path, hashlib.blake2b(digest_size=_DIGEST)
        try:
            given = None if file in whole else hasher
            image, full = decode.read_image(file, image_size, adapter.box, greys, given)
            if file in whole:
                decode.hash_whole(file, greys, hasher)
            result = {
                "images": image,
                "sizes": np.array(full, dtype=np.int32),
                "digests": np.frombuffer(hasher.digest(), dtype=np.uint8),
            }
            if not with_masks:
                return result
            if item.mask is None:
                empty = np.zeros((image_size, image_size), dtype=bool)
                return result | {"masks": empty}
            file, seen = item.mask, set()
            mask = decode.read_mask(
                file,
                image_size,
                adapter.box,
                full=full,
                heat_map=adapter.heat_maps,
                lesion=lesion,
                seen=seen,
            )
            return result | {"masks": mask, "levels": seen}
        except decode.BadImageError as error:
            name = item.id
            if file == item.mask:
                name = _mask_name(item)
            if not error.lasting:
                raise InputError(f"{shown(name)} cannot be read: {error}.") from error
            return f"{name} ({error})"

    def build(writer: Writer) -> None:
        per_image = (3 + with_masks) * image_size**2
        writer.reserve(len(items) * per_image)
        kept, problems, levels = [], [], {}
        for index, result in enumerate(_in_threads(one, items)):
            if isinstance(result, str):
                problems.append(result)
            else:
                for value in result.pop("levels", ()):
                    levels.setdefault(value, _mask_name(items[index]))
                for name, array in result.items():
                    writer.append(name, array)
                kept.append(index)
            if progress:
                progress(index + 1, len(items))
        writer.note = {"kept": kept, "problems": problems, "levels": [*levels.items()]}

    arrays, note = build_once(entry, build)
    if "images" not in arrays:
        arrays = {
            "images": np.zeros((0, 3, image_size, image_size), dtype=np.uint8),
            "sizes": np.zeros((0, 2), dtype=np.int32),
            "digests": np.zeros((0, _DIGEST), dtype=np.uint8),
        }
    kept = tuple(items[index] for index in note["kept"])
    digests = (row.tobytes().hex() for row in arrays["digests"])
    return Decoded(
        images=arrays["images"],
        masks=arrays.get("masks"),
        items=kept,
        problems=tuple(note["problems"]),
        sizes=arrays["sizes"],
        digests=dict(zip([item.path for item in kept], digests, strict=True)),
        levels=dict(note["levels"]),
    )


def _mask_name(item: Item) -> str:
    return f"mask {item.mask.parent.name}/{item.mask.name}"


def _in_threads(one: Callable, items: Sequence, ahead: int = 256) -> Iterator:
    """Results of `one` in order, worked out in threads, at most `ahead` at a time."""
    with ThreadPoolExecutor(num_threads()) as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(one, items[start : start + ahead])


def _key(
    items: Sequence[Item],
    hashes: dict[Path, str],
    adapter: Adapter,
    image_size: int,
    reading: list,
) -> str:
    """Address of a decoded split: contents, order, size, crop, decoders."""
    facts = [
        [decode.VERSION, PIL.__version__, image_size, adapter.box, adapter.heat_maps],
        [[hashes[i.path], hashes[i.mask] if i.mask else ""] for i in items],
        [i.id for i in items],  # named among the problems
        reading,
    ]
    if any(dicom.is_dicom(item.path) for item in items):
        facts.append(["pydicom", dicom.version()])
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return f"{adapter.name}-{image_size}-{digest}"
