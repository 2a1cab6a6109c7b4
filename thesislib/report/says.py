"""What a run, or its siblings over seeds, say: sentences from rows, losses first.

Each difference that the chapter declares, its method beside the best naive floor,
where it finds lesions worse than on an untrained encoder, variants of it that do
better, what becomes of it on small and contaminated training sets. A difference is the
run's own paired one where it states one. That a method loses or leads is said of 95 %
intervals that leave zero out; where it is behind or ahead by its value alone, that is
not for certain.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from thesislib.report import text
from thesislib.report.designs import Design, Result
from thesislib.report.implemented import contrasts
from thesislib.runs.record import quantity

LOSES, BEHIND, BEFORE, LEADS, PLAIN = range(5)  # in the order in which they are said
VERDICTS = {
    LOSES: "**{} loses to {}**",
    BEHIND: "{} is behind {}, not for certain",
    BEFORE: "{} is ahead of {}, not for certain",
    LEADS: "{} leads {}",
}
PLACES = ("iou", "dice", "pro")  # of lesions
VARIED = {"components", "variant", "strong", "num_classes", "batch_size"}  # settings
CLEAN = {"train_fraction": 1.0, "contamination": 0.0}
HARDEST = {"train_fraction": min, "contamination": max}


@dataclass(frozen=True)
class Sentence:
    """Something that rows say, in Markdown."""

    tone: int
    words: str


def say(design: Design) -> list[Sentence]:
    """All that the rows of a design say, where its method loses first."""
    named = contrasts(design.chapter)
    found = [
        *_declared(design, [pair for pair, first in named.items() if first]),
        *_floors(design, list(dict.fromkeys(row for row, _ in named))),
        *_places(design, named),
        *_trainings(design, named),
        *_variants(design),
    ]
    if not found:
        found = list(_plain(design))
    if not found:
        found = [Sentence(PLAIN, "No rows that are compared with each other.")]
    return sorted(found, key=lambda one: one.tone)


def markdown(design: Design) -> str:
    """The sentences as a list."""
    return "\n".join(f"- {one.words}" for one in say(design))


# --- sentences ----------------------------------------------------------------------


def _declared(design: Design, pairs: Iterable) -> Iterator[Sentence]:
    for row, minus in pairs:
        if found := _difference(design, row, minus):
            yield _compared(design, found, row, minus, text.row(minus))


def _floors(design: Design, own: list[str]) -> Iterator[Sentence]:
    """The first method beside the best floor; others only where they lose to it."""
    found = {row: _to_floors(design, row) for row in own}
    at_hand = [row for row in own if found[row]]
    tone = BEHIND
    for row in at_hand:
        naive = [key for key in found[row] if key not in text.LABELLED]
        told = [key for key in found[row] if key in text.LABELLED[:-1]]
        main = row == at_hand[0]
        for keys, what in (
            (naive, "the best naive floor"),
            (told if main else [], "a floor with labels"),
        ):
            if keys:
                floor = min(keys, key=lambda key: found[row][key].value)
                words = f"{what} ({text.FLOORS[floor]})"
                one = _compared(design, found[row][floor], row, floor, words)
                tone = one.tone if main and keys is naive else tone
                if (main and keys is naive) or one.tone in (LOSES, BEHIND):
                    yield one
    values = {row: _auroc(design, row) for row in _rows(design)}
    values = {row: one.value for row, one in values.items() if one}
    floors = [row for row in values if row in text.FLOORS and row not in text.LABELLED]
    methods = [row for row in values if row not in text.FLOORS]
    if floors and methods and at_hand:
        best, floor = max(methods, key=values.get), max(floors, key=values.get)
        if values[best] < values[floor]:
            yield Sentence(
                tone,
                "**No method here** reaches the best naive floor: the best, "
                f"{text.row(best)}, has {text.number(values[best])}, the floor "
                f"{text.number(values[floor])}.",
            )


def _to_floors(design: Design, row: str) -> dict[str, Result]:
    """A method minus each floor at hand."""
    differences = {floor: _difference(design, row, floor) for floor in text.FLOORS}
    return {floor: one for floor, one in differences.items() if one is not None}


def _places(design: Design, named: dict[tuple[str, str], bool]) -> Iterator[Sentence]:
    """Localisation on the chapter's encoder and on an untrained one, if that is better.

    The rows have no paired difference, so their intervals have to be apart.
    """
    for row, minus in named:
        if not minus.startswith("random-"):
            continue
        pairs = {m: (_own(design, row, m), _own(design, minus, m)) for m in PLACES}
        pairs = {m: both for m, both in pairs.items() if None not in both}
        if not (worse := [m for m, (a, b) in pairs.items() if a.value < b.value]):
            continue
        certain = any(
            a.ci_high is not None and b.ci_low is not None and a.ci_high < b.ci_low
            for a, b in (pairs[metric] for metric in worse)
        )
        tone = LOSES if certain else BEHIND
        shown = ", ".join(
            f"{text.metric(m)} {_number(pairs[m][0])} and {_number(pairs[m][1])}"
            for m in worse
        )
        yield Sentence(
            tone,
            f"In finding lesions {_verdict(tone, row, text.row(minus))}: {shown}.",
        )


def _trainings(design: Design, named: dict) -> Iterator[Sentence]:
    """The hardest small and the hardest contaminated training set."""
    for setting, clean in CLEAN.items():
        values = {
            row["setting"][setting]
            for stated in design.rows.values()
            for _, row in stated
            if setting in row["setting"]
        } - {clean}
        if not values:
            continue
        hardest = {setting: HARDEST[setting](values)}
        where = text.setting(hardest)
        for row, minus in (pair for pair, declared in named.items() if declared):
            keys = [_key(design, one, "auc", hardest) for one in (row, minus)]
            if None not in keys and (found := design.difference(*keys)):
                tone = _tone(found)
                words = _verdict(tone, row, f"{text.row(minus)} with {where}")
                yield Sentence(tone, f"{words}: difference {_signed(found)}.")
            keys = [_key(design, row, "auc", s) for s in (hardest, {setting: clean})]
            if None not in keys and (found := design.difference(*keys)):
                yield Sentence(
                    PLAIN,
                    f"From the whole clean training set to {where}, the AUROC of "
                    f"{text.row(row)} changes by {_signed(found)}.",
                )


def _variants(design: Design) -> Iterator[Sentence]:
    """Variants and ablations in which something else than the method itself is best."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for key, stated in design.rows.items():
        row = stated[0][1]
        name, _, where = row["metric"].partition("@")
        if quantity(name) == "auc" and where.partition("/")[2] in ("", "mean"):
            for kind in VARIED & row["setting"].keys():
                found.setdefault((row["row"], name, kind), []).append(key)
    for (row, metric, kind), keys in sorted(found.items()):
        values = {key: design.rows[key][0][1]["setting"][kind] for key in keys}
        whole = _key(design, row, metric, {})
        if kind == "components":  # all of them are the method
            whole = max(keys, key=lambda key: len(values[key]))
        results = {key: design.result(key) for key in {whole, *keys} - {None}}
        best = max(keys, key=lambda key: results[key].value)
        if whole is None or results[best].value <= results[whole].value:
            continue
        if one := design.difference(whole, best):
            other = text.setting({kind: values[best]})
            other = f"itself with {other}{' alone' * (kind == 'components')}"
            shown = " and ".join(text.number(results[k].value) for k in (whole, best))
            words = f"{_verdict(_tone(one), row, other)}: {text.metric(metric)} "
            words += f"{shown}, difference {_signed(one)}."
            yield Sentence(_tone(one), words)


