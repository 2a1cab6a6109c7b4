"""A step of PMSACL pre-training beside its bare forward and backward pass.

The bare pass sends as many images of random pixels, and as many pairs of patches in
the steps after the warm-up, through the same encoder and sums the features; the step
adds MedMix, the weak views, the heads, the losses, clipping, the optimiser, the record
of losses and the checkpoints. Printed is the ratio of the median CPU times (wall times
on a GPU) of alternating repeats. Goal: at most 1.25.

    python benchmarks/training_step.py [--device cuda] [--preset paper]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from thesislib.augment.views import NUM_VIEWS
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.datasets import phantoms
from thesislib.datasets.bank import ImageBank
from thesislib.pretrain import pmsacl
from thesislib.training.loop import Loop

STEPS = 20  # in one repeat
GOAL = 1.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="quick", choices=("quick", "paper"))
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    configs = Chapter05(
        preset=chosen.preset,
        overrides={"pmsacl.num_steps": STEPS, "pmsacl.num_centre_images": 1},
    ).resolved_configs()
    config, size = configs["pmsacl"], configs["data"].image_size
    drawn = phantoms.generate("colonoscopy", 2 * config.batch_size, size, seed=0)
    bank = ImageBank.from_array(drawn.images, chosen.device)

    def step() -> None:
        with tempfile.TemporaryDirectory() as folder:
            loop = Loop(
                "pmsacl",
                seed=0,
                folder=Path(folder),
                device=chosen.device,
                progress=None,
            )
            model = pmsacl.PMSACL(config).to(chosen.device)
            pmsacl.pretrain(model, bank, config, loop)

    count = config.batch_size * config.num_classes * NUM_VIEWS
    images = torch.rand(count, 3, size, size, device=chosen.device)
    side = config.patch_size or size // 8
    patches = images[: 2 * config.batch_size, :, :side, :side].contiguous()
    warm_up = round(config.warm_up * STEPS)
    model = pmsacl.PMSACL(config).to(chosen.device).train()

    def bare() -> None:
        for step in range(STEPS):
            model.zero_grad(set_to_none=True)
            found = model.backbone(images).sum()
            if step >= warm_up:
                found = found + model.backbone(patches).sum()
            found.backward()

    step(), bare()  # warm up
    ratios, times = [], []
    for _ in range(chosen.repeats):
        with_all, alone = _seconds(step, chosen), _seconds(bare, chosen)
        ratios.append(with_all / alone)
        times.append((with_all, alone))
    with_all, alone = (statistics.median(t) / STEPS for t in zip(*times, strict=True))
    print(f"{chosen.preset}: {count} images of {size} px a step, {chosen.device}")
    print(f"step {1000 * with_all:.0f} ms, forward and backward {1000 * alone:.0f} ms")
    ratio = statistics.median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio {ratio:.2f}, {spread} over repeats (goal: at most {GOAL})")


def _seconds(work: Callable[[], None], chosen: argparse.Namespace) -> float:
    if chosen.device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
