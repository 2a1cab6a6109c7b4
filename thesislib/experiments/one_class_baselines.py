"""Baselines of chapter 6 on its tasks: VAE, Deep SVDD, KDE, one-class SVM, floors.

They share encoder, batches, number of steps and optimiser with IGD. The DAE is IGD
with another loss and stands with the ablation. The floors look at thumbnails and grey
levels, one of them with labels: what no method may be proud of.
"""

from functools import partial

import numpy as np

from thesislib.datasets import baselines
from thesislib.detectors import deep_svdd, kde_ocsvm, vae
from thesislib.detectors.matched import settings_like
from thesislib.experiments import one_class
from thesislib.experiments.chapter06 import FLOORS, Task
from thesislib.experiments.one_class import BATCH, Detection, Trained, data_of
from thesislib.nn.autoencoder import BackboneEncoder

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
        method: One of `chapter06.METHODS` but `igd` and `dae`.
    """
    if method in DEEP:

        def compute(data) -> np.ndarray:
            model = deep_model(run, method, task).model
            module, config = DEEP[method][0], deep_config(run, method)
            with run.stage(f"scores {method} {task.stage}"):
                return module.score(model, data.test.batches(BATCH), config).score

    elif method in FLOORS:

        def compute(data) -> np.ndarray:
            with run.stage(f"{method} {task.stage}"):
                return _floor(method, data, run.parameters.seed)

    else:

        def compute(data) -> np.ndarray:
            config, seed = run.configs["shallow"], run.parameters.seed
            fit = {"kde": kde_ocsvm.fit_kde, "ocsvm": kde_ocsvm.fit_ocsvm}[method]
            with run.stage(f"{method} {task.stage}"):
                model = fit(data.train, config, seed)
                return kde_ocsvm.score(model, data.test.batches(BATCH), config).score

    return one_class.detect(run, task, method, compute)


def _floor(method: str, data, seed: int) -> np.ndarray:
    """Scores of the test images by a naive baseline of `datasets.baselines`."""
    test = data.test.pixels
    if method == "logistic-statistics":
        statistics = baselines.statistics_features(test)
        return baselines.supervised_logistic(statistics, data.test_labels, seed)
    features = {
        "nn-thumbnails-16": partial(baselines.thumbnails, size=16),
        "nn-statistics": baselines.statistics_features,
    }[method]
    nearest = baselines.one_class_nearest_neighbour
    return nearest(features(data.train.pixels), features(test))


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
