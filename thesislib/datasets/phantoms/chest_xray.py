"""Chest X-ray phantom: attenuation of body, lungs, heart and bones; two lesions.

Opacities are soft patches that add attenuation within the lungs. An effusion takes a
structure away: fluid fills the costophrenic angle and its sharp corner is gone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .drawing import Canvas, bell, radius, rotate, smoothstep, walk

NUM_TRUNKS = 14  # vessels leaving the two hila
NUM_TWIGS = 42
STEPS = 70  # along a trunk
STEP = 0.011  # coordinate units


@dataclass(frozen=True, kw_only=True)
class Chest:
    """Coordinates of each patient's chest and its parts, (B, S, S), 0 to 1."""

    x: Tensor  # 0 at the spine, positive on the patient's left
    y: Tensor
    body: Tensor
    lungs: Tensor  # air, heart and mediastinum taken out
    ribcage: Tensor  # both lungs, with what the heart hides
    heart: Tensor
    mediastinum: Tensor
    fluid: Tensor  # of the effusion, whether present or not


def draw(
    canvas: Canvas, present: dict[str, Tensor], difficulty: float
) -> tuple[Tensor, Tensor]:
    """Draw one block.

    Args:
        present: 1 where an image has opacities or an effusion, else 0, (B, 1, 1).
        difficulty: Strength of the lesion.

    Returns:
        Images (B, 3, S, S), grey, about 0 to 1, and masks (B, S, S), bool.
    """
    chest = _chest(canvas, (0.6 * difficulty * present["effusion"]).clamp(max=1))
    patches, cloud = _opacity(canvas, chest)
    opacity = difficulty * present["opacity"] * patches

    air = canvas.uniform(0.29, 0.37)
    image = 0.50 * chest.body * (1 + 0.05 * canvas.noise(3))
    image = image - air * chest.lungs
    soft = torch.maximum(chest.mediastinum, 0.6 * chest.heart)
    image = image + 0.14 * soft * chest.body + 0.02 * chest.heart
    markings = _vessels(canvas, chest) * (1 - 0.6 * opacity.clamp(max=1))
    image = image + chest.lungs * (canvas.uniform(0.06, 0.13) * markings)
    image = image + _bones(canvas, chest)
    image = image + _shadows(canvas, chest)
    image = image + opacity * (0.11 + 0.03 * cloud)
    image = _devices(canvas, image, chest)

    image = (image * canvas.uniform(0.80, 0.98) + canvas.normal(0.03, 0.02)) * 1.25
    image = image.clamp(min=1e-4) ** canvas.uniform(0.85, 1.2)
    image = canvas.blur(image, 0.005) + canvas.sensor_noise(0.014, 1)[:, 0]
    lesion = present["opacity"] * (patches > 0.35)
    lesion = lesion + present["effusion"] * (chest.fluid > 0.5)
    return image[:, None].expand(-1, 3, -1, -1), lesion > 0


def _chest(canvas: Canvas, effusion: Tensor) -> Chest:
    """Lay out one chest an image; `effusion` (B, 1, 1), 0 to 1, fills an angle."""
    x, y = rotate(canvas.x, canvas.y, canvas.normal(0, 0.03))
    x = (x + canvas.normal(0, 0.03)) * canvas.uniform(0.93, 1.10)
    y = (y + canvas.normal(0, 0.04)) * canvas.uniform(0.92, 1.08)
    x, y = x + 0.015 * canvas.noise(3), y + 0.015 * canvas.noise(3)
    across = x.abs()

    shoulder = -0.98 + canvas.uniform(0.30, 0.5) * smoothstep(0.15, 1.0, across)
    flank = canvas.uniform(0.86, 1.0) + 0.25 * smoothstep(-0.25, -0.65, y)
    body = smoothstep(-0.03, 0.05, y - shoulder) * smoothstep(
        0.03, -0.05, across - flank
    )

    parts = []
    base, which = canvas.uniform(0.46, 0.66), canvas.sign()
    rise = canvas.uniform(0.30, 0.55)
    for side, lift in ((1.0, 0.0), (-1.0, 0.06)):  # the liver lifts the right side
        parts.append((side, *_lung(canvas, x * side, y, base - lift)))
    ribcage, fluid = torch.zeros_like(x), torch.zeros_like(x)
    for side, lung, diaphragm, lateral in parts:
        level = diaphragm + 0.10 - rise * lateral.clamp(0, 1) ** 1.6
        filled = smoothstep(-0.02, 0.02, y - level) * (which == side)
        ribcage = torch.maximum(ribcage, lung * (1 - effusion * filled))
        fluid = torch.maximum(fluid, filled * lung)

    heart = _heart(canvas, x, y) * smoothstep(base + 0.10, base - 0.12, y)
    narrow = canvas.uniform(0.09, 0.13) + 0.05 * smoothstep(-0.45, -0.85, y)
    narrow = narrow + 0.03 * smoothstep(-0.1, 0.5, y)
    mediastinum = smoothstep(0.035, -0.035, across - narrow)
    clear = (1 - 0.93 * heart) * (1 - 0.92 * mediastinum)
    return Chest(
        x=x,
        y=y,
        body=body,
        lungs=ribcage * clear,
        ribcage=ribcage,
        heart=heart,
        mediastinum=mediastinum,
        fluid=fluid * clear,
    )


