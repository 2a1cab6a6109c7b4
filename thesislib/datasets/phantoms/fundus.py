"""Fundus phantom: optic disc and cup, branching vessels, macula, two lesion families.

Glaucoma enlarges the cup within the disc and shifts the light from rim to cup so that
the mean colour of the disc stays what it was. Retinopathy adds a patch of hard
exudates and haemorrhages.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .drawing import Canvas, bell, radius, rgb, rotate, smoothstep, walk

NUM_ARCADES = 8  # vessels that leave the disc: two each way, artery and vein
NUM_BRANCHES = 18
NUM_TWIGS = 30
STEPS = 150  # along an arcade
STEP = 0.0105  # coordinate units


@dataclass(frozen=True, kw_only=True)
class Disc:
    """Optic disc of each image; numbers are (B, 1, 1), fields (B, S, S)."""

    x: Tensor
    y: Tensor
    side: Tensor  # -1 disc left of the macula, 1 right of it
    radius: Tensor
    inside: Tensor  # 0 to 1, soft edge
    distance: Tensor  # from the centre, 1 at the edge of the disc
    cup: Tensor  # 0 to 1, soft edge
    cup_fraction: Tensor  # area of the cup over area of the disc


def draw(
    canvas: Canvas, present: dict[str, Tensor], difficulty: float
) -> tuple[Tensor, Tensor]:
    """Draw one block.

    Args:
        present: 1 where an image has retinopathy or glaucoma, else 0, (B, 1, 1).
        difficulty: Strength of the lesion.

    Returns:
        Images (B, 3, S, S), about 0 to 1, and masks (B, S, S), bool.
    """
    base = canvas.colour(0.66, 0.33, 0.16, 0.045)
    image = base * _choroid(canvas)
    disc = _disc(canvas, difficulty * present["glaucoma"])
    image = image * _macula(canvas, disc)
    image = _drusen(canvas, image)
    vessels = _vessels(canvas, disc)
    image = image * (1 - rgb(0.34, 0.66, 0.55) * vessels[:, None])
    patch, image = _retinopathy(
        canvas, image, disc, difficulty * present["retinopathy"]
    )
    image = _paint_disc(canvas, image, base, disc, vessels)
    image = _reflex(canvas, image, vessels)
    away = radius(canvas.x - canvas.normal(0, 0.02), canvas.y - canvas.normal(0, 0.02))
    aperture = smoothstep(0.015, -0.015, away - canvas.uniform(0.90, 1.0))
    image = image * aperture[:, None] * canvas.uniform(0.82, 1.12, 1, 1, 1)
    image = canvas.blur(image, 0.003) + canvas.sensor_noise(0.010, 3)
    cup = present["glaucoma"] * (disc.cup > 0.5)
    lesion = cup + present["retinopathy"] * (patch > 0.5)
    return image, (lesion > 0) & (aperture > 0.5)


def _choroid(canvas: Canvas) -> Tensor:
    """Uneven light and the pattern of the layer below, (B, 3, S, S)."""
    x, y = canvas.x - canvas.normal(0, 0.18), canvas.y - canvas.normal(0, 0.18)
    light = 1 - canvas.uniform(0.15, 0.40) * (x * x + y * y)
    shade = light * (1 + 0.05 * canvas.fractal(3, 3))
    stripes = bell(canvas.fractal(10, 2), 0.35) - 0.35
    tessellation = canvas.uniform(0, 0.10) * stripes * smoothstep(0.2, 0.6, light)
    colour = 1 + rgb(0.4, 1, 0.8) * (tessellation + 0.03 * canvas.noise(4))[:, None]
    return shade[:, None] * colour


def _disc(canvas: Canvas, glaucoma: Tensor) -> Disc:
    """Place the disc; `glaucoma` (B, 1, 1) enlarges its cup."""
    side = canvas.sign()
    centre_x, centre_y = side * canvas.uniform(0.20, 0.42), canvas.normal(0, 0.06)
    size, stretch = canvas.uniform(0.16, 0.27), canvas.normal(1.08, 0.04)
    u, v = rotate(canvas.x - centre_x, canvas.y - centre_y, canvas.normal(0, 0.15))
    u, v = u / size, v / (size * stretch)
    distance = torch.sqrt(u * u + v * v + 1e-6) * (1 + 0.035 * canvas.noise(3))
    inside = smoothstep(1.08, 0.92, distance)

    normal_ratio = canvas.normal(0.40, 0.09).clamp(0.18, 0.58)
    ratio = (normal_ratio + 0.18 * glaucoma).clamp(max=0.92)  # of the diameters
    tall = 1 + canvas.normal(0, 0.04) + 0.04 * glaucoma
    r = radius(u - canvas.normal(0, 0.04), (v - canvas.normal(0, 0.04)) / tall)
    r = r * (1 + 0.05 * canvas.noise(5)) / ratio
    cup = smoothstep(1.15, 0.85, r) * inside
    fraction = (cup.sum((1, 2), True) / inside.sum((1, 2), True)).clamp(max=0.9)
    return Disc(
        x=centre_x,
        y=centre_y,
        side=side,
        radius=size,
        inside=inside,
        distance=distance,
        cup=cup,
        cup_fraction=fraction,
    )


def _macula(canvas: Canvas, disc: Disc) -> Tensor:
    """Dark spot beside the disc, and the pale or dark ring around the disc."""
    centre_x = disc.x - disc.side * canvas.uniform(0.56, 0.70)
    centre_y = disc.y + canvas.normal(0.05, 0.03)
    r = radius(canvas.x - centre_x, canvas.y - centre_y)
    dark = bell(r, canvas.uniform(0.17, 0.26)) * canvas.uniform(0.15, 0.38)
    ring = smoothstep(1.6, 1.0, disc.distance) * canvas.uniform(-0.08, 0.22)
    crescent = smoothstep(1.35, 1.1, disc.distance) * smoothstep(
        0.0, 0.6, (canvas.x - disc.x) / disc.radius * -disc.side
    )
    ring = ring + 0.30 * canvas.chance(0.25) * crescent
    return (1 - rgb(0.8, 1, 1) * dark[:, None]) * (1 + ring[:, None])


def _drusen(canvas: Canvas, image: Tensor) -> Tensor:
    """Scattered pale dots and dark specks that healthy pictures have as well."""
    pale = smoothstep(1.6, 2.4, canvas.noise(26)) * canvas.chance(0.45)
    dark = smoothstep(1.8, 2.6, canvas.noise(22)) * canvas.chance(0.35)
    change = rgb(0.35, 0.55, 0.25) * (canvas.uniform(0.1, 0.4) * pale)[:, None]
    change = change - rgb(0.3, 0.5, 0.4) * (canvas.uniform(0.1, 0.4) * dark)[:, None]
    return image * (1 + change)


def _vessels(canvas: Canvas, disc: Disc) -> Tensor:
    """Arcades from the disc around the macula, branches and twigs, 0 to 1."""
    step = torch.arange(STEPS) / STEPS
    # Arcades: up and down, towards the macula (temporal) and away from it (nasal).
    index = torch.arange(NUM_ARCADES)
    down = 1 - 2 * (index % 2)[None]
    temporal = (index < NUM_ARCADES // 2).float()[None]
    towards = -disc.side[:, 0] * (2 * temporal - 1)  # (B, K)
    rise = torch.where(temporal > 0, 1.25, 0.75)
    rise = rise + canvas.uniform(-0.22, 0.22, NUM_ARCADES)
    turn = torch.where(temporal > 0, 1.9, 0.35)
    turn = -turn * canvas.uniform(0.7, 1.25, NUM_ARCADES)
    bending = turn[..., None] * bell(step - 0.25, 0.35) * STEP * 1.6
    sway = canvas.normal(0, 0.05, NUM_ARCADES, STEPS)
    angle = rise[..., None] + (bending + sway).cumsum(dim=-1)  # from the horizontal
    heading = torch.atan2(
        down[..., None] * torch.sin(angle), towards[..., None] * torch.cos(angle)
    )
    x = disc.x[:, 0] + canvas.normal(0, 0.022, NUM_ARCADES)
    y = disc.y[:, 0] + canvas.normal(0, 0.022, NUM_ARCADES)
    arcades = walk(x, y, heading, STEP)
    width = canvas.uniform(0.010, 0.016, NUM_ARCADES, 1) * (1 - 0.6 * step)
    curves = [(*arcades, width)]
    for count, fraction in ((NUM_BRANCHES, 0.55), (NUM_TWIGS, 0.32)):
        curves.append(_branches(canvas, curves[-1], count, fraction))
    depth = sum(canvas.strokes(x, y, w) for x, y, _, w in curves)
    strength = canvas.uniform(0.75, 1.05)
    return strength * (1 - torch.exp(-1.1 * depth))


def _branches(
    canvas: Canvas,
    parents: tuple[Tensor, Tensor, Tensor, Tensor],
    count: int,
    fraction: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Grow `count` curves out of the parents, `fraction` of an arcade long."""
    px, py, ph, pw = parents
    steps = int(STEPS * fraction)
    parent = (canvas.uniform(0, px.shape[1], count, 1)).long()
    start = (canvas.uniform(0.08, 0.85, count, 1) * px.shape[2]).long()

    def at_start(field: Tensor) -> Tensor:
        rows = field.gather(1, parent.expand(-1, -1, field.shape[2]))
        return rows.gather(2, start).squeeze(2)  # (B, count)

    fork = canvas.sign(count) * canvas.uniform(0.45, 0.95, count)
    straighten = -0.6 * fork[..., None] / steps
    sway = canvas.normal(0, 0.07, count, steps)
    curl = canvas.normal(0, 0.5, count, 1) / steps
    heading = (at_start(ph) + fork)[..., None]
    heading = heading + (straighten + curl + sway).cumsum(dim=-1)
    x, y, heading = walk(at_start(px), at_start(py), heading, STEP)
    taper = 1 - 0.7 * torch.arange(steps) / steps
    return x, y, heading, 0.68 * at_start(pw)[..., None] * taper


