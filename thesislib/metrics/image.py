"""Detection metrics on images, thesis Section 5.4.3, with bootstrap intervals.

AUROC and average precision need no threshold. Sensitivity, specificity and accuracy
take theirs from 50 normal and 50 abnormal images "randomly sampled from the testing
set [...] only used for threshold estimation" (Section 5.4.3). Where the section is
silent we chose: the draw is repeated 20 times and the figures averaged; the drawn
images are left out of them; the threshold maximises sensitivity + specificity on the
draw, which on a balanced draw is the same as maximising accuracy.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.bootstrap import exact_if_degenerate, resamples, strata
from thesislib.metrics.delong import Contrast, compare, delong
from thesislib.metrics.inputs import check_labels, check_patients, check_scores

__all__ = [
    "Contrast",
    "Estimate",
    "auroc",
    "average_precision",
    "best_threshold",
    "compare",
    "confusion",
    "delong",
    "evaluate",
    "f1_all_abnormal",
    "num_drawn",
    "protocol_50_50",
    "roc_curve",
]

VALIDATION_IMAGES = 50  # per class, thesis Section 5.4.3


class Estimate(NamedTuple):
    """A metric with its 95 % interval; n is the number of images it rests on."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Probability that an abnormal image scores above a normal one, ties half.

    Args:
        labels: 0 normal, 1 abnormal, (N,).
        scores: (N,), larger is more abnormal.

    Raises:
        InputError: Only one class is present, or a score is not finite.
    """
    ranked = _Ranked(labels, scores)
    return float(_curve_areas(ranked, np.ones((1, ranked.num_images)))[0][0])


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    r"""Step-wise average precision $\sum_k (R_k - R_{k-1}) P_k$, no interpolation."""
    ranked = _Ranked(labels, scores)
    return float(_curve_areas(ranked, np.ones((1, ranked.num_images)))[1][0])


def roc_curve(
    labels: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """ROC curve at every distinct score.

    Returns:
        False positive rates, true positive rates and thresholds, (K + 1,) for K
        distinct scores; an image is called abnormal when its score is at least the
        threshold. The first threshold is infinite: nothing is called abnormal.
    """
    ranked = _Ranked(labels, scores)
    ends = np.flatnonzero(np.diff(ranked.scores, prepend=-np.inf))[::-1]
    above = ranked.num_images - ends
    tp = np.cumsum(ranked.abnormal[::-1])[above - 1]
    fpr = np.concatenate([[0], (above - tp) / np.sum(~ranked.abnormal)])
    tpr = np.concatenate([[0], tp / np.sum(ranked.abnormal)])
    return fpr, tpr, np.concatenate([[np.inf], ranked.scores[ends]])


def confusion(
    labels: ArrayLike, scores: ArrayLike, threshold: float
) -> dict[str, float]:
    """Sensitivity, specificity, accuracy, precision and F1 of score >= threshold.

    Precision is 1 where nothing is called abnormal.
    """
    abnormal = check_labels(labels)
    called = check_scores(scores, len(abnormal)) >= threshold
    tp, fp = int((called & abnormal).sum()), int((called & ~abnormal).sum())
    num_abnormal, num_normal = int(abnormal.sum()), int((~abnormal).sum())
    return {
        "sensitivity": tp / num_abnormal,
        "specificity": 1 - fp / num_normal,
        "accuracy": (tp + num_normal - fp) / len(abnormal),
        "precision": tp / (tp + fp) if tp + fp else 1.0,
        "f1": 2 * tp / (tp + fp + num_abnormal),
    }


def f1_all_abnormal(labels: ArrayLike) -> float:
    """F1 of calling every image abnormal: the floor that any F1 has to beat."""
    prevalence = check_labels(labels).mean()
    return float(2 * prevalence / (1 + prevalence))


def best_threshold(
    labels: ArrayLike, scores: ArrayLike, criterion: str = "youden"
) -> float:
    """Threshold that maximises a criterion; an image is abnormal at or above it.

    The threshold lies half-way between two neighbouring scores (or at -inf or inf,
    calling all images abnormal or normal). Of several equally good ones the middle
    is taken, so that neither class is favoured.

    Args:
        labels: (N,).
        scores: (N,).
        criterion: `youden` (sensitivity + specificity) or `f1`.
    """
    if criterion not in ("youden", "f1"):
        raise InputError(f"criterion is {criterion!r}; allowed are 'youden' and 'f1'.")
    ranked = _Ranked(labels, scores)
    cuts, thresholds = _cuts(ranked.scores)
    weights = np.ones((1, ranked.num_images))
    best = _best_cut(ranked.abnormal, cuts, weights, criterion)[0]
    return float(thresholds[best])


def num_drawn(labels: ArrayLike) -> int:
    """Images drawn from each class to choose the threshold.

    50 as in Section 5.4.3; half of the smaller class, rounded down, in a test set
    with fewer than 100 images of a class (ours), and at least one.
    """
    abnormal = check_labels(labels)
    smaller = int(min(abnormal.sum(), (~abnormal).sum()))
    if smaller < 2:
        raise InputError(
            "the test set has a single image of one class; choosing a threshold on "
            "one image and reporting on another needs at least two of each."
        )
    return min(VALIDATION_IMAGES, smaller // 2)


def protocol_50_50(
    labels: ArrayLike,
    scores: ArrayLike,
    seed: int | np.random.Generator = 0,
    repeats: int = 20,
) -> dict[str, float]:
    """Sensitivity, specificity and accuracy by the protocol of Section 5.4.3.

    Args:
        labels: (N,).
        scores: (N,).
        seed: Decides which images are drawn.
        repeats: Draws to average over; ours, the thesis seems to draw once.

    Returns:
        `sensitivity`, `specificity`, `accuracy` on the images left out of the draw,
        averaged over the draws; `threshold`, the median over draws; `num_drawn`, the
        images drawn from each class.
    """
    ranked = _Ranked(labels, scores)
    draws = _draw(ranked, np.random.default_rng(seed), repeats)
    figures, thresholds = _protocol(
        ranked, draws, np.ones((1, ranked.num_images)), repeats
    )
    return {
        **{name: float(value[0]) for name, value in figures.items()},
        "threshold": float(np.median(thresholds)),
        "num_drawn": num_drawn(labels),
    }


def evaluate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    patients: ArrayLike | None = None,
    seed: int = 0,
    num_bootstrap: int = 2000,
    repeats: int = 20,
) -> dict[str, Estimate]:
    """All image metrics with 95 % percentile bootstrap intervals.

    Whole patients are resampled where ids exist, images otherwise. Resampling is
    stratified: patients with normal images only, with abnormal images only and with
    both are drawn separately, each group at its own number. The numbers per class
    are a decision of whoever made the test set, not of chance, so they are kept;
    hence no resample lacks a class, and AP and accuracy refer to the test set's mix.
    The draws of the threshold protocol are the same sets of images in each resample,
    and the threshold is chosen anew from their weights.

    A bootstrap cannot see errors that never happened: where AUROC, sensitivity,
    specificity or accuracy is exactly 0 or 1 in all resamples, the interval's inner
    end is the exact 97.5 % bound for k independent trials, 0.025^(1/k), with k the
    patients (for the AUROC, the disjoint pairs of a normal and an abnormal patient).
    AP is left as it is. Where a class comes from a single patient nothing is known of
    the variation between patients, and all intervals are 0 to 1.

    Args:
        labels: 0 normal, 1 abnormal, (N,).
        scores: (N,), larger is more abnormal.
        patients: Patient ids, (N,), or None.
        seed: Decides draws and resamples; same seed, same figures.
        num_bootstrap: Resamples.
        repeats: Draws of the threshold protocol.

    Returns:
        `auc`, `ap`, `sensitivity`, `specificity`, `accuracy`.
    """
    ranked = _Ranked(labels, scores)
    clusters = check_patients(patients, ranked.num_images)[ranked.order]
    generator = np.random.default_rng(seed)
    draws = _draw(ranked, generator, repeats)

    def figures(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        auc, ap = _curve_areas(ranked, weights)
        at_threshold, _ = _protocol(ranked, draws, weights, repeats)
        return {"auc": auc, "ap": ap, **at_threshold}

    values = figures(np.ones((1, ranked.num_images)))
    groups = strata(ranked.abnormal, clusters)
    blocks = [
        figures(weights)
        for weights in resamples(groups, clusters, num_bootstrap, generator)
    ]
    resampled = {key: np.concatenate([b[key] for b in blocks]) for key in values}

    only_normal, only_abnormal, both = (len(group) for group in groups)
    with_normal, with_abnormal = only_normal + both, only_abnormal + both
    everyone = only_normal + only_abnormal + both
    trials = {
        "auc": min(with_normal, with_abnormal, everyone // 2),  # disjoint pairs
        "sensitivity": with_abnormal,
        "specificity": with_normal,
        "accuracy": everyone,
    }
    drawn = num_drawn(labels)
    num_abnormal = int(ranked.abnormal.sum())
    num_images = {
        "auc": ranked.num_images,
        "ap": ranked.num_images,
        "sensitivity": num_abnormal - drawn,
        "specificity": ranked.num_images - num_abnormal - drawn,
        "accuracy": ranked.num_images - 2 * drawn,
    }
    estimates = {}
    for key, value in values.items():
        low, high = np.nanpercentile(resampled[key], [2.5, 97.5])
        if key in trials:
            low, high = exact_if_degenerate(low, high, trials[key])
        if min(with_normal, with_abnormal) < 2:
            low, high = 0.0, 1.0
        estimates[key] = Estimate(
            float(value[0]), float(low), float(high), num_images[key]
        )
    return estimates


class _Ranked:
    """A test set in ascending order of score: `order`, `scores`, `abnormal`, (N,)."""

    def __init__(self, labels: ArrayLike, scores: ArrayLike) -> None:
        abnormal = check_labels(labels)
        scores = check_scores(scores, len(abnormal))
        if scores.ndim != 1:
            raise InputError(f"scores must have shape (N,), not {scores.shape}.")
        self.order = np.argsort(scores, kind="stable")
        self.scores = scores[self.order]
        self.abnormal = abnormal[self.order]
        self.num_images = len(scores)


def _curve_areas(
    ranked: _Ranked, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC and average precision of weighted images, each (R,).

    Args:
        ranked: N images.
        weights: How often each image counts in each of R resamples, (R, N).
    """
    first = np.flatnonzero(np.diff(ranked.scores, prepend=-np.inf))  # of each tie
    tp = np.add.reduceat(weights * ranked.abnormal, first, axis=1)[:, ::-1]
    fp = np.add.reduceat(weights * ~ranked.abnormal, first, axis=1)[:, ::-1]
    step_tp, step_fp = tp, fp
    tp, fp = np.cumsum(tp, axis=1), np.cumsum(fp, axis=1)
    num_abnormal, num_normal = tp[:, -1], fp[:, -1]
    area = np.einsum("rk,rk->r", step_fp, tp - step_tp / 2)
    precision = tp / np.maximum(tp + fp, 1)  # 0 / 0 only where step_tp is 0
    ap = np.einsum("rk,rk->r", step_tp, precision) / num_abnormal
    return area / (num_abnormal * num_normal), ap


