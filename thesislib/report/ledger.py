"""The ledger: every published number beside ours, with a verdict.

A verdict needs real data, the publication's protocol and counts, and at least three
seeds. With delta = twice the published standard deviation where one is printed
(Table 5.5, SALAD-II), 0.005 for Table 6.1 (its own rule for a tie), else 0.01, all as
fractions:

- *reproduced*: our whole 95 % interval lies within published +/- delta;
- *exceeds*, *falls short*: it lies wholly above, or wholly below;
- *undecided*: anything else.

What does not qualify is *indicative* and says why; what was never run is *not run*
with the command that runs it; what nobody has built yet is *not implemented*.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from thesislib import paper
from thesislib.paper import Cell
from thesislib.report import intervals
from thesislib.report.implemented import Address, Counterpart, address, counterpart
from thesislib.report.records import Collection, Run, collect

MIN_SEEDS = 3
VERDICTS = ("reproduced", "exceeds", "falls short", "undecided")
OTHERS = ("indicative", "not run", "not implemented")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Our number for one quantity under one design, over its seeds."""

    value: float
    std: float | None  # over seeds, ddof 1; None for one seed
    ci_low: float | None
    ci_high: float | None
    interval: str  # how the interval came about, for readers
    seeds: tuple[int, ...]
    values: tuple[float, ...]  # one a seed, in the order of `seeds`
    num_images: int | None  # test images of the first run
    chapter: str
    dataset: str
    source: str  # "real" or "phantom"
    partial: bool
    preset: str
    reading: str
    settings: str  # "thesis" or "ours"
    recorded: bool
    finished: str
    runs: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """Why this result carries no verdict; empty if it does."""
        reasons = []
        if self.source == "phantom":
            reasons.append("phantom")
        if self.partial:
            reasons.append("partial data")
        if self.settings != "thesis":
            reasons.append(f"own protocol ({self.preset})")
        if len(self.seeds) < MIN_SEEDS:
            reasons.append(
                f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)} of {MIN_SEEDS}"
            )
        return reasons

    @property
    def mark(self) -> str:
        """What must stand beside the number wherever it is shown."""
        return ", ".join(r for r in self.reasons if r in ("phantom", "partial data"))


@dataclass(frozen=True)
class Entry:
    """A published cell, ours beside it (best design first), and the verdict."""

    cell: Cell
    counterpart: Counterpart | None
    results: tuple[Result, ...]

    @property
    def verdict(self) -> str:
        if self.counterpart is None:
            return "not implemented"
        return verdict(self.cell, self.results[0]) if self.results else "not run"

    def as_dict(self) -> dict[str, Any]:
        return {
            "cell": vars(self.cell),
            "verdict": self.verdict,
            "command": self.counterpart.command if self.counterpart else None,
            "results": [
                {**vars(result), "reasons": result.reasons} for result in self.results
            ],
        }


@dataclass
class Ledger:
    """Every published cell, our rows that no publication has, and what is amiss."""

    entries: list[Entry]
    others: list[tuple[dict[str, Any], Result]]  # rows of ours with `table: null`
    runs: list[Run]
    problems: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of published cells for each verdict."""
        found = [entry.verdict for entry in self.entries]
        return {name: found.count(name) for name in (*VERDICTS, *OTHERS)}


def delta(cell: Cell) -> float:
    """Tolerance around a published number, in the cell's unit."""
    if cell.value is not None:
        std = cell.std
        if std is None and cell.ours:
            std = _printed_deviations().get((cell.row, cell.dataset, cell.quantity))
        if std is not None:
            return 2 * std
    scale = 100 if cell.unit == "percent" else 1
    return (0.005 if cell.table == "6.1" else 0.01) * scale


def _printed_deviations() -> dict[tuple[str, str, str], float]:
    """Deviations printed in a table of their own, for the full method."""
    return {
        (cell.row, cell.dataset, cell.quantity): cell.std
        for table in ("5.5", "SALAD-II")
        for cell in paper.cells(table)
    }


def verdict(cell: Cell, result: Result) -> str:
    """The verdict on one published cell from our best result for it."""
    if result.reasons:
        return "indicative"
    if result.ci_low is None or result.ci_high is None:
        return "undecided"
    published = cell.std if cell.value is None else cell.value
    low, high = published - delta(cell), published + delta(cell)
    if low <= result.ci_low and result.ci_high <= high:
        return "reproduced"
    above, below = ("exceeds", "falls short")
    if cell.higher_is_better is False:
        above, below = below, above
    if result.ci_low > high:
        return above
    return below if result.ci_high < low else "undecided"


def build(collection: Collection | None = None) -> Ledger:
    """Lay every published cell beside the sealed runs of this checkout."""
    collection = collection or collect()
    groups = [_Group(runs) for runs in _siblings(collection.runs)]
    entries = []
    for cell in paper.cells():
        found = counterpart(cell)
        results = [
            result
            for group in (groups if found else [])
            if (result := group.result(cell, found))
        ]
        entries.append(Entry(cell, found, tuple(sorted(results, key=_order))))
    others = [pair for group in groups for pair in group.unpublished()]
    problems = [problem for group in groups for problem in group.problems()]
    return Ledger(entries, others, collection.runs, collection.passed_over + problems)


def _order(result: Result) -> tuple:
    """Best design first: fewest reasons against it, then most seeds, then newest."""
    phantom = result.source == "phantom"
    own = result.settings != "thesis"
    newest = [-ord(c) for c in result.finished]
    return phantom, result.partial, own, -len(result.seeds), newest


