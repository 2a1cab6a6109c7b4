"""One judge for each kind of claim in `paper/claims.toml`.

A judge takes a view and the fields of an entry, of which those that name printed cells
come as cells; it says what our rows say, or None where rows are lacking. Its arguments
are the fields that the kind has. Phantoms can confirm the direction of a gain; of its
size, and of values, spreads and bounds, they say nothing.

Claims about protocols and settings are judged from what runs state of themselves
(settings, counts, stored scores); one run settles them, whatever its numbers.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from thesislib import paper
from thesislib.paper import Cell
from thesislib.report import text
from thesislib.report.designs import Result
from thesislib.report.findings import (
    DIRECTION,
    FAILS,
    HOLDS,
    UNDECIDED,
    Finding,
    View,
    together,
)
from thesislib.report.ledger import delta, placement
from thesislib.report.records import Run
from thesislib.runs.record import quantity

SAME = 1e-9  # of two accuracies
PLACED = {"reproduced": HOLDS, "undecided": UNDECIDED}  # all else: fails


# --- gains and orders ---------------------------------------------------------------


def gain(
    view: View,
    of: list[Cell],
    over: Cell,
    as_printed: bool = False,
    size: float | list | dict | None = None,
    at_least: float | None = None,
    called: str = "",
) -> Finding | None:
    """By how much is each cell at hand better than another one?"""
    parts = []
    for cell, result, words in _differences(view, of, over, as_printed, called):
        window, claimed = None, ": a gain"
        if at_least is not None:
            window, claimed = (at_least, math.inf), f" {at_least:+.3f}"
        elif size is not None:
            one = _on(result, size)
            ends = one if isinstance(one, list) else [one]
            window = ends[0] - delta(cell), ends[-1] + delta(cell)
            form = "{:+}" if called else "{:+.3f}"
            claimed = " " + " to ".join(form.format(end) for end in ends)
        detail = f"{words} (claimed{claimed})"
        parts.append(Finding(gain_state(result, window), detail, (result,)))
    return _of(parts, len(of))


def gain_state(result: Result, window: tuple[float, float] | None = None) -> str:
    """State of a gain claimed to lie in a window, or of any gain if that is None."""
    low, high = result.ci_low, result.ci_high
    if low is None or high is None:
        return UNDECIDED
    if high <= 0:
        return FAILS
    if window and result.source != "phantom" and window[0] <= low and high <= window[1]:
        return HOLDS
    if low > 0:
        return DIRECTION if window else HOLDS
    return UNDECIDED


def order(view: View, first: Cell, before: list[Cell]) -> Finding | None:
    """Is one cell better than each of others, by whatever size?"""
    found = [gain(view, [first], other) for other in before]
    return None if None in found else together(found)


def bound(
    view: View,
    of: list[Cell],
    over: Cell,
    claimed: str,
    at_most: float | dict,
    at_least: float = -math.inf,
    either_way: bool = False,
    tolerance: float = 0.0,
    as_printed: bool = False,
    called: str = "",
) -> Finding | None:
    """Does each cell at hand minus another one lie within bounds? On real data."""
    parts = []
    found = _differences(view, of, over, as_printed, called)
    for _, result, words in () if view.phantom else found:
        high = _on(result, at_most) + tolerance
        low = -high if either_way else at_least - tolerance
        detail = f"{words} (claimed {claimed.format(high)})"
        parts.append(Finding(_between(result, low, high), detail, (result,)))
    return _of(parts, len(of))


def _of(parts: list[Finding], number: int) -> Finding | None:
    """Findings on those of a number of cells that are at hand, as one."""
    return replace(together(parts), share=(len(parts), number)) if parts else None


def _differences(
    view: View, of: list[Cell], over: Cell, as_printed: bool, called: str
) -> Iterator[tuple[Cell, Result, str]]:
    """Cells at hand, less another one of ours or less a printed one, and in words."""
    for cell in of:
        if not as_printed:
            found = view.difference([cell], [over])
        elif found := view.value(cell):
            found = _less(found, over.value)
        if found is not None:
            metric = text.metric(cell.quantity if as_printed else cell.metric)
            words = f"{called or metric} on {_name(found)}: "
            if not called:
                words += f"{cell.method} minus {over.method} "
                words += "as printed " if as_printed else ""
            yield cell, found, words + text.signed(found)


def _less(result: Result, number: float) -> Result:
    """A result less a number that is taken as exact."""
    low, high = result.ci_low, result.ci_high
    return replace(
        result,
        value=result.value - number,
        ci_low=None if low is None else low - number,
        ci_high=None if high is None else high - number,
        values=tuple(value - number for value in result.values),
    )


def _between(result: Result, low: float, high: float) -> str:
    if result.ci_low is None or result.ci_high is None:
        return UNDECIDED
    if low <= result.ci_low and result.ci_high <= high:
        return HOLDS
    return FAILS if result.ci_high < low or result.ci_low > high else UNDECIDED


def _on(result: Result, number: Any) -> Any:
    """A claimed number; of several by dataset the result's own or else the first."""
    if isinstance(number, dict):
        return number.get(result.dataset, next(iter(number.values())))
    return number


