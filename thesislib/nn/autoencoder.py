"""Encoder, decoder and critic of chapter 6, for square images.

The thesis says "ResNet-18 and its reverse architecture" (Section 6.4.2). Its authors'
program has a frozen ResNet-18 at 256 px and, at 32 px, pre-activation residual blocks;
decoder and critic are built of the same blocks, those of WGAN-GP. `residual`
gives these; without it, every block is one strided convolution: ours, for CPUs.

Axes in all shapes: B images, C channels, Z features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.errors import InputError

WIDEST = 8  # times the base width; 512 channels in the thesis's networks
Norm = Callable[[int], nn.Module]


class Encoder(nn.Module):
    """Map images to representations, $f_\\psi$: halving blocks, then a linear layer.

    Args:
        image_size: Pixels a side; `widths_of` says which are possible.
        num_channels: C, 1 for grey images and 3 for colour.
        base_width: Half the channels of the first block; each next one doubles them
            up to eight times the base. 64 is the thesis's.
        num_features: Z.
        residual: Two convolutions and a shortcut a block, as the authors' program.
        bias: False leaves out all biases, also the scale and shift of batch norm, for
            Deep SVDD.
    """

    def __init__(
        self,
        image_size: int,
        num_channels: int,
        base_width: int,
        num_features: int,
        *,
        residual: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        widths, size = widths_of(image_size, base_width)
        norm = nn.BatchNorm2d if bias else _BiasFree
        self.blocks = _down(num_channels, base_width, widths, residual, norm, bias)
        self.project = nn.Linear(widths[-1] * size * size, num_features, bias=bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [0, 1] to z, (B, Z)."""
        return self.project(self.blocks(_channels_last(images)).flatten(1))


class BackboneEncoder(nn.Module):
    """A pre-trained backbone whose features a linear layer reduces, Section 6.4.2.

    Args:
        backbone: Maps colour images to `num_features` of its own: a `ResNet18`, or a
            student of one. Its weights stay as they are and its batch norm in eval
            mode, unless `fine_tune`.
        num_features: Z.
    """

    def __init__(
        self, backbone: nn.Module, num_features: int, *, fine_tune: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(fine_tune)
        self.project = nn.Linear(backbone.num_features, num_features)
        self.fine_tune = fine_tune

    def train(self, mode: bool = True) -> "BackboneEncoder":
        super().train(mode)
        if not self.fine_tune:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1 or 3, H, W) in [0, 1] to z, (B, Z)."""
        with torch.set_grad_enabled(self.fine_tune and torch.is_grad_enabled()):
            features = self.backbone(images.expand(-1, 3, -1, -1))
        return self.project(features)


class Decoder(nn.Module):
    """Map representations to images, $g_\\phi$: the encoder in reverse.

    Args:
        bounded: End with a sigmoid, since images are in [0, 1]; ours, the authors'
            program has no bound. Without one, MS-SSIM has optima with a background of
            the wrong brightness or sign: above its coarsest scale it sees no offset,
            and the MAE at a share of .15 is too weak to leave them. Two in five
            trainings on Fashion-MNIST ended there.
        others: As `Encoder`.
    """

    def __init__(
        self,
        image_size: int,
        num_channels: int,
        base_width: int,
        num_features: int,
        *,
        residual: bool = False,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        widths, size = widths_of(image_size, base_width)
        self.bounded = bounded
        self.shape = (widths[-1], size, size)
        self.expand = nn.Linear(num_features, widths[-1] * size * size)
        self.blocks = _up(num_channels, base_width, widths, residual)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Map z (B, Z) to images (B, C, H, W)."""
        x = self.expand(z).unflatten(1, self.shape)
        images = self.blocks(_channels_last(x))
        return images.sigmoid() if self.bounded else images


