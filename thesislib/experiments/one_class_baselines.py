"""Baselines of chapter 6 on its tasks: VAE, Deep SVDD, KDE, one-class SVM, a floor.

They share encoder, batches, number of steps and optimiser with IGD. The DAE is IGD
with another loss and stands with the ablation. The floor is the distance to the
nearest training image on thumbnails: what no method may be proud of.
"""

import numpy as np

from thesislib.datasets import baselines
from thesislib.detectors import deep_svdd, kde_ocsvm, vae
from thesislib.detectors.matched import settings_like
from thesislib.experiments import one_class
from thesislib.experiments.chapter06 import Task
from thesislib.experiments.one_class import BATCH, Detection, Trained, data_of
from thesislib.nn.autoencoder import BackboneEncoder

FLOOR = "nn-thumbnails-16"
DEEP = {  # method: its file, its settings, its model
    "vae": (vae, vae.VAEConfig, vae.VAE, {}),
    "dsvdd": (deep_svdd, deep_svdd.DeepSVDDConfig, deep_svdd.DeepSVDD, {}),
    "dsvdd-rec": (
        deep_svdd,
        deep_svdd.DeepSVDDConfig,
        deep_svdd.DeepSVDD,
        {"with_reconstruction": True},
    ),
}


def detect(run, method: str, task: Task) -> Detection:
    """Train a baseline on a task and score its test images.

    Args:
        method: `vae`, `dsvdd`, `dsvdd-rec`, `kde`, `ocsvm` or `nn-thumbnails-16`.
    """
    if method in DEEP:

        def compute(data) -> np.ndarray:
            model = deep_model(run, method, task).model
            module, config = DEEP[method][0], deep_config(run, method)
            with run.stage(f"scores {method} {task.stage}"):
                return module.score(model, data.test.batches(BATCH), config).score

    elif method == FLOOR:

        def compute(data) -> np.ndarray:
            small = (
                baselines.thumbnails(b.pixels, 16) for b in (data.train, data.test)
            )
            with run.stage(f"{method} {task.stage}"):
                return baselines.one_class_nearest_neighbour(*small)

    else:

        def compute(data) -> np.ndarray:
            config, seed = run.configs["shallow"], run.parameters.seed
            fit = {"kde": kde_ocsvm.fit_kde, "ocsvm": kde_ocsvm.fit_ocsvm}[method]
            with run.stage(f"{method} {task.stage}"):
                model = fit(data.train, config, seed)
                return kde_ocsvm.score(model, data.test.batches(BATCH), config).score

    return one_class.detect(run, task, method, compute)


def deep_config(run, method: str):
    """Settings of a trained baseline: IGD's, as far as it has them."""
    _, kind, _, changes = DEEP[method]
    return settings_like(kind, run.configs["igd"], **changes)


def deep_model(run, method: str, task: Task) -> Trained:
    """A trained baseline of a task."""
    module, _, kind, _ = DEEP[method]
    config, data = deep_config(run, method), data_of(run, task)

    def make():
        backbone = one_class.backbone_of(run, task)
        number = config.num_features * (2 if method == "vae" else 1)
        encoder = backbone and BackboneEncoder(backbone, number)
        return kind(config, data.train.image_size, data.train.channels, encoder)

    def fit(model, images, loop) -> None:
        module.fit(model, images, config, loop)

    return one_class.fitted(run, method, task, make, fit)