def _name(result: Result) -> str:
    return text.DATASETS.get(result.dataset, result.dataset)


# --- values -------------------------------------------------------------------------


def value(view: View, cells: list[Cell], said: float | None = None) -> Finding | None:
    """Claimed values, each judged as the ledger judges its cell."""
    parts = []
    for cell in cells:
        claimed = cell if said is None else replace(cell, value=said)
        if (result := view.value(cell)) is None:
            return None
        detail = (
            f"{text.metric(cell.metric)} on {_name(result)}: {text.value(result)} "
            f"{text.interval(result)} (claimed {text.published(claimed)})"
        )
        state = PLACED.get(placement(claimed, result), FAILS)
        parts.append(Finding(state, detail, (result,)))
    return together(parts)


def spread(view: View, cells: list[Cell], low: float, high: float) -> Finding | None:
    """Does the deviation over seeds lie between two numbers, for cells at hand?"""
    parts = []
    for cell in cells:
        if (result := view.value(cell)) is not None:
            detail = (
                f"{text.metric(cell.metric)} on {_name(result)} "
                f"{text.number(result.value, 4)} {text.interval(result, 4)}"
            )
            parts.append(Finding(_between(result, low, high), detail, (result,)))
    return _of(parts, len(cells))


# --- the best of several ------------------------------------------------------------


def best_of(
    view: View,
    chapter: str,
    metric: str,
    setting: str,
    best: object,
    among: list,
    enough: int,
    row: str = "",
    dataset: str = "",
) -> Finding | None:
    """Is a metric best at one value of a setting, or for one of several rows?

    Over rows of one design that no table prints. It fails if another value's interval
    lies above the best's; it holds if the best's lies above every other's.
    """
    for design in view.designs:
        one, found = View([design]), {}
        for name in among:
            own = (name, {}) if setting == "row" else (row, {setting: name})
            result = one.own(chapter, own[0], metric, dataset, **own[1])
            found |= {name: result} if result is not None else {}
        if best in found and len(found) >= enough:
            break
    else:
        return None
    top, others = found[best], [r for name, r in found.items() if name != best]
    if any(result.ci_low is None for result in found.values()):
        state = UNDECIDED
    elif any(other.ci_low > top.ci_high for other in others):
        state = FAILS
    else:
        behind = all(top.ci_low > other.ci_high for other in others)
        state = HOLDS if behind else UNDECIDED
    numbers = [f"{n} {text.value(r)} {text.interval(r)}" for n, r in found.items()]
    detail = f"{text.metric(metric)} by {setting}: {', '.join(numbers)}"
    return Finding(state, detail, tuple(found.values()), (), (len(found), len(among)))


def best_in(view: View, of: list[Cell], claimed: int) -> Finding | None:
    """In how many classes is ours best or shares the first place?

    A class is won if our interval lies at or above every other method's printed number,
    lost if it lies below the best of them; where several of our rows are named, one
    that wins is enough. Read as *in so many or more*. Only where all are at hand.
    """
    classes: dict[str, list[Cell]] = {}
    for cell in of:
        classes.setdefault(cell.part, []).append(cell)
    results, by_value, won, lost = [], 0, 0, 0
    for cells in classes.values():
        best = _best_other(cells[0]).value
        found = [view.value(cell) for cell in cells]
        gains = [_less(result, best) for result in found if result is not None]
        if not gains:
            return None
        results += gains
        by_value += any(one.value >= 0 for one in gains)
        won += any(one.ci_low is not None and one.ci_low >= 0 for one in gains)
        lost += all(one.ci_high is not None and one.ci_high < 0 for one in gains)
    most = len(classes) - lost
    detail = (
        f"best {text.metric(of[0].quantity)} in {by_value} of {len(classes)} classes "
        f"by value, {won} for certain, {most} at most (claimed {claimed})"
    )
    state = FAILS if most < claimed else HOLDS if won >= claimed else UNDECIDED
    return Finding(state, detail, tuple(results))


def _best_other(mine: Cell, setting: dict | None = None) -> Cell | None:
    """The best printed number of another method in a cell's column."""
    column = [
        cell
        for cell in paper.cells(mine.table)
        if cell.metric == mine.metric and cell.row != mine.row
        if setting in (None, cell.setting)
    ]
    return max(column, key=lambda cell: cell.value, default=None)


# --- protocols and settings ---------------------------------------------------------


def protocol(view: View, chapter: str, dataset: str, images: dict) -> Finding | None:
    """Does the folder of the runs hold these images? Fewer decide nothing."""
    if not (designs := view.real(chapter, dataset)):
        return None
    first = designs[0].runs[0]
    counts = first.record["dataset"]["counts"]
    found = {name: counts.get(name, 0) for name in images}
    more = any(found[name] > number for name, number in images.items())
    state = FAILS if more else HOLDS if found == images else UNDECIDED
    detail = ", ".join(
        f"{found[name]:,} {name} (claimed {number:,})"
        for name, number in images.items()
    )
    return Finding(state, detail, (), ("partial data",) if first.partial else ())


