r"""DROC pre-training, a row of thesis Table 5.9.

Sohn et al., *Learning and Evaluating Representations for Deep One-class
Classification*, 2021: contrastive learning with distribution augmentation. The
training images and their rotations are one larger set, whose members are instances of
their own; so normal images need not fill the whole sphere, and what looks like none of
them has room. The thesis gives no settings; those of the authors' program
(`run_contrastive_da.sh`) share optimiser, batch size and temperature with chapter 4.
Their one-class classifiers on top are left out: in Table 5.9 PaDiM judges.

Axes in all shapes: V = 2 views, N instances, D = 128 features.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.augment.colour import JitterConfig
from thesislib.augment.geometry import mask_bounds
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.strong import strong_augmentation
from thesislib.augment.views import NUM_VIEWS
from thesislib.augment.weak import WeakConfig, weak_view
from thesislib.nn.patches import random_patches
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import above, at_least
from thesislib.training.sgd import SGDConfig, sgd_steps


@dataclass(frozen=True, kw_only=True)
class DROCConfig(SGDConfig):
    """Settings of DROC, the authors' program unless said otherwise.

    A pass goes over the augmented set; their number is chapter 4's, not the 2,048 of
    the program.
    """

    patch_size: int | None = None  # pixels: instances are patches; None: images. Ours
    batch_size: int = 32  # instances of the augmented set, each in two views
    strong: str = "rotation"  # augments the distribution, a name in STRONG
    num_classes: int = 4  # how many times larger the augmented set is
    medmix: MedMixConfig = field(default_factory=MedMixConfig)  # where `strong` is it
    weak: WeakConfig = field(
        default_factory=lambda: WeakConfig(jitter=JitterConfig(hue=0.4))
    )
    base_width: int = 64  # channels of ResNet-18's first stage
    num_hidden: int = 8  # hidden layers of the head
    hidden_width: int | None = None  # their units; None: the encoder's features, 512
    num_features: int = 128  # D
    temperature: float = 0.2  # tau

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "num_features")
        at_least(self, 1, "num_hidden", "hidden_width")
        at_least(self, 2, "batch_size")  # one instance has no negatives, its loss is 0
        at_least(self, 2, "num_classes")
        at_least(self, LEAST_WIDTH, "base_width")
        above(self, 0, "temperature")
        strong_augmentation(self.strong, self.num_classes, self.medmix)


def instance_loss(z: Tensor, temperature: float) -> Tensor:
    r"""Contrastive loss across views, as the program of Sohn et al. computes it.

    $$\ell = -\mathbb{E}_i \log \frac{\exp(z_i^\top z'_i / \tau)}
      {\sum_j \exp(z_i^\top z'_j / \tau)}$$

    Anchors are first views, and second views are all they meet; SimCLR's loss lets
    both meet both.

    Args:
        z: Unit vectors $z$ and $z'$, (V, N, D).
        temperature: $\tau$.

    Returns:
        Mean over N, a scalar in nats; log N if all are alike.
    """
    logits = torch.einsum("nd,md->nm", z[0], z[1]) / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=z.device))


class DeepHead(nn.Module):
    """Perceptron of many hidden layers, Sohn et al.: linear, batch norm, ReLU.

    No layer has a bias, as in the authors' program.

    Args:
        num_in: Features of the encoder.
        num_hidden: Hidden layers.
        width: Their units.
        num_features: D, features of the output.
    """

    def __init__(
        self, num_in: int, num_hidden: int, width: int, num_features: int
    ) -> None:
        super().__init__()
        layers = []
        for layer in range(num_hidden):
            size = num_in if layer == 0 else width
            layers += [
                nn.Linear(size, width, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
            ]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(width, num_features, bias=False)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, num_in) to z (B, D) and the last layer's live share."""
        hidden = self.hidden(h)  # (B, width)
        live = (hidden.detach() > 0).any(dim=0).float().mean()
        return self.last(hidden), live


class DROC(nn.Module):
    """Encoder and deep head; detectors take `backbone`."""

    def __init__(self, config: DROCConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        num_backbone = self.backbone.num_features
        self.head = DeepHead(
            num_backbone,
            config.num_hidden,
            config.hidden_width or num_backbone,
            config.num_features,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) to z (B, D) and the share of live units."""
        z, live = self.head(self.backbone(images))
        return z.float(), live


def draw_instances(
    num_images: int, num_classes: int, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw from the augmented set, without replacement while it lasts.

    Returns:
        Which images, (N,), and in which class each of them is, (N,). An image can come
        in several classes, as an instance each.
    """
    size = num_images * num_classes
    rounds = -(-batch_size // size)
    device = generator.device
    order = [
        torch.randperm(size, generator=generator, device=device) for _ in range(rounds)
    ]
    instances = torch.cat(order)[:batch_size]
    return instances % num_images, instances // num_images


def augmented_views(bank, config: DROCConfig, generator: torch.Generator) -> Tensor:
    """Instances of the augmented set in two weak views, (V, N, 3, H, W)."""
    strong = strong_augmentation(config.strong, config.num_classes, config.medmix)
    which, classes = draw_instances(
        len(bank), config.num_classes, config.batch_size, generator
    )
    images = random_patches(bank.take(which), config.patch_size, generator)
    images, mask = strong.with_mask(images, classes, generator)
    keep = None if mask is None else mask_bounds(mask)
    views = [
        weak_view(images, generator, config.weak, keep=keep) for _ in range(NUM_VIEWS)
    ]
    return torch.stack(views)


def pretrain(model: DROC, bank, config: DROCConfig, loop) -> DROC:
    """Minimise the contrastive loss on normal images; `loop` resumes and records."""
    num_instances = config.num_classes * len(bank)
    for step, optimizer in sgd_steps(model, num_instances, config, loop):
        views = augmented_views(bank, config, step.generator)
        with step.autocast():
            z, live = model(views.flatten(0, 1))
        z = F.normalize(z, dim=-1).view(*views.shape[:2], -1)
        loss = instance_loss(z, config.temperature)
        step.update(loss, optimizer, clip_norm=config.clip_norm)
        step.log({"con": loss, "live": live})
    return model.eval()
