r"""f-AnoGAN, a detector of thesis chapter 4 and a baseline of chapters 3, 5, 7 and 10.

Schlegl, Seeböck, Waldstein, Langs and Schmidt-Erfurth, *f-AnoGAN: Fast unsupervised
anomaly detection with generative adversarial networks*, Medical Image Analysis, 2019.
A generator learns to draw normal images; then, with the generator as it is, an encoder
learns to find the code of an image. Of an abnormal image the generator draws a normal
one, and the residual is the score.

Where chapter 4 gives no setting, the authors' program (tSchlegl/f-AnoGAN) does. The
networks are those of `nn.autoencoder`, whose residual blocks and widths are the
program's. Departures: images are in [0, 1] and the generator ends with a sigmoid, where
the program has [-1, 1] and tanh; weights start as PyTorch draws them.

Axes in all shapes: B images, C channels, H = W pixels, Z features of a code, F of the
critic, M test images.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from thesislib.detectors import matched
from thesislib.nn import patches, wgan
from thesislib.nn.autoencoder import Critic, Decoder, Encoder
from thesislib.ranges import above, at_least, within


@dataclass(frozen=True, kw_only=True)
class FAnoGANConfig:
    """Settings of f-AnoGAN; those of the authors' program unless another is named."""

    # Networks
    num_features: int = 128  # Z
    base_width: int = 64  # channels; 512 in the last block
    critic_width: int = 64  # the same of the critic
    residual: bool = True  # blocks of the program; else plain ones, ours
    prior: Literal["normal", "uniform"] = "normal"  # of z; uniform: U(-1, 1), ch. 3

    # Generator and critic
    gan_steps: int = 30_000  # of the generator; ours, the program has 7 epochs
    num_critic: int = 5  # steps of the critic to one of the generator
    penalty: float = 10.0  # lambda
    lr: float = 1e-4  # Adam, of both
    beta_1: float = 0.0
    beta_2: float = 0.9

    # Encoder
    mapping: Literal["izif", "izi", "ziz"] = "izif"  # which loss, rows of Table 3.1
    kappa: float = 1.0  # of the critic's features, in the loss and in Eq. (4.7)
    encoder_steps: int = 50_000
    encoder_lr: float = 5e-5  # RMSprop

    # Both
    batch_size: int = 64
    flip: bool = False  # horizontal, p = 0.5; the program does, chapter 4 is silent

    # Score
    features: Literal["critic", "encoder"] = "critic"  # of Eq. (4.7): program, print

    # Local model
    patch_size: int | None = None  # pixels; 32 in Section 4.3.2; None: global model
    stride: int = 16  # pixels between patches that are scored; as IGD's

    def __post_init__(self) -> None:
        at_least(self, 1, "num_features", "base_width", "critic_width", "patch_size")
        at_least(self, 1, "gan_steps", "num_critic", "encoder_steps", "stride")
        at_least(self, 2, "batch_size")
        at_least(self, 0, "penalty", "kappa")
        above(self, 0, "lr", "encoder_lr")
        within(self, "[0, 1)", "beta_1", "beta_2")


# --- Equations -------------------------------------------------------------------


def image_residual(images: Tensor, reconstruction: Tensor) -> Tensor:
    r"""First term of thesis Eq. (4.7), $\lVert x - g_\phi(f_\theta(x)) \rVert$.

    The mean of squares over C, H and W, as the authors' program has it in training and
    in the score; Eq. (4.7) does not say which norm.

    Args:
        images: $x$, (B, C, H, W).
        reconstruction: $g_\phi(f_\theta(x))$, as `images`.

    Returns:
        (B,), squared pixel values.
    """
    squares = (images.float() - reconstruction.float()).square()
    return squares.mean(dim=(1, 2, 3))