def setting(
    view: View, chapter: str, configs: dict, needed: dict | None = None
) -> Finding | None:
    """Are the configurations of runs with the thesis's settings the printed ones?"""
    seen: set[str] = set()
    others = []
    for design in view.designs:
        first = design.runs[0]
        own = first.preset != "paper" or first.overrides
        stated = first.record["configs"]
        for name in () if design.chapter != chapter or own else configs:
            if stated.get(name) is None:
                continue
            seen.add(name)
            for key, number in configs[name].items():
                claimed = None if number == "none" else number
                if stated[name].get(key, ...) != claimed:
                    found = stated[name].get(key)
                    others.append(f"{name}.{key} is {found} (claimed {claimed})")
    if not seen:
        return None
    detail = f"compared: {', '.join(sorted(seen))}; "
    detail += ", ".join(dict.fromkeys(others)) or "all as printed"
    lacking = [what for name, what in (needed or {}).items() if name not in seen]
    notes = tuple(f"no run of {what}" for what in lacking)
    return Finding(FAILS if others else HOLDS, detail, (), notes)


# --- claims that fit no kind; each entry says why -----------------------------------


def most_blocks(view: View, of: list[Cell]) -> Finding | None:
    """Most cells at hand lie above the best other method from the same start."""
    found = []
    for cell in of:
        other, result = _best_other(cell, cell.setting), view.value(cell)
        if other is not None and result is not None:
            result = _less(result, other.value)
            words = f"{_name(result)} from {cell.setting['pretrain']}: "
            words += f"{text.signed(result)} over {other.method}"
            found.append(Finding(gain_state(result), words, (result,)))
    if not found:
        return None
    states = [one.state for one in found]
    won, lost = (2 * states.count(state) for state in (HOLDS, FAILS))
    state = FAILS if lost >= len(states) else UNDECIDED
    state = HOLDS if won > len(states) else state
    return replace(_of(found, len(of)), state=state)


def falls_more(view: View, of: list[Cell], others: list[Cell]) -> Finding | None:
    """Do other rows fall by more than ours? `of`, `others`: from, to, from, to."""
    start, end = of
    parts = []
    for first, last in zip(others[::2], others[1::2], strict=True):
        result = view.difference([first, end], [last, start])
        if result is not None:
            words = f"fall of {first.method} minus that of IGD on {_name(result)}: "
            words += f"{text.signed(result)} (claimed more)"
            parts.append(Finding(gain_state(result), words, (result,)))
    return _of(parts, len(others) // 2)


def images_left_out(
    view: View, chapter: str, tables: list, parts: dict, images: int
) -> Finding | None:
    """Do rows count all test images of a class but so many?"""

    def fault(run: Run, row: dict) -> str | None:
        if row["table"] not in tables or row["metric"] not in parts:
            return None
        part = parts[row["metric"]]
        drawn = run.record["dataset"]["counts"][part] - row["n"]
        words = f"{drawn} of {part} are drawn on {text.DATASETS[run.dataset]}"
        return words if drawn != images else ""

    datasets = [paper.table(table)["dataset"] for table in tables]
    return _every_row(view, chapter, datasets, fault, f"leave {images} images out")


def accuracy_at(
    view: View, chapter: str, dataset: str, row: str, threshold: float
) -> Finding | None:
    """Are the accuracies of a row what the stored scores give at a threshold?"""

    def fault(run: Run, stated: dict) -> str | None:
        if stated["row"] != row or quantity(stated["metric"]) != "accuracy":
            return None
        if (again := run.accuracy(stated, threshold)) is None:
            return None
        words = f"{text.metric(stated['metric'])} has {stated['value']:.4f}"
        return words if abs(again - stated["value"]) > SAME else ""

    words = f"are the accuracy at {threshold}"
    return _every_row(view, chapter, [dataset], fault, words)


def _every_row(
    view: View,
    chapter: str,
    datasets: list[str],
    fault: Callable[[Run, dict], str | None],
    as_claimed: str,
) -> Finding | None:
    """Are all rows as claimed? `fault`: in words, "", or None for other rows."""
    designs = [one for dataset in datasets for one in view.real(chapter, dataset)]
    rows = [row for design in designs for row in design.rows.values()]
    said = [fault(run, row) for stated in rows for run, row in stated]
    found = [words for words in said if words is not None]
    if not found:
        return None
    faults = [words for words in found if words]
    detail = f"{len(found) - len(faults)} of {len(found)} rows {as_claimed}"
    detail += f"; {faults[0]}" if faults else ""
    return Finding(FAILS if faults else HOLDS, detail)


Judge = Callable[..., Finding | None]


def _by_name(*judges: Judge) -> dict[str, Judge]:
    return {judge.__name__.replace("_", " "): judge for judge in judges}


KINDS = _by_name(gain, order, bound, value, spread, best_of, best_in)
KINDS |= _by_name(protocol, setting)
FUNCTIONS = _by_name(most_blocks, falls_more, images_left_out, accuracy_at)
