"""Chapter 4: parameters, presets, and what a run leaves out."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from thesislib.detectors.igd_presets import PAPER, SMALL, both_scales
from thesislib.detectors.ms_ssim_ae import ms_ssim_ae_config
from thesislib.detectors.padim import PaDiMConfig
from thesislib.detectors.reconstruction_presets import F_ANOGAN, at_both_scales
from thesislib.pretrain import ccd, imagenet, presets
from thesislib.pretrain.patches import PatchesConfig
from thesislib.ranges import at_least
from thesislib.report.implemented import tables
from thesislib.runs.parameters import ChapterParameters
from thesislib.study import encoders, minima, pictures
from thesislib.study.task import DataConfig

DETECTION_TABLE = tables("04_ccd", "detection")
LOCALISATION_TABLE = tables("04_ccd", "localisation")
DETECTORS = ("igd", "f-anogan", "ms-ssim", "padim")
PRETRAININGS = ("ccd", "rotnet", "simclr")
PARTS = minima.OF_A_DETECTOR


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside CCD; the notebook lists what is left out."""

    encoders: tuple[str, ...] = ("random", "imagenet", "rotnet", "simclr")
    detectors: tuple[str, ...] = DETECTORS  # on CCD
    baselines: tuple[str, ...] = DETECTORS  # the same on the other encoders
    dae: bool = True  # Table 4.3
    loss_terms: bool = True  # Table 4.1
    strong: tuple[str, ...] = ("rotation", "permutation", "cutout", "gaussian-noise")
    batch_sizes: tuple[int, ...] = (16, 64, 128)  # Figure 4.2; 32 is the main path
    num_tsne: int = 1_000  # test images in the t-SNE figure
    num_maps: int = 48  # heatmaps kept for figures and explorer
    num_ceiling: int = 1_200  # labelled phantoms that train the supervised ceiling

    def __post_init__(self) -> None:
        at_least(self, 4, "num_tsne")
        at_least(self, 2, "num_maps", "num_ceiling", "batch_sizes")


QUICK_STUDY = StudyConfig(
    encoders=("random",),
    dae=False,
    loss_terms=False,
    strong=(),
    batch_sizes=(),
    num_tsne=300,
    num_ceiling=800,
)


class Chapter04(ChapterParameters):
    """Parameters of chapter 4."""

    chapter: ClassVar[str] = "04_ccd"
    files: ClassVar[tuple[str, ...]] = ("weights",)

    dataset: Literal["hyperkvasir", "lag", "liu-colonoscopy", "chestxray", "folder"] = (
        "hyperkvasir"
    )
    reading: Literal["thesis", "code"] = "thesis"
    start: Literal["scratch", "imagenet"] = "scratch"
    weights: str = ""

    def configs(self) -> dict[str, Any]:
        """Settings of the preset, in the reading asked for, before overrides."""
        configs = _preset(self.preset)
        for name in PRETRAININGS:
            configs[name] = getattr(presets, name)(self.preset)
        if self.dataset == "lag":  # Section 4.3.3
            configs["ccd"] = replace(configs["ccd"], strong="rotation")
        if self.preset == "paper" and self.dataset == "liu-colonoscopy":
            configs["data"] = replace(configs["data"], image_size=64)
        if self.start == "imagenet":
            imagenet.require_weights(self.weights)
            for name in PRETRAININGS:
                configs[name] = replace(configs[name], base_width=encoders.FULL_WIDTH)
        configs["ccd"] = ccd.read(configs["ccd"], self.reading)
        if self.reading == "code":
            configs["patches"] = replace(configs["patches"], lr=0.1)
        return configs


def _preset(preset: str) -> dict[str, Any]:
    """`paper`: the thesis's own settings, meant for a GPU. `standard` and `quick`:
    hours and three core-minutes; networks and schedules are ours."""
    igd, data, study, fraction = PAPER, DataConfig(), StudyConfig(), 1.0
    if preset != "paper":
        quick, fraction = preset == "quick", 0.5
        numbers = (1_200, 250, 250) if quick else (1_600, 500, 500)
        names = ("num_train", "num_test_normal", "num_test_abnormal")
        data = DataConfig(image_size=64, **dict(zip(names, numbers, strict=True)))
        igd = replace(SMALL, batch_size=32, num_steps=60 if quick else 800)
        if quick:
            igd = replace(igd, e_step_every=2)
            study = QUICK_STUDY
    auto_encoder, anogan = ms_ssim_ae_config(igd), F_ANOGAN[preset]
    return {
        "data": data,
        "padim": PaDiMConfig(),
        **both_scales(igd),
        **dict(zip(("ae", "ae_local"), at_both_scales(auto_encoder), strict=True)),
        **dict(zip(("anogan", "anogan_local"), at_both_scales(anogan), strict=True)),
        "patches": PatchesConfig(steps_fraction=fraction),
        "study": study,
    }


def detection_tables(run) -> tuple[str | None, ...]:
    """Rows of ours with all metrics, and Table 4.3's AUROC."""
    return None, DETECTION_TABLE.get(run.parameters.dataset)


def left_out(run) -> list[str]:
    """What of the chapter this run does not compute, one phrase each, with the why."""
    what = "ImageNet start and the baselines of Table 4.3 on it"
    gone = encoders.without_imagenet(run, "ccd", what)
    gone += pictures.left_out(
        run,
        {
            "loss_terms": "loss terms one by one (Table 4.1)",
            "encoders": "other encoders",
            "baselines": "detectors on the other encoders",
            "strong": "strong augmentations of Figure 4.2, right",
            "batch_sizes": "batch sizes of Figure 4.2, left",
            "dae": "the DAE of Table 4.3",
        },
        f"left out by preset {run.parameters.preset}",
    )
    gone.append("OCGAN, ADGAN and CAVGA (Table 4.3): not built yet, or not ours")
    if run.data.test_masks is None:
        gone.append("localisation: the dataset has no masks")
    return gone


PARAMETERS = Chapter04
