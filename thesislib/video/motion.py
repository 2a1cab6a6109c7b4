r"""Motion and appearance of snippets without any weights.

Optical flow by Lucas and Kanade (1981) between neighbouring frames becomes maps of
direction and speed, averaged over the snippet and over square cells. What matters is
not where something moves: the maximum and the mean over cells forget the place, which
few videos with one label each could not teach.

Axes: B pairs of frames, H x W pixels, M maps, h x w cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from thesislib.errors import InputError
from thesislib.ranges import at_least
from thesislib.video import frames

ORIENTATIONS = 8
SPEEDS = (0.15, 0.5, 0.9, 1.4, 2.0, 3.0)  # pixels a frame at 120 pixels of height
SHARPNESS = 8.0  # of the threshold at each speed
LARGEST_FLOW = 6.0  # pixels a frame
WINDOW = 9  # pixels
DAMPING = 1e-4  # of the normal equations, grey levels from 0 to 1
_PAIRS = 16  # pairs of frames at a time


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Describes snippets by maps of motion, and of edges if asked for.

    Maps: 8 directions of flow weighted by speed, 6 speeds exceeded, 2 of the change of
    grey levels; with `appearance` also 8 directions of edges. Features: square roots of
    their maximum and mean over cells, D = 32, or 48.
    """

    snippet: int = 8  # frames
    stride: int = 4
    height: int = 120  # pixels; frames are resized to it, their shape kept
    cell: int = 10  # pixels
    appearance: bool = False

    def __post_init__(self) -> None:
        at_least(self, 2, "snippet")
        at_least(self, 1, "stride", "cell")
        at_least(self, WINDOW, "height")
        if self.stride > self.snippet:
            raise InputError(
                f"stride is {self.stride}; it must be at most snippet, {self.snippet}."
            )

    @property
    def about(self) -> Mapping[str, object]:
        """Settings, with the version of this description."""
        return {"name": "motion", "version": 1, **asdict(self)}

    @property
    def num_features(self) -> int:
        """D."""
        return 2 * (ORIENTATIONS * (1 + self.appearance) + len(SPEEDS) + 2)

    @torch.no_grad()
    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        """Features of a video, (T, 1, D), float32.

        Args:
            files: Frames in order, or one video file.
        """
        # A snippet of L frames has L - 1 pairs.
        snippets = frames.windows(self._cells(files), self.snippet - 1, self.stride)
        rows = [np.sqrt(pairs.mean(axis=0)) for pairs in snippets]  # (M, h w) each
        pooled = [np.concatenate([row.max(axis=1), row.mean(axis=1)]) for row in rows]
        return np.stack(pooled)[:, None].astype(np.float32)

    def _cells(self, files: Sequence[Path]) -> Iterator[np.ndarray]:
        """Maps of each pair of neighbouring frames, mean over cells, (M, h w)."""
        pairs = pairwise(self._grey(files))
        if not (batch := list(islice(pairs, _PAIRS))):
            raise InputError(
                f"{files[0].parent.name}/{files[0].name} is a single frame; motion "
                "needs at least two."
            )
        while batch:
            yield from self._maps(batch)
            batch = list(islice(pairs, _PAIRS))

    def _grey(self, files: Sequence[Path]) -> Iterator[Tensor]:
        """Grey frames, (H, W), 0 to 1, blurred, `height` pixels high."""
        for frame in frames.read(files, "L"):
            grey = torch.from_numpy(frame.astype(np.float32) / 255)[None, None]
            if grey.shape[2] != self.height:
                width = max(WINDOW, round(grey.shape[3] * self.height / grey.shape[2]))
                grey = interpolate(
                    grey, (self.height, width), mode="bilinear", antialias=True
                )
            yield box(box(grey, 3), 3)[0, 0]

    def _maps(self, batch: Sequence[tuple[Tensor, Tensor]]) -> np.ndarray:
        before = torch.stack([one for one, _ in batch])[:, None]  # (B, 1, H, W)
        after = torch.stack([other for _, other in batch])[:, None]
        flow = lucas_kanade(before, after)
        speed = flow.square().sum(dim=1, keepdim=True).sqrt()
        change = (after - before).abs()
        scaled = speed * (120 / self.height)
        maps = [orientations(flow, ORIENTATIONS)]
        maps += [torch.sigmoid(SHARPNESS * (scaled - bound)) for bound in SPEEDS]
        if self.appearance:
            edges = torch.cat(gradients(after), dim=1)
            maps.append(orientations(edges, ORIENTATIONS, signed=False))
        maps += [change, change.square()]
        cells = avg_pool2d(torch.cat(maps, dim=1), self.cell, ceil_mode=True)
        return cells.flatten(2).numpy()


def box(images: Tensor, size: int) -> Tensor:
    """Mean over a square window, edges repeated, (B, 1, H, W)."""
    half = size // 2
    return avg_pool2d(pad(images, [half] * 4, mode="replicate"), size, stride=1)


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, edges repeated, each (B, 1, H, W)."""
    wide = pad(images, [1, 1, 1, 1], mode="replicate")
    across = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
    return across, down


def lucas_kanade(before: Tensor, after: Tensor) -> Tensor:
    r"""Optical flow between two frames in pixels, one step, no pyramid.

    In each window the flow $v$ solves $(G + \lambda I) v = -b$ with
    $G = \sum \nabla I \nabla I^\top$ and $b = \sum I_t \nabla I$.

    Args:
        before: (B, 1, H, W), 0 to 1.
        after: As `before`.

    Returns:
        (B, 2, H, W), x and y, clipped at 6.
    """
    across, down = gradients((before + after) / 2)
    change = after - before
    xx, yy = box(across * across, WINDOW) + DAMPING, box(down * down, WINDOW) + DAMPING
    xy = box(across * down, WINDOW)
    bx, by = box(across * change, WINDOW), box(down * change, WINDOW)
    determinant = xx * yy - xy * xy
    x = (xy * by - yy * bx) / determinant
    y = (xy * bx - xx * by) / determinant
    return torch.cat([x, y], dim=1).clamp(-LARGEST_FLOW, LARGEST_FLOW)


def orientations(field: Tensor, number: int, signed: bool = True) -> Tensor:
    """Length of vectors shared between the two nearest of `number` directions.

    Args:
        field: (B, 2, H, W), x and y.
        number: Directions, evenly over the circle, or over half of it.
        signed: Whether opposite vectors differ.

    Returns:
        (B, number, H, W); the sum over directions is the length.
    """
    length = field.square().sum(dim=1, keepdim=True).sqrt()
    angle = torch.atan2(field[:, 1:], field[:, :1])
    place = angle * number / (2 * torch.pi if signed else torch.pi)  # in directions
    centre = torch.arange(number, dtype=field.dtype).view(1, -1, 1, 1)
    distance = (place - centre + number / 2).remainder(number) - number / 2
    return length * (1 - distance.abs()).clamp(min=0)