def _cuts(
    scores: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ways to cut ascending scores (N,): images below the cut, and the threshold."""
    inner = np.flatnonzero(np.diff(scores)) + 1
    below, above = scores[inner - 1], scores[inner]
    middle = below / 2 + above / 2
    middle = np.where(middle > below, middle, above)  # neighbouring floats
    cuts = np.concatenate([[0], inner, [len(scores)]])
    return cuts, np.concatenate([[-np.inf], middle, [np.inf]])


def _best_cut(
    abnormal: NDArray[np.bool_],
    cuts: NDArray[np.intp],
    weights: NDArray[np.float64],
    criterion: str = "youden",
) -> NDArray[np.intp]:
    """Index into `cuts` of the best one (of equals the middle) for each resample.

    Args:
        abnormal: (N,), in ascending order of score.
        cuts: Numbers of images below a cut, (C,).
        weights: Whole numbers, (R, N).
        criterion: `youden` or `f1`.
    """
    tp, num_abnormal = _at_or_above(weights * abnormal, cuts)
    fp, num_normal = _at_or_above(weights * ~abnormal, cuts)
    if criterion == "youden":
        gain = tp * num_normal - fp * num_abnormal  # whole numbers: ties are exact
    else:
        gain = tp / (tp + fp + num_abnormal)
    best = gain == gain.max(axis=1, keepdims=True)
    rank = np.cumsum(best, axis=1)
    return np.argmax(rank == (rank[:, -1:] + 1) // 2, axis=1)


def _at_or_above(
    weights: NDArray[np.float64], cuts: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight at or above each cut, (R, C), and in total, (R, 1)."""
    below = np.cumsum(weights, axis=1)
    total = below[:, -1:]
    below = np.concatenate([np.zeros_like(total), below], axis=1)
    return total - below[:, cuts], total


def _draw(
    ranked: _Ranked, generator: np.random.Generator, repeats: int
) -> list[NDArray[np.intp]]:
    """Validation images of each repeat, as ascending positions in `ranked`."""
    count = num_drawn(ranked.abnormal)
    normal, abnormal = np.flatnonzero(~ranked.abnormal), np.flatnonzero(ranked.abnormal)
    return [
        np.sort(
            np.concatenate(
                [
                    generator.choice(normal, count, replace=False),
                    generator.choice(abnormal, count, replace=False),
                ]
            )
        )
        for _ in range(repeats)
    ]


def _protocol(
    ranked: _Ranked,
    draws: list[NDArray[np.intp]],
    weights: NDArray[np.float64],
    repeats: int,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Figures of weighted images averaged over the draws, (R,); thresholds (R, D).

    A resample in which a class of one draw (or of the rest) has no weight at all,
    possible in tiny test sets only, does not count that draw in the class's figure.
    """
    all_cuts = np.arange(ranked.num_images + 1)
    tp_all, num_abnormal = _at_or_above(weights * ranked.abnormal, all_cuts)
    fp_all, num_normal = _at_or_above(weights * ~ranked.abnormal, all_cuts)
    rows = np.arange(len(weights))
    sensitivity, specificity, accuracy, chosen = [], [], [], []
    for drawn in draws:
        abnormal, drawn_weights = ranked.abnormal[drawn], weights[:, drawn]
        cuts, thresholds = _cuts(ranked.scores[drawn])
        best = _best_cut(abnormal, cuts, drawn_weights)
        below = np.searchsorted(ranked.scores, thresholds)[best]  # (R,)
        tp_drawn, abnormal_drawn = _at_or_above(drawn_weights * abnormal, cuts)
        fp_drawn, normal_drawn = _at_or_above(drawn_weights * ~abnormal, cuts)
        tp = tp_all[rows, below] - tp_drawn[rows, best]
        fp = fp_all[rows, below] - fp_drawn[rows, best]
        positives = (num_abnormal - abnormal_drawn)[:, 0]
        negatives = (num_normal - normal_drawn)[:, 0]
        sensitivity.append(_ratio(tp, positives))
        specificity.append(_ratio(negatives - fp, negatives))
        accuracy.append(_ratio(tp + negatives - fp, positives + negatives))
        chosen.append(thresholds[best])
    figures = {
        "sensitivity": _mean_known(sensitivity),
        "specificity": _mean_known(specificity),
        "accuracy": _mean_known(accuracy),
    }
    return figures, np.stack(chosen, axis=1)


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _mean_known(values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over the list, element by element, of what is not NaN."""
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    return _ratio(np.where(known, stacked, 0).sum(axis=0), known.sum(axis=0) * 1.0)
