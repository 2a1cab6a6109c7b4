"""AUROCs of the one-class protocol: each class is normal in its turn, Section 6.4.1."""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.delong import placements
from thesislib.metrics.image import Estimate
from thesislib.metrics.inputs import check_labels, check_scores


def over_classes(
    labels: ArrayLike, scores: ArrayLike, level: float = 0.95
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
    labels, scores = np.atleast_2d(labels), np.atleast_2d(scores)
    if labels.shape != scores.shape:
        raise InputError(
            f"labels have shape {labels.shape} and scores {scores.shape}; they must "
            "be equal, (classes, images)."
        )
    found = [_influence(*pair) for pair in zip(labels, scores, strict=True)]
    aucs = np.array([auc for auc, _ in found])
    influence = np.stack([part for _, part in found])
    num_images = labels.shape[1]

    def estimate(value: float, moved: NDArray[np.float64]) -> Estimate:
        variance = (moved**2).sum() * num_images / (num_images - 1)
        half = NormalDist().inv_cdf(0.5 + level / 2) * variance**0.5
        return Estimate(
            float(value),
            max(0.0, float(value - half)),
            min(1.0, float(value + half)),
            num_images,
        )

    classes = [estimate(*pair) for pair in zip(aucs, influence, strict=True)]
    return classes, estimate(aucs.mean(), influence.mean(axis=0))


def _influence(labels: NDArray, scores: NDArray) -> tuple[float, NDArray[np.float64]]:
    """AUROC, and how much each image moves it, (N,)."""
    abnormal = check_labels(labels)
    v10, v01 = placements(abnormal, check_scores(scores, len(abnormal))[None])
    auc = v10.mean()
    moved = np.empty(len(abnormal))
    moved[abnormal] = (v10[0] - auc) / abnormal.sum()
    moved[~abnormal] = (v01[0] - auc) / (~abnormal).sum()
    return float(auc), moved
