r"""95 % intervals over seeds, on the standard library.

The ledger is built wherever the book is, so nothing here needs numpy or scipy.
Three designs (DESIGN of the companion, section 5):

- phantoms are redrawn for every seed, so seeds are independent repetitions and
  Student's t applies (`student`);
- on real data all seeds score the same test images. For the AUROC the images'
  share of the variance comes from DeLong covariances between seeds
  (`obuchowski_rockette`, seeds as readers and images as cases);
- for other metrics on real data, the seeds' t-interval and the intervals within
  the runs are added in quadrature (`seeds_and_images`), as if no part of the
  images' variance averaged out over seeds: never too narrow by that assumption.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from statistics import fmean, variance

Interval = tuple[float, float]
LEVEL = 0.95


def student(values: Sequence[float]) -> Interval | None:
    """Student's t interval for the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * math.sqrt(variance(values) / len(values))
    return fmean(values) - half, fmean(values) + half


def spread(values: Sequence[float]) -> Interval | None:
    """Chi-square interval for a standard deviation; None for fewer than two."""
    if len(values) < 2:
        return None
    degrees = len(values) - 1
    total = variance(values) * degrees
    tail = (1 - LEVEL) / 2
    low = math.sqrt(total / chi_square_quantile(1 - tail, degrees))
    return low, math.sqrt(total / chi_square_quantile(tail, degrees))


def seeds_and_images(
    values: Sequence[float], within: Sequence[Interval]
) -> Interval | None:
    """Seeds' t-interval and the mean interval within a run, added in quadrature.

    Args:
        values: One value a seed, all on the same test images.
        within: The 95 % interval of each run over those images.

    Returns:
        None for fewer than two seeds or an interval short of one per seed.
    """
    seeds = student(values)
    if seeds is None or len(within) != len(values):
        return None
    mean = fmean(values)
    below = fmean((v - low) ** 2 for v, (low, _) in zip(values, within, strict=True))
    above = fmean((high - v) ** 2 for v, (_, high) in zip(values, within, strict=True))
    half = (seeds[1] - seeds[0]) / 2
    return mean - math.sqrt(half**2 + below), mean + math.sqrt(half**2 + above)


def obuchowski_rockette(
    labels: Sequence[int],
    scores: Sequence[Sequence[float]],
    clusters: Sequence[str] | None = None,
    minus: Sequence[Sequence[float]] | None = None,
) -> tuple[float, Interval]:
    r"""Mean AUROC over seeds with its interval over seeds and test images.

    One-modality form of Obuchowski and Rockette (1995) as simplified by Hillis
    (2014): with $\theta_r$ the AUROC of seed $r$ of $R$, $MS$ their sample variance
    and $C$ the mean DeLong covariance between two seeds, at least 0,

    $$\bar\theta \pm t_{\nu} \sqrt{(MS + R\,C) / R}, \qquad
      \nu = (R - 1)\,\Bigl(\frac{MS + R\,C}{MS}\Bigr)^2 .$$

    For one seed this is DeLong's interval.

    Args:
        labels: 0 normal, 1 abnormal; (N,).
        scores: One sequence of N scores a seed, larger is more abnormal.
        clusters: Patient of each image, (N,), whose images vary together
            (Obuchowski 1997); None treats every image as a patient.
        minus: Scores of a second method, as `scores`; then $\theta_r$ is the
            difference of the two AUROCs of a seed.
    """
    readers = range(len(scores))
    aucs, covariance = delong(labels, [*scores, *(minus or [])], clusters)
    if minus is not None:
        n = len(scores)
        aucs = [aucs[r] - aucs[n + r] for r in readers]
        covariance = [
            [
                covariance[r][q]
                + covariance[n + r][n + q]
                - covariance[r][n + q]
                - covariance[n + r][q]
                for q in readers
            ]
            for r in readers
        ]
    mean = fmean(aucs)
    if len(scores) == 1:
        half = _t(math.inf) * math.sqrt(max(covariance[0][0], 0.0))
        return mean, (mean - half, mean + half)
    between = [covariance[r][q] for r in readers for q in readers if r != q]
    shared = len(scores) * max(fmean(between), 0.0)
    ms = variance(aucs)
    total = ms + shared
    if total == 0:
        return mean, (mean, mean)
    degrees = math.inf if ms == 0 else (len(scores) - 1) * (total / ms) ** 2
    half = _t(degrees) * math.sqrt(total / len(scores))
    return mean, (mean - half, mean + half)


