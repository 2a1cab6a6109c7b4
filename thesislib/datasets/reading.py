"""Reading many files: in how many threads, and how progress is told."""

import os
from collections.abc import Callable

from thesislib.errors import InputError

Progress = Callable[[int, int], None]  # called with (done, total)


def num_threads() -> int:
    """Threads for reading files: `$THESIS_THREADS`, else the processors, 2 to 16."""
    if given := os.environ.get("THESIS_THREADS"):
        if not given.isdigit() or not int(given):
            raise InputError(
                f"THESIS_THREADS is {given!r}, but must be a whole number above 0."
            )
        return int(given)
    return min(max(2, os.cpu_count() or 2), 16)
