"""Learning rates as functions of the step."""

import math

from torch.optim import Optimizer


def cosine_lr(step: int, num_steps: int, lr: float, final_fraction: float) -> float:
    """Half a cosine from `lr` to `final_fraction` of it.

    Loshchilov and Hutter, SGDR, 2017, Eq. (5) without restarts.

    Args:
        step: 0 to `num_steps`.
        num_steps: Length of the decay, at least 1.
        lr: Rate at step 0.
        final_fraction: Rate at the end, as a fraction of `lr`.
    """
    wave = 0.5 * (1 + math.cos(math.pi * step / num_steps))
    return lr * (final_fraction + (1 - final_fraction) * wave)


def steps_of(config, num_images: int) -> int:
    """Steps of a training: `config.num_steps`, else `config.epochs` passes.

    A pass leaves out what does not fill a last batch, unless it is the only one.
    """
    if config.num_steps is not None:
        return config.num_steps
    return config.epochs * max(1, num_images // config.batch_size)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def polynomial_lr(step: int, num_steps: int, lr: float, power: float) -> float:
    """From `lr` to zero as a power of what is left of the steps.

    Args:
        step: 0 to `num_steps`.
        num_steps: Length of the decay, at least 1.
        lr: Rate at step 0.
        power: 1 is a straight line, 0 no decay.
    """
    return lr * (1 - step / num_steps) ** power
