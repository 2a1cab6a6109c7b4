r"""PMSACL pre-training, thesis chapter 5 (and MSACL, its preprint).

Pseudo multi-class strong augmentation via contrastive learning. The encoder learns
to tell normal images ($\mathcal{A}_0$: no lesion pasted) from pseudo-abnormal ones
($\mathcal{A}_n$: n lesions pasted by MedMix), each class a tight cluster around its
own centre. No code was ever published; this file follows the printed equations and
says where they cannot be followed.

The file reads in the order of Section 5.3.1: settings, one function an equation,
the networks, the training loop. Eqs. (5.8) and (5.9) are chapter 4's (4.3) and (4.4)
and stand in `nn.pretext`: `augmentation_loss`, `position_loss`.

Axes in all shapes:
    A classes $n \in \{0, ..., |\mathcal{A}|-1\}$,
    V = 2 weak views $l$,
    N images, D = 128 features.
"""

import math
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.position import check_pairs
from thesislib.augment.strong import strong_augmentation
from thesislib.augment.views import views_in_every_class
from thesislib.augment.weak import WeakConfig
from thesislib.nn.heads import ProjectionHead
from thesislib.nn.patches import random_patches
from thesislib.nn.pretext import augmentation_loss, position_classifier, position_term
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import RangeError, above, at_least, within
from thesislib.training.schedule import steps_of
from thesislib.training.sgd import SGDConfig, annealed, sgd

TERMS = ("ctr", "pmsacl", "aug", "pos")  # of Eq. (5.1)
AFTER_WARM_UP = (  # settings that play no part before the centres are measured
    "temperature",
    "alpha",
    "positive",
    "terms",
    "weight_ctr",
    "weight_pmsacl",
    "weight_pos",
    "kappa",
    "num_centre_images",
    "centre_momentum",
)


@dataclass(frozen=True, kw_only=True)
class PMSACLConfig(SGDConfig):
    """Settings of PMSACL, thesis Sections 5.3.2 and 5.4.2; the rest says its source."""

    # Data
    patch_size: int | None = None  # K, pixels: instances are patches; None: images
    batch_size: int = 32  # instances; each appears in every class and in two views
    strong: str = "medmix"  # strong augmentation, a name in augment.strong.STRONG
    num_classes: int = 4  # |A|: 0, 1, 2 or 3 pasted lesions
    medmix: MedMixConfig = field(default_factory=MedMixConfig)  # where `strong` is it
    weak: WeakConfig = field(default_factory=WeakConfig)  # A_0
    keep_lesions: bool = True  # ours: crops hold every lesion, so that n stays true

    # Network
    base_width: int = 64  # channels of ResNet-18's first stage
    num_features: int = 128  # D
    head_norm: bool = True  # ours: batch norm keeps the head's ReLU units alive
    classify: Literal["z", "backbone"] = "z"  # input of f_beta: Eq. (5.8); CCD's code

    # Loss
    temperature: float = 0.2  # tau; not given in chapter 5, chapter 4's value
    alpha: float = 10.0  # of Eq. (5.7); not given, > 1 so that equals repel less
    positive: Literal["probability", "printed"] = "probability"  # see Eq. (5.5)
    terms: tuple[str, ...] = TERMS
    weight_ctr: float = 1.0  # Eq. (5.1) weighs all terms equally
    weight_pmsacl: float = 1.0
    weight_pos: float = 1.0
    kappa: bool = True  # False: one temperature, the first rows of Table 5.8

    # Optimisation
    warm_up: float = 0.5  # ours, fraction of steps with the class term alone; 0 literal
    num_centre_images: int = 512  # ours: images that estimate c_n in Eq. (5.2)
    centre_momentum: float | None = None  # None: frozen, as printed; else moving mean

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "batch_size", "num_features")
        at_least(self, 1, "num_centre_images")
        at_least(self, 2, "num_classes")
        at_least(self, LEAST_WIDTH, "base_width")
        at_least(self, 0, "weight_ctr", "weight_pmsacl", "weight_pos")
        above(self, 0, "temperature", "alpha")
        within(self, "[0, 1)", "centre_momentum", "warm_up")
        chosen = ", ".join(self.terms) or "empty"
        if not self.terms or not set(self.terms) <= set(TERMS):
            raise RangeError(
                f"terms is {chosen}; it must be one or more of {', '.join(TERMS)}."
            )
        if self.warm_up and "aug" not in self.terms:
            raise RangeError(
                f"warm_up is {self.warm_up}, but terms is {chosen}: without aug, all "
                "that a warm-up trains by, it must be 0."
            )
        strong_augmentation(self.strong, self.num_classes, self.medmix)


