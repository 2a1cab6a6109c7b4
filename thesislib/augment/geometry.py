r"""Crop, resize, flip and blur as two matrices a sample.

Each of them is linear and acts on rows and columns apart, so any chain of them is
$R_b X_b C_b^\top$ for image $X_b$: two batched matrix products, whatever the boxes and
widths. At 256 px this costs about as much as one resampling and one blur, on a GPU
far less, and nothing has to be picked out of the batch.
"""

from functools import lru_cache

import torch
from torch import Tensor

from thesislib.augment.draws import uniform


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
    extent = torch.where(any_fits, drawn, drawn.new_tensor(whole))  # (B, 2)

    image = extent.new_tensor(size)
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


def resize_matrix(
    start: Tensor, length: Tensor, size: int, flipped: Tensor | None = None
) -> Tensor:
    """Matrices that cut `length` pixels from `start` and resize them to `size`.

    Bilinear with half-pixel centres, edge pixels repeated, as torchvision's
    `resized_crop`, to which it is equal when nothing shrinks (no antialiasing here;
    `length` <= `size`).

    Args:
        start: First pixel, (B,).
        length: Pixels cut, (B,).
        size: Side of input and output.
        flipped: True where the result is mirrored, (B,).

    Returns:
        (B, size, size), rows sum to one.
    """
    pixel = torch.arange(size, device=start.device, dtype=torch.float32)
    target = pixel.expand(len(start), size)
    if flipped is not None:
        target = torch.where(flipped[:, None], size - 1 - target, target)
    start, length = start[:, None].float(), length[:, None].float()
    offset = (target + 0.5) * (length / size) - 0.5  # pixels within the box
    source = start + torch.minimum(offset.clamp(min=0.0), length - 1)  # (B, size)
    distance = (source[..., None] - pixel).abs_()
    return distance.neg_().add_(1.0).clamp_(min=0.0)


def blur_matrix(sigma: Tensor, size: int, radius: int) -> Tensor:
    r"""Matrices of a Gaussian blur over 2 `radius` + 1 pixels, borders reflected.

    $\sum_k w_k(\sigma)\, S_k$ with $S_k$ the shift by $\pm k$ pixels. Equal to
    torchvision's `gaussian_blur` along one axis.

    Args:
        sigma: Standard deviations in pixels, (B,); 0 leaves the image as it is.
        radius: Pixels each side, below `size`.

    Returns:
        (B, size, size), rows sum to one.
    """
    offset = torch.arange(radius + 1, device=sigma.device)
    weight = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-6)[:, None]).square())
    weight = torch.where(weight < 1e-8, 0.0, weight)  # denormal numbers are slow
    weight = weight / (2 * weight.sum(dim=1, keepdim=True) - weight[:, :1])
    shifts = _reflected_shifts(size, radius, sigma.device)
    return (weight @ shifts.flatten(1)).view(-1, size, size)


@lru_cache(maxsize=8)
def _reflected_shifts(size: int, radius: int, device: torch.device) -> Tensor:
    """Shifts by 0, +-1, ..., +-`radius` pixels, (radius + 1, size, size)."""
    pixel = torch.arange(size, device=device)
    shifts = torch.zeros(radius + 1, size, size, device=device)
    for k in range(radius + 1):
        for step in {-k, k}:
            source = (pixel + step).abs()
            source = (size - 1) - (size - 1 - source).abs()
            shifts[k, pixel, source] += 1.0
    return shifts


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    r"""Apply $R_b X_b C_b^\top$ to each channel of each image.

    Args:
        images: (B, C, H, W).
        rows: (B, H', H).
        columns: (B, W', W).

    Returns:
        (B, C, H', W').
    """
    wide = images.flatten(1, 2).bmm(columns.mT)  # (B, C H, W')
    return rows[:, None] @ wide.view(*images.shape[:3], -1)
