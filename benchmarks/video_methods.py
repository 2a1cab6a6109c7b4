"""Chapters 8 and 9: a training step beside its bare passes, and scores of many frames.

    python benchmarks/video_methods.py           # D = 64, one crop, 16 + 16 videos
    python benchmarks/video_methods.py --full    # D = 2,048, ten crops, 2 + 2 videos
    python benchmarks/video_methods.py --full --device cuda --videos 32

*Bare* is a forward and a backward pass of the same network on a batch that is there
already; a step adds drawing the batch, the losses, mining, the optimiser and the record
of losses. Checkpoints are apart: a `Loop` lets them take a twentieth of the time. Goal:
at most 1.2 times with `--full`.

*As the authors load* is the same step with the loading of their programs before it: a
file a video, cut into 32 segments by a loop. Goal: a step of RTFM at least 1.5 times
faster at D = 64.

*Scores* are of ten million frames, as videos of 350 snippets. Goal: a minute.

Times are medians over single steps of alternating repeats: CPU time, or wall time on a
GPU and where files are read.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from thesislib.datasets.videos.bags import Bags, SnippetBank
from thesislib.training.loop import Loop, Step
from thesislib.video import ctmil, deep_mil, mil, rtfm

FRAMES, SNIPPET, LENGTH = 10_000_000, 16, 350  # frames; frames a snippet; of a video
Clock = Callable[[], float]  # seconds
Work = Callable[[Clock], list[float]]  # seconds of each step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--videos", type=int, help="of each kind in a step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="in one repeat")
    parser.add_argument("--methods", nargs="*", default=["rtfm", "ctmil", "deep-mil"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    crops, features = (10, 2_048) if chosen.full else (1, 64)
    videos = chosen.videos or (2 if chosen.full else 16)
    bags = bags_of(crops, features, videos, chosen.device)
    print(f"{videos} + {videos} videos, {crops} crops, D = {features}, {chosen.device}")
    for name in chosen.methods:
        config, model = made(name, features, chosen)
        config = replace(config, batch_size=videos, num_steps=chosen.steps)
        module = {"rtfm": rtfm, "ctmil": ctmil, "deep-mil": deep_mil}[name]
        step = trained(module, model, bags, config, chosen.device)
        compare(name, "step beside bare", step, bare(model, bags, config), chosen)
        if name == "rtfm" and not chosen.full:
            authors = as_the_authors_load(module, model, bags, config, chosen)
            compare(name, "authors' loading beside ours", authors, step, chosen, True)
        score(name, model, features, chosen)


def bags_of(crops: int, features: int, videos: int, device: str) -> Bags:
    """Made-up videos, twice as many as a step takes."""
    shape = (2 * videos, 32, crops, features)
    draws = (
        np.random.default_rng(i).standard_normal(shape, np.float32) for i in (0, 1)
    )
    return Bags(*(SnippetBank(x.astype(np.float16), device) for x in draws))


def made(name: str, num_features: int, chosen: argparse.Namespace) -> tuple:
    """Settings and network: small ones without `--full`, else the printed ones."""
    small = not chosen.full
    configs = {
        "rtfm": rtfm.SMALL if small else rtfm.PAPER,
        "ctmil": ctmil.SMALL if small else ctmil.PAPER,
        "deep-mil": deep_mil.SMALL if small else deep_mil.PAPER,
    }
    networks = {
        "rtfm": rtfm.RTFM,
        "ctmil": ctmil.CTMIL,
        "deep-mil": deep_mil.DeepMIL,
    }
    model = networks[name](configs[name], num_features)
    return configs[name], model.to(chosen.device)


class Watched(Loop):
    """A loop that notes when each step begins."""

    def __init__(self, clock: Clock, folder: Path, device: str) -> None:
        super().__init__("steps", seed=0, folder=folder, device=device, progress=None)
        self.clock, self.begun = clock, []

    def steps(self, *arguments, **options) -> Iterator[Step]:
        for step in super().steps(*arguments, **options):
            self.begun.append(self.clock())
            yield step


def trained(module, model, bags, config, device: str) -> Work:
    """Some steps of the method's own training, into a folder that is thrown away."""

    def work(clock: Clock) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            loop = Watched(clock, Path(folder), device)
            module.fit(model, bags, config, loop)
        return [b - a for a, b in itertools.pairwise(loop.begun)]

    return work


