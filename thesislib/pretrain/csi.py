r"""CSI pre-training, a row of thesis Table 5.9.

Tack et al., *CSI: Novelty Detection via Contrastive Learning on Distributionally
Shifted Instances*, 2020. SimCLR on images and shifted copies of them, where an image
under another shift is one of the others to repel; beside it a classifier tells the
shifts apart. The thesis gives no settings. The shifts here are the paper's choice, four
rotations; any strong augmentation can be asked for.

Two departures make the rows of Table 5.9 differ by the method alone: SGD instead of
the paper's LARS, and SimCLR's weak views as in `simclr`. The paper's own score
(similarity to the nearest training image times the norm of z, and the classifier's
certainty, over many views) is left out: in Table 5.9 PaDiM judges.

Axes in all shapes: V = 2 views, S shifts, N images, D = 128 features.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.augment.draws import happens
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.strong import strong_augmentation
from thesislib.augment.views import NUM_VIEWS, in_every_class
from thesislib.augment.weak import WeakConfig, weak_view
from thesislib.nn.contrastive import contrastive_loss
from thesislib.nn.heads import ProjectionHead
from thesislib.nn.patches import random_patches
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import above, at_least
from thesislib.training.sgd import SGDConfig, sgd_steps


@dataclass(frozen=True, kw_only=True)
class CSIConfig(SGDConfig):
    """Settings of CSI: the thesis gives none, so those of SimCLR where shared."""

    patch_size: int | None = None  # pixels: instances are patches; None: images
    batch_size: int = 32  # instances; each appears in every shift and in two views
    strong: str = "rotation"  # the shifts, a name in augment.strong.STRONG; the paper's
    num_classes: int = 4  # S
    medmix: MedMixConfig = field(default_factory=MedMixConfig)  # where `strong` is it
    weak: WeakConfig = field(  # as SimCLR here
        default_factory=lambda: WeakConfig(crop_scale=(0.2, 1.0))
    )
    base_width: int = 64  # channels of ResNet-18's first stage
    num_features: int = 128  # D
    temperature: float = 0.5  # tau, Tack et al.
    weight_shift: float = 1.0  # lambda of Tack et al. Eq. (5)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "batch_size", "num_features")
        at_least(self, 2, "num_classes")
        at_least(self, LEAST_WIDTH, "base_width")
        at_least(self, 0, "weight_shift")
        above(self, 0, "temperature")
        strong_augmentation(self.strong, self.num_classes, self.medmix)


def shifted_contrastive_loss(z: Tensor, temperature: float) -> Tensor:
    r"""Contrasting shifted instances, Tack et al. Eq. (3).

    $$\ell_{con} = \ell_{SimCLR}(\textstyle\bigcup_s \{ s(x_i) \}_i)$$

    A positive is the same image under the same shift, in the other view.

    Args:
        z: Unit vectors, (V, S, N, D).
        temperature: $\tau$.

    Returns:
        Mean over V, S and N, a scalar in nats; log(2SN - 1) if all are alike.
    """
    return contrastive_loss(z.flatten(1, 2), temperature)


def shift_loss(logits: Tensor) -> Tensor:
    r"""Classifying shifted instances, Tack et al. Eq. (4).

    $$\ell_{shift} = -\mathbb{E}_{x,s} \log p(s \mid s(x))$$

    Args:
        logits: Of the shift classifier, (V, S, N, S).

    Returns:
        Mean cross-entropy, a scalar in nats; log S for a blind classifier.
    """
    return -torch.einsum("vsns->vsn", logits.log_softmax(dim=-1)).mean()


def total_loss(terms: dict[str, Tensor], config: CSIConfig) -> Tensor:
    r"""Sum of both, Tack et al. Eq. (5): $\ell = \ell_{con} + \lambda \ell_{shift}$."""
    return terms["con"] + config.weight_shift * terms["shift"]


class CSI(nn.Module):
    """Encoder, projection head and shift classifier; detectors take `backbone`."""

    def __init__(self, config: CSIConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        num_backbone = self.backbone.num_features
        self.head = ProjectionHead(num_backbone, config.num_features)
        self.shift_classifier = nn.Linear(num_backbone, config.num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to z (B, D), shift logits (B, S), live share."""
        h = self.backbone(images)
        z, live = self.head(h)
        return z.float(), self.shift_classifier(h).float(), live


def shifted_views(
    images: Tensor, config: CSIConfig, generator: torch.Generator
) -> Tensor:
    """Each image in every shift, in two views: flip, then shift, then the weak rest.

    The flip comes first, as in the authors' program: after a quarter turn it would
    make left and right turns alike. Shifts that draw at random do so in each view.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (V, S, N, 3, H, W).
    """
    strong = strong_augmentation(config.strong, config.num_classes, config.medmix)
    unflipped = replace(config.weak, flip=0.0)
    views = []
    for _ in range(NUM_VIEWS):
        flips = happens((len(images),), config.weak.flip, generator)
        flipped = torch.where(flips[:, None, None, None], images.flip(3), images)
        shifted, pasted = in_every_class(flipped, strong, generator)
        views.append(weak_view(shifted, generator, unflipped, keep=pasted))
    return torch.stack(views).unflatten(1, (config.num_classes, len(images)))


def pretrain(model: CSI, bank, config: CSIConfig, loop) -> CSI:
    """Minimise Eq. (5) on normal images; `loop` resumes and records."""
    for step, optimizer in sgd_steps(model, len(bank), config, loop):
        images = bank.sample(config.batch_size, step.generator)
        images = random_patches(images, config.patch_size, step.generator)
        views = shifted_views(images, config, step.generator)
        with step.autocast():
            z, logits, live = model(views.flatten(0, 2))
        z = F.normalize(z, dim=-1).view(*views.shape[:3], -1)
        terms = {
            "con": shifted_contrastive_loss(z, config.temperature),
            "shift": shift_loss(logits.view(*views.shape[:3], -1)),
        }
        loss = total_loss(terms, config)
        step.update(loss, optimizer, clip_norm=config.clip_norm)
        step.log({**terms, "live": live})
    return model.eval()
