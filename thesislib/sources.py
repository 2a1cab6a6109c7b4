"""The package's own source files by hash: which a run used, and which changed since.

What a room cannot change need not be computed again when the room changes.
"""

import hashlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
BESIDE_ARRAYS = (  # rooms that cannot change an array
    *("", "errors", "paths", "atomic", "sources"),
    *("paper", "runs", "report", "scoring", "book", "cli"),
)
BESIDE_NUMBERS = (*BESIDE_ARRAYS, "figures")  # nor a number of a record
BESIDE_WEIGHTS = (*BESIDE_NUMBERS, "metrics")  # nor weights

_seen: dict[str, str] = {}  # module -> hash when first asked, near its import


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imported() -> dict[str, str]:
    """SHA-256 of the source of each `thesislib` module imported so far.

    A module keeps the hash it had when it was first seen, because an edit during
    a run does not change the code that runs.
    """
    for name in sorted(sys.modules):
        if name not in _seen and name.partition(".")[0] == "thesislib":
            path = path_of(name)
            if path.is_file():
                _seen[name] = sha256_file(path)
    return dict(sorted(_seen.items()))


def beside(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether the module `thesislib.<room>...` lies in one of `rooms`."""
    return f"{module}.".split(".")[1] in rooms


def without(rooms: tuple[str, ...]) -> dict[str, str]:
    """`imported` without the modules of some rooms."""
    return {
        name: value for name, value in imported().items() if not beside(name, rooms)
    }


def path_of(module: str) -> Path:
    """File of the `thesislib` module named `module`, whether it exists or not."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def changed(recorded: dict[str, str], *, on_disk: bool = False) -> list[str]:
    """Names in `recorded` whose source is now another, or gone.

    Args:
        recorded: Module name -> SHA-256, as `imported` gave it.
        on_disk: Compare with the files of now, not with what this process runs.
    """
    now = {} if on_disk else imported()
    found = []
    for name, value in sorted(recorded.items()):
        path = path_of(name)
        current = now.get(name) or (sha256_file(path) if path.is_file() else None)
        if current != value:
            found.append(name)
    return found
