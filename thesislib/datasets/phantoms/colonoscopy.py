"""Colonoscopy phantom: a lit tube with crescent folds, polyps and inflammation.

The wall is a field of log depths D seen by a camera that carries its lamp. Folds are
diaphragms across the tube that hide what lies behind them; lesions change the wall
before it is lit, so they take part in light, shadow and highlights.
"""

import math

import torch
from torch import Tensor

from .drawing import Canvas, bell, radius, rgb, rotate, smoothstep, soft_limit

NUM_FOLDS = 6
FIELD_OF_VIEW = 1.15  # tangent of half the angle of view
STEEPEST = 2.2  # largest slope of D that is shaded; steeper would draw black outlines


def draw(
    canvas: Canvas, present: dict[str, Tensor], difficulty: float
) -> tuple[Tensor, Tensor]:
    """Draw one block.

    Args:
        present: 1 where an image has a polyp or an inflammation, else 0, (B, 1, 1).
        difficulty: Strength of the lesion.

    Returns:
        Images (B, 3, S, S), about 0 to 1, and masks (B, S, S), bool.
    """
    lumen_x, lumen_y = canvas.normal(0, 0.32), canvas.normal(0, 0.32)
    depth = _tube(canvas, lumen_x, lumen_y)

    polyp, inside, bump, texture = _polyp(canvas, lumen_x, lumen_y)
    strength = difficulty * present["polyp"]
    flat = canvas.blur(depth, 0.12)
    cover = inside * strength.clamp(max=1)
    depth = depth + 0.6 * cover * (flat - depth)
    depth = depth - strength * (bump + 0.006 * texture * inside)

    region, grain = _inflammation(canvas)
    inflamed = difficulty * present["inflammation"] * region
    smooth_grain = canvas.uniform(0, 0.004)  # the mucosa of healthy images varies too
    depth = depth + (smooth_grain + 0.005 * inflamed) * grain

    light, glint = _light(canvas, depth)
    vessels = _vessels(canvas) * (1 - inflamed.clamp(max=1))
    colour = _mucosa(canvas, vessels, inflamed, grain)
    tint = rgb(0.02, -0.07, -0.045) * (1 + 0.5 * canvas.normal(0, 1, 1, 1, 1))
    colour = colour * (1 + tint * (inside * strength)[:, None])
    colour = _mucus(canvas, colour)

    image = colour * light[:, None] + 0.75 * glint[:, None]
    aperture = _aperture(canvas)
    image = image * aperture[:, None] + 0.012
    image = _position_box(canvas, image, aperture)
    image = image.clamp(min=1e-4) ** canvas.uniform(0.9, 1.15, 1, 1, 1)
    image = canvas.blur(image, 0.004) + canvas.sensor_noise(0.012, 3)

    lesion = present["polyp"] * polyp + present["inflammation"] * (region > 0.5)
    return image, (lesion > 0) & (aperture > 0.5)


