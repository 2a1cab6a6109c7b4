"""Decoded arrays on disk, addressed by content, never half-written.

An entry is one `.npy` file an array, to be mapped into memory, and one `.json` file
that is written last: checksums, and a note of what was skipped. An entry counts only
if all of it is there and every checksum agrees; else it is built again.
"""

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thesislib.datasets.reading import num_threads
from thesislib.errors import InputError

_BLOCK = 1 << 26  # bytes a checksum

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Entry:
    """Place of one cache entry: arrays by name, and a note of plain values."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def read(self) -> tuple[dict[str, np.ndarray], dict] | None:
        """Arrays, mapped copy-on-write, and note; None if absent or damaged."""
        try:
            record = json.loads(self._path("json").read_text(encoding="utf-8"))
            arrays = {}
            for name, checksums in record["crc32"].items():
                path = self._path(f"{name}.npy")
                if _checksums(path) != checksums:
                    return None
                arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False)
            return arrays, record["note"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @contextmanager
    def writer(self) -> Iterator["Writer"]:
        """Write the entry; it becomes visible at the end, or not at all.

        Raises:
            InputError: If the disk is full or the folder cannot be written.
        """
        writer = Writer(self)
        try:
            yield writer
            writer.commit()
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            writer.discard()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold off other builders of this entry; the system frees it on a kill.

        Without file locks (Windows, some network drives) builders may repeat each
        other's work, which is harmless: they write the same bytes.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self._path("lock").open("ab")
        except OSError as error:
            raise self._cannot_write(error) from error
        with file:
            if fcntl:
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
                    self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what killed builders left; the caller holds the lock."""
        for path in self.folder.glob(f"{self.key}.*.tmp"):
            path.unlink(missing_ok=True)

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.key}.{suffix}"

    def _cannot_write(self, error: OSError) -> InputError:
        full = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
        reason = "the disk is full" if error.errno in full else error.strerror
        return InputError(
            f"Decoded images cannot be kept in {self.folder}: {reason}; free space "
            "there or set THESIS_CACHE to another folder."
        )


class Writer:
    """Arrays of one entry under temporary names, filled from front to back."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.note: dict = {}
        self._open: dict[str, _Growing] = {}

    def reserve(self, num_bytes: int) -> None:
        """Check beforehand that so many bytes fit.

        Raises:
            OSError: ENOSPC if they do not; `Entry.writer` says so in a sentence.
        """
        self.entry.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.entry.folder).free < num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def append(self, name: str, array: np.ndarray) -> None:
        """Add one row, (...), to an array that becomes (rows, ...)."""
        self.extend(name, array[None])

    def extend(self, name: str, rows: np.ndarray) -> None:
        """Add rows, (R, ...), to an array that becomes (rows, ...)."""
        if name not in self._open:
            path = self.entry._path(f"{name}.{os.getpid()}.tmp")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = _Growing(path, rows.shape[1:], rows.dtype)
        self._open[name].extend(rows)

    def commit(self) -> None:
        """Move the arrays into place, then the record that makes them count."""
        checksums = {}
        for name, growing in self._open.items():
            growing.close()
            checksums[name] = _checksums(growing.path)
        record = self._record()
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("w", encoding="utf-8") as file:
            json.dump({"crc32": checksums, "note": self.note}, file)
            _to_disk(file)
        for name, growing in self._open.items():
            os.replace(growing.path, self.entry._path(f"{name}.npy"))
        os.replace(record, self.entry._path("json"))

    def discard(self) -> None:
        """Remove the temporary files that are still there."""
        for growing in self._open.values():
            with suppress(OSError):
                growing.file.close()
            growing.path.unlink(missing_ok=True)
        self._record().unlink(missing_ok=True)

    def _record(self) -> Path:
        return self.entry._path(f"json.{os.getpid()}.tmp")


class _Growing:
    """A `.npy` file whose first axis grows; its header is completed on closing.

    Rows go through ordinary writes, not through a memory map, because a full disk
    then raises an error where the map would kill the process (SIGBUS).
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.shape, self.dtype, self.rows = path, shape, dtype, 0
        self.file: BinaryIO = path.open("wb")
        self._header()

    def extend(self, rows: np.ndarray) -> None:
        if rows.shape[1:] != self.shape or rows.dtype != self.dtype:
            raise ValueError(f"rows of {rows.shape} {rows.dtype} in {self.path.name}")
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def close(self) -> None:
        self.file.seek(0)
        self._header()
        _to_disk(self.file)
        self.file.close()

    def _header(self) -> None:
        # NumPy pads the header so that the number of rows can grow in place.
        np.lib.format.write_array_header_1_0(
            self.file,
            {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.rows, *self.shape),
            },
        )


def build_once(
    entry: Entry, build: Callable[[Writer], None]
) -> tuple[dict[str, np.ndarray], dict]:
    """Read an entry, or build it under its lock and read it then.

    Raises:
        InputError: If it cannot be written, or what `build` raises.
    """
    if (found := entry.read()) is None:
        with entry.lock():
            if (found := entry.read()) is None:  # no one else built it meanwhile
                with entry.writer() as writer:
                    build(writer)
                found = entry.read()
    if found is None:
        raise InputError(
            f"What was just written to {entry.folder} reads back differently; the "
            "disk or file system is damaged: set THESIS_CACHE to another folder."
        )
    return found


def _checksums(path: Path) -> list[int]:
    """CRC-32 of every block of a file, in threads (zlib frees the interpreter)."""

    def checksum(start: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(_BLOCK))

    starts = range(0, path.stat().st_size, _BLOCK)
    with ThreadPoolExecutor(num_threads()) as pool:
        return list(pool.map(checksum, starts))


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())
