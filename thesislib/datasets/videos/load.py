"""From files of features or frames to a `VideoDataset`, through the cache."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from thesislib import paths
from thesislib.datasets.cache import Entry, Writer, build_once
from thesislib.datasets.reading import Progress
from thesislib.datasets.videos import arrays, truth
from thesislib.datasets.videos.bags import segments
from thesislib.datasets.videos.base import Describe, Video
from thesislib.datasets.videos.dataset import VideoDataset
from thesislib.datasets.videos.find import LocatedVideos
from thesislib.errors import InputError

VERSION = 1
"""Raised whenever the same files would be read to other values."""


def load(
    located: LocatedVideos,
    *,
    describe: Describe | None = None,
    progress: Progress | None = None,
) -> VideoDataset:
    """Read located videos, or draw the phantom.

    Features of frames are kept a video at a time, so that an extraction that was
    interrupted goes on where it stopped.

    Args:
        located: What `find` returned.
        describe: Makes features, for datasets of frames.
        progress: Called with (videos read, videos).

    Raises:
        InputError: If a file cannot be used, videos differ in crops or features, or
            labels do not fit; one sentence that names the video.
    """
    if located.source == "phantom":
        return _drawn(located)
    videos = [video for video in located.videos if video.files]
    frames = [video for video in videos if video.form == "frames"]
    if frames and describe is None:
        raise InputError(
            f"{located.reader.title} are frames; give `describe`, which makes features "
            "of them (see video/features.py)."
        )
    snippet, stride = located.reader.steps(located.folder, located.options)
    if frames:
        if len(frames) < len(videos):
            raise InputError(
                f"{located.name} holds both features ({videos[0].id}) and frames "
                f"({frames[0].id}); use one of them."
            )
        snippet, stride = describe.snippet, describe.stride
    kept, lengths = _arrays(located, videos, describe if frames else None, progress)
    frame_labels = _labels(located, videos, lengths, snippet, stride)
    about = {"describe": dict(describe.about)} if frames else {}
    return VideoDataset(
        name=located.name,
        source="real",
        modality=located.modality,
        features=kept,
        offsets=np.concatenate([[0], np.cumsum(_kept(located, videos, lengths))]),
        ids=tuple(video.id for video in videos),
        splits=tuple(video.split for video in videos),
        labels=np.array([video.label for video in videos], dtype=np.int64),
        kinds=tuple(video.kind for video in videos),
        frame_labels=frame_labels,
        snippet=snippet,
        stride=stride,
        num_segments=located.options.num_segments,
        frames_per_second=located.frames_per_second,
        draws=located.draws,
        counts=located.counts,
        published_counts=located.published_counts,
        partial=located.partial,
        fingerprint=located.fingerprint,
        provenance=located.provenance | about,
    )


def _features_of(
    video: Video, located: LocatedVideos, describe: Describe | None
) -> np.ndarray:
    """All snippets of a video, (T, C, D)."""
    if describe is None:
        return arrays.read(video.files, video.id, located.options.allow_pickle)
    hashes = [located.hashes[path] for path in video.files]
    entry = _entry("clip", [dict(describe.about), hashes])

    def build(writer: Writer) -> None:
        found = np.asarray(describe(video.files), dtype=np.float32)
        writer.extend("features", arrays.checked_half(found, video.id))

    return build_once(entry, build)[0]["features"]


def _as_segments(located: LocatedVideos, video: Video) -> bool:
    """Whether only the segments of a video are kept."""
    return video.split == "train" and not located.draws and video.form != "frames"


def _kept(
    located: LocatedVideos, videos: Sequence[Video], lengths: np.ndarray
) -> np.ndarray:
    whole = [not _as_segments(located, video) for video in videos]
    return np.where(whole, lengths, located.options.num_segments)


def _arrays(
    located: LocatedVideos,
    videos: Sequence[Video],
    describe: Describe | None,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of the videos, (S, C, D), and their snippets, (V,)."""

    def build(writer: Writer) -> None:
        lengths, first, shape = [], None, None
        for done, video in enumerate(videos, start=1):
            found = _features_of(video, located, describe)
            if shape is None:
                first, shape = video, found.shape[1:]
            if found.shape[1:] != shape:
                raise InputError(
                    f"Video {video.id} has {_shape(found.shape[1:])}, but "
                    f"{first.id} has {_shape(shape)}; all videos must be alike."
                )
            lengths.append(len(found))
            if _as_segments(located, video):
                found = segments(found, located.options.num_segments)
            writer.extend("features", arrays.checked_half(found, video.id))
            if progress:
                progress(done, len(videos))
        writer.extend("lengths", np.array(lengths, dtype=np.int64))

    facts = [
        dict(describe.about) if describe else {},
        located.options.num_segments,
        [
            [v.id, v.form, _as_segments(located, v)]
            + [located.hashes[path] for path in v.files]
            for v in videos
        ],
    ]
    stored, _ = build_once(_entry(located.name, facts), build)
    return stored["features"], stored["lengths"]


def _shape(shape: tuple[int, ...]) -> str:
    crops, features = shape
    return f"{crops} crop{'s' * (crops != 1)} of {features} features"


def _labels(
    located: LocatedVideos,
    videos: Sequence[Video],
    lengths: np.ndarray,
    snippet: int,
    stride: int,
) -> tuple[np.ndarray | None, ...]:
    tested = [v for v, one in enumerate(videos) if one.split == "test" or located.draws]
    labels: list[np.ndarray | None] = [None] * len(videos)
    if located.vector is None:
        for v in tested:
            labels[v] = truth.of_video(videos[v], int(lengths[v]), snippet, stride)
        return tuple(labels)
    gone = [v.id for v in located.videos if v.split == "test" and not v.files]
    if gone:
        raise InputError(
            f"{located.vector.name} holds the labels of all test videos end to end, "
            f"but {len(gone)} of them are missing, the first {gone[0]}; without them "
            "the labels cannot be told apart."
        )
    vector = arrays.read_vector(located.vector, located.reader.title)
    parts = truth.of_vector(
        vector, [videos[v] for v in tested], [int(lengths[v]) for v in tested], snippet
    )
    for v, part in zip(tested, parts, strict=True):
        labels[v] = part
    return tuple(labels)


def _entry(name: str, facts: list) -> Entry:
    """Place in the cache of what such facts decide."""
    text = json.dumps([VERSION, *facts], ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return Entry(paths.cache_dir() / "videos", f"{name}-{digest}")


def _drawn(located: LocatedVideos) -> VideoDataset:
    from thesislib.datasets.phantoms import video as phantom

    drawn = phantom.draw(located.phantom, located.seed)
    return VideoDataset(
        name=located.name,
        source="phantom",
        modality=located.modality,
        features=drawn.features,
        offsets=drawn.offsets,
        ids=drawn.ids,
        splits=drawn.splits,
        labels=drawn.labels,
        kinds=drawn.kinds,
        frame_labels=drawn.frame_labels,
        snippet_kinds=drawn.snippet_kinds,
        num_segments=located.options.num_segments,
        frames_per_second=phantom.FRAMES_PER_SECOND,
        counts=located.counts,
        fingerprint=located.fingerprint,
        provenance=located.provenance,
    )
