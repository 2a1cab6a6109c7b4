"""Chapter 5: parameters, presets, and what a run leaves out."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from thesislib.detectors.igd_presets import PAPER, SMALL, both_scales
from thesislib.detectors.padim import PaDiMConfig
from thesislib.pretrain import imagenet, presets
from thesislib.pretrain.patches import PatchesConfig
from thesislib.ranges import at_least
from thesislib.report.implemented import tables
from thesislib.runs.parameters import ChapterParameters
from thesislib.study import encoders, minima, pictures
from thesislib.study.task import DataConfig

DETECTION_TABLE = tables("05_pmsacl", "detection")
LOCALISATION_TABLE = tables("05_pmsacl", "localisation")
LOSS_TABLE_DATASETS = ("hyperkvasir", "lag")  # columns of Table 5.8
OTHERS = ("rotnet", "csi", "droc", "supcon", "ccd")  # other rows of Table 5.9
PARTS = minima.OF_A_DETECTOR


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside the main path; the notebook lists what is left out."""

    baselines: tuple[str, ...] = ("random", "imagenet", "simclr", "class", *OTHERS)
    diagnosis: tuple[str, ...] = (
        "literal",
        "live-head",
        "down-weighted",
        "alpha-1",
        "alpha-2",
        "moving-centres",
    )
    igd: tuple[str, ...] = (  # encoders on which IGD is trained beside PaDiM
        "pmsacl",
        "untrained",
        "imagenet",
        "simclr",
        "class",
        "ccd",
    )
    loss_terms: bool = True  # Table 5.8
    strong: tuple[str, ...] = (  # Figure 5.7
        "rotation",
        "permutation",
        "cutout",
        "gaussian-noise",
        "cutmix",
    )
    num_classes: tuple[int, ...] = (2, 3, 5, 6, 7)  # Figure 5.8; 4 is the main path
    num_tsne: int = 1_000  # test images in Figure 5.6
    num_maps: int = 48  # heatmaps kept for figures and explorer
    num_ceiling: int = 1_200  # labelled phantoms that train the supervised ceiling

    def __post_init__(self) -> None:
        at_least(self, 4, "num_tsne")
        at_least(self, 2, "num_maps", "num_ceiling", "num_classes")


class Chapter05(ChapterParameters):
    """Parameters of chapter 5."""

    chapter: ClassVar[str] = "05_pmsacl"
    files: ClassVar[tuple[str, ...]] = ("weights",)

    dataset: Literal[
        "hyperkvasir", "lag", "liu-colonoscopy", "covidx", "chestxray", "folder"
    ] = "hyperkvasir"
    reading: Literal["staged", "thesis", "code"] = "staged"
    start: Literal["scratch", "imagenet"] = "scratch"
    weights: str = ""

    def configs(self) -> dict[str, Any]:
        """Settings of the preset, in the reading asked for, before overrides."""
        names = ("pmsacl", "simclr", *OTHERS)
        configs = PRESETS[self.preset] | {"padim": PaDiMConfig()}
        configs |= {name: getattr(presets, name)(self.preset) for name in names}
        if self.preset == "paper" and self.dataset == "liu-colonoscopy":
            configs["data"] = replace(configs["data"], image_size=64)
        if self.start == "imagenet":
            imagenet.require_weights(self.weights)
            for name in names:
                configs[name] = replace(configs[name], base_width=encoders.FULL_WIDTH)
        configs["pmsacl"] = presets.read_pmsacl(configs["pmsacl"], self.reading)
        if self.reading == "code":
            configs["padim"] = replace(configs["padim"], relative=False)
            configs["patches"] = replace(configs["patches"], lr=0.1)
        return configs


_SMALL_IGD = replace(SMALL, batch_size=32)
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {  # the thesis's own settings, meant for a GPU
        "data": DataConfig(),
        **both_scales(PAPER),
        "patches": PatchesConfig(),
        "study": StudyConfig(),
    },
    "standard": {  # everything in hours on two cores: network and schedule are ours
        "data": DataConfig(
            image_size=64, num_train=1_600, num_test_normal=500, num_test_abnormal=500
        ),
        **both_scales(replace(_SMALL_IGD, num_steps=800)),
        "patches": PatchesConfig(steps_fraction=0.5),
        "study": StudyConfig(),
    },
    "quick": {  # the main path in two to four core-minutes
        "data": DataConfig(
            image_size=64, num_train=1_200, num_test_normal=250, num_test_abnormal=250
        ),
        **both_scales(replace(_SMALL_IGD, num_steps=80, e_step_every=2)),
        "patches": PatchesConfig(steps_fraction=0.5),
        "study": StudyConfig(
            baselines=("random", "imagenet", "simclr", "class"),
            diagnosis=("literal",),
            loss_terms=False,
            strong=(),
            num_classes=(),
            igd=("pmsacl", "untrained"),
            num_tsne=300,
            num_ceiling=800,
        ),
    },
}


def detection_tables(run) -> tuple[str | None, ...]:
    """Published tables that have a cell for the detection rows of this dataset."""
    table = DETECTION_TABLE.get(run.parameters.dataset)
    return (table, "5.9") if table == "5.1" else (table,)


def left_out(run) -> list[str]:
    """What of the chapter this run does not compute, one phrase each, with the why."""
    gone = encoders.without_imagenet(run, "pmsacl", "ImageNet start and baseline")
    gone += pictures.left_out(
        run,
        {
            "baselines": "baselines",
            "loss_terms": "loss terms one by one (Table 5.8)",
            "diagnosis": "diagnosis of the literal recipe",
            "strong": "strong augmentations of Figure 5.7",
            "num_classes": "numbers of MedMix classes of Figure 5.8",
            "igd": "IGD on the encoders",
        },
        f"left out by preset {run.parameters.preset}",
    )
    if run.data.test_masks is None:
        gone.append("localisation: the dataset has no masks")
    return gone


PARAMETERS = Chapter05
