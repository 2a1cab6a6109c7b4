"""Datasets by name: where they lie, whether they are there, and loading them."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thesislib import paths
from thesislib.datasets import drawn, filelist, packed
from thesislib.datasets import patients as owners
from thesislib.datasets.base import Dataset, Reader, count
from thesislib.datasets.fingerprint import fingerprint, hash_files, leaks, repeats
from thesislib.datasets.locate import locate, private
from thesislib.datasets.located import Located, PhantomSize
from thesislib.datasets.packed import PackedReader
from thesislib.datasets.parts import (
    by_class,
    check_parts,
    divided,
    files_of,
    shared_patients,
)
from thesislib.datasets.reading import Progress
from thesislib.datasets.videos import find as videos
from thesislib.datasets.videos.base import (
    Describe,
    VideoOptions,
    VideoPhantomSize,
    VideoReader,
)
from thesislib.datasets.videos.find import LocatedVideos
from thesislib.errors import InputError

if TYPE_CHECKING:
    from thesislib.datasets.classes import ClassDataset
    from thesislib.datasets.decoded import Decoded
    from thesislib.datasets.videos.dataset import VideoDataset

_ADAPTERS = {  # name: module, class
    "hyperkvasir": ("hyperkvasir", "HyperKvasir"),
    "lag": ("lag", "Lag"),
    "liu-colonoscopy": ("liu_colonoscopy", "LiuColonoscopy"),
    "covidx": ("covidx", "Covidx"),
    "chestxray": ("chest_xray", "ChestXray"),
    "mnist": ("mnist", "Mnist"),
    "fmnist": ("fmnist", "FashionMnist"),
    "cifar10": ("cifar10", "Cifar10"),
    "mvtec": ("mvtec", "MvtecAd"),
    "folder": ("folder", "Folder"),
}
_VIDEOS = {  # the same, of videos
    "shanghaitech": ("shanghaitech", "ShanghaiTech"),
    "ucfcrime": ("ucf_crime", "UcfCrime"),
    "xdviolence": ("xd_violence", "XdViolence"),
    "ucsdped1": ("ucsd_ped", "UcsdPed1"),
    "ucsdped2": ("ucsd_ped", "UcsdPed2"),
    "polypvideo": ("polyp_video", "PolypVideo"),
    "video-folder": ("folder", "VideoFolder"),
}
NAMES = tuple(_ADAPTERS)
VIDEO_NAMES = tuple(_VIDEOS)
SOURCES = ("auto", "real", "phantom")
ON_BAD_IMAGE = ("error", "skip")
_NAMED = 50  # bad files that one error names


def adapter(name: str) -> Reader:
    """The reader of a dataset's official layout.

    Raises:
        InputError: If the name is unknown; it lists those that are allowed.
    """
    if name in _VIDEOS:
        module, cls = _VIDEOS[name]
        return getattr(import_module(f"thesislib.datasets.videos.{module}"), cls)()
    if name not in _ADAPTERS:
        allowed = ", ".join((*NAMES, *VIDEO_NAMES))
        raise InputError(f"dataset is {name!r}; allowed are {allowed}.")
    module, cls = _ADAPTERS[name]
    return getattr(import_module(f"thesislib.datasets.{module}"), cls)()


def find(
    name: str,
    source: str = "auto",
    data_root: str | Path = "",
    *,
    seed: int = 0,
    image_size: int,
    phantom: PhantomSize | None = None,
    on_bad_image: str = "error",
    file_list: str | Path | None = None,
    patients: str = "",
    progress: Progress | None = None,
) -> Located:
    """Locate a dataset, list and hash its files; no image file is decoded.

    Where a few files hold all images (`mnist`, `fmnist`, `cifar10`), they are read
    into the cache, since it is their content that says what they are.

    Args:
        name: One of `NAMES`.
        source: `real`, `phantom`, or `auto`: the real data if found, else the
            phantom of the same modality.
        data_root: The dataset's own folder, or one that holds it under its official
            name, or CIFAR-10's archive; "" means `paths.data_dir()`, then folders of
            system packages (Debian's Fashion-MNIST). A folder that is given has to
            hold the dataset, whatever the source.
        seed: Draws the phantom. Real splits do not depend on it, so that runs with
            other seeds judge the same images.
        image_size: Side of the square that images are resized to, pixels.
        phantom: Size of the phantom; None means `PhantomSize()`.
        on_bad_image: `error`, or `skip` files that cannot be read and record them.
        file_list: CSV with the columns file and split that replaces the split.
        patients: Whose images are whose, for `folder`; see `patients.assign`.
        progress: Called with (files hashed, files to hash).

    Raises:
        InputError: If a parameter is not allowed, the dataset is absent (it says
            what to fetch and where to put it) or incomplete, or a test image is also
            a training image (in official releases by class, this is noted instead).
    """
    reader = adapter(name)
    if isinstance(reader, VideoReader):
        raise InputError(
            f"dataset is {name!r}, which holds videos; allowed here are "
            f"{', '.join(NAMES)}."
        )
    _allow("source", source, SOURCES)
    _allow("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    if type(image_size) is not int or image_size < 8:
        raise InputError(
            f"image_size is {image_size!r}, but must be a whole number of pixels, "
            "at least 8."
        )
    check_patients(reader, patients)
    _check_phantom(reader, source)
    folder = locate(reader, source, str(data_root))
    if folder is None or source == "phantom":
        if file_list:
            raise InputError(
                f"file_list is {str(file_list)!r}, but it needs the real data and "
                f"{reader.title} were {'not asked for' if folder else 'not found'}."
            )
        return drawn.describe(reader, seed, image_size, phantom or PhantomSize())
    if isinstance(reader, PackedReader):
        if file_list:
            raise InputError(
                f"file_list is {str(file_list)!r}, but {reader.title} have no files of "
                "their own to list."
            )
        return packed.find(reader, folder, image_size, bool(data_root), progress)

    listing = reader.listing(folder)
    if file_list:
        listing = filelist.apply(listing, paths.resolve(file_list))
    hashes, unread = hash_files(files_of(listing), paths.cache_dir(), progress)
    skipped = [f"{filelist.relative(p, folder)} ({why})" for p, why in unread.items()]
    if skipped and on_bad_image == "error":
        raise _bad_images(skipped)
    if patients:
        listing = owners.assign(listing, patients, hashes)
    items = divided(listing, hashes)
    notes, classes = list(listing.notes), by_class(items, reader)
    if patients:
        notes += owners.warning(items)
    for part in classes.values():
        check_parts(part, folder)
        if pairs := leaks(part, hashes):
            if len(classes) == 1:
                raise _leak(pairs)
            notes.append(_leak_sentence(pairs))
    located = Located(
        name=name,
        source="real",
        modality=reader.modality,
        image_size=image_size,
        counts=count(items),
        published_counts=reader.published,
        fingerprint=fingerprint(name, listing.rule, items, hashes),
        provenance={},
        on_bad_image=on_bad_image,
        adapter=reader,
        folder=folder,
        items=items,
        hashes=hashes,
    )
    provenance = {
        "adapter": name,
        "title": reader.title,
        "url": reader.url,
        "licence": reader.licence,
        "folder": private(folder),
        "split_rule": listing.rule,
        "file_list_sha256": hashlib.sha256(located.file_list().encode()).hexdigest(),
        "resize": "bicubic, antialiased, to a square: aspect ratio not kept",
        "crop": list(reader.box),
        "repeated_images": repeats(items, hashes),
        "patients_in_both_splits": shared_patients(items),
        "skipped": skipped,
        "notes": notes,
    }
    return replace(located, provenance=provenance)


def load(
    located: Located,
    *,
    device: object = "cpu",
    progress: Progress | None = None,
    memory_fraction: float | None = None,
) -> "Dataset | ClassDataset":
    """Decode a real dataset through the cache, or draw the phantom.

    A dataset whose classes take turns in being normal comes as a `ClassDataset`.

    Args:
        located: What `find` returned.
        device: Where images are wanted, a torch device or its name.
        progress: Called with (images decoded, images); not called if nothing is left
            to decode.
        memory_fraction: Part of the device's free memory that each bank may take;
            None means `bank.MEMORY_FRACTION`.

    Raises:
        InputError: If images cannot be read (it names them all), or the cache cannot
            be written.
    """
    from thesislib.datasets.bank import MEMORY_FRACTION

    fraction = MEMORY_FRACTION if memory_fraction is None else memory_fraction
    if located.source == "phantom":
        return drawn.load(located, device, fraction)
    if isinstance(located.adapter, PackedReader):
        from thesislib.datasets.classes import from_files

        return from_files(located, device, fraction)
    if located.adapter.class_names:
        from thesislib.datasets.classes import from_folders

        return from_folders(
            located, lambda one: _load_real(one, device, fraction, progress)
        )
    return _load_real(located, device, fraction, progress)


def find_videos(
    name: str,
    source: str = "auto",
    data_root: str | Path = "",
    *,
    seed: int = 0,
    options: VideoOptions | None = None,
    phantom: VideoPhantomSize | None = None,
    progress: Progress | None = None,
) -> LocatedVideos:
    """Locate a dataset of videos, list and hash its files; none is read.

    Args:
        name: One of `VIDEO_NAMES`.
        source: As in `find`.
        data_root: As in `find`.
        seed: Draws the phantom.
        options: How to read real data; None means `VideoOptions()`.
        phantom: Size of the phantom; None means `VideoPhantomSize()`.
        progress: Called with (files hashed, files to hash).

    Raises:
        InputError: If a parameter is not allowed, or the dataset is absent (it says
            what to fetch and where to put it) or contradicts itself.
    """
    reader = adapter(name)
    if not isinstance(reader, VideoReader):
        raise InputError(
            f"dataset is {name!r}, which holds images; allowed here are "
            f"{', '.join(VIDEO_NAMES)}."
        )
    _allow("source", source, SOURCES)
    _check_phantom(reader, source)
    options = options or VideoOptions()
    folder = locate(reader, source, str(data_root))
    if folder is None or source == "phantom":
        size = phantom or VideoPhantomSize()
        return videos.describe_phantom(reader, seed, size, options)
    return videos.find(reader, folder, options, progress)


def load_videos(
    located: LocatedVideos,
    *,
    describe: Describe | None = None,
    progress: Progress | None = None,
) -> "VideoDataset":
    """Read located videos, or draw the phantom; see `videos.load.load`."""
    from thesislib.datasets.videos.load import load

    return load(located, describe=describe, progress=progress)


def _check_phantom(reader: Reader, source: str) -> None:
    if source == "phantom" and not reader.has_phantom:
        raise InputError(f"dataset {reader.name!r} has no phantom; use source 'real'.")


def _load_real(
    located: Located, device: object, fraction: float, progress: Progress | None
) -> Dataset:
    from thesislib.datasets.bank import ImageBank
    from thesislib.datasets.decoded import decode_split

    parts = {
        split: [item for item in located.items if item.split == split]
        for split in ("train", "test")
    }
    decoded, done = {}, 0
    for split, items in parts.items():
        decoded[split] = decode_split(
            items,
            located.hashes,
            located.adapter,
            located.image_size,
            paths.cache_dir(),
            _shifted(progress, done, len(located.items)),
        )
        done += len(items)
    problems = [*decoded["train"].problems, *decoded["test"].problems]
    if problems and located.on_bad_image == "error":
        raise _bad_images(problems)
    train, test = decoded["train"], decoded["test"]
    items = train.items + test.items
    check_parts(items, located.folder)
    patients = [item.patient for item in test.items]
    counts = count(items)
    return Dataset(
        name=located.name,
        source="real",
        modality=located.modality,
        train=ImageBank(train.images, device, fraction),
        test=ImageBank(test.images, device, fraction),
        test_labels=np.array([item.label for item in test.items], dtype=np.int64),
        test_kinds=tuple(item.kind for item in test.items),
        test_patients=None if None in patients else np.array(patients, dtype=str),
        test_masks=test.masks,
        test_ids=tuple(item.id for item in test.items),
        train_ids=tuple(item.id for item in train.items),
        counts=counts,
        published_counts=located.published_counts,
        partial=located.published_counts not in (None, counts),
        fingerprint=located.fingerprint,
        provenance=located.provenance
        | {
            "skipped": located.provenance["skipped"] + problems,
            "empty_masks": None if test.masks is None else _num_empty(test),
        },
    )


def check_patients(reader: Reader, patients: str) -> None:
    """Only images of one's own need to be told whose they are.

    Raises:
        InputError: If `patients` is given for another dataset.
    """
    if patients and not getattr(reader, "takes_patients", False):
        raise InputError(
            f"patients is {patients!r}, which is for the dataset 'folder'; "
            f"{reader.title} come as their authors publish them, with ids or without."
        )


def _leak(pairs: list[tuple[str, str]]) -> InputError:
    return InputError(
        f"{_leak_sentence(pairs)}; remove one of the two, or leave it out by a file "
        "list."
    )


def _leak_sentence(pairs: list[tuple[str, str]]) -> str:
    train, test = pairs[0]
    more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
    return (
        f"The test image {test} has the same content as the training image {train}"
        f"{more}"
    )


def _bad_images(problems: list[str]) -> InputError:
    more = len(problems) - _NAMED
    return InputError(
        f"{len(problems)} file(s) of the dataset cannot be used: "
        f"{', '.join(problems[:_NAMED])}"
        + (f" and {more} more" if more > 0 else "")
        + "; repair or remove them, or set on_bad_image to 'skip'."
    )


def _num_empty(test: "Decoded") -> int:
    """Abnormal images whose mask shows nothing, at this size and after the crop."""
    empty = ~test.masks.any(axis=(1, 2))
    labels = np.array([item.label for item in test.items], dtype=bool)
    return int((labels & empty).sum())


def _shifted(
    progress: Progress | None, done: int, total: int
) -> Callable[[int, int], None] | None:
    """Progress of a part as progress of the whole."""
    if progress is None:
        return None
    return lambda part, _: progress(done + part, total)


def _allow(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; allowed are {', '.join(allowed)}.")
