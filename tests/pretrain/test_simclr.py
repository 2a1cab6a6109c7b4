import math

import pytest
import torch
from torch.nn.functional import normalize

from thesislib.pretrain import simclr


def slow_contrastive_loss(z, tau):
    """Chen et al. Eq. (1), one sample at a time."""
    samples = [(v, i) for v in range(2) for i in range(z.shape[1])]
    total = 0.0
    for v, i in samples:
        positive = math.exp(z[v, i] @ z[1 - v, i] / tau)
        others = sum(
            math.exp(z[v, i] @ z[k, j] / tau) for k, j in samples if (k, j) != (v, i)
        )
        total -= math.log(positive / others)
    return total / len(samples)


def test_loss_is_chen_s_equation():
    z = normalize(
        torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )

    loss = simclr.contrastive_loss(z, 0.2).item()
    assert loss == pytest.approx(slow_contrastive_loss(z, 0.2), rel=1e-5)


def test_equal_images_cost_the_log_of_their_number():
    z = normalize(torch.ones(2, 5, 3), dim=-1)

    assert simclr.contrastive_loss(z, 0.2).item() == pytest.approx(math.log(9))
