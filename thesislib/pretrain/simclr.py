r"""SimCLR pre-training, the first baseline of thesis Table 5.9.

Chen et al., *A Simple Framework for Contrastive Learning of Visual
Representations*, 2020. Two weak views of an image attract, all else repels.

Axes in all shapes: V = 2 views, N images, D = 128 features.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from thesislib.augment.weak import WeakConfig, weak_view
from thesislib.nn.contrastive import contrastive_loss
from thesislib.nn.heads import ProjectionHead
from thesislib.nn.patches import random_patches
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import above, at_least
from thesislib.training.sgd import SGDConfig, sgd_steps


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig(SGDConfig):
    """Settings of SimCLR: the thesis gives none, so those of PMSACL where shared."""

    patch_size: int | None = None  # pixels: instances are patches; None: images
    batch_size: int = 32  # instances, each in two views
    weak: WeakConfig = field(  # chapter 4's code crops down to a fifth of the area
        default_factory=lambda: WeakConfig(crop_scale=(0.2, 1.0))
    )
    base_width: int = 64  # channels of ResNet-18's first stage
    num_features: int = 128  # D
    temperature: float = 0.2  # tau of chapter 4

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "num_features")
        at_least(self, 2, "batch_size")  # one instance has no negatives, its loss is 0
        at_least(self, LEAST_WIDTH, "base_width")
        above(self, 0, "temperature")


class SimCLR(nn.Module):
    """Encoder and projection head; detectors take `backbone`."""

    def __init__(self, config: SimCLRConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        self.head = ProjectionHead(self.backbone.num_features, config.num_features)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) to z (B, D) and the share of live units."""
        z, live = self.head(self.backbone(images))
        return z.float(), live


def pretrain(model: SimCLR, bank, config: SimCLRConfig, loop) -> SimCLR:
    """Minimise the contrastive loss on normal images; `loop` resumes and records."""
    for step, optimizer in sgd_steps(model, len(bank), config, loop):
        images = bank.sample(config.batch_size, step.generator)
        images = random_patches(images, config.patch_size, step.generator)
        views = [weak_view(images, step.generator, config.weak) for _ in range(2)]
        with step.autocast():
            z, live = model(torch.cat(views))
            z = nn.functional.normalize(z, dim=-1).unflatten(0, (2, -1))
            loss = contrastive_loss(z, config.temperature)
        step.update(loss, optimizer, clip_norm=config.clip_norm)
        step.log({"con": loss, "live": live})
    return model.eval()
