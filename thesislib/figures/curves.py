"""Curves: losses and diagnostics of a training, ROC, histograms of scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import as_labels_and_scores, counts_at, rates

History = Sequence[Mapping[str, Any]]

_NOT_TERMS = {
    "step",
    "index",
    "epoch",
    "stage",
    "rank",
    "seed",
    "time",
    "seconds",
    "lr",
}
_LOG_ABOVE = 30.0  # ratio of the terms' levels from which the axis is logarithmic


@style.styled
def losses(
    ax: Axes,
    history: History,
    terms: Mapping[str, str] | Sequence[str] | None = None,
    events: Mapping[int, str] | None = None,
    window: int | None = None,
) -> Axes:
    """Draw every loss term against the step on one axis: raw faint, running mean bold.

    The axis is logarithmic if all means are positive and their levels (medians)
    differ more than 30-fold; `panels` gives each term a scale of its own.

    Args:
        ax: Axes to draw on.
        history: One row a logged step, `{"step": 10, "con": 1.6, ...}`; rows may
            lack terms, values may be NaN, and both leave gaps.
        terms: Keys to draw, or keys with their labels; None draws every number but
            the step and its like.
        events: Steps with a word each, e.g. `{40: "centres frozen"}`.
        window: Logged steps in the centred running mean; None takes a 25th of them.
    """
    labels = _labels(history, terms)
    smooth = {}
    for i, (name, label) in enumerate(labels.items()):
        steps, values = _values(history, name)
        smooth[name] = running_mean(values, window)
        look = style.series(i)
        ax.plot(steps, values, color=look["color"], alpha=0.22, linewidth=0.8)
        ax.plot(steps, smooth[name], label=label, **look)
    levels = [np.median(v) for v in smooth.values() if len(v)]
    if all((v > 0).all() for v in smooth.values()) and (
        max(levels) > _LOG_ABOVE * min(levels)
    ):
        ax.set_yscale("log")
    _events(ax, events)
    ax.set(xlabel="step", ylabel="loss")
    style.light_grid(ax)
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(labels), 5), borderpad=0
    )
    return ax


@style.styled
def panels(
    history: History,
    groups: Mapping[str, Mapping[str, str] | Sequence[str]] | None = None,
    events: Mapping[int, str] | None = None,
    ncols: int = 3,
    limits: Mapping[str, tuple[float | None, float | None]] | None = None,
    window: int | None = None,
) -> Figure:
    """Draw logged quantities as small multiples, each panel with its own scale.

    Args:
        history: As for `losses`.
        groups: Panel title to the keys (or keys with labels) drawn in it; None gives
            every term a panel.
        events: As for `losses`, in every panel.
        ncols: Panels in a row.
        limits: Panel title to the limits of its y axis; None inside leaves one free.
        window: As for `losses`.
    """
    if groups is None:
        groups = {
            label: {name: label} for name, label in _labels(history, None).items()
        }
    ncols = min(ncols, len(groups))
    nrows = -(-len(groups) // ncols)
    figure, axes = style.subplots(
        nrows,
        ncols,
        width=style.WIDTH if ncols > 1 else 0.6 * style.WIDTH,
        height=1.95 * nrows,
        squeeze=False,
        sharex=True,
    )
    for ax, (title, terms) in zip(axes.flat, groups.items(), strict=False):
        labels = _labels(history, terms)
        for i, (name, label) in enumerate(labels.items()):
            steps, values = _values(history, name)
            look = style.series(i)
            ax.plot(steps, values, color=look["color"], alpha=0.22, linewidth=0.8)
            ax.plot(steps, running_mean(values, window), label=label, **look)
        if len(labels) > 1:
            ax.legend(fontsize=7.5, frameon=True, framealpha=0.85, edgecolor="none")
        ax.set_title(title)
        if limits and title in limits:
            ax.set_ylim(*limits[title])
        _events(ax, events)
        style.light_grid(ax)
    for ax in axes.flat[len(groups) :]:
        ax.remove()
    for ax in axes.flat[max(0, len(groups) - ncols) : len(groups)]:
        ax.set_xlabel("step")
        ax.tick_params(labelbottom=True)
    return figure


def diagnostics(
    history: History,
    live: Mapping[str, str] | Sequence[str] = ("live",),
    spread: Mapping[str, str] | Sequence[str] = ("spread",),
    distances: Mapping[str, str] | Sequence[str] = ("centres",),
    events: Mapping[int, str] | None = None,
) -> Figure:
    """Draw what tells a collapse: dead units, constant features, centres that meet.

    Args:
        history: As for `losses`.
        live: Keys of the fraction of ReLU units that are positive on some image.
        spread: Keys of the standard deviation of z over images.
        distances: Keys of distances between class centres, in units of z.
        events: As for `losses`.
    """
    groups = {
        "live ReLU units (fraction)": live,
        "standard deviation of z": spread,
        "distance between centres": distances,
    }
    groups = {title: keys for title, keys in groups.items() if len(keys)}
    limits = {title: (0.0, None) for title in groups}
    limits["live ReLU units (fraction)"] = (0.0, 1.05)
    return panels(history, groups, events, limits=limits)


@style.styled
def roc(
    ax: Axes,
    curves: Mapping[str, tuple[Any, Any]],
    estimates: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Axes:
    """Draw ROC curves, AUROC with its interval in the legend.

    Args:
        ax: Axes to draw on.
        curves: Name to (labels (N,), scores (N,)); both classes must be present.
        estimates: Name to an AUROC with interval, an object with `value`, `ci_low`
            and `ci_high`; where missing, the AUROC is computed, without interval.
        thresholds: Name to a threshold, marked on the curve with a dot.

    Raises:
        InputError: A curve without both classes.
    """
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 3)))
    for i, (name, (labels, scores)) in enumerate(curves.items()):
        labels, scores = as_labels_and_scores(labels, scores)
        if labels.all() or not labels.any():
            raise InputError(
                f"The ROC curve {name!r} needs normal and abnormal images; "
                f"{labels.sum()} of {len(labels)} are abnormal."
            )
        estimate = (estimates or {}).get(name)
        text = (
            style.interval_text(float(roc_auc_score(labels, scores)))
            if estimate is None
            else style.interval_text(estimate.value, estimate.ci_low, estimate.ci_high)
        )
        fpr, tpr, _ = roc_curve(labels, scores)
        look = style.series(i)
        ax.plot(fpr, tpr, label=f"{style.plain(name, 60)}  {text}", **look)
        if thresholds and name in thresholds:
            sensitivity, specificity = rates(
                counts_at(labels, scores, thresholds[name])
            )
            ax.plot(
                1 - specificity, sensitivity, "o", color=look["color"], markersize=6
            )
    ax.set(
        xlabel="1 − specificity (false positive rate)",
        ylabel="sensitivity (true positive rate)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    style.light_grid(ax, "both")
    legend = ax.legend(
        title="AUROC [95 % interval]" if estimates else "AUROC",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderpad=0,
        alignment="left",
    )
    legend.get_title().set_fontsize(8.5)
    return ax


@style.styled
def score_histogram(
    ax: Axes,
    labels: Any,
    scores: Any,
    threshold: float | None = None,
    bins: int = 30,
) -> Axes:
    """Draw how scores of normal and abnormal images are spread, and the threshold.

    Both classes share the bins, of equal width over all scores; counts are images.

    Args:
        ax: Axes to draw on.
        labels: (N,), 0 normal, 1 abnormal; one class alone is allowed.
        scores: (N,), larger is more abnormal.
        threshold: In units of the scores; an image at or above it is called abnormal.
            An infinite one, below or above all scores, stands in the legend alone.
        bins: Number of bins.
    """
    labels, scores = as_labels_and_scores(labels, scores)
    low, high = scores.min(), scores.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    for chosen, color, name, hatch in (
        (~labels, style.NORMAL, "normal", None),
        (labels, style.ABNORMAL, "abnormal", "////"),
    ):
        if not chosen.any():
            continue
        ax.hist(
            scores[chosen],
            edges,
            histtype="stepfilled",
            facecolor=(color, 0.35 if hatch is None else 0.25),
            edgecolor=color,
            linewidth=1.4,
            hatch=hatch,
            hatch_linewidth=0.5,
            label=f"{name} ({chosen.sum():,} images)",
        )
    if threshold is not None:
        sensitivity, specificity = rates(counts_at(labels, scores, threshold))
        look = {"color": style.INK, "linestyle": "--", "linewidth": 1.2}
        look["label"] = (
            f"threshold {style.fixed(scores)(threshold)}: sensitivity "
            f"{_share(sensitivity)}, specificity {_share(specificity)}"
        )
        if np.isfinite(threshold):
            ax.axvline(threshold, **look)
        else:  # beyond all scores: every image is on one side
            ax.plot([], [], **look)
    ax.set(xlabel="image score (larger is more abnormal)", ylabel="images")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    style.light_grid(ax)
    return ax


def running_mean(values: np.ndarray, window: int | None = None) -> np.ndarray:
    """Centred mean over `window` values (made odd); shorter at both ends.

    None takes a 25th of the values. Same length as the input.
    """
    if window is None:
        window = len(values) // 25
    half = max(window, 1) // 2
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[high] - total[low]) / np.maximum(high - low, 1)


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _labels(
    history: History, terms: Mapping[str, str] | Sequence[str] | None
) -> dict[str, str]:
    """Keys to draw and their labels, in the order in which they first appear."""
    if not len(history):
        raise InputError("history is empty; train for at least one logged step.")
    found = dict.fromkeys(
        name
        for row in history
        for name, value in row.items()
        if name not in _NOT_TERMS
        and isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
    )
    if terms is None:
        labels = {name: name for name in found}
    elif isinstance(terms, Mapping):
        labels = dict(terms)
    else:
        labels = {name: name for name in terms}
    if missing := [name for name in labels if name not in found]:
        raise InputError(f"history logs no {missing}; it logs {list(found)}.")
    if not labels:
        raise InputError("history logs no numbers besides the step.")
    return labels


def _values(history: History, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one term where it was logged and finite."""
    pairs = [
        (row.get("step", i), row[name]) for i, row in enumerate(history) if name in row
    ]
    steps, values = np.asarray(pairs, dtype=np.float64).reshape(-1, 2).T
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _events(ax: Axes, events: Mapping[int, str] | None) -> None:
    """Mark steps; their words stand in a strip of their own above the curves."""
    if not events:
        return
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(ax.get_ylim())
    ax.set_ylim(top=scale.inverted().transform(high + 0.15 * (high - low)))
    for step, text in events.items():
        ax.axvline(step, color=style.MUTED, linewidth=0.9, linestyle=(0, (2, 2)))
        ax.annotate(
            text,
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -2),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7.5,
            color=style.MUTED,
            bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1},
        )
