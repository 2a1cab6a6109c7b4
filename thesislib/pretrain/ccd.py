r"""CCD pre-training, thesis chapter 4.

Constrained contrastive distribution learning (Tian et al., MICCAI 2021). The encoder
learns to find an image's other view among images under the same strong augmentation
$a_j$, constrained by two pretext tasks: which strong augmentation an image went
through, and on which side of one patch another one lies.

The file reads in the order of Section 4.2.1: settings and readings, one function an
equation, the networks, the training loop. Eqs. (4.3) and (4.4) return in chapter 5 as
(5.8) and (5.9) and stand in `nn.pretext`: `augmentation_loss`, `position_loss`.

Axes in all shapes:
    J strong augmentations $a_j$ (A in `nn.pretext`),
    V = 2 weak views $a$, $a'$,
    N images, D = 128 features.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.augment.position import check_pairs, pair_size
from thesislib.augment.strong import STRONG, StrongAugmentation
from thesislib.augment.strong_program import PROGRAM
from thesislib.augment.weak import WeakConfig, weak_view
from thesislib.errors import InputError
from thesislib.nn.heads import ProjectionHead
from thesislib.nn.patches import random_patches
from thesislib.nn.pretext import augmentation_loss, position_classifier, position_term
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import RangeError, above, at_least
from thesislib.training.sgd import SGDConfig, sgd_steps

NUM_VIEWS = 2
TERMS = ("con", "cla", "pos")  # of Eq. (4.1)


@dataclass(frozen=True, kw_only=True)
class CCDConfig(SGDConfig):
    """Settings of CCD, thesis Section 4.3.2; "program" is the authors' published one.

    As they stand they are the reading `thesis`; `read` has the other.
    """

    # Data
    patch_size: int | None = None  # pixels: instances are patches, 32; None: images
    batch_size: int = 32  # instances
    strong: str = "permutation"  # A_n on colonoscopy; rotation on fundus images
    each: Literal["all", "one"] = "all"  # strong augmentations of an instance a step
    weak: WeakConfig = field(  # A_p: SimCLR's, without numbers; program's crops
        default_factory=lambda: WeakConfig(crop_scale=(0.2, 1.0))
    )

    # Network
    base_width: int = 64  # channels of ResNet-18's first stage
    num_features: int = 128  # D
    head_norm: bool = False  # batch norm in the projection head; in neither source
    classify: Literal["z", "backbone"] = "z"  # input of f_beta, f_gamma; program's
    pair: Literal["both", "difference"] = "both"  # what f_gamma sees; program's

    # Loss
    temperature: float = 0.2  # tau
    negatives: Literal["same", "all"] = "same"  # Eq. (4.2); all a_j in the program
    anchors: Literal["both", "first"] = "both"  # views; first in the program
    terms: tuple[str, ...] = TERMS
    pairs_on_images: bool = True  # Eq. (4.4) without patches; False in the program

    # Optimisation
    clip_norm: float | None = None  # in neither source

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "num_features")
        at_least(self, 2, "batch_size")  # one instance has no negatives, its loss is 0
        at_least(self, LEAST_WIDTH, "base_width")
        above(self, 0, "temperature")
        if not self.terms or not set(self.terms) <= set(TERMS):
            raise RangeError(
                f"terms is {', '.join(self.terms) or 'empty'}; it must be one or more "
                f"of {', '.join(TERMS)}."
            )
        num_strong = strong_augmentation(self).num_classes
        per_strong, rest = divmod(self.batch_size, num_strong)
        if self.each == "one" and (rest or per_strong < 2):
            raise RangeError(
                f"batch_size is {self.batch_size}; where an instance goes through one "
                f"of {num_strong} strong augmentations, it must be a multiple of "
                f"{num_strong} above it."
            )


def read(config: CCDConfig, reading: str) -> CCDConfig:
    """Settings of CCD in one of the two readings of chapter 4.

    What a preset fits to its machine stays: sizes, steps, learning rate on images,
    strength of the weak views.

    `thesis`, the default, is the text with the conference paper's Eq. (2), and where
    they give no number the program's. Unlike chapter 5's it trains to the letter, also
    from random weights: on 64 px colonoscopy phantoms (seed 9000, base width 16, 12
    images a step, learning rate 0.01) 200 steps brought the class term from log 4 to
    0.27 and the contrast from log 12, a blind guess, to 2.13. The position term stayed
    at log 8 (8 px patches). On mucosa of 64 px (training images of Kvasir-SEG,
    learning rate 0.05) the class is learnt more slowly: after 120 steps of 96 views the
    letter tells 32 % of the permuted views, after 200 of 64 `code` 51 %.

    `code` is the authors' program with its bugs mended. In it the weak views lack the
    blur, an item of the batch went through one strong augmentation, all others in both
    views are its negatives, only first views are anchors, both classifiers look at the
    backbone, the second at the difference of two patches; there are no pairs of
    patches beside whole images, and patches have a learning rate of 0.1. Mended: class
    labels meet their own views; the classifiers' weights have a gradient; holes of
    cutout reach all borders; pairs of patches keep their label.

    Raises:
        InputError: If the reading is another.
    """
    if reading == "thesis":
        return replace(
            config,
            each="all",
            head_norm=False,
            classify="z",
            pair="both",
            negatives="same",
            anchors="both",
            pairs_on_images=True,
            clip_norm=None,
        )
    if reading == "code":
        own = {"cutout": "cutout-anywhere", "gaussian-noise": "noise-kinds"}
        return replace(
            config,
            strong=own.get(config.strong, config.strong),
            each="one",
            weak=replace(config.weak, crop_scale=(0.2, 1.0), blur=0.0),
            head_norm=False,
            classify="backbone",
            pair="difference",
            negatives="all",
            anchors="first",
            pairs_on_images=False,
            lr=config.lr if config.patch_size is None else 0.1,
            clip_norm=None,
        )
    raise InputError(f"reading is {reading!r}; allowed are thesis, code.")


# --- Equations -------------------------------------------------------------------


def contrastive_distribution_loss(
    z: Tensor, z_prime: Tensor, temperature: float
) -> Tensor:
    r"""Contrastive distribution loss, thesis Eq. (4.2).

    $$\ell_{con} = -\mathbb{E}_{j,n} \log
      \frac{\exp(z_{jn}^\top z'_{jn} / \tau)}
      {\exp(z_{jn}^\top z'_{jn} / \tau) +
       \sum_{m \ne n} \exp(z_{jn}^\top z'_{jm} / \tau)}$$

    An image is compared only with images under the same strong augmentation; telling
    augmentations apart is left to Eq. (4.3). The thesis prints the image itself for
    the negatives, which would make the loss a constant, log(M + 1); the index m is the
    conference paper's Eq. (2). The sum over $\mathcal{D}$ runs over the mini-batch.

    Args:
        z: Features of one weak view, (J, N, D), unit length as in the works cited for
            it and in the program; Eq. (4.2) says nothing of length.
        z_prime: Features of the other weak view, as `z`.
        temperature: $\tau$.

    Returns:
        Mean over J and N, a scalar in nats; log N if all are alike.
    """
    similarity = torch.einsum("jnd,jmd->jnm", z, z_prime) / temperature
    positive = similarity.diagonal(dim1=1, dim2=2)  # (J, N)
    return (similarity.logsumexp(dim=2) - positive).mean()


def distribution_augmentation_loss(
    z: Tensor, z_prime: Tensor, temperature: float
) -> Tensor:
    r"""The program's form of Eq. (4.2), after Sohn et al. 2021.

    Images under different strong augmentations are different images. All others of
    both views are negatives, the same image under another augmentation among them:
    with $(j, n)$ as one index b of B = J N,

    $$\ell_{con} = -\mathbb{E}_b \log \frac{\exp(z_b^\top z'_b / \tau)}
      {\sum_{c} \exp(z_b^\top z'_c / \tau) +
       \sum_{c \ne b} \exp(z_b^\top z_c / \tau)}$$

    Args:
        z, z_prime, temperature: As in `contrastive_distribution_loss`.

    Returns:
        Mean over J and N, a scalar in nats; log(2 J N - 1) if all are alike.
    """
    z, z_prime = z.flatten(0, 1), z_prime.flatten(0, 1)  # (B, D)
    across = torch.einsum("bd,cd->bc", z, z_prime) / temperature
    within_view = torch.einsum("bd,cd->bc", z, z) / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    others = torch.cat([across, within_view.masked_fill(itself, -math.inf)], dim=1)
    return (others.logsumexp(dim=1) - across.diagonal()).mean()


def contrastive_term(z: Tensor, config: CCDConfig) -> Tensor:
    """Eq. (4.2) with the negatives and anchors that the settings name.

    Args:
        z: Features, of any length, (J, V, N, D).
    """
    loss = {
        "same": contrastive_distribution_loss,
        "all": distribution_augmentation_loss,
    }[config.negatives]
    first, second = F.normalize(z, dim=-1).unbind(dim=1)  # (J, N, D) each
    forth = loss(first, second, config.temperature)
    if config.anchors == "first":
        return forth
    return (forth + loss(second, first, config.temperature)) / 2


def total_loss(terms: dict[str, Tensor]) -> Tensor:
    r"""Sum of the loss terms, thesis Eq. (4.1).

    $$\ell_{CCD} = \ell_{con} + \ell_{cla} + \ell_{pos}$$
    """
    return sum(terms.values())


# --- Networks --------------------------------------------------------------------


class CCD(nn.Module):
    r"""Encoder $f_\theta$ with the classifiers $f_\beta$ and $f_\gamma$.

    The detectors of the second stage take `backbone`; the rest is thrown away. The
    program's classifiers end in a layer whose weights are divided by their norm out of
    the gradient's sight, so that they never learn; here they are plain linear layers.
    """

    def __init__(self, config: CCDConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        num_backbone = self.backbone.num_features
        self.head = ProjectionHead(num_backbone, config.num_features, config.head_norm)
        num_in = config.num_features if config.classify == "z" else num_backbone
        num_strong = strong_augmentation(config).num_classes
        self.augmentation_classifier = nn.Linear(num_in, num_strong)
        self.position_classifier = position_classifier(
            2 * num_in if config.pair == "both" else num_in
        )
        self.classify = config.classify

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to z (B, D), what classifiers see, live share."""
        h = self.backbone(images)
        z, live = self.head(h)
        return z.float(), (z if self.classify == "z" else h), live


# --- Training --------------------------------------------------------------------


def strong_augmentation(config: CCDConfig) -> StrongAugmentation:
    """The distributions $\\mathcal{A}_n$ that the settings name.

    Raises:
        RangeError: If there is none of that name.
    """
    known = STRONG | PROGRAM
    if config.strong not in known:
        raise RangeError(
            f"strong is {config.strong!r}; it must be one of {', '.join(known)}."
        )
    return known[config.strong]


def strong_views(images: Tensor, config: CCDConfig, generator) -> Tensor:
    r"""$a(a_j(x))$: instances under strong augmentations, each in two weak views.

    An instance is an image or, with `patch_size`, a patch of one at a random place;
    the program cuts all 64 patches of a grid instead, once. It goes through all J
    strong augmentations or, as nearly always in the program's batches, through one:
    then a J-th of the instances goes through each.

    Args:
        images: Normal images, (B, 3, H, W) in [0, 1].

    Returns:
        (J, V, N, 3, H, W), with N = B or B / J, and `patch_size` for H and W where
        instances are patches. The j-th row went through $a_j$.
    """
    images = random_patches(images, config.patch_size, generator)
    strong = strong_augmentation(config)
    if config.each == "all":
        images = images.repeat(strong.num_classes, 1, 1, 1)
    classes = torch.arange(strong.num_classes, device=images.device)
    classes = classes.repeat_interleave(len(images) // strong.num_classes)
    images = strong(images, classes, generator)
    views = [weak_view(images, generator, config.weak) for _ in range(NUM_VIEWS)]
    rows = [view.unflatten(0, (strong.num_classes, -1)) for view in views]
    return torch.stack(rows, dim=1)


def losses(
    model: CCD, images: Tensor, config: CCDConfig, generator: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Terms of Eq. (4.1) for one batch, and what tells whether training is healthy.

    Args:
        images: Normal images, (B, 3, H, W) in [0, 1].

    Returns:
        Named terms, scalars with gradient; named diagnostics, scalars without:
        `live`, share of the head's units that any image switches on; `spread`,
        standard deviation of z over the batch; `accuracy` of $f_\\beta$.
    """
    views = strong_views(images, config, generator)
    axes = views.shape[:3]
    z, seen, live = model(views.flatten(0, 2))
    logits = model.augmentation_classifier(seen).float().view(*axes, -1)
    terms = {}
    if "con" in config.terms:
        terms["con"] = contrastive_term(z.view(*axes, -1), config)
    if "cla" in config.terms:
        terms["cla"] = augmentation_loss(logits)
    if has_pairs(config):
        terms["pos"] = position_term(
            model, images, config.patch_size, generator, config.pair
        )
    with torch.no_grad():
        classes = torch.arange(len(logits), device=images.device)
        right = logits.argmax(dim=-1) == classes[:, None, None]
        diagnostics = {
            "live": live,
            "spread": z.std(dim=0).mean(),
            "accuracy": right.float().mean(),
        }
    return terms, diagnostics


def has_pairs(config: CCDConfig) -> bool:
    """Whether Eq. (4.4) is among the terms of these instances."""
    on_these = config.pairs_on_images or config.patch_size is not None
    return "pos" in config.terms and on_these


def pretrain(model: CCD, bank, config: CCDConfig, loop) -> CCD:
    """Minimise Eq. (4.1) on normal images; `loop` resumes, records and stops.

    Args:
        model: Trained in place.
        bank: `ImageBank` of normal images. An epoch is as many instances under every
            strong augmentation as there are images, also where instances are patches.
        loop: `training.Loop`.

    Raises:
        InputError: If the images have no room for pairs of patches.
    """
    if has_pairs(config):
        size = pair_size(config.patch_size, bank.image_size)
        check_pairs(size, bank.image_size, bank.image_size)
    passes = 1 if config.each == "all" else strong_augmentation(config).num_classes
    for step, optimizer in sgd_steps(model, passes * len(bank), config, loop):
        images = bank.sample(config.batch_size, step.generator)
        with step.autocast():
            terms, diagnostics = losses(model, images, config, step.generator)
        step.update(total_loss(terms), optimizer, clip_norm=config.clip_norm)
        step.log({**terms, **diagnostics})
    return model.eval()
