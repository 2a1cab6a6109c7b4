"""Recorded runs: what `book/records/` keeps of runs too long for a reader's machine.

A few kilobytes of JSON: the run's record without its files, with hashes and rows in a
short form, and the command that repeats it. `report.recording` writes them from sealed
runs. The seal shows a changed digit; like that of a run it guards against accidents,
not against someone who computes a new one. Standard library only.
"""

import json
import shlex
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from thesislib import sources
from thesislib.errors import InputError
from thesislib.runs.record import FIELDS as RUN
from thesislib.runs.record import ROW, canonical, digest, seal_of

STATUS = "recorded"
SCHEMA = 1
DIGITS = 12  # of a module's SHA-256: enough to name what changed
PRECISION = 6  # significant digits of interval ends and standard errors
DROPPED = ("files", "modules", "sessions")  # of a run's record
FIELDS = {
    **{name: text for name, text in RUN.items() if name not in DROPPED},
    "status": '"recorded"',
    "package": '{"sha256": of all module hashes, "modules": room -> name -> digits}',
    "command": "what repeats the run",
    "run_seal": "seal of the run's own record",
    "rows_left_out": "rows that the run has and this record has not",
    "shared": "what all rows have in common",
    "rows": "[row, setting, [[numbers of `NUMBERS`], ...]], nulls at the end left out",
}
LATER = {"left_out"}  # fields that records of before do not have
# Of a row, the least often null first.
NUMBERS = ("metric", "value", "n", "ci_low", "ci_high", "error", "table", "published")
SHARED = tuple(name for name in ROW if name not in (*NUMBERS, "row", "setting"))
SECONDS = "wall_seconds"


def compact(
    run: Mapping[str, Any], errors: Mapping[int, float], *, published_only: bool = False
) -> dict[str, Any]:
    """The recorded form of a sealed run's record.

    Args:
        run: Its record.
        errors: DeLong standard error of the value of row number i, where it has one.
        published_only: Leave out rows without a published counterpart.

    Raises:
        InputError: If the rows are not those of one run, or none is left.
    """
    rows = [
        {**row, "error": errors.get(number)}
        for number, row in enumerate(run["rows"])
        if row["published"] is not None or not published_only
    ]
    if not rows:
        raise InputError(f"{run['folder']} has no row with a published counterpart.")
    shared = {name: rows[0][name] for name in SHARED}
    if any(row[name] != shared[name] for row in rows for name in SHARED):
        raise InputError(f"The rows of {run['folder']} differ in {', '.join(SHARED)}.")
    record = {name: value for name, value in run.items() if name not in DROPPED}
    record |= {
        "schema": SCHEMA,
        "status": STATUS,
        "stages": [_stage(stage) for stage in run["stages"]],
        "package": {
            "sha256": digest(run["modules"]),
            "modules": _rooms(run["modules"]),
        },
        "command": command(run),
        "run_seal": record.pop("seal"),
        "rows_left_out": len(run["rows"]) - len(rows),
        "shared": shared,
        "rows": [
            [row, json.loads(setting), [_numbers(one) for one in group]]
            for (row, setting), group in groupby(
                rows, key=lambda one: (one["row"], canonical(one["setting"]))
            )
        ],
    }
    if wrong := (FIELDS.keys() ^ record.keys()) - LATER:
        raise InputError(f"A record with missing or unknown {sorted(wrong)}.")
    return {**record, "seal": seal_of(record)}


def text(record: Mapping[str, Any]) -> str:
    """The file: a line a field and a line a row, so that changes can be read."""
    lines = [
        f"{canonical(name)}: {canonical(value)}"
        for name, value in record.items()
        if name not in ("rows", "seal")
    ]
    rows = ",\n ".join(canonical(row) for row in record["rows"])
    lines += [f'"rows": [\n {rows}\n]', f'"seal": {canonical(record["seal"])}']
    return "{\n" + ",\n".join(lines) + "\n}\n"