def bare(model, bags, config) -> Work:
    """As many forward and backward passes of the network."""
    banks = (bags.normal, bags.abnormal)
    ready = torch.cat([bank.take(range(config.batch_size)) for bank in banks])

    def work(clock: Clock) -> list[float]:
        model.train()
        begun = []
        for _ in range(config.num_steps):
            begun.append(clock())
            model.zero_grad(set_to_none=True)
            found = model(ready)
            outputs = found if isinstance(found, tuple) else (found,)
            sum(x.sum() for x in outputs if x is not None).backward()
        return [b - a for a, b in itertools.pairwise(begun)]

    return work


class FilesOfVideos:
    """A bank that loads as the authors do: `np.load`, then a loop over 32 segments."""

    def __init__(self, bank: SnippetBank, folder: Path) -> None:
        folder.mkdir()
        self.num_features, self.device = bank.num_features, bank.device
        self.files = [folder / f"{i}.npy" for i in range(len(bank))]
        for i, file in enumerate(self.files):
            segments = bank.take([i])[0].transpose(0, 1).cpu()  # (32, C, D)
            np.save(file, segments.repeat_interleave(10, dim=0).numpy())

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        order = torch.randperm(len(self), generator=generator, device=self.device)
        videos = [self.load(self.files[i]) for i in order[:batch_size].tolist()]
        return torch.from_numpy(np.stack(videos)).to(self.device)

    def load(self, file: Path) -> np.ndarray:
        snippets = np.load(file).transpose(1, 0, 2)  # (C, T, D)
        edges = np.linspace(0, snippets.shape[1], 33, dtype=int)
        crops = []
        for crop in snippets:
            segments = [
                crop[a:b].mean(axis=0) if a < b else crop[a]
                for a, b in itertools.pairwise(edges)
            ]
            crops.append(np.stack(segments))
        return np.stack(crops)


def as_the_authors_load(module, model, bags, config, chosen) -> Work:
    folder = Path(tempfile.mkdtemp())
    names = ("normal", "abnormal")
    banks = [FilesOfVideos(getattr(bags, name), folder / name) for name in names]
    return trained(module, model, Bags(*banks), config, chosen.device)


def compare(
    name: str, other: str, one: Work, two: Work, chosen, wall: bool = False
) -> None:
    """Print the ratio of two kinds of steps."""
    clock = clock_of(wall or chosen.device != "cpu")
    one(clock), two(clock)  # warm up
    pairs = [(one(clock), two(clock)) for _ in range(chosen.repeats)]
    first, second = (
        statistics.median(itertools.chain(*times)) for times in zip(*pairs, strict=True)
    )
    print(
        f"{name:9} {other}: {first / second:.2f} "
        f"({1000 * first:.1f} beside {1000 * second:.1f} ms)",
        flush=True,
    )


def clock_of(wall: bool) -> Clock:
    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() if wall else time.process_time()

    return now


def score(name: str, model, num_features: int, chosen) -> None:
    """Seconds for ten million frames; with `--full` on a CPU of a share, scaled."""
    share = 100 if chosen.full and chosen.device == "cpu" else 1
    count = FRAMES // SNIPPET // LENGTH // share
    video = torch.randn(1, LENGTH, num_features)
    now = clock_of(chosen.device != "cpu")

    def videos() -> Iterator[torch.Tensor]:
        return (video for _ in range(count))

    began = now()
    for _ in mil.score_videos(model, videos()):
        pass
    seconds = now() - began
    note = f", from a share of 1/{share}" if share > 1 else ""
    print(f"{name:9} ten million frames, one crop: {share * seconds:.0f} s{note}")
    x = torch.randn(1, LENGTH, model.head.fc1.in_features, device=chosen.device)
    began = now()
    with torch.no_grad():
        for _ in range(count):
            model.head(x)
    seconds = share * (now() - began)
    print(f"{name:9} the same, the head alone: {seconds:.0f} s{note}", flush=True)


if __name__ == "__main__":
    main()
