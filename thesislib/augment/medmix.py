r"""MedMix, thesis Section 5.3.2: synthetic lesions cut, deformed and pasted.

$\mathcal{A}_n$ pastes $n$ patches of normal images into a normal image, each deformed
by colour jitter, Gaussian noise, fisheye and horizontal wave; $n$ is the class. The
thesis gives no numbers: those below are ours, with the reasons.

The label must be true: $n$ lesions have to be there to be seen. So lesions never
touch (`layout`), and the mean colour of each differs from that of what it covers by
`MedMixConfig.visible` or more (`make_visible`).

Axes: B images, L lesion slots, N lesions that exist, M pixels of all of them, C
channels.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from thesislib.augment.colour import JitterConfig, colour_map, jitter_factors, mean_luma
from thesislib.augment.draws import (
    augmentation,
    check_classes,
    check_images,
    constant,
    happens,
    num_rounds,
    uniform,
)
from thesislib.augment.fov import coarse_field
from thesislib.augment.layout import Field, place
from thesislib.augment.lesions import Lesions, pixels, planes, sample
from thesislib.ranges import above, at_least, within

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
        at_least(self, 1, "max_lesions", "min_side")
        within(self, "(0, 1]", "size")
        above(self, 0, "aspect", "wave_length")
        within(self, "[0, 1]", "same_image", "ellipse", "noise", "fisheye", "wave")
        within(self, "[0, 1]", "feather", "noise_sigma", "wave_amplitude")
        at_least(self, 0, "fisheye_k", "texture")
        within(self, "[0, 0.15]", "visible")


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
        counts: Lesions for each image, (B,), integers in 0 .. `max_lesions`; or for
            each of A rounds of the images, (A B,), as if these were repeated.
        generator: On the device of the images.
        config: `MedMixConfig()` if None.

    Returns:
        Images in [0, 1], as many as counts, and the mask of the lesions, (A B, 1, H,
        W), bool: `counts` components (8-connected) an image. Nothing changes outside
        the mask. In each component the change of a channel, averaged over pixels, has
        magnitude `config.visible` or more in the mean over channels; so the mean
        absolute change over pixels and channels is no smaller.

    Raises:
        InputError: if counts are out of range or the image has no room.
    """
    check_images(images, generator)
    config = config or MedMixConfig()
    rounds = num_rounds(counts, images)
    check_classes(counts, rounds * len(images), config.max_lesions + 1)
    height, width = images.shape[2:]
    inside, cell = coarse_field(images)
    fields = Field(inside, cell, (height, width), rounds)

    sizes = _draw_sizes(len(counts), min(height, width), config, generator)
    boxes = place(fields, sizes, counts, config.min_side, generator)
    lesions = Lesions(boxes, counts)
    sources, cuts = _draw_cuts(fields, lesions, config, generator)
    patches = _deform(images, lesions, sources, cuts, config, generator)
    alpha = _shape(lesions, min(height, width), config, generator)
    return paste(images, patches, alpha, lesions, config.visible, config.texture)


