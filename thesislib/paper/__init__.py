"""What was published: every results table, figure and claim we compare with.

`tables.json` holds the numbers as printed in Yu Tian's thesis (2022), in the
preprint of its chapter 5 (MSACL) and in the SALAD paper of its appendix, together
with the places where those texts disagree with themselves. Standard library only:
the book is built from it.

A published number is addressed as our own rows are: table id (`"5.1"`), row key
(`"pmsacl-padim"`), setting and metric (`"auc"`, or `"auc@lag"` in a table with
several datasets). The setting needs only as many entries as tell the rows of one
key apart, so it is `{}` nearly everywhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from thesislib.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number.

    `value` is None where only a standard deviation is printed (Table 5.5,
    SALAD-II), `std` is None where only a value is. Both are in `unit`.
    """

    table: str
    source: str  # "thesis", "msacl" or "salad"
    chapter: int | None  # appendix tables carry their chapter's; None for SALAD
    row: str
    method: str  # the row's name as printed
    setting: dict[str, Any]
    metric: str  # as in the table, with its "@dataset"
    quantity: str  # the metric without "@dataset"
    dataset: str
    part: str  # the class within the dataset ("bottle", "mean"), "" for all of it
    unit: str  # "fraction" (0 to 1), "percent" (0 to 100) or "score"
    decimals: int  # as printed
    higher_is_better: bool | None
    ours: bool  # the method that the table's chapter or paper proposes
    value: float | None
    std: float | None


@cache
def _load() -> dict[str, Any]:
    path = Path(__file__).with_name("tables.json")
    return json.loads(path.read_text(encoding="utf-8"))


def tables() -> list[dict[str, Any]]:
    """All results tables in the order of the thesis, then MSACL, then SALAD."""
    return _load()["tables"]


def table(table_id: str) -> dict[str, Any]:
    """The table of this id.

    Raises:
        InputError: If there is none.
    """
    for candidate in tables():
        if candidate["id"] == table_id:
            return candidate
    known = ", ".join(candidate["id"] for candidate in tables())
    raise InputError(f"No published table is called {table_id!r}; there are {known}.")


def find_row(
    table_id: str, row: str, setting: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """The printed row of this key whose setting holds every entry of `setting`.

    None if the table has no such row.

    Raises:
        InputError: If the table is unknown, or several rows fit.
    """
    wanted = setting or {}
    fitting = [
        candidate
        for candidate in table(table_id)["rows"]
        if candidate["key"] == row
        and all(candidate["setting"].get(k, ...) == v for k, v in wanted.items())
    ]
    exact = [candidate for candidate in fitting if candidate["setting"] == wanted]
    fitting = exact or fitting
    if len(fitting) > 1:
        settings = "; ".join(json.dumps(c["setting"]) for c in fitting)
        raise InputError(
            f"Table {table_id} has {len(fitting)} rows {row!r} that fit the setting "
            f"{json.dumps(wanted)}; name one of {settings}."
        )
    return fitting[0] if fitting else None


def published(
    table_id: str | None, row: str, setting: dict[str, Any] | None, metric: str
) -> float | dict[str, float | None] | None:
    """The printed number, as printed.

    Returns:
        A float; `{"mean": ..., "std": ...}` where a deviation is printed (the mean
        is None in Tables 5.5 and SALAD-II); None where nothing is printed.

    Raises:
        InputError: If the table is unknown, or several of its rows fit.
    """
    if table_id is None:
        return None
    found = find_row(table_id, row, setting)
    return None if found is None else found["values"].get(metric)


def cells(table_id: str | None = None) -> Iterator[Cell]:
    """Every printed number of one table, or of all; empty cells are left out."""
    for source in tables() if table_id is None else [table(table_id)]:
        for row in source["rows"]:
            for metric, value in row["values"].items():
                if value is not None:
                    yield _cell(source, row, metric, value)


def find_cells(address: str) -> list[Cell]:
    """Printed numbers at an address in words, `"6.6 igd auc@lag train_fraction=0.2"`.

    Table, row key, metric, then as much of the setting as needed, lists with "+". A *
    in the metric stands for anything; means over classes are left out then.
    """
    words = address.split()
    (table_id, row, metric), settings = [*words, "", "", ""][:3], words[3:]
    wanted = {name: value for name, _, value in (s.partition("=") for s in settings)}
    return [
        cell
        for cell in _by_row().get((table_id, row), ())
        if fnmatchcase(cell.metric, metric)
        and not ("*" in metric and cell.part == "mean")
        and all(_plain(cell.setting.get(k)) == value for k, value in wanted.items())
    ]


@cache
def _by_row() -> dict[tuple[str, str], list[Cell]]:
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells():
        found.setdefault((cell.table, cell.row), []).append(cell)
    return found


def _plain(setting: Any) -> str:
    return "+".join(setting) if isinstance(setting, list) else str(setting)


def _cell(source: dict, row: dict, metric: str, value: float | dict) -> Cell:
    quantity, _, where = metric.partition("@")
    several = not isinstance(source["dataset"], str)
    where = where or (row["setting"]["dataset"] if several else source["dataset"])
    dataset, _, part = where.partition("/")
    pair = value if isinstance(value, dict) else {"mean": value, "std": None}
    return Cell(
        table=source["id"],
        source=source["source"],
        chapter=source["chapter"],
        row=row["key"],
        method=row["method"],
        setting=row["setting"],
        metric=metric,
        quantity=quantity,
        dataset=dataset,
        part=part,
        unit=source["units"][metric],
        decimals=source["decimals"][metric],
        higher_is_better=source["higher_is_better"][metric],
        ours=row["ours"],
        value=pair["mean"],
        std=pair["std"],
    )


def claims() -> list[dict[str, Any]]:
    """All claims of the texts: id, chapter, kind, text, table_check and so on."""
    return _load()["claims"]


def inconsistencies() -> list[dict[str, Any]]:
    """Places where text, tables and captions disagree: id, type, where, detail."""
    return _load()["inconsistencies"]


def figures() -> list[dict[str, Any]]:
    """All results figures: id, chapter, kind, what they show, known points."""
    return _load()["figures"]


def methods() -> dict[str, dict[str, Any]]:
    """Row keys: the names they carry in print and the tables they stand in."""
    return _load()["keys"]
