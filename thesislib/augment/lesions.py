"""The pixels of all lesions of a batch, one after the other.

Lesions differ in size: as patches as large as the largest, they would hold several
times the pixels that are needed. So what belongs to a pixel is (..., M) here, lesion
after lesion and row after row, and what belongs to a lesion (..., N). Pixels come last:
a processor adds and multiplies them many at a time.

Axes: B images, L lesion slots, N lesions that exist, M pixels of their boxes, C
channels.
"""

from functools import cached_property

import torch
from torch import Tensor


class Lesions:
    """The first `counts` boxes of each image, and their pixels.

    Reading how many there are waits for a GPU twice.

    Args:
        boxes: Top, left, height, width in pixels, (B, L, 4), long.
        counts: (B,), at most L.

    Attributes:
        num_images: B.
        images: Image that each lesion lies in, (N,).
        boxes: (N, 4).
        num_pixels: Height times width, (N,).
        lesion: Lesion that each pixel belongs to, (M,), ascending.
        row, column: Of each pixel in its box, from 0, (M,), float.
    """

    def __init__(self, boxes: Tensor, counts: Tensor) -> None:
        exists = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
        self.num_images = len(counts)
        self.images, slots = exists.nonzero().unbind(dim=1)
        self.boxes = boxes[self.images, slots]
        self.num_pixels = self.boxes[:, 2] * self.boxes[:, 3]
        number = torch.arange(len(self.boxes), device=boxes.device)
        self.lesion = number.repeat_interleave(self.num_pixels)
        before = self.num_pixels.cumsum(0) - self.num_pixels
        place = torch.arange(len(self.lesion), device=boxes.device)
        place = place - self.each(before)
        width = self.each(self.boxes[:, 3])
        # Of fewer than 2^24 pixels the quotient in float32 is exact enough, and it
        # is found several times faster than that of integers.
        self.row = (place / width).floor()
        self.column = place - self.row * width

    def __len__(self) -> int:
        return len(self.boxes)

    def each(self, values: Tensor) -> Tensor:
        """Repeat what belongs to a lesion for each of its pixels, (..., N)."""
        return values.index_select(-1, self.lesion)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the pixels of each lesion, (..., M) to (..., N)."""
        return self._reduce(values, "sum")

    def largest(self, values: Tensor) -> Tensor:
        """Maximum over the pixels of each lesion, (..., M) to (..., N)."""
        return self._reduce(values, "max")

    def _reduce(self, values: Tensor, how: str) -> Tensor:
        lengths = self.num_pixels.expand(*values.shape[:-1], -1).contiguous()
        return torch.segment_reduce(
            values, how, lengths=lengths, axis=values.dim() - 1, unsafe=True
        )

    @cached_property
    def square(self) -> tuple[Tensor, Tensor]:
        """Height and breadth of each pixel in its box, from -1 to 1, (M,) each."""
        height, width = (self.each(side.float()) for side in self.boxes[:, 2:].T)
        return (2 * self.row + 1) / height - 1, (2 * self.column + 1) / width - 1

    def index(self, shape: torch.Size) -> Tensor:
        """Index of the pixels in each of the `planes` of images (B, C, H, W), (M,)."""
        first = pixel_index(shape, self.images, self.boxes[:, 0], self.boxes[:, 1])
        return self.each(first) + (self.row * shape[3] + self.column).long()


def planes(images: Tensor) -> list[Tensor]:
    """The channels of contiguous images (B, C, H, W), each laid out flat.

    Each plane starts at its channel in the first image and goes on to the end, so that
    a pixel has one index, `pixel_index`, in all of them. They are views.
    """
    size = images.shape[2] * images.shape[3]
    flat = images.view(-1)
    return [flat[channel * size :] for channel in range(images.shape[1])]


def pixel_index(shape: torch.Size, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Index of pixels (y, x) in each of the `planes` of images (B, C, H, W)."""
    _, channels, height, width = shape
    return (image * (channels * height) + y) * width + x


def pixels(images: Tensor, index: Tensor) -> Tensor:
    """Colours of the pixels at an index, (M,) to (C, M)."""
    return torch.stack([plane.index_select(0, index) for plane in planes(images)])


def sample(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values between pixels, borders repeated, (C, M).

    Args:
        images: Contiguous, (B, C, H, W).
        image: Which one to look into, (M,).
        y: Row, (M,); 0 is the middle of the first pixel. Likewise the column `x`.
    """
    height, width = images.shape[2:]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long().clamp(max=height - 2), x.long().clamp(max=width - 2)
    corner = pixel_index(images.shape, image, top, left)
    across, down = x - left, y - top

    def line(index: Tensor) -> Tensor:
        return torch.lerp(pixels(images, index), pixels(images, index + 1), across)

    return torch.lerp(line(corner), line(corner + width), down)
