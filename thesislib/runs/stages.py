"""What each stage of a run cost: wall time, CPU time, peak memory."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def measured(cuda: bool) -> Iterator[dict[str, Any]]:
    """Measure the block; the yielded dict is filled when it ends.

    `wall_seconds`, `cpu_seconds` (all threads), `peak_memory_bytes` (resident; of
    the block on Linux, of the process so far elsewhere) and, with `cuda`,
    `peak_cuda_bytes` (allocated by torch).
    """
    cost: dict[str, Any] = {}
    _forget_peak()
    if cuda:
        import torch

        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.monotonic(), time.process_time()
    try:
        yield cost
    finally:
        if cuda:
            torch.cuda.synchronize()
            cost["peak_cuda_bytes"] = torch.cuda.max_memory_allocated()
        cost["wall_seconds"] = round(time.monotonic() - wall, 3)
        cost["cpu_seconds"] = round(time.process_time() - cpu, 3)
        cost["peak_memory_bytes"] = peak_memory()


def added(stages: list[dict[str, Any]], name: str, cost: dict[str, Any]) -> None:
    """Add `cost` to the stage `name`: times are summed, peaks are the largest.

    A stage that was cut short and resumed counts each session that it ended; what a
    killed session spent is not known.
    """
    for stage in stages:
        if stage["name"] == name:
            break
    else:
        stage = {"name": name}
        stages.append(stage)
    for key, value in cost.items():
        old = stage.get(key)
        if old is None or value is None:
            stage[key] = old if value is None else value
        elif key.endswith("_seconds"):
            stage[key] = round(old + value, 3)
        else:
            stage[key] = max(old, value)


def peak_memory() -> int | None:
    """Largest resident memory in bytes, None where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_peak() -> None:
    """Start Linux's high-water mark again from what is resident now."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass
