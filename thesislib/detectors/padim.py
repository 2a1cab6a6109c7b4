r"""PaDiM, the detector of thesis Section 5.3.3.

Defard et al., *PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection
and Localization*, 2021. Every position of the feature map has a Gaussian of its own,
measured on normal images; an image is as abnormal as its most unlikely position.

Axes in all shapes: B images, P positions (a G x G grid), C channels. Features are
kept (B, P, C): the channels of a position lie side by side, as the encoder makes them,
and linear algebra at all positions at once needs no copy.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.detectors.scales import Scores
from thesislib.errors import InputError
from thesislib.nn.resnet import NUM_STAGES, ResNet18
from thesislib.ranges import at_least, within

REFERENCE_SIZE = 224  # pixels of the images that PaDiM's smoothing was chosen for
LEAST_VARIANCE = 1e-8  # of features in float32, below which there is rounding alone
PORTION = 32  # positions that a CPU takes at a time


@dataclass(frozen=True, kw_only=True)
class PaDiMConfig:
    """Settings of PaDiM, Defard et al. Section IV and their program."""

    num_stages: int = 3  # ResNet-18's first three: 64 + 128 + 256 channels
    num_channels: int = 100  # drawn at random of all, once
    regularisation: float = 0.01  # epsilon of Defard et al. Eq. (1)
    relative: bool = True  # ours: epsilon times the mean variance, see `covariance`
    smoothing: float = 4.0  # Gaussian's standard deviation, pixels at 224
    batch_size: int = 32  # images at a time; no effect on the result

    def __post_init__(self) -> None:
        at_least(self, 1, "num_channels", "batch_size")
        at_least(self, 0, "regularisation", "smoothing")
        within(self, f"[1, {NUM_STAGES}]", "num_stages")


class PaDiM(nn.Module):
    """Gaussian of normal features at every position of an encoder's map.

    Args:
        encoder: Frozen; its first stages give the features.
        config: Settings.
        seed: Of the channel draw; the same for encoders that are compared.
    """

    def __init__(self, encoder: ResNet18, config: PaDiMConfig, seed: int) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.config = config
        num_all = sum(encoder.widths[: config.num_stages])
        channels = draw_channels(num_all, config.num_channels, seed)
        self.register_buffer("channels", channels)
        self.register_buffer("mean", None)  # of `fit`, (P, C)
        self.register_buffer("factor", None)  # (P, C, C)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> "PaDiM":
        """Measure mean and covariance in one pass, Defard et al. Eq. (1).

        Args:
            batches: Normal images, (B, 3, H, W) in [0, 1]; two or more in all.

        Raises:
            InputError: If there are fewer than two images.
        """
        moments = Moments()
        for images in batches:
            moments.add(self.embed(images))
        self.mean = moments.mean()  # (P, C)
        covariance = regularise(
            moments.covariance(), self.config.regularisation, self.config.relative
        )
        self.factor = cholesky(covariance)  # (P, C, C)
        return self

    @torch.no_grad()
    def score(self, batches: Iterable[Tensor]) -> Scores:
        r"""Anomaly maps and image scores, thesis Eq. (5.12) and below.

        $$s(x) = \max_{\omega \in \Omega} s(x_\omega)$$

        Args:
            batches: Images, (B, 3, H, W) in [0, 1].

        Returns:
            Scores, (N,), and maps, (N, H, W), on the CPU; larger is more abnormal.
        """
        maps = []
        for images in batches:
            distance = mahalanobis(self.embed(images), self.mean, self.factor)
            maps.append(self.upsample(distance, images.shape[-1]).cpu())
        maps = torch.cat(maps)
        return Scores(maps.amax(dim=(1, 2)), maps)

    def embed(self, images: Tensor) -> Tensor:
        """Features of all positions, (B, 3, H, W) to (B, P, C).

        Coarser stages are repeated to the grid of the first one. Channels are chosen
        before, so that nothing is enlarged in vain.
        """
        maps = self.encoder.feature_maps(images, self.config.num_stages)
        grid = maps[0].shape[-2:]
        chosen, start = [], 0
        for stage in maps:
            own = self.channels[
                (self.channels >= start) & (self.channels < start + stage.shape[1])
            ]
            own, start = (own - start).to(stage.device), start + stage.shape[1]
            if not len(own):  # few channels in all: a stage may have none of them
                continue
            kept = stage.permute(0, 2, 3, 1).index_select(3, own)  # (B, h, w, c)
            kept = F.interpolate(kept.permute(0, 3, 1, 2), size=grid, mode="nearest")
            chosen.append(kept.permute(0, 2, 3, 1))
        return torch.cat(chosen, dim=3).float().flatten(1, 2)

    def upsample(self, distance: Tensor, image_size: int) -> Tensor:
        """Enlarge distances (B, P) to smooth maps (B, H, W)."""
        grid = math.isqrt(distance.shape[1])
        maps = F.interpolate(
            distance.view(-1, 1, grid, grid),
            size=(image_size, image_size),
            mode="bilinear",
            align_corners=False,
        )
        sigma = self.config.smoothing * image_size / REFERENCE_SIZE
        return smooth(maps, sigma).squeeze(1)


def draw_channels(num_all: int, num_channels: int, seed: int) -> Tensor:
    """Random channels, sorted, (C,); all of them if there are not more.

    The same seed draws the same channels whatever the encoder's weights.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_all, generator=generator)
    return order[:num_channels].sort().values


