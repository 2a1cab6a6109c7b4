"""Chapter 5: what the notebook runs, as parameters, presets and recipes.

A recipe is a row of a table: a way to get an encoder. PaDiM follows every one of
them, with the same channels and the same images.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from thesislib import paper
from thesislib.augment.colour import JitterConfig
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.weak import WeakConfig
from thesislib.detectors.padim import PaDiMConfig
from thesislib.errors import InputError
from thesislib.experiments.igd_presets import PAPER, SMALL, PatchesConfig, both_scales
from thesislib.experiments.recipes import Recipe
from thesislib.pretrain import imagenet
from thesislib.pretrain.pmsacl import PMSACLConfig
from thesislib.pretrain.simclr import SimCLRConfig
from thesislib.ranges import at_least
from thesislib.runs.parameters import ChapterParameters

DETECTION_TABLE = {  # thesis table of image-level results, by dataset
    "hyperkvasir": "5.1",
    "lag": "5.2",
    "liu-colonoscopy": "5.3",
    "covidx": "5.4",
}
LOCALISATION_TABLE = {"hyperkvasir": "5.6", "lag": "5.7"}
LOSS_TABLE_DATASETS = ("hyperkvasir", "lag")  # columns of Table 5.8
STRONG_LABELS = {  # by name in augment.strong.STRONG
    "rotation": "rotation",
    "permutation": "2×2 permutation",
    "cutout": "cutout",
    "gaussian-noise": "Gaussian noise",
    "cutmix": "CutMix",
    "medmix": "MedMix",
}
FULL_WIDTH = 64  # channels of the published ResNet-18's first stage


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Images that enter, thesis Section 5.4.1."""

    image_size: int = 256  # pixels; 64 for Liu et al.'s colonoscopy frames
    num_train: int = 1_600  # phantoms only; real data bring their own number
    num_test_normal: int = 500
    num_test_abnormal: int = 1_000

    def __post_init__(self) -> None:
        at_least(self, 8, "image_size")
        at_least(self, 2, "num_train")
        at_least(self, 1, "num_test_normal", "num_test_abnormal")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside the main path; the notebook lists what is left out."""

    baselines: tuple[str, ...] = ("random", "imagenet", "simclr", "class")
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
        configs = {
            "quick": _quick,
            "standard": _standard,
            "paper": _paper,
        }[self.preset]()
        if self.preset == "paper" and self.dataset == "liu-colonoscopy":
            configs["data"] = replace(configs["data"], image_size=64)
        if self.start == "imagenet":
            imagenet.require_weights(self.weights)
            for name in ("pmsacl", "simclr"):
                configs[name] = replace(configs[name], base_width=FULL_WIDTH)
        configs["pmsacl"] = read(configs["pmsacl"], self.reading)
        if self.reading == "code":
            configs["padim"] = replace(configs["padim"], relative=False)
            configs["patches"] = replace(configs["patches"], lr=0.1)
        return configs


def read(config: PMSACLConfig, reading: str) -> PMSACLConfig:
    """Settings of PMSACL in one of the three readings of chapter 5.

    `staged`, the default, trains: warm-up with the class term, then Eq. (5.1).
    `thesis` is the text to the letter: centres from random weights, a head without
    batch norm, no clipping, the printed Eq. (5.5). It collapses, which is its point.
    `code` is `staged` with the parts that chapter 4's program shares as that program
    has them: crops down to a fifth of the area, no blur, classifiers on the backbone.
    (Its learning rate on patches is in `patches`.)
    """
    if reading == "thesis":
        return replace(
            config,
            head_norm=False,
            clip_norm=None,
            warm_up=0.0,
            positive="printed",
            lr=PMSACLConfig.lr,
            weak=replace(config.weak, crop_scale=(0.2, 1.0)),
            keep_lesions=False,
        )
    if reading == "code":
        return replace(
            config,
            classify="backbone",
            weak=replace(config.weak, crop_scale=(0.2, 1.0), blur=0.0),
            keep_lesions=False,
        )
    return config


# --- Presets ---------------------------------------------------------------------


def _paper() -> dict[str, Any]:
    """The thesis's own settings, meant for a GPU."""
    return {
        "data": DataConfig(),
        "pmsacl": PMSACLConfig(),
        "simclr": SimCLRConfig(),
        "padim": PaDiMConfig(),
        **both_scales(PAPER),
        "patches": PatchesConfig(),
        "study": StudyConfig(),
    }


def _standard() -> dict[str, Any]:
    """Everything in hours on two cores: network and schedule are ours."""
    return {
        "data": DataConfig(
            image_size=64, num_train=1_600, num_test_normal=500, num_test_abnormal=500
        ),
        **_small(num_steps=4_000, batch_size=16),
        "padim": PaDiMConfig(),
        **both_scales(replace(SMALL, batch_size=32, num_steps=800)),
        "patches": PatchesConfig(steps_fraction=0.5),
        "study": StudyConfig(),
    }


