"""Random numbers from an explicit generator, and the check every augmentation makes."""

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import TypeVar

import torch
from torch import Tensor

from thesislib.errors import InputError

Result = TypeVar("Result")


def augmentation(function: Callable[..., Result]) -> Callable[..., Result]:
    """Run f(images, ...) without gradients and in float32, also under autocast.

    Half precision would shift every pixel of an 8-bit image by up to a level.
    """

    @wraps(function)
    def run(images: Tensor, *args: object, **kwargs: object) -> Result:
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return function(images, *args, **kwargs)

    return run


def check_images(images: Tensor, generator: torch.Generator) -> None:
    """Refuse what is not a float32 batch (B, 3, H, W) on the generator's device.

    Values outside [0, 1] are not looked for: on a GPU that would wait for the device.

    Raises:
        InputError: naming the shape, type or device found and the one expected.
    """
    if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
        raise InputError(
            f"augmentations take float32 images of shape (B, 3, H, W), got "
            f"{images.dtype} of shape {tuple(images.shape)}"
        )
    if generator.device.type != images.device.type:
        raise InputError(
            f"the generator is on {generator.device}, the images on {images.device}; "
            "both must be on one device"
        )


def check_classes(classes: Tensor, num_images: int, num_classes: int) -> None:
    """Refuse classes that are not (B,) integers in 0 .. `num_classes` - 1.

    The range is read on the CPU only; on a GPU reading it would stall the device, and
    an out-of-range class trips an assertion there instead.

    Raises:
        InputError: naming the shape or range found.
    """
    if classes.shape != (num_images,) or classes.is_floating_point():
        raise InputError(
            f"classes must be {num_images} integers, one for each image, got "
            f"{classes.dtype} of shape {tuple(classes.shape)}"
        )
    allowed = ((classes >= 0) & (classes < num_classes)).all()
    if classes.device.type != "cpu":
        torch._assert_async(allowed, f"classes outside 0..{num_classes - 1}")
    elif not allowed:
        raise InputError(
            f"classes must lie in 0..{num_classes - 1}, got "
            f"{int(classes.min())}..{int(classes.max())}"
        )


@lru_cache(maxsize=64)
def constant(values: tuple, device: torch.device) -> Tensor:
    """A tensor of fixed numbers, made once: every copy to a GPU would wait for it."""
    return torch.tensor(values, device=device)


def num_rounds(classes: Tensor, images: Tensor) -> int:
    """How often images (B, ...) come, round after round, to make one for each class."""
    return max(1, classes.numel() // len(images))


def in_rounds(images: Tensor, classes: Tensor) -> Tensor:
    """Images (B, C, H, W) repeated, round after round, to make one for each class."""
    rounds = num_rounds(classes, images)
    return images if rounds == 1 else images.repeat(rounds, 1, 1, 1)


def uniform(
    shape: Sequence[int], bounds: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw U(low, high) of the given shape on the generator's device."""
    low, high = bounds
    draw = torch.rand(shape, generator=generator, device=generator.device)
    return low + (high - low) * draw


def happens(
    shape: Sequence[int], probability: float, generator: torch.Generator
) -> Tensor:
    """Draw booleans that are true with the given probability."""
    draw = torch.rand(shape, generator=generator, device=generator.device)
    return draw < probability


def normal_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw N(0, 1) of the shape of the images, equal in all channels of a grey one.

    Coloured noise in an X-ray would tell it apart by colour alone. Grey means that
    the channels differ by less than 0.001 everywhere.
    """
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    spread = images.amax(dim=1, keepdim=True) - images.amin(dim=1, keepdim=True)
    grey = spread.amax(dim=(2, 3), keepdim=True) < 1e-3
    return torch.where(grey, noise[:, :1], noise)
