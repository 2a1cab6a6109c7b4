"""A stage of training that takes milliseconds and uses all that a real one does."""

import os
import signal
from pathlib import Path

import torch
from torch import nn

from thesislib.training.loop import Loop

STEPS = 12


def make(num_steps: int = STEPS) -> dict:
    """Network with batch norm and dropout, momentum, a schedule, a lone tensor."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    return {
        "net": net,
        "optimizer": optimizer,
        "schedule": schedule,
        "mean": torch.zeros(4),
    }


def make_loop(folder: Path, **options) -> Loop:
    defaults = {
        "seed": 1,
        "folder": folder,
        "checkpoint_every": 3,
        "max_overhead": float("inf"),  # checkpoints exactly every third step
        "read_every": 1,  # so that losses are written ahead of checkpoints
        "progress": None,
    }
    return Loop("toy", **(defaults | options))


def train(folder: Path, stop: int | None = None, num_steps: int = STEPS, **options):
    """Train, or go on; `stop` leaves after that many steps. State, and the loop."""
    state = make(num_steps)
    loop = make_loop(folder, **options)
    for step in loop.steps(num_steps, saving=state):
        x = torch.randn(16, 4, generator=step.generator)
        with step.autocast():
            fit = (state["net"](x) - x.sum(1, keepdim=True)).square().mean()
            size = 1e-3 * state["net"](x).abs().mean()
        step.update(fit + size, state["optimizer"], clip_norm=1.0)
        step.log({"fit": fit, "size": size})
        state["schedule"].step()
        state["mean"].mul_(0.9).add_(x.mean(0))
        if stop is not None and step.index + 1 == stop:
            break
    return state, loop


def weights(state: dict) -> list[torch.Tensor]:
    """All that a stage leaves behind, as tensors."""
    momenta = [s["momentum_buffer"] for s in state["optimizer"].state.values()]
    return [*state["net"].state_dict().values(), *momenta, state["mean"]]


def same(a: dict, b: dict) -> bool:
    """Whether two states agree bit for bit."""
    pairs = list(zip(weights(a), weights(b), strict=True))
    return all(torch.equal(x, y) for x, y in pairs) and len(pairs) > 10


def in_a_child(work) -> int:
    """Run `work` in a forked process; its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class KillAt:
    """SIGKILL this process at the n-th change of the disk, in one of three ways.

    A change is a file written, moved or linked, a folder moved. `how` is "before" it,
    "half" (files: half of the bytes are written) or "after" it. With `number` None
    it counts and kills nobody.
    """

    def __init__(self, monkeypatch, number: int | None = None, how: str = "before"):
        self.number, self.how, self.count = number, how, 0
        for owner, name in (
            (Path, "write_bytes"),
            (os, "replace"),
            (os, "rename"),
            (os, "link"),
        ):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, change):
        def wrapper(*arguments):
            here = self.count == self.number
            self.count += 1
            if here and self.how == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if here and self.how == "half" and change.__name__ == "write_bytes":
                path, data = arguments
                change(path, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            result = change(*arguments)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapper
