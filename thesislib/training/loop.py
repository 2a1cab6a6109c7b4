"""The step iterator: it resumes, checkpoints, shows progress and stops on NaN.

The method writes the body of the loop:

    for step in loop.steps(config.num_steps, saving={"encoder": encoder, ...}):
        images = bank.sample(config.batch_size, step.generator)
        with step.autocast():
            terms = losses(encoder, images)  # {"con": ..., "aug": ..., "pos": ...}
        step.update(sum(terms.values()), optimizer)
        step.log(terms)
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from thesislib import atomic
from thesislib.errors import InputError
from thesislib.training import checkpoint, seeding
from thesislib.training import precision as formats
from thesislib.training.losses import LossFile, to_rows
from thesislib.training.progress import Progress

MAX_LOSS_ROWS = 5_000  # of a stage; a longer one records every second, third, ... step


class TrainingError(InputError):
    """Training cannot go on: a loss is not finite, or memory is used up."""


class Loop:
    """One stage of training, in steps that a kill at any moment cannot spoil.

    Args:
        stage: Name of the stage, unique in its run.
        seed: Seed of the run.
        folder: Folder for this stage's checkpoints, its own.
        device: Where the stage trains.
        settings: All that decides the result, JSON-able or dataclasses; a
            checkpoint made with others is refused.
        checkpoint_every: Steps between checkpoints. A due one is put off while
            writing would take more than `max_overhead` of the time.
        max_overhead: Fraction of the time that checkpoints may take.
        losses: File of the losses, JSON lines; default `folder/losses.jsonl`.
        progress: Makes the progress line; None shows none.
        precision: "auto", "float32" or "bfloat16"; see `precision.resolve`.
        rank: Number of this process among several that train together.
        read_every: Steps between readings of the losses from the device; slow
            steps are read every second.
        batch_override: Override that an out-of-memory message names; default
            `<stage>.batch_size`.
    """

    def __init__(
        self,
        stage: str,
        *,
        seed: int,
        folder: Path,
        device: torch.device | str = "cpu",
        settings: Mapping[str, object] | None = None,
        checkpoint_every: int = 100,
        max_overhead: float = 0.05,
        losses: Path | None = None,
        progress: Callable[[int, str, int], Progress] | None = Progress,
        precision: str = "auto",
        rank: int = 0,
        read_every: int = 10,
        batch_override: str | None = None,
    ) -> None:
        if checkpoint_every < 1 or read_every < 1:
            raise InputError("checkpoint_every and read_every must be at least 1 step.")
        self.stage, self.seed, self.rank = stage, seed, rank
        self.folder = Path(folder)
        self.device = torch.device(device)
        self.settings = settings or {}
        self.checkpoint_every, self.max_overhead = checkpoint_every, max_overhead
        self.progress = progress
        self.precision = formats.resolve(precision, self.device)
        self.read_every = read_every
        self.batch_override = batch_override or f"{stage}.batch_size"
        self.finished = False
        self._losses = LossFile(losses or self.folder / "losses.jsonl")
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []

    @property
    def history(self) -> list[dict[str, float]]:
        """Recorded losses, `{"step": index, term: value, ..., "loss": value}`.

        Complete on resume too. A stage of more than `MAX_LOSS_ROWS` steps records
        evenly spaced ones.
        """
        return self._losses.rows

    def steps(
        self,
        num_steps: int,
        saving: Mapping[str, nn.Module | Tensor | object],
        start: int = 0,
    ) -> Iterator["Step"]:
        """Yield the steps that are left of `start` to `num_steps` - 1.

        Resumes from the checkpoint in `folder` if there is one. A finished stage
        restores the final state and yields nothing.

        Args:
            num_steps: Number of the step after the last one.
            saving: Name -> module, tensor, optimiser or scheduler: everything that
                a step changes and a later one reads.
            start: Number of the first step, above 0 where the stage continues
                another one whose final state `saving` holds.

        Raises:
            InputError: If the checkpoint is damaged or belongs to something else.
            TrainingError: If a loss or a weight is not finite.
        """
        seeding.be_deterministic(self.device)
        identity = self._identity(num_steps, start)
        atomic.clean(self.folder)
        head = checkpoint.load(self.folder, saving, identity, device=self.device.type)
        self._losses.resume(head["num_losses"] if head else 0)
        self._pending = []
        self.finished = bool(head and head["finished"])
        if not self.finished:
            checkpoint.check(saving)
            yield from self._run(
                head["step"] if head else start, num_steps, saving, identity
            )
        # What comes next draws the same from torch's global state after a resume.
        seeding.seed_torch(self.seed, self.stage, "end", self.rank)

    def _run(
        self, start: int, num_steps: int, saving: Mapping, identity: dict
    ) -> Iterator["Step"]:
        bar = self.progress(num_steps, self.stage, start) if self.progress else None
        last: str | None = f"{self.stage} stopped"
        length = num_steps - identity["start"]
        keep_every = max(1, -(-length // MAX_LOSS_ROWS))
        saved_at, cost = time.monotonic(), 0.0
        read_at, newest = saved_at, {}
        try:
            for index in range(start, num_steps):
                seeding.seed_torch(self.seed, self.stage, index, self.rank)
                step = Step(self, index)
                yield step
                self._pending.append((index, step.close()))
                done, now = index + 1, time.monotonic()
                if done % self.read_every == 0 or now - read_at >= 1.0:
                    newest, read_at = self._read_back(keep_every), now
                if bar:
                    bar.update(done, **newest)
                if (
                    done % self.checkpoint_every == 0
                    and done < num_steps
                    and cost <= self.max_overhead * (now - saved_at)
                ):
                    self._read_back(keep_every)
                    self._save(done, saving, identity, finished=False)
                    saved_at = time.monotonic()
                    cost = saved_at - now
            self._read_back(keep_every)
            self._save(num_steps, saving, identity, finished=True)
            self.finished, last = True, None
        finally:
            if bar:
                bar.close(last)

    def _save(
        self, done: int, saving: Mapping, identity: dict, *, finished: bool
    ) -> None:
        """Put a checkpoint into force, unless a weight is not finite."""
        for name, item in saving.items():
            if isinstance(item, nn.Module) and not _all_finite(item):
                raise TrainingError(
                    f"The weights of {name} are not finite after step {done - 1} of "
                    f"stage {self.stage}; the checkpoint before it is kept."
                )
        checkpoint.save(
            self.folder,
            done,
            saving,
            identity,
            device=self.device.type,
            finished=finished,
            num_losses=len(self.history),
        )

    def _identity(self, num_steps: int, start: int) -> dict[str, object]:
        """What a checkpoint must agree in, to be continued."""
        settings = json.dumps(self.settings, sort_keys=True, default=_plain)
        return {
            "stage": self.stage,
            "seed": self.seed,
            "rank": self.rank,
            "num_steps": num_steps,
            "start": start,
            "precision": self.precision,
            "settings": hashlib.sha256(settings.encode("utf-8")).hexdigest()[:16],
        }

    def _read_back(self, keep_every: int) -> dict[str, float]:
        """Bring pending losses to the CPU, check and record them; return the newest."""
        rows = to_rows(self._pending)
        self._pending = []
        for row in rows:
            for name, value in row.items():
                if not math.isfinite(value):
                    raise self.not_finite(row["step"], name, value)
        self._losses.append(row for row in rows if row["step"] % keep_every == 0)
        return {
            name: value for name, value in (rows or [{}])[-1].items() if name != "step"
        }

    def not_finite(self, index: int, name: str, value: float) -> TrainingError:
        """The error for a loss term that is NaN or infinite."""
        return TrainingError(
            f"The loss term {name} is {value} at step {index} of stage {self.stage}; "
            "the last checkpoint before it is kept (a lower lr or float32 may help)."
        )

    @contextmanager
    def explain_memory(self, index: int | None = None) -> Iterator[None]:
        """Turn out-of-memory into one sentence that names the override to change."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            where = self.stage if index is None else f"{self.stage}, step {index}"
            raise TrainingError(
                f"Memory of {self.device.type} is used up in stage {where}; lower "
                f"{self.batch_override} through overrides, but note that batch size "
                "changes the method, so the result is no longer the thesis's setting."
            ) from error


