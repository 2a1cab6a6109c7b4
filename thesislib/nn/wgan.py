r"""Wasserstein GAN with gradient penalty: the adversarial part of f-AnoGAN and ADGAN.

Arjovsky, Chintala and Bottou, *Wasserstein GAN*, 2017; Gulrajani et al., *Improved
Training of Wasserstein GANs*, 2017. A critic gives real images high and generated
ones low numbers, with slopes near 1; a generator learns to be given high ones. The
critic needs a norm under which its answer for one image does not depend on the batch,
else the slope for an image is that of several: layer norm, as `autoencoder.Critic` has.

Axes in all shapes: B images, C channels, H = W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

LEAST_SPREAD = 1e-6  # mean distance of real images that divides another, pixel values


def critic_loss(of_real: Tensor, of_generated: Tensor) -> Tensor:
    r"""What the critic minimises beside the penalty, thesis Eq. (3.5).

    $$\ell_D = \mathbb{E}[D(\hat{x})] - \mathbb{E}[D(x)]$$

    Eq. (3.5) prints the opposite sign, which minimised would teach the critic to
    prefer generated images; this is Gulrajani et al.'s. Its negative estimates the
    Wasserstein distance between real and generated images.

    Args:
        of_real: $D(x)$, (B,).
        of_generated: $D(\hat{x})$, (B,).
    """
    return of_generated.mean() - of_real.mean()


def generator_loss(of_generated: Tensor) -> Tensor:
    r"""What the generator minimises, thesis Eq. (3.5): $\ell_G = -\mathbb{E}[D(G(z))]$.

    Args:
        of_generated: $D(G(z))$, (B,).
    """
    return -of_generated.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, share: Tensor
) -> Tensor:
    r"""How far the critic's slopes are from 1, thesis Eq. (3.5) without $\lambda$.

    $$\mathbb{E}[(\lVert \nabla_{\tilde{x}} D(\tilde{x}) \rVert_2 - 1)^2], \quad
      \tilde{x} = \epsilon x + (1 - \epsilon) \hat{x}$$

    Eq. (3.5) prints the slope at $\hat{x}$; the work that it cites takes it on the
    line between a real and a generated image, as here.

    Args:
        critic: Maps images to one number each, (B,).
        real: $x$, (B, C, H, W).
        generated: $\hat{x}$, as `real`; no gradient reaches it.
        share: $\epsilon$ in [0, 1], one an image, (B,).
    """
    with torch.autocast(real.device.type, enabled=False):
        share = share.view(-1, 1, 1, 1)
        between = share * real + (1 - share) * generated
        between = between.detach().float().requires_grad_()
        (slope,) = torch.autograd.grad(
            critic(between).sum(), between, create_graph=True
        )
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def diversity(generated: Tensor, real: Tensor) -> Tensor:
    r"""How far apart generated images lie, relative to real ones.

    $$\frac{\mathbb{E}_{i \ne j} \lVert \hat{x}_i - \hat{x}_j \rVert_2}
      {\mathbb{E}_{i \ne j} \lVert x_i - x_j \rVert_2}$$

    0 for a generator that has collapsed to one image, 1 where distances are as large
    as among real images. Ours, a guard and no measure of quality: noise is diverse.

    Args:
        generated: (B, C, H, W).
        real: (B', C, H, W). Of one image, or of images all alike, there is no
            distance to compare with; the answer is then finite and says nothing.

    Returns:
        A scalar, at least 0.
    """
    spread = [torch.pdist(x.detach().float().flatten(1)) for x in (generated, real)]
    spread = [distances.sum() / max(1, len(distances)) for distances in spread]
    return spread[0] / spread[1].clamp(min=LEAST_SPREAD)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Forward passes inside send no gradient to weights, but through them to inputs.

    An opponent's gradients would be computed for nothing, which costs a third.
    """
    weights = [p for one in modules for p in one.parameters() if p.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
