"""AUPRO of 1,000 anomaly maps: our histogram against an exact sort.

    python benchmarks/aupro.py [--maps 1000] [--size 256] [--order mixed|sorted]

Both see the same made maps, generated a batch at a time from a seed: smooth noise,
raised on one to three elliptic lesions in every second image (`sorted`: the normal
images first). Each runs in a process of its own, so that its peak memory is its own:

- `exact` keeps every score, sorts them all and walks along the curve. It is what one
  writes first, and the value that the histogram has to meet;
- `histogram` is `thesislib.metrics.pixel.PixelHistogram`, fed batch by batch.

Times are CPU seconds of the metric alone, with the making of maps left out (memory is
that of the whole process, with Python, NumPy and one batch of maps). The histogram
also computes pixel AUROC, AP and FPR95 in its time; the exact version PRO only.
Goals: 1,000 maps of 256 x 256 in under 5 s and 300 MB, equal within 1e-6.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

BATCH = 16
LIMIT = 0.3


def make_maps(
    num_maps: int, size: int, order: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of maps (16, size, size) float32 and masks, bool."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    for start in range(0, num_maps, BATCH):
        count = min(BATCH, num_maps - start)
        masks = np.zeros((count, size, size), bool)
        for i in range(count):
            index = start + i
            lesion = index % 2 if order == "mixed" else 2 * index >= num_maps
            for _ in range(rng.integers(1, 4) if lesion else 0):
                (cy, cx), (ry, rx) = rng.random(2), 0.03 + 0.1 * rng.random(2)
                masks[i] |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        coarse = rng.normal(size=(count, size // 8, size // 8))
        maps = coarse.repeat(8, axis=1).repeat(8, axis=2) + 1.5 * masks
        maps += rng.normal(size=masks.shape) / 2
        yield np.exp(maps / 2).astype(np.float32), masks


def exact_pro(scores: np.ndarray, masks: np.ndarray, weights: np.ndarray) -> float:
    """PRO to FPR 0.3 by sorting all pixels.

    Args:
        scores: (M,).
        masks: (M,).
        weights: 1 / (|component| x number of components), 0 outside, (M,).
    """
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    fpr = np.cumsum(~masks[order])[last] / np.sum(~masks)
    pro = np.cumsum(weights[order])[last]
    fpr, pro = np.append(0, fpr), np.append(0, pro)
    inside = fpr < LIMIT
    pro = np.append(pro[inside], np.interp(LIMIT, fpr, pro))
    return float(np.trapezoid(pro, np.append(fpr[inside], LIMIT)) / LIMIT)


def run_exact(batches: Iterator) -> tuple[dict, float]:
    parts, num_components, seconds = [], 0, 0.0
    for maps, masks in batches:
        start = time.process_time()
        weights = np.zeros(masks.shape)
        for i in range(len(masks)):
            regions, count = ndimage.label(masks[i], np.ones((3, 3)))
            weight = 1 / np.maximum(np.bincount(regions.ravel()), 1)
            weight[0] = 0
            weights[i] = weight[regions]
            num_components += count
        parts.append((maps.ravel(), masks.ravel(), weights.ravel()))
        seconds += time.process_time() - start
    start = time.process_time()
    scores, masks, weights = (np.concatenate(p) for p in zip(*parts, strict=True))
    del parts
    pro = exact_pro(scores, masks, weights / num_components)
    return {"pro": (pro, 0.0)}, seconds + time.process_time() - start


def run_histogram(batches: Iterator) -> tuple[dict, float]:
    from thesislib.metrics.pixel import PixelHistogram

    histogram, seconds = PixelHistogram(), 0.0
    for maps, masks in batches:
        start = time.process_time()
        histogram.update(maps, masks)
        seconds += time.process_time() - start
    start = time.process_time()
    metrics = histogram.metrics()
    return metrics, seconds + time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256, help="pixels, multiple of 8")
    parser.add_argument("--order", choices=("mixed", "sorted"), default="mixed")
    parser.add_argument("--only", choices=("exact", "histogram"), help="one process")
    args = parser.parse_args()
    if args.only:
        run = run_exact if args.only == "exact" else run_histogram
        metrics, seconds = run(make_maps(args.maps, args.size, args.order))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"metrics": metrics, "seconds": seconds, "megabytes": peak}))
        return
    results = {}
    for name in ("exact", "histogram"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout)
    exact, ours = results["exact"], results["histogram"]
    print(f"{args.maps} maps of {args.size} x {args.size}, {args.order}")
    for name, result in results.items():
        pro = result["metrics"]["pro"][0]
        print(
            f"  {name:10} {result['seconds']:7.2f} CPU s {result['megabytes']:7.0f} MB"
            f"   PRO {pro:.9f}"
        )
    time_ratio = exact["seconds"] / ours["seconds"]
    memory_ratio = exact["megabytes"] / ours["megabytes"]
    difference = abs(exact["metrics"]["pro"][0] - ours["metrics"]["pro"][0])
    print(f"  time {time_ratio:.1f}x less, memory {memory_ratio:.1f}x less")
    print(f"  difference {difference:.1e} (goal 1e-6)")
    for name, (value, error) in ours["metrics"].items():
        print(f"  {name:6} {value:.7f}, proven error at most {error:.1e}")


if __name__ == "__main__":
    main()
