"""One look for the whole book: colours, type, marks.

Colours keep apart for colour-blind readers (blue against orange, after Okabe and
Ito, https://jfly.uni-koeln.de/color/) and in grey (lightness 33 against 62 of 100);
whatever a colour says, a marker, a line style or a word says too. Every figure has
a white ground of its own, so that dark pages show it as a card.
"""

import itertools
import unicodedata
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

NORMAL = "#0B4F8A"  # label 0, dark blue
ABNORMAL = "#E07B00"  # label 1, orange
FAMILIES = ("#E07B00", "#9A4A00", "#F0B060", "#6B3A12", "#C9A227")  # lesion families
PASTED = ("#CC79A7", "#A03C86", "#5E1558")  # MedMix classes A_1, A_2, A_3, ...
RIGHT = "#00795C"  # a right decision; always with a solid frame and a tick
WRONG = "#A8201A"  # a wrong decision; always with a dashed frame and a cross
INK = "#202124"
MUTED = "#5F6368"
GRID = "#E3E5E8"
SERIES = ("#202124", "#00886B", "#A03C86", "#2F8FCB", "#B07D00", "#7A7A7A")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
HEAT = "magma"  # monotone in lightness, so heatmaps stay true in grey

WIDTH = 7.2  # inches, the width of the book's text column

FONT = "DejaVu Sans"  # ships with matplotlib: same on any machine
OTHER_SCRIPTS = (  # families that have what it lacks, on the systems that have them
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC"),
    *("Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Hiragino Sans"),
    *("Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic", "Arial Unicode MS"),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Nirmala UI"),
    *("Noto Sans Thai", "Leelawadee UI", "Noto Sans Ethiopic", "FreeSans"),
)
INSTALLED = {font.name for font in font_manager.fontManager.ttflist}
FAMILIES_HERE = [FONT, *(name for name in OTHER_SCRIPTS if name in INSTALLED)]

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": FAMILIES_HERE,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "thesis-mark"
_MARK_HEIGHT = 0.24  # inches kept free above the axes


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the book's settings; global ones stay as is."""

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(RC):
            return function(*args, **kwargs)

    return draw


@styled
def subplots(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: float = WIDTH,
    height: float | None = None,
    **options: Any,
) -> tuple[Figure, Any]:
    """Make a figure and its axes in the book's style.

    Made without pyplot: no global list of figures, nothing shown twice by a
    notebook, nothing to close.

    Args:
        nrows: Rows of axes.
        ncols: Columns of axes.
        width: Inches.
        height: Inches; None gives each row 0.62 of a column's width.
        options: Passed to `Figure.subplots`, e.g. `squeeze=False`.

    Returns:
        The figure and what `Figure.subplots` returns.
    """
    if height is None:
        height = 0.62 * width / ncols * nrows
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(nrows, ncols, **options)


@styled
def mark(fig: Figure, text: str) -> Figure:
    """Write `text`, e.g. "phantom · quick", above the top right corner of a figure.

    The axes move down to make room, so the mark covers nothing. An empty text
    leaves the figure as it is; a second call replaces the first mark.
    """
    if not text:
        return fig
    old = [t for t in fig.texts if t.get_gid() == _MARK]
    for artist in old:
        artist.remove()
    width, height = fig.get_size_inches()
    if not old:
        height += _MARK_HEIGHT
        fig.set_size_inches(width, height)
    engine = fig.get_layout_engine()
    top = 1 - _MARK_HEIGHT / height
    if engine is not None and hasattr(engine, "set"):
        engine.set(rect=(0, 0, 1, top))
    else:
        fig.subplots_adjust(top=min(fig.subplotpars.top, top))
    fig.text(
        1 - 0.06 / width,
        1 - 0.03 / height,
        text,
        ha="right",
        va="top",
        fontsize=8,
        color=INK,
        gid=_MARK,
        bbox={
            "boxstyle": "round,pad=0.25",
            "fc": "#F1F3F4",
            "ec": "#9AA0A6",
            "lw": 0.6,
        },
    )
    return fig


def marks(fig: Figure) -> list[str]:
    """Texts that `mark` wrote on the figure: none or one."""
    return [t.get_text() for t in fig.texts if t.get_gid() == _MARK]


def map_colours() -> np.ndarray:
    """The colours of anomaly maps, low to high, (256, 3), uint8."""
    scale = mpl.colormaps[HEAT](np.arange(256), bytes=True)
    return np.ascontiguousarray(scale[:, :3])


def plain(name: str, limit: int = 40) -> str:
    """A name that a reader gave, as figures write it: letter for letter.

    Accents are composed. `$` begins no formula, and a leading `_`, for which Matplotlib
    leaves an entry out of its legends, stands behind a blank. A sign that no font here
    has is given by its number in Unicode, `[U+88C2]`. Long names end in "…".

    Args:
        name: Of a folder, a file, a method.
        limit: Signs at most.
    """
    name = unicodedata.normalize("NFC", name)
    if len(name) > limit:
        name = f"{name[: limit - 1]}…"
    parts = []
    for drawn, group in itertools.groupby(name, _is_drawn):
        signs = "".join(group)
        numbers = " ".join(f"U+{ord(sign):04X}" for sign in signs)
        parts.append(signs if drawn else f"[{numbers}]")
    name = "".join(parts).replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def is_written(name: str) -> bool:
    """Whether the fonts here have all signs of a name."""
    return all(map(_is_drawn, unicodedata.normalize("NFC", name)))


def _is_drawn(sign: str) -> bool:
    return sign.isprintable() and ord(sign) in _signs()


@cache
def _signs() -> frozenset[int]:
    """Numbers of all signs that the fonts of the book have on this machine."""
    found: set[int] = set()
    for family in FAMILIES_HERE:
        found |= FT2Font(font_manager.findfont(family)).get_charmap().keys()
    return frozenset(found)


def number(value: float, digits: int = 3) -> str:
    """A number for a label: significant digits, a true minus, "–" where missing."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-4 <= abs(value) < 1e6:
        text = f"{value:.0f}"
    return text.replace("-", "−")


def decimals(values: Any) -> int:
    """Decimals that resolve a hundredth to a thousandth of the range of `values`."""
    values = np.asarray(values, dtype=np.float64)
    span = np.ptp(values) or np.abs(values).max() or 1.0
    return int(np.clip(2 - np.floor(np.log10(span)), 0, 9))


def fixed(values: Any) -> Callable[[float], str]:
    """Formatter for values that are compared: one number of decimals for all, and ∞."""
    places = decimals(values)
    return lambda value: f"{value:.{places}f}".replace("-", "−").replace("inf", "∞")


def interval_text(
    value: float, low: float | None = None, high: float | None = None
) -> str:
    """`0.873 [0.841, 0.902]`, three decimals; only the value where no interval is."""
    if value is None or not np.isfinite(value):
        return "–"
    if low is None or high is None or not np.isfinite([low, high]).all():
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def series(index: int) -> dict[str, Any]:
    """Colour and line style of the index-th of several curves."""
    return {
        "color": SERIES[index % len(SERIES)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def light_grid(ax: Axes, axis: str = "y") -> Axes:
    """Faint lines behind the data, on the axis that is read off."""
    ax.grid(True, axis=axis, color=GRID, linewidth=0.8)
    return ax
