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
  images' variance averaged out over seeds: never too narrow by that assumption;
- for the AUROC of recorded runs, whose scores are not at hand, the same with
  DeLong's standard errors in place of the intervals (`seeds_and_errors`).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean, variance

Interval = tuple[float, float]
LEVEL = 0.95
NORMAL = 1.959963984540054  # quantile of the normal distribution to it


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


def seeds_and_errors(
    values: Sequence[float], errors: Sequence[float]
) -> tuple[float, Interval]:
    r"""Mean over seeds where only each seed's own standard error is known.

    Of the images' share of the variance, `crossed` needs the covariance C between
    seeds, which takes the scores of all of them at once. By Cauchy and Schwarz its
    mean is at most the mean variance of one seed, and that takes its place, as if
    every seed erred alike on every image:

    $$\bar\theta \pm \sqrt{t_{R-1}^2\, MS / R + z^2\, \overline{s_r^2}} .$$

    The two parts keep quantiles of their own, because putting the bound into
    `crossed` could narrow the interval: a larger C also raises its degrees of
    freedom. So this is never narrower than `crossed` on the same values, and the
    wider the less the seeds agree about the images.

    Args:
        values: The AUROC (or a difference of two) of each of R seeds.
        errors: Its DeLong standard error over the test images.

    Returns:
        The mean and its interval; for one seed, DeLong's.
    """
    mean = fmean(values)
    square = (_t(math.inf) ** 2) * fmean(error**2 for error in errors)
    if len(values) > 1:
        square += _t(len(values) - 1) ** 2 * variance(values) / len(values)
    return mean, (mean - math.sqrt(square), mean + math.sqrt(square))


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
    return crossed(aucs, covariance)


def crossed(
    values: Sequence[float], covariance: Sequence[Sequence[float]]
) -> tuple[float, Interval]:
    """The interval of `obuchowski_rockette`, for any quantity.

    Args:
        values: One a seed, (R,).
        covariance: Of the values over redrawn test images, (R, R); for several
            seeds only the part off the diagonal counts, as MS holds the rest.
    """
    mean, count = fmean(values), len(values)
    if count == 1:
        half = _t(math.inf) * math.sqrt(max(covariance[0][0], 0.0))
        return mean, (mean - half, mean + half)
    pairs = [(r, q) for r in range(count) for q in range(count) if r != q]
    shared = count * max(fmean(covariance[r][q] for r, q in pairs), 0.0)
    ms = variance(values)
    total = ms + shared
    if total == 0:
        return mean, (mean, mean)
    degrees = math.inf if ms == 0 else (count - 1) * (total / ms) ** 2
    half = _t(degrees) * math.sqrt(total / count)
    return mean, (mean - half, mean + half)


Influences = dict[tuple[str, int], float]


def influences(
    labels: Sequence[int], scores: Sequence[float], names: Sequence[str]
) -> tuple[float, Influences]:
    r"""An AUROC and what each test image adds to its error.

    `dot` of two AUROCs' influences is their covariance after DeLong et al. (1988),
    or Obuchowski (1997) where several images share a name. That also holds for
    AUROCs on test sets that only overlap, and for sums: a mean over ten one-class
    problems on one set of images has the sum of their influences over ten.

    Args:
        labels: 0 normal, 1 abnormal; (N,).
        scores: Larger is more abnormal, (N,); ties count half.
        names: The image of each score, or its patient, whose images vary together.

    Returns:
        The AUROC, and the influence of each name. It has two parts, so that patients
        with images of both classes keep Obuchowski's factor between the classes: his
        form in the sums over abnormal and over normal images, as a sum of squares.
    """
    low = sorted(s for s, label in zip(scores, labels, strict=True) if not label)
    high = sorted(s for s, label in zip(scores, labels, strict=True) if label)
    place = [
        _rank(score, low) / len(low) if label else 1 - _rank(score, high) / len(high)
        for score, label in zip(scores, labels, strict=True)
    ]
    auc = fmean(p for p, label in zip(place, labels, strict=True) if label)
    ten: dict[str, float] = {}  # sums over abnormal images, S_10
    one: dict[str, float] = {}  # and over normal ones, S_01
    for p, label, name in zip(place, labels, names, strict=True):
        sums = ten if label else one
        sums[name] = sums.get(name, 0.0) + p - auc
    count = len(ten.keys() | one.keys())
    w10 = len(ten) / (max(len(ten) - 1, 1) * len(high) ** 2)
    w01 = len(one) / (max(len(one) - 1, 1) * len(low) ** 2)
    w11 = count / ((count - 1) * len(high) * len(low))
    found = {(name, 0): math.sqrt(w10) * value for name, value in ten.items()}
    for name, value in one.items():
        shared = w11 / math.sqrt(w10) * value
        found[name, 0] = found.get((name, 0), 0.0) + shared
        found[name, 1] = math.sqrt(max(w01 - w11**2 / w10, 0.0)) * value
    return auc, found


def delong(
    labels: Sequence[int],
    scores: Sequence[Sequence[float]],
    clusters: Sequence[str] | None = None,
) -> tuple[list[float], list[list[float]]]:
    """AUROCs of several score lists on the same images, and their covariance.

    DeLong et al. (1988); with `clusters`, Obuchowski (1997). Ties count half.
    """
    names = clusters or [str(i) for i in range(len(labels))]
    found = [influences(labels, one, names) for one in scores]
    shares = [share for _, share in found]
    return [auc for auc, _ in found], [[dot(a, b) for b in shares] for a in shares]


def _rank(value: float, ordered: list[float]) -> float:
    return (bisect_left(ordered, value) + bisect_right(ordered, value)) / 2


def dot(a: Influences, b: Influences) -> float:
    """Sum of products over what is in both: the covariance of two AUROCs."""
    return sum(value * b[name] for name, value in a.items() if name in b)


def _t(degrees: float) -> float:
    return student_quantile((1 + LEVEL) / 2, degrees)


@cache  # a book asks for the same few thousands of times
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


@cache
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
