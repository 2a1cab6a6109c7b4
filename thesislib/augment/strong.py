"""Strong augmentations A_n that Figure 5.7 compares, one function each.

Each takes images (B, 3, H, W), classes (B,) and a generator, and returns images of
the same shape; class 0 leaves an image as it is. `STRONG` lists them by name. As it
has them, they also take classes of A rounds of the images, (A B,), and can return the
mask of what was pasted, which a weak view has to keep.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from thesislib.augment.draws import (
    augmentation,
    check_classes,
    check_images,
    constant,
    in_rounds,
    normal_noise,
    num_rounds,
)
from thesislib.augment.fov import coarse_field
from thesislib.augment.layout import Field, place
from thesislib.augment.lesions import Lesions
from thesislib.augment.medmix import CUTMIX, MedMixConfig, paste
from thesislib.augment.medmix import medmix as mix
from thesislib.errors import InputError
from thesislib.ranges import RangeError

HOLE = 0.2  # side of a cutout hole, fraction of the image side; ours
HOLE_VISIBLE = 0.05  # least mean change of a hole, as MedMix's lesions
NOISE_SIGMA = (0.0, 0.05, 0.1, 0.2)  # by class, in [0, 1] of intensity; ours


@augmentation
def rotation(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by 0, 90, 180 or 270 degrees, counter-clockwise, as CCD on fundus images.

    Raises:
        InputError: if images are not square.
    """
    _check(images, classes, generator, num_classes=4)
    height, width = images.shape[-2:]
    if height != width:
        raise InputError(f"rotation needs square images, got {height} x {width} pixels")
    k = classes[:, None, None, None]
    turned = torch.where(k % 2 == 1, images.mT, images)
    turned = torch.where((k == 1) | (k == 2), turned.flip(2), turned)
    return torch.where(k >= 2, turned.flip(3), turned)


@augmentation
def permutation(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Swap halves: 0 none, 1 left and right, 2 top and bottom, 3 both, as CCD.

    Raises:
        InputError: if a side is odd.
    """
    _check(images, classes, generator, num_classes=4)
    height, width = images.shape[-2:]
    if height % 2 or width % 2:
        raise InputError(f"permutation needs even sides, got {height} x {width} pixels")
    k = classes[:, None, None, None]
    swapped = torch.where(k % 2 == 1, images.roll(width // 2, dims=3), images)
    return torch.where(k >= 2, swapped.roll(height // 2, dims=2), swapped)


def cutout(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Blacken as many square holes as the class says, 0 to 3, apart from each other.

    CCD's holes have a fixed side, printed nowhere; ours is `HOLE` of the image side.
    Holes lie in the field of view, shrink where it has no room, and turn dark grey
    where the image is black already, so that their number can be seen.
    """
    return _cut_holes(images, classes, generator)[0]


@augmentation
def gaussian_noise(
    images: Tensor, classes: Tensor, generator: torch.Generator
) -> Tensor:
    """Add Gaussian noise of standard deviation `NOISE_SIGMA[class]`, clamped.

    CCD's classes are none, Gaussian, speckle and salt-and-pepper; the thesis names
    Gaussian noise only, so ours are four variances of it.
    """
    _check(images, classes, generator, num_classes=4)
    sigma = constant(NOISE_SIGMA, images.device)[classes]
    noise = normal_noise(images, generator)
    return (images + sigma[:, None, None, None] * noise).clamp(0.0, 1.0)


def cutmix(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Paste as many undeformed rectangles of other images as the class says, 0 to 3.

    MedMix without deformation, feather and visibility, so that Figure 5.7 compares
    these alone. Between alike images a rectangle may not be seen.
    """
    return mix(images, classes, generator, CUTMIX)[0]


def medmix(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Paste as many lesions as the class says, 0 to 3, thesis Section 5.3.2."""
    return mix(images, classes, generator)[0]


@dataclass(frozen=True)
class StrongAugmentation:
    """A strong augmentation f(images, classes, generator) and its number of classes."""

    function: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor | None]]
    num_classes: int

    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Augment images (B, 3, H, W) by classes (A B,), images round after round."""
        return self.with_mask(images, classes, generator)[0]

    def with_mask(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return also the mask of what was pasted, (A B, 1, H, W), None if nothing."""
        return self.function(images, classes, generator)


def medmix_with(
    num_classes: int, config: MedMixConfig | None = None
) -> StrongAugmentation:
    """Make MedMix with 0 .. `num_classes` - 1 lesions, for Figure 5.8."""
    config = replace(config or MedMixConfig(), max_lesions=num_classes - 1)
    return StrongAugmentation(
        lambda images, classes, generator: mix(images, classes, generator, config),
        num_classes,
    )


@augmentation
def _cut_holes(
    images: Tensor, classes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images and mask of `cutout`."""
    rounds = num_rounds(classes, images)
    _check(images, classes, generator, num_classes=4, rounds=rounds)
    _, channels, height, width = images.shape
    side = max(4, round(HOLE * min(height, width)))
    inside, cell = coarse_field(images)
    sizes = torch.full((len(classes), 3, 2), side, device=images.device)
    field = Field(inside, cell, (height, width), rounds)
    boxes = place(field, sizes, classes, min_side=4, generator=generator)
    holes = Lesions(boxes, classes)
    black = images.new_zeros(channels, len(holes.lesion))
    return paste(images, black, torch.ones_like(black[0]), holes, HOLE_VISIBLE)


def without_mask(
    function: Callable[[Tensor, Tensor, torch.Generator], Tensor],
) -> Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, None]]:
    """Let a function that pastes nothing be called, and answer, as one that does."""
    return lambda images, classes, generator: (
        function(in_rounds(images, classes), classes, generator),
        None,
    )


def _check(
    images: Tensor,
    classes: Tensor,
    generator: torch.Generator,
    num_classes: int,
    rounds: int = 1,
) -> None:
    check_images(images, generator)
    check_classes(classes, rounds * len(images), num_classes)


STRONG: dict[str, StrongAugmentation] = {
    "rotation": StrongAugmentation(without_mask(rotation), 4),
    "permutation": StrongAugmentation(without_mask(permutation), 4),
    "cutout": StrongAugmentation(_cut_holes, 4),
    "gaussian-noise": StrongAugmentation(without_mask(gaussian_noise), 4),
    "cutmix": medmix_with(4, CUTMIX),
    "medmix": medmix_with(4),
}


def strong_augmentation(
    name: str, num_classes: int, config: MedMixConfig
) -> StrongAugmentation:
    """The distributions $\\mathcal{A}_n$ that a pre-training's settings name.

    Args:
        name: The setting `strong`, a name in `STRONG`.
        num_classes: $|\\mathcal{A}|$; only MedMix takes others than its own.
        config: Of MedMix, where `name` is it.

    Raises:
        RangeError: If the augmentation is unknown or has not that many classes.
    """
    if name == "medmix":
        return medmix_with(num_classes, config)
    if name not in STRONG:
        raise RangeError(f"strong is {name!r}; allowed are {', '.join(STRONG)}.")
    chosen = STRONG[name]
    if num_classes != chosen.num_classes:
        raise RangeError(
            f"num_classes is {num_classes}, but {name} has {chosen.num_classes} "
            "classes; only medmix takes other numbers."
        )
    return chosen
