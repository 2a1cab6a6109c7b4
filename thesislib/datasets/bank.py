"""Image bank: the images of a split, drawn from without Python per image."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from thesislib.errors import InputError

MEMORY_FRACTION = 0.5  # of the device's free memory that a bank may take


class ImageBank:
    """Images of one split, uint8, on the device or streamed to it.

    On the CPU the bank is the memory-mapped file itself, so that processes share
    one copy. On another device it is copied there if it fits, else every batch is
    read from the map, pinned, and copied while the device computes.

    Axes: N images, C channels (3: RGB, grey repeated; 1: grey), H = W = image_size.
    """

    num_images: int
    image_size: int  # pixels
    channels: int

    def __init__(
        self,
        images: np.ndarray,
        device: torch.device | str = "cpu",
        memory_fraction: float = MEMORY_FRACTION,
    ) -> None:
        """Take images, (N, C, H, W), uint8, square.

        Args:
            images: An array or a memory map.
            device: Where batches are wanted.
            memory_fraction: Part of the device's free memory the bank may take;
                0 always streams.

        Raises:
            InputError: If the shape or type is another.
        """
        _check(images)
        self.device = torch.device(device)
        self.memory_fraction = memory_fraction
        self.num_images, self.channels, self.image_size, _ = images.shape
        self._pixels = torch.from_numpy(images)
        self.resident = self.device.type == "cpu" or (
            images.nbytes <= memory_fraction * free_memory(self.device)
        )
        """Whether the images lie on the device, rather than being streamed to it."""
        if self.resident:
            self._pixels = self._pixels.to(self.device)

    @classmethod
    def from_array(
        cls, images: np.ndarray | Tensor, device: torch.device | str = "cpu"
    ) -> "ImageBank":
        """Bank of images in memory, (N, C, H, W), uint8."""
        return cls(np.ascontiguousarray(images), device)

    def __len__(self) -> int:
        return self.num_images

    def __repr__(self) -> str:
        place = "on" if self.resident else "streamed to"
        return (
            f"ImageBank({self.num_images} images of {self.image_size} px, "
            f"{place} {self.device})"
        )

    @property
    def pixels(self) -> np.ndarray:
        """The images as stored, uint8, (N, C, H, W), on the CPU."""
        return self._pixels.cpu().numpy()

    def stored(self, indices: np.ndarray) -> np.ndarray:
        """Images by index as stored, uint8, (n, C, H, W), copied to the CPU."""
        where = torch.from_numpy(indices).to(self._pixels.device)
        return self._pixels.index_select(0, where).cpu().numpy()

    def sample(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw a batch uniformly, without replacement within the batch.

        Batches are independent of each other; there are no epochs. A batch larger
        than the bank holds every image as often as any other, give or take one.

        Args:
            batch_size: B.
            generator: Source of randomness, on any device.

        Returns:
            Images, (B, C, H, W), float32 in [0, 1], on the device.
        """
        return self.take(draw_batch(self.num_images, batch_size, generator))

    def take(self, indices: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Images by index, (B, C, H, W), float32 in [0, 1], on the device.

        Args:
            indices: (B,), integers from 0 to N - 1.

        Raises:
            InputError: If the indices are not such a list.
        """
        where = torch.as_tensor(indices)
        if where.ndim != 1 or where.is_floating_point() or where.dtype == torch.bool:
            raise InputError(
                f"indices have shape {tuple(where.shape)} and type {where.dtype}; "
                "expected a list of whole numbers, (B,)."
            )
        where = where.to(self._pixels.device, torch.int64)
        if self._pixels.device.type == "cpu" and len(where):
            low, high = int(where.min()), int(where.max())
            if low < 0 or high >= self.num_images:
                raise InputError(
                    f"indices reach from {low} to {high}, but the bank holds "
                    f"0 to {self.num_images - 1}."
                )
        return self._to_device(self._pixels.index_select(0, where))

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """All images once, in order: (B, C, H, W), float32 in [0, 1].

        The last batch may be smaller. A streamed bank reads one batch ahead.
        """
        starts = range(0, self.num_images, batch_size)
        if self.resident:
            for start in starts:
                yield self._to_device(self._pixels[start : start + batch_size])
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, 0, batch_size)
            for start in starts:
                pixels = ahead.result()
                following = start + batch_size
                if following < self.num_images:
                    ahead = reader.submit(self._read, following, batch_size)
                yield self._to_device(pixels)

    def _read(self, start: int, batch_size: int) -> Tensor:
        return self._pinned(self._pixels[start : start + batch_size].clone())

    def _pinned(self, pixels: Tensor) -> Tensor:
        """Page-locked copy for CUDA, which then copies without waiting."""
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def _to_device(self, pixels: Tensor) -> Tensor:
        if not self.resident:
            if not pixels.is_pinned():
                pixels = self._pinned(pixels)
            pixels = pixels.to(self.device, non_blocking=True)
        return pixels.to(torch.float32).div_(255)


def draw_batch(number: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Indices of a batch drawn uniformly from `number`, (B,), int64.

    Without replacement; a batch larger than that holds each index as often as any
    other, give or take one.
    """
    rounds = -(-batch_size // number)
    order = [
        torch.randperm(number, generator=generator, device=generator.device)
        for _ in range(rounds)
    ]
    return torch.cat(order)[:batch_size]


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"images have shape {images.shape} and type {images.dtype}; expected "
            "(N, C, H, W), uint8."
        )
    if images.shape[2] != images.shape[3] or not len(images):
        raise InputError(
            f"images have shape {images.shape}; expected at least one, and H = W."
        )


def free_memory(device: torch.device) -> int:
    """Free bytes of a device; 0 where it cannot tell, so that banks stream."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        used = torch.mps.current_allocated_memory()
        return torch.mps.recommended_max_memory() - used
    return 0
