"""The claims of the texts, judged from our own rows.

`paper/claims.toml` says of each claim how it is judged, `judges` how that is done; a
claim without an entry, or whose cells have no counterpart yet, reads *not implemented*.
Rows on real data count before phantoms, and of several designs the one that leads in
the ledger. Whatever carries no verdict in the ledger (phantom, partial data,
own protocol, fewer than three seeds) is only *indicative* here, too.
"""

import inspect
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from thesislib import paper
from thesislib.errors import InputError
from thesislib.paper import Cell
from thesislib.report.findings import Finding, Study, View, together
from thesislib.report.implemented import counterpart
from thesislib.report.judges import FUNCTIONS, KINDS, Judge
from thesislib.report.ledger import INDICATIVE, Ledger

CELLS = ("of", "first", "over", "before", "others", "cells")  # fields that name them
ONE = ("first", "over")  # each a single one
OF_VALUES = {"value", "spread"}  # kinds of which phantoms say nothing


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
        if not self.finding.reasons:
            return self.finding.words
        phantom = any(one.source == "phantom" for one in self.finding.results)
        return f"{INDICATIVE[phantom]}: {self.finding.words}"


@dataclass(frozen=True)
class Item:
    """One of the things that decide a claim: a judge and what it is given."""

    kind: str
    judge: Judge
    fields: dict[str, Any]
    cells: list[Cell]  # that must have a counterpart

    @property
    def size(self) -> int:
        """How many things it is about: the cells of which any at hand are judged."""
        whole = self.kind == "function" and self.judge is not FUNCTIONS["most blocks"]
        return (
            1 if whole else len(self.fields.get("of") or self.fields.get("cells", "1"))
        )


@dataclass(frozen=True)
class Entry:
    """How a claim is judged; the head of `claims.toml` explains the fields."""

    judged: list
    part: str = ""
    needs: str = ""
    real: bool = False
    study: list | None = None

    def implemented(self, chapters: set[str]) -> bool:
        """Whether all that it speaks of is built, given the chapters that are."""
        named = {item.fields.get("chapter") for item in self.judged} - {None}
        cells = [cell for item in self.judged for cell in item.cells]
        return named <= chapters and all(map(counterpart, cells))

    def judge(self, view: View) -> Finding | None:
        """What rows made in one way say, None if they are not all there."""
        if self.real and view.phantom:
            return None
        if not self.study:
            return self._together(view)
        chapter = counterpart(self.judged[0].cells[0]).chapter
        studies = [Study(d, self.study) for d in view.designs if d.chapter == chapter]
        found = [(one, said) for one in studies if (said := self._together(one))]
        theirs = [pair for pair in found if not pair[0].note]
        first: dict[str, Finding] = {}  # of each dataset
        for study, said in theirs or found[:1]:
            notes = (study.note,) if study.note else ()
            first.setdefault(study.dataset, replace(said, notes=notes))
        return together(first.values())

    def _together(self, view: View) -> Finding | None:
        said = [(item.kind, item.judge(view, **item.fields)) for item in self.judged]
        lacking = {kind for kind, finding in said if finding is None}
        if view.phantom:
            lacking = lacking - OF_VALUES if self.needs == "all" else set()
        if lacking and self.needs != "any":
            return None
        found = together(finding for _, finding in said if finding is not None)
        gone = sum(
            item.size
            for item, (_, finding) in zip(self.judged, said, strict=True)
            if finding is None
        )
        share = found and (found.share[0], found.share[1] + gone)
        return found and replace(found, share=share)


def judge_all(ledger: Ledger) -> list[Judged]:
    """All claims in the order of the texts, each judged from its best rows."""
    views = [
        View(d for d in ledger.designs if (d.runs[0].source == "phantom") is phantom)
        for phantom in (False, True)
    ]
    built = {ours.chapter for cell in paper.cells() if (ours := counterpart(cell))}
    judged = []
    for claim in paper.claims():
        entry = entries().get(claim["id"])
        if entry is None or not entry.implemented(built):
            judged.append(Judged(claim, "", None, False))
            continue
        said = (entry.judge(view) for view in views)
        finding = next((one for one in said if one is not None), None)
        judged.append(Judged(claim, entry.part, finding, True))
    return judged