def _siblings(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone, the newest of each seed."""
    designs: dict[str, dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: run.finished):
        designs.setdefault(run.design, {})[run.seed] = run
    return [[seeds[s] for s in sorted(seeds)] for seeds in designs.values()]


class _Group:
    """Sibling runs and their rows by address."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self.rows: dict[Any, dict[int, tuple[Run, dict]]] = {}
        self.unplaced: set[str] = set()
        for run in runs:
            for row in run.record["rows"]:
                key = self._key(run, row)
                self.rows.setdefault(key, {})[run.seed] = (run, row)

    def _key(self, run: Run, row: dict) -> Address | str:
        if row["table"] is not None:
            found = address(row["table"], row["row"], row["setting"], row["metric"])
            if found is not None:
                return found
            self.unplaced.add(
                f"{run.where}: Table {row['table']} prints no {row['metric']} of "
                f"{row['row']}"
            )
        name = (row["row"], row["setting"], row["metric"], row["dataset"])
        return json.dumps(name, sort_keys=True)

    def problems(self) -> list[str]:
        return sorted(self.unplaced)

    def result(self, cell: Cell, found: Counterpart) -> Result | None:
        """Our result for a published cell, None if these runs state none."""
        first = self.runs[0]
        if (first.chapter, first.dataset) != (found.chapter, found.dataset):
            return None
        for place in found.addresses:
            if place in self.rows:
                return self._summary(
                    list(self.rows[place].values()), cell.value is None
                )
        return None

    def unpublished(self) -> list[tuple[dict[str, Any], Result]]:
        """Rows of ours that no publication has, each with its result."""
        return [
            (next(iter(rows.values()))[1], self._summary(list(rows.values()), False))
            for key, rows in self.rows.items()
            if isinstance(key, str)
        ]

    def _summary(self, rows: list[tuple[Run, dict]], of_spread: bool) -> Result | None:
        runs = [run for run, _ in rows]
        values = [float(row["value"]) for _, row in rows]
        std = stdev(values) if len(values) > 1 else None
        if of_spread and std is None:
            return None  # one run has no deviation over seeds
        if of_spread:
            value, kind = std, "chi-square over seeds"
            interval = intervals.spread(values)
        else:
            value, interval, kind = _interval(rows, values)
        low, high = interval or (None, None)
        first = runs[0]
        thesis = first.preset == "paper" and not first.overrides
        return Result(
            value=value,
            std=None if of_spread else std,
            ci_low=low,
            ci_high=high,
            interval=kind,
            seeds=tuple(run.seed for run in runs),
            values=tuple(values),
            num_images=rows[0][1].get("n"),
            chapter=first.chapter,
            dataset=first.dataset,
            source=first.source,
            partial=first.partial,
            preset=first.preset,
            reading=first.reading,
            settings="thesis" if thesis else "ours",
            recorded=any(run.recorded for run in runs),
            finished=max(run.finished for run in runs),
            runs=tuple(run.where for run in runs),
        )


def _interval(
    rows: list[tuple[Run, dict]], values: list[float]
) -> tuple[float, intervals.Interval | None, str]:
    """Mean over seeds, its interval and how that came about."""
    within = [
        (row["ci_low"], row["ci_high"]) for _, row in rows if row["ci_low"] is not None
    ]
    mean = fmean(values)
    if len(rows) == 1:
        return mean, within[0] if within else None, "within the run"
    if rows[0][0].source == "phantom":
        return mean, intervals.student(values), "Student's t over seeds"
    if rows[0][1]["metric"].partition("@")[0] == "auc" and (
        design := _shared_images(rows)
    ):
        mean, interval = intervals.obuchowski_rockette(*design)
        return mean, interval, "Obuchowski-Rockette over seeds and images"
    interval = intervals.seeds_and_images(values, within)
    return mean, interval, "t over seeds and interval within runs, in quadrature"


def _shared_images(
    rows: list[tuple[Run, dict]],
) -> tuple[list[int], list[list[float]], list[str] | None] | None:
    """Labels, scores a seed and patients; None unless all seeds share the images."""
    columns = []
    for run, row in rows:
        if (lines := run.scores(row["row"], row["setting"])) is None:
            return None
        columns.append({line["id"]: line for line in lines})
    first = columns[0]
    names = sorted(first)
    for other in columns:
        if other.keys() != first.keys() or any(
            other[name]["label"] != first[name]["label"] for name in names
        ):
            return None
    labels = [int(first[name]["label"]) for name in names]
    scores = [[float(column[name]["score"]) for name in names] for column in columns]
    patients = [first[name].get("patient") or "" for name in names]
    return labels, scores, patients if all(patients) else None


def main(argv: Sequence[str] | None = None) -> int:
    """`thesislib ledger`: print the ledger as text, or all of it as JSON."""
    parser = argparse.ArgumentParser(prog="thesislib ledger", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--table", help="one published table, such as 5.1")
    parser.add_argument("--results", type=Path, help="results folder to read")
    given = parser.parse_args(argv)
    if given.table is not None:
        paper.table(given.table)
    ledger = build(collect(results=given.results))
    entries = [e for e in ledger.entries if given.table in (None, e.cell.table)]
    if given.json:
        content = {
            "counts": ledger.counts(),
            "entries": [entry.as_dict() for entry in entries],
            "problems": ledger.problems,
        }
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return 0
    from thesislib.report.text import lines

    print("\n".join(lines(ledger, entries, every=given.table is not None)))
    return 0
