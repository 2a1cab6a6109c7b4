r"""MedMix, thesis Section 5.3.2: synthetic lesions cut, deformed and pasted.

$\mathcal{A}_n$ pastes $n$ patches of normal images into a normal image, each deformed
by colour jitter, Gaussian noise, fisheye and horizontal wave; $n$ is the class. The
thesis gives no numbers: those below are ours, with the reasons.

The label must be true: $n$ lesions have to be there to be seen. So lesions never
touch (`layout`), and the mean colour of each differs from that of what it covers by
`MedMixConfig.visible` or more (`make_visible`).

Axes: B images, L lesion slots, C channels, P x P pixels of the largest lesion.
"""

import math
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from thesislib.augment.colour import (
    JitterConfig,
    apply_colour,
    colour_map,
    jitter_factors,
)
from thesislib.augment.draws import (
    augmentation,
    check_classes,
    check_images,
    happens,
    normal_noise,
    uniform,
)
from thesislib.augment.fov import coarse_field
from thesislib.augment.layout import Field, box_pixels, place
from thesislib.errors import InputError

SOURCE_TRIES = 8  # places looked at for a cut that lies in the source's field of view


@dataclass(frozen=True, kw_only=True)
class MedMixConfig:
    """Settings of MedMix. All numbers are ours: the thesis prints none."""

    max_lesions: int = 3  # L; |A| = 4 classes, thesis Section 5.3.2; 6 in Figure 5.8
    size: tuple[float, float] = (0.05, 0.20)  # geometric mean side, fraction of side
    aspect: tuple[float, float] = (0.5, 2.0)  # height / width
    min_side: int = 4  # pixels; smaller lesions would not survive a weak view
    same_image: float = 0.2  # probability that a lesion is cut from its own image
    ellipse: float = 0.5  # probability of a feathered ellipse; else a hard rectangle
    feather: float = 2 / 256  # sigma of the soft rim, fraction of the image side
    jitter: JitterConfig = field(default_factory=JitterConfig)  # as the weak views'
    noise: float = 0.5  # probability
    noise_sigma: tuple[float, float] = (0.02, 0.1)  # in [0, 1] of intensity
    fisheye: float = 0.5  # probability
    fisheye_k: tuple[float, float] = (0.2, 0.6)  # r' = r^(1 + k)
    wave: float = 0.5  # probability
    wave_amplitude: tuple[float, float] = (0.02, 0.08)  # fraction of lesion width
    wave_length: tuple[float, float] = (0.25, 1.0)  # fraction of lesion height
    enforce: bool = True  # at least one deformation a lesion
    visible: float = 0.05  # least change of the mean colour of a lesion, in [0, 1]
    texture: float = 0.5  # added to it, in standard deviations of the covered tissue

    def __post_init__(self) -> None:
        if not 0 <= self.visible <= 0.15:
            raise InputError(
                f"MedMixConfig.visible must lie in [0, 0.15], got {self.visible}"
            )


# CutMix (Yun et al. 2019) as Figure 5.7 needs it: MedMix's rectangles, undeformed.
# Where patch and image agree nothing can be seen, as the method would have it.
CUTMIX = replace(
    MedMixConfig(),
    same_image=0.0,
    ellipse=0.0,
    jitter=JitterConfig(probability=0.0),
    noise=0.0,
    fisheye=0.0,
    wave=0.0,
    enforce=False,
    visible=0.0,
    texture=0.0,
)


@augmentation
def medmix(
    images: Tensor,
    counts: Tensor,
    generator: torch.Generator,
    config: MedMixConfig | None = None,
) -> tuple[Tensor, Tensor]:
    """Paste `counts` deformed patches of other images of the batch into each image.

    Args:
        images: Normal images, (B, 3, H, W), float32 in [0, 1]. A batch of one cuts
            from its own image.
        counts: Lesions for each image, (B,), integers in 0 .. `max_lesions`.
        generator: On the device of the images.
        config: `MedMixConfig()` if None.

    Returns:
        Images of the same shape in [0, 1], and the mask of the lesions, (B, 1, H, W),
        bool: `counts` components (8-connected) an image. Nothing changes outside the
        mask. In each component the change of a channel, averaged over pixels, has
        magnitude `config.visible` or more in the mean over channels; so the mean
        absolute change over pixels and channels is no smaller.

    Raises:
        InputError: if counts are out of range or the image has no room.
    """
    check_images(images, generator)
    config = config or MedMixConfig()
    check_classes(counts, images, config.max_lesions + 1)
    num_images, _, height, width = images.shape
    inside, cell = coarse_field(images)
    fields = Field(inside, cell, (height, width))

    sizes = _draw_sizes(num_images, min(height, width), config, generator)
    boxes = place(fields, sizes, counts, config.min_side, generator)
    sources, cuts = _draw_cuts(fields, boxes, config, generator)
    patches = _deform(images, sources, cuts, config, generator)
    exists = torch.arange(config.max_lesions, device=counts.device) < counts[:, None]
    alpha = _shape(boxes, patches.shape[-1], min(height, width), config, generator)
    alpha = alpha * exists[..., None, None]
    return paste(images, patches, alpha, boxes, config.visible, config.texture)


