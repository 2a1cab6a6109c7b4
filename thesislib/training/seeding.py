"""Randomness as a function of (seed, stage, step, rank), and one thread per worker.

Because no random state is carried from step to step, a run that was killed and
resumed draws what the uninterrupted one draws.
"""

import hashlib
import os

import threadpoolctl
import torch

from thesislib.errors import InputError


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose.

    The first eight bytes of SHA-256 over `seed` and `names`.
    """
    text = "\0".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(
    seed: int, *names: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on `device` for one purpose; see `derive`."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


def seed_torch(seed: int, *names: str | int) -> None:
    """Seed torch's global state, which dropout and new layers draw from.

    As `torch.manual_seed`, without the millisecond and the memory that it takes each
    time for devices that are not in use.
    """
    value = derive(seed, *names)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)


def be_deterministic(device: torch.device | str = "cpu") -> None:
    """Ask torch for repeatable algorithms.

    On CPU an operation without one is an error, so runs repeat bit for bit. On a
    GPU it only warns: a few backward passes have no repeatable kernel there.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    kind = torch.device(device).type
    torch.use_deterministic_algorithms(True, warn_only=kind != "cpu")
    if kind == "cuda":
        torch.cuda.init()  # from here on, `seed_torch` reaches it
    torch.backends.cudnn.benchmark = False
    # Our code reads no memory it has not written; filling it costs time only.
    torch.utils.deterministic.fill_uninitialized_memory = False


def use_threads() -> int:
    """Set the number of CPU threads, `$THESIS_THREADS` or one; return it.

    Two threads that wait for each other on a busy machine cost up to ten times.

    Raises:
        InputError: If `THESIS_THREADS` is not a positive whole number.
    """
    text = os.environ.get("THESIS_THREADS") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(
            f"THESIS_THREADS is {text!r}; it must be a whole number from 1 on."
        )
    num_threads = int(text)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for children and late loads
    torch.set_num_threads(num_threads)
    threadpoolctl.threadpool_limits(num_threads)  # numpy's and SciPy's BLAS
    return num_threads
