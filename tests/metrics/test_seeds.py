import math

import numpy as np
import pytest
from scipy import stats

from thesislib.errors import InputError
from thesislib.metrics.delong import compare, delong
from thesislib.metrics.image import auroc
from thesislib.metrics.seeds import (
    holm,
    obuchowski_rockette,
    over_seeds_phantom,
    over_seeds_real,
)


def made_seeds(rng, num_seeds=5, num_images=80, spread=0.7):
    labels = np.repeat([0, 1], num_images // 2)
    images = rng.normal(size=num_images) + labels  # what all seeds see
    return labels, images + spread * rng.normal(size=(num_seeds, num_images))


def slow_two_methods(labels, a, b):
    """Hillis 2007, Eqs. (4), (10) and (14), written with loops."""
    num_seeds = len(a)
    theta = np.array([[auroc(labels, s) for s in method] for method in (a, b)])
    residual = theta - theta.mean(1, keepdims=True) - theta.mean(0) + theta.mean()
    ms_tr = (residual**2).sum() / (num_seeds - 1)
    _, covariance = delong(labels, np.concatenate([a, b]))
    cov2, cov3 = [], []
    for i in range(2):
        for k in range(2):
            for j in range(num_seeds):
                for q in range(num_seeds):
                    if j != q:
                        value = covariance[i * num_seeds + j, k * num_seeds + q]
                        (cov2 if i == k else cov3).append(value)
    total = ms_tr + max(num_seeds * (np.mean(cov2) - np.mean(cov3)), 0)
    df = total**2 / (ms_tr**2 / (num_seeds - 1))
    half = stats.t.ppf(0.975, df) * math.sqrt(2 / num_seeds * total)
    difference = theta[0].mean() - theta[1].mean()
    return difference, difference - half, difference + half, df


def test_difference_of_two_methods_agrees_with_obuchowski_and_rockette():
    rng = np.random.default_rng(0)
    labels, a = made_seeds(rng)
    b = a + rng.normal(size=a.shape)

    ours = over_seeds_real(labels, a, b)

    assert (ours.value, ours.ci_low, ours.ci_high, ours.df) == pytest.approx(
        slow_two_methods(labels, a, b)
    )


def test_value_is_the_mean_of_aurocs():
    labels, scores = made_seeds(np.random.default_rng(0))

    estimate = over_seeds_real(labels, scores)

    each = [auroc(labels, s) for s in scores]
    assert estimate.values == pytest.approx(each)
    assert estimate.value == pytest.approx(np.mean(each))


def test_seeds_that_agree_leave_delong_alone():
    labels, scores = made_seeds(np.random.default_rng(0), num_seeds=1)
    other = scores + np.random.default_rng(1).normal(size=80)
    expected = compare(labels, scores[0], other[0])

    same = over_seeds_real(labels, np.tile(scores, (4, 1)), np.tile(other, (4, 1)))

    assert (same.ci_low, same.ci_high, same.p) == pytest.approx(
        (expected.ci_low, expected.ci_high, expected.p)
    )


def test_images_that_share_nothing_leave_students_t():
    values = np.array([0.7, 0.74, 0.79, 0.71, 0.8])

    crossed = obuchowski_rockette(values, np.eye(5) * 0.01)
    student = over_seeds_phantom(values)

    assert crossed == student


def test_students_t_is_that_of_scipy():
    values = [0.02, 0.05, -0.01, 0.04, 0.03]

    estimate = over_seeds_phantom(values)

    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert estimate.p == pytest.approx(expected.pvalue)
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx(tuple(interval))


def test_intervals_cover_new_seeds_and_new_images():
    # 300 intervals at 95 %: fewer than 270 hits has probability below 1e-3, and the
    # generator is seeded
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / math.sqrt(2 * (1 + 0.7**2)))
    estimates = [over_seeds_real(*made_seeds(rng)) for _ in range(300)]

    hits = sum(e.ci_low <= truth <= e.ci_high for e in estimates)
    by_seeds_alone = [over_seeds_phantom(e.values) for e in estimates]
    hits_alone = sum(e.ci_low <= truth <= e.ci_high for e in by_seeds_alone)

    assert hits >= 270
    assert hits_alone < 240  # forgets that the images are a sample too


def test_holm_by_hand():
    np.testing.assert_allclose(
        holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]
    )
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).shape == (0,)


def test_too_few_seeds_are_refused():
    labels, scores = made_seeds(np.random.default_rng(0))
    with pytest.raises(InputError, match="at least two"):
        over_seeds_real(labels, scores[:1])
    with pytest.raises(InputError, match="same seeds"):
        over_seeds_real(labels, scores, scores[:3])
    with pytest.raises(InputError, match="at least 5 seeds"):
        over_seeds_phantom([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(InputError, match="from 0 to 1"):
        holm([0.5, 1.5])
