"""Videos: how hard is the phantom, how fast is a batch, what do own features cost?

    python benchmarks/video_data.py --calibrate        # floors and ceilings, a minute
    python benchmarks/video_data.py --load             # batches, beside a file a video
    python benchmarks/video_data.py --load --full      # UCF-Crime's shape, 2.1 GB
    python benchmarks/video_data.py --frames FOLDER    # seconds a minute of video

`--calibrate` prints what the constants in `thesislib/datasets/phantoms/video.py` were
chosen from, then frozen: the length of the features is near chance, a snippet by itself
reaches 0.94 with labels, with its neighbours 0.97. No method is run here, and the draws
are used for nothing else.
"""

import argparse

import numpy as np
import torch

from thesislib.datasets import registry
from thesislib.datasets.videos import baselines
from thesislib.datasets.videos.base import VideoPhantomSize
from thesislib.metrics import video as metrics

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
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.calibrate:
        calibrate(options.draws, options.difficulty or [0, 0.5, 1, 1.5])


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


if __name__ == "__main__":
    main()
