"""The contrastive loss that SimCLR and CSI share."""

import math

import torch
from torch import Tensor


def contrastive_loss(z: Tensor, temperature: float) -> Tensor:
    r"""NT-Xent, Chen et al. Eq. (1).

    $$\ell_{il} = -\log \frac{\exp(z_{il}^\top z_{i,1-l} / \tau)}
      {\sum_{(j,k) \ne (i,l)} \exp(z_{il}^\top z_{jk} / \tau)}$$

    Args:
        z: Unit vectors, (V, N, D).
        temperature: $\tau$.

    Returns:
        Mean over V and N, a scalar in nats; log(2N - 1) if all are alike.
    """
    num_views, num_images, _ = z.shape
    size = num_views * num_images
    logits = torch.einsum("vnd,kmd->vnkm", z, z).reshape(size, size) / temperature
    other_view = torch.arange(size, device=z.device).view(num_views, -1).flip(0)
    positive = logits.gather(1, other_view.reshape(-1, 1)).squeeze(1)
    itself = torch.eye(size, dtype=torch.bool, device=z.device)
    return (logits.masked_fill(itself, -math.inf).logsumexp(dim=1) - positive).mean()
