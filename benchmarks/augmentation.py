"""Speed of the batched augmentations against the usual per-image pipeline.

    python benchmarks/augmentation.py [--seconds 2] [--threads 1]

In one run: two SimCLR views of PIL images through torchvision, as most published code
draws them, against `weak_view` on a batch, at 64 and 256 px with the same settings;
and MedMix with 0 to 3 lesions. The two are timed in turns and each rate is the median
over turns, so that a machine busy with other work slows both. Both start from uint8:
PIL images on one side, a tensor as the image bank holds it on the other. Goal: 5 times
at both sizes on one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from thesislib.augment.medmix import MedMixConfig, medmix
from thesislib.augment.strong import STRONG
from thesislib.augment.weak import WeakConfig, blur_radius, weak_view

GOAL = 5.0  # times the per-image pipeline
NUM_TURNS = 7


def pictures(num: int, side: int, generator: torch.Generator) -> Tensor:
    """Smooth colour images with fine noise, uint8 (N, 3, H, W)."""
    coarse = torch.rand(num, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noise = 0.05 * torch.randn(smooth.shape, generator=generator)
    return (smooth + noise).clamp(0, 1).mul(255).round().byte()


def usual_pipeline(side: int, config: WeakConfig) -> transforms.Compose:
    """SimCLR's views from torchvision, on PIL images, with the settings of `config`."""
    jitter = config.jitter
    kernel = 2 * blur_radius(side, config.blur_kernel) + 1
    sigma = tuple(s * side / 256 for s in config.blur_sigma)
    colour = transforms.ColorJitter(
        jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
    )
    blur = transforms.GaussianBlur(kernel, sigma)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, config.crop_scale, config.crop_ratio),
            transforms.RandomHorizontalFlip(config.flip),
            transforms.RandomApply([colour], jitter.probability),
            transforms.RandomGrayscale(config.grey),
            transforms.RandomApply([blur], config.blur),
            transforms.ToTensor(),
        ]
    )


def rates(
    contenders: dict[str, Callable[[], object]], num_images: int, seconds: float
) -> dict[str, float]:
    """Median images a CPU-second of each, over `NUM_TURNS` turns in rotation."""
    repeats = {}
    for name, run in contenders.items():
        run()  # warm up
        start = time.process_time()
        run()
        spent = max(time.process_time() - start, 1e-6)
        repeats[name] = max(1, round(seconds / NUM_TURNS / spent))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(NUM_TURNS):
        for name, run in contenders.items():
            start = time.process_time()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.process_time() - start) / repeats[name])
    return {name: num_images / statistics.median(t) for name, t in times.items()}


def compare(side: int, num_images: int, seconds: float) -> float:
    """Print the rates at one size; return the ratio of the SimCLR views."""
    generator = torch.Generator().manual_seed(0)
    bank = pictures(num_images, side, generator)
    opened = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in bank]
    config = WeakConfig()
    usual = usual_pipeline(side, config)
    counts = torch.arange(num_images) % 4
    large = MedMixConfig(size=(0.15, 0.40))
    classes, images = torch.arange(num_images) % 4, bank.float() / 255

    def batched() -> Tensor:
        return weak_view(bank.float() / 255, generator, config)

    measured = rates(
        {
            "SimCLR view, per image": lambda: torch.stack([usual(x) for x in opened]),
            "SimCLR view, batched": batched,
            "MedMix, 0 to 3 lesions": lambda: medmix(images, counts, generator),
            "MedMix, large lesions": lambda: medmix(images, counts, generator, large),
            **{
                name: lambda f=function: f(images, classes, generator)
                for name, function in STRONG.items()
                if name != "medmix"
            },
        },
        num_images,
        seconds,
    )
    print(f"{side} px, batches of {num_images}")
    for name, rate in measured.items():
        print(f"  {name:24} {rate:8.0f} images / CPU-s")
    ratio = measured["SimCLR view, batched"] / measured["SimCLR view, per image"]
    print(f"  {'ratio of SimCLR views':24} {ratio:8.1f}")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contender")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    for side, num_images in ((64, 64), (256, 16)):
        ratio = compare(side, num_images, arguments.seconds)
        reached = "reached" if ratio >= GOAL else "missed"
        print(f"goal at {side} px: {GOAL:.0f} times, {reached} with {ratio:.1f}")


if __name__ == "__main__":
    main()
