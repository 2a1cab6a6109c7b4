"""What a judge of claims looks at, a `View` of our rows, and what it says, a `Finding`.

A claim about a gain *holds* if the 95 % interval of our difference lies within the
size claimed +/- the ledger's delta; it is *confirmed in direction* if the interval lies
above zero, with another size; it *fails* if the interval lies at or below zero, and is
*undecided* otherwise.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from thesislib.paper import Cell
from thesislib.report import text
from thesislib.report.designs import Design, Result, own_key
from thesislib.report.implemented import counterpart

HOLDS, DIRECTION = "holds", "confirmed in direction"
UNDECIDED, FAILS = "undecided", "fails"
WORST_FIRST = (FAILS, UNDECIDED, DIRECTION, HOLDS)
START = "imagenet"  # of the encoders in the thesis's ablations
BESIDE = {"pretrain", "backbone"}  # of a setting, do not tell rows of a run apart


@dataclass(frozen=True)
class Finding:
    """What our rows say about a claim, or about one part of it."""

    state: str  # HOLDS, DIRECTION, UNDECIDED or FAILS
    detail: str  # the numbers, in words
    results: tuple[Result, ...] = ()
    notes: tuple[str, ...] = ()  # what keeps it from being the claim's own setting
    share: tuple[int, int] = (1, 1)  # of all that is to be judged, what was at hand

    @property
    def words(self) -> str:
        """The state, and of how much of the claim it is where something is missing."""
        found, asked = self.share
        return self.state + (f" in {found} of {asked}" if found < asked else "")

    @property
    def reasons(self) -> list[str]:
        """Why it is only indicative; empty if it carries a verdict."""
        found = [reason for result in self.results for reason in result.reasons]
        return list(dict.fromkeys([*self.notes, *found]))


def together(findings: Iterable[Finding]) -> Finding | None:
    """Several findings as one, the weakest decides; None if there are none."""
    if not (found := list(findings)):
        return None
    return Finding(
        min((one.state for one in found), key=WORST_FIRST.index),
        "; ".join(one.detail for one in found),
        tuple(result for one in found for result in one.results),
        tuple(note for one in found for note in one.notes),
        tuple(
            sum(counts) for counts in zip(*(one.share for one in found), strict=True)
        ),
    )


class View:
    """Rows on real data, or on phantoms; the strongest design first, as elsewhere."""

    def __init__(self, designs: Iterable[Design]) -> None:
        self.designs = list(designs)

    @property
    def phantom(self) -> bool:
        return any(design.runs[0].source == "phantom" for design in self.designs)

    def value(self, cell: Cell) -> Result | None:
        """Our counterpart of a published cell, on real data."""
        for design in () if self.phantom else self.designs:
            for key in self.keys(design, cell):
                if found := design.result(key, of_spread=cell.value is None):
                    return found
        return None

    def difference(self, plus: Sequence[Cell], minus: Sequence[Cell]) -> Result | None:
        """Our counterparts of some cells minus those of others, paired by seed."""
        for design in self.designs:
            places = (list(self.keys(design, cell)) for cell in (*plus, *minus))
            for keys in product(*places):
                found = design.contrast(keys[: len(plus)], keys[len(plus) :])
                if found is not None:
                    return found
        return None

    def own(
        self, chapter: str, row: str, metric: str, dataset: str = "", **setting: Any
    ) -> Result | None:
        """A row of ours that no table prints, on any dataset if none is named."""
        for design in self.designs:
            key = own_key(row, setting, metric, design.dataset)
            here = design.chapter == chapter and dataset in ("", design.dataset)
            if here and key in design.rows:
                return design.result(key)
        return None

    def real(self, chapter: str, dataset: str) -> list[Design]:
        """Runs on a dataset itself, whole copies of it before partial ones."""
        place = (chapter, dataset)
        found = [d for d in self.designs if (d.chapter, d.dataset) == place]
        return [] if self.phantom else found

    def keys(self, design: Design, cell: Cell) -> Iterator[Any]:
        """Keys of a design's rows that are the counterpart of a published cell."""
        ours = counterpart(cell)
        if ours and (design.chapter, design.dataset) == (ours.chapter, ours.dataset):
            yield from (place for place in ours.addresses if place in design.rows)


class Study(View):
    """One design whose rows stand for those of an ablation or a robustness test.

    The thesis prints these for few benchmarks, from ImageNet weights. Rows of that kind
    for another benchmark or start are judged by the same sizes and stay indicative.
    """

    def __init__(self, design: Design, printed: Sequence[str]) -> None:
        super().__init__([design])
        self.dataset = design.dataset
        start = str(design.runs[0].resolved.get("start", START))
        self.note = ""  # in what it is not the thesis's
        if self.dataset not in printed or start != START:
            name = text.DATASETS.get(self.dataset, self.dataset)
            theirs = " or ".join(text.DATASETS[one] for one in printed)
            self.note = f"on {name} from {start}, not {theirs} from {START}"

    def keys(self, design: Design, cell: Cell) -> Iterator[Any]:
        """The row of the cell's key and setting; of classes, their mean."""
        here = f"{cell.quantity}@{self.dataset}"
        wanted = {k: v for k, v in cell.setting.items() if k not in BESIDE}
        for key, stated in design.rows.items():
            row = stated[0][1]
            own = {k: v for k, v in row["setting"].items() if k not in BESIDE}
            named = row["metric"] in (cell.quantity, here, f"{here}/mean")
            if named and (row["row"], own) == (cell.row, wanted):
                yield key
                return  # of a row stated twice, the first
