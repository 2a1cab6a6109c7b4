"""Classifiers and losses of the pretext tasks that chapters 4 and 5 share.

Axes in all shapes: A strong augmentations, V views, N images.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from thesislib.augment.position import pair_size, position_pairs

NUM_DIRECTIONS = 8  # neighbours of a patch


def position_classifier(num_in: int) -> nn.Sequential:
    r"""$f_\gamma$ of Eqs. (4.4) and (5.9), as wide as in chapter 4's program.

    Args:
        num_in: Features that stand for a pair of patches.
    """
    return nn.Sequential(
        nn.Linear(num_in, 128), nn.ReLU(), nn.Linear(128, NUM_DIRECTIONS)
    )


@contextmanager
def keep_statistics(model: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norm as they are.

    Those are what a trained encoder normalises by. Small patches that only a pretext
    task looks at have others than images: within this context a batch in training is
    normalised by its own, as always, but is forgotten.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def augmentation_loss(logits: Tensor) -> Tensor:
    r"""Which class was an image put in? Thesis Eqs. (4.3) and (5.8).

    $$\ell_{aug} = -\mathbb{E}_{x,n,a} [\log \mathbf{a}_n^\top
      f_\beta(f_\theta(a(x)))]$$

    Args:
        logits: Of the classifier $f_\beta$, (A, V, N, A).

    Returns:
        Mean cross-entropy, a scalar in nats; log A for a blind classifier.
    """
    log_probability = logits.log_softmax(dim=-1)  # (A, V, N, A)
    return -torch.einsum("avna->avn", log_probability).mean()


def position_loss(logits: Tensor, direction: Tensor) -> Tensor:
    r"""In which direction lies the second patch? Thesis Eqs. (4.4) and (5.9).

    $$\ell_{pos} = -\mathbb{E}_{x} [\log \mathbf{p}^\top
      f_\gamma(f_\theta(x_{\omega_1}), f_\theta(x_{\omega_2}))]$$

    Args:
        logits: Of the classifier $f_\gamma$, (N, 8).
        direction: Neighbour of the first patch that the second one is, (N,), 0 to 7.

    Returns:
        Mean cross-entropy, a scalar in nats; log 8 for a blind classifier.
    """
    return F.cross_entropy(logits, direction)


def position_term(
    model: nn.Module,
    images: Tensor,
    patch_size: int | None,
    generator: torch.Generator,
    pair: Literal["both", "difference"] = "both",
) -> Tensor:
    """Eqs. (4.4) and (5.9) on one pair of patches an image.

    Chapter 4's program crops and flips each of the two by itself, after which a label
    may be wrong; here they stay as they are cut. Nor do they enter the running
    statistics of batch norm, which the detectors need for whole images: half made of
    8 px patches, these took the class term from 0.3 in training to 16 (chapter 4) and
    from 0.97 to 28 (chapter 5) on colonoscopy phantoms of 64 px.

    Args:
        model: Maps images to z, what its classifiers see, and a diagnostic; has
            `position_classifier`.
        images: Normal images, (N, 3, H, W) in [0, 1].
        patch_size: Side of the instances, pixels; None where these are the images.
        generator: On the device of the images.
        pair: What stands for two patches: both their features, or the difference.

    Returns:
        Mean cross-entropy, a scalar in nats.
    """
    size = pair_size(patch_size, images.shape[-1])
    first, second, direction = position_pairs(images, size, generator)
    with keep_statistics(model):
        _, seen, _ = model(torch.cat([first, second]))
    first, second = seen.chunk(2)
    both = pair == "both"
    features = torch.cat([first, second], dim=-1) if both else first - second
    return position_loss(model.position_classifier(features).float(), direction)
