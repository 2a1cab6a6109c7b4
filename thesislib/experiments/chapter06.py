"""Chapter 6: what the notebook runs, as parameters, presets and tasks.

A task is one training set: a class that is normal, a part of its images, a share of
contaminating ones. Every method of the chapter meets the same tasks.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal

from pydantic import Field

from thesislib import paper
from thesislib.detectors.dae import ABLATION
from thesislib.detectors.igd import IGDConfig
from thesislib.detectors.kde_ocsvm import ShallowConfig
from thesislib.errors import InputError
from thesislib.experiments.chapter05 import Chapter05, DataConfig
from thesislib.experiments.igd_presets import PAPER, SMALL, both_scales
from thesislib.pretrain import imagenet
from thesislib.pretrain.distillation import DistillationConfig
from thesislib.ranges import at_least, within
from thesislib.runs.parameters import ChapterParameters

CLASS_TABLE = {"mnist": "A.2", "fmnist": "A.3", "cifar10": "A.4", "mvtec": "A.1"}
MEAN_TABLE = {"mnist": "6.1", "fmnist": "6.1", "cifar10": "6.1", "mvtec": "6.2"}
MEDICAL_TABLE = {"hyperkvasir": "6.4", "lag": "6.4"}
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
FLOORS = ("nn-thumbnails-16", "nn-statistics", "logistic-statistics")
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
OSCILLATION = {  # what the chapter shows of the Gaussian term, one change at a time
    "printed": ("no floor, as printed", {"variance_floor": None}),
    "log-likelihood": (
        "no floor, log p of Eq. (6.6)",
        {"variance_floor": None, "gaussian": "log-likelihood"},
    ),
    "floor-1": ("floor 1, as the authors' program", {"variance_floor": 1.0}),
}


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


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training set.

    Attributes:
        name: Class that is normal; "" where the dataset is one class.
        fraction: Part of its training images, 0 < f <= 1.
        contamination: Share of abnormal images in the training set.
    """

    name: str = ""
    fraction: float = 1.0
    contamination: float = 0.0

    @property
    def stage(self) -> str:
        """Distinct among a run's tasks; made for names of files."""
        parts = [f"class-{self.name}"] if self.name else []
        if self.fraction < 1:
            parts.append(f"fraction-{self.fraction * 100:g}")
        if self.contamination:
            parts.append(f"contamination-{self.contamination * 100:g}")
        return " ".join(parts) or "all"

    @property
    def setting(self) -> dict[str, float]:
        """How the tables tell rows of Tables 6.6 and 6.7 apart."""
        if self.contamination:
            return {"contamination": self.contamination}
        return {"train_fraction": self.fraction} if self.fraction < 1 else {}


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
        configs = {"quick": _quick, "standard": _standard, "paper": _paper}[
            self.preset
        ](self.dataset)
        if self.start == "imagenet":
            imagenet.require_weights(self.weights)
            if self.reading == "thesis" or "local" in configs:
                configs["distillation"] = DISTILLATION[self.preset]
            if self.reading != "thesis" and self.dataset in TINY:  # for ResNet-18
                configs["data"] = replace(configs["data"], image_size=64)
        if self.start in SELF_SUPERVISED:
            chapter05 = Chapter05(dataset="folder", preset=self.preset).configs()
            configs[self.start] = chapter05[self.start]
            if "local" in configs:
                configs["patches"] = chapter05["patches"]
        for name in ("igd", "local"):
            if name in configs:
                configs[name] = read(configs[name], self.reading)
        if self.reading == "code":
            configs["igd"] = replace(configs["igd"], share_gac=0.9)
            if "local" in configs:
                configs["local"] = replace(configs["local"], share_gac=0.1)
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


def read(config: IGDConfig, reading: str) -> IGDConfig:
    """Settings of IGD in one of the three readings of chapter 6.

    `steady`, the default, floors the variance in the loss, bounds the decoder and lets
    the learning rate decay; all else is as printed, but that Eq. (6.12) averages over
    the image. `thesis` is the text to the letter: sums, no floor, bound or decay. Its
    variance shrinks without end or swings, which the chapter shows.
    `code` is the authors' program with its bugs left out: floor 1, E-step every ten
    passes with the variance about the last mean, the mean kept from zero, a fixed
    zeta, Adam without momentum, flips, the shares 0.9 and 0.1 in the score, and half
    of each scale. Readings also differ in what `start: imagenet` is; see `distilled`.
    """
    if reading == "thesis":
        return replace(
            config, pixels="sum", bounded=False, variance_floor=None, lr_power=0.0
        )
    if reading == "code":
        return replace(
            config,
            bounded=False,
            variance_floor=1.0,
            e_step_every=10,
            old_mean=True,
            centre_margin=0.1,
            zeta=0.2,
            beta_1=0.0,
            flip=True,
        )
    return config


