import math

import numpy as np
import pytest
from scipy import stats

from thesislib.metrics.seeds import over_seeds_real
from thesislib.report import intervals


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9.7, 100, 1e6, math.inf])
@pytest.mark.parametrize("probability", [0.025, 0.5, 0.9, 0.975, 0.999])
def test_student_quantile_agrees_with_scipy(probability, degrees):
    ours = intervals.student_quantile(probability, degrees)

    assert ours == pytest.approx(stats.t.ppf(probability, degrees), abs=1e-8)


@pytest.mark.parametrize("degrees", [1, 2, 4, 19, 200])
@pytest.mark.parametrize("probability", [0.025, 0.5, 0.975])
def test_chi_square_quantile_agrees_with_scipy(probability, degrees):
    ours = intervals.chi_square_quantile(probability, degrees)

    assert ours == pytest.approx(stats.chi2.ppf(probability, degrees), rel=1e-8)


def test_student_interval_of_five_values_agrees_with_scipy():
    values = [0.71, 0.74, 0.69, 0.77, 0.72]

    theirs = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))

    assert intervals.student(values) == pytest.approx(theirs)


def test_one_value_has_no_interval():
    assert intervals.student([0.7]) is None
    assert intervals.spread([0.7]) is None
    assert intervals.seeds_and_images([0.7], [(0.6, 0.8)]) is None


def test_spread_covers_the_deviation_in_nineteen_of_twenty_draws():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        low, high = intervals.spread(generator.normal(0, 2.0, 5).tolist())
        hits += low <= 2.0 <= high

    assert 930 <= hits <= 968


def test_equal_seeds_leave_the_interval_within_a_run():
    low, high = intervals.seeds_and_images([0.7] * 3, [(0.6, 0.75)] * 3)

    assert (low, high) == pytest.approx((0.6, 0.75))


def slow_delong(labels, scores):
    """Covariance of DeLong et al. (1988), written with the full comparison matrix."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    high, low = scores[:, labels == 1], scores[:, labels == 0]
    wins = (high[:, :, None] > low[:, None, :]) + 0.5 * (
        high[:, :, None] == low[:, None, :]
    )
    return wins.mean(axis=(1, 2)), np.cov(wins.mean(2)) / high.shape[1] + np.cov(
        wins.mean(1)
    ) / low.shape[1]


def made_scores(num_seeds=3, num_images=40, seed=0):
    generator = np.random.default_rng(seed)
    labels = (np.arange(num_images) % 3 == 0).astype(int)
    case = generator.normal(0, 1, num_images) + labels
    noise = generator.normal(0, 0.7, (num_seeds, num_images))
    return labels.tolist(), np.round(case + noise, 1).tolist()  # rounded: ties


def test_delong_agrees_with_the_comparison_matrix():
    labels, scores = made_scores()

    aucs, covariance = intervals.delong(labels, scores)

    expected, expected_covariance = slow_delong(labels, scores)
    np.testing.assert_allclose(aucs, expected)
    np.testing.assert_allclose(covariance, expected_covariance)


def test_a_patient_copied_ten_times_carries_no_more_information():
    labels, scores = made_scores()
    many = [[s for s in row for _ in range(10)] for row in scores]
    patients = [f"p{i}" for i in range(len(labels)) for _ in range(10)]

    _, once = intervals.delong(labels, scores)
    _, often = intervals.delong(np.repeat(labels, 10).tolist(), many, patients)

    np.testing.assert_allclose(often, once)


def test_patients_with_both_kinds_of_image_agree_with_the_bootstrap():
    generator = np.random.default_rng(2)
    effect = np.repeat(generator.normal(0, 1, 150), 2)  # two images a patient
    labels = np.tile([0, 1], 150)
    patients = [f"p{i // 2}" for i in range(300)]
    scores = effect + labels + generator.normal(0, 0.5, 300)

    _, ((clustered,),) = intervals.delong(labels.tolist(), [scores.tolist()], patients)
    _, ((plain,),) = intervals.delong(labels.tolist(), [scores.tolist()])

    draws = []
    for _ in range(2000):
        pick = generator.integers(0, 150, 150)
        high, low = scores[2 * pick + 1], scores[2 * pick]
        draws.append((high[:, None] > low[None, :]).mean())
    assert clustered == pytest.approx(np.var(draws), rel=0.15)
    assert plain > 1.5 * clustered


def test_seeds_that_agree_leave_delongs_variance():
    labels, (first, *_) = made_scores()

    mean, (low, high) = intervals.obuchowski_rockette(labels, [first] * 4)

    aucs, covariance = intervals.delong(labels, [first])
    half = 1.959964 * math.sqrt(covariance[0][0])
    assert mean == pytest.approx(aucs[0])
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=1e-6)


def test_seeds_on_unshared_variance_approach_students_interval():
    """With no covariance between seeds the design is a plain t over seeds."""
    labels = [0, 1] * 500
    generator = np.random.default_rng(1)
    scores = (generator.normal(size=(3, 1000)) + np.asarray(labels)).tolist()
    aucs, covariance = intervals.delong(labels, scores)
    off = [covariance[0][1], covariance[0][2], covariance[1][2]]
    assert max(off) < 0.2 * covariance[0][0]

    mean, (low, high) = intervals.obuchowski_rockette(labels, scores)

    shared = 3 * max(np.mean(off), 0)
    ms = np.var(aucs, ddof=1)
    degrees = 2 * ((ms + shared) / ms) ** 2
    half = stats.t.ppf(0.975, degrees) * math.sqrt((ms + shared) / 3)
    assert (low, high) == pytest.approx((mean - half, mean + half))


def test_a_paired_difference_is_narrower_than_its_parts():
    labels, scores = made_scores(num_seeds=4, num_images=120)
    better = [[s + 0.8 * y for s, y in zip(row, labels, strict=True)] for row in scores]

    mean, (low, high) = intervals.obuchowski_rockette(labels, better, minus=scores)

    a, (a_low, a_high) = intervals.obuchowski_rockette(labels, better)
    b, (b_low, b_high) = intervals.obuchowski_rockette(labels, scores)
    assert mean == pytest.approx(a - b)
    assert (high - low) < 0.8 * math.hypot(a_high - a_low, b_high - b_low)


def test_one_seed_has_delongs_interval_of_a_difference():
    labels, (a, b) = made_scores(num_seeds=2)

    mean, (low, high) = intervals.obuchowski_rockette(labels, [a], minus=[b])

    aucs, covariance = slow_delong(labels, [a, b])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert mean == pytest.approx(aucs[0] - aucs[1])
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-6)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("patients", [None, [f"p{i // 2}" for i in range(60)]])
def test_agrees_with_the_numpy_implementation(paired, patients):
    labels, scores = made_scores(num_seeds=6, num_images=60, seed=3)
    minus = scores[3:] if paired else None

    mean, interval = intervals.obuchowski_rockette(labels, scores[:3], patients, minus)

    theirs = over_seeds_real(labels, scores[:3], minus, patients=patients)
    assert mean == pytest.approx(theirs.value)
    assert interval == pytest.approx((theirs.ci_low, theirs.ci_high))
