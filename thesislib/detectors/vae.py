r"""Variational auto-encoder (VAE), a baseline of thesis Table 6.1.

Kingma and Welling, *Auto-Encoding Variational Bayes*, 2014. The thesis quotes its
result and gives no settings. Encoder and decoder are those of IGD, but that the
encoder's linear layer gives 2Z numbers: mean and log-variance of the code.

Axes in all shapes: B images, C channels, H = W pixels, Z features.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from thesislib.detectors import matched
from thesislib.errors import InputError
from thesislib.nn.autoencoder import Decoder, Encoder
from thesislib.training.schedule import polynomial_lr, set_lr, steps_of


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Settings of the VAE: those of IGD, see `matched.settings_like`, and a scale."""

    num_features: int = 128  # Z
    base_width: int = 64  # channels
    residual: bool = True  # blocks of networks, see `nn.autoencoder`
    std: float = 0.1  # of a pixel about its reconstruction, in [0, 1]; ours
    batch_size: int = 64
    lr: float = 1e-4  # Adam
    beta_1: float = 0.9
    weight_decay: float = 1e-6
    epochs: int = 256
    num_steps: int | None = None  # if given, instead of `epochs`
    lr_power: float = 0.9  # polynomial decay to zero
    flip: bool = False  # horizontal, p = 0.5


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""From the code's posterior to the prior, Kingma and Welling Appendix B.

    $$\mathrm{KL}[\mathcal{N}(\mu, \mathrm{diag}\,\sigma^2) \Vert \mathcal{N}(0, I)]
      = \frac{1}{2} \sum_k \sigma_k^2 + \mu_k^2 - 1 - \log \sigma_k^2$$

    Args:
        mean: $\mu$, (B, Z).
        log_variance: $\log \sigma^2$, (B, Z).

    Returns:
        (B,), nats, at least 0.
    """
    terms = log_variance.exp() + mean.square() - 1 - log_variance
    return terms.sum(dim=1) / 2


def negative_log_likelihood(
    images: Tensor, reconstruction: Tensor, std: float
) -> Tensor:
    r"""$-\log p(x \mid z)$ of a Gaussian about the reconstruction.

    Every pixel of every channel has the same, fixed standard deviation, so that this
    is $\lVert x - \hat{x} \rVert^2 / 2 s^2$ and a constant. Kingma and Welling take a
    Bernoulli for binary digits and a Gaussian for grey faces, whose deviation they
    learn. The scale matters: it weighs reconstruction against the KL divergence.

    Args:
        images: (B, C, H, W).
        reconstruction: As `images`.
        std: $s$, above 0.

    Returns:
        (B,), nats, the constant included; below 0 where the density exceeds 1.
    """
    standardised = (images.float() - reconstruction.float()) / std
    constant = math.log(std) + math.log(2 * math.pi) / 2
    return (standardised.square() / 2 + constant).sum(dim=(1, 2, 3))


def draw_codes(mean: Tensor, log_variance: Tensor, generator) -> Tensor:
    r"""$z = \mu + \sigma \epsilon$, the reparameterisation, all (B, Z)."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + (log_variance / 2).exp() * noise


class VAE(nn.Module):
    """Encoder and decoder.

    Args:
        config: Settings.
        image_size: Pixels a side.
        num_channels: C.
        encoder: A pre-trained one in place of that of `config`; maps (B, C, H, W) to
            (B, 2Z).
    """

    def __init__(
        self,
        config: VAEConfig,
        image_size: int,
        num_channels: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not config.std > 0:
            raise InputError(f"vae.std is {config.std}; it must be above 0.")
        sizes = (image_size, num_channels, config.base_width)
        self.num_features = config.num_features
        self.encoder = encoder or Encoder(
            *sizes, 2 * config.num_features, residual=config.residual
        )
        self.decoder = Decoder(*sizes, config.num_features, residual=config.residual)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code, (B, C, H, W) to twice (B, Z).

        Raises:
            InputError: If the encoder gives another number of features than 2Z.
        """
        both = self.encoder(images).float()
        if both.shape[1] != 2 * self.num_features:
            raise InputError(
                f"The VAE's encoder gives {both.shape[1]} features; mean and "
                f"log-variance need {2 * self.num_features}."
            )
        mean, log_variance = both.chunk(2, dim=1)
        return mean, log_variance


def losses(
    model: VAE, images: Tensor, config: VAEConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """The negative evidence lower bound in two terms, means over B, nats an image.

    Returns:
        `rec`, by one draw of the code an image, and `kl`.
    """
    mean, log_variance = model.encode(images)
    reconstruction = model.decoder(draw_codes(mean, log_variance, generator))
    rec = negative_log_likelihood(images, reconstruction, config.std)
    return {"rec": rec.mean(), "kl": kl_divergence(mean, log_variance).mean()}


def fit(model: VAE, bank, config: VAEConfig, loop) -> VAE:
    """Minimise the negative bound on normal images; `loop` resumes and records.

    Returns:
        The model in eval mode.
    """
    num_steps = steps_of(config, len(bank))
    optimizer = matched.adam(model, config)
    model.train()
    saving = {"model": model, "optimizer": optimizer}
    for step in loop.steps(num_steps, saving=saving):
        lr = polynomial_lr(step.index, num_steps, config.lr, config.lr_power)
        set_lr(optimizer, lr)
        images = matched.draw(bank, config, step.generator)
        with step.autocast():
            terms = losses(model, images, config, step.generator)
        step.update(sum(terms.values()), optimizer)
        step.log(terms)
    return model.eval()


class Scores(NamedTuple):
    """What the VAE says of M images; larger is more abnormal.

    Attributes:
        score: `rec` + `kl`, (M,), nats.
        rec: Negative log-likelihood at the mean code, (M,), nats.
        kl: KL divergence, (M,), nats.
    """

    score: Tensor
    rec: Tensor
    kl: Tensor


@torch.no_grad()
def score(model: VAE, batches: Iterable[Tensor], config: VAEConfig) -> Scores:
    """Score images by the negative bound at the mean code.

    The likelihood's mean over codes is replaced by its value at the mean code, which
    makes scores free of chance; they are smaller than the bound proper.

    Args:
        model: Trained.
        batches: Images, (B, C, H, W) each.
        config: Settings that it was trained with.
    """
    model.eval()
    rec, kl = [], []
    for images in batches:
        mean, log_variance = model.encode(images)
        reconstruction = model.decoder(mean)
        rec.append(negative_log_likelihood(images, reconstruction, config.std).cpu())
        kl.append(kl_divergence(mean, log_variance).cpu())
    rec, kl = torch.cat(rec), torch.cat(kl)
    return Scores(rec + kl, rec, kl)
