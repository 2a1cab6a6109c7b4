"""Chapter 8: parameters and presets."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from thesislib.ranges import above, at_least
from thesislib.study.video_task import VideoDataConfig, VideoParameters
from thesislib.video import presets, rtfm
from thesislib.video.presets import in_reading

COMPONENTS = {  # rows of Table 8.5 before RTFM itself: name -> parts of `rtfm.row`
    "base": {"pdc": False, "tsa": False, "fm": False},
    "pdc": {"pdc": True, "tsa": False, "fm": False},
    "tsa": {"pdc": False, "tsa": True, "fm": False},
    "pdc-tsa": {"pdc": True, "tsa": True, "fm": False},
    "fm": {"pdc": False, "tsa": False, "fm": True},
    "tsa-fm": {"pdc": False, "tsa": True, "fm": True},
    "pdc-fm": {"pdc": True, "tsa": False, "fm": True},
}


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside RTFM and DeepMIL; the notebook lists what is left out."""

    components: tuple[str, ...] = tuple(COMPONENTS)  # Table 8.5
    num_abnormal: tuple[int, ...] = (30, 15)  # abnormal training videos, Figure 8.5
    ks: tuple[int, ...] = (1, 6, 10, 16)  # Figure B.1, left; 3 is the main path
    margins: tuple[float, ...] = (50.0, 200.0, 400.0, 1_200.0)  # right, at D = 2,048
    readings: tuple[str, ...] = ("scaled", "thesis", "code")
    causal: bool = True  # past snippets only, Section 12.1

    def __post_init__(self) -> None:
        at_least(self, 1, "num_abnormal", "ks")
        above(self, 0, "margins")


class Chapter08(VideoParameters):
    """Parameters of chapter 8."""

    chapter: ClassVar[str] = "08_rtfm"

    dataset: Literal[
        "shanghaitech",
        "ucfcrime",
        "xdviolence",
        "ucsdped1",
        "ucsdped2",
        "video-folder",
    ] = "shanghaitech"
    reading: Literal["scaled", "thesis", "code"] = "scaled"

    def configs(self) -> dict[str, Any]:
        """Settings of the preset, in the reading asked for, before overrides."""
        methods = presets.settings(self.preset, self.dataset)
        study = StudyConfig()
        if self.preset == "quick":
            study = replace(
                study, ks=(1, 10), margins=(), readings=("scaled",), causal=False
            )
        if self.preset == "paper" and self.dataset == "shanghaitech":
            study = replace(study, num_abnormal=(50, 38, 25))  # of 63; ends printed
        return {
            "data": VideoDataConfig(),
            "rtfm": in_reading(rtfm, methods["rtfm"], self.reading, self.preset),
            "deep_mil": methods["deep_mil"],
            "study": study,
        }


PARAMETERS = Chapter08