def _tube(canvas: Canvas, lumen_x: Tensor, lumen_y: Tensor) -> Tensor:
    """Log depth of a bent tube of radius 1 with folds across it, (B, S, S)."""
    near_x = lumen_x + canvas.normal(0, 0.16)
    near_y = lumen_y + canvas.normal(0, 0.16)
    away = radius(canvas.x - near_x, canvas.y - near_y)
    bend = 1 / (1 + (away / 0.45) ** 2)  # 1 far down the tube, 0 beside the camera
    dx = canvas.x - near_x - (lumen_x - near_x) * bend
    dy = canvas.y - near_y - (lumen_y - near_y) * bend
    r = torch.sqrt(dx * dx + dy * dy + 1e-4)
    cos, sin = dx / r, dy / r
    waves = [(cos, sin)]  # cosine and sine of 1, 2, 3, 4 times the angle
    for _ in range(3):
        c, s = waves[-1]
        waves.append((c * cos - s * sin, s * cos + c * sin))

    def around(*strength: float) -> Tensor:
        """Random periodic function of the angle, (B, S, S)."""
        return sum(
            canvas.normal(0, a) * c + canvas.normal(0, a) * s
            for a, (c, s) in zip(strength, waves, strict=True)
        )

    r = r * (1 + around(0.06, 0.08, 0.10, 0.04) + 0.05 * canvas.noise(4))
    r = FIELD_OF_VIEW * r.clamp(min=0.02)
    depth = -torch.log(r + 0.10)
    place = canvas.uniform(0.70, 1.25)
    for position in _fold_positions(canvas, place):
        opening = 0.80 - 0.30 * torch.tanh(around(0.9, 0.5, 0.5, 0.2) + 0.2)
        opening = opening + 0.03 * canvas.noise(6)
        edge = r * position - opening
        hidden = smoothstep(-0.10, 0.12, edge)
        face = torch.log(position) - 0.25 * smoothstep(0, 0.5, edge)
        depth = depth - hidden * _ramp(depth - face)
    return depth + 0.02 * canvas.fractal(4, 2)


def _fold_positions(canvas: Canvas, place: Tensor) -> list[Tensor]:
    """Depths of the folds, farthest first, each (B, 1, 1)."""
    positions = []
    for _ in range(NUM_FOLDS):
        positions.append(place)
        place = place * canvas.uniform(1.25, 1.75)
    return positions[::-1]


def _ramp(value: Tensor, rounding: float = 0.12) -> Tensor:
    """max(0, value) with a rounded corner."""
    return (value + torch.sqrt(value * value + rounding**2) - rounding) / 2


