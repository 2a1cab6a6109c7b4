"""Videos: how hard is the phantom, how fast is a batch, what do own features cost?

    python benchmarks/video_data.py --calibrate        # floors and ceilings, a minute
    python benchmarks/video_data.py --load             # batches, beside a file a video
    python benchmarks/video_data.py --full             # UCF-Crime's shape, 7 GB of disk
    python benchmarks/video_data.py --frames FOLDER    # seconds a minute of video
    python benchmarks/video_data.py --choose FOLDER    # motion maps for UCSD, minutes

`--calibrate` prints what the constants in `thesislib/datasets/phantoms/video.py` were
chosen from, then frozen: the length of the features is near chance, a snippet by itself
reaches 0.94 with labels, with its neighbours 0.97. No method is run here, and the draws
are used for nothing else.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from thesislib.datasets import registry
from thesislib.datasets.videos import baselines
from thesislib.datasets.videos.bags import SEGMENTS
from thesislib.datasets.videos.base import VideoPhantomSize
from thesislib.metrics import video as metrics
from thesislib.video import frames
from thesislib.video.features import find_videos
from thesislib.video.motion import Motion

PATCH = 24  # pixels
FIRST_SEED = 8_800_000  # draws used here and nowhere else
FLOORS = {
    "magnitude": baselines.magnitude,
    "5-NN": baselines.nearest_neighbours,
    "pooled LR": baselines.pooled_logistic,
    "noisy LR": baselines.noisy_logistic,
    "snippet LR": baselines.supervised_logistic,
    "context LR": baselines.supervised_context,
    "context MLP": baselines.supervised_network,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--difficulty", nargs="*", type=float, default=None)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--choose", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.calibrate:
        calibrate(options.draws, options.difficulty or [0, 0.5, 1, 1.5])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THESIS_CACHE"] = f"{folder}/cache"
        if options.load:
            compare_loading(Path(folder))
        if options.full:
            fill(Path(folder))
    if options.frames:
        time_frames(options.frames)
    if options.choose:
        choose(options.choose)


def calibrate(draws: int, difficulties: list[float]) -> None:
    """Frame AUC of floors and ceilings, mean and range over draws."""
    print(f"{'difficulty':>10} {'abnormal':>8}" + "".join(f" {n:>13}" for n in FLOORS))
    for difficulty in difficulties:
        rows = []
        for draw in range(draws):
            size = VideoPhantomSize(difficulty=difficulty)
            located = registry.find_videos(
                "shanghaitech", "phantom", seed=FIRST_SEED + draw, phantom=size
            )
            data = registry.load_videos(located)
            labels = data.test_frame_labels
            rows.append([np.concatenate(labels).mean()])
            for floor in FLOORS.values():
                scores = [np.repeat(one, data.snippet) for one in floor(data)]
                rows[-1].append(metrics.auc(labels, scores))
        mean, half = np.mean(rows, axis=0), np.ptp(rows, axis=0) / 2
        cells = [f"{m:.3f} ±{h:.3f}" for m, h in zip(mean[1:], half[1:], strict=True)]
        print(f"{difficulty:10.2f} {mean[0]:8.1%}", end="")
        print("".join(f" {cell:>13}" for cell in cells), flush=True)


def write_videos(top: Path, number: int, lengths: tuple[int, int], shape) -> Path:
    """Made-up features, `number` training videos a label and one test video each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", number), ("test", 1)):
        for word in ("normal", "abnormal"):
            part = top / split / word
            part.mkdir(parents=True)
            for k in range(count):
                length = int(rng.integers(lengths[0], lengths[1] + 1))
                made = rng.random((length, *shape), dtype=np.float32)
                np.save(part / f"{split}-{word}{k:04d}.npy", made)
    return top


def a_file_a_video(files: list[Path]) -> torch.Tensor:
    """The authors' way: read each file, average its crops bin by bin, (B, C, 32, D)."""
    batch = []
    for path in files:
        features = np.array(np.load(path), dtype=np.float32)  # a copy, as theirs
        features = features.transpose(1, 0, 2)  # (C, T, D)
        edges = np.linspace(0, features.shape[1], SEGMENTS + 1, dtype=int)
        crops = []
        for crop in features:
            bins = np.zeros((SEGMENTS, crop.shape[1]), dtype=np.float32)
            for t in range(SEGMENTS):
                if edges[t] != edges[t + 1]:
                    bins[t] = crop[edges[t] : edges[t + 1]].mean(axis=0)
                else:
                    bins[t] = crop[edges[t]]
            crops.append(bins)
        batch.append(torch.from_numpy(np.stack(crops)))
    return torch.stack(batch)