# --- Equations -------------------------------------------------------------------


def class_centres(z: Tensor) -> Tensor:
    r"""Mean representation of each class, thesis Eq. (5.2).

    $$c_n = \mathbb{E}_{x, a \sim \mathcal{A}_n} [f_\theta(a(x))]$$

    Samples carry weak views on top of the strong augmentation, like those of
    Eq. (5.6) that the centres are subtracted from.

    Args:
        z: Features, (A, V, N, D).

    Returns:
        Centres, (A, D).
    """
    return z.mean(dim=(1, 2))


def multi_centring_loss(z: Tensor, centres: Tensor) -> Tensor:
    r"""Distribution multi-centring loss, thesis Eq. (5.3).

    $$\ell_{ctr} = \mathbb{E}_{x,n,a} \lVert f_\theta(a(x)) - c_n \rVert^2$$

    Args:
        z: Features, not normalised, (A, V, N, D).
        centres: $c_n$, (A, D); no gradient reaches them.

    Returns:
        Mean over A, V and N of the squared distance, a scalar.
    """
    return (z - centres.detach()[:, None, None]).square().sum(dim=-1).mean()


def centred_features(z: Tensor, centres: Tensor) -> Tensor:
    r"""Directions as seen from the class's own centre, thesis Eq. (5.6).

    $$\mathbf{f}^{(n,l)} = (f_\theta(x^{(n,l)}) - c_n) /
      \lVert f_\theta(x^{(n,l)}) - c_n \rVert_2$$

    Args:
        z: Features, (A, V, N, D).
        centres: $c_n$, (A, D).

    Returns:
        Unit vectors, (A, V, N, D).
    """
    return F.normalize(z - centres.detach()[:, None, None], dim=-1)


def inverse_temperatures(
    num_classes: int,
    temperature: float,
    alpha: float,
    device: torch.device | None = None,
) -> Tensor:
    r"""Temperature scaling, thesis Eq. (5.7).

    $$\kappa(n, m) = 1 / (\alpha \tau) \text{ if } n = m, \text{ else } 1 / \tau$$

    The text asks that samples of the same class repel *less*. The repelling gradient
    grows with $\kappa$, so this needs $\alpha > 1$; the remark on "a smaller value"
    fits no $\alpha < 1$.

    Returns:
        $\kappa$, (A, A).
    """
    kappa = torch.full((num_classes, num_classes), 1 / temperature, device=device)
    return kappa.fill_diagonal_(1 / (alpha * temperature))


def pmsacl_loss(
    f: Tensor,
    kappa: Tensor,
    temperature: float,
    positive: Literal["probability", "printed"] = "probability",
) -> Tensor:
    r"""PMSACL contrastive loss, thesis Eqs. (5.4) and (5.5).

    $$\ell^x = -\log \frac{\exp(\mathbf{f}^{(n,l)\top} \mathbf{f}^{(n,1-l)} / \tau)}
      {\sum_{j,m,k} \mathbb{I}(x_j^{(m,k)} \ne x^{(n,l)})
       \exp(\kappa(n,m)\, \mathbf{f}^{(n,l)\top} \mathbf{f}_j^{(m,k)})}$$

    As `printed`, the positive pair has inverse temperature $1/\tau$ in the numerator
    and $\kappa(n, n) = 1/(\alpha\tau)$ in the denominator, so that the fraction is no
    probability and the loss can be negative. `probability` gives it $1/\tau$ in both
    places and leaves $\kappa$ to the negatives, as the masked contrastive learning
    cited for Eq. (5.7) does. The sum over $\mathcal{D}$ runs over the mini-batch.

    Args:
        f: Unit vectors of Eq. (5.6), (A, V, N, D) with V = 2.
        kappa: Eq. (5.7), (A, A).
        temperature: $\tau$.
        positive: Which reading of the positive pair.

    Returns:
        Mean over A, V and N, a scalar in nats.
    """
    num_classes, num_views, num_images, _ = f.shape
    similarity = torch.einsum("alid,bkjd->alibkj", f, f)
    logits = similarity * kappa.to(f)[:, None, None, :, None, None]
    size = num_classes * num_views * num_images
    logits = logits.reshape(size, size)
    itself = torch.eye(size, dtype=torch.bool, device=f.device)
    other_view = _other_view(num_classes, num_views, num_images, f.device)
    attraction = (
        similarity.reshape(size, size).gather(1, other_view[:, None]).squeeze(1)
        / temperature
    )
    if positive == "probability":
        logits = logits.scatter(1, other_view[:, None], attraction[:, None])
    repulsion = logits.masked_fill(itself, -math.inf).logsumexp(dim=1)
    return (repulsion - attraction).mean()


