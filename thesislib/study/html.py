"""Tables of one run alone, as HTML."""

from collections.abc import Sequence
from html import escape

from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate
from thesislib.report.tables import STYLE, table


def estimate_html(estimate: Estimate) -> str:
    """A value with its interval below."""
    return (
        f"{estimate.value:.3f}<small>[{estimate.ci_low:.3f}, "
        f"{estimate.ci_high:.3f}]</small>"
    )


def contrast_html(one: Contrast) -> str:
    """A difference with its interval below."""
    return (
        f"{one.difference:+.3f}<small>[{one.ci_low:+.3f}, {one.ci_high:+.3f}]</small>"
    )


def p_html(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "&lt; 0.001"


def number_html(value: float | None) -> str:
    """A published number; a dash where nothing is printed."""
    return "–" if value is None else f"{value:.4g}"


def table_html(caption: str, head: Sequence[str], lines: Sequence, run) -> str:
    """A table of this run alone.

    The first column names the row; the cells are trusted HTML of ours.
    """
    if not lines:
        return f"<p>{escape(caption)} Nothing to compare in this run.</p>"
    mark = f' <span class="thesis-mark">{run.mark}</span>' if run.mark else ""
    rows = [(escape(line[0]), *line[1:]) for line in lines]
    return STYLE + table(escape(caption) + mark, map(escape, head), rows)


def not_run(what: str, why: str) -> str:
    """What stands in the place of a part that this run leaves out.

    Args:
        what: The part, a phrase.
        why: Trusted HTML: who leaves it out, and what would run it.
    """
    return f"<p><em>Not in this run</em>: {escape(what)}{why}</p>"


def left_out_by_preset(run) -> str:
    """The why of `not_run` for what a preset leaves out."""
    return (
        f", left out by preset <code>{run.parameters.preset}</code>. "
        "<code>-p preset standard</code> runs it in hours on two cores, "
        "<code>-p preset paper</code> as printed."
    )
