"""Which published cells have a counterpart here, and which of our rows it is.

Each chapter declares it in `thesislib/chapters/*/printed.toml`, which the chapter
itself reads too. A published cell that no chapter declares reads *not implemented*.

The texts print some numbers several times: PaDiM on Hyper-Kvasir stands in Tables
5.1, 5.9, 7.1 and MSACL-1. A printed cell is laid beside the row that a run states
for that very cell; where it states none, beside the same number in another printing
(`again`, `means`), or beside the row in the home table of the quantity (5.1).
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from thesislib import paper
from thesislib.errors import InputError
from thesislib.paper import Cell

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
KEYS = {"chapter", "home", "tables", "rows", "parameters", "again", "means"}
KEYS |= {"contrasts"}


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


@cache
def declared() -> dict[str, dict[str, Any]]:
    """Every chapter's declaration, by the name of its notebook.

    Raises:
        InputError: If one holds an entry that nothing reads.
    """
    found = {}
    for path in sorted(CHAPTERS.glob("*/printed.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := sorted(content.keys() - KEYS):
            raise InputError(f"{path.parent.name}/{path.name} has {unknown[0]!r}.")
        found[content["chapter"]] = content
    return found


def tables(chapter: str, what: str) -> dict[str, str]:
    """Dataset -> the published table that a chapter's rows of one kind stand in."""
    content = declared()[chapter]
    return {**content.get("home", {}), **content.get("tables", {})}.get(what, {})


def contrasts(chapter: str) -> dict[tuple[str, str], bool]:
    """(row, minus) of a chapter's differences -> whether they were declared beforehand.

    The first row is the chapter's own method.
    """
    named = declared().get(chapter, {}).get("contrasts", {})
    return {
        (row, minus): kind == "declared"
        for kind in ("declared", "others")
        for row, minus in named.get(kind, ())
    }


def counterpart(cell: Cell) -> Counterpart | None:
    """Our counterpart of a published cell, None if it is not implemented yet."""
    for chapter, content in declared().items():
        if any(_names(rule, cell) for rule in content["rows"]):
            places = dict.fromkeys(_places(content, cell))
            parameters = tuple(_parameters(content, cell))
            return Counterpart(chapter, cell.dataset, tuple(places), parameters)
    return None


def address(
    table: str, row: str, setting: dict[str, Any], metric: str
) -> Address | None:
    """The address with the printed row's whole setting; None if nothing fits."""
    found = paper.find_row(table, row, setting)
    if found is None or metric not in found["values"]:
        return None
    return Address(table, row, json.dumps(found["setting"], sort_keys=True), metric)


def _names(rule: dict[str, Any], cell: Cell) -> bool:
    """Whether a rule speaks of a cell: its table, its row, what its setting must be,
    and whether only the proposed method's."""
    where = rule.get("where", {}).items()
    return (
        cell.table in rule["tables"]
        and cell.row in rule["rows"]
        and (cell.ours or not rule.get("ours", False))
        and all(cell.setting.get(key) == value for key, value in where)
    )


def _places(content: dict[str, Any], cell: Cell) -> Iterator[Address]:
    """Where our number of a cell may stand, the cell itself first."""
    mine = None  # a cell of a mere deviation, Table 5.5, is no place for a number
    if cell.value is not None:
        mine = address(cell.table, cell.row, cell.setting, cell.metric)
    found = [mine, *_means(content.get("means", {}), cell)]
    for group in content.get("again", []):
        places = [
            address(table, group["row"], setting, metric)
            for table, setting, metric in group["places"]
        ]
        found += places if mine is not None and mine in places else []
    if cell.ours or "components" not in cell.setting:  # all terms on: the full method
        for home in content.get("home", {}).values():
            table = home.get(cell.dataset)
            place = table and address(table, cell.row, {}, cell.quantity)
            if place:
                found.append(place)
                break
    yield from (place for place in found if place is not None)


def _means(means: dict[str, list[str]], cell: Cell) -> Iterator[Address | None]:
    """The mean over classes in the other of its two tables."""
    setting = {k: v for k, v in cell.setting.items() if k == "pretrain"}
    name = f"{cell.quantity}@{cell.dataset}"
    for total, by_class in means.items():
        if cell.table == total:
            for table in by_class:
                yield address(table, cell.row, setting, f"{name}/mean")
        elif cell.table in by_class and cell.part == "mean":
            yield address(total, cell.row, setting, name)
            yield address(total, cell.row, setting, cell.quantity)


def _parameters(content: dict[str, Any], cell: Cell) -> Iterator[tuple[str, str]]:
    """Parameters of the run that states a cell, from its setting or its table."""
    for name, rules in content.get("parameters", {}).items():
        for source, values in rules.items():
            key = cell.table if source == "table" else cell.setting.get(source)
            if key in values:
                yield name, values[key]
