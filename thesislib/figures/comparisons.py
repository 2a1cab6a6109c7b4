"""Ours beside the published: dots with intervals, ablations, sweeps, seeds.

Thesis Tables 5.1 to 5.5, 5.8, 5.9 and Figures 5.7, 5.8. Ours is always a filled dot
with its interval, a published value a hollow diamond; they were not measured on the
same data unless the label says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import as_array

_LEAST_SPAN = 0.1  # of an axis, in units of the metric

OURS: dict[str, Any] = {
    "color": "#00795C",
    "marker": "o",
    "markersize": 6.5,
    "linestyle": "none",
}
PUBLISHED: dict[str, Any] = {
    "color": style.INK,
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "white",
    "markeredgewidth": 1.3,
    "linestyle": "none",
}


@style.styled
def dots(
    ax: Axes,
    names: Sequence[str],
    values: Any,
    intervals: Any = None,
    published: Any = None,
    metric: str = "AUROC",
    ours_label: str | None = None,
    published_label: str = "published",
    chance: float | None = 0.5,
) -> Axes:
    """Draw one row a method: our value with its interval, and the published one.

    Serves Tables 5.1 to 5.4 and 5.9 and Figure 5.7 (one `ax` a dataset).

    Args:
        ax: Axes to draw on; rows run from top to bottom.
        names: R row names.
        values: (R,), NaN where not run; such rows say "not run".
        intervals: (R, 2), lower and upper ends, NaN where there is none; or None.
        published: (R,), NaN where nothing was printed; or None.
        metric: Name of the horizontal axis.
        ours_label: Legend entry of our values; None says "ours", and "95 % interval"
            where one is drawn.
        published_label: Legend entry, e.g. "published, Table 5.8 (real data)".
        chance: Value of guessing, a dotted line where it falls in the range; or None.
    """
    values, intervals, published = _columns(len(names), values, intervals, published)
    rows = np.arange(len(names))
    offset = 0.17 if np.isfinite(published).any() else 0.0
    _interval_lines(ax, rows - offset, values, intervals, horizontal=True)
    if np.isfinite(values).any():
        ax.plot(values, rows - offset, label=_ours(ours_label, intervals), **OURS)
    if offset:
        ax.plot(published, rows + offset, label=published_label, **PUBLISHED)
    for row in rows[~np.isfinite(values)]:
        ax.annotate(
            "not run",
            (0, row - offset),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=style.MUTED,
            fontstyle="italic",
        )
    ax.set(yticks=rows, yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlabel=metric)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)
    _widen(ax, "x")
    _chance(ax, chance, "x")
    style.light_grid(ax, "x")
    for row in rows[:-1]:
        ax.axhline(row + 0.5, color=style.GRID, linewidth=0.6)
    _legend_above(ax)
    return ax


@style.styled
def ablation(
    terms: Sequence[str],
    used: Any,
    values: Any,
    intervals: Any = None,
    published: Any = None,
    names: Sequence[str] | None = None,
    **options: Any,
) -> Figure:
    r"""Draw an ablation as thesis Table 5.8: which terms were on, and what came out.

    Args:
        terms: T column titles, e.g. `r"$\ell_{ctr}$"`.
        used: (R, T) bool, which terms a row trains with.
        values: (R,), as for `dots`.
        intervals: (R, 2), as for `dots`.
        published: (R,), as for `dots`.
        names: R row names left of the matrix; None for none.
        options: Passed to `dots`: metric, ours_label, published_label, chance.
    """
    used = as_array(used).astype(bool)
    if used.shape != (len(as_array(values)), len(terms)):
        raise InputError(
            f"used has shape {used.shape}; one row a value and one column a term, "
            f"({len(as_array(values))}, {len(terms)}), is needed."
        )
    num_rows = len(used)
    figure, (left, right) = style.subplots(
        1,
        2,
        height=0.38 * num_rows + 1.25,
        width_ratios=[0.42 * len(terms), 4.2],
    )
    rows, columns = np.indices(used.shape)
    left.scatter(
        columns[~used], rows[~used], s=26, facecolors="white", edgecolors="#B8BCC2"
    )
    left.scatter(columns[used], rows[used], s=34, color=style.INK)
    for row in range(num_rows - 1):
        left.axhline(row + 0.5, color=style.GRID, linewidth=0.6)
    left.set(
        xticks=range(len(terms)),
        xticklabels=terms,
        yticks=range(num_rows),
        yticklabels=names if names is not None else [""] * num_rows,
        xlim=(-0.6, len(terms) - 0.4),
        ylim=(num_rows - 0.4, -0.6),
        xlabel="loss terms in use (filled)",
    )
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    dots(right, [""] * num_rows, values, intervals, published, **options)
    return figure


@style.styled
def num_classes(
    ax: Axes,
    counts: Sequence[int],
    values: Any,
    intervals: Any = None,
    published: Mapping[int, float] | None = None,
    metric: str = "AUROC",
    ours_label: str | None = None,
    published_label: str = "published",
    chance: float | None = 0.5,
) -> Axes:
    r"""Draw a metric against the number of MedMix classes, thesis Figure 5.8.

    Args:
        ax: Axes to draw on.
        counts: K numbers of classes $|\mathcal{A}|$, normal class included.
        values: (K,), NaN where not run.
        intervals: (K, 2), or None.
        published: Number of classes to published value; or None.
        metric: Name of the vertical axis.
        ours_label: Legend entry of our values; None says "ours", and "95 % interval"
            where one is drawn.
        published_label: Legend entry of published values.
        chance: Value of guessing, or None.
    """
    values, intervals, _ = _columns(len(counts), values, intervals, None)
    counts = np.asarray(counts)
    run = np.isfinite(values)
    ax.plot(counts[run], values[run], color=OURS["color"], linewidth=1, alpha=0.6)
    _interval_lines(ax, counts, values, intervals, horizontal=False)
    ax.plot(counts[run], values[run], label=_ours(ours_label, intervals), **OURS)
    if published:
        ax.plot(
            list(published),
            list(published.values()),
            label=published_label,
            **PUBLISHED,
        )
    ax.set(
        xlabel=r"number of MedMix classes $|\mathcal{A}|$ (normal included)",
        ylabel=metric,
    )
    ax.margins(x=0.08, y=0.1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _widen(ax, "y")
    _chance(ax, chance, "y")
    style.light_grid(ax)
    _legend_above(ax)
    return ax


@style.styled
def seed_spread(
    ax: Axes,
    values: Mapping[str, Any],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    published: Mapping[str, tuple[float, float]] | None = None,
    metric: str = "AUROC",
    published_label: str = "published mean ± std",
    chance: float | None = 0.5,
) -> Axes:
    """Draw every seed's value, their mean and its interval, thesis Table 5.5.

    Args:
        ax: Axes to draw on; rows run from top to bottom.
        values: Row name to the values of its seeds, in the order of the seeds.
        intervals: Row name to the 95 % interval of the mean over seeds.
        published: Row name to the published mean and standard deviation.
        metric: Name of the horizontal axis.
        published_label: Legend entry of published values.
        chance: Value of guessing, or None.
    """
    if not values:
        raise InputError("values is empty; give at least one row of seeds.")
    shown = {"seed": True, "mean": True, "published": True}

    def once(kind: str, text: str) -> str:
        first, shown[kind] = shown[kind], False
        return text if first else "_nolegend_"

    for row, (name, seeds) in enumerate(values.items()):
        seeds = np.atleast_1d(as_array(seeds).astype(np.float64))
        ax.plot(
            seeds,
            row - 0.3 + 0.06 * (np.arange(len(seeds)) % 3 - 1),  # apart where they meet
            label=once("seed", "one seed"),
            **{**OURS, "markersize": 4.5, "alpha": 0.55, "markeredgewidth": 0},
        )
        if intervals and name in intervals:
            ends = np.array([intervals[name]], dtype=np.float64)
            _interval_lines(ax, np.array([row]), seeds[:1], ends, horizontal=True)
        ax.plot(
            seeds.mean(),
            row,
            label=once("mean", "mean, 95 % interval" if intervals else "mean"),
            **{**OURS, "marker": "|", "markersize": 13, "markeredgewidth": 2.2},
        )
        if published and name in published:
            mean, std = published[name]
            ax.errorbar(
                mean,
                row + 0.22,
                xerr=std if np.isfinite(std) else None,
                elinewidth=1.1,
                capsize=3,
                label=once("published", published_label),
                **PUBLISHED,
            )
    ax.set(
        yticks=range(len(values)),
        yticklabels=list(values),
        ylim=(len(values) - 0.4, -0.6),
        xlabel=metric,
    )
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)
    _widen(ax, "x")
    _chance(ax, chance, "x")
    style.light_grid(ax, "x")
    _legend_above(ax)
    return ax


def _columns(
    num_rows: int, values: Any, intervals: Any, published: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three columns as float64 of (R,), (R, 2), (R,), NaN where absent."""

    def column(given: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if given is None:
            return np.full(shape, np.nan)
        array = np.array(
            [[np.nan if v is None else v for v in np.ravel(as_array(given))]],
            dtype=np.float64,
        )
        if array.size != np.prod(shape):
            raise InputError(f"{name} holds {array.size} numbers; {shape} is needed.")
        return array.reshape(shape)

    if not num_rows:
        raise InputError("There are no rows to draw; give at least one.")
    return (
        column(values, "values", (num_rows,)),
        column(intervals, "intervals", (num_rows, 2)),
        column(published, "published", (num_rows,)),
    )


def _interval_lines(
    ax: Axes,
    places: np.ndarray,
    values: np.ndarray,
    intervals: np.ndarray,
    horizontal: bool,
) -> None:
    draw = ax.hlines if horizontal else ax.vlines
    known = np.isfinite(intervals).all(axis=1) & np.isfinite(values)
    draw(
        places[known],
        *intervals[known].T,
        color=OURS["color"],
        linewidth=2.4,
        alpha=0.45,
        capstyle="round",
    )


def _ours(label: str | None, intervals: np.ndarray) -> str:
    if label is not None:
        return label
    return "ours, 95 % interval" if np.isfinite(intervals).any() else "ours"


def _widen(ax: Axes, axis: str) -> None:
    """Show at least a tenth, so that a thousandth does not look like a gulf."""
    get, put = (ax.get_xlim, ax.set_xlim) if axis == "x" else (ax.get_ylim, ax.set_ylim)
    low, high = get()
    if (missing := _LEAST_SPAN - (high - low)) > 0:
        put(low - missing / 2, high + missing / 2)


def _chance(ax: Axes, chance: float | None, axis: str) -> None:
    if chance is None:
        return
    low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
    if not low < chance < high:
        return
    line = ax.axvline if axis == "x" else ax.axhline
    line(chance, color=style.MUTED, linewidth=1, linestyle=(0, (1, 3)), label="chance")


def _legend_above(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=3,
            borderpad=0.2,
            columnspacing=1.4,
            handletextpad=0.4,
        )