def _paint_disc(
    canvas: Canvas, image: Tensor, base: Tensor, disc: Disc, vessels: Tensor
) -> Tensor:
    """Paint rim, cup and the vessels that cross them."""
    mean = base * canvas.uniform(1.15, 1.55, 1, 1, 1)
    mean = (
        mean + canvas.colour(0.06, 0.19, 0.16, 0.03) + canvas.normal(0, 0.04, 1, 1, 1)
    )
    contrast = rgb(0.07, 0.18, 0.20) * canvas.uniform(0.4, 1.4, 1, 1, 1)
    pallor = (disc.cup - disc.cup_fraction * disc.inside)[:, None]  # mean 0 on the disc
    colour = mean + contrast * pallor
    colour = colour * (1 + 0.04 * canvas.noise(9))[:, None]
    hidden = vessels * (1 - 0.35 * disc.cup)
    colour = colour * (1 - rgb(0.22, 0.55, 0.50) * hidden[:, None])
    return image + 0.92 * disc.inside[:, None] * (colour - image)


def _retinopathy(
    canvas: Canvas, image: Tensor, disc: Disc, strength: Tensor
) -> tuple[Tensor, Tensor]:
    """A patch of exudates and haemorrhages; returns the patch and the image."""
    angle = canvas.uniform(0, math.tau)
    away = canvas.uniform(0.35, 0.72)
    centre_x = away * torch.cos(angle)
    centre_x = torch.where(
        (centre_x - disc.x).abs() < 0.40, centre_x - 0.75 * disc.side, centre_x
    ).clamp(-0.7, 0.7)
    u, v = canvas.x - centre_x, canvas.y - away * torch.sin(angle)
    r = radius(u, v * canvas.uniform(0.75, 1.3)) / canvas.uniform(0.16, 0.30)
    patch = smoothstep(1.2, 0.7, r * (1 + 0.20 * canvas.noise(5)))
    exudate = smoothstep(0.6, 1.6, canvas.noise(24) + 0.5 * canvas.noise(40))
    blood = smoothstep(0.6, 1.6, canvas.noise(17) + 0.4 * canvas.noise(34))
    change = rgb(0.20, 0.42, 0.25) * exudate[:, None]
    change = change - rgb(0.28, 0.42, 0.34) * (blood * (1 - exudate))[:, None]
    change = change * (0.9 * strength * patch)[:, None]
    return patch, image * (1 + change.clamp(min=-0.9))


def _reflex(canvas: Canvas, image: Tensor, vessels: Tensor) -> Tensor:
    """Sheen along the vessels of young eyes, reflexes of the lens, a hazy edge."""
    sheen = canvas.blur(vessels, 0.05) * smoothstep(0.2, 1.2, canvas.noise(5))
    image = image + (canvas.chance(0.4) * 0.12 * sheen)[:, None]
    for _ in range(3):
        u = canvas.x - canvas.normal(0, 0.35)
        v = canvas.y - canvas.normal(0, 0.35)
        spot = bell(radius(u, v * canvas.uniform(0.5, 2)), canvas.uniform(0.03, 0.06))
        image = image + rgb(0.6, 0.9, 1) * (canvas.uniform(0.1, 0.5) * spot)[:, None]
    angle = canvas.uniform(0, math.tau)
    side = canvas.x * torch.cos(angle) + canvas.y * torch.sin(angle)
    haze = canvas.uniform(0, 0.16) * smoothstep(0.2, 1.1, side)
    return image + rgb(0.9, 0.8, 0.7) * haze[:, None]