class Moments:
    """Mean and covariance at every position, streaming: memory is (P, C, C).

    Sums are taken about the mean of the first batch, which keeps the difference of
    large numbers out of float32.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, features: Tensor) -> None:
        """Take in a batch of features, (B, P, C)."""
        first = self.count == 0
        if first:
            _, num_positions, num_channels = features.shape
            self.origin = features.mean(dim=0)  # (P, C)
            self.sum = torch.zeros_like(self.origin)
            self.products = features.new_empty(
                num_positions, num_channels, num_channels
            )
        for few in portions(self.origin):
            x = (features[:, few] - self.origin[few]).transpose(0, 1)  # (p, B, C)
            self.sum[few] += x.sum(dim=1)
            # At first, beta = 0: what lies in the new memory is not read.
            self.products[few].baddbmm_(x.mT, x, beta=0 if first else 1)
        self.count += features.shape[0]

    def mean(self) -> Tensor:
        """(P, C)."""
        self._need_two()
        return self.origin + self.sum / self.count

    def covariance(self) -> Tensor:
        """Unbiased, (P, C, C). It takes the place of the sums: nothing can be added
        any more."""
        self._need_two()
        rest = self.count - 1
        for few in portions(self.products):
            total = self.sum[few, :, None]
            self.products[few].baddbmm_(
                total, total.mT, beta=1 / rest, alpha=-1 / (rest * self.count)
            )
        covariance = self.products
        del self.products
        return covariance

    def _need_two(self) -> None:
        if self.count < 2:
            raise InputError(
                f"PaDiM needs at least two normal training images, got {self.count}."
            )


def regularise(covariance: Tensor, epsilon: float, relative: bool) -> Tensor:
    r"""Add a multiple of the identity, Defard et al. Eq. (1).

    The paper adds $\epsilon I$. Features of different encoders differ in scale, so
    that the same $\epsilon$ smooths one more than another; `relative` multiplies it
    by the mean variance over positions and channels. Where images hardly differ, that
    mean is `LEAST_VARIANCE`, and distances are as good as Euclidean.

    Args:
        covariance: (P, C, C); changed in place.
    """
    variance = covariance.diagonal(dim1=1, dim2=2)
    mean = variance.mean().clamp_min(LEAST_VARIANCE)
    variance += epsilon * mean if relative else epsilon
    return covariance


def cholesky(covariance: Tensor) -> Tensor:
    r"""R with $\Sigma = R^\top R$, in the place of $\Sigma$.

    The upper factor, because features come as rows and are divided by it from the
    right: LAPACK then reads both as they lie in memory.

    Args:
        covariance: Positive definite, (P, C, C); overwritten.

    Returns:
        Upper triangular, (P, C, C).

    Raises:
        InputError: If a covariance is not positive definite.
    """
    num_singular = 0
    for few in portions(covariance):
        factor, info = torch.linalg.cholesky_ex(covariance[few], upper=True)
        covariance[few] = factor
        num_singular += (info > 0).sum()
    if num_singular:
        raise InputError(
            f"PaDiM's covariance is singular at {int(num_singular)} of "
            f"{len(covariance)} positions; raise padim.regularisation."
        )
    return covariance


def mahalanobis(features: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    r"""Distance of each position to its Gaussian, thesis Eq. (5.12).

    $$s(x_\omega) = \sqrt{(x_\omega - \mu_\omega)^\top \Sigma_\omega^{-1}
      (x_\omega - \mu_\omega)}
      = \lVert (x_\omega - \mu_\omega)^\top R_\omega^{-1} \rVert$$

    Args:
        features: (B, P, C).
        mean: (P, C).
        factor: R of `cholesky`, (P, C, C).

    Returns:
        Distances, (B, P).
    """
    distances = []
    for few in portions(mean):
        x = (features[:, few] - mean[few]).transpose(0, 1).contiguous()  # (p, B, C)
        white = torch.linalg.solve_triangular(factor[few], x, upper=True, left=False)
        distances.append(torch.linalg.vector_norm(white, dim=2))
    return torch.cat(distances).T


def portions(positions: Tensor) -> list[slice]:
    """Slices of (P, ...): on a CPU a few positions at a time, elsewhere all.

    The matrices of a few positions stay in a core's cache and no second copy of all
    is made, which saves a third of the time.
    """
    num_positions = len(positions)
    step = PORTION if positions.device.type == "cpu" else num_positions
    return [slice(start, start + step) for start in range(0, num_positions, step)]


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian filter with mirrored borders, (B, 1, H, W), `sigma` in pixels.

    Cut off at four standard deviations, like SciPy's filter in PaDiM's program.
    """
    if sigma <= 0:
        return maps
    radius = min(int(4 * sigma + 0.5), maps.shape[-1] - 1)
    x = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    maps = F.pad(maps, (radius, radius, 0, 0), mode="reflect")
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1))
    maps = F.pad(maps, (0, 0, radius, radius), mode="reflect")
    return F.conv2d(maps, kernel.view(1, 1, -1, 1))
