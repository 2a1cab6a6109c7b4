"""Chapter 6: parameters, presets, tasks, and what a run leaves out."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal

from pydantic import Field

from thesislib import paper
from thesislib.detectors.dae import ABLATION
from thesislib.detectors.igd_presets import OSCILLATION, PAPER, SMALL, both_scales, read
from thesislib.detectors.kde_ocsvm import ShallowConfig
from thesislib.errors import InputError
from thesislib.pretrain import distillation, imagenet, presets
from thesislib.pretrain.patches import PatchesConfig
from thesislib.ranges import at_least, within
from thesislib.report.implemented import tables
from thesislib.runs.parameters import ChapterParameters
from thesislib.study import pictures
from thesislib.study.task import DataConfig, Task

CLASS_TABLE = tables("06_igd", "classes")
MEAN_TABLE = tables("06_igd", "mean")
MEDICAL_TABLE = tables("06_igd", "medical")
TINY = ("mnist", "fmnist", "cifar10")  # 28 or 32 px: no patches to look at
QUICK_CLASSES = {"mvtec": ("bottle", "hazelnut", "carpet")}
THREE = ("0", "6", "9")  # an easy, a hard and a middling class of Fashion-MNIST
PRETRAIN = {  # start: what the tables call it; Section 6.4.2's SSL is SimCLR
    "scratch": "scratch",
    "imagenet": "imagenet",
    "simclr": "ssl",
    "pmsacl": "pmsacl",  # printed nowhere
}
SELF_SUPERVISED = ("simclr", "pmsacl")
FLOORS = ("nn-thumbnails-16", "nn-statistics", "edge-strength", "logistic-statistics")
METHODS = (
    "igd",
    "dae",
    "vae",
    "dsvdd",
    "dsvdd-rec",
    "kde",
    "ocsvm",
    *FLOORS,
)
CHEAP = ("dsvdd", "kde", "ocsvm", *FLOORS)


PARTS = (
    "logistic-statistics",
    "kde",
    "contrasts",
    "outlines",
)  # need some number of images


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is run beside IGD; the notebook lists what is left out."""

    baselines: tuple[str, ...] = METHODS[1:]  # Table 6.1
    ablation: tuple[str, ...] = tuple(ABLATION)[:-1]  # Table 6.5; the last is IGD
    fractions: tuple[float, ...] = (0.2, 0.6)  # of the training images, Table 6.6
    contaminations: tuple[float, ...] = (0.01, 0.05, 0.1)  # Table 6.7
    robust: tuple[str, ...] = ("igd", "dsvdd", "dsvdd-rec")  # methods of these two
    oscillation: tuple[str, ...] = tuple(OSCILLATION)  # on the first class
    num_tsne: int = 1_000  # test images of the first class in Figures 6.5 and A.2
    num_maps: int = 24  # heatmaps kept for figures
    num_ceiling: int = 1_200  # labelled phantoms that train the supervised ceiling

    def __post_init__(self) -> None:
        within(self, "(0, 1)", "fractions", "contaminations")
        at_least(self, 4, "num_tsne")
        at_least(self, 2, "num_maps", "num_ceiling")


class Chapter06(ChapterParameters):
    """Parameters of chapter 6.

    Attributes:
        classes: Classes that are normal in their turn; () leaves it to the preset.
        part: `main` is Tables 6.1 to 6.4 with the cheap baselines, and the figures;
            `baselines` has all baselines; `ablation` is Table 6.5; `robustness` Tables
            6.6 and 6.7; `all` is everything in one run.
        start: Encoder: `scratch`, or one that is frozen under a linear layer.
            `imagenet` is ResNet-18 with ImageNet weights for whole images and, for
            patches, a student of it, distilled on the same images (Section 6.4.2);
            reading `thesis` has a student for both.
            `simclr`, the thesis's SSL, and `pmsacl`, chapter 5's method, are trained
            on the same images, for the local model on their patches.
        weights: File of ImageNet weights; "" looks in torchvision's cache.
    """

    chapter: ClassVar[str] = "06_igd"
    files: ClassVar[tuple[str, ...]] = ("weights",)

    dataset: Literal[
        "mnist",
        "fmnist",
        "cifar10",
        "mvtec",
        "hyperkvasir",
        "lag",
        "chestxray",
        "folder",
    ] = "fmnist"
    reading: Literal["steady", "thesis", "code"] = "steady"
    classes: tuple[str, ...] = Field(default=())
    part: Literal["main", "baselines", "ablation", "robustness", "all"] = "main"
    start: Literal["scratch", "imagenet", "simclr", "pmsacl"] = "scratch"
    weights: str = ""

    def configs(self) -> dict[str, Any]:
        """Settings of the preset, in the reading asked for, before overrides."""
        configs = _preset(self.preset, self.dataset)
        if self.start == "imagenet":
            imagenet.require_weights(self.weights)
            if self.reading == "thesis" or "local" in configs:
                configs["distillation"] = distillation.PRESETS[self.preset]
            if self.reading != "thesis" and self.dataset in TINY:  # for ResNet-18
                configs["data"] = replace(configs["data"], image_size=64)
        if self.start in SELF_SUPERVISED:
            configs[self.start] = getattr(presets, self.start)(self.preset)
            if self.start == "pmsacl":
                configs["pmsacl"] = presets.read_pmsacl(configs["pmsacl"], "staged")
            if "local" in configs:
                whole = self.preset == "paper"
                configs["patches"] = PatchesConfig(steps_fraction=1.0 if whole else 0.5)
        for name in ("igd", "local"):
            if name in configs:
                configs[name] = read(configs[name], self.reading)
        configs["study"] = _study(configs["study"], self.part)
        return configs

    def resolved_configs(self) -> dict[str, Any]:
        """Settings with the overrides in place.

        Raises:
            InputError: If the study names a method or variant that is not there.
        """
        configs = super().resolved_configs()
        for field, known in (
            ("baselines", METHODS),
            ("robust", METHODS),
            ("ablation", tuple(ABLATION)),
            ("oscillation", tuple(OSCILLATION)),
        ):
            chosen = getattr(configs["study"], field)
            if unknown := [name for name in chosen if name not in known]:
                raise InputError(
                    f"study.{field} has {', '.join(unknown)}; allowed are "
                    f"{', '.join(known)}."
                )
        return configs


