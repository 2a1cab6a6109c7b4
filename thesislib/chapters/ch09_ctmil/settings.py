"""Chapter 9: parameters and presets."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from thesislib.study.video_task import VideoDataConfig, VideoParameters
from thesislib.video import ctmil, presets
from thesislib.video.presets import in_reading

LINEAR = {"encoder": False, "video": False, "contrast": False, "lr": 1e-3}
COMPONENTS = {  # rows of Table 9.2 before CTMIL itself: name -> what changes
    "top-k": LINEAR,  # as few layers as these take the larger rate
    "cte": {"video": False, "contrast": False},
    "cte-vid": {"contrast": False},
}
VARIANTS = {  # exploratory: name -> what changes
    "batch-negatives": {"negatives": "batch"},
    "print-edges": {"edges": (1, 3), "epsilon": 0.5},
    "causal": {"causal": True},  # past snippets only, Section 12.1
}


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside CTMIL and its two baselines, RTFM and DeepMIL."""

    components: tuple[str, ...] = tuple(COMPONENTS)  # Table 9.2
    variants: tuple[str, ...] = tuple(VARIANTS)
    readings: tuple[str, ...] = ("fixed", "thesis", "code")


class Chapter09(VideoParameters):
    """Parameters of chapter 9."""

    chapter: ClassVar[str] = "09_ctmil"

    dataset: Literal["polypvideo", "shanghaitech", "ucsdped2", "video-folder"] = (
        "polypvideo"
    )
    reading: Literal["fixed", "thesis", "code"] = "fixed"

    def configs(self) -> dict[str, Any]:
        """Settings of the preset, in the reading asked for, before overrides."""
        methods = presets.settings(self.preset, self.dataset)
        study = StudyConfig()
        if self.preset == "quick":
            study = replace(study, variants=(), readings=("fixed",))
        return {
            "data": VideoDataConfig(),
            **methods,
            "ctmil": in_reading(ctmil, methods["ctmil"], self.reading, self.preset),
            "study": study,
        }


PARAMETERS = Chapter09