def _quick() -> dict[str, Any]:
    """The main path in two to four core-minutes."""
    return {
        "data": DataConfig(
            image_size=64, num_train=1_200, num_test_normal=250, num_test_abnormal=250
        ),
        **_small(num_steps=300, batch_size=12),
        "padim": PaDiMConfig(),
        **both_scales(replace(SMALL, batch_size=32, num_steps=80, e_step_every=2)),
        "patches": PatchesConfig(steps_fraction=0.5),
        "study": StudyConfig(
            diagnosis=("literal",),
            loss_terms=False,
            strong=(),
            num_classes=(),
            igd=("pmsacl", "untrained"),
            num_tsne=300,
            num_ceiling=800,
        ),
    }


def _small(num_steps: int, batch_size: int) -> dict[str, Any]:
    """Networks and schedules for 64 px and two cores, all ours.

    Chosen on colonoscopy phantoms of seeds that no run reports: at 64 px, small
    lesions under the full colour jitter are hardly learnt in minutes. So lesions are
    larger, and the weak views milder than SimCLR's.
    """
    shared = {"base_width": 16, "lr": 0.05}
    weak = WeakConfig(
        crop_scale=(0.75, 1.0),
        jitter=JitterConfig(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05),
        grey=0.1,
    )
    return {
        "pmsacl": PMSACLConfig(
            **shared,
            batch_size=batch_size,
            num_steps=num_steps,
            weak=weak,
            medmix=MedMixConfig(size=(0.12, 0.35)),
            num_centre_images=128,
        ),
        "simclr": SimCLRConfig(**shared, batch_size=64, num_steps=num_steps // 4),
    }


# --- Recipes ---------------------------------------------------------------------


def baselines(run) -> list[Recipe]:
    """The encoders that PMSACL is compared with in this run."""
    configs = run.configs
    known = {
        "random": Recipe(
            stage="untrained",
            row="random-padim",
            label="untrained encoder",
            method="random",
        ),
        "imagenet": Recipe(
            stage="imagenet", row="padim", label="ImageNet", method="imagenet"
        ),
        "simclr": Recipe(
            stage="simclr",
            row="simclr-padim",
            label="SimCLR",
            method="simclr",
            config=configs["simclr"],
        ),
        "class": Recipe(
            stage="pmsacl-class-only",
            row="class-padim",
            label="class term only",
            method="pmsacl",
            config=replace(configs["pmsacl"], terms=("aug",)),
        ),
    }
    unknown = sorted(set(configs["study"].baselines) - known.keys())
    if unknown:
        raise InputError(
            f"study.baselines has {', '.join(unknown)}; allowed are {', '.join(known)}."
        )
    chosen = [known[name] for name in configs["study"].baselines]
    return [r for r in chosen if r.method != "imagenet" or has_imagenet(run)]


def main(run) -> Recipe:
    """PMSACL as configured: the chapter's own method."""
    return Recipe(
        stage="pmsacl",
        row="pmsacl-padim",
        label="PMSACL",
        method="pmsacl",
        config=run.configs["pmsacl"],
    )


def has_imagenet(run) -> bool:
    """Whether ImageNet weights exist here and fit the encoder's width."""
    full = run.configs["pmsacl"].base_width == FULL_WIDTH
    return full and imagenet.find_weights(run.parameters.weights) is not None


def loss_terms(run) -> list[tuple[Recipe, tuple[str, ...]]]:
    """Rows of Table 5.8 but the last, which is the main path, with their components.

    Rows without the class term have no warm-up, because that term is what warms up:
    their centres are measured on the untrained encoder.
    """
    if not run.configs["study"].loss_terms:
        return []
    steps = (
        (("pmsacl",), False, ("l_pmsacl",)),
        (("pmsacl", "ctr"), False, ("l_pmsacl", "l_ctr")),
        (("pmsacl", "ctr"), True, ("l_pmsacl", "l_ctr", "kappa")),
        (("pmsacl", "ctr", "aug"), True, ("l_pmsacl", "l_ctr", "kappa", "l_aug")),
    )
    config, rows = run.configs["pmsacl"], []
    for number, (terms, kappa, components) in enumerate(steps, start=1):
        warm_up = config.warm_up if "aug" in terms else 0.0
        rows.append(
            (
                Recipe(
                    stage=f"pmsacl-terms-{number}",
                    row="pmsacl-padim",
                    label=" + ".join(components),
                    method="pmsacl",
                    config=replace(config, terms=terms, kappa=kappa, warm_up=warm_up),
                ),
                components,
            )
        )
    return rows


ALL_COMPONENTS = ("l_pmsacl", "l_ctr", "kappa", "l_aug", "l_pos")


def diagnosis(run) -> list[Recipe]:
    """Why the literal recipe fails: one change at a time, at equal steps."""
    config = run.configs["pmsacl"]
    literal = read(config, "thesis")
    known = {
        "literal": ("the text to the letter", literal),
        "live-head": (
            "literal, but batch norm in the head and clipping",
            replace(literal, head_norm=True, clip_norm=1.0),
        ),
        "down-weighted": (
            "staged, centring x 0.1 and contrast x 0.3",
            replace(config, weight_ctr=0.1, weight_pmsacl=0.3),
        ),
        "alpha-1": ("staged, alpha 1", replace(config, alpha=1.0)),
        "alpha-2": ("staged, alpha 2", replace(config, alpha=2.0)),
        "moving-centres": (
            "staged, centres follow (momentum 0.99)",
            replace(config, centre_momentum=0.99),
        ),
    }
    names = run.configs["study"].diagnosis
    if unknown := sorted(set(names) - known.keys()):
        raise InputError(
            f"study.diagnosis has {', '.join(unknown)}; allowed are {', '.join(known)}."
        )
    return [
        Recipe(
            stage=f"pmsacl-{name}",
            row="pmsacl-padim",
            label=known[name][0],
            method="pmsacl",
            config=known[name][1],
        )
        for name in names
    ]


def strong(run) -> list[Recipe]:
    """Figure 5.7: other strong augmentations than MedMix."""
    return [
        Recipe(
            stage=f"pmsacl-{name}",
            row="pmsacl-padim",
            label=STRONG_LABELS.get(name, name),
            method="pmsacl",
            config=replace(run.configs["pmsacl"], strong=name, num_classes=4),
        )
        for name in run.configs["study"].strong
    ]


def numbers_of_classes(run) -> list[Recipe]:
    """Figure 5.8: other numbers of MedMix classes than the main path's."""
    return [
        Recipe(
            stage=f"pmsacl-{number}-classes",
            row="pmsacl-padim",
            label=str(number),
            method="pmsacl",
            config=replace(run.configs["pmsacl"], num_classes=number),
        )
        for number in run.configs["study"].num_classes
        if number != run.configs["pmsacl"].num_classes
    ]


def detection_tables(run) -> tuple[str | None, ...]:
    """Published tables that have a cell for the detection rows of this dataset."""
    table = DETECTION_TABLE.get(run.parameters.dataset)
    return (table, "5.9") if table == "5.1" else (table,)


def left_out(run) -> list[str]:
    """What of the chapter this run does not compute, one phrase each, with the why."""
    study, full = run.configs["study"], StudyConfig()
    preset = f"left out by preset {run.parameters.preset}"
    gone = []
    if not has_imagenet(run):
        why = (
            "no weights on this machine"
            if run.configs["pmsacl"].base_width == FULL_WIDTH
            else f"its weights need base width {FULL_WIDTH}, this run has "
            f"{run.configs['pmsacl'].base_width}"
        )
        gone.append(f"ImageNet start and baseline: {why}")
    for name in sorted(set(full.baselines) - set(study.baselines) - {"imagenet"}):
        gone.append(f"baseline {name}: {preset}")
    if not study.loss_terms:
        gone.append(f"loss terms one by one (Table 5.8): {preset}")
    if missing := sorted(set(full.diagnosis) - set(study.diagnosis)):
        gone.append(f"diagnosis of the literal recipe ({', '.join(missing)}): {preset}")
    if missing := sorted(set(full.strong) - set(study.strong)):
        gone.append(
            f"strong augmentations of Figure 5.7 ({', '.join(missing)}): {preset}"
        )
    if missing := sorted(set(full.num_classes) - set(study.num_classes)):
        numbers = ", ".join(map(str, missing))
        gone.append(f"numbers of MedMix classes of Figure 5.8 ({numbers}): {preset}")
    if missing := sorted(set(full.igd) - set(study.igd) - {"imagenet"}):
        gone.append(f"IGD on the encoders {', '.join(missing)}: {preset}")
    gone.append("RotNet, CSI, DROC, SupCon and CCD (Table 5.9): not implemented yet")
    if run.data.test_masks is None:
        gone.append("localisation: the dataset has no masks")
    return gone


def expected_rows(run) -> list[tuple[str | None, str]]:
    """(table, row) pairs without which the run is not complete."""
    rows = [main(run).row, *(recipe.row for recipe in baselines(run))]
    return [
        (table if prints(table, row) else None, row)
        for row in rows
        for table in detection_tables(run)
    ]


def prints(table: str | None, row: str) -> bool:
    """Whether a published table has a row of this key without further setting."""
    return table is not None and paper.find_row(table, row, {}) is not None
