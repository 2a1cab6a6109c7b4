r"""Colour jitter and greyscale as one affine map in RGB for each sample.

Brightness, contrast, saturation, hue and greyscale each take a pixel $p \in [0,1]^3$
to $M p + b$, so a chain of them is one $3 \times 3$ matrix and one bias a sample.
Departures from torchvision's `ColorJitter`: values are clamped once at the end, not
between the steps; the order is fixed (torchvision shuffles it); hue turns the chroma
plane of YIQ by the angle instead of the HSV hue, which also is what makes it linear.
Grey pixels stay grey under saturation and hue, exactly.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from thesislib.augment.draws import happens, uniform
from thesislib.ranges import within

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, Y of YIQ
_I = (0.5959, -0.2746, -0.3213)  # NTSC 1953
_Q = (0.2115, -0.5227, 0.3112)


@dataclass(frozen=True, kw_only=True)
class JitterConfig:
    """Strength of colour jitter, SimCLR (Chen et al. 2020) as CCD's code sets it.

    Factors are drawn from U(1 - s, 1 + s), the hue turn from U(-s, s).
    """

    probability: float = 0.8  # of jittering a sample at all
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # turns of the colour circle

    def __post_init__(self) -> None:
        within(self, "[0, 1]", "probability", "brightness", "contrast", "saturation")
        within(self, "[0, 0.5]", "hue")


def jitter_factors(
    shape: tuple[int, ...],
    config: JitterConfig,
    generator: torch.Generator,
    applied: Tensor | None = None,
) -> dict[str, Tensor]:
    """Draw factors of the given shape; 1 (hue: 0) where no jitter happens.

    Args:
        applied: Booleans of that shape, drawn with `config.probability` if None.
    """
    if applied is None:
        applied = happens(shape, config.probability, generator)
    factors = {}
    for name in ("brightness", "contrast", "saturation"):
        strength = getattr(config, name)
        bounds = (max(0.0, 1 - strength), 1 + strength)
        factors[name] = torch.where(applied, uniform(shape, bounds, generator), 1.0)
    turn = uniform(shape, (-config.hue, config.hue), generator)
    factors["hue"] = torch.where(applied, turn, 0.0)
    return factors


def colour_map(
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    hue: Tensor,
    grey: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Compose the chain brightness, contrast, saturation, hue, grey.

    With luma weights $w$ and factor $f$: brightness $f p$; contrast
    $f p + (1 - f) \bar{y}$, pivot $\bar{y} = w^\top \bar{p}$ the mean luma so far;
    saturation $f p + (1 - f)\, 1 w^\top p$; hue $I + (\cos\theta - 1) P + \sin\theta\,
    Q$ on the chroma plane, $\theta = 2\pi\,$turns; grey $1 w^\top p$.

    Args:
        brightness: Factors, (...); likewise `contrast` and `saturation`.
        hue: Turns, (...).
        grey: True where the result is greyscale, (...).

    Returns:
        M (..., 3, 3) and the share s (...) of the image's mean luma in the bias, which
        is the same for all channels: $b = s\, w^\top \bar{p}$. Exactly the identity
        at factors 1 and hue 0.
    """
    luma, chroma, quarter_turn = _yiq(brightness.device)
    eye = torch.eye(3, device=brightness.device)
    to_grey = luma.expand(3, 3)  # 1 w^T

    factor = saturation[..., None, None]
    angle = (2 * torch.pi * hue)[..., None, None]
    turn = eye + (angle.cos() - 1) * chroma + angle.sin() * quarter_turn
    tint = turn @ (factor * eye + (1 - factor) * to_grey)
    if grey is not None:
        tint = torch.where(grey[..., None, None], to_grey @ tint, tint)
    # Rows of `tint` sum to one, so it leaves the grey bias of contrast as it is.
    return tint * (contrast * brightness)[..., None, None], (1 - contrast) * brightness


def mean_luma(mean: Tensor) -> Tensor:
    r"""$w^\top \bar{p}$ of channel means, (..., 3) to (...)."""
    return mean @ _yiq(mean.device)[0]


def apply_colour(images: Tensor, matrix: Tensor, share: Tensor) -> Tensor:
    """Map each pixel to M p + b, not clamped.

    Args:
        images: (B, 3, H, W).
        matrix: M of `colour_map`, (B, 3, 3).
        share: Of the mean luma in the bias, (B,).
    """
    bias = share * mean_luma(images.mean(dim=(2, 3)))
    mapped = torch.bmm(matrix, images.flatten(2)).add_(bias[:, None, None])
    return mapped.view_as(images)


@lru_cache(maxsize=8)
def _yiq(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Luma weights; projector on the chroma plane and its turn by a quarter, in RGB."""
    yiq = torch.tensor((LUMA, _I, _Q), dtype=torch.float64)
    inverse = torch.linalg.inv(yiq)
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[1, 2], turn[2, 1] = 1.0, -1.0  # from red toward green, as HSV counts
    chroma = torch.eye(3, dtype=torch.float64) - yiq[0].expand(3, 3)  # I - 1 w^T
    quarter_turn = inverse @ turn @ yiq
    return tuple(x.float().to(device) for x in (yiq[0], chroma, quarter_turn))
