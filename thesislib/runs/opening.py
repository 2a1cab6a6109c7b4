"""The second cell of a chapter: from parameters to an open run."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thesislib.errors import InputError
from thesislib.runs import atomic, device, folder, parameters, provenance
from thesislib.runs import record as records
from thesislib.runs.overrides import plain
from thesislib.runs.run import Run
from thesislib.training import seeding

NOT_SETTINGS = ("device", "data_root", "overrides")  # configs hold the overrides


def start(
    kind: type[parameters.ChapterParameters],
    namespace: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Run:
    """Open the run that a chapter's parameters describe.

    Checks the parameters, finds the data without decoding them, sets threads and
    seeds, and opens the run's folder: new, resumed after a kill, or sealed before
    and reused. Prints one line that says which.

    Args:
        kind: The chapter's class of parameters.
        namespace: The notebook's `globals()`, or a dict of parameters.
        overwrite: Compute anew what is there; `THESIS_OVERWRITE=1` does the same. A
            sealed run stays until the new one is sealed.

    Raises:
        InputError: If a parameter is unknown or not allowed, the data are absent,
            another process is at work on the same run, or nothing can be written.
    """
    given = parameters.read(kind, namespace)
    threads = seeding.use_threads()
    hashes = given.file_hashes()
    chosen = device.resolve(given.device)
    seeding.be_deterministic(chosen)
    configs = given.resolved_configs()
    located = given.locate(configs)
    given.run_files()
    settings = {
        "parameters": _settings(given, located.source, hashes),
        "configs": provenance.private(plain(configs)),
        "fingerprint": located.fingerprint,
    }
    notebook = provenance.notebook_hash(given.chapter)
    name = folder.name(settings)
    opened = folder.open_folder(
        given.chapter, name, notebook, overwrite or _asked_by_environment()
    )
    record = opened.record
    if opened.state != folder.SEALED:
        earlier = record or {}
        record = {
            "schema": records.SCHEMA,
            "status": "running",
            "chapter": given.chapter,
            "folder": f"{given.chapter}/{name}",
            "parameters": {
                "given": _given(given, namespace),
                "resolved": _resolved(given, located.source, chosen),
            },
            "configs": settings["configs"],
            "seed": given.seed,
            "dataset": describe(located),
            "selection": "last",
            "packages": provenance.packages(),
            "git": provenance.git_state(),
            "modules": provenance.module_hashes(),
            "notebook": notebook,
            "hardware": provenance.hardware() | device.describe(chosen),
            "device": str(chosen),
            "threads": threads,
            "stages": list(opened.stages),
            "started": earlier.get("started") or now(),
            "finished": None,
            "sessions": earlier.get("sessions", 0) + 1,
            "rows": [],
            "files": {},
        }
        try:
            atomic.write_json(opened.work / "run.json", record)
        except InputError:
            opened.lock.release()
            raise
    print(f"Run {atomic.shown(opened.final)}: {opened.reason}.")
    seeding.seed_torch(given.seed, "start")
    return Run(given, configs, located, chosen, opened, record, settings)


def describe(data: Any) -> dict[str, Any]:
    """What a record says of the data, located or loaded."""
    return {
        "name": data.name,
        "source": data.source,
        "modality": data.modality,
        "counts": data.counts,
        "published_counts": data.published_counts,
        "partial": data.partial,
        "fingerprint": data.fingerprint,
        "provenance": provenance.private(plain(data.provenance)),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _settings(
    given: parameters.ChapterParameters, source: str, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Parameters that decide the result; of files, what they hold."""
    values = plain(given.model_dump())
    kept = {key: value for key, value in values.items() if key not in NOT_SETTINGS}
    if not given.methods:
        kept.pop("methods")
    return provenance.private({**kept, "source": source, **hashes})


def _resolved(
    given: parameters.ChapterParameters, source: str, chosen: Any
) -> dict[str, Any]:
    """Parameters as used, without the user's own folders."""
    values = provenance.private(plain(given.model_dump()))
    if not given.methods:
        values.pop("methods")
    root = Path(given.data_root).name if given.data_root else ""
    if not root:
        root = "$THESIS_DATA" if os.environ.get("THESIS_DATA") else "data"
    return {**values, "source": source, "device": str(chosen), "data_root": root}


def _given(
    given: parameters.ChapterParameters, namespace: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters as they stood in the notebook, without the user's own folders."""
    values = {
        name: plain(namespace[name])
        for name in type(given).model_fields
        if name in namespace
    }
    if "overrides" in values:
        values["overrides"] = plain(given.overrides)
    if given.data_root:
        values["data_root"] = Path(given.data_root).name
    return provenance.private(values)


def _asked_by_environment() -> bool:
    value = os.environ.get("THESIS_OVERWRITE", "")
    if value not in ("", "0", "1"):
        raise InputError(f"THESIS_OVERWRITE is {value!r}; it must be 1, 0 or unset.")
    return value == "1"