# --- Presets ---------------------------------------------------------------------

SMALL_STUDENT = DistillationConfig(  # all ours: half a core-minute a class
    base_width=8, teacher_size=64, batch_size=8, lr=1e-3, num_steps=200
)
DISTILLATION = {
    "quick": SMALL_STUDENT,
    "standard": replace(SMALL_STUDENT, batch_size=16, num_steps=600),
    "paper": DistillationConfig(),
}


def _paper(dataset: str) -> dict[str, Any]:
    """The thesis's own networks and schedule, meant for a GPU."""
    configs = {
        "data": DataConfig(image_size=32 if dataset in TINY else 256),
        "igd": PAPER,
        "shallow": ShallowConfig(),
        "study": StudyConfig(),
    }
    if dataset not in TINY:
        configs |= both_scales(PAPER)
    return configs


def _standard(dataset: str) -> dict[str, Any]:
    """Ten classes in 7 to 20 core-minutes: network and schedule are ours."""
    study = StudyConfig(oscillation=("printed",))
    return _small(dataset, num_steps=600, study=study)


def _quick(dataset: str) -> dict[str, Any]:
    """Three classes in two core-minutes."""
    study = StudyConfig(
        baselines=CHEAP,
        ablation=("rec", "rec-gac"),
        fractions=(0.2,),
        contaminations=(0.1,),
        robust=("igd", "dsvdd"),
        oscillation=("printed",),
        num_tsne=500,
        num_maps=16,
        num_ceiling=800,
    )
    return _small(dataset, num_steps=250, study=study)


def _small(dataset: str, num_steps: int, study: StudyConfig) -> dict[str, Any]:
    """Networks and schedules for 32 or 64 px and two cores, all ours."""
    igd = replace(SMALL, num_steps=num_steps)
    shallow = ShallowConfig(num_images=1_000)
    if dataset in TINY:
        data = DataConfig(
            image_size=32, num_train=600, num_test_normal=100, num_test_abnormal=900
        )
        return {"data": data, "igd": igd, "shallow": shallow, "study": study}
    data = DataConfig(
        image_size=64, num_train=1_200, num_test_normal=250, num_test_abnormal=250
    )
    both = both_scales(replace(igd, batch_size=32))  # four times the pixels
    return {"data": data, **both, "shallow": shallow, "study": study}


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
    """Every class of the run with all its images, nothing else among them."""
    return [Task(name=name) for name in class_names(run)]


def robustness_tasks(run) -> list[Task]:
    """Small and contaminated training sets, Tables 6.6 and 6.7."""
    study, names = run.configs["study"], class_names(run)
    small = [Task(name=n, fraction=f) for f, n in product(study.fractions, names)]
    dirty = [
        Task(name=n, contamination=c) for c, n in product(study.contaminations, names)
    ]
    return small + dirty


def reserve(run) -> float:
    """Contamination whose images no task of the run is judged on.

    Where a dataset's only abnormal images are its test images, those that contaminate
    leave the test set. In part `robustness` the largest contamination's leave it for
    all tasks, so that all are judged on the same images; other parts judge clean
    training sets on the published test set.
    """
    if run.parameters.part != "robustness":
        return 0.0
    return max(run.configs["study"].contaminations, default=0.0)


def pretrain(run) -> dict[str, str]:
    """The part of every row's setting that says where the encoder comes from."""
    return {"pretrain": PRETRAIN[run.parameters.start]}


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
    study, full, parameters = run.configs["study"], StudyConfig(), run.parameters
    gone, known = [], getattr(run.data, "class_names", ())
    if missing := [name for name in known if name not in class_names(run)]:
        gone.append(f"classes {', '.join(missing)}: see `classes` and `preset`")
    for field, what in (
        ("baselines", "baselines of Table 6.1"),
        ("ablation", "components one by one (Table 6.5)"),
        ("fractions", "small training sets (Table 6.6)"),
        ("contaminations", "contaminated training sets (Table 6.7)"),
        ("oscillation", "what becomes of the Gaussian term without its floor"),
    ):
        if missing := [
            x for x in getattr(full, field) if x not in getattr(study, field)
        ]:
            why = f"left out by preset {parameters.preset} and part {parameters.part}"
            gone.append(f"{what} ({', '.join(map(str, missing))}): {why}")
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
