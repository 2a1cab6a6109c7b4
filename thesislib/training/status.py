"""What a run does, told to the process that started it.

Snakemake runs several chapters at a time, each in a kernel whose output belongs to its
notebook. So each writes JSON lines into a file of its own, `$THESIS_STATUS`, and
`report/terminal.py` reads them all. Without that variable nothing is written.

Events: `starts` (its process and machine), `stage` and `stage_ended` (a name),
`label`, `done`, `total` (a progress line; a label of None ends it), `ends` (how).

Standard library only.
"""

import json
import os
import time

VARIABLE = "THESIS_STATUS"


def is_watched() -> bool:
    """Whether another process shows what this run does."""
    return VARIABLE in os.environ


def tell(**event: object) -> bool:
    """Add an event with its time; whether anyone will read it."""
    if not is_watched():
        return False
    line = json.dumps({"at": time.time(), **event})
    try:
        with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError:
        return False
    return True
