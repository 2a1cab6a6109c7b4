"""The losses of a stage as JSON lines, one row a recorded step."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from thesislib import atomic
from thesislib.errors import InputError

Row = dict[str, float]  # {"step": index, term: value, ...}


class LossFile:
    """Rows of a file that only grows, except when a stage resumes.

    A checkpoint says how many rows belong to it. On resume the rows after those
    are cut off, because their steps are done again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def resume(self, num_rows: int) -> None:
        """Read the first `num_rows` rows and cut off the others.

        Raises:
            InputError: If the file has fewer whole rows.
        """
        text = ""
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        try:
            self.rows = [json.loads(line) for line in lines[:num_rows]]
        except ValueError:
            self.rows = []
        if len(self.rows) != num_rows:
            raise InputError(
                f"{atomic.shown(self.path)} lacks losses that its checkpoint counts; "
                "set THESIS_OVERWRITE=1 or delete the run's folder to start anew."
            )
        if len(lines) > num_rows:
            atomic.write_text(self.path, "".join(lines[:num_rows]))

    def append(self, rows: Iterable[Row]) -> None:
        """Add `rows` at the end of the file."""
        rows = list(rows)
        if not rows:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        self.rows += rows


def to_rows(pending: list[tuple[int, dict[str, Tensor | float]]]) -> list[Row]:
    """Read scalars back from the device, all of them at once.

    Args:
        pending: (step, {term: scalar}) pairs; scalars lie on any device.

    Returns:
        Rows with nine significant digits, which keep a float32 exactly.
    """
    scalars = [value for _, terms in pending for value in terms.values()]
    tensors = [value for value in scalars if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    values = iter(
        torch.stack([v.to(device, torch.float32) for v in tensors]).tolist()
        if tensors
        else []
    )
    return [
        {"step": step}
        | {
            name: float(f"{next(values) if isinstance(value, Tensor) else value:.9g}")
            for name, value in terms.items()
        }
        for step, terms in pending
    ]
