"""Datasets by name: where they lie, whether they are there, and loading them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thesislib import paths
from thesislib.datasets import drawn, filelist, greys, packed, survey
from thesislib.datasets import patients as owners
from thesislib.datasets.base import Dataset, Reader, count
from thesislib.datasets.fingerprint import fingerprint, hash_files, leaks, repeats
from thesislib.datasets.locate import locate, private
from thesislib.datasets.located import Located, PhantomSize
from thesislib.datasets.packed import PackedReader
from thesislib.datasets.parts import (
    by_class,
    check_levels,
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
Refuse = Callable[[InputError], None]
NAMES = tuple(_ADAPTERS)
VIDEO_NAMES = tuple(_VIDEOS)
SOURCES = ("auto", "real", "phantom")
ON_BAD_IMAGE = ("error", "skip")
_NAMED = 50  # bad files that one error names


def at_once(reason: InputError) -> None:
    """Refuse data at the first reason."""
    raise reason


class BadImages(InputError):
    """Files that cannot be used, all in one sentence."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems  # "file (reason)" of each
        more = len(problems) - _NAMED
        super().__init__(
            f"{len(problems)} file(s) of the dataset cannot be used: "
            f"{', '.join(map(filelist.shown, problems[:_NAMED]))}"
            + (f" and {more} more" if more > 0 else "")
            + "; repair or remove them, or set on_bad_image to 'skip'."
        )


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
    grey_range: Sequence[float] = (),
    lesion_levels: Sequence[int] = (),
    progress: Progress | None = None,
    refuse: Refuse = at_once,
) -> Located:
    """Locate a dataset, list, hash and survey its files; no image is resized yet.

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
        grey_range: Black and white of files of more than 8 bits; () decides, see
            `greys.decide`.
        lesion_levels: Grey levels of masks that are lesions; () takes the upper half.
        progress: Called with (files hashed, files to hash).
        refuse: Called with each reason not to use the data that leaves others to be
            found; a run stops at the first.

    Raises:
        InputError: If a parameter is not allowed, the dataset is absent (it says
            what to fetch and where to put it) or incomplete, or a test image is also
            a training image (in official releases by class, this is noted instead), or
            the greys cannot be known.
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
    for value in lesion_levels:
        if not 0 <= value < 2**16:
            raise InputError(
                f"lesion_levels is {list(lesion_levels)}; grey levels of masks are "
                "whole numbers from 0 to 65535."
            )
    folder = locate(reader, source, str(data_root))
    given = {
        "file_list": str(file_list or ""),
        "grey_range": list(grey_range),
        "lesion_levels": list(lesion_levels),
    }
    if folder is None or source == "phantom":
        absent = "not asked for" if folder else "not found"
        what = f"it needs the real data and {reader.title} were {absent}"
        _refuse_any(given, what)
        return drawn.describe(reader, seed, image_size, phantom or PhantomSize())
    if isinstance(reader, PackedReader):
        what = f"{reader.title} have no files of their own to list or to read by it"
        _refuse_any(given, what)
        return packed.find(reader, folder, image_size, bool(data_root), progress)

    try:
        listing = reader.listing(folder)
    except OSError as error:
        raise InputError(
            f"{filelist.shown(error.filename)} cannot be read: {error.strerror}."
        ) from error
    if file_list:
        listing = filelist.apply(listing, paths.resolve(file_list))
    hashes, unread = hash_files(files_of(listing), paths.cache_dir(), progress)
    skipped = [f"{filelist.relative(p, folder)} ({why})" for p, why in unread.items()]
    if skipped and on_bad_image == "error":
        refuse(BadImages(skipped))
    if patients:
        listing = owners.assign(listing, patients, hashes)
    items = divided(listing, hashes)
    considered = [item for item in listing.items if item.split or listing.draw]
    seen = survey.survey(considered, hashes, paths.cache_dir())
    ends = _decided(seen, grey_range, refuse)
    notes, classes = [*listing.notes, *seen.pages(items)], by_class(items, reader)
    if patients:
        notes += owners.warning(items)
    for part in classes.values():
        try:
            check_parts(part, folder)
        except InputError as error:
            refuse(error)
        if pairs := leaks(part, hashes):
            if len(classes) == 1:
                refuse(_leak(pairs))
            else:
                notes.append(_leak_sentence(pairs))
    located = Located(
        name=name,
        source="real",
        modality=reader.modality,
        image_size=image_size,
        counts=count(items),
        published_counts=reader.published,
        fingerprint=fingerprint(name, _with_greys(listing.rule, ends), items, hashes),
        provenance={},
        on_bad_image=on_bad_image,
        adapter=reader,
        folder=folder,
        items=items,
        hashes=hashes,
        facts=seen.facts,
        greys=ends,
        whole=seen.whole(items),
        lesion_levels=tuple(lesion_levels),
        drawn=listing.draw is not None,
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
        "greys": asdict(ends) if ends else None,
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
    refuse: Refuse = at_once,
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
        refuse: As for `find`.

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
            located, lambda one: _load_real(one, device, fraction, progress, refuse)
        )
    return _load_real(located, device, fraction, progress, refuse)


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
    located: Located,
    device: object,
    fraction: float,
    progress: Progress | None,
    refuse: Refuse,
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
            greys=located.greys,
            whole=located.whole,
            lesion=located.lesion_levels,
        )
        done += len(items)
    train, test = decoded["train"], decoded["test"]
    problems = [*train.problems, *test.problems]
    if problems and located.on_bad_image == "error":
        refuse(BadImages(problems))
    digests = train.digests | test.digests
    notes = list(located.provenance["notes"])
    if pairs := leaks(train.items + test.items, digests):
        test, told = _without_copies(located, test, pairs, refuse)
        notes += told
    try:
        check_levels({**train.levels, **test.levels}, located.lesion_levels)
        check_parts(train.items + test.items, located.folder)
    except InputError as error:
        refuse(error)
    items = train.items + test.items
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
        sizes=np.concatenate([train.sizes, test.sizes]),
        counts=counts,
        published_counts=located.published_counts,
        partial=located.published_counts not in (None, counts),
        fingerprint=located.fingerprint,
        provenance=located.provenance
        | {
            "skipped": located.provenance["skipped"] + problems,
            "repeated_images": repeats(items, digests),
            "notes": notes,
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


def _refuse_any(given: dict[str, object], why: str) -> None:
    for name, value in given.items():
        if value:
            raise InputError(f"{name} is {value!r}, but {why}.")


def _decided(
    seen: survey.Survey, given: Sequence[float], refuse: Refuse
) -> greys.Greys | None:
    try:
        return greys.decide(seen.facts.values(), given)
    except InputError as error:
        refuse(error)
    return greys.SIXTEEN_BITS  # so that a check can go on


def _with_greys(rule: str, ends: greys.Greys | None) -> str:
    """The split rule and what else decides pixels, for the fingerprint."""
    return f"{rule}, greys {ends.low:g} to {ends.high:g}" if ends else rule


def _without_copies(
    located: Located, test: "Decoded", pairs: list[tuple[str, str]], refuse: Refuse
) -> tuple["Decoded", list[str]]:
    """Test images without those whose pixels train as well, and notes.

    Where we drew the split, normal copies are left out. Of a published release a note
    has to do; the owner of a split can mend it.
    """
    copies = {image for _, image in pairs}
    normal = {item.id for item in test.items if item.label == 0}
    ours = [pair for pair in pairs if located.drawn and pair[1] in normal]
    others = [pair for pair in pairs if pair not in ours]
    notes = []
    if others and located.adapter.split_is_owners:
        refuse(_leak(others))
    elif others:
        notes.append(_leak_sentence(others))
    if ours:
        notes.append(
            f"{len(ours)} normal image(s) are not tested, since their pixels are those "
            f"of a training image: {filelist.some([image for _, image in ours])}"
        )
        test = test.without(copies & normal)
    return test, notes


def _leak(pairs: list[tuple[str, str]]) -> InputError:
    return InputError(
        f"{_leak_sentence(pairs)}; remove one of the two, or leave it out by "
        "file_list, a CSV file with the columns file and split."
    )


def _leak_sentence(pairs: list[tuple[str, str]]) -> str:
    train, test = pairs[0]
    more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
    return (
        f"The test image {filelist.shown(test)} has the same content as the training "
        f"image {filelist.shown(train)}"
        f"{more}"
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
