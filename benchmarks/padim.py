"""PaDiM: ours against anomalib's torch model, on the same images and weights.

    python benchmarks/padim.py [--size 256] [--train 100] [--test 50] [--repeats 3]

Both get one encoder (ResNet-18 with the same random weights: what they hold does not
change the time), the same images, channels, regularisation and smoothing, in float32.
Printed are, as medians over alternating repeats:

- Gaussians: fit and Mahalanobis distances from features that lie in memory;
- from images: the whole of fit and scoring;
- the largest difference of the distances and of the maps;
- peak memory of a process that fits and scores 200 and 2,000 images at 64 px, map
  after map. anomalib keeps the features of all training images.

Goals: Gaussians at least 7 times faster, from images at least 2 times, memory flat.

anomalib is no dependency of this package: `pip install anomalib` beside it. Without
it, our times and memory are printed alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

from thesislib.detectors import padim
from thesislib.detectors.padim import PaDiM, PaDiMConfig
from thesislib.nn.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet18
from thesislib.runs import stages

BATCH = 32
REGULARISATION = 0.01 + 1e-5  # anomalib adds both to the diagonal
SIGMA = 4.0  # of anomalib's smoothing, pixels at any size
GOAL_GAUSSIANS, GOAL_IMAGES = 7.0, 2.0
MEMORY_IMAGES, MEMORY_SIZE = (200, 2_000), 64
WHO = ("ours", "anomalib") if find_spec("anomalib") else ("ours",)


def batches(num_images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Smooth colour images with fine noise, (32, 3, size, size) at a time."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, num_images, BATCH):
        count = min(BATCH, num_images - start)
        coarse = torch.rand(count, 3, 8, 8, generator=generator)
        smooth = F.interpolate(coarse, (size, size), mode="bicubic")
        noise = 0.05 * torch.randn(smooth.shape, generator=generator)
        yield (smooth + noise).clamp(0, 1)


def our_padim(size: int) -> PaDiM:
    torch.manual_seed(0)
    config = PaDiMConfig(
        regularisation=REGULARISATION,
        relative=False,
        smoothing=SIGMA * padim.REFERENCE_SIZE / size,
    )
    return PaDiM(ResNet18(), config, seed=0)


def their_padim(ours: PaDiM):
    """anomalib's model with our encoder's weights and our channels."""
    # Imported here alone, so that it does not count in our memory.
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel(backbone="resnet18", pre_trained=False, n_features=100)
    network = model.feature_extractor.feature_extractor
    own = ours.encoder.state_dict()
    network.load_state_dict({name: own[name] for name in network.state_dict()})
    model.idx.copy_(ours.channels)
    return model


def normalised(images: Tensor) -> Tensor:
    """As torchvision's weights expect them; our encoder does it by itself."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def our_gaussians(train: Tensor, test: Tensor) -> Tensor:
    moments = padim.Moments()
    moments.add(train)
    covariance = padim.regularise(moments.covariance(), REGULARISATION, relative=False)
    return padim.mahalanobis(test, moments.mean(), padim.cholesky(covariance))


def their_gaussians(theirs, train: Tensor, test: Tensor) -> Tensor:
    grid = [round(train.shape[-1] ** 0.5)] * 2
    fitted = theirs.gaussian.fit(train.unflatten(-1, grid))
    distance = theirs.anomaly_map_generator.compute_distance
    return distance(test.unflatten(-1, grid), fitted).flatten(1)


def our_maps(ours: PaDiM, train: list[Tensor], test: list[Tensor]) -> Tensor:
    return ours.fit(train).score(test)[1]


def their_maps(theirs, train: list[Tensor], test: list[Tensor]) -> Tensor:
    theirs.train()
    theirs.feature_extractor.eval()
    for images in train:
        theirs(images)
    theirs.fit()
    theirs.eval()
    return torch.cat([theirs(images).anomaly_map for images in test]).squeeze(1)


