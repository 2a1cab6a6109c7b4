"""The ledger: every published number beside ours, with a verdict.

A verdict needs real data, the publication's protocol and counts, and at least three
seeds. With delta = twice the published standard deviation where one is printed
(Table 5.5, SALAD-II), 0.005 for Table 6.1 (its own rule for a tie), else 0.01, all as
fractions:

- *reproduced*: our whole 95 % interval lies within published +/- delta;
- *exceeds*, *falls short*: it lies wholly above, or wholly below;
- *undecided*: anything else.

What does not qualify is *indicative*, on real data or on phantoms, and says why; what
was never run is *not run* with the command that runs it; what nobody has built yet is
*not implemented*.
"""

from dataclasses import dataclass, field
from typing import Any

from thesislib import paper
from thesislib.paper import Cell
from thesislib.report.designs import Design, Result, designs
from thesislib.report.implemented import Counterpart, counterpart
from thesislib.report.records import Collection, Run, collect

VERDICTS = ("reproduced", "exceeds", "falls short", "undecided")
INDICATIVE = {False: "indicative on real data", True: "indicative on phantoms"}
OTHERS = (*INDICATIVE.values(), "not run", "not implemented")


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
    designs: list[Design]
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
        return INDICATIVE[result.source == "phantom"]
    return placement(cell, result)


def placement(cell: Cell, result: Result) -> str:
    """Where our interval lies, whether or not the result carries a verdict."""
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
    found = designs(collection.runs)
    entries = [_entry(cell, found) for cell in paper.cells()]
    others = [pair for design in found for pair in design.unpublished()]
    problems = collection.passed_over + [p for d in found for p in d.problems]
    return Ledger(entries, others, found, collection.runs, problems)


def _entry(cell: Cell, found: list[Design]) -> Entry:
    ours = counterpart(cell)
    results = [r for d in (found if ours else []) if (r := _result(d, cell, ours))]
    return Entry(cell, ours, tuple(results))


def _result(design: Design, cell: Cell, ours: Counterpart) -> Result | None:
    """A design's result for a published cell, None if its runs state none."""
    if (design.chapter, design.dataset) == (ours.chapter, ours.dataset):
        for place in ours.addresses:
            if place in design.rows:
                return design.result(place, of_spread=cell.value is None)
    return None
