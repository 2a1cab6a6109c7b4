"""Bags of snippets: what training on weakly labelled videos draws from.

Axes: N videos, T segments (32), C crops, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thesislib.datasets.bank import MEMORY_FRACTION, draw_batch, free_memory
from thesislib.errors import InputError

SEGMENTS = 32  # a training bag, thesis Section 8.4.3
_LARGE = 2**15  # numbers a video, from which on the CPU converts one video at a time


def segments(snippets: np.ndarray, num_segments: int = SEGMENTS) -> np.ndarray:
    """Average the snippets of a video over equal parts of its length, Section 8.4.3.

    Edges are linspace(0, L, T + 1) cut down to whole numbers, as in the authors'
    program. Where two edges coincide, which happens in videos of fewer than T
    snippets, the segment is the one snippet at its edge, so that snippets repeat.
    A video of exactly T snippets stays as it is.

    Args:
        snippets: (L, C, D), L at least 1.
        num_segments: T.

    Returns:
        (T, C, D), float32.
    """
    if not len(snippets):
        raise InputError(
            f"snippets have shape {snippets.shape}; expected at least one."
        )
    edges = np.linspace(0, len(snippets), num_segments + 1).astype(int)
    whole = np.asarray(snippets, dtype=np.float32)
    # Where edge t reaches edge t + 1, reduceat gives the snippet at edge t alone.
    sums = np.add.reduceat(whole, edges[:-1], axis=0)
    counts = np.maximum(np.diff(edges), 1).astype(np.float32)
    return sums / counts[:, None, None]


class SnippetBank:
    """Training videos of one label in segments, half precision, on the device.

    On the CPU the bank is the memory-mapped file itself, so that processes share one
    copy; another device gets a copy if it fits, else batches are copied as they are
    drawn.
    """

    num_videos: int
    num_segments: int
    num_crops: int
    num_features: int

    def __init__(
        self,
        features: np.ndarray,
        device: torch.device | str = "cpu",
        memory_fraction: float = MEMORY_FRACTION,
    ) -> None:
        """Take segments, (N, T, C, D), float16.

        Args:
            features: An array or a memory map.
            device: Where batches are wanted.
            memory_fraction: Part of the device's free memory that the bank may take;
                0 always copies batch by batch.

        Raises:
            InputError: If shape or type is another, or there is no video.
        """
        if features.dtype != np.float16 or features.ndim != 4 or not features.size:
            raise InputError(
                f"features have shape {features.shape} and type {features.dtype}; "
                "expected (N, T, C, D), float16, at least one video."
            )
        self.device = torch.device(device)
        self.num_videos, self.num_segments, self.num_crops, self.num_features = (
            features.shape
        )
        self._features = torch.from_numpy(features)
        self.resident = self.device.type == "cpu" or (
            features.nbytes <= memory_fraction * free_memory(self.device)
        )
        """Whether the features lie on the device."""
        if self.resident:
            self._features = self._features.to(self.device)

    def __len__(self) -> int:
        return self.num_videos

    def __repr__(self) -> str:
        place = "on" if self.resident else "copied to"
        return (
            f"SnippetBank({self.num_videos} videos, {self.num_segments} segments, "
            f"{self.num_crops} crops, {self.num_features} features, "
            f"{place} {self.device})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the features take."""
        return self._features.nbytes

    def sample(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw videos uniformly, without replacement within the batch.

        Batches are independent of each other, so no video is ever left out for good,
        as the authors' loader of chapter 9 leaves out all but the first 32.

        Args:
            batch_size: B; a batch larger than the bank holds every video as often as
                any other, give or take one.
            generator: Source of randomness, on any device.

        Returns:
            (B, C, T, D), float32, on the device.
        """
        return self.take(draw_batch(self.num_videos, batch_size, generator))

    def take(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Videos by index, (B, C, T, D), float32, on the device."""
        where = torch.as_tensor(indices, device=self._features.device)
        if self.device.type == "cpu" and self._features[0].numel() >= _LARGE:
            batch = torch.empty(len(where), *self._features[0].transpose(0, 1).shape)
            for place, video in zip(batch, where.tolist(), strict=True):
                place.copy_(self._features[video].transpose(0, 1))
            return batch
        chosen = self._features.index_select(0, where)  # (B, T, C, D)
        if not self.resident:
            chosen = chosen.to(self.device)
        chosen = chosen.transpose(1, 2)
        return torch.empty(chosen.shape, device=self.device).copy_(chosen)

    def chosen(self, indices: np.ndarray) -> "SnippetBank":
        """A bank of some of the videos."""
        part = self._features[torch.as_tensor(indices, device=self._features.device)]
        return SnippetBank(part.cpu().numpy(), self.device)


@dataclass(frozen=True)
class Bags:
    """Training videos: a bank of normal ones and a bank of abnormal ones."""

    normal: SnippetBank
    abnormal: SnippetBank

    def __len__(self) -> int:
        return len(self.normal) + len(self.abnormal)

    @property
    def num_features(self) -> int:
        """D."""
        return self.normal.num_features

    def fewer_abnormal(self, number: int, seed: int) -> "Bags":
        """All normal videos and `number` abnormal ones, Figure 8.5.

        Smaller draws of one seed lie within larger ones.

        Raises:
            InputError: If there are fewer.
        """
        if not 1 <= number <= len(self.abnormal):
            raise InputError(
                f"{number} abnormal training videos are asked for; there are 1 to "
                f"{len(self.abnormal)}."
            )
        order = np.random.default_rng((seed, 85)).permutation(len(self.abnormal))
        return Bags(self.normal, self.abnormal.chosen(np.sort(order[:number])))
