"""Patches of images for the local models of chapters 5 and 6, and back again.

Axes in all shapes: B images, P patches an image, C channels, H = W pixels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from thesislib.errors import InputError


def grid(images: Tensor, patch_size: int, stride: int) -> Tensor:
    """All patches at equal steps, row by row, (B, C, H, W) to (B, P, C, h, w).

    Args:
        patch_size: h = w, pixels.
        stride: Pixels from one patch to the next; it has to divide H - h, so that
            patches reach every border.

    Raises:
        InputError: If patches do not fit.
    """
    check(images.shape[-1], patch_size, stride)
    cut = images.unfold(2, patch_size, stride).unfold(3, patch_size, stride)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def assemble(maps: Tensor, image_size: int, stride: int) -> Tensor:
    """Maps of all patches of `grid` as maps of images: the mean where they overlap.

    Args:
        maps: (B, P, C, h, w).
        image_size: H, pixels.
        stride: As in `grid`.

    Returns:
        (B, C, H, W).
    """
    patch_size = maps.shape[-1]
    columns = maps.flatten(2).transpose(1, 2)  # (B, C h w, P)
    arguments = {"kernel_size": patch_size, "stride": stride}
    total = F.fold(columns, image_size, **arguments)
    cover = F.fold(torch.ones_like(columns[:1]), image_size, **arguments)
    return total / cover


def portions(images: Tensor, patch_size: int | None, stride: int) -> Iterator[Tensor]:
    """Images whole, or all their patches image by image, at most 2,048 at a time.

    Args:
        images: (B, C, H, W).
        patch_size: None for the images themselves.
        stride: As in `grid`.
    """
    if patch_size is None:
        yield images
    else:
        yield from grid(images, patch_size, stride).flatten(0, 1).split(2_048)


def random_patches(
    images: Tensor, patch_size: int | None, generator: torch.Generator
) -> Tensor:
    """One patch of each image at a random place, to (B, C, h, w).

    Args:
        images: (B, C, H, W).
        patch_size: h = w, pixels; None for the images themselves.

    Raises:
        InputError: If patches do not fit into the images.
    """
    if patch_size is None:
        return images
    size = images.shape[-1]
    if not 1 <= patch_size <= size:
        raise InputError(f"patch_size is {patch_size}; images have {size} pixels.")
    shape = (2, len(images), 1)
    corners = torch.randint(
        size - patch_size + 1, shape, generator=generator, device=images.device
    )
    rows, columns = corners + torch.arange(patch_size, device=images.device)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    cut = images[each, :, rows[:, :, None], columns[:, None, :]]  # (B, h, w, C)
    return cut.permute(0, 3, 1, 2)


def check(image_size: int, patch_size: int, stride: int) -> None:
    """Whether patches of a grid reach every border.

    Raises:
        InputError: If they do not, with the sizes.
    """
    fits = 1 <= patch_size <= image_size and stride >= 1
    if not fits or (image_size - patch_size) % stride:
        raise InputError(
            f"patch_size is {patch_size} and stride {stride} pixels, but images have "
            f"{image_size}: the stride must divide what a patch leaves of a side."
        )
