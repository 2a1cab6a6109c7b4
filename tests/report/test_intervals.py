import math

import numpy as np
import pytest
from scipy import stats

from thesislib.metrics.delong import delong as numpy_delong
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


# --- recorded runs: standard errors in place of scores -------------------------------


def test_equal_seeds_leave_delongs_interval():
    mean, (low, high) = intervals.seeds_and_errors([0.8] * 3, [0.01] * 3)

    assert mean == pytest.approx(0.8)
    assert (low, high) == pytest.approx((0.8 - 0.0195996, 0.8 + 0.0195996), abs=1e-6)
    assert intervals.seeds_and_errors([0.8], [0.01])[1] == pytest.approx((low, high))


def test_errors_of_nought_leave_students_interval():
    values = [0.71, 0.74, 0.69]

    mean, interval = intervals.seeds_and_errors(values, [0.0] * 3)

    assert mean == pytest.approx(np.mean(values))
    assert interval == pytest.approx(intervals.student(values))


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 20])
@pytest.mark.parametrize("share", np.logspace(-3, 3, 13))
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9, 1.0])
def test_the_bound_is_never_narrower_than_the_known_covariance(
    num_seeds, share, correlation
):
    """For any ratio of the images' to the seeds' variance and any covariance."""
    steps = np.linspace(-1, 1, num_seeds)
    values = (0.8 + 0.01 * steps / steps.std(ddof=1)).tolist()  # MS = 1e-4
    variance = share * 1e-4
    covariance = np.full((num_seeds, num_seeds), correlation * variance)

    _, known = intervals.crossed(values, covariance.tolist())
    _, bound = intervals.seeds_and_errors(values, [variance**0.5] * num_seeds)

    assert bound[1] - bound[0] >= (known[1] - known[0]) * (1 - 1e-9)


def test_the_bound_in_place_of_the_covariance_could_be_narrower():
    """Why the two parts are added with quantiles of their own."""
    values = [0.79, 0.81]

    _, known = intervals.crossed(values, [[0.0, 0.0], [0.0, 0.0]])
    _, plugged = intervals.crossed(values, [[0.0, 2e-4], [2e-4, 0.0]])

    assert plugged[1] - plugged[0] < 0.5 * (known[1] - known[0])


@pytest.mark.parametrize("noise", [0.05, 0.5, 2.0])
def test_recorded_seeds_are_never_narrower_than_scored_ones(noise):
    """On simulated scores, against the interval that the scores would give."""
    generator = np.random.default_rng(7)
    labels = np.repeat([0, 1], 40)
    for _ in range(20):
        case = generator.normal(0, 1, 80) + labels
        scores = case + generator.normal(0, noise, (3, 80))
        theirs = over_seeds_real(labels, scores)
        pairs = (intervals.delong(labels.tolist(), [s.tolist()]) for s in scores)
        aucs, errors = zip(*((auc, v**0.5) for (auc,), ((v,),) in pairs), strict=True)

        mean, (low, high) = intervals.seeds_and_errors(aucs, errors)

        assert mean == pytest.approx(theirs.value)
        assert high - low >= theirs.ci_high - theirs.ci_low


# --- influences ----------------------------------------------------------------------


@pytest.mark.parametrize("patients", [None, [f"p{i // 2}" for i in range(60)]])
def test_influences_give_delongs_covariance(patients):
    labels, scores = made_scores(num_seeds=2, num_images=60, seed=5)
    names = patients or [str(i) for i in range(60)]

    found = [intervals.influences(labels, one, names) for one in scores]

    aucs, covariance = numpy_delong(labels, scores, patients)
    np.testing.assert_allclose([auc for auc, _ in found], aucs)
    mine = [[intervals.dot(a, b) for _, b in found] for _, a in found]
    np.testing.assert_allclose(mine, covariance)


def test_auroc_on_other_images_do_not_vary_together():
    labels, (a, b) = made_scores(num_seeds=2)
    names = [str(i) for i in range(len(labels))]

    _, here = intervals.influences(labels, a, names)
    _, there = intervals.influences(labels, b, [f"other {name}" for name in names])

    assert intervals.dot(here, there) == 0
