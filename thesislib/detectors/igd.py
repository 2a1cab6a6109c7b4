r"""Interpolated Gaussian descriptor (IGD), thesis chapter 6 and appendix A.

A one-class classifier: normal images lie near the centre of a Gaussian whose mean and
standard deviation are measured (E-step), not learnt. The M-step trains encoder and
decoder to bring representations there, to reconstruct images, and to decode what lies
between two representations so that a critic takes it for an original.

The file reads in the order of Section 6.3: settings, one function an equation, the
networks, the training. `igd_scores` has the scores of Section 6.3.3, `nn.msssim` Eqs.
(6.24) to (6.27), `nn.patches` the patches of the local model. What the authors'
program does otherwise is said where it does, and `reading: code` takes it, its bugs
left out.

Axes in all shapes: B images, C channels, H = W pixels, Z = 128 features, P patches.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from thesislib.nn import patches
from thesislib.nn.autoencoder import Critic, Decoder, Encoder
from thesislib.nn.msssim import ms_ssim, ms_ssim_map, scales_of
from thesislib.ranges import RangeError, above, at_least, within
from thesislib.training.schedule import polynomial_lr, set_lr, steps_of

LEAST_VARIANCE = 1e-12  # where all z are alike, 0 / 0 is 0 and gradients are finite


@dataclass(frozen=True, kw_only=True)
class IGDConfig:
    """Settings of IGD, thesis Section 6.4.2; the rest says its source."""

    # Networks
    num_features: int = 128  # Z
    base_width: int = 64  # channels; 512 in the last block
    critic_width: int = 64  # the same of the critic
    residual: bool = True  # blocks of the authors' program; else plain ones, ours
    bounded: bool = True  # ours: the decoder gives [0, 1], see `nn.autoencoder`

    # Loss
    terms: tuple[str, ...] = ("rec", "gac", "inter")  # ablated in Table 6.5
    reconstruction: Literal["ms-ssim", "mse"] = "ms-ssim"  # Eq. (6.12), or a DAE's
    pixels: Literal["mean", "sum"] = "mean"  # over Omega in Eq. (6.12): code, print
    rho: float = 0.15  # share of MAE in Eqs. (6.12) and (6.29)
    lambda_1: float = 1.0  # of the critic's loss in Eq. (6.7)
    lambda_2: float = 1.0  # of the reconstruction in Eq. (6.7)
    lambda_3: float = 0.1  # of fooling the critic in Eq. (6.11)
    zeta: float | None = None  # None: U(0, 1) in Eq. (6.10); 0.2 in the code

    # E-step
    gaussian: Literal["probability", "log-likelihood"] = "probability"  # (6.8), (6.6)
    variance_floor: float | None = 1.0  # in the loss; code. None: as printed
    e_step_every: int = 1  # passes over the training images; 10 in the code
    old_mean: bool = False  # the code measures the variance about the last mean
    centre_margin: float = 0.0  # the code keeps |mu_i| at 0.1 or more, as Deep SVDD

    # Optimisation
    batch_size: int = 64
    lr: float = 1e-4  # Adam
    beta_1: float = 0.9  # not given; 0 in the code
    weight_decay: float = 1e-6  # of encoder and decoder
    epochs: int = 256
    num_steps: int | None = None  # if given, instead of `epochs`
    lr_power: float = 0.9  # polynomial decay to zero; code. 0: none, as printed
    flip: bool = False  # horizontal, p = 0.5; code

    # Score
    share_gac: float | None = None  # None: the sum (6.22); else that share of the GAC

    # Local model
    patch_size: int | None = None  # pixels; None: images as a whole, the global model
    stride: int = 16  # pixels between patches that are scored

    def __post_init__(self) -> None:
        at_least(self, 1, "num_features", "base_width", "critic_width", "batch_size")
        at_least(self, 1, "e_step_every", "epochs", "num_steps", "patch_size", "stride")
        at_least(self, 0, "lambda_1", "lambda_2", "lambda_3", "centre_margin")
        at_least(self, 0, "weight_decay", "lr_power")
        above(self, 0, "lr", "variance_floor")
        within(self, "[0, 1]", "rho", "zeta", "share_gac")
        within(self, "[0, 1)", "beta_1")
        if "rec" not in self.terms or not set(self.terms) <= {"rec", "gac", "inter"}:
            raise RangeError(
                f"terms is {', '.join(self.terms) or 'empty'}; rec has to be among "
                "them, gac and inter may be."
            )


# --- Equations -------------------------------------------------------------------


class GaussianClassifier(nn.Module):
    r"""The normal images' Gaussian, measured and not learnt, thesis Eq. (6.3).

    $$\mu_x = \mathbb{E}[f_\psi(x)], \quad
      \sigma_x^2 = \mathbb{E}[\lVert f_\psi(x) - \mu_x \rVert_2^2]$$

    The deltas of Eq. (6.3) say that the E-step takes $\omega$ to be just these.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("variance", torch.ones(()))

    @torch.no_grad()
    def fit(self, z: Tensor, *, old_mean: bool = False, margin: float = 0.0) -> None:
        """The E-step: set the moments from all normal representations, (N, Z).

        Args:
            old_mean: Measure the variance about the mean of the last E-step.
            margin: Least size of a component of the mean; exact zeros stay.
        """
        mean = z.mean(dim=0)
        if margin:
            pushed = mean.sign() * mean.abs().clamp(min=margin)
            mean = torch.where(mean.abs() < margin, pushed, mean)
        about = self.mean.clone() if old_mean else mean
        self.mean.copy_(mean)
        self.variance.copy_((z - about).square().sum(dim=1).mean())

    def squared_distance(self, z: Tensor, floor: float | None = None) -> Tensor:
        r"""$\lVert z - \mu \rVert^2 / \sigma^2$ of Eq. (6.5), (B, Z) to (B,).

        Args:
            floor: Least $\sigma^2$, on the scale of squared distances. After an exact
                E-step the mean of this exponent is 1 whatever the scale of z: the
                likelihood does not fix the scale, so that $\sigma^2$ runs to zero, z
                drifts far outside, where (6.8) has no gradient, and the next E-step
                starts again. A floor fixes the scale.
        """
        variance = self.variance if floor is None else self.variance.clamp(min=floor)
        variance = variance.clamp(min=LEAST_VARIANCE)
        return (z - self.mean).square().sum(dim=1) / variance

    def forward(self, z: Tensor, floor: float | None = None) -> Tensor:
        r"""Probability of being abnormal, thesis Eq. (6.8), (B, Z) to (B,).

        $$\ell_h = 1 - \exp(-\lVert z - \mu \rVert^2 / \sigma^2)$$
        """
        return -torch.expm1(-self.squared_distance(z.float(), floor))