def delong(
    labels: Sequence[int],
    scores: Sequence[Sequence[float]],
    clusters: Sequence[str] | None = None,
) -> tuple[list[float], list[list[float]]]:
    """AUROCs of several score lists on the same images, and their covariance.

    DeLong et al. (1988); with `clusters`, Obuchowski (1997). Ties count half.
    """
    abnormal = [i for i, label in enumerate(labels) if label == 1]
    normal = [i for i, label in enumerate(labels) if label == 0]
    aucs, residuals = [], []
    for values in scores:
        low = sorted(values[i] for i in normal)
        high = sorted(values[i] for i in abnormal)
        place = {i: _rank(values[i], low) / len(normal) for i in abnormal}
        place |= {i: 1 - _rank(values[i], high) / len(abnormal) for i in normal}
        auc = fmean(place[i] for i in abnormal)
        aucs.append(auc)
        residuals.append({i: p - auc for i, p in place.items()})

    names = clusters or [str(i) for i in range(len(labels))]
    ten = [_sums(r, abnormal, names) for r in residuals]  # by patient
    one = [_sums(r, normal, names) for r in residuals]
    n10, n01 = len(ten[0]), len(one[0])
    patients = len(ten[0].keys() | one[0].keys())
    w10 = n10 / ((n10 - 1) * len(abnormal) ** 2) if n10 > 1 else 0.0
    w01 = n01 / ((n01 - 1) * len(normal) ** 2) if n01 > 1 else 0.0
    w11 = patients / ((patients - 1) * len(abnormal) * len(normal))

    def covariance(r: int, q: int) -> float:
        return (
            w10 * _dot(ten[r], ten[q])
            + w01 * _dot(one[r], one[q])
            + w11 * (_dot(ten[r], one[q]) + _dot(ten[q], one[r]))
        )

    span = range(len(scores))
    return aucs, [[covariance(r, q) for q in span] for r in span]


def _rank(value: float, ordered: list[float]) -> float:
    return (bisect_left(ordered, value) + bisect_right(ordered, value)) / 2


def _sums(residual: dict, members: list[int], names: Sequence[str]) -> dict:
    totals: dict[str, float] = {}
    for i in members:
        totals[names[i]] = totals.get(names[i], 0.0) + residual[i]
    return totals


def _dot(a: dict[str, float], b: dict[str, float]) -> float:
    return sum(value * b[name] for name, value in a.items() if name in b)


def _t(degrees: float) -> float:
    return student_quantile((1 + LEVEL) / 2, degrees)


def student_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t; `degrees` may be fractional or infinite."""
    if probability <= 0.5:
        return -student_quantile(1 - probability, degrees) if probability < 0.5 else 0.0
    if degrees == math.inf:
        return _bisect(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), probability)
    return _bisect(
        lambda t: 1 - 0.5 * _beta(degrees / (degrees + t * t), degrees / 2, 0.5),
        probability,
    )


def chi_square_quantile(probability: float, degrees: float) -> float:
    """Quantile of the chi-square distribution."""
    return _bisect(lambda x: _gamma(x / 2, degrees / 2), probability)


def _bisect(distribution: Callable[[float], float], probability: float) -> float:
    """Solve distribution(x) = probability for x >= 0."""
    low, high = 0.0, 1.0
    while distribution(high) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if distribution(middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    scale = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 10_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return scale * value / a


def _gamma(x: float, a: float) -> float:
    """Regularised lower incomplete gamma function by its series."""
    if x <= 0:
        return 0.0
    term = total = 1 / a
    n = a
    while term > 1e-17 * total:
        n += 1
        term *= x / n
        total += term
    return total * math.exp(a * math.log(x) - x - math.lgamma(a))