# --- reading the entries ------------------------------------------------------------


@cache
def entries() -> dict[str, Entry]:
    """The entries of `paper/claims.toml`, by claim."""
    path = Path(paper.__file__).with_name("claims.toml")
    return read(path.read_text(encoding="utf-8"))


def read(text: str) -> dict[str, Entry]:
    """Entries written as TOML; a wrong one is an InputError of one sentence."""
    known = {claim["id"] for claim in paper.claims()}
    given = tomllib.loads(text)
    found = {}
    for claim, fields in given.items():
        where = f"claims.toml, {claim}"
        if claim not in known:
            raise InputError(f"{where}: the texts make no claim of this name.")
        if fields.keys() == {"same_as"} and fields["same_as"] in given:
            fields = given[fields["same_as"]]
        _check(where, fields, Entry)
        if fields.get("needs", "all") not in ("all", "any"):
            raise InputError(f"{where}: needs is 'all' or 'any'.")
        items = [_item(where, item) for item in fields["judged"]]
        found[claim] = Entry(**fields | {"judged": items})
    return found


def _item(where: str, given: dict[str, Any]) -> Item:
    """One of the things in `judged`, its cells looked up."""
    fields = dict(given)
    kind = fields.pop("kind", "")
    where = f"{where}, {kind or 'no kind'}"
    if kind not in (*KINDS, "function"):
        raise InputError(f"{where}: the kinds are {', '.join(KINDS)} and function.")
    judge = KINDS.get(kind)
    if judge is None:
        judge, why = FUNCTIONS.get(fields.pop("name", "")), fields.pop("why", "")
        if not (judge and why):
            names = ", ".join(FUNCTIONS)
            raise InputError(f"{where}: it has a name (of {names}) and says why.")
    _check(where, fields, judge)
    cells = []
    for name in (one for one in CELLS if one in fields):
        written = fields[name] if isinstance(fields[name], list) else [fields[name]]
        found = [c for address in written for c in _cells(where, address, cells[:1])]
        if name in ONE and len(found) > 1:
            raise InputError(f"{where}: {name} names one cell, not {len(found)}.")
        fields[name] = found[0] if name in ONE else found
        cells += [] if name == "over" and fields.get("as_printed") else found
    return Item(kind, judge, fields, cells)


def _check(where: str, given: dict[str, Any], function: Callable) -> None:
    """Whether the fields fit the arguments of what takes them."""
    arguments = dict(inspect.signature(function).parameters)
    arguments.pop("view", None)
    for name, value in given.items():
        if name not in arguments:
            known = ", ".join(arguments)
            raise InputError(f"{where}: no field is called {name}; there are {known}.")
        kind = str | list if name in CELLS else arguments[name].annotation
        whole = type(value) is int and isinstance(float(value), kind)
        if not (whole or isinstance(value, kind)):
            raise InputError(f"{where}: {name} cannot be {value!r}.")
    for name, argument in arguments.items():
        if argument.default is argument.empty and name not in given:
            raise InputError(f"{where}: the field {name} is missing.")


def _cells(where: str, address: str, beside: list[Cell]) -> list[Cell]:
    """Printed cells at an address; a row key alone is one beside another cell."""
    for cell in beside if " " not in address else ():
        address = f"{cell.table} {address} {cell.metric}"
    if not (found := paper.find_cells(address)):
        raise InputError(f"{where}: {address!r} is not printed.")
    if "*" not in address and len(found) > 1:
        raise InputError(f"{where}: {address!r} is not one cell; name a setting.")
    return found