def interpolate(z: Tensor, alpha: Tensor) -> Tensor:
    r"""Representation between two images', inside of $\hat{x}_\alpha$ in Eq. (6.9).

    $\alpha z_1 + (1 - \alpha) z_2$; the partner is the batch in reverse order, so an
    odd batch has one image that is its own partner, and the loop draws even ones.

    Args:
        z: (B, Z).
        alpha: (B,), in [0, 0.5].
    """
    return alpha[:, None] * z + (1 - alpha[:, None]) * z.flip(0)


def critic_loss(of_interpolated: Tensor, alpha: Tensor, of_mixed: Tensor) -> Tensor:
    r"""Loss of the critic, thesis Eq. (6.10): it is to tell how much was mixed.

    $$\ell_d = \lVert d_\eta(\hat{x}_\alpha) - \alpha \rVert_2^2
      + \lVert d_\eta(\hat{x}_\zeta) \rVert_2^2$$

    Args:
        of_interpolated: $d_\eta(\hat{x}_\alpha)$, (B,).
        alpha: (B,); (B, 1) would broadcast to (B, B) and teach the mean alone.
        of_mixed: $d_\eta(\hat{x}_\zeta)$, (B,), of `mix`.

    Returns:
        Mean over B, a scalar.
    """
    if not of_interpolated.shape == alpha.shape == of_mixed.shape:
        raise ValueError(
            f"critic_loss needs three tensors of one shape, not "
            f"{tuple(of_interpolated.shape)}, {tuple(alpha.shape)} and "
            f"{tuple(of_mixed.shape)}."
        )
    return (of_interpolated - alpha).square().mean() + of_mixed.square().mean()


def mix(images: Tensor, reconstruction: Tensor, zeta: Tensor) -> Tensor:
    r"""$\hat{x}_\zeta = \zeta x + (1 - \zeta) \hat{x}$ of Eq. (6.10), (B, C, H, W)."""
    zeta = zeta.view(-1, 1, 1, 1)
    return zeta * images + (1 - zeta) * reconstruction


def fooling_loss(of_interpolated: Tensor) -> Tensor:
    r"""The second term of thesis Eq. (6.11), $\lVert d_\eta(\hat{x}_\alpha) \rVert^2$.

    What is decoded between two images is to pass for an original, with $\alpha = 0$.
    """
    return of_interpolated.square().mean()


