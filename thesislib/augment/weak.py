"""Weak augmentations A_0 of thesis Section 5.4.2: the SimCLR family."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thesislib.augment.colour import (
    JitterConfig,
    apply_colour,
    colour_map,
    jitter_factors,
)
from thesislib.augment.draws import augmentation, check_images, happens, uniform
from thesislib.augment.geometry import (
    blurred_rows,
    crop_boxes,
    mix,
    resized_rows,
)
from thesislib.ranges import above, at_least, within

PORTION = 2**19  # values that a CPU takes at a time


@dataclass(frozen=True, kw_only=True)
class WeakConfig:
    """Settings of the weak augmentations.

    The thesis names them ("the same as in SimCLR") without numbers; the numbers are
    those of SimCLR (Chen et al. 2020, appendix A) and of CCD's published code.
    """

    # SimCLR: (0.08, 1.0); CCD's code: (0.2, 1.0). Ours, for MedMix: a crop may leave
    # out pasted lesions and make the label untrue. With three lesions of MedMix's
    # sizes some lesion loses more than half of itself in 66 % of the crops from 0.2,
    # 45 % from 0.5, 17 % from 0.75; none with `weak_view`'s `keep`.
    crop_scale: tuple[float, float] = (0.5, 1.0)  # fraction of the image area
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height, SimCLR
    flip: float = 0.5  # probability of a horizontal flip, SimCLR
    jitter: JitterConfig = field(default_factory=JitterConfig)
    grey: float = 0.2  # probability of greyscale, SimCLR
    blur: float = 0.5  # probability of a Gaussian blur, SimCLR
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels at 256 px, SimCLR
    blur_kernel: float = 0.1  # kernel, fraction of the side, made odd, SimCLR

    def __post_init__(self) -> None:
        within(self, "(0, 1]", "crop_scale")
        above(self, 0, "crop_ratio", "blur_kernel")
        at_least(self, 0, "blur_sigma")
        within(self, "[0, 1]", "flip", "grey", "blur")


@augmentation
def weak_view(
    images: Tensor,
    generator: torch.Generator,
    config: WeakConfig | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Draw one weak view of each image: crop-resize, flip, jitter, grey, blur.

    Departures from torchvision: see `colour` (one affine map, one clamp at the end);
    the blur is taken together with the crop, before the colours. As its weights sum
    to one it commutes with any affine colour map, save for the contrast pivot, which
    here is the mean of the blurred crop, and for the clamp. `blur_sigma` scales
    with the side, so at 64 px it is at most half a pixel.

    Args:
        images: (B, 3, H, W), float32 in [0, 1].
        generator: On the device of the images; all draws of a sample depend on its
            place in the batch alone.
        config: `WeakConfig()` if None.
        keep: Top, left, bottom, right of what the crop must contain, (B, 4), as
            `mask_bounds` makes them of MedMix's mask, so that a view shows all lesions
            its label counts. Crops of images with lesions are then a little larger and
            nearer the middle.

    Returns:
        Views of the same shape, clamped to [0, 1].
    """
    check_images(images, generator)
    config = config or WeakConfig()
    num_images, _, height, width = images.shape

    boxes = crop_boxes(
        num_images,
        (height, width),
        config.crop_scale,
        config.crop_ratio,
        generator,
        keep=keep,
    )
    top, left, box_h, box_w = boxes.unbind(dim=1)
    flipped = happens((num_images,), config.flip, generator)
    factors = jitter_factors((num_images,), config.jitter, generator)
    grey = happens((num_images,), config.grey, generator)
    colours = colour_map(grey=grey, **factors)
    blurred = happens((num_images,), config.blur, generator)
    side = min(height, width)
    sigma = uniform((num_images,), config.blur_sigma, generator) * (side / 256)
    sigma = torch.where(blurred, sigma, 0.0)
    along_height = [resized_rows(top, box_h, height)]
    along_width = [resized_rows(left, box_w, width, flipped)]
    if config.blur > 0:
        radius = blur_radius(side, config.blur_kernel)
        along_height.append(blurred_rows(sigma, height, radius))
        along_width.append(blurred_rows(sigma, width, radius))
    steps = (along_height, along_width)

    views = torch.empty_like(images, memory_format=torch.contiguous_format)
    for few in portions(images):
        view = mix(images[few], *([(r[few], w[few]) for r, w in x] for x in steps))
        view = apply_colour(view, *(x[few] for x in colours))
        torch.clamp(view, 0.0, 1.0, out=views[few])
    return views


def portions(images: Tensor) -> list[slice]:
    """Even slices of a batch: on a CPU of about `PORTION` values, elsewhere all.

    What lies between the steps stays near the core, and memory is used again instead
    of going back to the system and coming page by page.
    """
    on_cpu = images.device.type == "cpu"
    number = max(1, round(images.numel() / PORTION)) if on_cpu else 1
    step = max(1, math.ceil(len(images) / number))
    return [slice(start, start + step) for start in range(0, len(images), step)]


def blur_radius(side: int, kernel: float) -> int:
    """Pixels each side of an odd kernel of about `kernel` times the side, at least 1.

    25 pixels wide at 256 px, 7 at 64 px, 3 at 32 px.
    """
    return max(1, (int(kernel * side) | 1) // 2)