def problem(record: Any) -> str:
    """Why `record` is no intact recorded run, a phrase; "" if it is one."""
    if not isinstance(record, dict) or record.get("status") != STATUS:
        return "it is no recorded run; `thesislib runs record` writes one"
    if record.get("schema") != SCHEMA:
        return f"its form is {record.get('schema')!r}, this version reads {SCHEMA}"
    try:
        if record.get("seal") != seal_of(record):
            return "the seal does not fit, so the record was changed"
        expanded(record)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return "it has not the form of a recorded run"
    wrong = ((FIELDS.keys() | {"seal"}) ^ record.keys()) - LATER
    return f"fields are missing or unknown: {', '.join(sorted(wrong))}" if wrong else ""


def expanded(record: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded run in the form of a run's record; rows have an `error` besides.

    Its `modules` hold only the first digits of each hash.
    """
    rows = [
        {
            "row": row,
            "setting": setting,
            **record["shared"],
            **dict.fromkeys(NUMBERS),
            **dict(zip(NUMBERS, numbers, strict=False)),
        }
        for row, setting, group in record["rows"]
        for numbers in group
    ]
    return {**record, "rows": rows, "modules": modules(record)}


def modules(record: Mapping[str, Any]) -> dict[str, str]:
    """First digits of the hash of each module that the recorded run had imported."""
    return {
        ".".join(part for part in ("thesislib", room, name) if part): value
        for room, names in record["package"]["modules"].items()
        for name, value in names.items()
    }


def changed_modules(record: Mapping[str, Any]) -> list[str]:
    """Modules whose source on disk is not the one that the recorded run used."""
    now, names = {}, {}
    for module, value in modules(record).items():
        path = sources.path_of(module)
        now[module] = sources.sha256_file(path) if path.is_file() else ""
        names[module] = now[module].startswith(value)
    if digest(now) == record["package"]["sha256"]:
        return []
    return sorted(name for name, same in names.items() if not same) or sorted(names)


def command(run: Mapping[str, Any]) -> str:
    """The command that repeats a run, from the repository's folder.

    Parameters that were empty are left out. Of a folder of data only the last part
    is known, as records keep no more.
    """
    given = {**run["parameters"]["resolved"], **run["parameters"]["given"]}
    given["source"] = run["dataset"]["source"]
    for name in ("data_root", "device"):  # as asked for, not as found
        given[name] = run["parameters"]["given"].get(name, "")
    if given["data_root"]:
        given["data_root"] = f"path/to/{given['data_root']}"
    chapter = run["chapter"]
    name = run["folder"].rpartition("/")[2]
    words = ["papermill", f"chapters/{chapter}.ipynb"]
    words.append(f"book/runs/{chapter}--{name}.ipynb")
    for parameter, value in given.items():
        if value in ("", None, {}) or (parameter, value) == ("device", "auto"):
            continue
        shown = value if isinstance(value, str) else json.dumps(value)
        words += ["-p", parameter, shown]
    return shlex.join(words)


def file_name(run: Mapping[str, Any]) -> str:
    """`<chapter>--<name of the run's folder>.json`: one run, one name."""
    return f"{run['chapter']}--{Path(run['folder']).name}.json"


def hardware(record: Mapping[str, Any]) -> str:
    """Where it was computed: "NVIDIA H200" or the processor and its threads."""
    found = record["hardware"]
    if gpu := found.get("gpu"):
        return str(gpu)
    threads = record["threads"]
    processor = found.get("processor") or "processor unknown"
    return f"{processor}, {threads} thread{'s' * (threads != 1)}"


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in stage.items() if key != "cpu_seconds"}
    return {**kept, SECONDS: round(stage[SECONDS], 1)}


def _rooms(modules: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`{"augment": {"": digits, "colour": digits}}` of the package's modules."""
    rooms: dict[str, dict[str, str]] = {}
    for module, value in sorted(modules.items()):
        room, _, name = module.partition(".")[2].partition(".")
        rooms.setdefault(room, {})[name] = value[:DIGITS]
    return rooms


def _numbers(row: Mapping[str, Any]) -> list[Any]:
    found = [row[name] for name in NUMBERS]
    for index, name in enumerate(NUMBERS):
        if name in ("ci_low", "ci_high", "error") and found[index] is not None:
            found[index] = float(f"{found[index]:.{PRECISION}g}")
    while found[-1] is None:
        found.pop()
    return found
