"""Chapter 6: its rows, variants and declared contrasts.

Every method meets the same tasks. The deep baselines share encoder, batches, number of
steps and optimiser with IGD. The DAE is IGD with another loss and stands with the
ablation. The floors look at thumbnails and grey levels, one of them with labels.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from thesislib.chapters.ch06_igd import settings
from thesislib.detectors import deep_svdd, kde_ocsvm, vae
from thesislib.detectors.dae import ABLATION, LABELS
from thesislib.detectors.matched import settings_like
from thesislib.nn.resnet import ResNet18
from thesislib.pretrain import distillation, imagenet
from thesislib.pretrain.distillation import Student
from thesislib.study import detection, detectors, encoders, floors, variants
from thesislib.study.detection import Found
from thesislib.study.detectors import Network
from thesislib.study.encoders import Trained, encoder_of
from thesislib.study.method import Method, added
from thesislib.study.task import Task, data_of, kept
from thesislib.study.variants import Variant
from thesislib.training import seeding

DEEP = {  # method: its settings and what changes in them
    "vae": ("VAE", vae.VAEConfig, {}),
    "dsvdd": ("Deep SVDD", deep_svdd.DeepSVDDConfig, {}),
    "dsvdd-rec": (
        "Deep SVDD + REC",
        deep_svdd.DeepSVDDConfig,
        {"with_reconstruction": True},
    ),
}
SHALLOW = {
    "kde": ("KDE", kde_ocsvm.fit_kde),
    "ocsvm": ("one-class SVM", kde_ocsvm.fit_ocsvm),
}
TRAININGS: dict[str, dict[str, float]] = {  # column of Table 6.5: the training set
    "full": {},
    "small20": {"fraction": 0.2},
    "contaminated10": {"contamination": 0.1},
}


def igd(run) -> Network:
    """IGD, both scales where there are two."""
    return _network(run, "igd", {s: run.configs[s] for s in settings.scales(run)})


def deep(run, name: str) -> Network:
    """VAE or Deep SVDD with IGD's settings, as far as it has them."""
    _, kind, changes = DEEP[name]
    config = settings_like(kind, run.configs["igd"], **changes)
    return _network(run, name.removesuffix("-rec"), {name: config})


def _network(run, family: str, configs: dict[str, Any]) -> Network:
    frozen = run.parameters.start != "scratch"
    given = {"backbone": backbone, "blank_backbone": blank_backbone} if frozen else {}
    return Network(family=family, configs=configs, **given)


def method(run, name: str) -> Method:
    """A row of Table 6.1, or a floor."""
    setting = {"setting": settings.pretrain(run)}
    if name == "igd":
        return igd(run).method("igd", "IGD", "igd", every_scale=True, **setting)
    if name == "dae":
        network = detectors.variant(igd(run), "mse", ABLATION["mse"])
        return network.method("dae", "DAE", "igd mse", **setting)
    if name in DEEP:
        return deep(run, name).method(name, DEEP[name][0], name, **setting)
    if name in SHALLOW:
        label, fit = SHALLOW[name]
        return detectors.shallow(name, label, fit, **setting)
    return floors.method(name, **setting)


def methods(run) -> list[Method]:
    """IGD first, then the baselines of this run, and what a reader added.

    A dataset that is one class has its floors in a table of their own.
    """
    apart = () if settings.full_tasks(run)[0].name else settings.FLOORS
    chosen = [n for n in run.configs["study"].baselines if n not in ("igd", *apart)]
    return [*(method(run, name) for name in ("igd", *chosen)), *added()]


def ablation(run) -> list[Variant]:
    """Rows of Table 6.5; the last is IGD."""
    chosen, full = run.configs["study"].ablation, list(ABLATION)[-1]
    found = []
    for name in (*chosen, full) if chosen else ():
        changed, stage = igd(run), "igd"
        if name != full:
            changed = detectors.variant(changed, name, ABLATION[name])
            stage = f"igd {name}"
        row = changed.method("igd", "IGD", stage, setting=settings.pretrain(run))
        value = tuple(name.split("-"))
        found.append(Variant(label=LABELS[name], value=value, method=row))
    return found