def compare(
    name: str,
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor] | None,
    repeats: int,
    goal: float,
) -> None:
    """Print CPU seconds of both, their ratio and how far the results differ.

    Without anomalib, `theirs` is None, and our seconds stand alone.
    """
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = time.process_time()
        found = ours()
        middle = time.process_time()
        expected = theirs() if theirs else None
        times.append((middle - start, time.process_time() - middle))
    our, their = (statistics.median(t) for t in zip(*times, strict=True))
    if expected is None:
        print(f"{name}: ours {our:.2f} CPU-s")
        return
    ratio = statistics.median(their / our for our, their in times)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: ours {our:.2f} CPU-s, anomalib {their:.2f} CPU-s")
    reached = "reached" if ratio >= goal else "missed"
    print(f"  {ratio:.1f} times faster (goal {goal:.0f}, {reached})")
    print(f"  largest difference {difference:.1e} of the largest value")


def compare_gaussians(ours, theirs, train, test, repeats) -> None:
    train, test = (torch.cat([ours.embed(x) for x in part]) for part in (train, test))
    shifted = [x.mT.contiguous() for x in (train, test)]  # channels first, as theirs
    compare(
        "Gaussians",
        lambda: our_gaussians(train, test),
        theirs and (lambda: their_gaussians(theirs, *shifted)),
        repeats,
        GOAL_GAUSSIANS,
    )


def compare_from_images(ours, theirs, train, test, repeats) -> None:
    shifted = [[normalised(x) for x in part] for part in (train, test)]
    compare(
        "from images",
        lambda: our_maps(ours, train, test),
        theirs and (lambda: their_maps(theirs, *shifted)),
        repeats,
        GOAL_IMAGES,
    )


@torch.no_grad()
def measure_memory(who: str, num_images: int) -> None:
    """Fit and score `num_images` a batch at a time; print the peak in megabytes."""
    ours = our_padim(MEMORY_SIZE)
    if who == "ours":
        ours.fit(batches(num_images, MEMORY_SIZE, seed=0))
        for images in batches(num_images, MEMORY_SIZE, seed=1):
            ours.score([images])
    else:
        theirs = their_padim(ours)
        their_maps(
            theirs,
            batches(num_images, MEMORY_SIZE, seed=0),
            [next(batches(BATCH, MEMORY_SIZE, seed=1))],
        )
        for images in batches(num_images, MEMORY_SIZE, seed=1):
            theirs(images)
    print(json.dumps(stages.peak_memory() / 2**20))


def peak_of(who: str, num_images: int) -> float:
    command = [sys.executable, __file__, "--memory", who, "--train", str(num_images)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--train", type=int, default=100, help="images")
    parser.add_argument("--test", type=int, default=50, help="images")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", choices=WHO, help="one process")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory:
        measure_memory(chosen.memory, chosen.train)
        return
    ours = our_padim(chosen.size)
    theirs = their_padim(ours) if "anomalib" in WHO else None
    train = list(batches(chosen.train, chosen.size, seed=0))
    test = list(batches(chosen.test, chosen.size, seed=1))
    print(f"{chosen.train} + {chosen.test} images of {chosen.size} px, one thread")
    compare_gaussians(ours, theirs, train, test, chosen.repeats)
    compare_from_images(ours, theirs, train, test, chosen.repeats)
    for who in WHO:
        few, many = (peak_of(who, number) for number in MEMORY_IMAGES)
        print(
            f"peak memory of {who} at {MEMORY_SIZE} px: {few:.0f} MB with "
            f"{MEMORY_IMAGES[0]} images, {many:.0f} MB with {MEMORY_IMAGES[1]:,}"
        )
    if theirs is None:
        print(
            "Ratios need anomalib, which is not installed here; to get it: "
            f"{sys.executable} -m pip install anomalib"
        )


if __name__ == "__main__":
    main()
