"""Which published cells have a counterpart here, and which of our rows it is.

This is the one table that a new chapter extends. A published cell that no rule
names reads *not implemented* in the ledger.

The texts print some numbers several times: PaDiM on Hyper-Kvasir stands in Tables
5.1, 5.9, 7.1 and MSACL-1. A printed cell is laid beside the row that a run states
for that very cell, and where it states none, beside the row in the home table of
the quantity (5.1).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thesislib import paper
from thesislib.paper import Cell

# Home tables of chapter 5, by dataset: where our rows of a quantity stand.
DETECTION = {
    "hyperkvasir": "5.1",
    "lag": "5.2",
    "liu-colonoscopy": "5.3",
    "covidx": "5.4",
}
LOCALISATION = {"hyperkvasir": "5.6", "lag": "5.7"}


@dataclass(frozen=True)
class Address:
    """Where a number stands: as in `thesislib.paper`, with the printed setting."""

    table: str
    row: str
    setting: str  # JSON of the printed row's whole setting
    metric: str


@dataclass(frozen=True)
class Counterpart:
    """Our counterpart of a published cell."""

    chapter: str  # file name of the notebook, without ".ipynb"
    dataset: str
    addresses: tuple[Address, ...]  # the first that a run states counts
    parameters: tuple[tuple[str, str], ...] = ()  # beyond dataset, source, preset, seed

    @property
    def command(self) -> str:
        """The command that runs it once, with the thesis's settings."""
        given = [("dataset", self.dataset), ("source", "real"), ("preset", "paper")]
        given += [("seed", "0"), *self.parameters]
        options = " ".join(f"-p {name} {value}" for name, value in given)
        output = f"book/runs/{self.chapter}-{self.dataset}-paper-s0.ipynb"
        return f"papermill chapters/{self.chapter}.ipynb {output} {options}"


@dataclass(frozen=True)
class Rule:
    """Cells of one row key in some tables, and where our rows of them stand."""

    chapter: str
    tables: tuple[str, ...]
    row: str
    addresses: tuple[Callable[[Cell], Address | None], ...]
    fits: Callable[[Cell], bool] = lambda cell: True


def address(
    table: str, row: str, setting: dict[str, Any], metric: str
) -> Address | None:
    """The address with the printed row's whole setting; None if nothing fits."""
    found = paper.find_row(table, row, setting)
    if found is None or metric not in found["values"]:
        return None
    return Address(table, row, json.dumps(found["setting"], sort_keys=True), metric)


def home(cell: Cell) -> Address | None:
    """Home of a detection or localisation metric of chapter 5."""
    for tables in (DETECTION, LOCALISATION):
        table = tables.get(cell.dataset)
        if table and (found := address(table, cell.row, {}, cell.quantity)):
            return found
    return None


def itself(cell: Cell) -> Address | None:
    return address(cell.table, cell.row, cell.setting, cell.metric)


def full(cell: Cell) -> bool:
    """Whether an ablation row switches every term on: the row of Table 5.1 again."""
    return cell.ours


_PADIM = (*DETECTION.values(), *LOCALISATION.values(), "5.9", "MSACL-1", "MSACL-2")
RULES = (
    Rule("05_pmsacl", (*_PADIM, "7.1", "7.3"), "padim", (itself, home)),
    Rule("05_pmsacl", _PADIM, "pmsacl-padim", (itself, home)),
    Rule("05_pmsacl", ("5.5",), "pmsacl-padim", (home,)),
    Rule("05_pmsacl", ("5.8", "MSACL-3"), "pmsacl-padim", (itself, home), full),
    Rule("05_pmsacl", ("5.8",), "pmsacl-padim", (itself,)),
    Rule("05_pmsacl", ("5.9",), "simclr-padim", (itself,)),
)


def counterpart(cell: Cell) -> Counterpart | None:
    """Our counterpart of a published cell, None if it is not implemented yet."""
    for rule in RULES:
        if cell.table in rule.tables and cell.row == rule.row and rule.fits(cell):
            found = [one for find in rule.addresses if (one := find(cell))]
            return Counterpart(rule.chapter, cell.dataset, tuple(dict.fromkeys(found)))
    return None
