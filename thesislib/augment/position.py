"""Pairs of neighbouring patches for the position task, thesis Eq. (5.9)."""

import torch
from torch import Tensor

from thesislib.augment.draws import augmentation, check_images, constant, uniform
from thesislib.errors import InputError

# Row and column step to the second patch, in the order of CCD's published code.
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@augmentation
def position_pairs(
    images: Tensor, patch_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut one pair of patches from each image; the label is where the second lies.

    As in Patch-SVDD (Yi and Yoon 2020) and CCD: direction uniform over the eight
    neighbours, offset 3 K / 4 + U{0 .. K / 4 - 1} along each axis that the direction
    moves. Departure: those codes draw the first patch anywhere and clip the second to
    the image, which at the border puts it elsewhere than the label says; here the
    first is drawn uniformly among the places that leave room for the second.

    Args:
        images: (B, 3, H, W), float32 in [0, 1].
        patch_size: K, pixels; images need sides of at least 2 K - 1.
        generator: On the device of the images.

    Returns:
        First and second patches (B, 3, K, K) and labels (B,), 0 .. 7 as `DIRECTIONS`.

    Raises:
        InputError: if the patch is too small or too large.
    """
    check_images(images, generator)
    num_images, _, *size = images.shape
    check_pairs(patch_size, *size)
    device = images.device
    low, spread = 3 * patch_size // 4, patch_size // 4
    shape = (num_images,)
    labels = _below(shape, 8, generator)
    offset = low + _below((num_images, 2), spread, generator)
    step = offset * constant(DIRECTIONS, device)[labels]  # (B, 2)

    room = constant(tuple(size), device) - patch_size - step.abs()  # at least 0
    draw = uniform((num_images, 2), (0.0, 1.0), generator)
    first = torch.minimum((draw * (room + 1)).long(), room) + (-step).clamp(min=0)
    second = first + step

    windows = images.contiguous().unfold(2, patch_size, 1).unfold(3, patch_size, 1)
    rows = torch.arange(num_images, device=device)
    return (
        windows[rows, :, first[:, 0], first[:, 1]],
        windows[rows, :, second[:, 0], second[:, 1]],
        labels,
    )


def pair_size(patch_size: int | None, image_size: int) -> int:
    """Side of the patches of a pair: of 256 px images, 32 px either way.

    Args:
        patch_size: Side of the instances; None where these are the images, whose
            eighth part it then is.
        image_size: Side of the images, pixels.
    """
    return patch_size or image_size // 8


def check_pairs(patch_size: int, height: int, width: int) -> None:
    """Whether images have room for two neighbouring patches.

    Raises:
        InputError: If the patch is too small or too large, with the sizes.
    """
    largest = (min(height, width) + 1) // 2
    if not 4 <= patch_size <= largest:
        raise InputError(
            f"patch_size must lie in 4..{largest} for pairs of patches in images of "
            f"{height} x {width} pixels, got {patch_size}"
        )


def _below(shape: tuple[int, ...], bound: int, generator: torch.Generator) -> Tensor:
    """Integers uniform over 0 .. bound - 1."""
    return torch.randint(bound, shape, generator=generator, device=generator.device)