def reconstruction_loss(
    images: Tensor, reconstruction: Tensor, config: IGDConfig
) -> Tensor:
    r"""Distance of image and reconstruction, thesis Eq. (6.12), (B, C, H, W) to (B,).

    $$\ell_r = \sum_{\omega \in \Omega} \rho |x(\omega) - \hat{x}(\omega)|
      + (1 - \rho) (1 - m(x(\omega), \hat{x}(\omega)))$$

    The authors' program averages over $\Omega$, which changes Eqs. (6.7) and (6.22)
    by $|\Omega|$; `pixels` chooses (`sum` is $|\Omega|$ times the MS-SSIM of whole
    images, not a sum of pixelwise ones). The program's local score took the *signed*
    mean of $x - \hat{x}$, in which errors cancel; here it is the absolute one. Images
    are in [0, 1], so L = 1; 4.7579 is the range of ImageNet-normalised ones.
    """
    images, reconstruction = images.float(), reconstruction.float()
    residual = images - reconstruction
    if config.reconstruction == "mse":
        loss = residual.square().mean(dim=(1, 2, 3))
    else:
        similarity = ms_ssim(images, reconstruction, scales_of(images.shape[-1]))
        absolute = residual.abs().mean(dim=(1, 2, 3))
        loss = config.rho * absolute + (1 - config.rho) * (1 - similarity)
    return loss * images[0, 0].numel() if config.pixels == "sum" else loss


def total_loss(terms: dict[str, Tensor], config: IGDConfig) -> Tensor:
    r"""What encoder and decoder minimise, thesis Eqs. (6.7) and (6.11).

    $$\ell = \ell_h + \lambda_1 \ell_d + \lambda_2 \ell_{f,g}, \quad
      \ell_{f,g} = \ell_r + \lambda_3 \lVert d_\eta(\hat{x}_\alpha) \rVert^2$$

    As printed, Eq. (6.7) minimises over all weights. $\ell_d$ is not here: as in any
    adversarial training the critic minimises it in a step of its own, or both sides
    would pull the same weights both ways.

    Args:
        terms: `gac` $\ell_h$, `rec` $\ell_r$ and `inter`, those that `config` has.
    """
    weights = {
        "gac": 1.0,
        "rec": config.lambda_2,
        "inter": config.lambda_2 * config.lambda_3,
    }
    return sum(weights[name] * term for name, term in terms.items())


def reconstruction_map(
    images: Tensor, reconstruction: Tensor, rho: float = 0.15
) -> Tensor:
    r"""Reconstruction loss at every pixel, thesis Eq. (6.29), to (B, 1, H, W).

    $\rho |x(\omega) - \hat{x}(\omega)| + (1 - \rho)(1 - m(x(\omega),
    \hat{x}(\omega)))$, means over channels. The authors' program adds the scales of
    $m$ where Eq. (6.24) multiplies them; here they are multiplied.
    """
    images, reconstruction = images.float(), reconstruction.float()
    similarity = ms_ssim_map(images, reconstruction, scales_of(images.shape[-1]))
    absolute = (images - reconstruction).abs().mean(dim=1, keepdim=True)
    return rho * absolute + (1 - rho) * (1 - similarity)


# --- Networks --------------------------------------------------------------------