def _lung(
    canvas: Canvas, x: Tensor, y: Tensor, base: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One lung with x positive inside; the diaphragm; 0 medial to 1 lateral."""
    apex = canvas.uniform(-0.82, -0.72)
    down = ((y - apex) / (0.45 - apex)).clamp(0, 1)
    bulge = torch.sqrt((1 - (1 - down) ** 2.4).clamp(min=1e-4))
    outer = 0.28 + canvas.uniform(0.40, 0.50) * bulge
    outer = outer + 0.04 * smoothstep(0.2, 0.7, y)
    inner = 0.26 - 0.20 * smoothstep(0, 0.45, down)
    inner = inner + 0.03 * smoothstep(0.3, 0.7, y)
    lateral = (x - inner) / (outer - inner)
    dome = canvas.uniform(0.10, 0.18)
    diaphragm = base - dome + 1.5 * dome * (lateral.clamp(0, 1.2) - 0.35) ** 2
    diaphragm = diaphragm + 0.9 * dome * smoothstep(0.6, 1.05, lateral)
    lung = smoothstep(0.03, -0.02, x - outer) * smoothstep(-0.03, 0.02, x - inner)
    lung = lung * smoothstep(0.025, -0.025, y - diaphragm)
    return lung * smoothstep(-0.03, 0.05, y - apex), diaphragm, lateral


def _heart(canvas: Canvas, x: Tensor, y: Tensor) -> Tensor:
    """Ventricles, right atrium and aortic knob, (B, S, S), 0 to 1."""
    size = canvas.uniform(0.26, 0.36)
    cx, cy = canvas.normal(0.13, 0.02), canvas.normal(0.32, 0.03)
    u, v = rotate(x - cx, y - cy, canvas.normal(0.55, 0.08))
    ventricle = smoothstep(1.15, 0.86, radius(u / (1.12 * size), v / (0.82 * size)))
    u, v = x + 0.07, y - cy + 0.05
    atrium = smoothstep(1.15, 0.88, radius(u / 0.13, v / (0.75 * size)))
    u, v = x - canvas.normal(0.10, 0.015), y + canvas.normal(0.34, 0.03)
    knob = smoothstep(1.25, 0.75, radius(u / 0.075, v / 0.10))
    return torch.maximum(torch.maximum(ventricle, atrium), 0.8 * knob)


def _bones(canvas: Canvas, chest: Chest) -> Tensor:
    """Ribs, clavicles, spine and shoulder blades, added attenuation."""
    across, y = chest.x.abs(), chest.y
    spacing, offset = canvas.uniform(0.165, 0.205), canvas.uniform(0, 1)
    drop = canvas.uniform(0.35, 0.60)
    back = (y - drop * (across - 0.20) ** 2) / spacing + offset
    front = (y + canvas.uniform(0.55, 0.80) * across) / (1.15 * spacing) + 1.7 * offset
    ribs = 0.075 * _bands(back, 0.24) * smoothstep(0.05, 0.12, across)
    ribs = ribs + 0.035 * _bands(front, 0.22) * smoothstep(0.28, 0.5, across)
    visible = 0.25 + 0.75 * chest.ribcage
    visible = visible * (1 - 0.75 * chest.heart) * smoothstep(0.93, 0.85, across)
    ribs = ribs * visible * smoothstep(-0.92, -0.80, y) * smoothstep(0.85, 0.55, y)
    slope = canvas.uniform(0.08, 0.22)
    line = y + canvas.normal(0.66, 0.03) + slope * (across - 0.35)
    line = line - 0.03 * torch.sin(6 * across)
    clavicle = smoothstep(0.042, 0.022, line.abs()) + 0.5 * bell(
        line.abs() - 0.03, 0.012
    )
    clavicle = clavicle * smoothstep(0.06, 0.12, across) * smoothstep(0.9, 0.7, across)
    vertebrae = 0.6 + 0.4 * torch.cos(y * canvas.uniform(26, 32))
    spine = smoothstep(0.085, 0.055, across) * vertebrae
    trachea = smoothstep(0.045, 0.025, across) * smoothstep(-0.25, -0.4, y)
    blade = bell(across - 0.80 - 0.10 * y, 0.035) * smoothstep(0.2, -0.1, y)
    bones = canvas.uniform(0.7, 1.25) * ribs + 0.085 * clavicle + 0.035 * spine
    return (bones - 0.06 * trachea + 0.03 * blade) * chest.body


def _bands(phase: Tensor, half_width: float) -> Tensor:
    """One bone in each unit of phase: a tube, its two edges denser."""
    distance = (phase - phase.floor() - 0.5).abs()
    edge = bell(distance - half_width * 0.85, 0.055)
    return (
        0.75 * smoothstep(half_width * 1.15, half_width * 0.8, distance) + 0.45 * edge
    )


def _vessels(canvas: Canvas, chest: Chest) -> Tensor:
    """Markings that fan out from the hila, and the hila themselves, 0 to 1."""
    side = (1 - 2 * (torch.arange(NUM_TRUNKS) % 2))[None]
    x = side * canvas.uniform(0.13, 0.20, NUM_TRUNKS)
    y = canvas.normal(0.0, 0.05, NUM_TRUNKS)
    tilt = canvas.uniform(-1.35, 1.35, NUM_TRUNKS, 1)
    sway = canvas.normal(0, 0.05, NUM_TRUNKS, STEPS).cumsum(dim=-1)
    heading = torch.atan2(
        torch.sin(tilt + sway), side[..., None] * torch.cos(tilt + sway)
    )
    taper = 1 - 0.7 * torch.arange(STEPS) / STEPS
    width = canvas.uniform(0.012, 0.022, NUM_TRUNKS, 1) * taper
    px, py, ph = walk(x, y, heading, STEP)
    parent = canvas.uniform(0, NUM_TRUNKS, NUM_TWIGS, 1).long()
    start = canvas.uniform(10, STEPS, NUM_TWIGS, 1).long()

    def at_start(field: Tensor) -> Tensor:
        rows = field.gather(1, parent.expand(-1, -1, STEPS))
        return rows.gather(2, start).squeeze(2)

    fork = canvas.sign(NUM_TWIGS) * canvas.uniform(0.4, 0.9, NUM_TWIGS)
    sway = canvas.normal(0, 0.06, NUM_TWIGS, STEPS // 2).cumsum(dim=-1)
    tx, ty, _ = walk(
        at_start(px), at_start(py), (at_start(ph) + fork)[..., None] + sway, STEP
    )
    thin = 0.7 * at_start(width.expand(-1, -1, STEPS))[..., None]
    thin = thin * taper[: STEPS // 2]
    depth = canvas.strokes(px, py, width) + canvas.strokes(tx, ty, thin)
    hilum = bell((chest.x.abs() - 0.17) / 0.11, 1.0) * bell(chest.y + 0.01, 0.2)
    return 0.6 * hilum + 1 - torch.exp(-0.8 * depth) + 0.10 * canvas.fractal(10, 3)


def _shadows(canvas: Canvas, chest: Chest) -> Tensor:
    """Soft tissue over the lungs of healthy and ill alike: haze, breasts, stomach."""
    haze = smoothstep(-0.3, 1.1, chest.y + canvas.normal(0, 0.3))
    haze = haze * canvas.uniform(0, 0.10)
    u, v = (
        chest.x.abs() - canvas.uniform(0.42, 0.52),
        chest.y - canvas.uniform(0.2, 0.4),
    )
    r = radius(u, v) / canvas.uniform(0.28, 0.40)
    breast = smoothstep(1.05, 0.90, r) * canvas.chance(0.4) * canvas.uniform(0.02, 0.07)
    uneven = 0.015 * canvas.noise(3)
    fog = canvas.uniform(0, 0.03) * canvas.fractal(5, 2)
    u, v = chest.x - canvas.normal(0.38, 0.05), chest.y - canvas.normal(0.72, 0.03)
    bubble = smoothstep(1.2, 0.8, radius(u / 0.16, v / 0.08) + 0.1 * canvas.noise(4))
    bubble = 0.14 * bubble * canvas.chance(0.6) * (1 - chest.ribcage)
    return (haze + breast + uneven + fog) * chest.ribcage - bubble


def _opacity(canvas: Canvas, chest: Chest) -> tuple[Tensor, Tensor]:
    """Patches of consolidation within the lungs, 0 to 1, and their texture."""
    patches = torch.zeros_like(chest.lungs)
    for shown in (1.0, 0.9, 0.5):
        cx = canvas.sign() * canvas.uniform(0.30, 0.58)
        cy = canvas.uniform(-0.35, 0.40)
        size = canvas.uniform(0.13, 0.26)
        r = radius((chest.x - cx) / size, (chest.y - cy) / (1.2 * size))
        r = r * (1 + 0.30 * canvas.noise(5))
        patch = smoothstep(1.2, 0.3, r) * canvas.chance(shown)
        patches = torch.maximum(patches, patch)
    return patches * chest.lungs, canvas.fractal(9, 3)


def _devices(canvas: Canvas, image: Tensor, chest: Chest) -> Tensor:
    """Side marker and electrodes on some pictures."""
    u, v = canvas.x - 0.84 * canvas.sign(), canvas.y + canvas.uniform(0.80, 0.9)
    marker = smoothstep(0.06, 0.045, torch.maximum(u.abs(), 0.8 * v.abs()))
    letter = smoothstep(
        0.012, 0.004, torch.minimum((u + 0.02).abs(), (v - 0.035).abs())
    )
    image = torch.maximum(image, 0.65 * marker * letter * canvas.chance(0.5))
    wires = canvas.chance(0.2)
    for _ in range(3):
        u = chest.x - canvas.uniform(-0.6, 0.6)
        v = chest.y - canvas.uniform(-0.5, 0.5)
        disc = smoothstep(0.034, 0.022, radius(u, v))
        image = image + 0.16 * wires * disc
    return image
