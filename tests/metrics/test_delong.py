import numpy as np
import pytest

from thesislib.errors import InputError
from thesislib.metrics.delong import compare, delong
from thesislib.metrics.image import auroc


def made_scores(seed=0, num_scores=3, num_images=80, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], [num_images // 2, num_images // 2]))
    scores = rng.normal(size=num_images) + labels
    scores = scores + rng.normal(size=(num_scores, num_images))
    return labels, np.round(scores) if ties else scores


def slow_delong(labels, scores):
    """Placements pair by pair, DeLong et al. 1988, Eqs. (4) to (6)."""
    abnormal, normal = scores[:, labels == 1], scores[:, labels == 0]
    psi = (abnormal[:, :, None] > normal[:, None]) + 0.5 * (
        abnormal[:, :, None] == normal[:, None]
    )
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    s10, s01 = np.cov(v10), np.cov(v01)
    return psi.mean(axis=(1, 2)), s10 / v10.shape[1] + s01 / v01.shape[1]


@pytest.mark.parametrize("ties", [False, True])
def test_midranks_give_what_pairs_give(ties):
    labels, scores = made_scores(ties=ties)

    for ours, slow in zip(
        delong(labels, scores), slow_delong(labels, scores), strict=True
    ):
        np.testing.assert_allclose(ours, slow, atol=1e-14)


def test_two_against_two_by_hand():
    # normal 1, 3; abnormal 2, 4: placements v10 = (1/2, 1), v01 = (1, 1/2)
    aucs, covariance = delong([0, 1, 0, 1], [1, 2, 3, 4])

    assert aucs == pytest.approx([3 / 4])
    # sample variances of both are 1/8, each divided by 2
    assert covariance == pytest.approx(np.array([[1 / 8]]))


def test_variance_agrees_with_leaving_images_out():
    labels, scores = made_scores(num_scores=1, num_images=200)
    kept = ~np.eye(200, dtype=bool)
    jackknife = 0.0
    for label in (0, 1):
        images = np.flatnonzero(labels == label)
        left_out = [auroc(labels[kept[i]], scores[0, kept[i]]) for i in images]
        count = len(images)
        jackknife += (count - 1) / count * np.sum((left_out - np.mean(left_out)) ** 2)

    # leaving out one of each class in turn is DeLong's variance exactly
    assert delong(labels, scores)[1][0, 0] == pytest.approx(jackknife, rel=1e-10)


def test_one_image_a_patient_changes_nothing():
    labels, scores = made_scores()

    clustered = delong(labels, scores, [f"patient {i}" for i in range(80)])

    np.testing.assert_allclose(clustered[1], delong(labels, scores)[1], atol=1e-15)


def test_copies_of_each_patient_add_no_certainty():
    labels, scores = made_scores()
    patients = np.arange(80)

    copied = delong(np.tile(labels, 3), np.tile(scores, 3), np.tile(patients, 3))

    np.testing.assert_allclose(copied[1], delong(labels, scores)[1], atol=1e-15)


def test_clustered_variance_agrees_with_many_redrawn_test_sets():
    # a normal and an abnormal image of each patient share what they look like
    rng = np.random.default_rng(0)
    labels, patients = np.tile([0, 1], 60), np.repeat(np.arange(60), 2)
    aucs, variances = [], []
    for _ in range(600):
        scores = rng.normal(size=60)[patients] + rng.normal(size=120) + labels
        auc, covariance = delong(labels, scores, patients)
        aucs.append(auc[0])
        variances.append(covariance[0, 0])

    # the standard deviation over 600 draws is known to 3 %
    assert np.mean(variances) ** 0.5 == pytest.approx(np.std(aucs), rel=0.12)


def test_a_method_compared_with_itself_does_not_differ():
    labels, scores = made_scores()

    same = compare(labels, scores[0], np.exp(scores[0]))

    assert (same.difference, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)


def test_comparison_is_antisymmetric_and_its_p_fits_its_interval():
    labels, scores = made_scores()
    forth, back = (compare(labels, *pair) for pair in (scores[:2], scores[1::-1]))

    assert forth.difference == pytest.approx(-back.difference)
    assert forth.ci_low == pytest.approx(-back.ci_high)
    assert forth.p == pytest.approx(back.p)
    touching = compare(labels, *scores[:2], level=1 - forth.p)
    ends = [abs(touching.ci_low), abs(touching.ci_high)]
    assert min(ends) == pytest.approx(0, abs=1e-9)


def test_a_class_of_one_image_has_no_variance():
    with pytest.raises(InputError, match="at least two"):
        delong([0, 0, 1], [1, 2, 3])
    with pytest.raises(InputError, match="the normal test images come from 1"):
        delong([0, 0, 1, 1], [1, 2, 3, 4], ["a", "a", "b", "c"])
