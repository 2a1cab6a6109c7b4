"""One process at a time in a run's folder.

The lock is the operating system's, so it ends with the process that holds it,
however that ends: a killed run blocks nobody.
"""

import errno
import os
from pathlib import Path

from thesislib import atomic
from thesislib.errors import InputError

_held: dict[Path, "Lock"] = {}  # of this process: a cell that is run again takes over
_OFFSET = 1 << 20  # the locked byte on Windows, away from the text others read


class Lock:
    """Holds `path` locked until `release`.

    Taking a lock that this process holds already takes it over.

    Raises:
        InputError: If another process holds it, with that process's number, or if
            the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        if earlier := _held.pop(self.path, None):
            earlier.release()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error
        try:
            _lock(self._descriptor)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise InputError(
                    f"{atomic.shown(path)} cannot be locked on this file system "
                    f"({error.strerror}); set THESIS_RESULTS to a local folder."
                ) from error
            raise InputError(
                f"Process {holder or 'unknown'} is working on this run already "
                f"({atomic.shown(path)}); wait for it or stop it."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode("ascii"))
        _held[self.path] = self

    def release(self) -> None:
        """Let others in; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if _held.get(self.path) is self:
            del _held[self.path]


def _lock(descriptor: int) -> None:
    """Lock without waiting; `OSError` if another process has the lock."""
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, _OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