class IGD(nn.Module):
    """Encoder, decoder, critic and Gaussian classifier of one scale, Figure 6.2.

    Args:
        config: Settings.
        image_size: Pixels a side of what enters: images, or patches of the local
            model.
        num_channels: C.
        encoder: A pre-trained one in place of that of `config`; maps (B, C, H, W) to
            (B, Z).
    """

    def __init__(
        self,
        config: IGDConfig,
        image_size: int,
        num_channels: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        sizes = (image_size, num_channels, config.base_width)
        of_critic = (image_size, num_channels, config.critic_width)
        self.encoder = encoder or Encoder(
            *sizes, config.num_features, residual=config.residual
        )
        self.decoder = Decoder(
            *sizes,
            config.num_features,
            residual=config.residual,
            bounded=config.bounded,
        )
        self.critic = Critic(*of_critic, residual=config.residual)
        self.classifier = GaussianClassifier(config.num_features)


# --- Training --------------------------------------------------------------------


def fit(model: IGD, bank, config: IGDConfig, loop) -> IGD:
    """EM: every E-step measures the Gaussian, every M-step minimises Eq. (6.7).

    Args:
        model: As its constructor made it.
        bank: Normal images; the global model sees them whole, the local one
            (`config.patch_size`) patches at random places.
        config: Settings.
        loop: A `training.loop.Loop`; records the terms, resumes after a kill.

    Returns:
        The model in eval mode, its Gaussian measured once more with the last weights.

    Raises:
        InputError: If patches do not fit.
    """
    if config.patch_size:
        patches.check(bank.image_size, config.patch_size, config.stride)
    num_steps = steps_of(config, len(bank))
    every = config.e_step_every * max(1, len(bank) // config.batch_size)
    parts = [*model.encoder.parameters(), *model.decoder.parameters()]
    betas = (config.beta_1, 0.999)
    optimizer = torch.optim.Adam(
        [p for p in parts if p.requires_grad],
        lr=config.lr,
        betas=betas,
        weight_decay=config.weight_decay,
    )
    of_critic = torch.optim.Adam(model.critic.parameters(), lr=config.lr, betas=betas)
    saving = {"model": model, "optimizer": optimizer, "of_critic": of_critic}
    for step in loop.steps(num_steps, saving=saving):
        if "gac" in config.terms and step.index % every == 0:
            e_step(model, bank, config)
        model.train()
        for one in (optimizer, of_critic):
            set_lr(
                one, polynomial_lr(step.index, num_steps, config.lr, config.lr_power)
            )
        images = _draw(bank, config, step.generator)
        m_step(model, images, config, step, optimizer, of_critic)
    e_step(model, bank, config)
    return model.eval()


@torch.no_grad()
def e_step(model: IGD, bank, config: IGDConfig) -> None:
    """Measure the Gaussian of Eq. (6.3) on all training images, in eval mode."""
    model.encoder.eval()
    chunks = []
    for images in bank.batches(max(256, config.batch_size)):
        for chunk in patches.portions(images, config.patch_size, config.stride):
            chunks.append(model.encoder(chunk).float())  # float32, as `score` does
    model.classifier.fit(
        torch.cat(chunks), old_mean=config.old_mean, margin=config.centre_margin
    )


def m_step(model: IGD, images: Tensor, config: IGDConfig, step, ours, critics) -> None:
    """One step of encoder and decoder, then one of the critic.

    Args:
        images: (B, C, H, W).
        step: The loop's step.
        ours: Optimiser of encoder and decoder.
        critics: Optimiser of the critic.
    """
    num_images, inter = len(images), "inter" in config.terms
    alpha = torch.rand(num_images, generator=step.generator, device=images.device) / 2
    with step.autocast():
        z = model.encoder(images)
        decoded = model.decoder(torch.cat([z, interpolate(z, alpha)]) if inter else z)
        reconstruction = decoded[:num_images]
        terms = {"rec": reconstruction_loss(images, reconstruction, config).mean()}
        if "gac" in config.terms:
            terms["gac"] = _gaussian_term(model.classifier, z.float(), config)
        if inter:
            between = decoded[num_images:]
            terms["inter"] = fooling_loss(model.critic(between).float())
        loss = total_loss(terms, config)
    step.update(loss, ours)
    step.log(terms | {"variance": model.classifier.variance.clone()})
    if not inter:
        return
    zeta = torch.rand(num_images, generator=step.generator, device=images.device)
    if config.zeta is not None:
        zeta = torch.full_like(zeta, config.zeta)
    with step.autocast():
        mixed = mix(images, reconstruction.detach(), zeta)
        answers = model.critic(torch.cat([between.detach(), mixed])).float()
        loss = critic_loss(answers[:num_images], alpha, answers[num_images:])
    step.update(config.lambda_1 * loss, critics, name="critic")


def _gaussian_term(classifier: GaussianClassifier, z: Tensor, config) -> Tensor:
    r"""$\ell_h$ of Eq. (6.8), or $-\log p$ as Eq. (6.6) has it, mean over B."""
    if config.gaussian == "log-likelihood":
        return classifier.squared_distance(z, config.variance_floor).mean()
    return classifier(z, config.variance_floor).mean()


def _draw(bank, config: IGDConfig, generator: torch.Generator) -> Tensor:
    """A batch of images or patches, even in number."""
    images = bank.sample(min(config.batch_size, len(bank)), generator)
    if config.patch_size:
        images = patches.random_patches(images, config.patch_size, generator)
    if config.flip:
        size = (len(images), 1, 1, 1)
        flipped = torch.rand(size, generator=generator, device=images.device) < 0.5
        images = torch.where(flipped, images.flip(-1), images)
    return images[: len(images) // 2 * 2] if len(images) > 1 else images
