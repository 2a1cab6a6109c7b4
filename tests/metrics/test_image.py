import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from thesislib.errors import InputError
from thesislib.metrics import image

MONOTONE = (np.exp, lambda x: 5 * x - 3, lambda x: x**3)


def made_scores(seed=0, num_normal=60, num_abnormal=90, shift=1.0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], [num_normal, num_abnormal]))
    scores = rng.normal(size=len(labels)) + shift * labels
    return labels, np.round(scores, 1) if ties else scores


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=30)
)
def test_curves_agree_with_scikit_learn_under_heavy_ties(images):
    labels, scores = np.array(images).T
    if labels.min() == labels.max():
        with pytest.raises(InputError, match="at least one of each"):
            image.auroc(labels, scores)
        return

    assert image.auroc(labels, scores) == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12
    )
    assert image.average_precision(labels, scores) == pytest.approx(
        sklearn_metrics.average_precision_score(labels, scores), abs=1e-12
    )
    expected = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    for ours, theirs in zip(image.roc_curve(labels, scores), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_auroc_counts_pairs_and_half_of_ties():
    labels, scores = made_scores(ties=True)
    above = scores[labels == 1][:, None] - scores[labels == 0]

    pairs = np.mean(above > 0) + np.mean(above == 0) / 2

    assert image.auroc(labels, scores) == pytest.approx(pairs, abs=1e-12)


@pytest.mark.parametrize("transform", MONOTONE)
def test_auroc_and_ap_depend_on_the_order_of_scores_only(transform):
    labels, scores = made_scores(ties=True)

    for metric in (image.auroc, image.average_precision):
        assert metric(labels, transform(scores)) == metric(labels, scores)


def test_confusion_agrees_with_scikit_learn():
    labels, scores = made_scores()
    called = scores >= 0.3

    figures = image.confusion(labels, scores, 0.3)

    assert figures["sensitivity"] == sklearn_metrics.recall_score(labels, called)
    assert figures["specificity"] == pytest.approx(
        sklearn_metrics.recall_score(1 - labels, ~called)
    )
    assert figures["accuracy"] == sklearn_metrics.accuracy_score(labels, called)
    assert figures["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, called))
    assert figures["precision"] == sklearn_metrics.precision_score(labels, called)


def test_calling_all_kermany_test_images_abnormal_has_f1_769():
    labels = np.repeat([0, 1], [234, 390])

    assert image.f1_all_abnormal(labels) == pytest.approx(2 * 390 / (390 + 624))
    assert image.f1_all_abnormal(labels) == pytest.approx(
        image.confusion(labels, np.zeros(624), -math.inf)["f1"]
    )


@pytest.mark.parametrize("criterion", ["youden", "f1"])
@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_is_better_than_the_best(criterion, ties):
    labels, scores = made_scores(num_normal=15, num_abnormal=25, ties=ties)

    def gain(threshold):
        figures = image.confusion(labels, scores, threshold)
        youden = figures["sensitivity"] + figures["specificity"]
        return youden if criterion == "youden" else figures["f1"]

    best = gain(image.best_threshold(labels, scores, criterion))

    assert best == pytest.approx(
        max(gain(t) for t in [-math.inf, *scores, math.inf]), abs=1e-12
    )


def test_threshold_between_separated_classes_lies_half_way():
    assert image.best_threshold([0, 0, 1], [1.0, 2.0, 5.0]) == 3.5


def test_of_equally_good_thresholds_the_middle_favours_no_class():
    labels = [0, 1, 0, 1, 0, 1]  # cutting after 1, 3 or 5 images is equally good

    assert image.best_threshold(labels, np.arange(6)) == 2.5


def test_threshold_between_neighbouring_floats_separates_them():
    low = 1.0
    high = np.nextafter(low, 2)

    threshold = image.best_threshold([0, 1], [low, high])

    assert low < threshold <= high


def test_protocol_agrees_with_drawing_and_counting_one_by_one():
    labels, scores = made_scores(num_normal=70, num_abnormal=110)
    order = np.argsort(scores, kind="stable")
    ranked_labels, ranked_scores = labels[order], scores[order]
    rng = np.random.default_rng(3)
    rows, thresholds = [], []
    for _ in range(4):
        drawn = [
            rng.choice(np.flatnonzero(ranked_labels == label), 35, replace=False)
            for label in (0, 1)
        ]
        drawn = np.concatenate(drawn)
        left = np.setdiff1d(np.arange(180), drawn)
        threshold = image.best_threshold(ranked_labels[drawn], ranked_scores[drawn])
        figures = image.confusion(ranked_labels[left], ranked_scores[left], threshold)
        thresholds.append(threshold)
        rows.append([figures[k] for k in ("sensitivity", "specificity", "accuracy")])

    found = image.protocol_50_50(labels, scores, seed=3, repeats=4)

    assert found["num_drawn"] == 35
    assert found["threshold"] == pytest.approx(np.median(thresholds))
    np.testing.assert_allclose(
        [found[k] for k in ("sensitivity", "specificity", "accuracy")],
        np.mean(rows, axis=0),
    )


def test_thesis_test_sets_give_fifty_images_of_each_class():
    assert image.num_drawn(np.repeat([0, 1], [500, 1000])) == 50
    assert image.num_drawn(np.repeat([0, 1], [200, 200])) == 50
    assert image.num_drawn(np.repeat([0, 1], [99, 200])) == 49
    assert image.num_drawn(np.repeat([0, 1], [2, 9])) == 1
    with pytest.raises(InputError, match="single image"):
        image.num_drawn([0, 1, 1])


def test_estimates_are_those_without_bootstrap_and_repeat_themselves():
    labels, scores = made_scores()

    estimates = image.evaluate(labels, scores, seed=5, num_bootstrap=50)

    assert estimates == image.evaluate(labels, scores, seed=5, num_bootstrap=50)
    assert estimates["auc"].value == pytest.approx(image.auroc(labels, scores))
    assert estimates["ap"].value == image.average_precision(labels, scores)
    protocol = image.protocol_50_50(labels, scores, seed=5)
    for name in ("sensitivity", "specificity", "accuracy"):
        assert estimates[name].value == pytest.approx(protocol[name])
        assert estimates[name].ci_low < protocol[name] < estimates[name].ci_high
    assert [estimates[k].n for k in estimates] == [150, 150, 60, 30, 90]


def test_bootstrap_of_the_auroc_agrees_with_delong():
    labels, scores = made_scores(num_normal=300, num_abnormal=500)

    auc = image.evaluate(labels, scores, repeats=1)["auc"]
    _, covariance = image.delong(labels, scores)

    width = 2 * NormalDist().inv_cdf(0.975) * covariance[0, 0] ** 0.5
    assert auc.ci_high - auc.ci_low == pytest.approx(width, rel=0.1)


def test_copies_of_a_patient_add_no_certainty():
    labels, scores = made_scores()
    patients = np.arange(len(labels))
    once = image.evaluate(labels, scores, repeats=1)["auc"]

    copies = {"labels": np.tile(labels, 4), "scores": np.tile(scores, 4), "repeats": 1}
    copied = image.evaluate(**copies, patients=np.tile(patients, 4))["auc"]
    naive = image.evaluate(**copies)["auc"]

    assert copied.value == pytest.approx(once.value)
    width = once.ci_high - once.ci_low
    assert copied.ci_high - copied.ci_low == pytest.approx(width, rel=0.1)
    assert naive.ci_high - naive.ci_low == pytest.approx(width / 2, rel=0.1)


def test_a_patient_of_both_classes_keeps_every_resample_whole():
    labels = [0, 1, 0, 1, 0, 1]
    patients = ["a", "a", "b", "b", "c", "c"]

    estimates = image.evaluate(labels, [1, 2, 3, 1, 2, 4], patients=patients)

    for estimate in estimates.values():
        assert 0 <= estimate.ci_low <= estimate.ci_high <= 1


def test_perfect_separation_is_no_certainty():
    labels = np.repeat([0, 1], [20, 30])
    scores = np.arange(50.0)

    auc = image.evaluate(labels, scores, num_bootstrap=50)["auc"]

    # 20 disjoint pairs in order have probability 0.025 where the AUROC is ci_low
    assert (auc.value, auc.ci_high) == (1, 1)
    assert auc.ci_low**20 == pytest.approx(0.025)


def test_one_patient_of_a_class_tells_nothing_of_patients():
    labels = np.repeat([0, 1], [5, 5])
    patients = ["a", "b", "c", "d", "e", "f", "f", "f", "f", "f"]
    scores = [1, 2, 3, 4, 9, 5, 6, 7, 8, 3]

    auc = image.evaluate(labels, scores, patients=patients)["auc"]

    assert (auc.ci_low, auc.ci_high) == (0, 1)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # 100 intervals at 95 %: fewer than 85 hits has probability below 1e-4
    truth, hits = NormalDist().cdf(1 / math.sqrt(2)), 0
    for seed in range(100):
        auc = image.evaluate(*made_scores(seed), num_bootstrap=200, repeats=1)["auc"]
        hits += auc.ci_low <= truth <= auc.ci_high

    assert hits >= 85


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 2], [1, 2, 3], "0 .normal. or 1 .abnormal."),
        ([[0, 1]], [[1, 2]], r"shape \(N,\)"),
        ([0, 1], [1, 2, 3], "2 labels"),
        ([0, 1], [1, math.nan], "1 NaN or infinite"),
    ],
)
def test_bad_input_is_one_sentence(labels, scores, message):
    with pytest.raises(InputError, match=message):
        image.auroc(labels, scores)