def total_loss(terms: dict[str, Tensor], config: PMSACLConfig) -> Tensor:
    r"""Sum of the loss terms, thesis Eq. (5.1).

    $$\ell = \ell_{ctr} + \ell_{PMSACL} + \ell_{aug} + \ell_{pos}$$

    Weights other than 1 are a departure that the configuration names.
    """
    weights = {
        "ctr": config.weight_ctr,
        "pmsacl": config.weight_pmsacl,
        "pos": config.weight_pos,
    }
    return sum(weights.get(name, 1.0) * term for name, term in terms.items())


def _other_view(
    num_classes: int, num_views: int, num_images: int, device: torch.device
) -> Tensor:
    """Index of each sample's positive in the flattened (A, V, N), (A V N,)."""
    index = torch.arange(num_classes * num_views * num_images, device=device)
    return index.view(num_classes, num_views, num_images).flip(1).flatten()


# --- Networks --------------------------------------------------------------------


class PMSACL(nn.Module):
    r"""Encoder $f_\theta$ with the classifiers $f_\beta$ and $f_\gamma$.

    The detectors of the second stage take `backbone`; the rest is thrown away.
    """

    centres: Tensor

    def __init__(self, config: PMSACLConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        num_backbone = self.backbone.num_features
        self.head = ProjectionHead(num_backbone, config.num_features, config.head_norm)
        num_in = config.num_features if config.classify == "z" else num_backbone
        self.augmentation_classifier = nn.Linear(num_in, config.num_classes)
        self.position_classifier = position_classifier(2 * num_in)
        self.classify = config.classify
        centres = torch.zeros(config.num_classes, config.num_features)
        self.register_buffer("centres", centres)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to z (B, D), what classifiers see, live share."""
        h = self.backbone(images)
        z, live = self.head(h)
        return z.float(), (z if self.classify == "z" else h), live


# --- Training --------------------------------------------------------------------


def strong_views(images: Tensor, config: PMSACLConfig, generator) -> Tensor:
    r"""$x^{(n,l)}$: every instance in every class, in two weak views.

    Strong augmentation first, then the weak views: Section 5.3.1 below Eq. (5.4).
    An instance is an image or, with `patch_size`, a patch of one at a random place, as
    Section 5.4.2 has it for IGD's local model: MedMix cuts lesions from other patches
    and sizes them by the patch.

    Args:
        images: Normal images, (N, 3, H, W) in [0, 1].

    Returns:
        (A, V, N, 3, H, W), with K for H and W where instances are patches.
    """
    images = random_patches(images, config.patch_size, generator)
    strong = strong_augmentation(config.strong, config.num_classes, config.medmix)
    return views_in_every_class(
        images, strong, config.weak, generator, config.keep_lesions
    )


def losses(
    model: PMSACL,
    images: Tensor,
    config: PMSACLConfig,
    generator: torch.Generator,
    warming_up: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Terms of Eq. (5.1) for one batch, and what tells whether training is healthy.

    Args:
        images: Normal images, (N, 3, H, W) in [0, 1].
        warming_up: Only the class term is computed.

    Returns:
        Named terms, scalars with gradient; named diagnostics, scalars without:
        `live`, share of the head's units that any image switches on; `spread`,
        standard deviation of z over the batch; `accuracy` of $f_\\beta$.
    """
    views = strong_views(images, config, generator)
    axes = views.shape[:3]
    z, seen, live = model(views.flatten(0, 2))
    z = z.view(*axes, -1)
    logits = model.augmentation_classifier(seen).float().view(*axes, -1)
    terms = {}
    if not warming_up:
        if config.centre_momentum is not None:
            with torch.no_grad():
                model.centres.lerp_(class_centres(z), 1 - config.centre_momentum)
        f = centred_features(z, model.centres)
        alpha = config.alpha if config.kappa else 1
        kappa = inverse_temperatures(
            config.num_classes, config.temperature, alpha, z.device
        )
        if "ctr" in config.terms:
            terms["ctr"] = multi_centring_loss(z, model.centres)
        if "pmsacl" in config.terms:
            terms["pmsacl"] = pmsacl_loss(f, kappa, config.temperature, config.positive)
    if "aug" in config.terms:
        terms["aug"] = augmentation_loss(logits)
    if "pos" in config.terms and not warming_up:
        terms["pos"] = position_term(model, images, config.patch_size, generator)
    with torch.no_grad():
        classes = torch.arange(config.num_classes, device=images.device)
        right = logits.argmax(dim=-1) == classes[:, None, None]
        diagnostics = {
            "live": live,
            "spread": z.flatten(0, 2).std(dim=0).mean(),
            "accuracy": right.float().mean(),
        }
    return terms, diagnostics


@torch.no_grad()
def measure_centres(
    model: PMSACL, bank, config: PMSACLConfig, generator: torch.Generator
) -> Tensor:
    """Estimate the centres of Eq. (5.2) from a sample of the training images.

    Batch norm stays in training mode, so that the centres lie among the features
    which the losses see.

    Returns:
        (A, D).
    """
    num_batches = max(1, math.ceil(config.num_centre_images / config.batch_size))
    centres = torch.zeros_like(model.centres)
    for _ in range(num_batches):
        images = bank.sample(config.batch_size, generator)
        views = strong_views(images, config, generator)
        z, _, _ = model(views.flatten(0, 2))
        centres += class_centres(z.view(*views.shape[:3], -1))
    return centres / num_batches


def pretrain(model: PMSACL, bank, config: PMSACLConfig, loop, warm_up=None) -> PMSACL:
    """Minimise Eq. (5.1) on normal images.

    The centres are measured once, after the warm-up (at the very start if there is
    none, as printed), and frozen.

    Args:
        model: Trained in place.
        bank: `ImageBank` of normal images. An epoch is as many instances as there are
            images, also where instances are patches.
        loop: `training.Loop` that resumes, records and stops.
        warm_up: `Loop` of the warm-up, for trainings that share it: the second
            reads its end back and goes on from there. None: part of `loop`.

    Raises:
        InputError: If the images have no room for pairs of patches.
    """
    if config.patch_size and "pos" in config.terms:
        check_pairs(config.patch_size, bank.image_size, bank.image_size)
    num_steps = steps_of(config, len(bank))
    end_of_warm_up = round(config.warm_up * num_steps)
    optimizer = sgd(model, config)
    saving = {"model": model, "optimizer": optimizer}
    steps = loop.steps(num_steps, saving, start=end_of_warm_up if warm_up else 0)
    if warm_up:
        steps = chain(warm_up.steps(end_of_warm_up, saving), steps)
    model.train()
    for step in annealed(steps, optimizer, config, num_steps):
        if step.index == end_of_warm_up and {"ctr", "pmsacl"} & set(config.terms):
            model.centres.copy_(measure_centres(model, bank, config, step.generator))
        images = bank.sample(config.batch_size, step.generator)
        with step.autocast():
            terms, diagnostics = losses(
                model, images, config, step.generator, step.index < end_of_warm_up
            )
        step.update(total_loss(terms, config), optimizer, clip_norm=config.clip_norm)
        step.log({**terms, **diagnostics, "centres": centre_distance(model.centres)})
    return model.eval()


def centre_distance(centres: Tensor) -> Tensor:
    """Smallest distance between two class centres, (A, D) to a scalar."""
    return torch.pdist(centres).min()
