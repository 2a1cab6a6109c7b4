"""The detectors of the thesis as methods: how each is fitted to a task, and rebuilt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from thesislib.detectors import (
    deep_svdd,
    f_anogan,
    igd,
    igd_scores,
    kde_ocsvm,
    ms_ssim_ae,
    vae,
)
from thesislib.detectors.padim import PaDiM
from thesislib.detectors.scales import Detector, Scores
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18
from thesislib.study.encoders import Encoder, Trained, trained
from thesislib.study.method import Method, Shape
from thesislib.study.task import Task, data_of, kept
from thesislib.training import seeding

Backbone = Callable[[Any, Task, str], nn.Module | None]  # of (run, task, scale)


def from_scratch(run, task: Task, scale: str) -> None:
    """No backbone: the detector's own encoder, trained with it."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A detector of one file, as `Network` takes it.

    Attributes:
        fit: Trains: (model, images, config, loop).
        model: Its network: (config, image size, channels, encoder or None).
        score: As `Detector` takes it.
        combine: Both scales as one, from the settings of the global one; None where
            there is one scale.
        shared: Stages of the training that do not depend on the encoder: methods on
            several encoders share them.
        features: Numbers that the encoder gives for each of `config.num_features`.
        maps: As `Detector` has it.
    """

    fit: Callable
    model: Callable[..., nn.Module]
    score: Callable
    combine: Callable[[Any], Callable] | None = None
    shared: tuple[str, ...] = ()
    features: int = 1
    maps: Literal["none", "asked"] = "none"


def _igd_combine(config) -> Callable:
    """Eq. (6.21), or its mean where the terms have shares of 1."""
    return partial(igd_scores.combine, mean=config.share_gac is not None)


def _without_maps(score: Callable) -> Callable:
    return lambda model, batches, config, maps: score(model, batches, config)


FAMILIES = {
    "igd": Family(
        fit=igd.fit,
        model=igd.IGD,
        score=igd_scores.score,
        combine=_igd_combine,
        maps="asked",
    ),
    "f-anogan": Family(
        fit=f_anogan.fit,
        model=f_anogan.FAnoGAN,
        score=f_anogan.score,
        combine=lambda config: f_anogan.combine,
        shared=("gan",),
        maps="asked",
    ),
    "ms-ssim-ae": Family(
        fit=igd.fit,
        model=igd.IGD,
        score=igd_scores.score,
        combine=lambda config: ms_ssim_ae.combine,
        maps="asked",
    ),
    "vae": Family(
        fit=vae.fit, model=vae.VAE, score=_without_maps(vae.score), features=2
    ),
    "dsvdd": Family(
        fit=deep_svdd.fit,
        model=deep_svdd.DeepSVDD,
        score=_without_maps(deep_svdd.score),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A trained detector of one scale or two, on an encoder of its own or a given one.

    Attributes:
        family: Key of `FAMILIES`.
        configs: Scale -> settings, from the run's; the global scale first. Names of
            scales name stages and overrides.
        stage: What tells trainings of one scale apart: a variant, an encoder's name.
        whole: What the task is called that is all images of the one class there is.
        backbone: Gives the frozen encoder of a scale; see `from_scratch`.
        blank_backbone: The same without weights, of (run, scale).
    """

    family: str
    configs: Mapping[str, Any]
    stage: str = ""
    whole: str = "all"
    backbone: Backbone = from_scratch
    blank_backbone: Callable[[Any, str], nn.Module | None] = lambda run, scale: None

    def model(self, run, task: Task, scale: str) -> Trained:
        """The model of one scale, trained on a task or read back."""
        parts = (scale, self.stage, task.stage or self.whole)
        stage = "/".join(filter(None, parts))
        config, data = self.configs[scale], data_of(run, task)

        def train() -> Trained:
            backbone = self.backbone(run, task, scale)
            shape = (data.train.channels, data.train.image_size)
            seeding.seed_torch(run.parameters.seed, stage, "weights")
            model = self._build(scale, shape, backbone).to(run.device)
            # Baselines take the settings of IGD, so its batch size is theirs.
            settings = scale if scale in run.configs else "igd"
            family, whose = FAMILIES[self.family], f"{settings}.batch_size"
            names = [stage]
            names += [f"{scale}/{name}/{task.stage or 'all'}" for name in family.shared]
            loop, *shared = [run.loop(name, batch_override=whose) for name in names]
            with run.stage(stage), torch.enable_grad():
                family.fit(model, data.train, config, loop, *shared)
            return Trained(model.eval(), loop.history)

        return kept(run, ("network", stage), train)

    def _build(self, scale: str, shape: Shape, backbone: nn.Module | None):
        family, config = FAMILIES[self.family], self.configs[scale]
        channels, size = shape
        number = family.features * config.num_features
        encoder = backbone and BackboneEncoder(backbone, number)
        size = getattr(config, "patch_size", None) or size
        return family.model(config, size, channels, encoder)

    def fit(self, run, task: Task) -> Detector:
        """All scales, trained on a task or read back."""
        return self._detector({s: self.model(run, task, s).model for s in self.configs})

    def blank(self, run, shape: Shape) -> Detector:
        """All scales without weights."""
        backbone = partial(self.blank_backbone, run)
        return self._detector(
            {s: self._build(s, shape, backbone(s)) for s in self.configs}
        )

    def _detector(self, models: Mapping[str, nn.Module]) -> Detector:
        family, first = FAMILIES[self.family], next(iter(self.configs.values()))
        combine = family.combine(first) if family.combine else None
        return Detector(models, self.configs, family.score, combine, maps=family.maps)

    def method(self, key: str, label: str, stage: str, **given: Any) -> Method:
        """The row of this detector."""
        return Method(
            key=key, label=label, stage=stage, fit=self.fit, blank=self.blank, **given
        )


