"""Strong augmentations of chapter 4 as CCD's published program has them.

The thesis names cutout and Gaussian noise without numbers; `strong` has its forms of
them. The program's differ: a hole may lie anywhere and over another one, and the
classes of noise are kinds, not strengths. Class 0 leaves an image as it is.
"""

from statistics import NormalDist

import torch
from torch import Tensor

from thesislib.augment.draws import (
    augmentation,
    check_classes,
    check_images,
    in_rounds,
    normal_noise,
    uniform,
)
from thesislib.augment.strong import HOLE, StrongAugmentation, without_mask

MAX_HOLES = 3
NOISE_VARIANCE = 0.05  # of Gaussian and speckle noise, intensities in [0, 1]
SALT_AND_PEPPER = 0.05  # fraction of values that turn black or white, half each


@augmentation
def cutout_anywhere(
    images: Tensor, classes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Blacken as many square holes as the class says, 0 to 3, wherever they fall.

    Holes may overlap and reach over a border, so that a class is not always to be
    seen. Departure: the program draws the middle of a hole between 0 and the image's
    side less the hole's, which leaves the right and the lower border whole; here it is
    uniform over all pixels. The side, which the program does not give, is `strong.HOLE`
    of the image's, made odd, so that a hole reaches as far to one side as to the other.

    Returns:
        Images (B, 3, H, W), and mask of the holes (B, 1, H, W), bool.
    """
    check_images(images, generator)
    images = in_rounds(images, classes)
    check_classes(classes, len(images), MAX_HOLES + 1)
    height, width = images.shape[-2:]
    reach = max(3, round(HOLE * min(height, width)) | 1) // 2
    draw = uniform((2, len(images), MAX_HOLES, 1), (0.0, 1.0), generator)
    exists = torch.arange(MAX_HOLES, device=classes.device) < classes[:, None]

    def covered(size: int, draw: Tensor) -> Tensor:
        place = torch.arange(size, device=draw.device)
        return (place - (draw * size).long()).abs() <= reach  # (B, holes, size)

    rows, columns = covered(height, draw[0]), covered(width, draw[1])
    holes = rows[..., :, None] & columns[..., None, :] & exists[..., None, None]
    mask = holes.any(dim=1, keepdim=True)
    return images.masked_fill(mask, 0.0), mask


@augmentation
def noise_kinds(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise of a kind, clamped: 0 none, 1 Gaussian, 2 speckle, 3 salt and pepper.

    Speckle is Gaussian noise in proportion to the intensity; salt and pepper falls on
    each channel by itself, as scikit-image's, which the program uses. Departures: the
    program first stretches an image to the whole of [0, 1], in class 0 as well, here
    images keep their range; and noise on grey images is grey, see `normal_noise`.
    """
    check_images(images, generator)
    check_classes(classes, len(images), 4)
    noise = normal_noise(images, generator)  # an image has one kind: one draw for all
    gaussian = NOISE_VARIANCE**0.5 * noise
    rare = NormalDist().inv_cdf(1 - SALT_AND_PEPPER / 2)
    k = classes[:, None, None, None]
    noisy = torch.where(k == 1, images + gaussian, images)
    noisy = torch.where(k == 2, images + gaussian * images, noisy)
    noisy = torch.where((k == 3) & (noise > rare), 1.0, noisy)
    noisy = torch.where((k == 3) & (noise < -rare), 0.0, noisy)
    return noisy.clamp(0.0, 1.0)


PROGRAM: dict[str, StrongAugmentation] = {
    "cutout-anywhere": StrongAugmentation(cutout_anywhere, MAX_HOLES + 1),
    "noise-kinds": StrongAugmentation(without_mask(noise_kinds), 4),
}
