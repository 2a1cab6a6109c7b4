"""Listing and hashing the videos of a folder, or describing a phantom of them."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from thesislib import paths
from thesislib.datasets.fingerprint import hash_files
from thesislib.datasets.locate import private
from thesislib.datasets.reading import Progress
from thesislib.datasets.videos.base import (
    GROUND_TRUTHS,
    Video,
    VideoListing,
    VideoOptions,
    VideoPhantomSize,
    VideoReader,
    count,
)
from thesislib.errors import InputError

_NAMED = 20  # files that one error names


@dataclass(frozen=True, kw_only=True)
class LocatedVideos:
    """Videos that were found, listed and hashed, but not read."""

    name: str
    source: str  # "real" or "phantom"
    modality: str
    counts: dict[str, int]
    published_counts: dict[str, int] | None
    fingerprint: str
    options: VideoOptions
    provenance: dict = field(repr=False)
    frames_per_second: float = 25.0
    seed: int = 0  # phantoms only
    phantom: VideoPhantomSize | None = None
    reader: VideoReader | None = field(default=None, repr=False, compare=False)
    folder: Path | None = field(default=None, repr=False)
    videos: tuple[Video, ...] = field(default=(), repr=False)
    missing: tuple[str, ...] = field(default=(), repr=False)
    vector: Path | None = field(default=None, repr=False)
    draws: tuple[frozenset[str], ...] = field(default=(), repr=False)
    hashes: dict[Path, str] = field(default_factory=dict, repr=False)

    @property
    def partial(self) -> bool:
        """Whether the counts are others than the publication's."""
        return self.published_counts not in (None, self.counts)

    def file_list(self) -> str:
        """The split as CSV text: video, split, label, kind; "" for a phantom."""
        lines = [f'"{v.id}",{v.split},{v.label},{v.kind}\n' for v in self.videos]
        return "".join(["video,split,label,kind\n", *lines]) if lines else ""


def find(
    reader: VideoReader,
    folder: Path,
    options: VideoOptions,
    progress: Progress | None = None,
) -> LocatedVideos:
    """List and hash the videos of a folder.

    Args:
        reader: Its reader.
        folder: What `reader.locate` returned.
        options: How to read them.
        progress: Called with (files hashed, files to hash).

    Raises:
        InputError: If a list is missing, contradicts another or names no video that
            is there, or a file cannot be read.
    """
    check_options(options)
    listing = reader.listing(folder, options)
    check_names(listing.videos)
    counts = count(listing.videos)
    if empty := [part for part, number in counts.items() if not number]:
        raise InputError(
            f"{folder} is left with no {' and no '.join(empty)} videos; each part "
            "needs at least one."
        )
    vector = [listing.vector] if listing.vector else []
    masks = [v.mask for v in listing.videos if v.mask]
    files = [path for v in listing.videos for path in v.files]
    hashes, unread = hash_files([*files, *masks, *vector], paths.cache_dir(), progress)
    if unread:
        named = [f"{path.name} ({why})" for path, why in unread.items()]
        raise InputError(
            f"{len(named)} file(s) cannot be read: {', '.join(named[:_NAMED])}."
        )
    missing = tuple(v.id for v in listing.videos if not v.files)
    notes = list(listing.notes)
    if missing:
        notes.append(
            f"{len(missing)} of {len(listing.videos)} listed videos are not there, the "
            f"first {missing[0]}"
        )
    facts = [
        reader.name,
        listing.rule,
        asdict(options) | {"annotations": ""},
        [
            [v.id, v.split, v.label, v.kind, v.events, v.num_frames]
            + [hashes[path] for path in (*v.files, *([v.mask] if v.mask else []))]
            for v in listing.videos
        ],
        [hashes[path] for path in vector],
        [sorted(draw) for draw in listing.draws],
    ]
    text = json.dumps(facts, ensure_ascii=False)
    located = LocatedVideos(
        name=reader.name,
        source="real",
        modality=reader.modality,
        counts=counts,
        published_counts=reader.published,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        options=options,
        provenance={},
        frames_per_second=reader.frames_per_second or options.frames_per_second,
        reader=reader,
        folder=folder,
        videos=_in_banks(listing),
        missing=missing,
        vector=listing.vector,
        draws=listing.draws,
        hashes=hashes,
    )
    provenance = {
        "adapter": reader.name,
        "title": reader.title,
        "url": reader.url,
        "licence": reader.licence,
        "folder": private(folder),
        "split_rule": listing.rule,
        "file_list_sha256": hashlib.sha256(located.file_list().encode()).hexdigest(),
        "num_segments": options.num_segments,
        "missing": list(missing),
        "notes": notes,
    }
    return replace(located, provenance=provenance)


def _in_banks(listing: VideoListing) -> tuple[Video, ...]:
    """Normal training videos, abnormal ones, then test videos in the lists' order.

    So each bank is one piece of the array, which needs no copy.
    """
    if listing.draws:
        return listing.videos

    def place(video: Video) -> int:
        return 2 if video.split == "test" else video.label

    return tuple(sorted(listing.videos, key=place))


def check_options(options: VideoOptions) -> None:
    """Refuse values that are not allowed."""
    if options.ground_truth not in GROUND_TRUTHS:
        raise InputError(
            f"ground_truth is {options.ground_truth!r}; allowed are "
            f"{', '.join(GROUND_TRUTHS)}."
        )
    for name in ("num_segments", "snippet"):
        value = getattr(options, name)
        if type(value) is not int or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number above 0.")
    if not options.frames_per_second > 0:
        raise InputError(
            f"frames_per_second is {options.frames_per_second}; it must be above 0."
        )


def check_names(videos: tuple[Video, ...]) -> None:
    """Refuse a list that names a video twice."""
    seen: set[str] = set()
    for video in videos:
        if video.id in seen:
            raise InputError(f"Video {video.id} is listed a second time.")
        seen.add(video.id)


def describe_phantom(
    reader: VideoReader, seed: int, size: VideoPhantomSize, options: VideoOptions
) -> LocatedVideos:
    """The phantom of a dataset, not yet drawn.

    Raises:
        InputError: If a number of videos is below 1 or the difficulty below 0.
    """
    from thesislib.datasets.phantoms import video as phantom

    check_options(options)
    if size.difficulty is None:
        size = replace(size, difficulty=phantom.DIFFICULTY)
    numbers = asdict(size)
    difficulty = numbers.pop("difficulty")
    for name, number in numbers.items():
        if number < 1:
            raise InputError(f"{name} of the phantom is {number}; it must be above 0.")
    if not difficulty >= 0:
        raise InputError(f"difficulty is {difficulty}; it must be 0 or more.")
    facts = {
        "adapter": reader.name,
        "phantom": reader.modality,
        "generator_sha256": phantom.generator_hash(),
        **asdict(size),
        "num_segments": options.num_segments,
        "seed": seed,
    }
    text = json.dumps(facts, sort_keys=True)
    return LocatedVideos(
        name=reader.name,
        source="phantom",
        modality=reader.modality,
        counts={
            f"{split} {word}": numbers[f"num_{split}_{word}"]
            for split in ("train", "test")
            for word in ("normal", "abnormal")
        },
        published_counts=None,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        options=options,
        provenance=facts | {"split_rule": "training and test drawn apart, by seed"},
        seed=seed,
        phantom=size,
        reader=reader,
    )
