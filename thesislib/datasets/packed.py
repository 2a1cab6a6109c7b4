"""Datasets whose small images lie packed in a few files, one class a label."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from thesislib import paths
from thesislib.datasets.base import Reader
from thesislib.datasets.cache import Entry, Writer, build_once
from thesislib.datasets.fingerprint import hash_files
from thesislib.datasets.locate import private
from thesislib.datasets.located import Located
from thesislib.datasets.reading import Progress, num_threads
from thesislib.errors import InputError

VERSION = 1
"""Raised whenever the same files would be read to other values."""

_PAD = {28: 32}  # size: the size that zeros at the border make of it
_CHUNK = 256  # images a thread resizes at a time


@dataclass(frozen=True, kw_only=True)
class Packed:
    """All images of a dataset, as stored. Axes: N training, M test images."""

    train_images: np.ndarray  # (N, C, H, W), uint8
    train_labels: np.ndarray  # (N,), uint8, index of the class
    test_images: np.ndarray  # (M, C, H, W), uint8
    test_labels: np.ndarray  # (M,), uint8
    official: bool  # the content is that of the official release


class PackedReader(Reader):
    """A dataset of equally large images in a few files, each with a class."""

    modality = "shapes"
    size: ClassVar[int]  # side of the images, pixels
    channels: ClassVar[int]  # 1 grey, 3 RGB
    class_names: ClassVar[tuple[str, ...]]  # as the thesis's tables name them
    class_titles: ClassVar[tuple[str, ...]]  # the same in words
    class_counts: ClassVar[dict[str, tuple[int, ...]]]  # published, split: by class

    @abstractmethod
    def files(self, folder: Path) -> list[Path]:
        """The files that hold the dataset.

        Raises:
            InputError: If any is missing; it names them.
        """

    @abstractmethod
    def read(self, folder: Path) -> Packed:
        """Read and check all of them.

        Raises:
            InputError: If a file is damaged, or of another dataset.
        """


def find(
    reader: PackedReader,
    folder: Path,
    image_size: int,
    given: bool,
    progress: Progress | None = None,
) -> Located:
    """Read a packed dataset into the cache, check and describe it.

    Args:
        reader: Its reader.
        folder: What `reader.locate` returned.
        image_size: Side that images are wanted at, pixels.
        given: The folder was named by the user, who may mean a reduced set.
        progress: Called with (files hashed, files to hash).

    Raises:
        InputError: If the files are not whole, or not the official ones and not given.
    """
    hashes, unread = hash_files(reader.files(folder), paths.cache_dir(), progress)
    for path, reason in unread.items():
        raise InputError(f"{path} cannot be read: {reason}.")
    arrays, note = content(reader, folder, hashes)
    if not (note["official"] or given):
        raise InputError(
            f"The content of {folder} is not that of the official {reader.title}; to "
            "use it as it is, give this folder as data_root."
        )
    rule = "the official training and test images"
    notes = list(note["notes"])
    if not note["official"]:
        notes.append("the content is not that of the official release")
    text = json.dumps([reader.name, rule, note["sha256"]])
    counts = {split: len(arrays[f"{split}_labels"]) for split in ("train", "test")}
    return Located(
        name=reader.name,
        source="real",
        modality=reader.modality,
        image_size=image_size,
        counts=counts,
        published_counts=reader.published,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        provenance={
            "adapter": reader.name,
            "title": reader.title,
            "url": reader.url,
            "licence": reader.licence,
            "folder": private(folder),
            "split_rule": rule,
            "content_sha256": note["sha256"],
            "resize": resize_rule(reader.size, image_size),
            "repeated_images": note["repeats"],
            "notes": notes,
        },
        official=note["official"],
        adapter=reader,
        folder=folder,
        hashes=hashes,
    )


def content(
    reader: PackedReader, folder: Path, hashes: dict[Path, str]
) -> tuple[dict[str, np.ndarray], dict]:
    """All images and labels through the cache, mapped, and what is known of them.

    Returns:
        Arrays `train_images` and so on as in `Packed`, and `train_copied`, (N,), bool:
        the training image also lies among the test images. And a note: `official`,
        `sha256` and `repeats` by split, `notes`.
    """

    def build(writer: Writer) -> None:
        found = reader.read(folder)
        facts = {"official": found.official, "sha256": {}, "notes": []}
        digests = {}
        for split in ("train", "test"):
            images = getattr(found, f"{split}_images")
            labels = getattr(found, f"{split}_labels")
            writer.extend(f"{split}_images", images)
            writer.extend(f"{split}_labels", labels)
            digest = hashlib.sha256(json.dumps(images.shape).encode())
            digest.update(np.ascontiguousarray(images))
            digest.update(np.ascontiguousarray(labels))
            facts["sha256"][split] = digest.hexdigest()
            digests[split] = image_digests(images)
        test = set(digests["test"])
        copied = np.array([one in test for one in digests["train"]])
        writer.extend("train_copied", copied)
        facts["repeats"] = {
            split: len(all_) - len(set(all_)) for split, all_ in digests.items()
        } | {"training images also in test": int(copied.sum())}
        writer.note = facts

    return build_once(_entry(reader, hashes), build)


def image_digests(images: np.ndarray) -> list[bytes]:
    """A digest of the pixels of each image, (N, ...)."""
    return [
        hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest()
        for image in images
    ]


def resize_rule(size: int, image_size: int) -> str:
    """How images of one size come to another, one phrase."""
    if image_size == size:
        return f"none, {size} px as published"
    if _PAD.get(size) == image_size:
        border = (image_size - size) // 2
        return f"none, {size} px as published with {border} px of zeros on each side"
    return f"from {size} px, bicubic, antialiased"


class Images:
    """Images of a packed split at the size asked for, made when asked for.

    At the stored size, and with zeros around, they are the stored pixels. Other sizes
    are resized as `decode.read_image` does it.
    """

    def __init__(self, stored: np.ndarray, size: int, entry: Entry | None) -> None:
        """Wrap images as stored, (N, C, H, W), uint8.

        Args:
            stored: The images, in memory or mapped.
            size: Side wanted, pixels.
            entry: Where `keep` puts what it has resized; None keeps nothing.
        """
        self.stored, self.size, self.entry = stored, size, entry
        native = stored.shape[-1]
        self.exact = size in (native, _PAD.get(native))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Images by index, (n, C, size, size), uint8, in memory."""
        images = self.stored[indices]
        native = images.shape[-1]
        if not self.exact:
            return _resized(images, self.size)
        border = (self.size - native) // 2
        if border:
            edges = [(0, 0)] * 2 + [(border, border)] * 2
            images = np.pad(images, edges)
        return np.ascontiguousarray(images)

    def keep(self, indices: np.ndarray, name: str) -> np.ndarray:
        """As `take`, but what costs time is kept in the cache under a name."""
        if self.exact or self.entry is None:
            return self.take(indices)
        entry = Entry(self.entry.folder, f"{self.entry.key}-{self.size}-{name}")

        def build(writer: Writer) -> None:
            per_image = self.stored.shape[1] * self.size**2
            writer.reserve(len(indices) * per_image)
            for start in range(0, len(indices), 16 * _CHUNK):
                writer.extend("images", self.take(indices[start : start + 16 * _CHUNK]))

        return build_once(entry, build)[0]["images"]


def open_images(located: Located, stored: np.ndarray, split: str) -> Images:
    """The images of a split of a real dataset at the size it was located for."""
    entry = _entry(located.adapter, located.hashes)
    return Images(
        stored, located.image_size, Entry(entry.folder, f"{entry.key}-{split}")
    )


def _entry(reader: PackedReader, hashes: dict[Path, str]) -> Entry:
    facts = [VERSION, reader.name, sorted((p.name, h) for p, h in hashes.items())]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return Entry(paths.cache_dir() / "images", f"{reader.name}-{digest}")


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    """Bicubic with antialiasing, as for files; (N, C, size, size), uint8."""
    from PIL import Image

    out = np.empty((*images.shape[:2], size, size), dtype=np.uint8)

    def work(indices: Sequence[int]) -> None:
        for i in indices:
            for channel, plane in enumerate(images[i]):  # resizing knows no channels
                picture = Image.fromarray(plane)
                out[i, channel] = picture.resize((size, size), Image.Resampling.BICUBIC)

    with ThreadPoolExecutor(num_threads()) as pool:
        starts = range(0, len(images), _CHUNK)
        chunks = [range(s, min(s + _CHUNK, len(images))) for s in starts]
        list(pool.map(work, chunks))
    return out
