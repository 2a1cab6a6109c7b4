"""What a video is before it is read: its files, its label and its events."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from thesislib.datasets.base import NORMAL, Reader

GROUND_TRUTHS = ("rtfm", "vadclip", "ur-dmu")  # of UCF-Crime, see `ucf_crime`


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One video of a dataset and what its layout says of it.

    Attributes:
        id: Base name, the same in every list of the dataset.
        split: "train" or "test".
        label: 0 normal, 1 abnormal.
        kind: "normal", or the class of the abnormality.
        form: "features": one array file (T, C, D) or (T, D); "crops": one array file
            a crop; "frames": pictures in order, or one video file.
        files: As `form` says; () where the lists name a video that is not there.
        events: First frame and frame after the last, counted from 0.
        mask: Array file with a label a frame, in place of events.
        num_frames: Where the layout says it; else that of the snippets.
        cut: Whether events that reach beyond the last frame are cut, as the rules of
            official releases do; else they are an error.
    """

    id: str
    split: str
    label: int
    kind: str = NORMAL
    form: str = "features"
    files: tuple[Path, ...] = ()
    events: tuple[tuple[int, int], ...] = ()
    mask: Path | None = None
    num_frames: int | None = None
    cut: bool = True


@dataclass(frozen=True, kw_only=True)
class VideoListing:
    """All videos of a dataset, in the order of its lists, not yet read.

    Attributes:
        videos: All that the lists name.
        rule: How the split came about, one phrase.
        vector: File with the frame labels of all test videos, end to end.
        draws: Training videos of each recorded draw, where a protocol draws several
            times; the videos' `split` is then that of the first draw.
        notes: What a reader of the results should know.
    """

    videos: tuple[Video, ...]
    rule: str
    vector: Path | None = None
    draws: tuple[frozenset[str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are read.

    Attributes:
        num_segments: Segments of a training bag.
        ground_truth: One of `GROUND_TRUTHS`, for UCF-Crime.
        allow_pickle: Read features in pickles, by a restricted unpickler.
        annotations: Folder with the lists, where they lie apart from the features.
        snippet: Frames a snippet, for features in `video-folder` that do not say it
            themselves; official ones have 16.
        frames_per_second: Of `video-folder`.
    """

    num_segments: int = 32
    ground_truth: str = "rtfm"
    allow_pickle: bool = False
    annotations: str = ""
    snippet: int = 16
    frames_per_second: float = 25.0


@dataclass(frozen=True, kw_only=True)
class VideoPhantomSize:
    """How many phantom videos to draw, and how strong their events are."""

    num_train_normal: int = 60
    num_train_abnormal: int = 60
    num_test_normal: int = 30
    num_test_abnormal: int = 30
    difficulty: float | None = None  # times the events' amplitude; None: calibrated


class Describe(Protocol):
    """Makes features of frames; `video.features` has some."""

    snippet: int  # frames a snippet
    stride: int  # frames from one snippet to the next

    @property
    def about(self) -> Mapping[str, object]:
        """Settings that decide the features, fit for JSON."""

    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        """Features of a video's frames, (T, C, D), float32."""


class VideoReader(Reader):
    """A dataset of videos with one label a video."""

    modality = "video"
    frames_per_second: ClassVar[float]

    def steps(self, folder: Path, options: VideoOptions) -> tuple[int, int]:
        """Frames a snippet of features that lie ready, and from one to the next."""
        return 16, 16

    @abstractmethod
    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        """List the videos of a folder that `locate` returned.

        Raises:
            InputError: If a list is missing or contradicts another.
        """


def count(videos: Sequence[Video], listed: bool = False) -> dict[str, int]:
    """Number of videos by split and label, of those that are there or all `listed`."""
    return {
        f"{split} {word}": sum(
            video.split == split
            and video.label == label
            and (listed or bool(video.files))
            for video in videos
        )
        for split in ("train", "test")
        for label, word in ((0, "normal"), (1, "abnormal"))
    }


def counts(
    train_normal: int, train_abnormal: int, test_normal: int, test_abnormal: int
) -> dict[str, int]:
    """Published numbers of videos, as `count` gives those that are there."""
    return {
        "train normal": train_normal,
        "train abnormal": train_abnormal,
        "test normal": test_normal,
        "test abnormal": test_abnormal,
    }
