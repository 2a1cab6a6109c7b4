"""Stratified bootstrap over the patients or images of a test set."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

ELEMENTS_AT_ONCE = 4_000_000  # resamples x images held in memory at a time


def exact_if_degenerate(
    low: float, high: float, num_trials: int
) -> tuple[float, float]:
    """Open an interval in which every resample was perfect, or every one failed.

    A bootstrap cannot see errors that never happened. If none happened in k
    independent trials, 0.025^(1/k) is the exact lower 97.5 % bound for the
    probability of success.
    """
    if low == high == 1:
        return 0.025 ** (1 / num_trials), 1.0
    if low == high == 0:
        return 0.0, 1 - 0.025 ** (1 / num_trials)
    return low, high


def strata(
    abnormal: NDArray[np.bool_], clusters: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Patients with normal images only, with abnormal only, and with both."""
    has_abnormal = np.bincount(clusters, abnormal) > 0
    has_normal = np.bincount(clusters, ~abnormal) > 0
    return (
        np.flatnonzero(has_normal & ~has_abnormal),
        np.flatnonzero(has_abnormal & ~has_normal),
        np.flatnonzero(has_abnormal & has_normal),
    )


def resamples(
    groups: tuple[NDArray[np.intp], ...],
    clusters: NDArray[np.intp],
    num_resamples: int,
    generator: np.random.Generator,
    num_elements: int | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Weights of the images in stratified resamples of patients, blocks of (R, N).

    `num_elements` sizes the blocks where the weights are spread over more than N.
    """
    at_once = max(1, ELEMENTS_AT_ONCE // (num_elements or len(clusters)))
    for start in range(0, num_resamples, at_once):
        rows = min(at_once, num_resamples - start)
        counts = np.zeros((rows, clusters.max() + 1))
        for stratum in groups:
            size = len(stratum)
            if size:
                picks = generator.integers(size, size=(rows, size))
                picks += np.arange(rows)[:, None] * size
                drawn = np.bincount(picks.ravel(), minlength=rows * size)
                counts[:, stratum] = drawn.reshape(rows, size)
        yield counts[:, clusters]
