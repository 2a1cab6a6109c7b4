"""Parameters and tasks of the chapters on video, 8 and 9."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from thesislib import paths
from thesislib.datasets.videos.base import VideoOptions, VideoPhantomSize
from thesislib.errors import InputError
from thesislib.ranges import above, at_least
from thesislib.runs.parameters import ChapterParameters
from thesislib.study.task import kept


@dataclass(frozen=True, kw_only=True)
class VideoDataConfig:
    """Videos that enter, thesis Section 8.4.2."""

    num_segments: int = 32  # T of training
    num_train_normal: int = 60  # phantoms only; real data bring their own numbers
    num_train_abnormal: int = 60
    num_test_normal: int = 30
    num_test_abnormal: int = 30
    snippet: int = 16  # frames a snippet of features in a folder of one's own
    frames_per_second: float = 25.0  # of a folder of one's own

    def __post_init__(self) -> None:
        at_least(self, 1, "num_segments", "num_train_normal", "num_train_abnormal")
        at_least(self, 1, "num_test_normal", "num_test_abnormal", "snippet")
        above(self, 0, "frames_per_second")


_OF_IMAGES = ("patients", "on_bad_image", "file_list", "grey_range", "lesion_levels")


class VideoParameters(ChapterParameters):
    """Parameters of a chapter on video, whose settings have a `data`.

    Attributes:
        ground_truth: Rule for the frame labels of UCF-Crime: the authors' (`rtfm`), or
            that of `vadclip` or `ur-dmu`.
        allow_pickle: Read features that lie in pickles, by a restricted unpickler.
        annotations: Folder of lists and labels, where they lie apart from the
            features; "" is the dataset's own folder.
        features: Of datasets that are frames: `motion`, which needs no weights, or a
            network; see `video.features.describer`.
        weights: File with that network's weights.
    """

    files: ClassVar[tuple[str, ...]] = ("weights",)

    ground_truth: Literal["rtfm", "vadclip", "ur-dmu"] = "rtfm"
    allow_pickle: bool = False
    annotations: str = ""
    features: str = "motion"
    weights: str = ""

    def phantom_size(self, configs: Mapping[str, Any]) -> VideoPhantomSize:
        """Numbers of phantom videos, from the settings' `data`."""
        data = configs["data"]
        return VideoPhantomSize(
            num_train_normal=data.num_train_normal,
            num_train_abnormal=data.num_train_abnormal,
            num_test_normal=data.num_test_normal,
            num_test_abnormal=data.num_test_abnormal,
        )

    def locate(self, configs: Mapping[str, Any]) -> Any:
        """Find the videos without reading them; see `datasets.registry.find_videos`.

        Raises:
            InputError: If they are absent, with what to fetch and where to put it, or
                `features` is no name of features.
        """
        from thesislib.datasets import registry
        from thesislib.training.progress import reporter

        for name in _OF_IMAGES:
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise InputError(
                    f"{name} is {value!r}, which is for images, not videos."
                )
        self._describe()
        data, lists = configs["data"], self.annotations
        return registry.find_videos(
            self.dataset,
            self.source,
            str(paths.resolve(self.data_root)) if self.data_root else "",
            seed=self.seed,
            options=VideoOptions(
                num_segments=data.num_segments,
                ground_truth=self.ground_truth,
                allow_pickle=self.allow_pickle,
                annotations=str(paths.resolve(lists)) if lists else "",
                snippet=data.snippet,
                frames_per_second=data.frames_per_second,
            ),
            phantom=self.phantom_size(configs),
            progress=reporter("hashing files"),
        )

    def load(self, located: Any, device: Any) -> Any:
        """Read located videos, or draw the phantom.

        Features of phantoms are standardised, official ones are not; those of frames
        are, draw by draw, see `videos_of`.
        """
        from thesislib.datasets import registry
        from thesislib.training.progress import reporter

        found = registry.load_videos(
            located, describe=self._describe(), progress=reporter("reading videos")
        )
        return found.standardised() if found.source == "phantom" else found

    def _describe(self) -> Any:
        """What makes features of frames."""
        from thesislib.video.features import describer

        weights = str(paths.resolve(self.weights)) if self.weights else ""
        return describer(self.features, weights)


@dataclass(frozen=True, kw_only=True)
class VideoTask:
    """One set of training videos, and the test videos that go with it.

    Attributes:
        draw: Recorded draw of training videos, where a protocol has several (UCSD).
        num_abnormal: Abnormal training videos, Figure 8.5; None: all there are.
    """

    draw: int | None = None
    num_abnormal: int | None = None

    @property
    def stage(self) -> str:
        """Distinct among a run's tasks, "" for all videos of the only split."""
        parts = [] if self.draw is None else [f"draw-{self.draw}"]
        if self.num_abnormal is not None:
            parts.append(f"abnormal-{self.num_abnormal}")
        return " ".join(parts)

    @property
    def setting(self) -> dict[str, int]:
        """How rows tell tasks apart."""
        named = {"draw": self.draw, "num_abnormal": self.num_abnormal}
        return {name: value for name, value in named.items() if value is not None}


WHOLE = VideoTask()


def videos_of(run, task: VideoTask = WHOLE):
    """The task's split of the run's videos.

    Features of frames are standardised by the normal training videos of each draw.
    """

    def make():
        if task.draw is None:
            return run.data
        return run.data.drawn(task.draw).standardised()

    return kept(run, ("videos", task.draw), make)


def bags_of(run, task: VideoTask = WHOLE):
    """The task's training videos in segments, on the run's device.

    Raises:
        InputError: If there are fewer abnormal videos than asked for.
    """

    def make():
        return videos_of(run, task).bags(run.device)

    bags = kept(run, ("bags", task.draw), make)
    if task.num_abnormal is None:
        return bags
    return bags.fewer_abnormal(task.num_abnormal, run.parameters.seed)


def tasks(run) -> list[VideoTask]:
    """The recorded draws, where there are some, else the only split."""
    draws = len(run.data.draws)
    return [VideoTask(draw=draw) for draw in range(draws)] or [WHOLE]
