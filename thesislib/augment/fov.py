"""Field of view: the lit part of an endoscope, fundus or X-ray image."""

import torch
import torch.nn.functional as F
from torch import Tensor

DARK = 0.06  # brightest channel of the surround, in [0, 1]; about 15 of 255
RESOLUTION = 64  # cells a side, at least, at which the field is found
MIN_FRACTION = 0.02  # a smaller lit part is no field of view


def field_of_view(images: Tensor) -> Tensor:
    """True inside the field of view; all true for full-frame and for black images.

    A pixel lies inside if lit pixels (some channel above `DARK`) stand on both sides
    of it in its row and in its column. The black corners of an endoscope's octagon
    and the surround of a fundus fall outside, a dark lumen or lung inside stays in,
    and text in a black corner adds no more than itself. Found on cells of
    side // `RESOLUTION` pixels. Where less than `MIN_FRACTION` of the image would
    remain, the field is the whole image.

    Args:
        images: (B, C, H, W) in [0, 1].

    Returns:
        (B, 1, H, W), bool.
    """
    height, width = images.shape[-2:]
    field, cell = coarse_field(images)
    field = field.repeat_interleave(cell, dim=1).repeat_interleave(cell, dim=2)
    return field[:, None, :height, :width]


def coarse_field(images: Tensor) -> tuple[Tensor, int]:
    """Field of view as cells (B, ceil(H / cell), ceil(W / cell)), and the cell side."""
    cell = max(1, min(images.shape[-2:]) // RESOLUTION)
    cells = F.avg_pool2d(images, cell, ceil_mode=True) if cell > 1 else images
    lit = cells.amax(dim=1) > DARK
    field = _between(lit, dim=1) & _between(lit, dim=2)
    enough = field.flatten(1).float().mean(dim=1) >= MIN_FRACTION
    return field | ~enough[:, None, None], cell


def _between(lit: Tensor, dim: int) -> Tensor:
    """True from the first to the last lit cell along `dim`, (B, R, S)."""
    lit = lit.transpose(dim, 2)
    size = lit.shape[2]
    place = torch.arange(1, size + 1, device=lit.device, dtype=torch.float32)
    shown = lit.float()  # the largest of floats is found faster than of integers
    last = (shown * place).amax(dim=2).long()
    from_end = (shown * place.flip(0)).amax(dim=2).long()
    triangle = torch.ones(size + 1, size, dtype=torch.bool, device=lit.device).tril(-1)
    inside = triangle.index_select(0, last.flatten())  # row k: true on k cells
    inside &= triangle.flip(1).index_select(0, from_end.flatten())
    return inside.view(lit.shape).transpose(dim, 2)