def paste(
    images: Tensor,
    patches: Tensor,
    alpha: Tensor,
    lesions: Lesions,
    visible: float,
    texture: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Blend patches into the images, each made visible if it is not.

    Args:
        images: (B, C, H, W); of A rounds if the lesions are.
        patches: Colours in [0, 1], (C, M).
        alpha: Opacity, (M,), 0 outside the lesion.
        lesions: Where they go; they do not overlap.
        visible: Least change of mean colour, see `make_visible`; so is `texture`.

    Returns:
        Images and mask as `medmix`.
    """
    mixed = images.repeat(lesions.num_images // len(images), 1, 1, 1)
    index = lesions.index(images.shape)  # (M,)
    covered = pixels(mixed, index)  # (C, M)
    patches = make_visible(patches, covered, alpha, lesions, visible, texture)
    changed = (covered + alpha * (patches - covered)).clamp_(0.0, 1.0)
    for plane, colour in zip(planes(mixed), changed, strict=True):
        plane.scatter_(0, index, colour)

    mask = torch.zeros_like(mixed[:, :1], dtype=torch.bool)
    mask.view(-1).scatter_(0, lesions.index(mask.shape), alpha > 0)
    return mixed, mask


def make_visible(
    patches: Tensor,
    covered: Tensor,
    alpha: Tensor,
    lesions: Lesions,
    visible: float,
    texture: float,
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
        patches: p, (C, M).
        covered: u, the image below, (C, M).
        alpha: Opacity, (M,); mean above 2.3 `visible` in each lesion.
        lesions: Which pixels belong together.
        visible: v, in [0, 1]; 0 leaves all patches as they are.
        texture: k.
    """
    if visible == 0:
        return patches
    within = (alpha > 0).float()
    number = lesions.total(within).clamp(min=1)  # pixels of the lesion, (N,)

    def mean(values: Tensor) -> Tensor:
        return lesions.total(values) / number

    to_black = mean(alpha * covered).mean(dim=0)  # (N,)
    to_white = mean(alpha) - to_black
    level, square = mean(within * covered), mean(within * covered.square())  # (C, N)
    spread = (square - level.square()).clamp(min=0.0).sqrt().mean(dim=0)
    bound = 1.02 * visible + texture * spread  # 2 %: rounding, also to 8 bits
    bound = torch.minimum(bound, 0.9 * torch.maximum(to_black, to_white))

    change = mean(alpha * (patches - covered))  # (C, N)
    signed = change.mean(dim=0)
    # |signed| < bound where it matters, so the numerators are positive.
    t_white = (bound - signed) / (to_white - signed).clamp(min=1e-6)
    t_black = (bound + signed) / (to_black + signed).clamp(min=1e-6)
    end = (t_white <= t_black).float()
    t = torch.minimum(t_white, t_black).clamp(0.0, 1.0)
    t = torch.where(change.abs().mean(dim=0) < bound, t, 0.0)
    return patches + lesions.each(t) * (lesions.each(end) - patches)


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


def _draw_cuts(
    fields: Field, lesions: Lesions, config: MedMixConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the source image of each lesion, (N,), and where it is cut, (N, 2).

    The first of `SOURCE_TRIES` places inside the source's field of view is taken,
    else the first of all.

    Returns:
        Sources, and top and left of the cut, pixels.
    """
    num_images, shape = lesions.num_images, (len(lesions),)
    other = 1 + (uniform(shape, (0.0, 1.0), generator) * (num_images - 1)).long()
    other = other.clamp(max=max(num_images - 1, 1))  # against rounding up
    same = happens(shape, config.same_image, generator)
    sources = torch.where(same, lesions.images, (lesions.images + other) % num_images)

    top, left, span_h, span_w = (x[sources][:, None] for x in fields.bounds)
    box_h, box_w = lesions.boxes[:, 2, None], lesions.boxes[:, 3, None]
    draw = uniform((2, *shape, SOURCE_TRIES), (0.0, 1.0), generator)
    y = top + (draw[0] * (span_h - box_h + 1).clamp(min=1)).long()
    x = left + (draw[1] * (span_w - box_w + 1).clamp(min=1)).long()
    y = torch.minimum(y, fields.size[0] - box_h)
    x = torch.minimum(x, fields.size[1] - box_w)
    cuts = torch.stack([y, x, box_h.expand_as(y), box_w.expand_as(x)], dim=-1)
    inside = fields.holds(cuts, images=sources[:, None])
    first = inside.to(torch.uint8).argmax(dim=1)
    return sources, cuts[torch.arange(len(cuts), device=first.device), first, :2]


def _deform(
    images: Tensor,
    lesions: Lesions,
    sources: Tensor,
    cuts: Tensor,
    config: MedMixConfig,
    generator: torch.Generator,
) -> Tensor:
    """Cut patches and deform them, (C, M) in [0, 1].

    Order: fisheye and wave (one bilinear resampling), colour jitter, Gaussian noise.
    A patch without colour stays so.
    """
    shape = (len(lesions),)
    chances = (config.jitter.probability, config.noise, config.fisheye, config.wave)
    chance = constant(chances, images.device)
    happening = uniform((4, *shape), (0.0, 1.0), generator) < chance[:, None]
    forced = uniform(shape, (0.0, 4.0), generator).long().clamp(max=3)
    if config.enforce:
        kind = torch.arange(4, device=images.device)[:, None]
        happening |= (kind == forced) & ~happening.any(dim=0)
    jittered, noisy, fisheye, wave = happening

    k = torch.where(fisheye, uniform(shape, config.fisheye_k, generator), 0.0)
    amplitude = uniform(shape, config.wave_amplitude, generator)
    amplitude = torch.where(wave, amplitude, 0.0)
    length = uniform(shape, config.wave_length, generator)
    patches = _cut(images, lesions, sources, cuts, k, amplitude, length)

    factors = jitter_factors(shape, config.jitter, generator, applied=jittered)
    matrix, share = colour_map(**factors)
    mean = lesions.total(patches) / lesions.num_pixels  # (C, N)
    bias = share * mean_luma(mean.T)
    matrix = lesions.each(matrix.flatten(1).T).view(3, 3, -1)
    patches = (matrix * patches).sum(dim=1) + lesions.each(bias)

    sigma = torch.where(noisy, uniform(shape, config.noise_sigma, generator), 0.0)
    if config.noise > 0 or config.enforce:
        drawn = patches.mT.shape
        noise = torch.randn(drawn, generator=generator, device=images.device)
        noise = torch.stack(noise.unbind(dim=1))  # (C, M)
        colour = patches.amax(dim=0) - patches.amin(dim=0)
        grey = lesions.each(lesions.largest(colour) < 1e-3)
        noise = torch.where(grey, noise[:1], noise)
        patches = patches + lesions.each(sigma) * noise
    return patches.clamp(0.0, 1.0)


def _cut(
    images: Tensor,
    lesions: Lesions,
    sources: Tensor,
    cuts: Tensor,
    k: Tensor,
    amplitude: Tensor,
    length: Tensor,
) -> Tensor:
    r"""Cut boxes through a fisheye and a horizontal wave, (C, M).

    On the box as $(u, v) \in [-1, 1]^2$: fisheye $r \mapsto r^{1+k}$ for $r \le 1$
    (the middle is magnified), wave $v \mapsto v + 2 A \sin(2 \pi y / \lambda)$ with
    $y = (u + 1) / 2$ the height in the box.
    """
    u, v = lesions.square
    magnify = (u.square() + v.square()).sqrt().clamp(1e-6, 1.0) ** lesions.each(k)
    wave = torch.sin(lesions.each(torch.pi / length) * (u + 1))
    shift = lesions.each(2 * amplitude) * wave
    half_h, half_w = (lesions.each(side / 2) for side in lesions.boxes[:, 2:].T)
    top, left = (lesions.each(start - 0.5) for start in cuts.T)
    y = top + (magnify * u + 1) * half_h
    x = left + (magnify * v + shift + 1) * half_w
    return sample(images.contiguous(), lesions.each(sources % len(images)), y, x)


def _shape(
    lesions: Lesions, image_side: int, config: MedMixConfig, generator: torch.Generator
) -> Tensor:
    r"""Opacity of each pixel, (M,): feathered ellipses and hard rectangles.

    The feather is $1 - \exp(-d^2 / 2 \sigma^2)$ at depth $d$ pixels below the rim, so
    it is opaque in the middle and nothing reaches beyond the ellipse. In small
    lesions $\sigma$ is an eighth of the shorter side at most.
    """
    u, v = lesions.square
    shorter = lesions.boxes[:, 2:].amin(dim=1).float()
    sigma = (shorter / 8).clamp(max=max(config.feather * image_side, 1e-3))
    ellipse = happens((len(lesions),), config.ellipse, generator)
    depth = (1 - (u.square() + v.square()).sqrt()).clamp(min=0.0)
    depth = depth * lesions.each(shorter / 2 / sigma)
    soft = -torch.expm1(-0.5 * depth.square())
    return torch.where(lesions.each(ellipse), soft, 1.0)
