"""Figures of Chapter 6: one-class models, their two scales and their Gaussian.

Thesis Figures 6.1, 6.3, 6.4, A.1, A.3 and A.4; Figures 6.5 and A.2 are drawn by
`embedding`. The pictures of images and maps lie in `one_class_images`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import ScaledTranslation
from sklearn.metrics import roc_auc_score

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import as_labels_and_scores
from thesislib.figures.one_class_images import image_rows, scale_heatmaps
from thesislib.metrics.image import Estimate

__all__ = ["gaussian", "image_rows", "robustness", "scale_heatmaps", "score_terms"]

KINDS = {  # of Figure 6.1, left and right: title and axis
    "contamination": ("contaminated training", "anomalous training images (%)"),
    "train_fraction": ("small training sets", "training images used (%)"),
}
MARKERS = "osD^vP"

_WIDTH = 6.3  # inches; below the text column, so that a phone shows larger words
_LEAST_SPAN = 0.1  # of the AUROC axis
_APART = 2.5  # points between methods at one place


@style.styled
def robustness(
    curves: Mapping[str, Mapping[str, Mapping[float, Estimate]]],
) -> Figure:
    """Draw AUROC against contamination and size of the training set, Figure 6.1.

    One line a method, with 95 % intervals. Methods stand a little beside each other,
    so that their intervals don't hide one another. The panels share the vertical
    axis, which spans at least 0.1.

    Args:
        curves: Method to "contamination" and "train_fraction", each a mapping of a
            fraction in [0, 1] to an `Estimate`. A kind may be missing or hold one
            point; an interval may be NaN; a point whose value is NaN is left out.

    Raises:
        InputError: No method, an unknown kind, a fraction outside [0, 1], no points.
    """
    if not curves:
        raise InputError("curves is empty; give at least one method.")
    for method, kinds in curves.items():
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise InputError(
                f"curves[{method!r}] has {unknown}; {list(KINDS)} are allowed."
            )
        for kind, points in kinds.items():
            if wrong := [x for x in points if not 0 <= x <= 1]:
                raise InputError(
                    f"curves[{method!r}][{kind!r}] has fractions {wrong}; "
                    "they must lie in [0, 1]."
                )
    known = {
        kind: {
            method: found
            for method, kinds in curves.items()
            if (found := _finite(kinds.get(kind, {})))
        }
        for kind in KINDS
    }
    known = {kind: lines for kind, lines in known.items() if lines}
    if not known:
        raise InputError("curves holds no finite value; give at least one point.")
    looks = {
        method: style.series(i + 1) | {"marker": MARKERS[i % len(MARKERS)]}
        for i, method in enumerate(curves)
    }
    figure, axes = style.subplots(
        1,
        len(known),
        width=_WIDTH if len(known) > 1 else 0.65 * _WIDTH,
        height=3,
        sharey=True,
        squeeze=False,
    )
    for ax, (kind, lines) in zip(axes[0], known.items(), strict=True):
        for i, (method, points) in enumerate(lines.items()):
            shift = _APART * (i - (len(lines) - 1) / 2)
            _interval_curve(ax, points, shift, looks[method])
        title, label = KINDS[kind]
        places = sorted({100 * x for points in lines.values() for x in points})
        ax.set(title=title, xlabel=label)
        _ticks_at(ax, places)
        style.light_grid(ax)
    left = axes[0, 0]
    left.set_ylabel("AUROC")
    low, high = left.get_ylim()
    if (missing := _LEAST_SPAN - (high - low)) > 0:
        left.set_ylim(low - missing / 2, high + missing / 2)
    left.set_ylim(top=min(left.get_ylim()[1], 1.01))
    drawn = [m for m in curves if any(m in lines for lines in known.values())]
    handles = [Line2D([], [], label=m, markersize=5, **looks[m]) for m in drawn]
    if left.get_ylim()[0] < 0.5 < left.get_ylim()[1]:
        dotted = {"color": style.MUTED, "linewidth": 1, "linestyle": (0, (1, 3))}
        for ax in axes[0]:
            ax.axhline(0.5, label="chance", zorder=1, **dotted)
        handles.append(Line2D([], [], label="chance", **dotted))
    _legend_below(figure, handles)
    return figure


@style.styled
def gaussian(
    histories: Mapping[str, Sequence[Mapping[str, float]]], floor: float | None = None
) -> Figure:
    r"""Draw what the Gaussian anomaly classifier does in training, Eq. (6.3), (6.8).

    Left the mean of $\ell_h$, right the measured $\sigma^2$ on a logarithmic axis,
    one line a label; a variance of exactly 0 is a triangle on the lower edge.

    Args:
        histories: Label to rows `{"step": pass, "gac": l_h, "variance": sigma^2}`;
            rows may lack a term, values may be NaN, and both leave gaps.
        floor: Least variance that the loss divides by, a thin line; None for none.

    Raises:
        InputError: No label, a label that logs neither term, $\ell_h$ outside [0, 1],
            a negative variance, or a floor that is not positive.
    """
    if not histories:
        raise InputError("histories is empty; give at least one training.")
    if floor is not None and not floor > 0:
        raise InputError(f"floor is {floor}; it must be positive, or None.")
    figure, (left, right) = style.subplots(1, 2, width=_WIDTH, height=3, sharex=True)
    handles, any_zero = [], False
    for i, (label, history) in enumerate(histories.items()):
        look = style.series(i)
        gac, variance = _logged(history, "gac"), _logged(history, "variance")
        if not len(gac) and not len(variance):
            raise InputError(f"histories[{label!r}] logs neither 'gac' nor 'variance'.")
        if len(gac) and not (gac[:, 1].min() > -1e-6 and gac[:, 1].max() < 1 + 1e-6):
            raise InputError(
                f"histories[{label!r}] has 'gac' over [{gac[:, 1].min():.3g}, "
                f"{gac[:, 1].max():.3g}]; it must lie in [0, 1]."
            )
        if (variance[:, 1] < 0).any():
            raise InputError(f"histories[{label!r}] has a negative 'variance'.")
        left.plot(*gac.T, label=label, **_dot_if_single(gac), **look)
        zero = variance[:, 1] == 0
        positive = variance.copy()
        positive[zero, 1] = np.nan
        right.plot(*positive.T, label=label, **_dot_if_single(variance), **look)
        if zero.any():
            right.plot(
                variance[zero, 0],
                np.zeros(zero.sum()),
                "v",
                markevery=max(1, int(zero.sum()) // 8),
                color=look["color"],
                transform=right.get_xaxis_transform(),
                clip_on=False,
                label="_zero",
            )
            any_zero = True
        handles.append(Line2D([], [], label=label, **look))
    right.set_yscale("log")
    if floor is not None:
        line = {"color": style.MUTED, "linewidth": 1, "linestyle": (0, (1, 2))}
        name = f"floor of $\\sigma^2$, {style.number(floor)}"
        right.axhline(floor, label=name, zorder=1, **line)
        handles.append(Line2D([], [], label=name, **line))
    if any_zero:
        handles.append(
            Line2D([], [], label=r"$\sigma^2 = 0$", color=style.INK, marker="v", ls="")
        )
    left.set(title=r"mean $\ell_h$ of a pass", ylim=(-0.03, 1.03))
    right.set(title=r"measured variance $\sigma^2$")
    for ax in (left, right):
        ax.set_xlabel("pass through the training images")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        style.light_grid(ax)
    _legend_below(figure, handles)
    return figure


@style.styled
def score_terms(labels: Any, terms: Mapping[str, Any], bins: int = 40) -> Figure:
    r"""Draw how test images spread in the two terms of the score, Eq. (6.22).

    A dot a test image; beside the axes, each class's histogram of each term. The
    histograms are fractions of their class, since classes differ in size.

    Args:
        labels: (M,), 0 normal, 1 abnormal; one class alone is allowed.
        terms: Two axis names to values (M,), larger is more abnormal, e.g. $\ell_r$
            (horizontal) and $\ell_h$ (vertical).
        bins: Number of bins over the range of a term.

    Raises:
        InputError: Another number of terms, or shapes that don't fit.
    """
    if len(terms) != 2:
        raise InputError(f"terms has {list(terms)}; exactly two are needed.")
    values = []
    for scores in terms.values():
        checked, one = as_labels_and_scores(labels, scores)
        values.append(one)
    labels = checked
    figure, axes = style.subplots(
        2,
        2,
        width=0.85 * _WIDTH,
        height=0.75 * _WIDTH,
        width_ratios=[4, 1.1],
        height_ratios=[1, 4],
        sharex="col",
        sharey="row",
    )
    (above, corner), (joint, right) = axes
    corner.remove()
    names = list(terms)
    classes = ((labels, style.ABNORMAL, "abnormal"), (~labels, style.NORMAL, "normal"))
    handles = []
    for chosen, color, name in classes:
        if not (total := int(chosen.sum())):
            continue
        look = {"color": color, "marker": "o" if name == "normal" else "^"}
        joint.scatter(
            values[0][chosen],
            values[1][chosen],
            s=7,
            alpha=float(np.clip(400 / total, 0.2, 0.8)),
            linewidths=0,
            rasterized=True,
            label=name,
            **look,
        )
        handles.append(
            Line2D([], [], ls="", ms=5, label=f"{name} ({total:,} images)", **look)
        )
        for ax, one, along in (
            (above, values[0], "vertical"),
            (right, values[1], "horizontal"),
        ):
            ax.hist(
                one[chosen],
                _edges(one, bins),
                weights=np.full(total, 1 / total),
                orientation=along,
                histtype="stepfilled",
                facecolor=(color, 0.3),
                edgecolor=color,
                linewidth=1.3,
                hatch=None if name == "normal" else "////",
                hatch_linewidth=0.5,
                label=name,
            )
    joint.set(
        xlabel=_with_auroc(names[0], labels, values[0]),
        ylabel=_with_auroc(names[1], labels, values[1]),
    )
    style.light_grid(joint, "both")
    above.set_ylabel("fraction\nof class", fontsize=8)
    right.set_xlabel("fraction\nof class", fontsize=8)
    above.tick_params(axis="x", length=0)
    right.tick_params(axis="y", length=0)
    for axis in (above.yaxis, right.xaxis):
        axis.set_major_locator(MaxNLocator(2))
    _legend_below(figure, handles[::-1])
    return figure


def _finite(points: Mapping[float, Estimate]) -> dict[float, Estimate]:
    return {x: points[x] for x in sorted(points) if np.isfinite(points[x].value)}


def _interval_curve(
    ax: Axes, points: Mapping[float, Estimate], shift: float, look: dict[str, Any]
) -> None:
    """A line through estimates, `shift` points to the right of their places."""
    places = 100 * np.array(list(points))
    values, low, high = np.array([e[:3] for e in points.values()], dtype=np.float64).T
    move = ScaledTranslation(shift / 72, 0, ax.figure.dpi_scale_trans)
    ax.errorbar(
        places,
        values,
        yerr=np.maximum([values - low, high - values], 0),
        transform=ax.transData + move,
        markersize=5,
        elinewidth=1.2,
        capsize=2.5,
        **look,
    )
    ax.update_datalim(np.c_[places, values])  # shifted marks don't count by themselves
    for ends in (low, high):
        known = np.isfinite(ends)
        ax.update_datalim(np.c_[places, ends][known])
    ax.autoscale_view()


def _legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Below the axes, since `style.mark` writes above them."""
    longest = max(len(handle.get_label().replace("$", "")) for handle in handles)
    wide = 0.6 + 0.075 * longest  # inches of an entry
    columns = int(np.clip(figure.get_figwidth() / wide, 1, len(handles)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _ticks_at(ax: Axes, places: Sequence[float]) -> None:
    """Ticks where something was measured, unless they would touch."""
    span = places[-1] - places[0]
    if not span:
        ax.set(xticks=places, xlim=(places[0] - 5, places[0] + 5))
    elif np.diff(places).min() > 0.06 * span:
        ax.xaxis.set_major_locator(FixedLocator(places))
        ax.margins(x=0.08)
    ax.xaxis.set_major_formatter(lambda x, _: style.number(x))


def _logged(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """Steps and finite values of a term, (S, 2)."""
    rows = [
        (row.get("step", i), row[name])
        for i, row in enumerate(history)
        if name in row and np.isfinite(row[name])
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _dot_if_single(rows: np.ndarray) -> dict[str, Any]:
    return {"marker": "o", "markersize": 5} if len(rows) == 1 else {}


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def _with_auroc(name: str, labels: np.ndarray, values: np.ndarray) -> str:
    if labels.all() or not labels.any():
        return name
    return f"{name} (alone: AUROC {roc_auc_score(labels, values):.3f})"
