"""The ledger in a terminal, in lines or as JSON: `thesislib ledger`."""

import json
from collections.abc import Iterator, Sequence

from thesislib import paper
from thesislib.report import text
from thesislib.report.designs import Result
from thesislib.report.ledger import Entry, Ledger, build


def show(table: str | None = None, *, as_json: bool = False) -> None:
    """Print the ledger of this checkout.

    Args:
        table: One published table, such as "5.1"; None for all.
        as_json: All that is known, instead of lines.

    Raises:
        InputError: If there is no such table.
    """
    if table is not None:
        paper.table(table)
    ledger = build()
    entries = [e for e in ledger.entries if table in (None, e.cell.table)]
    if as_json:
        content = {
            "counts": ledger.counts(),
            "entries": [entry.as_dict() for entry in entries],
            "problems": ledger.problems,
        }
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines(ledger, entries, every=table is not None)))


def lines(ledger: Ledger, entries: Sequence[Entry], every: bool) -> Iterator[str]:
    """The ledger for a terminal; without `every` only the cells with a counterpart."""
    head = ("table", "row", "metric", "published", "ours", "95 % interval", "verdict")
    body = [
        (
            entry.cell.table,
            text.line(entry.cell),
            text.metric(entry.cell.metric),
            text.published(entry.cell),
            _ours(entry.results[0]) if entry.results else "",
            text.interval(entry.results[0]) if entry.results else "",
            _status(entry),
        )
        for entry in entries
        if every or entry.counterpart is not None
    ]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    for row in (head, *body):
        line = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(line).rstrip()
    counts = ledger.counts()
    total = f"{sum(counts.values())} published numbers: "
    yield ""
    yield total + ", ".join(f"{n} {name}" for name, n in counts.items() if n) + "."
    commands = {
        entry.counterpart.command: None
        for entry in entries
        if entry.verdict == "not run"
    }
    for command in commands:
        yield f"not run: {command}"
    for problem in ledger.problems:
        yield f"note: {problem}"


def _ours(result: Result) -> str:
    """Our number, and of what it is."""
    return text.value(result) + (f" ({result.mark})" if result.mark else "")


def _status(entry: Entry) -> str:
    """The verdict, with the reasons where it is only indicative, and *recorded*."""
    words = entry.verdict
    if words.startswith("indicative"):
        words += ": " + ", ".join(entry.results[0].reasons)
    kept = entry.results and entry.results[0].recorded
    return f"{words} (recorded)" if kept else words
