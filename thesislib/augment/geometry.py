r"""Crop, resize, flip and blur, rows and columns apart, as sums of few rows.

Each of them is linear and acts on rows and columns apart, so any chain of them is
$R_b X_b C_b^\top$ for image $X_b$. A row of $R_b X_b$ is a sum of K rows of $X_b$: two
if resized, as many as the kernel is wide if blurred. `mix_rows` adds those up where
they lie in memory; it also makes $C_b$, out of the rows of the identity, for the one
matrix product that is left: $X_b C_b^\top$, in which no image is transposed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from thesislib.augment.draws import constant, uniform


def crop_boxes(
    num_images: int,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
    keep: Tensor | None = None,
    num_tries: int = 10,
) -> Tensor:
    """Draw boxes of random area and aspect as torchvision's `RandomResizedCrop`.

    The first of ten draws that fits the image counts; if none fits, the largest
    central box of an allowed aspect.

    Args:
        size: Height and width of the images, pixels.
        scale: Bounds of the area, fraction of the image, uniform.
        ratio: Bounds of width / height, log-uniform.
        keep: Top, left, bottom, right, (B, 4), of what the box has to contain: it
            grows where it is too small and is placed uniformly where it contains it.

    Returns:
        Boxes (B, 4), long: top, left, height, width in pixels.
    """
    height, width = size
    shape = (num_images, num_tries)
    area = height * width * uniform(shape, scale, generator)
    log_ratio = torch.tensor(ratio, dtype=torch.float64).log().tolist()
    aspect = uniform(shape, (log_ratio[0], log_ratio[1]), generator).exp()
    box_h = (area / aspect).sqrt().round().long()
    box_w = (area * aspect).sqrt().round().long()
    fits = (box_h > 0) & (box_h <= height) & (box_w > 0) & (box_w <= width)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)  # (B, 1)
    drawn = torch.cat([box_h.gather(1, first), box_w.gather(1, first)], dim=1)

    central = min(max(width / height, ratio[0]), ratio[1])
    whole = (min(height, round(width / central)), min(width, round(height * central)))
    any_fits = fits.any(dim=1, keepdim=True)
    extent = torch.where(any_fits, drawn, constant(whole, drawn.device))  # (B, 2)

    image = constant(size, extent.device)
    if keep is None:
        low, high = torch.zeros_like(extent), image - extent
    else:
        start, stop = keep[:, :2], keep[:, 2:]
        extent = torch.maximum(extent, stop - start)
        low = (stop - extent).clamp(min=0)
        high = torch.minimum(start, image - extent)
    draw = uniform((num_images, 2), (0.0, 1.0), generator)
    # The product with a draw in [0, 1) may round up to the next integer: clamp.
    place = torch.minimum(low + (draw * (high - low + 1)).long(), high)
    centre = ((image - extent) // 2).clamp(low, high)
    return torch.cat([torch.where(any_fits, place, centre), extent], dim=1)


def mask_bounds(mask: Tensor) -> Tensor:
    """Top, left, bottom, right of the true pixels, (B, 4), for masks (B, 1, H, W).

    Bottom and right are exclusive. An empty mask gives H, W, 0, 0: every box
    contains it.
    """
    shown = mask[:, 0].float()  # the largest of floats is found faster than of bools
    starts, stops = [], []
    for dim in (2, 1):
        line = shown.amax(dim=dim)  # (B, H or W)
        size = line.shape[1]
        place = torch.arange(size, device=line.device)
        starts.append(size - (line * (size - place)).amax(dim=1))
        stops.append((line * (place + 1)).amax(dim=1))
    return torch.stack(starts + stops, dim=1).long()


def resized_rows(
    start: Tensor, length: Tensor, size: int, flipped: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cut `length` rows from `start` and resize them to `size`.

    Bilinear with half-pixel centres, edge pixels repeated, as torchvision's
    `resized_crop`, to which it is equal when nothing shrinks (no antialiasing here;
    `length` <= `size`).

    Args:
        start: First row, (B,).
        length: Rows cut, (B,).
        size: Rows of input and output.
        flipped: True where the result is mirrored, (B,).

    Returns:
        Rows and weights for `mix_rows`, (B, size, 2) each.
    """
    target = torch.arange(size, device=start.device, dtype=torch.float32)
    target = target.expand(len(start), size)
    if flipped is not None:
        target = torch.where(flipped[:, None], size - 1 - target, target)
    start, length = start[:, None].float(), length[:, None].float()
    offset = (target + 0.5) * (length / size) - 0.5  # rows within the box
    place = start + torch.minimum(offset.clamp(min=0.0), length - 1)
    above = place.floor()
    rows = torch.stack([above, (above + 1).clamp(max=size - 1)], dim=2)
    below = place - above  # weight of the row below
    return rows.long(), torch.stack([1 - below, below], dim=2)


def blurred_rows(sigma: Tensor, size: int, radius: int) -> tuple[Tensor, Tensor]:
    """Blur with a Gaussian over 2 `radius` + 1 pixels, borders reflected.

    Equal to torchvision's `gaussian_blur` along one axis.

    Args:
        sigma: Standard deviations in pixels, (B,); 0 leaves the image as it is.
        size: Rows of input and output.
        radius: Pixels each side, below `size`.

    Returns:
        Rows and weights for `mix_rows`, (B, size, 2 `radius` + 1) each.
    """
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    exponent = -0.5 * (offset / sigma.clamp(min=1e-6)[:, None]).square()
    weights = exponent.exp() * (exponent > -18.4)  # denormal numbers are slow
    weights = weights / weights.sum(dim=1, keepdim=True)
    rows = torch.arange(size, device=sigma.device)[:, None] + offset
    rows = (size - 1) - ((size - 1) - rows.abs()).abs()
    shape = (len(sigma), *rows.shape)
    return rows.expand(shape), weights[:, None].expand(shape)


def mix_rows(images: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
    r"""Weighted sums of rows, $y_{bci} = \sum_k w_{bik}\, x_{bc r_{bik}}$, in steps.

    Args:
        images: x, (B, C, H, W), or one for all, (1, C, H, W).
        steps: One after the other, r, 0 .. H - 1, and w, (B, H', K) each.

    Returns:
        (B, C, H', W).
    """
    for rows, weights in steps:
        num_images, channels, height, width = images.shape
        first = torch.arange(num_images * channels, device=rows.device) * height
        index = first.view(num_images, channels, 1, 1) + rows[:, None]
        weights = weights[:, None].expand(index.shape)
        images = F.embedding_bag(
            index.flatten(0, 2),
            images.reshape(-1, width),
            mode="sum",
            per_sample_weights=weights.flatten(0, 2),
        ).view(*index.shape[:3], width)
    return images


def mix(
    images: Tensor,
    along_height: list[tuple[Tensor, Tensor]],
    along_width: list[tuple[Tensor, Tensor]],
) -> Tensor:
    """Mix rows and columns of images (B, C, H, W) in steps, each as `mix_rows`."""
    identity = torch.eye(images.shape[3], device=images.device)
    columns = mix_rows(identity[None, None], along_width)[:, 0]  # (B, W', W)
    rows = mix_rows(images, along_height)
    return rows.flatten(1, 2).bmm(columns.mT).unflatten(1, rows.shape[1:3])