def _polyp(
    canvas: Canvas, lumen_x: Tensor, lumen_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outline (bool), soft inside, height and surface of a sessile polyp."""
    angle, away = canvas.uniform(0, math.tau), canvas.uniform(0.35, 0.80)
    centre_x = (lumen_x + away * torch.cos(angle)).clamp(-0.65, 0.65)
    centre_y = (lumen_y + away * torch.sin(angle)).clamp(-0.65, 0.65)
    size, stretch = canvas.uniform(0.17, 0.34), canvas.uniform(0.75, 1.3)
    u, v = rotate(canvas.x - centre_x, canvas.y - centre_y, canvas.uniform(0, math.pi))
    r = radius(u / (size * stretch), v * stretch / size)
    r = r * (1 + 0.09 * canvas.noise(5))
    height = 1.3 * size * (1 - r * r).clamp(min=0) ** 1.35  # finite slope at the rim
    return r < 1, smoothstep(1.15, 0.70, r), height, canvas.noise(22)


def _inflammation(canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Region that fills a third to two thirds of the view, and its grain."""
    angle = canvas.uniform(0, math.tau)
    side = canvas.x * torch.cos(angle) + canvas.y * torch.sin(angle)
    field = side + 0.35 * canvas.noise(3) + canvas.uniform(-0.25, 0.35)
    return smoothstep(-0.2, 0.2, field), canvas.noise(30) + 0.7 * canvas.noise(16)


def _light(canvas: Canvas, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Light on the wall from a lamp beside the lens, and its highlights."""
    px, py = FIELD_OF_VIEW * canvas.x, FIELD_OF_VIEW * canvas.y
    dx, dy = canvas.gradient(depth)
    dx, dy = soft_limit(dx / FIELD_OF_VIEW, dy / FIELD_OF_VIEW, STEEPEST)
    # The normal of a surface z = exp(D) seen at p is (-grad D, 1 + p . grad D).
    nz = 1 + px * dx + py * dy
    length = torch.sqrt(dx * dx + dy * dy + nz * nz)
    lamp_x, lamp_y = canvas.normal(0, 0.28), canvas.normal(0, 0.28)
    facing = (1 + lamp_x * (px * nz - dx) + lamp_y * (py * nz - dy)) / length
    facing = facing / torch.sqrt(1 + (px + lamp_x) ** 2 + (py + lamp_y) ** 2)
    falloff = 1 / (0.55 + 0.45 * (torch.exp(depth) / canvas.uniform(0.9, 1.5)) ** 2)
    exposure = canvas.uniform(0.80, 1.10)
    light = exposure * (0.30 + 0.85 * facing.clamp(min=0)) * falloff.clamp(max=1.25)
    wet = smoothstep(0.9, 2.0, canvas.noise(14) + 0.7 * canvas.noise(30))
    mirror = bell(radius(dx + 0.4 * lamp_x, dy + 0.4 * lamp_y), 0.40)
    glint = mirror * wet * smoothstep(0.40, 0.8, light) * canvas.uniform(0.2, 1.1)
    return light, canvas.blur(glint, 0.008, least=0.4)


def _vessels(canvas: Canvas) -> Tensor:
    """Branching lines where noise crosses zero, (B, S, S), 0 to 1."""
    large = bell(canvas.fractal(4, 2), 0.10)
    small = bell(canvas.fractal(9, 2), 0.12)
    patches = smoothstep(-0.8, 0.6, canvas.noise(3))
    return (large + 0.6 * small).clamp(max=1) * patches


def _mucosa(canvas: Canvas, vessels: Tensor, inflamed: Tensor, grain: Tensor) -> Tensor:
    """Colour of the wall, (B, 3, S, S)."""
    base = canvas.colour(0.86, 0.50, 0.38, 0.055)
    shade = 1 + 0.05 * canvas.fractal(4, 3)
    shade = shade + inflamed * (0.03 * grain + 0.02 * canvas.noise(11))
    redness = 0.03 * canvas.noise(5) + inflamed * 0.03 * canvas.noise(18)
    colour = base * shade[:, None] * (1 + rgb(0.2, -1, -0.8) * redness[:, None])
    strength = canvas.uniform(0.06, 0.24) * vessels
    return colour * (1 - rgb(0.45, 1, 0.85) * strength[:, None])


def _mucus(canvas: Canvas, colour: Tensor) -> Tensor:
    """Flat yellow smears on some pictures: as large as polyps, but without relief."""
    for _ in range(2):
        u = canvas.x - canvas.uniform(-0.7, 0.7)
        v = canvas.y - canvas.uniform(-0.7, 0.7)
        r = radius(u, v) / canvas.uniform(0.07, 0.22)
        r = r * (1 + 0.25 * canvas.noise(5))
        smear = 0.4 * smoothstep(1.1, 0.6, r) * canvas.chance(0.35)
        yellow = canvas.colour(0.80, 0.66, 0.36, 0.04)
        colour = colour + smear[:, None] * (yellow - colour)
    return colour


def _aperture(canvas: Canvas) -> Tensor:
    """Octagonal to round field of view with dark corners, (B, S, S), 0 to 1."""
    x, y = canvas.x.abs(), canvas.y.abs()
    octagon = torch.maximum(torch.maximum(x, y), (x + y) * canvas.uniform(0.70, 0.78))
    disc = radius(x, y) * canvas.uniform(0.80, 0.99)
    edge = torch.where(canvas.chance(0.6) > 0, octagon, disc)
    vignette = 1 - 0.25 * smoothstep(0.6, 1.3, radius(x, y))
    return smoothstep(1.01, 0.97, edge * canvas.uniform(0.98, 1.04)) * vignette


def _position_box(canvas: Canvas, image: Tensor, aperture: Tensor) -> Tensor:
    """Green box of the scope-position display, lower left, on some pictures."""
    side = torch.maximum((canvas.x + 0.74).abs() / 0.22, (canvas.y - 0.76).abs() / 0.2)
    box = smoothstep(1.02, 0.98, side) * canvas.chance(0.25)
    line = bell(canvas.noise(8), 0.15)
    green = rgb(0.04, 0.16, 0.07) + rgb(0.2, 0.5, 0.25) * line[:, None]
    return image + box[:, None] * (green - image)
