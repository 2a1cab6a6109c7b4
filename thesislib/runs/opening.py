"""The second cell of a chapter: from parameters to an open run."""

import os
from collections.abc import Mapping
from typing import Any

from thesislib import atomic, sources
from thesislib.errors import InputError
from thesislib.runs import device, folder, parameters, provenance, stated
from thesislib.runs import record as records
from thesislib.runs.overrides import plain
from thesislib.runs.run import Run
from thesislib.training import seeding


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
        "parameters": stated.settings(given, located.source, hashes),
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
                "given": stated.given(given, namespace),
                "resolved": stated.resolved(given, located.source, chosen),
            },
            "configs": settings["configs"],
            "seed": given.seed,
            "dataset": stated.data(located),
            "selection": "last",
            "packages": provenance.packages(),
            "git": provenance.git_state(),
            "modules": sources.imported(),
            "notebook": notebook,
            "hardware": provenance.hardware() | device.describe(chosen),
            "device": str(chosen),
            "threads": threads,
            "stages": list(opened.stages),
            "started": earlier.get("started") or records.now(),
            "finished": None,
            "sessions": earlier.get("sessions", 0) + 1,
            "rows": [],
            "left_out": {},
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


def _asked_by_environment() -> bool:
    value = os.environ.get("THESIS_OVERWRITE", "")
    if value not in ("", "0", "1"):
        raise InputError(f"THESIS_OVERWRITE is {value!r}; it must be 1, 0 or unset.")
    return value == "1"
