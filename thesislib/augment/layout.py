"""Where lesions go: boxes that do not touch, inside the field of view, always found."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from thesislib.augment.draws import constant, uniform
from thesislib.augment.geometry import mask_bounds
from thesislib.errors import InputError

GAP = 1  # pixels between boxes, so that components of the mask do not merge
FULL_TRIES = 16  # layouts drawn at full size before lesions shrink
SHRINKING_TRIES = 8  # layouts at sizes going down to the smallest
LATTICE = 8  # cells a side of the lattice that holds what was not placed by chance


@dataclass(frozen=True)
class Field:
    """Field of view of a batch, ready to be asked how much of a box is outside.

    Axes: B images, R x S cells of `cell` pixels. B is `rounds` times K where K images
    come again and again, one round after another.
    """

    inside: Tensor  # (K, R, S), bool
    cell: int
    size: tuple[int, int]  # height and width of the images, pixels
    rounds: int = 1

    def __post_init__(self) -> None:
        outside = (~self.inside).cumsum(1, dtype=torch.int32).cumsum(2)
        object.__setattr__(self, "_table", F.pad(outside, (1, 0, 1, 0)))

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height, width of the field in pixels, (B,) each."""
        cells = mask_bounds(self.inside[:, None])  # (K, 4)
        end = constant(self.size * 2, cells.device)
        cells = torch.minimum(cells * self.cell, end).repeat(self.rounds, 1)
        top, left, bottom, right = cells.unbind(dim=1)
        return top, left, bottom - top, right - left

    def holds(self, boxes: Tensor, images: Tensor | None = None) -> Tensor:
        """True where a box lies wholly inside, (B, ...) for boxes (B, ..., 4).

        Args:
            images: Which image each box lies in, (B, ...); the b-th if None.
        """
        top, left, height, width = boxes.unbind(dim=-1)
        table = self._table  # (K, R + 1, S + 1)

        def outside(corner: Tensor) -> Tensor:
            return table.flatten().index_select(0, corner.flatten()).view_as(corner)

        if images is None:
            images = torch.arange(len(boxes), device=table.device)
            images = images.view(-1, *[1] * (top.dim() - 1))
        start = images % len(table) * table[0].numel()  # of the image's, in the table
        corner = start + left // self.cell
        span = (left + width - 1) // self.cell + 1 - left // self.cell
        stride = table.shape[2]
        first = corner + top // self.cell * stride
        last = corner + ((top + height - 1) // self.cell + 1) * stride
        below = outside(last + span) - outside(last)
        return below == outside(first + span) - outside(first)


def place(
    field: Field,
    sizes: Tensor,
    counts: Tensor,
    min_side: int,
    generator: torch.Generator,
) -> Tensor:
    """Place the first `counts` boxes of each image, uniformly and without overlap.

    Whole layouts are drawn and the first valid one is taken: `FULL_TRIES` at the
    given sizes, then `SHRINKING_TRIES` with sizes shrinking geometrically to
    `min_side`; then boxes of `min_side` on distinct cells of a lattice over the
    field's bounds; then the same over the whole image, cells in the field first. The
    last is valid for any field, so the number of lesions is always `counts`; only
    there may a lesion leave the field of view.

    Args:
        sizes: Heights and widths wished for, (B, L, 2), long, at least `min_side`.
        counts: (B,), at most L.
        min_side: Smallest side of a lesion, pixels.

    Returns:
        Boxes (B, L, 4), long: top, left, height, width in pixels.

    Raises:
        InputError: if the image has no room for L lesions of `min_side`.
    """
    num_images, num_slots, _ = sizes.shape
    height, width = field.size
    room = min(LATTICE, (height + GAP) // (min_side + GAP))
    room *= min(LATTICE, (width + GAP) // (min_side + GAP))
    if room < num_slots:
        raise InputError(
            f"an image of {height} x {width} pixels has room for {room} lesions of "
            f"{min_side} pixels, not for {num_slots}; use larger images"
        )
    top, left, span_h, span_w = (x[:, None, None] for x in field.bounds)

    shrink = torch.linspace(1.0, 0.0, SHRINKING_TRIES, device=sizes.device)
    shrink = torch.cat([shrink.new_ones(FULL_TRIES), shrink])  # exponent, (T,)
    ratio = min_side / sizes.float()  # (B, L, 2)
    tried = sizes.float()[:, None] * ratio[:, None] ** (1 - shrink[:, None, None])
    tried = tried.round().long().clamp(min=min_side)  # (B, T, L, 2)
    box_h, box_w = tried.unbind(dim=-1)
    draw = uniform((2, *box_h.shape), (0.0, 1.0), generator)
    y = top + (draw[0] * (span_h - box_h + 1).clamp(min=1)).long()
    x = left + (draw[1] * (span_w - box_w + 1).clamp(min=1)).long()
    y, x = torch.minimum(y, height - box_h), torch.minimum(x, width - box_w)
    random = torch.stack([y, x, box_h, box_w], dim=-1)  # (B, T, L, 4)

    rank = uniform((2, num_images, LATTICE**2), (0.0, 1.0), generator)
    exists = torch.arange(num_slots, device=counts.device) < counts[:, None]  # (B, L)
    valid = _valid(random, exists, field)
    layouts = random
    if not valid.any(dim=1).all():
        zeros = torch.zeros_like(counts)
        frame = (zeros, zeros, zeros + height, zeros + width)
        near = _lattice(field, field.bounds, num_slots, min_side, rank[0])
        anywhere = _lattice(field, frame, num_slots, min_side, rank[1])
        layouts = torch.stack([near, anywhere], dim=1)
        valid = torch.cat([valid, _valid(layouts, exists, field)], dim=1)
        valid[:, -1] = True
        layouts = torch.cat([random, layouts], dim=1)
    first = valid.to(torch.uint8).argmax(dim=1)  # (B,)
    return layouts[torch.arange(num_images, device=first.device), first]


def _valid(layouts: Tensor, exists: Tensor, field: Field) -> Tensor:
    """True where all boxes that exist are in the field and keep a gap, (B, T).

    Args:
        layouts: (B, T, L, 4).
        exists: (B, L).
    """
    valid = (field.holds(layouts) | ~exists[:, None]).all(dim=-1)
    start, stop = layouts[..., :2], layouts[..., :2] + layouts[..., 2:] + GAP
    for second in range(1, layouts.shape[2]):
        for first in range(second):
            before = stop[:, :, first] <= start[:, :, second]  # (B, T, 2)
            after = stop[:, :, second] <= start[:, :, first]
            y, x = (before | after).unbind(dim=-1)
            valid &= y | x | ~exists[:, None, second]  # slots are filled in order
    return valid


def _lattice(
    field: Field,
    bounds: tuple[Tensor, Tensor, Tensor, Tensor],
    num_slots: int,
    min_side: int,
    rank: Tensor,
) -> Tensor:
    """Boxes of `min_side` on distinct random cells within bounds, (B, L, 4).

    Cells that lie in the field are taken before the others, else in the order of
    `rank`, (B, 64).
    """
    top, left, span_h, span_w = bounds
    height, width = field.size
    step = torch.arange(LATTICE, device=top.device)
    starts = []
    for start, span in ((top, span_h), (left, span_w)):
        pitch = ((span + GAP) // LATTICE).clamp(min=min_side + GAP)
        starts.append(start[:, None] + step * pitch[:, None])  # (B, 8)
    y = starts[0][:, :, None].expand(-1, -1, LATTICE).flatten(1)
    x = starts[1][:, None, :].expand(-1, LATTICE, -1).flatten(1)  # (B, 64)
    fits = (y + min_side <= height) & (x + min_side <= width)
    y, x = y.clamp(max=height - min_side), x.clamp(max=width - min_side)
    side = torch.full_like(y, min_side)
    boxes = torch.stack([y, x, side, side], dim=-1)
    rank = rank + 2.0 * fits + 1.0 * field.holds(boxes)
    chosen = rank.topk(num_slots, dim=1).indices  # (B, L)
    return boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
