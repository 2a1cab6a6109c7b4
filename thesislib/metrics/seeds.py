r"""Intervals over seeds, and several comparisons at once.

On real data every seed is tested on the same images, so seeds and images are two
crossed sources of chance: seeds are the readers and images the cases of N. A.
Obuchowski and H. E. Rockette (Communications in Statistics B 24, 1995), with the
degrees of freedom of S. L. Hillis (Statistics in Medicine 26, 2007; the form for one
method: Statistics in Medicine 33, 2014). On phantoms each seed has images of its own,
and Student's t over seeds covers both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.delong import delong
from thesislib.metrics.inputs import check_labels, check_scores

PHANTOM_SEEDS = 5  # the fewest that make an interval over phantom draws


@dataclass(frozen=True)
class SeedEstimate:
    """A mean over seeds with its interval.

    The interval is not cut to the range of the metric. `values` holds each seed's
    own AUROC (or difference), in the order given; `p` is two-sided against a mean of
    0, which says something about differences only.
    """

    value: float
    ci_low: float
    ci_high: float
    std: float  # between seeds, n - 1 in the denominator
    df: float  # degrees of freedom; inf where seeds do not differ at all
    p: float
    values: tuple[float, ...]


def over_seeds_real(
    labels: ArrayLike,
    scores: ArrayLike,
    minus: ArrayLike | None = None,
    *,
    patients: ArrayLike | None = None,
    level: float = 0.95,
) -> SeedEstimate:
    r"""Mean AUROC over J seeds on one test set, or the mean difference of two methods.

    The mean of the AUROCs, never the AUROC of averaged scores. With $\theta_j$ the
    AUROC of seed j, $MS$ their variance between seeds and $\mathrm{Cov}_2$ the mean
    DeLong covariance of two different seeds,

    $$\bar\theta \pm t_{\nu} \sqrt{V / J}, \quad
      V = MS + \max(J\,\mathrm{Cov}_2, 0), \quad
      \nu = (J - 1)\,(V / MS)^2 .$$

    For two methods $\theta_j$ is the difference of seed j and the covariances are
    those of differences; MS is then twice the method-by-seed mean square and
    $\mathrm{Cov}_2$ twice the usual $\mathrm{Cov}_2 - \mathrm{Cov}_3$, so that this is
    Obuchowski and Rockette's comparison of two methods with crossed readers. If the
    two methods share nothing but the number of a seed, the pairing is arbitrary and
    the interval still holds.

    Axes: J seeds, N images.

    Args:
        labels: 0 normal, 1 abnormal, (N,).
        scores: (J, N), larger is more abnormal.
        minus: Scores of a second method with the same seeds, (J, N).
        patients: Patient ids, (N,); covariances are then clustered.
        level: Coverage of the interval.

    Raises:
        InputError: Fewer than two seeds: their variation cannot be estimated.
    """
    num_images = len(check_labels(labels))
    scores = np.atleast_2d(check_scores(scores, num_images))
    num_seeds = len(scores)
    if num_seeds < 2:
        raise InputError("scores of one seed given; an interval needs at least two.")
    if minus is None:
        values, covariance = delong(labels, scores, patients)
    else:
        minus = np.atleast_2d(check_scores(minus, num_images))
        if minus.shape != scores.shape:
            raise InputError(
                f"scores have shape {scores.shape} and minus {minus.shape}; both "
                "methods need the same seeds and images."
            )
        aucs, both = delong(labels, np.concatenate([scores, minus]), patients)
        values = aucs[:num_seeds] - aucs[num_seeds:]
        contrast = np.concatenate([np.eye(num_seeds), -np.eye(num_seeds)], axis=1)
        covariance = contrast @ both @ contrast.T
    return obuchowski_rockette(values, covariance, level)


def obuchowski_rockette(
    values: ArrayLike, covariance: ArrayLike, level: float = 0.95
) -> SeedEstimate:
    """Interval for a mean over seeds from the covariance due to the test images.

    Args:
        values: One value a seed, (J,), J at least 2.
        covariance: Of the values over redrawn test images, (J, J); only the parts off
            the diagonal count, as MS holds the variance of a single seed.
        level: Coverage of the interval.
    """
    values, covariance = np.asarray(values, float), np.asarray(covariance, float)
    num_seeds = len(values)
    mean_square = float(values.var(ddof=1))
    cov2 = covariance[~np.eye(num_seeds, dtype=bool)].mean()
    total = mean_square + max(num_seeds * float(cov2), 0.0)
    df = (num_seeds - 1) * (total / mean_square) ** 2 if mean_square > 0 else np.inf
    return _t_interval(values, (total / num_seeds) ** 0.5, float(df), level)


def over_seeds_phantom(values: ArrayLike, level: float = 0.95) -> SeedEstimate:
    """Student's t interval for the mean of a metric over seeds with data redrawn.

    Args:
        values: One value a seed, (J,): a metric, or the difference of two methods on
            the same draw. At least five.
        level: Coverage of the interval.

    Raises:
        InputError: Fewer than five seeds, or a value that is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < PHANTOM_SEEDS:
        raise InputError(
            f"values have shape {values.shape}; an interval over phantom draws needs "
            f"one value for each of at least {PHANTOM_SEEDS} seeds."
        )
    if not np.isfinite(values).all():
        raise InputError("values over seeds hold NaN or infinite ones; none may.")
    standard_error = float(values.std(ddof=1)) / len(values) ** 0.5
    return _t_interval(values, standard_error, len(values) - 1.0, level)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values for the primary contrasts of one table, (M,).

    Rejecting where the adjusted value is at most alpha keeps the chance of any false
    rejection at alpha, whatever the dependence (S. Holm, Scand. J. Statistics 6, 1979).
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise InputError("p_values must be a list of numbers from 0 to 1.")
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(np.minimum(p_values[order] * factors, 1))
    return adjusted


def _t_interval(
    values: NDArray[np.float64], standard_error: float, df: float, level: float
) -> SeedEstimate:
    from scipy import stats  # heavy; only needed here

    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + level / 2, df)) * standard_error
    if standard_error > 0:
        p = float(2 * stats.t.sf(abs(mean) / standard_error, df))
    else:
        p = float(mean == 0)
    return SeedEstimate(
        value=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        std=float(values.std(ddof=1)),
        df=df,
        p=p,
        values=tuple(values.tolist()),
    )
