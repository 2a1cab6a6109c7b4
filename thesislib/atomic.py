"""Writing files so that a kill, a full disk or Ctrl-C never leaves half of one.

A file is written under a temporary name beside its place, flushed to the disk,
then moved with one `os.replace`, which POSIX and Windows make indivisible.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from thesislib import paths
from thesislib.errors import InputError

SUFFIX = ".tmp"  # what a killed process may leave; `clean` removes it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; move it onto `path` when the block succeeds.

    The block only writes the file: each `OSError` in it is reported as a failed
    write, and what was at `path` before stays as it was.

    Raises:
        InputError: If the file cannot be written, with the system's reason.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # a folder out of reach is reported above
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8 with `\\n` line ends, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is an error."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def clean(folder: Path) -> None:
    """Remove temporary files that a killed process left in or below `folder`."""
    for path in folder.rglob(f".*{SUFFIX}"):
        path.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> InputError:
    """One sentence for a failed write, with what to do about it."""
    reason = error.strerror or str(error)
    advice = "make the folder writable or set THESIS_RESULTS to another"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space and start the same command again, it resumes"
    return InputError(f"{shown(path)} could not be written ({reason}); {advice}.")


def shown(path: Path) -> str:
    """`path` as messages and records show it: never with the user's own folders.

    Relative to the repository if it lies there, else its last two parts.
    """
    path = Path(os.path.abspath(path))
    try:
        return path.relative_to(paths.root()).as_posix()
    except ValueError:  # InputError is one: no repository, or outside of it
        return "/".join(("…", *path.parts[-2:]))


def _sync_folder(folder: Path) -> None:
    """Make the move itself survive a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
