"""AUROCs of the one-class protocol: each class is normal in its turn, Section 6.4.1."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.delong import Contrast, contrast, placements
from thesislib.metrics.image import Estimate
from thesislib.metrics.inputs import check_labels, check_scores


def over_classes(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike], level: float = 0.95
) -> tuple[list[Estimate], Estimate]:
    r"""AUROC of every class, and their mean, on test images that all classes share.

    An image is normal in one class and abnormal in the others, so the AUROCs are
    correlated. The mean's variance therefore adds up over images, not over classes:
    image i moves the mean by $\frac{1}{K} \sum_k \psi_{ki}$ with
    $\psi_{ki} = (V_{10,ki} - A_k) / m_k$ for an abnormal and
    $(V_{01,ki} - A_k) / n_k$ for a normal image (DeLong's placements), and the
    variance is the sum of squares of these. For one class it is DeLong's, but for
    factors of N / (N - 1).

    Axes: K classes, N test images, of which m_k abnormal.

    Args:
        labels: 0 normal, 1 abnormal, (K, N).
        scores: (K, N), larger is more abnormal.
        level: Coverage of the intervals, cut at 0 and 1.

    Returns:
        Estimates of the K classes and of the mean.

    Raises:
        InputError: If shapes differ, or a class lacks normal or abnormal images.
    """
    found = _influences(labels, scores)
    if len({len(moved) for _, moved in found}) > 1:
        raise InputError(
            "the classes have different numbers of test images, so they do not share "
            "them; use apart."
        )
    aucs = [auc for auc, _ in found]
    shared = np.mean([moved for _, moved in found], axis=0)
    classes = [_estimate(auc, _variance(moved), moved, level) for auc, moved in found]
    return classes, _estimate(np.mean(aucs), _variance(shared), shared, level)


def apart(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike], level: float = 0.95
) -> tuple[list[Estimate], Estimate]:
    """As `over_classes`, where each class has test images of its own (MVTec AD).

    The AUROCs are then independent: the mean's variance is the sum of theirs over K^2.

    Args:
        labels: K times (N_k,).
        scores: As `labels`.
        level: Coverage of the intervals.
    """
    found = _influences(labels, scores)
    aucs, all_moved = [auc for auc, _ in found], [moved for _, moved in found]
    classes = [_estimate(auc, _variance(moved), moved, level) for auc, moved in found]
    variance = sum(map(_variance, all_moved)) / len(found) ** 2
    images = np.concatenate(all_moved)
    return classes, _estimate(np.mean(aucs), variance, images, level)


def compare(
    labels: Sequence[ArrayLike],
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    shared: bool,
    level: float = 0.95,
) -> tuple[list[Contrast], Contrast]:
    """Differences of two methods' AUROCs, first minus second, and of their means.

    Both score the same images, so what counts is by how much more an image moves one
    AUROC than the other.

    Args:
        labels: As for `over_classes` or `apart`.
        first: Scores of one method, as `labels`.
        second: Those of the other.
        shared: Whether all classes share their test images.
        level: Coverage of the intervals.

    Returns:
        Contrasts of the K classes, and of the mean.
    """
    pairs = zip(_influences(labels, first), _influences(labels, second), strict=True)
    differences, moved = [], []
    for (auc, own), (other_auc, other) in pairs:
        differences.append(auc - other_auc)
        moved.append(own - other)
    variances = [_variance(one) for one in moved]
    if shared:
        variance = _variance(np.mean(moved, axis=0))
    else:
        variance = sum(variances) / len(variances) ** 2
    of_classes = [
        contrast(one, var, level)
        for one, var in zip(differences, variances, strict=True)
    ]
    return of_classes, contrast(float(np.mean(differences)), variance, level)


def _influences(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike]
) -> list[tuple[float, NDArray[np.float64]]]:
    for label, score in zip(labels, scores, strict=True):
        if np.shape(label) != np.shape(score):
            raise InputError(
                f"labels have shape {np.shape(label)} and scores {np.shape(score)}; "
                "they must be equal for every class."
            )
    return [_influence(*pair) for pair in zip(labels, scores, strict=True)]


def _variance(moved: NDArray[np.float64]) -> float:
    return float((moved**2).sum() * len(moved) / (len(moved) - 1))


def _estimate(
    value: float, variance: float, images: NDArray[np.float64], level: float
) -> Estimate:
    half = NormalDist().inv_cdf(0.5 + level / 2) * variance**0.5
    low, high = max(0.0, value - half), min(1.0, value + half)
    return Estimate(float(value), float(low), float(high), len(images))


def _influence(labels: NDArray, scores: NDArray) -> tuple[float, NDArray[np.float64]]:
    """AUROC, and how much each image moves it, (N,)."""
    abnormal = check_labels(labels)
    v10, v01 = placements(abnormal, check_scores(scores, len(abnormal))[None])
    auc = v10.mean()
    moved = np.empty(len(abnormal))
    moved[abnormal] = (v10[0] - auc) / abnormal.sum()
    moved[~abnormal] = (v01[0] - auc) / (~abnormal).sum()
    return float(auc), moved