def paste(
    images: Tensor,
    patches: Tensor,
    alpha: Tensor,
    boxes: Tensor,
    visible: float,
    texture: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Blend patches into the images, each made visible if it is not.

    Args:
        images: (B, C, H, W).
        patches: (B, L, C, P, P) in [0, 1], upper left corner at that of the box.
        alpha: Opacity, (B, L, P, P), 0 outside the lesion and where there is none.
        boxes: (B, L, 4): top, left, height, width in pixels; they do not overlap.
        visible: Least change of mean colour, see `make_visible`; so is `texture`.

    Returns:
        Images and mask as `medmix`.
    """
    num_images, channels, height, width = images.shape
    step = torch.arange(patches.shape[-1], device=images.device)
    y = (boxes[..., 0, None] + step).clamp(max=height - 1)  # (B, L, P)
    x = (boxes[..., 1, None] + step).clamp(max=width - 1)
    pixel = (y[..., None] * width + x[..., None, :]).flatten(1)  # (B, L P P)
    flat, slots = images.flatten(2), patches.shape[1]
    each = pixel.view(num_images, slots, 1, -1).expand(-1, -1, channels, -1)
    covered = flat[:, None].expand(-1, slots, -1, -1).gather(3, each)
    covered = covered.view_as(patches)

    patches = make_visible(patches, covered, alpha, visible, texture)
    change = alpha[:, :, None] * (patches - covered)  # (B, L, C, P, P)
    # Boxes are disjoint: at most one addend a pixel differs from zero, so that the
    # order of the additions does not matter.
    change = change.transpose(1, 2).flatten(2)
    index = pixel[:, None].expand(-1, channels, -1)
    mixed = flat.scatter_add(2, index, change).clamp_(0.0, 1.0)
    mask = torch.zeros(num_images, height * width, device=images.device)
    mask.scatter_add_(1, pixel, (alpha > 0).float().flatten(1))
    return mixed.view_as(images), mask.view(num_images, 1, height, width) > 0


def make_visible(
    patches: Tensor, covered: Tensor, alpha: Tensor, visible: float, texture: float
) -> Tensor:
    r"""Shift a patch toward white or black until it differs from what it covers.

    Visible means that the mean colour changes: with means over the pixels of a lesion,
    $d = \frac{1}{3} \sum_c |\overline{\alpha (p_c - u_c)}|$ reaches the bound $v + k
    \sigma$, $\sigma$ the standard deviation of $u$ there (mean over channels). The mean
    of $|p - u|$ would not do: between two pieces of the same texture it is large, and
    nobody sees the seam; nor would noise alone, which the blur of a weak view removes.

    Where $d$ falls short, patch $p$ becomes $(1 - t) p + t e$, $e$ white or black. The
    signed mean over pixels and channels, $s(t) = (1 - t)\, \overline{\alpha (p - u)} +
    t\, \overline{\alpha (e - u)}$, is linear in $t$, so $t$ with $|s(t)|$ at the bound
    is known in closed form, and $d \ge |s|$. Since $\overline{\alpha u} +
    \overline{\alpha (1 - u)} = \bar\alpha$, one of the ends reaches $\bar\alpha / 2 >
    v$ (the bound is capped at 0.9 times what it reaches); of the two, the one that
    needs the smaller $t$ is taken.

    Args:
        patches: p, (B, L, C, P, P).
        covered: u, the image below, as `patches`.
        alpha: Opacity, (B, L, P, P); mean above 2.3 `visible` in each lesion.
        visible: v, in [0, 1]; 0 leaves all patches as they are.
        texture: k.
    """
    if visible == 0:
        return patches
    within = (alpha > 0).to(alpha.dtype)
    within = within / within.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    weight = alpha * within

    def mean(values: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        columns = torch.stack(weights, dim=-1).flatten(2, 3)  # (B, L, P P, weights)
        return (values.flatten(3) @ columns).unbind(dim=-1)  # (B, L, C) each

    covered_mean, level = mean(covered, weight, within)
    change = mean(patches, weight)[0] - covered_mean
    to_black = covered_mean.mean(dim=-1)  # (B, L)
    to_white = weight.sum(dim=(-2, -1)) - to_black
    variance = mean(covered.square(), within)[0] - level.square()
    spread = variance.clamp(min=0.0).sqrt().mean(dim=-1)
    bound = 1.02 * visible + texture * spread  # 2 %: rounding, also to 8 bits
    bound = torch.minimum(bound, 0.9 * torch.maximum(to_black, to_white))

    signed = change.mean(dim=-1)
    # |signed| < bound where it matters, so the numerators are positive.
    t_white = (bound - signed) / (to_white - signed).clamp(min=1e-6)
    t_black = (bound + signed) / (to_black + signed).clamp(min=1e-6)
    end = (t_white <= t_black).float()
    t = torch.minimum(t_white, t_black).clamp(0.0, 1.0)
    t = torch.where(change.abs().mean(dim=-1) < bound, t, 0.0)
    t, end = t[..., None, None, None], end[..., None, None, None]
    return patches + t * (end - patches)


def _draw_sizes(
    num_images: int, side: int, config: MedMixConfig, generator: torch.Generator
) -> Tensor:
    """Heights and widths of lesions in pixels, (B, L, 2), at most half the side."""
    shape = (num_images, config.max_lesions)
    mean_side = side * uniform(shape, config.size, generator)
    root = uniform(shape, config.aspect, generator).sqrt()
    sizes = torch.stack([mean_side * root, mean_side / root], dim=-1)
    largest = max(config.min_side, side // 2)
    return sizes.round().long().clamp(config.min_side, largest)


def _patch_side(side: int, config: MedMixConfig) -> int:
    """P, the largest side a lesion can have, pixels."""
    stretch = math.sqrt(max(config.aspect[1], 1 / config.aspect[0]))
    largest = min(math.ceil(config.size[1] * stretch * side), side // 2)
    return max(config.min_side, largest)


def _draw_cuts(
    fields: Field, boxes: Tensor, config: MedMixConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the source image of each lesion, (B, L), and the box cut there, (B, L, 4).

    The first of `SOURCE_TRIES` places inside the source's field of view is taken,
    else the first of all.
    """
    num_images, num_slots, _ = boxes.shape
    shape = (num_images, num_slots)
    own = torch.arange(num_images, device=boxes.device)[:, None]
    other = 1 + (uniform(shape, (0.0, 1.0), generator) * (num_images - 1)).long()
    other = other.clamp(max=max(num_images - 1, 1))  # against rounding up
    same = happens(shape, config.same_image, generator)
    sources = torch.where(same, own, (own + other) % num_images)

    top, left, span_h, span_w = (x[sources][..., None] for x in fields.bounds())
    box_h, box_w = boxes[..., 2, None], boxes[..., 3, None]
    draw = uniform((2, *shape, SOURCE_TRIES), (0.0, 1.0), generator)
    y = top + (draw[0] * (span_h - box_h + 1).clamp(min=1)).long()
    x = left + (draw[1] * (span_w - box_w + 1).clamp(min=1)).long()
    y = torch.minimum(y, fields.size[0] - box_h)
    x = torch.minimum(x, fields.size[1] - box_w)
    cuts = torch.stack([y, x, box_h.expand_as(y), box_w.expand_as(x)], dim=-1)
    inside = fields.holds(cuts, images=sources[..., None])
    first = inside.to(torch.uint8).argmax(dim=-1)[..., None, None]  # (B, L, 1, 1)
    return sources, cuts.gather(2, first.expand(-1, -1, 1, 4))[:, :, 0]


def _deform(
    images: Tensor,
    sources: Tensor,
    cuts: Tensor,
    config: MedMixConfig,
    generator: torch.Generator,
) -> Tensor:
    """Cut patches and deform them, (B, L, C, P, P) in [0, 1].

    Order: fisheye and wave (one bilinear resampling), colour jitter, Gaussian noise.
    A patch without colour stays so.
    """
    shape = sources.shape
    side = _patch_side(min(images.shape[-2:]), config)
    chances = (config.jitter.probability, config.noise, config.fisheye, config.wave)
    chance = torch.tensor(chances, device=images.device)
    happening = uniform((4, *shape), (0.0, 1.0), generator) < chance[:, None, None]
    forced = uniform(shape, (0.0, 4.0), generator).long().clamp(max=3)
    if config.enforce:
        kind = torch.arange(4, device=images.device)[:, None, None]
        happening |= (kind == forced) & ~happening.any(dim=0)
    jittered, noisy, fisheye, wave = happening

    k = torch.where(fisheye, uniform(shape, config.fisheye_k, generator), 0.0)
    amplitude = uniform(shape, config.wave_amplitude, generator)
    amplitude = torch.where(wave, amplitude, 0.0)
    length = uniform(shape, config.wave_length, generator)
    patches = _cut(images, sources, cuts, side, k, amplitude, length)

    flat = patches.flatten(0, 1)  # (B L, C, P, P)
    factors = jitter_factors(shape, config.jitter, generator, applied=jittered)
    factors = {name: value.flatten() for name, value in factors.items()}
    flat = apply_colour(flat, *colour_map(_box_mean(flat, cuts), **factors))

    sigma = torch.where(noisy, uniform(shape, config.noise_sigma, generator), 0.0)
    if config.noise > 0 or config.enforce:
        noise = normal_noise(flat, generator)
        flat = flat + sigma.flatten()[:, None, None, None] * noise
    return flat.clamp(0.0, 1.0).view_as(patches)


def _cut(
    images: Tensor,
    sources: Tensor,
    cuts: Tensor,
    side: int,
    k: Tensor,
    amplitude: Tensor,
    length: Tensor,
) -> Tensor:
    r"""Cut boxes through a fisheye and a horizontal wave, (B, L, C, P, P).

    On the box as $(u, v) \in [-1, 1]^2$: fisheye $r \mapsto r^{1+k}$ for $r \le 1$
    (the middle is magnified), wave $v \mapsto v + 2 A \sin(2 \pi y / \lambda)$ with
    $y = (u + 1) / 2$ the height in the box. A window around each box is copied first,
    so that no whole image is.
    """
    height, width = images.shape[-2:]
    window = min(side + 2 + side // 4, height, width)
    cuts = cuts.flatten(0, 1)  # (N, 4), N = B L
    win_y = (cuts[:, 0] - (window - side) // 2).clamp(min=0)
    win_x = (cuts[:, 1] - (window - side) // 2).clamp(min=0)
    win_y = torch.minimum(win_y, torch.tensor(height - window, device=win_y.device))
    win_x = torch.minimum(win_x, torch.tensor(width - window, device=win_x.device))
    # Windows are views of the image's memory; only those picked are copied.
    windows = images.contiguous().unfold(2, window, 1).unfold(3, window, 1)
    tissue = windows[sources.flatten(), :, win_y, win_x]  # (N, C, Q, Q)

    k, amplitude, length = (x.flatten()[:, None, None] for x in (k, amplitude, length))
    step = torch.arange(side, device=images.device) + 0.5
    box_h, box_w = cuts[:, 2, None].float(), cuts[:, 3, None].float()
    u = (2 * step / box_h - 1)[:, :, None]  # (N, P, 1)
    v = (2 * step / box_w - 1)[:, None, :]  # (N, 1, P)
    radius = (u.square() + v.square()).sqrt()
    magnify = radius.clamp(1e-6, 1.0) ** k
    shift = 2 * amplitude * torch.sin(torch.pi * (u + 1) / length)
    row = (magnify * u + 1) / 2 * box_h[:, :, None]  # pixels from the box's edge
    column = (magnify * v + shift + 1) / 2 * box_w[:, None, :]
    row = row + (cuts[:, 0] - win_y)[:, None, None]
    column = column + (cuts[:, 1] - win_x)[:, None, None]
    grid = torch.stack([column, row], dim=-1) * (2 / window) - 1  # (N, P, P, 2)
    patches = F.grid_sample(tissue, grid, padding_mode="border", align_corners=False)
    return patches.view(*sources.shape, *patches.shape[1:])


def _box_mean(patches: Tensor, boxes: Tensor) -> Tensor:
    """Channel means inside the boxes, (N, C), for patches (N, C, P, P)."""
    inside = box_pixels(boxes, patches.shape[-1]).flatten(0, 1).float()  # (N, P, P)
    total = torch.einsum("ncij,nij->nc", patches, inside)
    return total / inside.sum(dim=(1, 2))[:, None]


def _shape(
    boxes: Tensor,
    side: int,
    image_side: int,
    config: MedMixConfig,
    generator: torch.Generator,
) -> Tensor:
    r"""Opacity of each lesion, (B, L, P, P): feathered ellipse or hard rectangle.

    The feather is $1 - \exp(-d^2 / 2 \sigma^2)$ at depth $d$ pixels below the rim, so
    it is opaque in the middle and nothing reaches beyond the ellipse. In small
    lesions $\sigma$ is an eighth of the shorter side at most.
    """
    box_h, box_w = boxes[..., 2, None, None], boxes[..., 3, None, None]
    step = torch.arange(side, device=boxes.device) + 0.5
    u, v = 2 * step[:, None] / box_h - 1, 2 * step / box_w - 1
    shorter = torch.minimum(box_h, box_w)
    depth = (1 - (u.square() + v.square()).sqrt()).clamp(min=0.0) * shorter / 2
    sigma = (shorter / 8).clamp(max=max(config.feather * image_side, 1e-3))
    soft = -torch.expm1(-0.5 * (depth / sigma).square())
    ellipse = happens(boxes.shape[:2], config.ellipse, generator)[..., None, None]
    return torch.where(ellipse, soft, box_pixels(boxes, side).float())
