"""Pixel AUROC of each abnormal image by itself, Section 6.4.1 and Tables 6.3, A.5.

The usual pixel AUROC takes all pixels of all images together, so that images have to
share one scale; here each image is ranked by itself, and images without anomaly do
not count at all.
"""

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
    if len(aurocs) < 2:
        raise InputError(
            f"{len(aurocs)} abnormal image(s) have pixels of both kinds; a mean with "
            "an interval needs two."
        )
    half = NormalDist().inv_cdf(0.5 + level / 2)
    half *= aurocs.std(ddof=1) / len(aurocs) ** 0.5
    mean = float(aurocs.mean())
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), len(aurocs))
