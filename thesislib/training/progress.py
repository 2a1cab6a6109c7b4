"""One line that tells how far a long computation is, and leaves no litter.

Where it goes:

- JupyterLab: one line in the notebook that replaces itself.
- Papermill: that line, and one line per update on papermill's terminal, through
  the descriptor that ipykernel keeps of the original stderr. Nothing written
  there reaches the notebook.
- Snakemake: that line, and an event for the process that shows all runs
  (`training/status.py`).
- Plain Python: stderr; a terminal sees one line that replaces itself.

When it ends, the notebook keeps one short last line, which the book leaves out.
"""

import os
import sys
import time
from collections.abc import Callable

from thesislib.training import status

NOTEBOOK_SECONDS = 1.0  # between updates of the line in the notebook or terminal
LOG_SECONDS = 5.0  # between lines where each line stays
METADATA = {"thesis": "progress"}  # of the output that holds the line


class Progress:
    """Progress over `total` items of work, shown as `label`.

    Use as a context manager, or call `close` at the end.
    """

    def __init__(self, total: int, label: str, start: int = 0) -> None:
        self.total, self.label, self.start = total, label, start
        self.began = time.monotonic()
        self.shown_at = self.logged_at = self.began
        self.handle = _notebook_line(f"{label} {start}/{total}")
        self.descriptor = _terminal() if self.handle is not None else None
        self.closed = False

    def update(self, done: int, **values: float) -> None:
        """Say that `done` of `total` items are done; show `values` with them."""
        now = time.monotonic()
        if now - self.shown_at < NOTEBOOK_SECONDS:
            return
        line = f"{self.label} {done}/{self.total}"
        line += "".join(f" {name} {value:.4g}" for name, value in values.items())
        line += self._time_left(done, now)
        self.shown_at = now
        status.tell(label=self.label, done=done, total=self.total)
        if self.handle is not None:
            self._show(line)
            if now - self.logged_at >= LOG_SECONDS:
                self.logged_at = now
                self._log(line)
        elif _on_terminal():
            print(f"\r{line:<79}", end="", file=sys.stderr, flush=True)
        elif now - self.logged_at >= LOG_SECONDS:
            self.logged_at = now
            print(line, file=sys.stderr, flush=True)

    def close(self, last: str | None = None) -> None:
        """Leave one last line; by default label, items and seconds."""
        if self.closed:
            return
        self.closed = True
        status.tell(label=None)
        seconds = time.monotonic() - self.began
        last = last or f"{self.label} {self.total}/{self.total} {seconds:.0f} s"
        if self.handle is not None:
            self._show(last)
            self._log(last)
        elif _on_terminal():
            print(f"\r{last:<79}", file=sys.stderr, flush=True)
        elif seconds >= LOG_SECONDS:
            print(last, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.close(None if kind is None else f"{self.label} stopped")

    def _show(self, line: str) -> None:
        self.handle.update({"text/plain": line}, raw=True, metadata=METADATA)

    def _time_left(self, done: int, now: float) -> str:
        """Seconds spent and, once there is a rate, seconds left."""
        spent = now - self.began
        text = f" {spent:.0f} s"
        if done > self.start:
            left = spent / (done - self.start) * (self.total - done)
            text += f", {left:.0f} s left"
        return text

    def _log(self, line: str) -> None:
        """Write to papermill's terminal; its own bar stands on the last line there."""
        if self.descriptor is None:
            return
        try:
            os.write(self.descriptor, f"\r{line}\n".encode())
        except OSError:
            self.descriptor = None


def reporter(label: str) -> Callable[[int, int], None]:
    """A function of (done, total) that shows progress; no line before its first call.

    For code that reports progress without knowing how it is shown.
    """
    bars: list[Progress] = []

    def report(done: int, total: int) -> None:
        if not bars:
            bars.append(Progress(total, label))
        bars[0].update(done)
        if done >= total:
            bars[0].close()

    return report


def _notebook_line(text: str) -> object | None:
    """Display handle of a line in the notebook; None outside of a kernel."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import display

    if getattr(get_ipython(), "kernel", None) is None:
        return None
    line = {"text/plain": text}
    return display(line, raw=True, metadata=METADATA, display_id=True)


def _terminal() -> int | None:
    """Descriptor of the terminal that started this kernel.

    None under Jupyter's server, whose log is no place for it, and where another
    process shows what this run does. The attribute is private to ipykernel: without
    it there are no lines on the terminal.
    """
    if "JPY_SESSION_NAME" in os.environ or status.is_watched():
        return None
    return getattr(sys.stderr, "_original_stdstream_copy", None)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
