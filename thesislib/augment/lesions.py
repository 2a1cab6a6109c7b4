"""The pixels of all lesions of a batch, one after the other.

Lesions differ in size: as patches as large as the largest, they would hold several
times the pixels that are needed. So what belongs to a pixel is (M, ...) here, lesion
after lesion and row after row, and what belongs to a lesion (N, ...).

Axes: B images, L lesion slots, N lesions that exist, M pixels of their boxes.
"""

import torch
from torch import Tensor


class Lesions:
    """The first `counts` boxes of each image, and their pixels.

    Reading how many there are waits for a GPU once.

    Args:
        boxes: Top, left, height, width in pixels, (B, L, 4), long.
        counts: (B,), at most L.

    Attributes:
        images: Image that each lesion lies in, (N,).
        boxes: (N, 4).
        num_pixels: Height times width, (N,).
        lesion: Lesion that each pixel belongs to, (M,), ascending.
        row, column: Of each pixel in its box, from 0, (M,).
    """

    def __init__(self, boxes: Tensor, counts: Tensor) -> None:
        exists = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
        self.images = exists.nonzero()[:, 0]
        self.boxes = boxes[exists]
        self.num_pixels = self.boxes[:, 2] * self.boxes[:, 3]
        number = torch.arange(len(self.boxes), device=boxes.device)
        self.lesion = number.repeat_interleave(self.num_pixels)
        before = self.num_pixels.cumsum(0) - self.num_pixels
        place = torch.arange(len(self.lesion), device=boxes.device)
        place = place - self.each(before)
        width = self.each(self.boxes[:, 3])
        self.row = place // width
        self.column = place - self.row * width

    def __len__(self) -> int:
        return len(self.boxes)

    def each(self, values: Tensor) -> Tensor:
        """Repeat what belongs to a lesion for each of its pixels, (N, ...)."""
        return values.index_select(0, self.lesion)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the pixels of each lesion, (M, K) to (N, K)."""
        return torch.segment_reduce(values, "sum", lengths=self.num_pixels, unsafe=True)

    def largest(self, values: Tensor) -> Tensor:
        """Maximum over the pixels of each lesion, (M,) to (N,)."""
        return torch.segment_reduce(values, "max", lengths=self.num_pixels, unsafe=True)

    def square(self) -> tuple[Tensor, Tensor]:
        """Height and breadth of each pixel in its box, from -1 to 1, (M,) each."""
        box = self.each(self.boxes[:, 2:].float())
        v = (2 * self.row + 1) / box[:, 0] - 1
        return v, (2 * self.column + 1) / box[:, 1] - 1

    def index(self, shape: torch.Size) -> Tensor:
        """Where the pixels lie in images (B, C, H, W), laid out flat, (M, C)."""
        _, channels, _, width = shape
        first = pixel_index(shape, self.images, self.boxes[:, 0], self.boxes[:, 1])
        place = self.each(first) + self.row * width + self.column
        return place[:, None] + _planes(shape, channels, place.device)


def pixel_index(shape: torch.Size, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Index of pixels (y, x) of the first channel in images (B, C, H, W) laid flat."""
    _, channels, height, width = shape
    return (image * (channels * height) + y) * width + x


def sample(images: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values between pixels, borders repeated, (M, C).

    Args:
        images: (B, C, H, W).
        image: Which one to look into, (M,).
        y: Row, (M,); 0 is the middle of the first pixel. Likewise the column `x`.
    """
    _, channels, height, width = images.shape
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long().clamp(max=height - 2), x.long().clamp(max=width - 2)
    corner = pixel_index(images.shape, image, top, left)[:, None]
    corner = corner + _planes(images.shape, channels, y.device)
    flat = images.flatten()
    across, down = (x - left)[:, None], (y - top)[:, None]

    def line(index: Tensor) -> Tensor:
        index = index.flatten()
        ends = flat.index_select(0, index), flat.index_select(0, index + 1)
        first, second = (end.view(-1, channels) for end in ends)
        return torch.lerp(first, second, across)

    return torch.lerp(line(corner), line(corner + width), down)


def _planes(shape: torch.Size, channels: int, device: torch.device) -> Tensor:
    """Offset of each channel, (C,)."""
    return torch.arange(channels, device=device) * (shape[2] * shape[3])