class Step:
    """One step of a `Loop`.

    Attributes:
        index: Number of the step, from 0.
        generator: Generator on the loop's device, a function of (seed, stage, step,
            rank) alone.
    """

    def __init__(self, loop: Loop, index: int) -> None:
        self.index = index
        self.generator = seeding.generator(
            loop.seed, loop.stage, index, loop.rank, device=loop.device
        )
        self._loop = loop
        self._terms: dict[str, Tensor | float] = {}
        self._losses: dict[str, Tensor] = {}
        self._bad: str | None = None  # an update that was left out: its loss was NaN

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Context for the forward pass: the loop's number format, memory explained."""
        loop = self._loop
        with (
            loop.explain_memory(self.index),
            formats.autocast(loop.precision, loop.device),
        ):
            yield

    def update(
        self,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None = None,
        *,
        name: str = "loss",
    ) -> Tensor | None:
        """Descend the gradient of `loss`: zero, backward, clip, step.

        Args:
            loss: Scalar.
            optimizer: Holds the parameters to change.
            clip_norm: Largest norm of the gradient over all parameters.
            name: Name of `loss` in the record, where a step has several.

        Returns:
            The gradient's norm before clipping, a scalar, if `clip_norm` is given.

        Raises:
            TrainingError: If the loss is not finite (on a GPU a few steps later).
        """
        self._losses[name] = loss.detach()
        if self._loop.device.type == "cpu" and not math.isfinite(loss.item()):
            self._bad = name
            self._blame()
            return None
        with self._loop.explain_memory(self.index):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = None
            if clip_norm is not None:
                parameters = [p for g in optimizer.param_groups for p in g["params"]]
                norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
        return norm

    def log(self, terms: Mapping[str, Tensor | float]) -> None:
        """Record scalars of this step; they are read from the device later."""
        for name, value in terms.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                raise InputError(
                    f"The logged term {name} has shape {tuple(value.shape)}; it must "
                    "be a scalar."
                )
            self._terms[name] = (
                value.detach().reshape(()) if isinstance(value, Tensor) else value
            )
        if self._bad:
            self._blame()

    def close(self) -> dict[str, Tensor | float]:
        """Terms first, then losses, so that a NaN is blamed on a term if it can be."""
        if self._bad:
            raise self._loop.not_finite(
                self.index, self._bad, float(self._losses[self._bad])
            )
        return {**self._terms, **self._losses}

    def _blame(self) -> None:
        """Name the term that is not finite, if it was logged already."""
        for name, value in self._terms.items():
            if not math.isfinite(float(value)):
                raise self._loop.not_finite(self.index, name, float(value))


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory of the GPU or of the machine is used up."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def _all_finite(module: nn.Module) -> bool:
    finite = [p.detach().isfinite().all() for p in module.parameters()]
    return not finite or bool(torch.stack(finite).all())


def _plain(value: object) -> object:
    """JSON form of what settings may hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return value.name
    raise InputError(f"Settings hold a {type(value).__name__}, which is no setting.")