class Critic(nn.Module):
    """Predict the interpolation coefficient of a decoded image, $d_\\eta$, Eq. (6.9).

    Layer norm over (C, H, W) instead of batch norm, as the authors' program: the
    answer for one image does not depend on the batch. Its output is not bounded.

    Args:
        norm_first: False gives the first plain block a bias in place of its norm. With
            layer norm straight behind a convolution without bias, the critic cannot
            tell an image x from k x: contrast is lost on it, and on a generator that
            learns from it. Residual blocks have such a bias, and no need.
        others: As `Encoder`.
    """

    def __init__(
        self,
        image_size: int,
        num_channels: int,
        base_width: int,
        *,
        residual: bool = False,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        widths, size = widths_of(image_size, base_width)
        self.blocks = _down(num_channels, base_width, widths, residual, _layer_norm)
        if not (residual or norm_first):
            self.blocks[0] = nn.Conv2d(num_channels, widths[0], 3, stride=2, padding=1)
            self.blocks[1] = nn.Identity()
        self.judge = nn.Linear(widths[-1] * size * size, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to coefficients, (B,): one number an image.

        In the authors' program the global critic's (B,) met a coefficient of shape
        (B, 1), whose difference is (B, B); so it learnt the mean alone.
        """
        return self.judge(self.features(images)).squeeze(1)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer judges by, (B, C, H, W) to (B, F); f-AnoGAN scores it."""
        return self.blocks(_channels_last(images)).flatten(1)


def widths_of(image_size: int, base_width: int) -> tuple[list[int], int]:
    """Channels of the halving blocks, and the pixels a side that they end with.

    A side is halved while it is even and above 7 pixels: 32 px end with 4 after three
    blocks, 28 px with 7 after two, 256 px with 4 after six.

    Raises:
        InputError: If fewer than two blocks fit or more than 15 pixels remain.
    """
    size, num_blocks = image_size, 0
    while size % 2 == 0 and size > 7:
        size, num_blocks = size // 2, num_blocks + 1
    if num_blocks < 2 or size > 15:
        raise InputError(
            f"image_size is {image_size} pixels; the networks of chapter 6 need one "
            "that halves twice or more, down to 4 to 15 pixels, such as 28, 32, 64, "
            "96, 128 or 256."
        )
    widths = [base_width * min(2**block, WIDEST) for block in range(1, num_blocks + 1)]
    return widths, size


class DownBlock(nn.Module):
    """Pre-activation residual block that widens, then halves each side by a mean."""

    def __init__(self, num_in: int, num_out: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(
            norm(num_in),
            nn.ReLU(),
            nn.Conv2d(num_in, num_in, 3, padding=1, bias=norm is _layer_norm),
            norm(num_in),  # batch norm would take a bias away
            nn.ReLU(),
            nn.Conv2d(num_in, num_out, 3, padding=1, bias=bias),
        )
        self.shortcut = nn.Conv2d(num_in, num_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.block(x), 2) + self.shortcut(F.avg_pool2d(x, 2))


class UpBlock(nn.Module):
    """Pre-activation residual block that doubles each side by repetition."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d
        self.first = nn.Sequential(norm(num_in), nn.ReLU())
        self.second = nn.Sequential(
            nn.Conv2d(num_in, num_out, 3, padding=1, bias=False),
            norm(num_out),
            nn.ReLU(),
            nn.Conv2d(num_out, num_out, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(num_in, num_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        doubled = F.interpolate(self.first(x), scale_factor=2.0)
        return self.second(doubled) + F.interpolate(self.shortcut(x), scale_factor=2.0)


def _down(
    num_channels: int,
    base_width: int,
    widths: list[int],
    residual: bool,
    norm: Norm,
    bias: bool = True,
) -> nn.Sequential:
    if residual:
        first = nn.Conv2d(num_channels, base_width, 3, padding=1, bias=bias)
        blocks, num_in = [first], base_width
        for width in widths:
            blocks.append(DownBlock(num_in, width, norm, bias))
            num_in = width
        return nn.Sequential(*blocks)
    blocks, num_in = [], num_channels
    for width in widths:
        conv = nn.Conv2d(num_in, width, 3, stride=2, padding=1, bias=False)
        blocks += [conv, norm(width), nn.ReLU(inplace=True)]
        num_in = width
    return nn.Sequential(*blocks)


def _up(
    num_channels: int, base_width: int, widths: list[int], residual: bool
) -> nn.Sequential:
    norm, num_in = nn.BatchNorm2d, widths[-1]
    inner = widths[-2::-1]  # what all blocks but the last give
    if residual:
        blocks = []
        for width in [*inner, base_width]:
            blocks.append(UpBlock(num_in, width))
            num_in = width
        last = nn.Conv2d(num_in, num_channels, 3, padding=1)
        return nn.Sequential(*blocks, norm(num_in), nn.ReLU(), last)
    blocks = [norm(num_in), nn.ReLU(inplace=True)]
    for width in inner:
        conv = nn.ConvTranspose2d(num_in, width, 4, stride=2, padding=1, bias=False)
        blocks += [conv, norm(width), nn.ReLU(inplace=True)]
        num_in = width
    last = nn.ConvTranspose2d(num_in, num_channels, 4, stride=2, padding=1)
    return nn.Sequential(*blocks, last)


def _layer_norm(num_channels: int) -> nn.Module:
    """Layer norm over (C, H, W) with one scale and shift a channel."""
    return nn.GroupNorm(1, num_channels)


class _BiasFree(nn.BatchNorm2d):
    """Batch norm that learns no shift, with which Deep SVDD could collapse."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels, affine=False)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
