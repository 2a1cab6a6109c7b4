"""f-AnoGAN and the MS-SSIM auto-encoder on real images, `quick`, five seeds each.

Fashion-MNIST, T-shirts normal, at 32 px, and the chest X-rays in
`$THESIS_TEST_DATA/chest_xray_224` at 64 px. Printed are AUROCs with bootstrap
intervals, of patients where they are known; settings were chosen on training images.
"""

import time
from typing import NamedTuple

import numpy as np
import pytest
import torch

from thesislib.datasets import registry
from thesislib.detectors import f_anogan, igd, igd_scores
from thesislib.detectors.f_anogan import FAnoGAN
from thesislib.detectors.igd import IGD
from thesislib.detectors.reconstruction_presets import (
    F_ANOGAN_QUICK,
    MS_SSIM_AE_QUICK,
)
from thesislib.errors import InputError
from thesislib.metrics import image
from thesislib.nn import wgan
from thesislib.training import seeding
from thesislib.training.loop import Loop

SEEDS = range(5)
LEAST_DIVERSITY = 0.5  # a generator that collapsed has 0
SECONDS = 40  # of one core, to train a model
DATA = ("fmnist", "chestxray")


class Trained(NamedTuple):
    """What one seed of one method came to."""

    auc: image.Estimate
    seconds: float
    losses: list[dict[str, float]]
    residual: float  # mean squared residual of normal test images
    of_mean: float  # the same of the mean training image, in place of reconstructions
    diversity: float | None


@pytest.fixture(scope="module")
def datasets(real_data):
    """T-shirts and chest X-rays; skips if one is not there."""
    seeding.use_threads()
    root = real_data("chest_xray_224")
    try:
        clothes = registry.load(registry.find("fmnist", "real", image_size=32))
    except InputError as error:
        pytest.skip(str(error))
    xrays = registry.find("chestxray", "real", root, image_size=64)
    return {"fmnist": clothes.one_class("0"), "chestxray": registry.load(xrays)}


def train(kind, fit, score, config, data, seed, folder) -> Trained:
    seeding.seed_torch(seed, "model")
    model = kind(config, data.train.image_size, data.train.channels)
    loop = Loop("model", seed=seed, folder=folder, progress=None)
    began = time.process_time()
    fit(model, data.train, config, loop)
    seconds = time.process_time() - began
    scores = score(model, data.test.batches(256), config).score.numpy()
    estimate = image.evaluate(data.test_labels, scores, patients=data.test_patients)
    normal = data.test.take(np.flatnonzero(data.test_labels == 0)[:200])
    mean = data.train.take(range(min(500, len(data.train)))).mean(dim=0)
    diversity = None
    with torch.no_grad():
        residual = normal - model.decoder(model.encoder(normal))
    if kind is FAnoGAN:
        generator = seeding.generator(seed, "diversity")
        generated = model.generate(f_anogan.draw_codes(200, config, generator))
        diversity = wgan.diversity(generated, normal).item()
    found = Trained(
        estimate["auc"],
        seconds,
        loop.history,
        residual.square().mean().item(),
        (normal - mean).square().mean().item(),
        diversity,
    )
    value, low, high, _ = found.auc
    print(
        f"{kind.__name__} {data.name} seed {seed}: AUROC {value:.3f} [{low:.3f}, "
        f"{high:.3f}], {seconds:.0f} s, residual {found.residual:.4f} (mean image "
        f"{found.of_mean:.4f}), diversity {diversity}"
    )
    return found


@pytest.fixture(scope="module")
def gans(datasets, tmp_path_factory):
    """f-AnoGAN by dataset, five seeds each."""
    top = tmp_path_factory.mktemp("gans")
    given = (FAnoGAN, f_anogan.fit, f_anogan.score, F_ANOGAN_QUICK)
    return {
        name: [train(*given, data, s, top / f"{name}-{s}") for s in SEEDS]
        for name, data in datasets.items()
    }


@pytest.fixture(scope="module")
def autoencoders(datasets, tmp_path_factory):
    """The MS-SSIM auto-encoder by dataset, five seeds each."""
    top = tmp_path_factory.mktemp("autoencoders")
    given = (IGD, igd.fit, igd_scores.score, MS_SSIM_AE_QUICK)
    return {
        name: [train(*given, data, s, top / f"{name}-{s}") for s in SEEDS]
        for name, data in datasets.items()
    }


@pytest.mark.parametrize("name", DATA)
def test_f_anogan_is_above_chance_with_its_interval(gans, name):
    assert all(one.auc.ci_low > 0.5 for one in gans[name])


@pytest.mark.parametrize("name", DATA)
def test_its_generator_has_not_collapsed(gans, name):
    assert all(one.diversity > LEAST_DIVERSITY for one in gans[name])


@pytest.mark.parametrize("name", DATA)
def test_all_losses_are_finite(gans, autoencoders, name):
    for one in (*gans[name], *autoencoders[name]):
        assert one.losses
        assert all(np.isfinite(list(row.values())).all() for row in one.losses)


@pytest.mark.parametrize("name", DATA)
def test_a_model_trains_within_its_budget(gans, autoencoders, name):
    for one in (*gans[name], *autoencoders[name]):
        assert one.seconds <= SECONDS


def test_clothes_are_given_back_better_than_by_their_mean(gans, autoencoders):
    for one in (*gans["fmnist"], *autoencoders["fmnist"]):
        assert one.residual < one.of_mean


def test_the_auto_encoder_is_above_chance_on_clothes(autoencoders):
    assert all(one.auc.ci_low > 0.5 for one in autoencoders["fmnist"])
