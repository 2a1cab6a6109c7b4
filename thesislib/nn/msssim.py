r"""Multi-scale structural similarity, thesis Eqs. (6.24) to (6.27) and (A.1) to (A.4).

Wang, Simoncelli and Bovik, *Multi-scale structural similarity for image quality
assessment*, 2003. `pytorch-msssim` computes Eq. (6.24) where five scales of windows of
11 pixels fit, above 160 px, and a test holds this file to it there. It refuses smaller
images, gives no maps, and where the contrast-structure of one scale is below zero, as
happens with untrained decoders, its value and gradient are zero and nothing is learnt;
so what is trained and scored here is this file. Filtering with a Gaussian window is a
product with a banded matrix on either side, $G \mathbf{x} G^\top$: one large matrix
product, fast on CPU and GPU alike.

Axes in all shapes: B images, C channels, H = W pixels.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from thesislib.errors import InputError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # beta = gamma, finest scale first
K_1, K_2 = 0.01, 0.03  # C_i = (K_i L)^2; C_3 = C_2 / 2
WINDOW_STD = 1.5  # pixels, of the Gaussian window; Wang et al.
LEAST = 1e-6  # similarities below are cut at it: they may be negative
LEAST_OF_SLOPE = 1e-2  # below it, the slope of a power stays what it is there


class Scales(NamedTuple):
    """Which scales and windows Eq. (6.24) takes for an image.

    Attributes:
        window: Side of the Gaussian window in pixels, odd.
        weights: Exponents, finest scale first.
    """

    window: int
    weights: tuple[float, ...]


def scales_of(image_size: int) -> Scales:
    """Scales and windows that exist at a size, in pixels.

    Above 160 px the thesis's global score: five scales, windows of 11 pixels. Below,
    the manner of its local score: four scales, or three up to 16 px, whose weights
    keep their proportion, and the largest odd window up to 11 that fits the coarsest
    scale: 3 pixels at 28 and 32 px as in the thesis, 7 at 64 px, 11 at 128 px.

    Raises:
        InputError: If the image is smaller than 12 pixels.
    """
    if image_size < 12:
        raise InputError(
            f"MS-SSIM needs images of at least 12 pixels a side, not {image_size}."
        )
    num_scales = 5 if image_size > 160 else 4 if image_size > 16 else 3
    coarsest = 2 ** (num_scales - 1)
    fitting = [w for w in range(3, 12, 2) if (w - 1) * coarsest < image_size]
    kept = WEIGHTS[:num_scales]
    if num_scales < len(WEIGHTS):
        kept = tuple(weight / sum(kept) for weight in kept)
    return Scales(fitting[-1], kept)


def ms_ssim(x: Tensor, y: Tensor, scales: Scales, value_range: float = 1.0) -> Tensor:
    r"""MS-SSIM of whole images, thesis Eq. (6.24), means over the lattice.

    $$m = l_M^{\alpha_M} \prod_m (c_m s_m)^{\beta_m}$$

    $l$, $c$ and $s$ are Eqs. (6.25) to (6.27). As $C_3 = C_2 / 2$ and $\beta = \gamma$,
    the product $c_m s_m$ is one fraction.

    Args:
        x: Images, (B, C, H, W); no gradient is needed for them.
        y: Images to compare, as `x`.
        scales: What `scales_of` says of H.
        value_range: L, the range of the tensors.

    Returns:
        (B,), at most 1, which equal images have; the mean over channels.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        similarity = x.new_ones(x.shape[:2])  # (B, C)
        last = len(scales.weights) - 1
        for scale, weight in enumerate(scales.weights):
            if scale:
                x, y = _halve(x), _halve(y)
            kernel = gaussian_matrix(x.shape[-1], scales.window, device=x.device)
            part = _similarity(x, y, kernel, value_range, luminance=scale == last)
            similarity = similarity * _power(part.mean(dim=(2, 3)), weight)
        return similarity.mean(dim=1)


def ms_ssim_map(
    x: Tensor, y: Tensor, scales: Scales, value_range: float = 1.0
) -> Tensor:
    r"""MS-SSIM at every pixel, $m(\mathbf{x}(\omega), \hat{\mathbf{x}}(\omega))$.

    The product of Eq. (6.24) pixel by pixel; a pixel takes from coarser scales the one
    that covers it. Windows are cut at the border and weighed anew, so that every pixel
    has a value.

    Args and errors as `ms_ssim`.

    Returns:
        (B, 1, H, W), at most 1; the mean over channels.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float(), y.float()
        similarity = torch.ones_like(x)
        here = torch.arange(x.shape[-1], device=x.device)  # pixel that covers each
        last = len(scales.weights) - 1
        for scale, weight in enumerate(scales.weights):
            if scale:
                here = (here + x.shape[-1] % 2) // 2
                x, y = _halve(x), _halve(y)
            size = x.shape[-1]
            kernel = gaussian_matrix(size, scales.window, whole=True, device=x.device)
            part = _similarity(x, y, kernel, value_range, luminance=scale == last)
            part = _power(part, weight)
            similarity = similarity * part[..., here[:, None], here]
        return similarity.mean(dim=1, keepdim=True)


def _power(similarity: Tensor, weight: float) -> Tensor:
    """`similarity ** weight` cut at `LEAST`, with a slope that never vanishes.

    Where a scale's contrast and structure are negative, as under the checkerboard of
    an untrained decoder, a cut power has no gradient; the finest scale, with its small
    exponent, then costs half of the similarity for good. Its slope is continued.
    """
    value = similarity.clamp(LEAST) ** weight
    slope = weight * similarity.detach().clamp(LEAST_OF_SLOPE) ** (weight - 1)
    linear = slope * similarity
    return value.detach() + (linear - linear.detach())


@lru_cache
def gaussian_matrix(
    size: int,
    window: int,
    *,
    whole: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Gaussian window as a banded matrix, one row a position.

    Args:
        size: Pixels of a line.
        window: Pixels of the window, odd.
        whole: Keep positions whose window leaves the line, cut and weighed anew.
        device: Where it lies; kept there, as copying it would stop a GPU.

    Returns:
        (size - window + 1, size), or (size, size) if `whole`; rows sum to 1.
    """
    positions = torch.arange(size, dtype=torch.float64)
    distance = positions[:, None] - positions
    rows = torch.exp(-distance.square() / (2 * WINDOW_STD**2))
    radius = window // 2
    rows = rows.where(distance.abs() <= radius, torch.zeros(()).double())
    if not whole:
        rows = rows[radius : size - radius]
    return (rows / rows.sum(dim=1, keepdim=True)).float().to(device)


def _similarity(
    x: Tensor, y: Tensor, kernel: Tensor, value_range: float, *, luminance: bool
) -> Tensor:
    """Contrast times structure, Eqs. (6.26) and (6.27); times luminance, Eq. (6.25)."""
    c_1, c_2 = (K_1 * value_range) ** 2, (K_2 * value_range) ** 2
    mean_x = kernel @ x @ kernel.T  # apart: no gradient goes there
    mean_y, squares, product = (
        kernel @ torch.stack([y, x * x + y * y, x * y]) @ kernel.T
    )
    means, squared_means = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance, variances = product - means, squares - squared_means
    similarity = (2 * covariance + c_2) / (variances + c_2)
    if luminance:
        similarity = similarity * (2 * means + c_1) / (squared_means + c_1)
    return similarity


def _halve(x: Tensor) -> Tensor:
    """Mean of 2 x 2 pixels; an odd side gets a border of zeros, as pytorch-msssim."""
    return F.avg_pool2d(x, 2, padding=x.shape[-1] % 2)
