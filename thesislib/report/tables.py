"""HTML tables of numbers: of chapters, of the ledger, of the claims.

`table` writes them all; `beside` lays a run's rows beside the published ones. A table
is plain HTML with few styles, so that it looks the same in Jupyter and in the book,
follows the page's colours in dark mode, and scrolls by itself on a phone.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any

from thesislib import paper
from thesislib.errors import InputError
from thesislib.report import text

STYLE = """<style>
.thesis-scroll{overflow-x:auto;margin:1em 0;container-type:inline-size}
.thesis-table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:auto;\
margin:0;color:inherit;background:none}
.thesis-table caption{caption-side:top;text-align:left;padding:.3em 0;color:inherit;\
position:sticky;left:0;max-width:100cqi}
.thesis-table th,.thesis-table td{padding:.25em .7em;text-align:right;\
border-bottom:1px solid rgba(128,128,128,.35);background:none;color:inherit;\
vertical-align:top;white-space:nowrap}
.thesis-table th[scope=row],.thesis-table th.name{text-align:left;white-space:normal;\
min-width:9em}
.thesis-table th[scope=row]{font-weight:400}
.thesis-table th[scope=colgroup]{text-align:center}
.thesis-table small{display:block;opacity:.8}
.thesis-table tr.ours th{font-weight:700}
.thesis-mark{border:1px solid currentColor;border-radius:.6em;padding:0 .45em;\
font-size:.78em;white-space:nowrap}
</style>"""

Row = Mapping[str, Any]


def table(
    caption: str, head: Iterable[str], rows: Iterable[Sequence[str]], kind: str = ""
) -> str:
    """A table that scrolls by itself, without `STYLE`.

    Args:
        caption: HTML.
        head: Names of the columns, HTML.
        rows: Cells, HTML; the first of a row names it.
        kind: Classes of the table.
    """
    first, *others = head
    top = f'<th scope="col" class="name">{first}</th>'
    top += "".join(f'<th scope="col">{name}</th>' for name in others)
    body = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return scrolling(caption, f"<tr>{top}</tr>", body, kind)


def scrolling(caption: str, head: str, body: str, kind: str = "") -> str:
    """Lines of a table, HTML, in their frame, which is named by the caption's words."""
    label = escape(unescape(re.sub("<[^>]+>", "", caption)))
    return (
        f'<div class="thesis-scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="{f"thesis-table {kind}".strip()}"><caption>{caption}</caption>'
        f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def beside(
    rows: Iterable[Row],
    table_id: str | None,
    *,
    metrics: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    every: bool = False,
    partial: bool = False,
    title: str = "",
) -> str:
    """Our rows beside the published ones of one table, as HTML.

    A cell of ours reads value, interval over test images and its marks; published
    numbers have columns of their own. Rows of ours that no table prints come last.

    Args:
        rows: Rows of one run as its record holds them. Rows of other tables are
            left out, and so are rows without a table that `names` does not name; a
            row without a table that the table has, with a metric that it does not
            print (AP, IoU at the oracle's threshold), joins its line.
        table_id: Published table, such as "5.1"; None for a table of ours alone.
        metrics: Which metrics, in which order; all that `rows` hold by default.
        names: Row key -> what to call a row of ours that is not in print; only
            rows without a setting of their own count. By default all rows without
            a table if `table_id` is None, else none of them.
        every: Show published rows that we have no counterpart for, too.
        partial: The data's counts differ from the publication's: marked so.
        title: First sentence of the caption; the published caption by default.

    Raises:
        InputError: If there is nothing to show, or the rows are of several runs.
    """
    chosen = [row for row in rows if _belongs(row, table_id, names)]
    metrics = list(metrics or dict.fromkeys(row["metric"] for row in chosen))
    chosen = [row for row in chosen if row["metric"] in metrics]
    if not chosen:
        wanted = f"Table {table_id}" if table_id else "a table of ours"
        raise InputError(f"The run has no rows for {wanted} with metrics {metrics}.")
    run = _run_of(chosen)
    lines = _lines(chosen, table_id, names or {}, every)
    caption = _caption(table_id, title, run, partial, chosen)
    head = _head(metrics, with_published=table_id is not None)
    marks = _marks(run["source"], partial)
    body = "".join(_body_line(line, table_id, metrics, marks) for line in lines)
    return STYLE + scrolling(caption, head, body)


def _belongs(row: Row, table_id: str | None, names: Mapping[str, str] | None) -> bool:
    if row["table"] is not None:
        return row["table"] == table_id
    if names is not None:
        return row["row"] in names and not row["setting"]
    return table_id is None


def _run_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Seed, source, preset, reading and dataset that all rows share."""
    shared = {}
    for name in ("seed", "source", "preset", "reading", "dataset"):
        values = {row[name] for row in rows}
        if len(values) > 1:
            raise InputError(
                f"The rows differ in {name} ({sorted(map(str, values))}); one table "
                "shows one run, the ledger collects several."
            )
        shared[name] = values.pop()
    return shared


def _lines(
    rows: Sequence[Row], table_id: str | None, names: Mapping[str, str], every: bool
) -> list[dict[str, Any]]:
    """One dict a line: its name, the printed row (or None) and our rows by metric."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    printed = paper.table(table_id)["rows"] if table_id else []
    for row, (key, name) in zip(
        printed, (text.lines(table_id) if table_id else {}).items(), strict=True
    ):
        lines[key] = {"name": name, "printed": row, "ours": {}}
    for row in rows:
        found = None
        unique = sum(candidate["key"] == row["row"] for candidate in printed) == 1
        if row["table"] is not None or unique:
            found = paper.find_row(table_id, row["row"], row["setting"])
        setting = found["setting"] if found else row["setting"]
        key = (row["row"], json.dumps(setting, sort_keys=True))
        if key not in lines:
            name = names.get(row["row"], row["row"].replace("-", " "))
            extra = text.setting(row["setting"])
            name = f"{name} ({extra})" if extra else name
            lines[key] = {"name": name, "printed": None, "ours": {}}
        lines[key]["ours"][row["metric"]] = row
    return [line for line in lines.values() if every or line["ours"]]


def _body_line(
    line: dict[str, Any], table_id: str | None, metrics: Sequence[str], marks: str
) -> str:
    cells = []
    for metric in metrics:
        if table_id is not None:
            cells.append(f"<td>{_published(line['printed'], table_id, metric)}</td>")
        cells.append(f"<td>{_ours(line['ours'].get(metric), marks)}</td>")
    images = {row["n"] for row in line["ours"].values() if row.get("n") is not None}
    count = "–" if not images else " / ".join(map(str, sorted(images)))
    proposed = ' class="ours"' if line["printed"] and line["printed"]["ours"] else ""
    name = f'<th scope="row">{escape(line["name"])}</th>'
    return f"<tr{proposed}>{name}{''.join(cells)}<td>{count}</td></tr>"


def _published(row: Mapping[str, Any] | None, table_id: str, metric: str) -> str:
    value = row["values"].get(metric) if row else None
    decimals = paper.table(table_id)["decimals"].get(metric, 3)
    if isinstance(value, dict):
        mean = text.number(value["mean"], decimals) if value["mean"] else ""
        return f"{mean} ± {text.number(value['std'], decimals)}".strip()
    return text.number(value, decimals)


def _ours(row: Row | None, marks: str) -> str:
    if row is None:
        return "–"
    value = text.number(row["value"])
    if row["ci_low"] is None:
        return f"{value}{marks}"
    bounds = f"[{text.number(row['ci_low'])}, {text.number(row['ci_high'])}]"
    return f"{value}{marks}<small>{bounds}</small>"


def _marks(source: str, partial: bool) -> str:
    marks = ["phantom"] if source == "phantom" else []
    marks += ["partial"] if partial else []
    return "".join(f' <span class="thesis-mark">{mark}</span>' for mark in marks)


def _head(metrics: Sequence[str], with_published: bool) -> str:
    titles = [escape(text.metric(metric)) for metric in metrics]
    if not with_published:
        columns = "".join(f'<th scope="col">{title}</th>' for title in titles)
        return (
            f'<tr><th scope="col" class="name">method</th>{columns}'
            '<th scope="col">images</th></tr>'
        )
    groups = "".join(
        f'<th scope="colgroup" colspan="2">{title}</th>' for title in titles
    )
    pairs = '<th scope="col">published</th><th scope="col">ours</th>' * len(metrics)
    return (
        f'<tr><th scope="col" rowspan="2" class="name">method</th>{groups}'
        f'<th scope="col" rowspan="2">images</th></tr><tr>{pairs}</tr>'
    )


def _caption(
    table_id: str | None,
    title: str,
    run: Mapping[str, Any],
    partial: bool,
    shown: Iterable[Row],
) -> str:
    if not title and table_id:
        title = f"Table {table_id}. {paper.table(table_id)['caption']}."
    data = text.DATASETS.get(run["dataset"], run["dataset"])
    what = f"{data}, {run['source']} data"
    if run["source"] == "phantom":
        what = f"a phantom in place of {data}"
    facts = [what, f"preset {run['preset']}", f"reading {run['reading']}"]
    facts += [f"seed {run['seed']}"] + (["partial data"] if partial else [])
    caption = f"{escape(title)} Ours: {escape(', '.join(facts))}."
    if any(row["ci_low"] is not None for row in shown):
        caption += " Brackets: 95 % interval over the test images of this one run."
    return caption
