"""Claims about settings and numbers of images, judged from what runs state.

They say nothing of how good the numbers are, so a single run settles them, whatever
its seed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from thesislib.report.claims import FAILS, HOLDS, UNDECIDED, Finding, View
from thesislib.report.designs import Design


def real_runs(view: View, chapter: str, dataset: str) -> Iterator[Design]:
    """Runs on a dataset itself, whole copies of it before partial ones."""
    if not view.phantom:
        found = [
            d for d in view.designs if (d.chapter, d.dataset) == (chapter, dataset)
        ]
        yield from sorted(found, key=lambda design: design.runs[0].partial)


def every_row(faults: Iterable[str | None], as_claimed: str) -> Finding | None:
    """Are all rows as claimed? None if there are none.

    Args:
        faults: What is wrong with a row, None if nothing is; one a row.
        as_claimed: What the rows are that have no fault.
    """
    checked = list(faults)
    if not checked:
        return None
    others = [fault for fault in checked if fault is not None]
    detail = f"{len(checked) - len(others)} of {len(checked)} rows {as_claimed}"
    if others:
        detail += f"; {others[0]}"
    return Finding(FAILS if others else HOLDS, detail, ())


def printed_settings(
    view: View,
    chapter: str,
    claimed: Mapping[str, Mapping[str, Any]],
    needed: Mapping[str, str],
) -> Finding | None:
    """Are the configurations of runs with the thesis's settings the printed ones?

    Args:
        claimed: Config of a run -> setting -> what the text says.
        needed: Config without which the claim is open -> what to call it.
    """
    seen: set[str] = set()
    others = []
    for design in view.designs:
        first = design.runs[0]
        own = first.preset != "paper" or first.overrides
        if design.chapter != chapter or own:
            continue
        for name, settings in claimed.items():
            if (found := first.record["configs"].get(name)) is None:
                continue
            seen.add(name)
            others += [
                f"{name}.{key} is {found.get(key)} (claimed {value})"
                for key, value in settings.items()
                if found.get(key, ...) != value
            ]
    if not seen:
        return None
    missing = [what for name, what in needed.items() if name not in seen]
    detail = f"compared: {', '.join(sorted(seen))}; "
    detail += ", ".join(dict.fromkeys(others)) or "all as printed"
    notes = tuple(f"no run of {what}" for what in missing)
    return Finding(FAILS if others else HOLDS, detail, (), notes)


def numbers_of_images(
    view: View, chapter: str, dataset: str, claimed: Mapping[str, int]
) -> Finding | None:
    """Does the folder of the runs hold these images? Fewer decide nothing."""
    design = next(real_runs(view, chapter, dataset), None)
    if design is None:
        return None
    first = design.runs[0]
    counts = first.record["dataset"]["counts"]
    found = {name: counts.get(name, 0) for name in claimed}
    state = UNDECIDED
    if found == dict(claimed):
        state = HOLDS
    elif any(found[name] > number for name, number in claimed.items()):
        state = FAILS
    detail = ", ".join(
        f"{found[name]:,} {name} (claimed {number:,})"
        for name, number in claimed.items()
    )
    return Finding(state, detail, (), ("partial data",) if first.partial else ())
