"""ResNet-18, the encoder $f_\\theta$ of chapters 4 to 6.

He et al., *Deep Residual Learning for Image Recognition*, 2016, Table 1.
Parameters carry torchvision's names, so that its ImageNet weights load.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1], torchvision's values
IMAGENET_STD = (0.229, 0.224, 0.225)
NUM_STAGES = 4
LEAST_WIDTH = 8
"""Channels. With fewer, a strided 1x1 convolution of PyTorch 2.14 writes past its
memory on CPUs without AVX-512, and the process dies or computes nonsense."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, He et al. Figure 5 left."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.downsample = None
        if stride != 1 or num_in != num_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False),
                nn.BatchNorm2d(num_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class ResNet18(nn.Module):
    """Map images to features; ResNet-18 without its last linear layer.

    Args:
        base_width: Channels of the first stage, doubled by each next one. 64 is
            the published network; `quick` uses 16, ours.

    Raises:
        InputError: If `base_width` is below 8.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, base_width: int = 64) -> None:
        super().__init__()
        if base_width < LEAST_WIDTH:
            raise InputError(
                f"base_width is {base_width}; ResNet-18 takes {LEAST_WIDTH} or more."
            )
        widths = [base_width * 2**stage for stage in range(NUM_STAGES)]
        self.conv1 = nn.Conv2d(3, base_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.layer1 = self._stage(base_width, widths[0], stride=1)
        self.layer2 = self._stage(widths[0], widths[1], stride=2)
        self.layer3 = self._stage(widths[1], widths[2], stride=2)
        self.layer4 = self._stage(widths[2], widths[3], stride=2)
        self.widths = tuple(widths)
        self.num_features = widths[-1]
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1] to features (B, 8 base_width)."""
        return self.feature_maps(images)[-1].mean(dim=(2, 3))

    def feature_maps(
        self, images: Tensor, num_stages: int = NUM_STAGES
    ) -> list[Tensor]:
        """Outputs of the first stages, coarser and wider from one to the next.

        Args:
            images: (B, 3, H, W) in [0, 1].
            num_stages: How many stages to compute, 1 to 4.

        Returns:
            Maps (B, base_width 2^s, H / 2^(s+2), W / 2^(s+2)), s = 0, 1, ...
        """
        x = ((images - self.mean) / self.std).contiguous(
            memory_format=torch.channels_last
        )
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4)[:num_stages]:
            x = stage(x)
            maps.append(x)
        return maps

    @staticmethod
    def _stage(num_in: int, num_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock(num_in, num_out, stride), BasicBlock(num_out, num_out, stride=1)
        )


def load_weights(encoder: ResNet18, path: Path) -> None:
    """Fill an encoder from a file of torchvision's ResNet-18 or of our own.

    Args:
        encoder: Receives the weights; unchanged if the file does not fit.
        path: `.safetensors`, or a `.pth` of tensors alone (a pickle that holds
            anything else is refused). The classifier `fc` is dropped.

    Raises:
        InputError: If the file is absent, unreadable or of another architecture.
    """
    weights = _read_tensors(path)
    weights = {
        name: tensor
        for name, tensor in weights.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    expected = {
        name: tensor.shape
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    if missing or unknown:
        raise InputError(
            f"{path.name} is not a ResNet-18: "
            f"{_a_few(missing)} missing and {_a_few(unknown)} unknown; "
            "give torchvision's resnet18 weights or an encoder saved by this package."
        )
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise InputError(
                f"{path.name} has {name} of shape {tuple(weights[name].shape)}, "
                f"this encoder needs {tuple(shape)}; check base_width "
                f"(here {encoder.widths[0]})."
            )
    encoder.load_state_dict(weights, strict=False)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"No weights at {path.name}; give the path of an existing file."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise many kinds; all mean the same
        raise InputError(
            f"{path.name} cannot be read as weights ({type(error).__name__}); allowed "
            "are safetensors and torch files that hold tensors alone."
        ) from error
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict) or not all(
        isinstance(tensor, Tensor) for tensor in weights.values()
    ):
        raise InputError(f"{path.name} holds something else than named tensors.")
    return weights


def _a_few(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
