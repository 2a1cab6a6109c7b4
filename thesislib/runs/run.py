"""An open run: what a chapter computes goes through here into its record."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch

from thesislib import atomic, paper, sources
from thesislib.errors import InputError
from thesislib.runs import folder, stages, stated
from thesislib.runs import record as records
from thesislib.runs.parameters import ChapterParameters
from thesislib.runs.store import Histograms, Scores, once
from thesislib.training import seeding, status
from thesislib.training.checkpoint import CheckpointError
from thesislib.training.loop import Loop, TrainingError, out_of_memory
from thesislib.training.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from IPython.display import HTML
    from matplotlib.figure import Figure

    from thesislib.datasets.base import Dataset
    from thesislib.datasets.located import Located


class Run:
    """One run of a chapter, made by `runs.start`.

    Attributes:
        parameters: The chapter's parameters, checked.
        configs: Settings with overrides in place, name -> dataclass.
        located: The data, found but not decoded.
        device: Where to compute.
        folder: Where the run keeps its files.
        sealed: Whether a sealed run is being reused; then nothing is recorded, and
            `finish` checks that the rows are the sealed ones.
        mark: What every figure must say of the run, "phantom, quick" or "".
    """

    def __init__(
        self,
        parameters: ChapterParameters,
        configs: dict[str, Any],
        located: "Located",
        device: torch.device,
        opened: folder.Opened,
        record: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        self.parameters, self.configs, self.located = parameters, configs, located
        self.device = device
        self.folder = opened.work
        self.sealed = opened.state == folder.SEALED
        self._opened, self._record, self._settings = opened, record, settings
        self._rows: dict[tuple, dict[str, Any]] = {}
        self._scores, self._histograms = Scores(), Histograms()
        self._loops: dict[str, Loop] = {}
        self._open_stages: set[str] = set()

    @cached_property
    def data(self) -> "Dataset":
        """The data, decoded on first use."""
        data = self.parameters.load(self.located, self.device)
        if not self.sealed:
            self._record["dataset"] = stated.data(data)
        return data

    @property
    def mark(self) -> str:
        """Words that stand on every figure: phantom or partial, and the preset."""
        data = vars(self).get("data", self.located)  # decoding may skip images
        words = []
        if data.source == "phantom":
            words.append("phantom")
        elif data.partial:
            words.append("partial")
        if self.parameters.preset != "paper":
            words.append(self.parameters.preset)
        return ", ".join(words)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a part of the run, wall time, CPU time, peak memory, and announce it.

        Out of memory becomes one sentence that names the override to change.
        """
        self._open_stages.add(name)
        status.tell(stage=name)
        seeding.seed_torch(self.parameters.seed, "stage", name)
        try:
            with stages.measured(self.device.type == "cuda") as cost:
                yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(self._memory_sentence(name)) from error
        else:
            self._open_stages.discard(name)
        finally:
            status.tell(stage_ended=name)
            if not self.sealed:
                stages.added(self._record["stages"], name, cost)
                atomic.write_json(self.folder / "run.json", self._record)

    @property
    def left_out(self) -> dict[str, str]:
        """Parts of the chapter that this run does without, and why."""
        return self._record.get("left_out", {})

    def leave_out(self, part: str, why: str) -> None:
        """Note in the record that the run does without a part of the chapter."""
        if not self.sealed:
            self._record["left_out"][part] = why

    @contextmanager
    def optional(self, part: str) -> Iterator[None]:
        """A part that the run can do without: it is left out if it fails.

        What the part recorded until then goes with it. Only what has nothing to do
        with the part is raised: no memory left, a file that cannot be written.
        """
        stages, rows = set(self._open_stages), dict(self._rows)
        loops = dict(self._loops)
        try:
            yield
        except Exception as error:
            if not is_final(error):
                raise
            self._open_stages, self._rows, self._loops = stages, rows, loops
            known = isinstance(error, InputError)
            self.leave_out(part, str(error) if known else f"{error!r}, a fault of ours")

    def loop(self, stage: str, **options: Any) -> Loop:
        """A training loop of this run; see `training.loop.Loop` for the options."""
        config = stage.partition("/")[0]
        options.setdefault("batch_override", f"{config}.batch_size")
        loop = Loop(
            stage,
            seed=self.parameters.seed,
            folder=self.folder / "checkpoints" / safe_name(stage),
            device=self.device,
            settings=self._settings,
            **options,
        )
        self._loops[stage] = loop
        return loop

    def once(
        self, name: str, compute: Callable[[], Mapping[str, Any]]
    ) -> dict[str, "np.ndarray"]:
        """Arrays that are computed once and read back when the run resumes.

        They are computed again if a module of the package has changed; an edit of
        the notebook is not noticed, so what `compute` does belongs in the package.

        Args:
            name: Unique in the run.
            compute: Gives name -> array of numbers or text.
        """
        path = self.folder / "arrays" / f"{safe_name(name)}.npz"
        about = {"name": name, **self._settings}
        seeding.seed_torch(self.parameters.seed, "once", name)
        arrays = once(path, about, compute)
        seeding.seed_torch(self.parameters.seed, "once", name, "end")
        return arrays

    def keep_model(
        self, name: str, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]
    ) -> None:
        """Keep a fitted detector with the run, so that it can score other images.

        Args:
            name: Unique in the run.
            tensors: All that the detector needs beside the run's settings.
            about: What a reader of its scores needs to know, JSON-able.
        """
        whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
        content = safetensors.torch.save(whole, {"about": records.canonical(about)})
        path = self.folder / "models" / f"{safe_name(name)}.safetensors"
        atomic.write_bytes(path, content)

    def progress(self, total: int, label: str) -> Progress:
        """A progress line for work outside of a training loop."""
        return Progress(total, label)

    def add_scores(
        self,
        row: str,
        setting: Mapping[str, Any],
        ids: Sequence[str],
        labels: Sequence[int],
        scores: Sequence[float],
        patients: Sequence[str] | None = None,
    ) -> None:
        """Keep the image scores behind a row's numbers; see `store.Scores.add`."""
        self._scores.add(row, setting, ids, labels, scores, patients)

    def scores(
        self, row: str, setting: Mapping[str, Any]
    ) -> tuple[list[str], "np.ndarray"]:
        """Names of images and their scores that were kept behind a row, if any."""
        return self._scores.get(row, setting)

    def add_histograms(
        self, row: str, setting: Mapping[str, Any], histograms: Mapping[str, Any]
    ) -> None:
        """Keep the arrays behind a row's pixel numbers; see `store.Histograms.add`."""
        self._histograms.add(row, setting, histograms)

    def add_row(
        self,
        table: str | None,
        row: str,
        setting: Mapping[str, Any],
        metric: str,
        value: float,
        ci_low: float | None = None,
        ci_high: float | None = None,
        n: int | None = None,
    ) -> None:
        """Record one number; the same address again replaces it.

        Args:
            table: Published table, "5.1"; None where there is none. A metric that
                the table does not print is recorded without a table.
            row: Row key, "pmsacl-padim".
            setting: What tells rows of one key apart.
            metric: "auc", or "auc@lag" in a table of several datasets.
            value: Finite.
            ci_low: Lower end of the 95 % interval.
            ci_high: Upper end.
            n: Number of images (or pixels, groups) behind it.

        Raises:
            InputError: If the value is not finite or the table has no such row.
        """
        address = f"{row} {metric}"
        numbers = {"value": value, "ci_low": ci_low, "ci_high": ci_high}
        for name, number in numbers.items():
            if number is not None:
                numbers[name] = float(number)
                if not math.isfinite(numbers[name]):
                    raise InputError(f"The {name} of {address} is {number}.")
        if value is None:
            raise InputError(f"The value of {address} is None.")
        if table is not None and paper.find_row(table, row, dict(setting)) is None:
            raise InputError(
                f"Table {table} has no row {row!r} with setting "
                f"{records.canonical(dict(setting))}; use table=None for rows that "
                "were not published."
            )
        published = paper.published(table, row, dict(setting), metric)
        entry = {
            "table": None if published is None else table,
            "row": row,
            "setting": json.loads(records.canonical(dict(setting))),
            "dataset": self.located.name,
            "metric": metric,
            **numbers,
            "n": None if n is None else int(n),
            "published": published,
            "seed": self.parameters.seed,
            "source": self.located.source,
            "preset": self.parameters.preset,
            "reading": self.parameters.reading,
        }
        key = (entry["table"], row, records.canonical(entry["setting"]), metric)
        self._rows[key] = entry

    @property
    def record(self) -> dict[str, Any]:
        """The record as it stands; without rows until the run is sealed."""
        return self._record

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows so far, in the order they were first added."""
        return list(self._rows.values())

    def figure(self, fig: "Figure", name: str, *, alt: str, caption: str) -> "HTML":
        """Store a figure as PNG and give it as HTML, marked as phantom or quick."""
        from IPython.display import HTML

        from thesislib.figures import display, style

        png = display.png_bytes(style.mark(fig, self.mark))
        atomic.write_bytes(self.folder / "figures" / f"{safe_name(name)}.png", png)
        return HTML(display.png_html(png, alt, caption, self.mark))

    def finish(self, expected: Sequence[tuple[str | None, str]] = ()) -> None:
        """Seal the run, if it is complete, and show its record.

        Args:
            expected: (table, row) pairs that have to be among the rows.

        Raises:
            InputError: If rows are missing, a stage did not end, or a reused run
                gives other rows than the sealed ones.
        """
        self._check_complete(expected)
        if self.sealed:
            self._check_same_rows()
        else:
            self._seal()
        self._show()
        self._opened.lock.release()

    def close(self) -> None:
        """Leave the run as it is, unsealed, and let other processes in."""
        self._opened.lock.release()

    def _check_complete(self, expected: Sequence[tuple[str | None, str]]) -> None:
        found = {(table, row) for table, row, _, _ in self._rows}
        missing = [pair for pair in expected if tuple(pair) not in found]
        if missing or not self._rows:
            names = ", ".join(f"{row} of table {table}" for table, row in missing)
            raise InputError(f"The run is not complete: no rows for {names or 'it'}.")
        broken = [name for name, loop in self._loops.items() if not loop.finished]
        if broken := [*sorted(self._open_stages), *broken]:
            raise InputError(
                f"The run is not complete: {', '.join(broken)} did not end."
            )

    def _check_same_rows(self) -> None:
        if self.rows != self._record["rows"]:
            raise InputError(
                f"The rows are not those that {atomic.shown(self._opened.final)} was "
                "sealed with; set THESIS_OVERWRITE=1 to compute it anew."
            )

    def _seal(self) -> None:
        for name, data in (
            ("scores.csv", self._scores.text().encode("utf-8")),
            ("histograms.npz", self._histograms.data()),
            ("losses.jsonl", self._losses().encode("utf-8")),
        ):
            atomic.write_bytes(self.folder / name, data)
            self._record["files"][name] = sources.sha256_file(self.folder / name)
        for path in sorted(self.folder.glob("models/*.safetensors")):
            name = path.relative_to(self.folder).as_posix()
            self._record["files"][name] = sources.sha256_file(path)
        self._record["rows"] = self.rows
        self._record["modules"] = sources.imported()
        self._record["finished"] = records.now()
        self._record = records.sealed(self._record)
        atomic.write_json(self.folder / "run.json", self._record)
        folder.settle(self._opened)
        self.folder = self._opened.final
        self.sealed = True

    def _losses(self) -> str:
        """Losses of all finished stages as JSON lines, also of those not opened again
        because what followed from them was stored."""
        lines = []
        for head in sorted(self.folder.glob("checkpoints/*/checkpoint.json")):
            about = json.loads(head.read_text(encoding="utf-8"))
            if about["finished"]:
                text = (head.parent / "losses.jsonl").read_text(encoding="utf-8")
                stage = {"stage": about["identity"]["stage"]}
                lines += [stage | json.loads(line) for line in text.splitlines()]
        return "".join(records.canonical(line) + "\n" for line in lines)

    def _show(self) -> None:
        """Show the record, so that a notebook carries its own numbers."""
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            return
        if get_ipython() is None:
            return
        text = self.summary()
        bundle = {records.MIME: self._record, "text/markdown": text, "text/plain": text}
        display(bundle, raw=True)

    def summary(self) -> str:
        """One sentence on the sealed run."""
        record = self._record
        seconds = sum(stage["wall_seconds"] for stage in record["stages"])
        data = f"{self.located.name} ({self.located.source})"
        return (
            f"Run `{record['folder']}` on {data}: {len(record['rows'])} rows, "
            f"{seconds:.0f} s on {record['device']}, sealed {record['finished']} as "
            f"`{record['seal'][:8]}`."
        )

    def _memory_sentence(self, name: str) -> str:
        sizes = [
            f"{key}.batch_size"
            for key, config in self.configs.items()
            if hasattr(config, "batch_size")
        ]
        return (
            f"Memory of {self.device.type} is used up in {name}; lower "
            f"{' or '.join(sizes) or 'the batch size'} through overrides, but note "
            "that batch size changes the method, so the result is no longer the "
            "thesis's setting."
        )


def is_final(error: Exception) -> bool:
    """Whether doing the same again would end in the same error.

    Not where memory or the disk gave out, or the user has to say what becomes of a
    checkpoint: then the run stops, and goes on later.
    """
    while error is not None:
        passing = isinstance(error, OSError | CheckpointError)
        if passing or out_of_memory(error):
            return False
        error = error.__cause__
    return True


def safe_name(name: str) -> str:
    """`name` as a file name on every system.

    Raises:
        InputError: If it has other characters than letters, digits and `-_./ `.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ./_-]*", name):
        raise InputError(
            f"The name {name!r} must be made of letters, digits, blanks and '-_./'."
        )
    return re.sub(r"[ ./]", "-", name)
