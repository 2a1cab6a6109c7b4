"""Covariance of AUROCs measured on one test set, and the comparison of two methods.

E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or
more correlated receiver operating characteristic curves", Biometrics 44 (1988);
midranks as in X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014); images that
share a patient as in N. A. Obuchowski, "Nonparametric analysis of clustered ROC curve
data", Biometrics 53 (1997).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.inputs import check_labels, check_patients, check_scores


@dataclass(frozen=True)
class Contrast:
    """A difference of two metrics, first minus second.

    The interval is not cut at -1 and 1; `p` is two-sided against no difference.
    """

    difference: float
    ci_low: float
    ci_high: float
    p: float


def delong(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""AUROC of K scores on the same images, and their covariance.

    With placements $V_{10}(x_i)$ (the fraction of normal images below abnormal image
    $i$, ties half) and $V_{01}(y_j)$ (the fraction of abnormal images above normal
    image $j$), DeLong's covariance is $S_{10}/m + S_{01}/n$. With patients, the
    placements are summed within a patient first (Obuchowski 1997), and a patient
    with images of both classes adds $2 S_{11}/mn$; with one image a patient the two
    agree exactly.

    Axes: K scores, N images, of which m abnormal and n normal, I patients.

    Args:
        labels: 0 normal, 1 abnormal, (N,).
        scores: (K, N), or (N,) for K = 1; larger is more abnormal.
        patients: Patient ids, (N,); None treats images as independent.

    Returns:
        AUROCs (K,) and covariance (K, K).

    Raises:
        InputError: A class is missing or comes from fewer than two patients (or
            images, without patients): no variance can be estimated.
    """
    abnormal = check_labels(labels)
    scores = np.atleast_2d(check_scores(scores, len(abnormal)))
    clusters = check_patients(patients, len(abnormal))
    num_abnormal, num_normal = int(abnormal.sum()), int((~abnormal).sum())
    v10, v01 = placements(abnormal, scores)
    aucs = v10.mean(axis=1)

    sum10, count10 = _sum_clusters(v10 - aucs[:, None], clusters[abnormal], clusters)
    sum01, count01 = _sum_clusters(v01 - aucs[:, None], clusters[~abnormal], clusters)
    for name, count in (("abnormal", count10), ("normal", count01)):
        if count < 2:
            raise InputError(
                f"the {name} test images come from {count} independent patient or "
                "image; the variance of an AUROC needs at least two."
            )
    num_clusters = len(np.unique(clusters))
    s10 = sum10 @ sum10.T * count10 / (count10 - 1)
    s01 = sum01 @ sum01.T * count01 / (count01 - 1)
    s11 = sum10 @ sum01.T * num_clusters / (num_clusters - 1)
    covariance = (
        s10 / num_abnormal**2
        + s01 / num_normal**2
        + (s11 + s11.T) / (num_abnormal * num_normal)
    )
    return aucs, covariance


def compare(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    patients: ArrayLike | None = None,
    level: float = 0.95,
) -> Contrast:
    """Difference of two AUROCs on the same test images, a minus b, by DeLong's test.

    Where the estimated variance is zero (for instance both methods separate the test
    set perfectly), the interval is the difference itself and p is 1 for equal AUROCs
    and 0 otherwise: such a test set is too easy to compare the two.

    Args:
        labels: (N,).
        a: Scores of the first method, (N,).
        b: Scores of the second method, (N,).
        patients: Patient ids, (N,), or None.
        level: Coverage of the interval.
    """
    num_images = len(np.asarray(labels))
    a, b = check_scores(a, num_images), check_scores(b, num_images)
    aucs, covariance = delong(labels, np.stack([a, b]), patients)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return contrast(float(aucs[0] - aucs[1]), variance, level)


def contrast(difference: float, variance: float, level: float = 0.95) -> Contrast:
    """A difference with its normal interval and p; for variance zero see `compare`."""
    if variance <= 1e-15:  # rounding of an exact zero
        return Contrast(difference, difference, difference, float(difference == 0))
    std = variance**0.5
    half = NormalDist().inv_cdf(0.5 + level / 2) * std
    p = 2 * NormalDist().cdf(-abs(difference) / std)
    return Contrast(difference, difference - half, difference + half, p)


def placements(
    abnormal: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """$V_{10}$ and $V_{01}$ of `delong`, whose means are both the AUROC.

    Args:
        abnormal: (N,), m true and n false.
        scores: (K, N).

    Returns:
        $V_{10}$ of the abnormal images (K, m) and $V_{01}$ of the normal ones (K, n).
    """
    among_all = _midranks(scores)
    below = among_all[:, abnormal] - _midranks(scores[:, abnormal])
    above = among_all[:, ~abnormal] - _midranks(scores[:, ~abnormal])
    return below / (~abnormal).sum(), 1 - above / abnormal.sum()


def _midranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1 along the last axis, ties sharing their mean rank, (K, N)."""
    ranks = np.empty_like(scores)
    for k, row in enumerate(scores):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        ranks[k] = (last - (counts - 1) / 2)[inverse]
    return ranks


def _sum_clusters(
    values: NDArray[np.float64], members: NDArray[np.intp], clusters: NDArray[np.intp]
) -> tuple[NDArray[np.float64], int]:
    """Sum values (K, M) within clusters; sums (K, I) and number of clusters met."""
    size = int(clusters.max()) + 1
    sums = np.stack([np.bincount(members, row, minlength=size) for row in values])
    return sums, len(np.unique(members))
