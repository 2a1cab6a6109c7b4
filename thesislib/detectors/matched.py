"""What trained baselines of chapter 6 share with IGD, so that they differ in the loss.

Tables 6.6 and 6.7 compare losses. A baseline therefore takes encoder, batches, number
of steps and optimiser from the settings of IGD unless told otherwise.
"""

from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor, nn

from thesislib.detectors.igd import IGDConfig

Config = TypeVar("Config")


def settings_like(kind: type[Config], config: IGDConfig, **changes: object) -> Config:
    """Settings of a baseline with every field that IGD has too taken from IGD.

    Args:
        kind: A baseline's dataclass, such as `VAEConfig`.
        config: Settings of IGD; what `kind` does not have is left out.
        changes: Fields set otherwise.
    """
    shared = {f.name for f in fields(kind)} & {f.name for f in fields(config)}
    return kind(**{name: getattr(config, name) for name in shared} | changes)


def adam(model: nn.Module, config) -> torch.optim.Adam:
    """Adam over what `model` trains, as thesis Section 6.4.2 sets it."""
    return torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.lr,
        betas=(config.beta_1, 0.999),
        weight_decay=config.weight_decay,
    )


def draw(bank, config, generator: torch.Generator) -> Tensor:
    """A batch of training images, (B, C, H, W), mirrored by chance if `config.flip`."""
    images = bank.sample(min(config.batch_size, len(bank)), generator)
    if config.flip:
        size = (len(images), 1, 1, 1)
        flipped = torch.rand(size, generator=generator, device=images.device) < 0.5
        images = torch.where(flipped, images.flip(-1), images)
    return images
