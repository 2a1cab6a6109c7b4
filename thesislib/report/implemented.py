"""Which published cells have a counterpart here, and which of our rows it is.

This is the one table that a new chapter extends. A published cell that no rule
names reads *not implemented* in the ledger.

The texts print some numbers several times: PaDiM on Hyper-Kvasir stands in Tables
5.1, 5.9, 7.1 and MSACL-1. A printed cell is laid beside the row that a run states
for that very cell, and where it states none, beside the row in the home table of
the quantity (5.1).
"""

import json
from collections.abc import Callable, Iterable
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
        words = [self.chapter, self.dataset, *(value for _, value in self.parameters)]
        output = f"book/runs/{'-'.join(words)}-paper-s0.ipynb"
        return f"papermill chapters/{self.chapter}.ipynb {output} {options}"


@dataclass(frozen=True)
class Rule:
    """Cells of one row key in some tables, and where our rows of them stand."""

    chapter: str
    tables: tuple[str, ...]
    row: str
    addresses: tuple[Callable[[Cell], Iterable[Address]], ...]
    fits: Callable[[Cell], bool] = lambda cell: True
    parameters: Callable[[Cell], tuple[tuple[str, str], ...]] = lambda cell: ()


def address(
    table: str, row: str, setting: dict[str, Any], metric: str
) -> Address | None:
    """The address with the printed row's whole setting; None if nothing fits."""
    found = paper.find_row(table, row, setting)
    if found is None or metric not in found["values"]:
        return None
    return Address(table, row, json.dumps(found["setting"], sort_keys=True), metric)


def home(cell: Cell) -> list[Address]:
    """Home of a detection or localisation metric of chapter 5."""
    for tables in (DETECTION, LOCALISATION):
        table = tables.get(cell.dataset)
        if table and (found := address(table, cell.row, {}, cell.quantity)):
            return [found]
    return []


def itself(cell: Cell) -> list[Address]:
    found = address(cell.table, cell.row, cell.setting, cell.metric)
    return [found] if found else []


def full(cell: Cell) -> bool:
    """Whether an ablation row switches every term on: the row of Table 5.1 again."""
    return cell.ours


# Chapter 6 prints a mean over classes again beside the classes, in appendix A.
MEANS = {"6.1": ("A.2", "A.3", "A.4"), "6.2": ("A.1",), "6.3": ("A.5",)}
ALL_TERMS = {"components": ["rec", "gac", "inter"]}
AGAIN = (  # and the full method in its ablations: one quantity, four printings
    (
        ("6.1", {"pretrain": "imagenet"}, "auc@cifar10"),
        ("A.4", {"pretrain": "imagenet"}, "auc@cifar10/mean"),
        ("6.6", {"train_fraction": 1.0}, "auc@cifar10"),
        ("6.5", ALL_TERMS, "auc_full"),
    ),
    (
        ("6.2", {"pretrain": "imagenet"}, "auc"),
        ("A.1", {"pretrain": "imagenet"}, "auc@mvtec/mean"),
        ("6.6", {"train_fraction": 1.0}, "auc@mvtec"),
    ),
    (
        ("6.6", {"train_fraction": 0.2}, "auc@cifar10"),
        ("6.5", ALL_TERMS, "auc_small20"),
    ),
    (
        ("6.7", {"contamination": 0.1}, "auc@cifar10"),
        ("6.5", ALL_TERMS, "auc_contaminated10"),
    ),
)


def again(cell: Cell) -> list[Address]:
    """Where else chapter 6 prints the number of this cell."""
    found = [_mean(cell)]
    mine = itself(cell)
    for group in AGAIN if cell.row == "igd" else ():
        places = [address(table, "igd", *rest) for table, *rest in group]
        found += places if mine[0] in places else []
    return [place for place in found if place is not None]


def _mean(cell: Cell) -> Address | None:
    """The mean over classes in the other of its two tables."""
    setting = {k: v for k, v in cell.setting.items() if k == "pretrain"}
    for total, by_class in MEANS.items():
        if cell.table == total:
            for table in by_class:
                metric = f"{cell.quantity}@{cell.dataset}/mean"
                if found := address(table, cell.row, setting, metric):
                    return found
        elif cell.table in by_class and cell.part == "mean":
            for metric in (f"{cell.quantity}@{cell.dataset}", cell.quantity):
                if found := address(total, cell.row, setting, metric):
                    return found
    return None


PARTS = {"6.5": "ablation", "6.6": "robustness", "6.7": "robustness"}
STARTS = {"ssl": "simclr"}  # of chapter 6; Section 6.4.2 cites it as its SSL


def igd_run(cell: Cell) -> tuple[tuple[str, str], ...]:
    """Chapter 6's parameters for a row: the encoder's start, and which part runs."""
    pretrain = cell.setting["pretrain"]
    found = [("start", STARTS.get(pretrain, pretrain))]
    found += [("part", PARTS[cell.table])] if cell.table in PARTS else []
    return tuple(found)


def from_scratch(cell: Cell) -> bool:
    return cell.setting.get("pretrain") == "scratch"


_PADIM = (*DETECTION.values(), *LOCALISATION.values(), "5.9", "MSACL-1", "MSACL-2")
_BASELINES = ("6.1", "A.2", "A.4")
_IGD = (*(f"6.{n}" for n in range(1, 8)), *(f"A.{n}" for n in range(1, 6)))
RULES = (
    Rule("05_pmsacl", (*_PADIM, "7.1", "7.3"), "padim", (itself, home)),
    Rule("05_pmsacl", _PADIM, "pmsacl-padim", (itself, home)),
    Rule("05_pmsacl", ("5.5",), "pmsacl-padim", (home,)),
    Rule("05_pmsacl", _PADIM, "igd", (itself, home)),
    Rule("05_pmsacl", _PADIM, "pmsacl-igd", (itself, home)),
    Rule("05_pmsacl", ("5.5",), "pmsacl-igd", (home,)),
    Rule("05_pmsacl", ("5.8", "MSACL-3"), "pmsacl-padim", (itself, home), full),
    Rule("05_pmsacl", ("5.8",), "pmsacl-padim", (itself,)),
    Rule("05_pmsacl", ("5.9",), "simclr-padim", (itself,)),
    Rule("06_igd", _IGD, "igd", (itself, again), parameters=igd_run),
    *(
        Rule("06_igd", ("6.6", "6.7"), row, (itself,), parameters=igd_run)
        for row in ("dsvdd", "dsvdd-rec")
    ),
    *(
        Rule("06_igd", _BASELINES, row, (itself, again), from_scratch, igd_run)
        for row in ("dae", "vae", "kde", "ocsvm", "dsvdd")
    ),
)


def counterpart(cell: Cell) -> Counterpart | None:
    """Our counterpart of a published cell, None if it is not implemented yet."""
    for rule in RULES:
        if cell.table in rule.tables and cell.row == rule.row and rule.fits(cell):
            found = [one for find in rule.addresses for one in find(cell)]
            return Counterpart(
                rule.chapter,
                cell.dataset,
                tuple(dict.fromkeys(found)),
                rule.parameters(cell),
            )
    return None
