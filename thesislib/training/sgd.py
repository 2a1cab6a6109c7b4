"""SGD on a cosine, as every pre-training of chapters 4 and 5 has it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from thesislib.ranges import above, at_least, within
from thesislib.training.loop import Loop, Step
from thesislib.training.schedule import cosine_lr, set_lr, steps_of


@dataclass(frozen=True, kw_only=True)
class SGDConfig:
    """Settings of the optimiser; a pre-training adds `batch_size` and its own.

    "Program" is the published one of chapter 4's authors.
    """

    lr: float = 0.01  # thesis Sections 4.3.2 and 5.3.2
    momentum: float = 0.9  # "with momentum"; program
    weight_decay: float = 3e-4  # program
    epochs: int = 2_000  # passes over the training images; chapter 4
    num_steps: int | None = None  # if given, instead of `epochs`
    final_lr_fraction: float = 1e-3  # cosine decay, program
    clip_norm: float | None = 1.0  # ours, of the gradient; None is the literal recipe

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "num_steps")
        at_least(self, 0, "weight_decay")
        above(self, 0, "lr", "clip_norm")
        within(self, "[0, 1)", "momentum")
        within(self, "[0, 1]", "final_lr_fraction")


def sgd(model: nn.Module, config: SGDConfig) -> Optimizer:
    """SGD with momentum and weight decay, at the rate before any decay."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def annealed(
    steps: Iterable[Step], optimizer: Optimizer, config: SGDConfig, num_steps: int
) -> Iterator[Step]:
    """The same steps, each with its learning rate set, half a cosine over all."""
    for step in steps:
        lr = cosine_lr(step.index, num_steps, config.lr, config.final_lr_fraction)
        set_lr(optimizer, lr)
        yield step


def sgd_steps(
    model: nn.Module, num_images: int, config: SGDConfig, loop: Loop
) -> Iterator[tuple[Step, Optimizer]]:
    """Steps of a training of all of `model`, each with the optimiser to update by.

    Args:
        model: Put into training mode.
        num_images: Of a pass; what is augmented is counted as often as it is seen.
        config: Has `batch_size` beside the settings above.
        loop: Resumes, records and stops.
    """
    num_steps = steps_of(config, num_images)
    optimizer = sgd(model, config)
    model.train()
    steps = loop.steps(num_steps, {"model": model, "optimizer": optimizer})
    for step in annealed(steps, optimizer, config, num_steps):
        yield step, optimizer