def _plain(design: Design) -> Iterator[Sentence]:
    """The first AUROC, where nothing is compared."""
    for row in _rows(design):
        if found := _auroc(design, row):
            yield Sentence(PLAIN, f"{text.row(row)} has an AUROC of {_number(found)}.")
            return


# --- reading rows -------------------------------------------------------------------


def _compared(
    design: Design, found: Result, row: str, minus: str, other: str
) -> Sentence:
    tone = _tone(found)
    values = [_auroc(design, one) for one in (row, minus)]
    shown = ""
    if None not in values:
        shown = " and ".join(text.number(one.value) for one in values)
        shown = f"AUROC {shown}, "
    words = f"{_verdict(tone, row, other)}: {shown}difference {_signed(found)}."
    return Sentence(tone, words)


def _verdict(tone: int, row: str, other: str) -> str:
    return VERDICTS[tone].format(text.row(row), other)


def _tone(found: Result) -> int:
    if found.ci_low is None or found.ci_high is None:
        return BEHIND if found.value < 0 else BEFORE
    if found.ci_high < 0:
        return LOSES
    return LEADS if found.ci_low > 0 else BEHIND if found.value < 0 else BEFORE


def _signed(found: Result) -> str:
    """A difference, its interval, and every seed's own."""
    words = text.signed(found)
    if len(found.values) > 1:
        words += f" (seed by seed {', '.join(f'{v:+.3f}' for v in found.values)})"
    return words


def _number(found: Result) -> str:
    return f"{text.value(found)} {text.interval(found)}".removesuffix(" –")


def _rows(design: Design) -> dict[str, None]:
    return dict.fromkeys(stated[0][1]["row"] for stated in design.rows.values())


def _difference(design: Design, row: str, minus: str) -> Result | None:
    """The run's own paired difference of AUROCs, else the difference of two rows."""
    if found := _own(design, row, "auc difference", {"minus": minus}):
        return found
    keys = [_key(design, one, "auc", {}) for one in (row, minus)]
    return None if None in keys else design.difference(*keys)


def _auroc(design: Design, row: str) -> Result | None:
    return _own(design, row, "auc")


def _own(
    design: Design, row: str, quantity: str, setting: dict | None = None
) -> Result | None:
    key = _key(design, row, quantity, setting or {})
    return None if key is None else design.result(key)


def _key(design: Design, row: str, quantity: str, setting: dict) -> Any:
    """Key of a row of the whole dataset, whatever it starts from; the first stated."""
    for key, stated in design.rows.items():
        one = stated[0][1]
        name, _, where = one["metric"].partition("@")
        of_class = where.partition("/")[2] not in ("", "mean")
        own = {k: v for k, v in one["setting"].items() if k != "pretrain"}
        if (one["row"], name, own) == (row, quantity, setting) and not of_class:
            return key
    return None
