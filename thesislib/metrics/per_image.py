"""Pixel AUROC of each abnormal image by itself, Section 6.4.1 and Tables 6.3, A.5.

The usual pixel AUROC takes all pixels of all images together, so that images have to
share one scale; here each image is ranked by itself, and images without anomaly do
not count at all.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from thesislib.errors import InputError
from thesislib.metrics.image import Estimate


def aurocs_of_images(maps: ArrayLike, masks: ArrayLike) -> NDArray[np.float64]:
    """AUROC over the pixels of each image that has pixels of both kinds.

    Args:
        maps: (N, H, W), larger is more abnormal.
        masks: (N, H, W), true on the anomaly.

    Returns:
        (n,), in order; images wholly normal or wholly abnormal are left out.

    Raises:
        InputError: If the shapes differ.
    """
    maps, masks = np.asarray(maps), np.asarray(masks, dtype=bool)
    if maps.shape != masks.shape or maps.ndim != 3:
        raise InputError(
            f"maps have shape {maps.shape} and masks {masks.shape}; both must be "
            "(images, height, width)."
        )
    found = []
    for image, mask in zip(maps, masks, strict=True):
        abnormal, normal = int(mask.sum()), int((~mask).sum())
        if abnormal and normal:
            ranks = rankdata(image.ravel())[mask.ravel()].sum()
            above = ranks - abnormal * (abnormal + 1) / 2  # Mann and Whitney's U
            found.append(above / (abnormal * normal))
    return np.array(found)


def mean_of_images(aurocs: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean over images, with a normal interval over images cut at 0 and 1.

    Args:
        aurocs: (n,), of `aurocs_of_images`.
        level: Coverage.

    Raises:
        InputError: If there are fewer than two images.
    """
    aurocs = np.asarray(aurocs, dtype=np.float64)
    variance = _variance_of_mean(aurocs)
    return _estimate(float(aurocs.mean()), variance, len(aurocs), level)


def over_classes(
    aurocs: Sequence[ArrayLike], level: float = 0.95
) -> tuple[list[Estimate], Estimate]:
    """Mean over images of every class, and the mean of these, Tables A.5 and 6.3.

    Classes have images of their own, so the variance of the mean over K classes is the
    sum of theirs over K^2.

    Args:
        aurocs: K times (n_k,), of `aurocs_of_images`.
        level: Coverage.
    """
    each = [mean_of_images(one, level) for one in aurocs]
    variance = sum(_variance_of_mean(np.asarray(one)) for one in aurocs)
    value, number = np.mean([one.value for one in each]), sum(one.n for one in each)
    return each, _estimate(float(value), variance / len(each) ** 2, number, level)


def _variance_of_mean(aurocs: NDArray[np.float64]) -> float:
    if len(aurocs) < 2:
        raise InputError(
            f"{len(aurocs)} abnormal image(s) have pixels of both kinds; a mean with "
            "an interval needs two."
        )
    return float(aurocs.var(ddof=1)) / len(aurocs)


def _estimate(mean: float, variance: float, number: int, level: float) -> Estimate:
    half = NormalDist().inv_cdf(0.5 + level / 2) * variance**0.5
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), number)
