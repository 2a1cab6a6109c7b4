r"""Deep SVDD, alone and with IGD's reconstruction loss, Tables 6.1, 6.6 and 6.7.

Ruff et al., *Deep One-Class Classification*, 2018, their one-class objective, Eq. (4):
the encoder draws normal images to a fixed point of the feature space.

Network, batches and optimiser are IGD's, so that the tables compare losses. Ruff et
al. have LeNets with leaky ReLU and 32 or 128 features, start from a trained
auto-encoder, normalise the contrast of every image, and drop the learning rate once.
ReLU is allowed by their Proposition 3: it has no bound other than zero.

Axes in all shapes: B images, C channels, H = W pixels, Z features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from thesislib.detectors import matched
from thesislib.detectors.igd import GaussianClassifier, reconstruction_loss
from thesislib.errors import InputError
from thesislib.nn.autoencoder import Decoder, Encoder
from thesislib.training import precision
from thesislib.training.schedule import polynomial_lr, set_lr, steps_of


@dataclass(frozen=True, kw_only=True)
class DeepSVDDConfig:
    """Settings of Deep SVDD: those of IGD, see `matched.settings_like`, and two."""

    num_features: int = 128  # Z
    base_width: int = 64  # channels
    residual: bool = True  # blocks of networks, see `nn.autoencoder`

    centre_margin: float = 0.1  # least size of a component of c; their program
    with_reconstruction: bool = False  # DSVDD+REC of Tables 6.6 and 6.7
    reconstruction: Literal["ms-ssim", "mse"] = "ms-ssim"  # Eq. (6.12)
    pixels: Literal["mean", "sum"] = "mean"  # over Omega in Eq. (6.12)
    rho: float = 0.15  # share of MAE in Eq. (6.12)
    lambda_2: float = 1.0  # of the reconstruction, as in Eq. (6.7)

    batch_size: int = 64
    lr: float = 1e-4  # Adam
    beta_1: float = 0.9
    weight_decay: float = 1e-6  # lambda of Ruff et al. Eq. (4), who have the same
    epochs: int = 256
    num_steps: int | None = None  # if given, instead of `epochs`
    lr_power: float = 0.9  # polynomial decay to zero
    flip: bool = False  # horizontal, p = 0.5


def squared_distance(z: Tensor, centre: Tensor) -> Tensor:
    r"""$\lVert f_\psi(x) - c \rVert_2^2$, Ruff et al. Eqs. (4) and (5), (B, Z) to (B,).

    At least 0; in the encoder's own scale, which the loss shrinks.
    """
    return (z.float() - centre).square().sum(dim=1)


def remove_biases(encoder: nn.Module) -> nn.Module:
    """Take the biases from all layers that train, Ruff et al. Proposition 2.

    With one, a constant output at c solves the problem whatever the images. Layers
    of a frozen backbone stay as they are: they do not adapt.

    Raises:
        InputError: If batch norm with a shift is to train: without its shifts, a
            pre-trained network would not be the same.
    """
    for module in encoder.modules():
        bias = getattr(module, "bias", None)
        if not isinstance(bias, nn.Parameter) or not bias.requires_grad:
            continue
        if not isinstance(module, nn.Linear | nn.Conv2d):
            raise InputError(
                f"Deep SVDD's encoder trains a {type(module).__name__} with a bias; "
                "allowed are encoders without biases and frozen backbones."
            )
        module.register_parameter("bias", None)
    return encoder


class DeepSVDD(nn.Module):
    """Encoder without biases, centre, and a decoder if `config` reconstructs.

    Args:
        config: Settings.
        image_size: Pixels a side.
        num_channels: C.
        encoder: A pre-trained one in place of that of `config`; maps (B, C, H, W) to
            (B, Z). Biases that train are removed from it.

    Raises:
        InputError: See `remove_biases`.
    """

    centre: Tensor

    def __init__(
        self,
        config: DeepSVDDConfig,
        image_size: int,
        num_channels: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        sizes = (image_size, num_channels, config.base_width)
        self.encoder = remove_biases(
            encoder
            or Encoder(
                *sizes, config.num_features, residual=config.residual, bias=False
            )
        )
        self.decoder = None
        if config.with_reconstruction:
            self.decoder = Decoder(
                *sizes, config.num_features, residual=config.residual
            )
        self.register_buffer("centre", torch.zeros(config.num_features))


def fit(model: DeepSVDD, bank, config: DeepSVDDConfig, loop) -> DeepSVDD:
    """Fix the centre, then minimise the loss on normal images.

    Args:
        model: As its constructor made it.
        bank: Normal images.
        config: Settings.
        loop: A `training.loop.Loop`; records the terms, resumes after a kill.

    Returns:
        The model in eval mode.
    """
    num_steps = steps_of(config, len(bank))
    optimizer = matched.adam(model, config)
    model.train()
    saving = {"model": model, "optimizer": optimizer}
    for step in loop.steps(num_steps, saving=saving):
        if step.index == 0:
            set_centre(model, bank, config, loop)
        lr = polynomial_lr(step.index, num_steps, config.lr, config.lr_power)
        set_lr(optimizer, lr)
        images = matched.draw(bank, config, step.generator)
        with step.autocast():
            terms = losses(model, images, config)
            loss = terms["distance"] + config.lambda_2 * terms.get("rec", 0.0)
        step.update(loss, optimizer)
        step.log(terms)
    return model.eval()


@torch.no_grad()
def set_centre(model: DeepSVDD, bank, config: DeepSVDDConfig, loop) -> None:
    """Set c to the mean of a first pass, no component nearer to 0 than the margin.

    A component that is exactly 0 stays. The pass is in train mode, unlike that of
    Ruff et al.: their auto-encoder has trained batch norm's statistics, while fresh
    ones are 0 and 1 and would measure c on another scale than that of training.
    """
    chunks = []
    for images in bank.batches(max(256, config.batch_size)):
        with precision.autocast(loop.precision, loop.device):
            chunks.append(model.encoder(images).float())
    measured = GaussianClassifier(config.num_features).to(model.centre.device)
    measured.fit(torch.cat(chunks), margin=config.centre_margin)
    model.centre.copy_(measured.mean)


def losses(
    model: DeepSVDD, images: Tensor, config: DeepSVDDConfig
) -> dict[str, Tensor]:
    r"""Terms of the loss, means over B.

    Returns:
        `distance` of Ruff et al. Eq. (4), whose $\frac{\lambda}{2} \lVert W \rVert^2$
        is the optimiser's weight decay; with a decoder also `rec`, Eq. (6.12).
    """
    return {name: term.mean() for name, term in _terms(model, images, config).items()}


def _terms(model: DeepSVDD, images: Tensor, config: DeepSVDDConfig) -> dict:
    z = model.encoder(images)
    terms = {"distance": squared_distance(z, model.centre)}
    if model.decoder is not None:
        terms["rec"] = reconstruction_loss(images, model.decoder(z), config)
    return terms


class Scores(NamedTuple):
    """What Deep SVDD says of M images; larger is more abnormal.

    Attributes:
        score: `distance`, or `rec` + `distance` if there is a decoder, (M,).
        distance: Squared distance to the centre, (M,).
        rec: $\\ell_r$ of Eq. (6.12), (M,); None without a decoder.
    """

    score: Tensor
    distance: Tensor
    rec: Tensor | None


@torch.no_grad()
def score(model: DeepSVDD, batches: Iterable[Tensor], config: DeepSVDDConfig) -> Scores:
    r"""Score images by Ruff et al. Eq. (5), with a decoder by a sum as Eq. (6.22).

    The thesis does not say how DSVDD+REC is scored. It is $\ell_r + \lVert f_\psi(x)
    - c \rVert^2$ here: Eq. (6.22) with the distance in place of $\ell_h$. The distance
    is on the scale of the loss, not divided by its mean over training images: both
    terms then weigh in the score as they weighed in training, as with IGD. Where
    training shrank the distance far below $\ell_r$, reconstruction decides.

    Args:
        model: Trained.
        batches: Images, (B, C, H, W) each.
        config: Settings that it was trained with.
    """
    model.eval()
    found = [_terms(model, images, config) for images in batches]
    columns = {
        name: torch.cat([terms[name].cpu() for terms in found]) for name in found[0]
    }
    return Scores(sum(columns.values()), columns["distance"], columns.get("rec"))
