import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detectors.trained import as_bank, blobs, separates
from thesislib.detectors import kde_ocsvm
from thesislib.detectors.kde_ocsvm import ShallowConfig
from thesislib.errors import InputError

CONFIG = ShallowConfig()
FITS = [kde_ocsvm.fit_kde, kde_ocsvm.fit_ocsvm]


def coordinates(model, images):
    return model.pca.transform(kde_ocsvm._vectors(images, CONFIG))


@pytest.mark.parametrize("fit", FITS)
def test_stripes_are_told_from_blobs(fit):
    model = fit(as_bank(blobs(60)), CONFIG, seed=0)

    assert separates(kde_ocsvm, model, CONFIG) == 1


def test_density_is_the_mean_of_gaussians():
    bank = as_bank(blobs(30))
    model = kde_ocsvm.fit_kde(bank, CONFIG, seed=0)
    images = blobs(3, seed=5)
    x, centres = (coordinates(model, i) for i in (images, bank.take(range(30))))
    h, k = model.bandwidth, model.num_components
    scores = kde_ocsvm.score(model, [images], CONFIG).score

    for i in range(3):
        exponents = -np.square(x[i] - centres).sum(axis=1) / (2 * h**2)
        density = np.exp(exponents).mean() / (math.sqrt(2 * math.pi) * h) ** k
        assert scores[i].item() == pytest.approx(-math.log(density), rel=1e-6)


def test_bandwidth_is_the_one_that_explains_held_out_images_best():
    """Images that vary along one direction with a known density."""
    generator = torch.Generator().manual_seed(0)
    level = 0.5 + 0.1 * torch.randn(400, 1, 1, 1, generator=generator)
    model = kde_ocsvm.fit_kde(
        as_bank(level.clamp(0, 1).expand(400, 1, 8, 8)), CONFIG, seed=0
    )

    assert model.num_components == 1
    spread = 0.1 * 8  # of 64 equal pixels
    silverman = 1.06 * 400 ** (-1 / 5)  # 0.32 standard deviations: between grid points
    assert model.bandwidth / spread / silverman == pytest.approx(1, abs=0.6)


def test_nu_bounds_the_shares_outside_and_at_the_border():
    """Schölkopf et al. Proposition 4."""
    bank = as_bank(blobs(200))
    tolerance = 2e-3  # libsvm stops at 1e-3
    for nu in (0.1, 0.3):
        model = kde_ocsvm.fit_ocsvm(bank, replace(CONFIG, nu=nu), seed=0)
        score = kde_ocsvm.score(model, bank.batches(64), CONFIG).score
        outside = (score > tolerance).double().mean()
        not_inside = (score > -tolerance).double().mean()
        assert outside <= nu <= not_inside


def test_components_keep_the_share_of_variance_asked_for():
    bank = as_bank(blobs(100))
    images = kde_ocsvm._vectors(bank.take(range(100)), CONFIG)
    centred = images - images.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    shares = np.cumsum(variances) / variances.sum()
    model = kde_ocsvm.fit_ocsvm(bank, CONFIG, seed=0)

    assert shares[model.num_components - 2] < 0.95 <= shares[model.num_components - 1]


@pytest.mark.parametrize("fit", FITS)
def test_whitening_gives_every_coordinate_a_deviation_of_one(fit):
    bank = as_bank(blobs(60))
    plain, white = (
        coordinates(fit(bank, replace(CONFIG, whiten=w), seed=0), bank.take(range(60)))
        for w in (False, True)
    )

    deviations = plain.std(axis=0, ddof=1)
    assert deviations.max() > 2 * deviations.min()  # something to make alike
    np.testing.assert_allclose(white, plain / deviations, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("fit", FITS)
def test_the_seed_decides_which_images_are_drawn(fit):
    bank, images = as_bank(blobs(60)), blobs(5, seed=3)
    config = replace(CONFIG, num_images=30)
    first, again, other = (
        kde_ocsvm.score(fit(bank, config, seed=s), [images], config).score
        for s in (0, 0, 1)
    )

    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_batches_do_not_matter():
    model = kde_ocsvm.fit_kde(as_bank(blobs(40)), CONFIG, seed=0)
    images = blobs(10, seed=3)
    whole, parts = (
        kde_ocsvm.score(model, images.split(n), CONFIG).score for n in (10, 3)
    )

    torch.testing.assert_close(whole, parts)


def test_larger_images_are_averaged_down():
    images = (blobs(40) * 255).round() / 255
    enlarged = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    checks = torch.tensor([[5, -5], [-5, 5]]) / 255  # nothing on average
    enlarged = enlarged + checks.tile(32, 32)
    small, large = (
        kde_ocsvm.fit_kde(as_bank(i), CONFIG, seed=0) for i in (images, enlarged)
    )

    assert large.pca.n_features_in_ == 32 * 32
    torch.testing.assert_close(
        kde_ocsvm.score(small, [images], CONFIG).score,
        kde_ocsvm.score(large, [enlarged], CONFIG).score,
    )


@pytest.mark.parametrize(
    ("fit", "images", "change", "message"),
    [
        (kde_ocsvm.fit_kde, blobs(9), {}, "at least 10 training images, got 9"),
        (kde_ocsvm.fit_ocsvm, blobs(1), {}, "at least two different .* got 1"),
        (kde_ocsvm.fit_kde, torch.ones(12, 1, 8, 8), {}, "12 that are all the same"),
        (kde_ocsvm.fit_ocsvm, blobs(12), {"nu": 0.0}, "nu is 0.0"),
        (kde_ocsvm.fit_ocsvm, blobs(12), {"variance": 1.0}, "variance is 1.0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(fit, images, change, message):
    with pytest.raises(InputError, match=message):
        fit(as_bank(images), replace(CONFIG, **change), seed=0)
