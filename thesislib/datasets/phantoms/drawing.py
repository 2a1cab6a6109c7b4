"""What the phantoms are drawn with: random numbers, smooth noise, edges, blur.

A phantom is a function of position, not of pixels. Coordinates run from -1 at the
left and top edge to 1 at the right and bottom edge, so the same scene can be sampled
at any size; only the sensor noise belongs to the pixels.

Images are drawn in blocks of `BLOCK`, always whole, each block from its own random
streams. Image i is therefore the same whether 10 or 10,000 images are asked for.

Axes: B images of a block, S rows and columns, K curves, T steps along a curve.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

BLOCK = 16  # images drawn at once; part of the random streams


class Canvas:
    """A block of square pictures and the random numbers they are drawn from.

    Everything but `sensor_noise` comes from a stream that does not depend on the
    size, and must be asked for in the same order at every size and for every label.

    Attributes:
        size: Rows and columns S, pixels.
        x, y: Coordinates of the pixel centres, each (S, S), -1 to 1.
    """

    def __init__(self, size: int, seed: int, stream: tuple[int, ...]) -> None:
        """Open the random streams of `seed`; `stream` names modality and block."""
        scene, sensor = np.random.SeedSequence(seed, spawn_key=stream).spawn(2)
        self._scene = torch.Generator().manual_seed(_state(scene))
        self._sensor = torch.Generator().manual_seed(_state(sensor))
        self.size = size
        line = _line(size)
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw from [low, high) for each image, (B, 1, 1) or (B, *shape)."""
        shape = shape or (1, 1)
        return low + (high - low) * torch.rand(BLOCK, *shape, generator=self._scene)

    def normal(self, mean: float, std: float, *shape: int) -> Tensor:
        """Draw from a normal distribution for each image, (B, 1, 1) or (B, *shape)."""
        shape = shape or (1, 1)
        return mean + std * torch.randn(BLOCK, *shape, generator=self._scene)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """Draw 1 with this probability, else 0; (B, 1, 1) or (B, *shape), float."""
        return (self.uniform(0, 1, *shape) < probability).float()

    def sign(self, *shape: int) -> Tensor:
        """Draw -1 or 1 for each image, (B, 1, 1) or (B, *shape)."""
        return 2 * self.chance(0.5, *shape) - 1

    def colour(self, red: float, green: float, blue: float, std: float) -> Tensor:
        """Draw one colour near this one for each image, (B, 3, 1, 1)."""
        return rgb(red, green, blue) + self.normal(0, std, 3, 1, 1)

    def noise(self, cells: int) -> Tensor:
        """Smooth noise, (B, S, S), mean 0 and deviation 1, `cells` knots across.

        White noise on a lattice, interpolated by the uniform cubic B-spline. Noise
        too fine for the pixels (less than two to a knot) is drawn but left out.
        """
        lattice = self.normal(0, 1, cells + 3, cells + 3)
        if 2 * cells > self.size:
            return torch.zeros(BLOCK, self.size, self.size)
        weights = _spline_weights(self.size, cells)  # (S, cells + 3)
        return weights @ lattice @ weights.T

    def fractal(self, cells: int, octaves: int) -> Tensor:
        """Sum of noises, each twice as fine and half as strong; (B, S, S)."""
        return sum(0.5**k * self.noise(cells * 2**k) for k in range(octaves))

    def sensor_noise(self, std: float, channels: int) -> Tensor:
        """White noise of the camera, one number a pixel, (B, channels, S, S)."""
        shape = (BLOCK, channels, self.size, self.size)
        return std * torch.randn(shape, generator=self._sensor)

    def blur(self, field: Tensor, width: float, least: float = 0.0) -> Tensor:
        """Blur (..., S, S) by a Gaussian of deviation `width` in coordinate units.

        `least` is the smallest deviation in pixels. The kernel is normalised at the
        edge of the picture, so a constant stays a constant.
        """
        pixels = max(width * self.size / 2, least)
        if pixels < 0.2:  # the neighbours' weight would be below 4e-6
            return field
        weights = _blur_weights(self.size, pixels)  # (S, S)
        return weights @ field @ weights.T

    def gradient(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Slope of (B, S, S) along x and y, per coordinate unit."""
        step = 2 / self.size
        dy, dx = torch.gradient(field, spacing=step, dim=(-2, -1))
        return dx, dy

    def strokes(self, x: Tensor, y: Tensor, width: Tensor, levels: int = 3) -> Tensor:
        """Draw curves with a round brush; return their optical depth, (B, S, S).

        Points are shared out over the four nearest pixels and blurred at `levels`
        brush sizes, so the cost does not grow with the length of the curves.

        Args:
            x, y: Points along the curves, (B, K, T), evenly spaced on a curve.
            width: Deviation of the brush at each point, (B, K, T), coordinate units;
                0 lifts the brush.
        """
        size = self.size
        length = torch.hypot(x.diff(dim=-1), y.diff(dim=-1)).mean(dim=-1, keepdim=True)
        ink = width * length * (size / 2) ** 2  # pixels squared a point
        widest = width.amax()
        steps = torch.logspace(0, -(levels - 1), levels, base=2.0) * widest
        level = (width[..., None] - steps).abs().argmin(dim=-1)  # (B, K, T)
        column, row = (x + 1) * size / 2 - 0.5, (y + 1) * size / 2 - 0.5
        left, top = column.floor(), row.floor()
        paper = torch.zeros(levels * BLOCK * size * size)
        image = torch.arange(BLOCK).view(-1, 1, 1) + BLOCK * level
        for i, share_x in ((0, 1 - (column - left)), (1, column - left)):
            for j, share_y in ((0, 1 - (row - top)), (1, row - top)):
                c, r = (left + i).long(), (top + j).long()
                on = (c >= 0) & (c < size) & (r >= 0) & (r < size)
                where = (image * size + r.clamp(0, size - 1)) * size
                where = where + c.clamp(0, size - 1)
                drop = ink * share_x * share_y * on
                paper.index_add_(0, where.flatten(), drop.flatten())
        paper = paper.view(levels, BLOCK, size, size)
        return sum(
            self.blur(paper[k], steps[k].item(), least=0.45) for k in range(levels)
        )


def rgb(red: float, green: float, blue: float) -> Tensor:
    """One colour, (3, 1, 1)."""
    return torch.tensor([red, green, blue]).view(3, 1, 1)


def smoothstep(low: float | Tensor, high: float | Tensor, value: Tensor) -> Tensor:
    """Rise smoothly from 0 at `low` to 1 at `high`; falls where high < low."""
    t = ((value - low) / (high - low)).clamp_(0, 1)
    return (-2 * t).add_(3).mul_(t).mul_(t)


def bell(value: Tensor, width: float | Tensor) -> Tensor:
    """Gaussian profile exp(-(value / width)^2), 1 at its middle."""
    t = value / width
    return t.mul_(t).neg_().exp_()


def radius(x: Tensor, y: Tensor) -> Tensor:
    """Distance from the origin; several times faster than `torch.hypot`."""
    return (x * x).addcmul(y, y).sqrt_()


def soft_limit(dx: Tensor, dy: Tensor, most: float) -> tuple[Tensor, Tensor]:
    """Shorten steep slopes so that none exceeds `most`; gentle ones stay."""
    scale = torch.rsqrt(1 + (dx * dx + dy * dy) / most**2)
    return dx * scale, dy * scale


def rotate(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates in axes turned by `angle`, radians."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def walk(
    x: Tensor, y: Tensor, heading: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk from (B, K) starts along headings (B, K, T); return x, y, heading."""
    x = x[..., None] + (torch.cos(heading) * step).cumsum(dim=-1)
    y = y[..., None] + (torch.sin(heading) * step).cumsum(dim=-1)
    return x, y, heading


def _state(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _line(size: int) -> Tensor:
    return (torch.arange(size) + 0.5) * (2 / size) - 1


@lru_cache(maxsize=128)
def _spline_weights(size: int, cells: int) -> Tensor:
    """Cubic B-spline weights of `cells` + 3 knots at `size` pixels, (S, cells + 3).

    Divided by 151/315, the mean of the squared weights, so that unit white noise on
    the knots gives unit variance in the picture.
    """
    position = (_line(size) + 1) / 2 * cells + 1  # knots -1, 0, ..., cells + 1
    distance = (position[:, None] - torch.arange(cells + 3)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    weights = torch.where(distance < 1, near, far)
    return weights / math.sqrt(151 / 315)


@lru_cache(maxsize=64)
def _blur_weights(size: int, pixels: float) -> Tensor:
    distance = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    weights = bell(distance, math.sqrt(2) * pixels)
    weights[distance > 6 * pixels] = 0  # subnormal numbers are slow to multiply
    return weights / weights.sum(dim=1, keepdim=True)