# --- Presets ---------------------------------------------------------------------


def _preset(preset: str, dataset: str) -> dict[str, Any]:
    """`paper`: the thesis's own networks and schedule, meant for a GPU. `standard`: ten
    classes in 7 to 20 core-minutes. `quick`: three classes in two. The networks and
    schedules of the latter, for 32 or 64 px and two cores, are ours."""
    tiny = dataset in TINY
    if preset == "paper":
        return {
            "data": DataConfig(image_size=32 if tiny else 256),
            **({"igd": PAPER} if tiny else both_scales(PAPER)),
            "shallow": ShallowConfig(),
            "study": StudyConfig(),
        }
    study = StudyConfig(oscillation=("printed",))
    if preset == "quick":
        study = replace(
            study,
            baselines=CHEAP,
            ablation=("rec", "rec-gac"),
            fractions=(0.2,),
            contaminations=(0.1,),
            robust=("igd", "dsvdd"),
            num_tsne=500,
            num_maps=16,
            num_ceiling=800,
        )
    igd = replace(SMALL, num_steps=250 if preset == "quick" else 600)
    if tiny and preset == "standard":
        # Twice the steps of half the images: on training images of MNIST (digits 2, 5
        # and 8) +.004 of AUROC, on those of Fashion-MNIST (2 and 6) no change.
        igd = replace(igd, batch_size=32, num_steps=1_200)
    data = {"image_size": 64, "num_train": 1_200}
    data |= {"num_test_normal": 250, "num_test_abnormal": 250}
    if tiny:
        data = {"image_size": 32, "num_train": 600}
        data |= {"num_test_normal": 100, "num_test_abnormal": 900}
    return {
        "data": DataConfig(**data),
        # At 64 px an image has four times the pixels.
        **({"igd": igd} if tiny else both_scales(replace(igd, batch_size=32))),
        "shallow": ShallowConfig(num_images=1_000),
        "study": study,
    }


def _study(study: StudyConfig, part: str) -> StudyConfig:
    """What belongs to a part of the chapter; the rest is left out."""
    if part == "all":
        return study
    if part == "main":
        study = replace(study, baselines=CHEAP)
    kept = {
        "main": ("baselines", "oscillation"),
        "baselines": ("baselines",),
        "ablation": ("ablation",),
        "robustness": ("fractions", "contaminations"),
    }[part]
    emptied = {"baselines", "oscillation", "ablation", "fractions", "contaminations"}
    return replace(study, **dict.fromkeys(emptied - set(kept), ()))


# --- Tasks -----------------------------------------------------------------------


def class_names(run) -> tuple[str, ...]:
    """The classes that this run takes as normal, in the order of the tables.

    Raises:
        InputError: If one is unknown, or the dataset has no classes.
    """
    asked, known = run.parameters.classes, getattr(run.data, "class_names", None)
    if known is None:
        if asked:
            raise InputError(
                f"classes is {', '.join(asked)}, but {run.parameters.dataset} is one "
                "class; leave classes empty."
            )
        return ("",)
    if unknown := sorted(set(asked) - set(known)):
        raise InputError(
            f"classes has {', '.join(unknown)}; {run.parameters.dataset} has "
            f"{', '.join(known)}."
        )
    if asked:
        return tuple(name for name in known if name in asked)
    three = QUICK_CLASSES.get(run.parameters.dataset, THREE)
    few = run.parameters.preset == "quick" or run.parameters.part == "robustness"
    chosen = [name for name in known if name in three] if few else []
    return tuple(chosen or known)