def robust(run) -> tuple[list[Method], dict[str, Sequence[float]]]:
    """Methods of Tables 6.6 and 6.7, and their training sets; none if none is asked."""
    study = run.configs["study"]
    if not (study.fractions or study.contaminations):
        return [], {}
    kinds = {
        "train_fraction": (*study.fractions, 1.0),
        "contamination": (0.0, *study.contaminations),
    }
    return [method(run, name) for name in study.robust], kinds


def main_table(run, rows: Sequence[Method], tasks: Sequence[Task], found: Found) -> str:
    """Every method's mean beside Table 6.1's, then class by class."""
    if not tasks[0].name:
        return detection.table(run, rows, None, "Image metrics of this run.", tasks[0])
    mean, of_class = (
        tables.get(run.parameters.dataset)
        for tables in (settings.MEAN_TABLE, settings.CLASS_TABLE)
    )
    return detection.mean_table(run, rows, tasks, found, mean) + detection.class_table(
        run, rows, tasks, found, of_class
    )


def ablation_table(run) -> str:
    """Table 6.5: MSE, REC, GAC and INTER one by one, on three kinds of training set."""
    if not (found := ablation(run)):
        what = "the components one by one (Table 6.5)"
        return variants.not_chosen(what, run, "ablation")
    tasks = settings.full_tasks(run)
    return variants.trainings(run, found, tasks, TRAININGS, "6.5", "cifar10")


def robustness_table(run) -> str:
    """Tables 6.6 and 6.7 and Figure 6.1: small and contaminated training sets."""
    chosen, kinds = robust(run)
    if not chosen:
        what = "small and contaminated training sets (Figure 6.1, Tables 6.6, 6.7)"
        return variants.not_chosen(what, run, "robustness")
    tasks = settings.full_tasks(run)
    printed = {"train_fraction": "6.6", "contamination": "6.7"}
    return variants.sweep(run, chosen, tasks, kinds, printed, "cifar10")


# --- What the encoders start from --------------------------------------------------


def backbone(run, task: Task, scale: str) -> nn.Module:
    """The frozen encoder that a task's models start from.

    Args:
        scale: `local`, or whole images, also those of the baselines.
    """
    scale = "local" if scale == "local" else "igd"
    if scale in settings.distilled(run):
        return student(run, task, scale).model
    if run.parameters.start == "imagenet":
        return kept(run, ("imagenet",), partial(_resnet18, run))
    return encoders.trained(run, self_supervised(run, scale), task).model


def blank_backbone(run, scale: str) -> nn.Module:
    """The same without weights."""
    scale = "local" if scale == "local" else "igd"
    if scale in settings.distilled(run):
        size = run.configs[scale].patch_size or run.configs["data"].image_size
        return Student(size, run.configs["distillation"].base_width)
    if run.parameters.start == "imagenet":
        return ResNet18()
    return ResNet18(run.configs[run.parameters.start].base_width)


def self_supervised(run, scale: str) -> encoders.Encoder:
    """The encoder that SimCLR or PMSACL trains on images or on their patches."""
    start = run.parameters.start
    encoder = replace(encoder_of(run, start), start="random")
    return detectors.encoder_of_scale(run, encoder, scale)


def _resnet18(run) -> ResNet18:
    """ResNet-18 with ImageNet weights, one for all tasks: nothing changes it."""
    encoder = ResNet18().to(run.device)
    imagenet.start_from_imagenet(encoder, run.parameters.weights)
    return encoder.eval().requires_grad_(False)


def student(run, task: Task, scale: str) -> Trained:
    """The encoder of one scale that ResNet-18 taught on the task's images.

    Args:
        scale: One of `settings.distilled`.
    """
    config, images = run.configs["distillation"], data_of(run, task).train
    name = f"distillation/{scale}/{task.stage or 'all'}"

    def train() -> Trained:
        size = run.configs[scale].patch_size or images.image_size
        teacher = kept(run, ("imagenet",), partial(_resnet18, run))
        seeding.seed_torch(run.parameters.seed, name, "weights")
        model = Student(size, config.base_width).to(run.device)
        loop = run.loop(name)
        with run.stage(name), torch.enable_grad():
            distillation.distil(model, teacher, images, config, loop)
        return Trained(model.eval(), loop.history)

    return kept(run, ("student", scale, task), train)