def feature_residual(of_images: Tensor, of_reconstruction: Tensor) -> Tensor:
    r"""Second term of thesis Eq. (4.7) without $\kappa$, (B, F) twice to (B,).

    Eq. (4.7) prints the encoder's features, $\lVert f_\theta(x) -
    f_\theta(g_\phi(f_\theta(x))) \rVert$; f-AnoGAN takes those of the critic's last
    layer but one. `FAnoGANConfig.features` chooses. The mean of squares, see
    `image_residual`.
    """
    return (of_images.float() - of_reconstruction.float()).square().mean(dim=1)


def anomaly_score(image: Tensor, feature: Tensor, kappa: float) -> Tensor:
    r"""Thesis Eq. (4.7) of its two residuals, (B,) each, to (B,).

    $$s_{FAN}(x) = \lVert x - \hat{x} \rVert
      + \kappa \lVert f(x) - f(\hat{x}) \rVert$$
    """
    return image + kappa * feature


def izi_loss(images: Tensor, reconstruction: Tensor) -> Tensor:
    r"""An image's code has to give the image back: $x \to z \to \hat{x}$, a scalar."""
    return image_residual(images, reconstruction).mean()


def ziz_loss(z: Tensor, found: Tensor) -> Tensor:
    r"""A generated image's code has to be found again: $z \to \hat{x} \to \hat{z}$.

    The mean of squares over B and Z. No real image is ever encoded in training.

    Args:
        z: (B, Z).
        found: $f_\theta(g_\phi(z))$, as `z`.
    """
    return (z - found.float()).square().mean()


def total_loss(terms: dict[str, Tensor], kappa: float) -> Tensor:
    r"""What the encoder minimises.

    izi and ziz have one term. izif adds to izi that the critic has to see the same in
    image and reconstruction: $\ell_{izif} = \ell_{izi} + \kappa \ell_{feature}$, which
    is the score of Eq. (4.7), minimised on normal images.
    """
    weights = {"feature": kappa}
    return sum(weights.get(name, 1.0) * term for name, term in terms.items())


def residual_map(images: Tensor, reconstruction: Tensor) -> Tensor:
    r"""Residual at every pixel, below thesis Eq. (4.7), to (B, 1, H, W).

    $\lVert x_\omega - g_\phi(f_\theta(x_\omega)) \rVert$: the absolute difference, as
    f-AnoGAN localises by, mean over C.
    """
    absolute = (images.float() - reconstruction.float()).abs()
    return absolute.mean(dim=1, keepdim=True)


# --- Networks --------------------------------------------------------------------


