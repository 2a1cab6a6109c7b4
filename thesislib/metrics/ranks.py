"""Whether two scores rank the same images alike."""

import math

import numpy as np
from numpy.typing import ArrayLike

from thesislib.errors import InputError
from thesislib.metrics.image import Estimate

LEAST = 4  # images: the interval has n - 3 in its denominator


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Estimate | None:
    r"""Spearman's rank correlation with a 95 % interval.

    The interval is Bonett and Wright's (2000): $\tanh(\operatorname{artanh} \rho \pm
    1.96 \sqrt{(1 + \rho^2 / 2) / (n - 3)})$.

    Args:
        first: Scores of n images, (n,), n at least 4.
        second: Other scores of the same images, (n,).

    Returns:
        From -1 to 1; None if all of either are equal, and nothing is ranked.

    Raises:
        InputError: If there are fewer images, or not as many of both.
    """
    from scipy.stats import rankdata

    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or len(first) < LEAST:
        raise InputError(
            f"scores have shapes {first.shape} and {second.shape}; a rank correlation "
            f"needs one length of both, at least {LEAST}."
        )
    ranks = rankdata(first), rankdata(second)
    if min(np.ptp(one) for one in ranks) == 0:
        return None
    rho = float(np.clip(np.corrcoef(*ranks)[0, 1], -1, 1))
    if abs(rho) == 1:
        return Estimate(rho, rho, rho, len(first))
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(first) - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return Estimate(rho, low, high, len(first))
