"""Shape phantom: ten classes of grey silhouettes, where Fashion-MNIST is not at hand.

All classes cover the same area on average and share pose, size, shading, texture and
noise, so that a class is told by its outline. There are no lesions and no difficulty:
each class is the normal one in its turn. It was set from naive baselines before a
method was tried and is frozen with `generator_hash`: at 32 px the mean AUROC over
classes of one-class nearest neighbours is 0.505 on intensity statistics and 0.883 on
16 px thumbnails (`benchmarks/phantom_calibration.py --shapes`).
"""

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thesislib.errors import InputError

from .drawing import BLOCK, Canvas, radius, rotate, smoothstep

NAMES = (
    "disc",
    "ring",
    "square",
    "triangle",
    "star",
    "cross",
    "crescent",
    "heart",
    "arrow",
    "drop",
)
_STREAM = 3  # the other modalities have 0 to 2
_AREA = 0.75  # of 4, the picture, at mean size


@torch.no_grad()
def generate(classes: np.ndarray, image_size: int, seed: int) -> Tensor:
    """Draw silhouettes; image i depends on the seed, i and its class only.

    Args:
        classes: Index into `NAMES` for each image, (N,), integers.
        image_size: Rows and columns S, 28 to 512 pixels.
        seed: Seed of the draw, 0 or more.

    Returns:
        Images, (N, 1, S, S), uint8.

    Raises:
        InputError: An argument is outside the values above.
    """
    chosen = torch.as_tensor(np.asarray(classes), dtype=torch.int64)
    if chosen.ndim != 1 or ((chosen < 0) | (chosen >= len(NAMES))).any():
        raise InputError(f"classes must be whole numbers from 0 to {len(NAMES) - 1}.")
    if not 28 <= image_size <= 512:
        raise InputError(
            f"image_size is {image_size}; phantoms go from 28 to 512 pixels"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    images = torch.empty(len(chosen), 1, image_size, image_size, dtype=torch.uint8)
    for first in range(0, len(chosen), BLOCK):
        canvas = Canvas(image_size, seed, (_STREAM, first // BLOCK))
        block = torch.zeros(BLOCK, dtype=torch.int64)
        count = min(BLOCK, len(chosen) - first)
        block[:count] = chosen[first : first + count]
        image = draw(canvas, block)  # (B, S, S)
        levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
        images[first : first + count, 0] = levels[:count]
    return images


def draw(canvas: Canvas, classes: Tensor) -> Tensor:
    """Draw one block.

    Args:
        classes: Index into `NAMES`, (B,).

    Returns:
        Images, (B, S, S), about 0 to 1.
    """
    x, y = canvas.x + canvas.normal(0, 0.05), canvas.y + canvas.normal(0, 0.05)
    x, y = x + 0.035 * canvas.noise(3), y + 0.035 * canvas.noise(3)
    x, y = rotate(x, y, canvas.normal(0, 0.14))
    x = x + canvas.normal(0, 0.08) * y
    stretch = torch.exp(canvas.normal(0, 0.08))
    size = torch.exp(canvas.normal(0, 0.11))
    u, v = x / (size * stretch), y / (size / stretch)

    depth = torch.empty_like(u)  # inside positive, in coordinate units
    for index, (name, outline) in enumerate(OUTLINES.items()):
        of = (classes == index).nonzero()[:, 0]
        if len(of):
            scale = _scale(name)
            depth[of] = outline(u[of] / scale, v[of] / scale) * scale
    edge = canvas.uniform(0.05, 0.11)
    shape = smoothstep(-edge, edge, depth)

    angle = canvas.uniform(0, 2 * math.pi)
    ramp = torch.cos(angle) * canvas.x + torch.sin(angle) * canvas.y
    body = canvas.uniform(0.60, 0.90) + canvas.uniform(0.0, 0.20) * ramp
    body = body + canvas.uniform(0.02, 0.12) * canvas.fractal(4, 2)
    ground = canvas.uniform(0.05, 0.20) + canvas.uniform(0.0, 0.10) * ramp
    ground = ground + canvas.uniform(0.01, 0.08) * canvas.fractal(3, 2)
    image = ground + shape * (body - ground)
    return image + canvas.sensor_noise(0.03, 1)[:, 0]


# Outlines: depth inside, about a distance, negative outside; at unit size.
def disc(u: Tensor, v: Tensor) -> Tensor:
    return 1 - radius(u, v)


def ring(u: Tensor, v: Tensor) -> Tensor:
    return 0.32 - (radius(u, v) - 0.68).abs()


def square(u: Tensor, v: Tensor) -> Tensor:
    return 1 - torch.maximum(u.abs(), v.abs())


def triangle(u: Tensor, v: Tensor) -> Tensor:
    side = math.sqrt(0.75) * u.abs() - 0.5 * v
    return 0.5 - torch.maximum(side, v)


def star(u: Tensor, v: Tensor) -> Tensor:
    """Five tips at radius 1, five notches at radius 0.45."""
    half = math.pi / 5
    angle = torch.atan2(u, -v).abs() % (2 * half)
    angle = torch.minimum(angle, 2 * half - angle)  # from the nearest tip
    r = radius(u, v)
    along, across = r * torch.cos(angle), r * torch.sin(angle)
    run, rise = 1 - 0.45 * math.cos(half), 0.45 * math.sin(half)
    return ((1 - along) * rise - across * run) / math.hypot(run, rise)


def cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    upright = torch.minimum(0.36 - u, 1 - v)
    return torch.maximum(upright, torch.minimum(0.36 - v, 1 - u))


def crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.minimum(1 - radius(u, v), radius(u - 0.48, v) - 0.78)


def heart(u: Tensor, v: Tensor) -> Tensor:
    """A square on its tip with a half disc on each upper side."""
    v = v - 0.1
    side = 0.62  # half the side of the square
    shift = side / math.sqrt(2)
    tip = side - torch.maximum((u + v).abs(), (u - v).abs()) / math.sqrt(2)
    return torch.maximum(tip, side - radius(u.abs() - shift, v + shift))


def arrow(u: Tensor, v: Tensor) -> Tensor:
    head = torch.minimum(v + 1, 0.05 - v)
    head = torch.minimum(head, (0.9 * (v + 1) - u.abs()) / math.hypot(1, 0.9))
    shaft = torch.minimum(0.32 - u.abs(), torch.minimum(v + 0.2, 1 - v))
    return torch.maximum(head, shaft)


def drop(u: Tensor, v: Tensor) -> Tensor:
    """A disc and the cone from its tip that touches it."""
    r, far = 0.62, 1.38  # radius; tip to centre
    sine = r / far
    cosine = math.sqrt(1 - sine**2)
    cone = sine * (v + 1) - cosine * u.abs()
    cone = torch.minimum(cone, far * cosine**2 - (v + 1))
    return torch.maximum(cone, r - radius(u, v - (far - 1)))


_DRAWN = (disc, ring, square, triangle, star, cross, crescent, heart, arrow, drop)
OUTLINES = dict(zip(NAMES, _DRAWN, strict=True))


def generator_hash() -> str:
    """SHA-256 (hex) of the sources that draw shapes, line ends as "\\n"."""
    digest = hashlib.sha256()
    for name in ("drawing", "shapes"):
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        digest.update(f"{name}\n{source}\n".encode())
    return digest.hexdigest()


@lru_cache
def _scale(name: str) -> float:
    """Size at which an outline covers `_AREA`."""
    line = torch.linspace(-1.5, 1.5, 601)
    v, u = torch.meshgrid(line, line, indexing="ij")
    share = (OUTLINES[name](u, v) > 0).double().mean().item()
    return math.sqrt(_AREA / (share * 9))