class FAnoGAN(nn.Module):
    """Encoder, generator and critic of one scale.

    The generator is called `decoder`: chapter 4 writes both as $g_\\phi$.

    Args:
        config: Settings.
        image_size: Pixels a side of what enters: images, or patches of the local
            model.
        num_channels: C.
        encoder: A pre-trained one in place of that of `config`, as chapter 4 starts
            from CCD's; maps (B, C, H, W) to (B, Z).
    """

    def __init__(
        self,
        config: FAnoGANConfig,
        image_size: int,
        num_channels: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        sizes = (image_size, num_channels, config.base_width)
        of_critic = (image_size, num_channels, config.critic_width)
        self.decoder = Decoder(*sizes, config.num_features, residual=config.residual)
        self.critic = Critic(*of_critic, residual=config.residual, norm_first=False)
        self.encoder = encoder or Encoder(
            *sizes, config.num_features, residual=config.residual
        )

    def generate(self, z: Tensor) -> Tensor:
        """Draw images in eval mode, without gradients, (B, Z) to (B, C, H, W)."""
        self.eval()
        with torch.no_grad():
            return self.decoder(z).float()


# --- Training --------------------------------------------------------------------


def fit(model: FAnoGAN, bank, config: FAnoGANConfig, loop, gan=None) -> FAnoGAN:
    """Train generator and critic, then the encoder with both as they are.

    Args:
        model: As its constructor made it; with a pre-trained encoder or without.
        bank: Normal images; the global model sees them whole, the local one
            (`config.patch_size`) patches at random places.
        config: Settings.
        loop: A `training.loop.Loop`; records the terms, resumes after a kill.
        gan: `Loop` of generator and critic, for encoders that share them: the second
            reads their end back and goes on from there. None: part of `loop`.

    Returns:
        The model in eval mode.

    Raises:
        InputError: If patches do not fit.
    """
    if config.patch_size:
        patches.check(bank.image_size, config.patch_size, config.stride)
    betas = (config.beta_1, config.beta_2)
    of_decoder, of_critic = (
        torch.optim.Adam(part.parameters(), lr=config.lr, betas=betas)
        for part in (model.decoder, model.critic)
    )
    of_encoder = torch.optim.RMSprop(
        [p for p in model.encoder.parameters() if p.requires_grad],
        lr=config.encoder_lr,
        alpha=0.9,  # TensorFlow's default, which the program takes
    )
    adversaries = {"of_decoder": of_decoder, "of_critic": of_critic}
    saving = {"model": model, "of_encoder": of_encoder, **adversaries}
    num_steps = config.gan_steps + config.encoder_steps
    steps = loop.steps(num_steps, saving, start=config.gan_steps if gan else 0)
    if gan:
        saving_gan = {"decoder": model.decoder, "critic": model.critic, **adversaries}
        steps = chain(gan.steps(config.gan_steps, saving_gan), steps)
    for step in steps:
        if step.index < config.gan_steps:
            gan_step(model, bank, config, step, of_decoder, of_critic)
        else:
            encoder_step(model, bank, config, step, of_encoder)
    return model.eval()


def gan_step(
    model: FAnoGAN, bank, config: FAnoGANConfig, step, of_decoder, of_critic
) -> None:
    """Some steps of the critic and one of the generator, thesis Eq. (3.5).

    Logged beside the losses: the penalty, and the diversity of the last generated
    batch, which tells of a collapse.
    """
    model.decoder.train()
    model.critic.train()
    for _ in range(config.num_critic):
        real = _draw(bank, config, step.generator)
        share = torch.rand(len(real), generator=step.generator, device=real.device)
        with step.autocast():
            with torch.no_grad():
                generated = model.decoder(draw_codes(len(real), config, step.generator))
            answers = model.critic(torch.cat([real, generated])).float()
            penalty = wgan.gradient_penalty(model.critic, real, generated, share)
            loss = wgan.critic_loss(*answers.chunk(2)) + config.penalty * penalty
        step.update(loss, of_critic, name="critic")
    with step.autocast(), wgan.frozen(model.critic):
        generated = model.decoder(draw_codes(len(real), config, step.generator))
        loss = wgan.generator_loss(model.critic(generated).float())
    step.update(loss, of_decoder, name="generator")
    step.log({"penalty": penalty, "diversity": wgan.diversity(generated, real)})


def encoder_step(model: FAnoGAN, bank, config: FAnoGANConfig, step, optimizer) -> None:
    """One step of the encoder; generator and critic stay as they are, in eval mode."""
    model.eval()
    model.encoder.train()
    with step.autocast(), wgan.frozen(model.decoder, model.critic):
        terms = encoder_losses(model, bank, config, step.generator)
        loss = total_loss(terms, config.kappa)
    step.update(loss, optimizer)
    step.log(terms)


def encoder_losses(
    model: FAnoGAN, bank, config: FAnoGANConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Terms of the loss that `config.mapping` names: `ziz`, or `izi` and `feature`."""
    if config.mapping == "ziz":
        z = draw_codes(config.batch_size, config, generator)
        return {"ziz": ziz_loss(z, model.encoder(model.decoder(z)))}
    images = _draw(bank, config, generator)
    reconstruction = model.decoder(model.encoder(images))
    terms = {"izi": izi_loss(images, reconstruction)}
    if config.mapping == "izif":
        features = (model.critic.features(x) for x in (images, reconstruction))
        terms["feature"] = feature_residual(*features).mean()
    return terms


def _draw(bank, config: FAnoGANConfig, generator: torch.Generator) -> Tensor:
    """A batch of images or patches, mirrored by chance if `config.flip`."""
    images = matched.draw(bank, config, generator)
    return patches.random_patches(images, config.patch_size, generator)


def draw_codes(
    num_images: int, config: FAnoGANConfig, generator: torch.Generator
) -> Tensor:
    """Codes z as the prior has them, (B, Z), on the generator's device."""
    shape = (num_images, config.num_features)
    if config.prior == "uniform":
        return 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
    return torch.randn(shape, generator=generator, device=generator.device)


# --- Scores ----------------------------------------------------------------------


class Scores(NamedTuple):
    """What one model says of M images; larger is more abnormal.

    Attributes:
        score: Eq. (4.7), (M,); of the local model the largest among patches, as IGD's
            Eq. (6.23).
        image: Its first term alone, (M,); of the local model the largest.
        feature: Its second term without $\\kappa$, as `image`.
        maps: Residuals at every pixel, (M, H, W); None if not asked for.
    """

    score: Tensor
    image: Tensor
    feature: Tensor
    maps: Tensor | None


@torch.no_grad()
def score(
    model: FAnoGAN,
    batches: Iterable[Tensor],
    config: FAnoGANConfig,
    *,
    maps: bool = False,
) -> Scores:
    """Score images by the global model or the local one, thesis Eq. (4.7).

    Args:
        model: Trained.
        batches: Images, (B, C, H, W) each.
        config: Settings that it was trained with.
        maps: Also give the maps; of the local model means over the patches that cover
            a pixel.
    """
    model.eval()
    found: list[tuple[Tensor, ...]] = []
    for images in batches:
        parts = [
            _residuals(model, part, config, maps)
            for part in patches.portions(images, config.patch_size, config.stride)
        ]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        both = anomaly_score(columns[0], columns[1], config.kappa)
        of_images = [x.view(len(images), -1).amax(1) for x in (both, *columns[:2])]
        if maps:
            drawn = columns[2]
            if config.patch_size:
                drawn = drawn.unflatten(0, (len(images), -1))
                drawn = patches.assemble(drawn, images.shape[-1], config.stride)
            of_images.append(drawn[:, 0])
        found.append(tuple(column.cpu() for column in of_images))
    gathered = [torch.cat(column) for column in zip(*found, strict=True)]
    return Scores(*gathered) if maps else Scores(*gathered, None)


def combine(of_global: Scores, of_local: Scores) -> Scores:
    """Both scales together: sums of scores, of terms and of maps.

    "The final map is obtained by summing the global and local maps" (Section 4.3.2),
    and f-AnoGAN has "the same setup as the IGD", whose scores are summed in Eq. (6.21).
    """
    sums = [a + b for a, b in zip(of_global[:3], of_local[:3], strict=True)]
    if of_global.maps is None or of_local.maps is None:
        return Scores(*sums, None)
    return Scores(*sums, of_global.maps + of_local.maps)


def _residuals(
    model: FAnoGAN, images: Tensor, config: FAnoGANConfig, maps: bool
) -> tuple[Tensor, ...]:
    """Both terms of Eq. (4.7), (B,), and the map, (B, 1, H, W), if asked for."""
    z = model.encoder(images)
    reconstruction = model.decoder(z)
    if config.features == "critic":
        of_images = model.critic.features(images)
        of_reconstruction = model.critic.features(reconstruction)
    else:
        of_images, of_reconstruction = z, model.encoder(reconstruction)
    terms = (
        image_residual(images, reconstruction),
        feature_residual(of_images, of_reconstruction),
    )
    return (*terms, residual_map(images, reconstruction)) if maps else terms