def full_tasks(run) -> list[Task]:
    """Every class of the run with all its images, nothing else among them.

    Where a dataset's only abnormal images are its test images, those that contaminate
    leave the test set. In part `robustness` the largest contamination's leave it for
    all tasks, so that all are judged on the same images; other parts judge clean
    training sets on the published test set.
    """
    reserve = 0.0
    if run.parameters.part == "robustness":
        reserve = max(run.configs["study"].contaminations, default=0.0)
    return [Task(name=name, reserve=reserve) for name in class_names(run)]


def robustness_tasks(run) -> list[Task]:
    """Small and contaminated training sets, Tables 6.6 and 6.7."""
    study, tasks = run.configs["study"], full_tasks(run)
    small = [replace(t, fraction=f) for f, t in product(study.fractions, tasks)]
    dirty = study.contaminations
    return small + [replace(t, contamination=c) for c, t in product(dirty, tasks)]


def pretrain(run) -> dict[str, str]:
    """The part of every row's setting that says where the encoder comes from."""
    return {"pretrain": PRETRAIN[run.parameters.start]}


def printed_tables(run) -> dict[str, Any]:
    """Where this run's rows may be printed: the means, and the classes beside them.

    With a reserve fewer abnormal images are judged than published: no Table 6.4.
    """
    dataset, (task, *_) = run.parameters.dataset, full_tasks(run)
    if task.name:
        means = (MEAN_TABLE.get(dataset),)
        return {"tables": means, "class_table": CLASS_TABLE.get(dataset)}
    medical = None if task.reserve else MEDICAL_TABLE.get(dataset)
    return {"tables": (None, medical)}


def localisation_tables(run) -> tuple[str | None, str | None]:
    """Tables of pixel AUROCs, by class and of their mean; MVTec AD alone is printed."""
    return ("A.5", "6.3") if run.parameters.dataset == "mvtec" else (None, None)


def scales(run) -> tuple[str, ...]:
    """Names of the models of IGD: the global one, and the local one where images are
    large enough to have parts."""
    return ("igd", "local") if "local" in run.configs else ("igd",)


def distilled(run) -> tuple[str, ...]:
    """Scales whose encoder is distilled from ImageNet's ResNet-18, Section 6.4.2.

    The text distils the encoders of both, as reading `thesis` does. In the authors'
    program the local one is a student; the global one is the frozen ResNet-18 itself,
    as in the other readings: a network that is the teacher needs none.
    """
    if run.parameters.start != "imagenet":
        return ()
    both = run.parameters.reading == "thesis"
    return tuple(scale for scale in scales(run) if both or scale == "local")


def left_out(run) -> list[str]:
    """What of the chapter this run does not compute, one phrase each, with the why."""
    parameters = run.parameters
    gone, known = [], getattr(run.data, "class_names", ())
    if missing := [name for name in known if name not in class_names(run)]:
        gone.append(f"classes {', '.join(missing)}: see `classes` and `preset`")
    gone += pictures.left_out(
        run,
        {
            "baselines": "baselines of Table 6.1",
            "ablation": "components one by one (Table 6.5)",
            "fractions": "small training sets (Table 6.6)",
            "contaminations": "contaminated training sets (Table 6.7)",
            "oscillation": "what becomes of the Gaussian term without its floor",
        },
        f"left out by preset {parameters.preset} and part {parameters.part}",
    )
    if parameters.dataset in TINY:
        gone.append("the local model: images of 32 px are no larger than its patches")
    for start in ("imagenet", *SELF_SUPERVISED):
        if parameters.start != start:
            gone.append(f"encoders of start {start}: this run has {parameters.start}")
    if distilled(run):
        gone.append(
            "distillation on other images than the dataset's own: the thesis names "
            "none, and ImageNet's are not here"
        )
    if parameters.start == "imagenet" and "igd" not in distilled(run):
        gone.append("a distilled global encoder: see reading thesis")
    gone.append("GOAD, RotNet and the other published methods of Table 6.1: not ours")
    return gone


def expected_rows(run) -> list[tuple[str | None, str]]:
    """(table, row) pairs without which the run is not complete."""
    named = bool(full_tasks(run)[0].name)
    table = CLASS_TABLE.get(run.parameters.dataset) if named else None
    printed = table and paper.find_row(table, "igd", pretrain(run))
    return [(table if printed else None, "igd")]


PARAMETERS = Chapter06