def compare_loading(folder: Path) -> None:
    """CPU-milliseconds a step, both ways on the same files, files warm in memory."""
    print("crops  features  videos a step  a file a video, ms  bank, ms  ratio")
    for name, shape, batch, lengths, steps in (
        ("small", (1, 64), 16, (100, 700), 40),
        ("five", (5, 1024), 8, (100, 700), 8),
        ("full", (10, 2048), 4, (200, 700), 4),
    ):
        top = write_videos(folder / name, batch, lengths, shape)
        located = registry.find_videos("video-folder", "real", top)
        bags = registry.load_videos(located).bags()
        parts = [sorted((top / "train" / w).iterdir()) for w in ("normal", "abnormal")]
        generator = torch.Generator().manual_seed(0)

        def by_file(parts=parts, batch=batch, generator=generator):
            for files in parts:
                order = torch.randperm(len(files), generator=generator)[:batch]
                a_file_a_video([files[i] for i in order])

        def by_bank(bags=bags, batch=batch, generator=generator):
            for bank in (bags.normal, bags.abnormal):
                bank.sample(batch, generator)

        slow, fast = milliseconds(by_file, steps), milliseconds(by_bank, 10 * steps)
        print(
            f"{shape[0]:5} {shape[1]:9} {2 * batch:14} {slow:19.1f} {fast:9.2f} "
            f"{slow / fast:6.0f}",
            flush=True,
        )


def fill(folder: Path) -> None:
    """All of UCF-Crime's shape: 1,610 videos, ten crops of 2,048 features."""
    top = folder / "ucf"
    rng = np.random.default_rng(0)
    noise = rng.random((48, 10, 2048), dtype=np.float32).astype(np.float16)
    for split, counts in (("train", (800, 810)), ("test", (1, 1))):
        for word, count in zip(("normal", "abnormal"), counts, strict=True):
            part = top / split / word
            part.mkdir(parents=True)
            for k in range(count):
                length = int(rng.integers(20, 49))
                np.save(part / f"{split}-{word}{k:04d}.npy", noise[:length])
    start = time.process_time()
    bags = registry.load_videos(
        registry.find_videos("video-folder", "real", top)
    ).bags()
    read = time.process_time() - start
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):  # 3,200 draws of either label: every page is touched
        normal = bags.normal.sample(32, generator)
        abnormal = bags.abnormal.sample(32, generator)
    took = milliseconds(lambda: bags.normal.sample(32, generator), 5)
    size = (bags.normal.nbytes + bags.abnormal.nbytes) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"{len(bags):,} videos in half precision: {size:.2f} GB, peak memory of the "
        f"process {peak:.2f} GB with batches of {len(normal)} + {len(abnormal)}; "
        f"read in {read:.0f} CPU-seconds, {took:.0f} ms for 32 videos"
    )


def time_frames(folder: Path) -> None:
    """Seconds a minute of video (at 25 frames a second) of the motion description."""
    videos = list(find_videos(folder).values())[:4]
    for describe in (Motion(), Motion(appearance=True)):
        start = time.process_time()
        for files in videos:
            describe(files)
        spent = time.process_time() - start
        number = sum(map(len, videos))
        print(
            f"{describe.about['name']}, {describe.num_features} features: "
            f"{number / spent:.0f} frames a CPU-second, "
            f"{spent / number * 1500:.0f} s a minute of video",
            flush=True,
        )


def choose(folder: Path) -> None:
    """Which description of motion? Asked without any label of a test video.

    Of UCSD's normal training clips, each in turn is told from itself with a square of
    `PATCH` pixels at double speed, by the distance to the nearest snippets of others.
    """
    videos = [f for name, f in find_videos(folder).items() if "Train" in name][:8]
    with tempfile.TemporaryDirectory() as made:
        fast = [hurried(files, Path(made) / str(k)) for k, files in enumerate(videos)]
        for describe in (
            Motion(),
            Motion(appearance=True),
            Motion(snippet=16, stride=16),
            Motion(snippet=16, stride=16, appearance=True),
        ):
            own = [describe(files[: len(files) // 2])[:, 0] for files in videos]
            other = [describe(files)[:, 0] for files in fast]
            aucs = []
            for left in range(len(videos)):
                known = np.concatenate(own[:left] + own[left + 1 :])
                mean, std = known.mean(axis=0), known.std(axis=0)
                asked = np.concatenate([own[left], other[left]])
                scores = baselines.distances(
                    (known - mean) / std, (asked - mean) / std, baselines.NEIGHBOURS
                )
                labels = np.repeat([0, 1], [len(own[left]), len(other[left])])
                aucs.append(metrics.auc([labels], [scores]))
            about = {k: describe.about[k] for k in ("snippet", "stride", "appearance")}
            print(f"{about}: AUC {np.mean(aucs):.3f} ±{np.std(aucs):.3f}", flush=True)


def hurried(files: Sequence[Path], folder: Path) -> list[Path]:
    """The first half of a clip with the square that moves most at double speed."""
    folder.mkdir()
    clip = np.stack(list(frames.read(files, "L")))  # (F, H, W)
    change = np.abs(np.diff(clip.astype(np.float32), axis=0)).mean(axis=0)
    window = np.lib.stride_tricks.sliding_window_view(change, (PATCH, PATCH))
    sums = window.mean(axis=(2, 3))
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    square = (slice(top, top + PATCH), slice(left, left + PATCH))
    written = []
    for k in range(len(clip) // 2):
        frame = clip[k].copy()
        frame[square] = clip[2 * k][square]
        written.append(folder / f"{k:03d}.png")
        Image.fromarray(frame).save(written[-1])
    return written


def milliseconds(function, number: int) -> float:
    """CPU time of one call."""
    function()
    start = time.process_time()
    for _ in range(number):
        function()
    return (time.process_time() - start) / number * 1000


if __name__ == "__main__":
    main()