def padim(run, encoder: Encoder, key: str, label: str, **given: Any) -> Method:
    """PaDiM on an encoder."""
    config, seed = run.configs["padim"], run.parameters.seed

    def detector(model: PaDiM) -> Detector:
        return Detector({"padim": model}, {"padim": config}, _padim, maps="free")

    def fit(run, task: Task) -> Detector:
        model = PaDiM(trained(run, encoder, task).model, config, seed)
        with run.stage(f"PaDiM {encoder.stage}"):
            model.fit(data_of(run, task).train.batches(config.batch_size))
        return detector(model)

    def blank(run, shape: Shape) -> Detector:
        return detector(PaDiM(ResNet18(encoder.base_width), config, seed))

    return Method(
        key=key,
        label=label,
        stage=f"padim-{encoder.stage}",
        fit=fit,
        blank=blank,
        encoder=encoder,
        config=encoder.config,
        batch_size=config.batch_size,
        **given,
    )


def _padim(model: PaDiM, batches, config, maps: bool) -> Scores:
    return model.score(batches)


def on_encoder(
    run, encoder: Encoder, family: str, scales: Mapping[str, Any]
) -> Network:
    """A detector whose encoder is pre-trained and frozen, Section 5.4.2.

    The global model shares the encoder of images; the local one has its own,
    pre-trained in the same way on patches.

    Args:
        scales: Scale -> settings; one with a patch size takes the encoder of patches.
    """

    def backbone(run, task: Task, scale: str) -> nn.Module:
        chosen = encoder_of_scale(run, encoder, scale)
        return trained(run, chosen, task).model

    return Network(
        family=family,
        configs=scales,
        stage=encoder.stage,
        whole="",
        backbone=backbone,
        blank_backbone=lambda run, scale: ResNet18(encoder.base_width),
    )


def encoder_of_scale(run, encoder: Encoder, scale: str) -> Encoder:
    """The encoder under one scale of a detector."""
    local = run.configs[scale].patch_size is not None
    return encoder.on_patches(run.configs) if local else encoder


def shallow(key: str, label: str, fit: Callable, **given: Any) -> Method:
    """KDE or the one-class SVM: no network, so no run keeps it."""

    def fitted(run, task: Task) -> Detector:
        config = run.configs["shallow"]
        with run.stage(f"{key} {task.stage}"):
            model = fit(data_of(run, task).train, config, run.parameters.seed)
        score = _without_maps(kde_ocsvm.score)
        return Detector({key: model}, {key: config}, score)

    return Method(key=key, label=label, stage=key, fit=fitted, **given)


def variant(network: Network, name: str, change: Mapping[str, Any]) -> Network:
    """The same detector with other settings at every scale, under a name of its own."""
    configs = {s: replace(c, **change) for s, c in network.configs.items()}
    stage = "/".join(filter(None, (network.stage, name)))
    return replace(network, configs=configs, stage=stage)
