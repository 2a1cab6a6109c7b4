"""The claims of the texts, judged from our own rows.

Each implemented claim is one function over a `View`: the rows of all datasets made
in one way (data real or phantom, preset, reading). It returns a `Finding`, or None
where rows are lacking. The other claims read *not implemented*. Where a claim speaks
of several methods, of which some are not built yet, `part` names the part judged.

A claimed gain of g points

- *holds* if the 95 % interval of our difference lies within g +/- the ledger's delta;
- is *confirmed in direction* if the interval lies above zero, with another size;
- *fails* if it lies at or below zero;
- is *undecided* otherwise.

Whatever carries no verdict in the ledger (phantom, partial data, own protocol, fewer
than three seeds) is only *indicative* here, too. Phantoms can confirm the direction of
a gain; its size, and claims about values or spreads, they say nothing about.

Claims about protocols and settings are judged from what runs state of themselves
(settings, counts, stored scores); one run settles them, whatever its numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from thesislib import paper
from thesislib.paper import Cell
from thesislib.report import text
from thesislib.report.designs import Design, Result, own_key, reading_rank
from thesislib.report.implemented import counterpart
from thesislib.report.ledger import Ledger, delta, placement

HOLDS, DIRECTION, UNDECIDED, FAILS = (
    "holds",
    "confirmed in direction",
    "undecided",
    "fails",
)
WORST_FIRST = (FAILS, UNDECIDED, DIRECTION, HOLDS)
PMSACL, PADIM, SIMCLR = "pmsacl-padim", "padim", "simclr-padim"
PMSACL_IGD, IGD = "pmsacl-igd", "igd"  # of chapter 5


@dataclass(frozen=True)
class Finding:
    """What our rows say about a claim."""

    state: str  # HOLDS, DIRECTION, UNDECIDED or FAILS
    detail: str  # the numbers, in words
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()  # what keeps it from being the claim's own setting

    @property
    def reasons(self) -> list[str]:
        """Why it is only indicative; empty if it carries a verdict."""
        found = [reason for result in self.results for reason in result.reasons]
        return list(dict.fromkeys([*self.notes, *found]))


@dataclass(frozen=True)
class Judged:
    """A claim and what became of it."""

    claim: dict[str, Any]
    part: str  # which part of the claim is judged, "" for all of it
    finding: Finding | None
    implemented: bool

    @property
    def state(self) -> str:
        if not self.implemented:
            return "not implemented"
        if self.finding is None:
            return "not run"
        if self.finding.reasons:
            return f"indicative: {self.finding.state}"
        return self.finding.state


class View:
    """Rows made in one way, over datasets; the best design of each dataset."""

    def __init__(self, designs: Iterable[Design]) -> None:
        self.designs = list(designs)

    @property
    def phantom(self) -> bool:
        return any(design.runs[0].source == "phantom" for design in self.designs)

    def value(self, cell: Cell) -> Result | None:
        """Our counterpart of a published cell, on real data."""
        if self.phantom:
            return None
        for design, key in self._places(cell):
            if found := design.result(key, of_spread=cell.value is None):
                return found
        return None

    def difference(self, cell: Cell, minus: Cell) -> Result | None:
        """Our counterpart of one cell minus that of another, paired by seed."""
        for design, key in self._places(cell):
            for other_design, other in self._places(minus):
                if design is other_design and (found := design.difference(key, other)):
                    return found
        return None

    def own(self, row: str, metric: str, **setting: Any) -> Result | None:
        """A row of ours that no table prints, on any dataset."""
        for design in self.designs:
            key = own_key(row, setting, metric, design.dataset)
            if key in design.rows:
                return design.result(key)
        return None

    def _places(self, cell: Cell) -> Iterator[tuple[Design, Any]]:
        if (ours := counterpart(cell)) is None:
            return
        for design in self.designs:
            if (design.chapter, design.dataset) == (ours.chapter, ours.dataset):
                yield from ((design, p) for p in ours.addresses if p in design.rows)


Judge = Callable[[View], Finding | None]
JUDGES: dict[str, tuple[str, Judge]] = {}


def claim(*names: str, part: str = "") -> Callable[[Judge], Judge]:
    """Register the function that judges the claims of these ids."""

    def register(judge: Judge) -> Judge:
        for name in names:
            JUDGES[name] = (part, judge)
        return judge

    return register


def judge_all(ledger: Ledger) -> list[Judged]:
    """All claims in the order of the texts, each judged from its best rows."""
    from thesislib.report import (  # noqa: F401  they register theirs
        claims05,
        claims05_protocol,
        claims06,
        claims06_printed,
        claims06_protocol,
    )

    views = _views(ledger.designs)
    judged = []
    for entry in paper.claims():
        part, judge = JUDGES.get(entry["id"], ("", None))
        found = (judge(view) for view in views) if judge else ()
        finding = next((one for one in found if one is not None), None)
        judged.append(Judged(entry, part, finding, judge is not None))
    return judged


def _views(designs: Iterable[Design]) -> list[View]:
    """Designs by how they were made, the best way first."""
    ways: dict[tuple, list[Design]] = {}
    for design in designs:
        first = design.runs[0]
        way = (first.source == "phantom", bool(first.overrides), first.preset)
        ways.setdefault((*way, first.reading), []).append(design)
    rank = {"paper": 0, "standard": 1, "quick": 2}
    order = sorted(
        ways, key=lambda w: (w[0], w[1], rank.get(w[2], 3), reading_rank(w[3]))
    )
    by_size = {way: sorted(ways[way], key=lambda d: -len(d.runs)) for way in order}
    return [View(by_size[way]) for way in order]


# --- the two forms that most claims take ---------------------------------------


def cell(table: str, row: str, metric: str, **setting: Any) -> Cell:
    """The published cell that a claim speaks of."""
    (found,) = (
        candidate
        for candidate in paper.cells(table)
        if (candidate.row, candidate.metric) == (row, metric)
        and all(candidate.setting.get(k) == v for k, v in setting.items())
    )
    return found


def gains(
    view: View, *claims: tuple[Cell, Cell, float | None], all_of: bool = True
) -> Finding | None:
    """Judge claimed differences (better, worse, size as printed or None).

    A size of None claims the direction only. With `all_of` every difference must be
    at hand; otherwise those that are count.
    """
    found = [(view.difference(a, b), a, b, size) for a, b, size in claims]
    if all_of and any(result is None for result, *_ in found):
        return None
    parts = [
        (gain_state(result, size, delta(a)), result, a, b, size)
        for result, a, b, size in found
        if result is not None
    ]
    details = [
        f"{text.metric(a.metric)} on {text.DATASETS[a.dataset]}: {a.method} minus "
        f"{b.method} {text.signed(result)} "
        + (f"(claimed {size:+.3f})" if size is not None else "(claimed: a gain)")
        for _, result, a, b, size in parts
    ]
    return together([(state, result) for state, result, *_ in parts], details)


def gain_state(result: Result, size: float | None, tolerance: float) -> str:
    """State of a claimed gain of `size`, or of any gain if that is None."""
    if result.ci_low is None or result.ci_high is None:
        return UNDECIDED
    if result.ci_high <= 0:
        return FAILS
    if size is None:
        return HOLDS if result.ci_low > 0 else UNDECIDED
    if result.source == "phantom":
        return DIRECTION if result.ci_low > 0 else UNDECIDED
    if size - tolerance <= result.ci_low and result.ci_high <= size + tolerance:
        return HOLDS
    return DIRECTION if result.ci_low > 0 else UNDECIDED


def values(view: View, *cells: Cell) -> Finding | None:
    """Judge claimed values: each as the ledger judges its cell."""
    found = [(view.value(one), one) for one in cells]
    if any(result is None for result, _ in found):
        return None
    states = {
        "reproduced": HOLDS,
        "exceeds": FAILS,
        "falls short": FAILS,
        "undecided": UNDECIDED,
    }
    details = [
        f"{text.metric(one.metric)} on {text.DATASETS[one.dataset]}: "
        f"{text.value(result)} {text.interval(result)} "
        f"(claimed {text.published(one)})"
        for result, one in found
    ]
    judged = [(states[placement(one, result)], result) for result, one in found]
    return together(judged, details)


def together(parts: list[tuple[str, Result]], details: list[str]) -> Finding | None:
    """Several (state, result) as one finding: the weakest part decides."""
    if not parts:
        return None
    state = min((state for state, _ in parts), key=WORST_FIRST.index)
    return Finding(state, "; ".join(details), tuple(result for _, result in parts))


def merged(view: View, *findings: Finding | None) -> Finding | None:
    """Several findings as one; None if one of them is lacking.

    On phantoms those about values always are; the others are judged alone.
    """
    if view.phantom:
        findings = tuple(finding for finding in findings if finding is not None)
    if not findings or any(finding is None for finding in findings):
        return None
    state = min((finding.state for finding in findings), key=WORST_FIRST.index)
    results = tuple(result for finding in findings for result in finding.results)
    notes = tuple(note for finding in findings for note in finding.notes)
    return Finding(state, "; ".join(f.detail for f in findings), results, notes)
