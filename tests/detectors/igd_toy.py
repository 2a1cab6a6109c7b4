"""An IGD that trains in milliseconds, for tests."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from thesislib.datasets.bank import ImageBank
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.training.loop import Loop

SIZE, NUM_IMAGES = 32, 16
TINY = IGDConfig(
    num_features=4,
    base_width=2,
    critic_width=2,
    residual=False,
    batch_size=4,  # four steps a pass
    num_steps=10,
    lr=1e-3,
)


def smooth_bank() -> ImageBank:
    """Smooth grey images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(NUM_IMAGES, 1, 4, 4, generator=generator)
    images = F.interpolate(coarse, size=SIZE, mode="bilinear")
    return ImageBank.from_array((images * 255).to(torch.uint8))


def loop_in(top: Path, folder: str = "run", seed: int = 0, **options) -> Loop:
    """A loop that writes a checkpoint after every step."""
    defaults = {
        "checkpoint_every": 1,
        "max_overhead": float("inf"),
        "read_every": 1,
        "progress": None,
    }
    return Loop("igd", seed=seed, folder=top / folder, **(defaults | options))


def model_of(config: IGDConfig, seed: int = 0, encoder: nn.Module | None = None) -> IGD:
    torch.manual_seed(seed)
    return IGD(config, config.patch_size or SIZE, 1, encoder)


def copy_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> list[str]:
    """Names of weights and statistics that are not as before, bit for bit."""
    return [
        name
        for name, value in module.state_dict().items()
        if not torch.equal(value, before[name])
    ]
