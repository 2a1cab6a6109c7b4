"""Claims of chapter 6 about its protocol and settings.

They are judged from what runs state of themselves, not from how good the numbers are,
so a single run settles them, whatever its seed.
"""

from collections.abc import Iterator
from typing import Any

from thesislib.report import text
from thesislib.report.claims import FAILS, HOLDS, UNDECIDED, Finding, View, claim
from thesislib.report.designs import Design
from thesislib.runs.record import quantity

CHAPTER, ROW = "06_igd", "igd"
THRESHOLD = 0.5
SAME = 1e-9
COUNTS = {"train normal": 3_629, "test normal": 467, "test abnormal": 1_258}
OF_IGD = {
    "rho": 0.15,
    "lambda_1": 1.0,
    "lambda_2": 1.0,
    "lambda_3": 0.1,
    "lr": 1e-4,
    "batch_size": 64,
    "epochs": 256,
    "num_steps": None,  # they would count instead of epochs
}
SETTINGS: dict[str, dict[str, Any]] = {  # config of a run -> what Section 6.4.2 says
    "igd": OF_IGD,
    "local": OF_IGD,
    "pmsacl": {"batch_size": 32, "epochs": 2_000, "num_steps": None},  # as the SSL
    "distillation": {"batch_size": 64, "num_steps": 50_000},
}
NEEDED = {
    "igd": "IGD",
    "pmsacl": "the SSL",
    "distillation": "the distillation",
}  # without which the claim is open


def _industrial(view: View) -> Iterator[Design]:
    """Runs on MVTec AD itself."""
    for design in view.designs:
        if (design.chapter, design.dataset) == (CHAPTER, "mvtec") and not view.phantom:
            yield design


@claim("C6-16")
def accuracy_at_one_half(view: View) -> Finding | None:
    """IGD's accuracy rows are what the stored scores give at 0.5."""
    checked, others = 0, []
    for design in _industrial(view):
        for run, row in (pair for stated in design.rows.values() for pair in stated):
            if row["row"] != ROW or quantity(row["metric"]) != "accuracy":
                continue
            again = run.accuracy(row, THRESHOLD)
            if again is None:
                continue
            checked += 1
            if abs(again - row["value"]) > SAME:
                others.append(f"{text.metric(row['metric'])} has {row['value']:.4f}")
    if not checked:
        return None
    detail = f"{checked - len(others)} of {checked} rows are the accuracy at 0.5"
    if others:
        detail += f"; {others[0]}"
    return Finding(FAILS if others else HOLDS, detail, ())


@claim("C6-22", part="IGD, its SSL and the distillation; not the kind of optimiser")
def settings(view: View) -> Finding | None:
    """The configurations of runs with the thesis's settings are the printed ones."""
    seen: set[str] = set()
    others = []
    for design in view.designs:
        first = design.runs[0]
        own = first.preset != "paper" or first.overrides
        if design.chapter != CHAPTER or own:
            continue
        for name, claimed in SETTINGS.items():
            if (found := first.record["configs"].get(name)) is None:
                continue
            seen.add(name)
            others += [
                f"{name}.{key} is {found.get(key)} (claimed {value})"
                for key, value in claimed.items()
                if found.get(key, ...) != value
            ]
    if not seen:
        return None
    missing = [what for name, what in NEEDED.items() if name not in seen]
    detail = f"compared: {', '.join(sorted(seen))}; "
    detail += ", ".join(dict.fromkeys(others)) or "all as printed"
    notes = tuple(f"no run of {what}" for what in missing)
    return Finding(FAILS if others else HOLDS, detail, (), notes)


@claim("C6-23", part="numbers of images")
def images(view: View) -> Finding | None:
    """What lies in the folder of the runs; fewer images than claimed decide nothing."""
    for design in sorted(_industrial(view), key=lambda one: one.runs[0].partial):
        first = design.runs[0]
        counts = first.record["dataset"]["counts"]
        found = {name: counts.get(name, 0) for name in COUNTS}
        state = UNDECIDED
        if found == COUNTS:
            state = HOLDS
        elif any(found[name] > number for name, number in COUNTS.items()):
            state = FAILS
        detail = ", ".join(
            f"{found[name]:,} {name} (claimed {number:,})"
            for name, number in COUNTS.items()
        )
        return Finding(state, detail, (), ("partial data",) if first.partial else ())
    return None
