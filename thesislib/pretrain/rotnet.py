r"""RotNet pre-training, rows of thesis Tables 4.2, 4.3 and 5.9.

Which way was the image turned? The thesis calls the method Rot-Net and cites Golan
and El-Yaniv, *Deep Anomaly Detection Using Geometric Transformations*, 2018, whose
classifier tells 72 transformations apart. RotNet is the name of Gidaris et al.,
*Unsupervised Representation Learning by Predicting Image Rotations*, 2018, who take
four. Both are here: `rotations`, the default, goes by the name and `geometric` by the
reference. Golan and El-Yaniv's own normality score, a sum over all transformations, is
left out: in the thesis IGD and PaDiM judge.

Axes in all shapes: N images, K copies of each, C classes of transformation.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.augment.strong import rotation
from thesislib.augment.weak import WeakConfig, weak_view
from thesislib.nn.patches import random_patches
from thesislib.nn.resnet import LEAST_WIDTH, ResNet18
from thesislib.ranges import RangeError, at_least, within
from thesislib.training.sgd import SGDConfig, sgd_steps

NUM_ROTATIONS = 4
OFFSETS = (0, 1, -1)  # in quarters of the side, along rows and along columns
NUM_CLASSES = {"rotations": NUM_ROTATIONS, "geometric": 2 * len(OFFSETS) ** 2 * 4}


@dataclass(frozen=True, kw_only=True)
class RotNetConfig(SGDConfig):
    """Settings of RotNet: the thesis gives none, so those of PMSACL where shared."""

    patch_size: int | None = None  # pixels: instances are patches; None: images
    batch_size: int = 32  # instances, each in `num_copies` transformations
    transformations: Literal["rotations", "geometric"] = "rotations"  # or the 72
    num_copies: int = 4  # K; Gidaris et al.: all four rotations in one batch
    weak_views: bool = True  # before turning, as Sohn et al. (DROC) train it; ours
    weak: WeakConfig = field(default_factory=WeakConfig)  # crops as Sohn et al.
    base_width: int = 64  # channels of ResNet-18's first stage

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "batch_size")
        at_least(self, LEAST_WIDTH, "base_width")
        if self.transformations not in NUM_CLASSES:
            raise RangeError(
                f"transformations is {self.transformations!r}; allowed are "
                f"{', '.join(NUM_CLASSES)}."
            )
        within(self, f"[1, {NUM_CLASSES[self.transformations]}]", "num_copies")
        if self.transformations == "geometric" and self.weak_views:
            raise RangeError(
                "weak_views is True, but weak views flip and move images as the "
                "geometric transformations do; it must be False with them."
            )


def rotation_loss(logits: Tensor, classes: Tensor) -> Tensor:
    r"""Which transformation was it? Gidaris et al. Eq. (2), averaged over images.

    $$\ell = -\frac{1}{K} \sum_{y} \log F^y(g(x|y))$$

    With all 72 it is the cross-entropy of Golan and El-Yaniv, Section 4.1.

    Args:
        logits: Of the classifier $F$, (N, K, C).
        classes: $y$, (N, K), 0 to C - 1.

    Returns:
        Mean over N and K, a scalar in nats; log C for a blind classifier.
    """
    return F.cross_entropy(logits.flatten(0, 1), classes.flatten())


def draw_classes(
    num_images: int, num_copies: int, num_classes: int, generator: torch.Generator
) -> Tensor:
    """Draw K different transformations of each image, uniformly, (N, K)."""
    shape = (num_images, num_classes)
    order = torch.rand(shape, generator=generator, device=generator.device)
    return order.argsort(dim=1)[:, :num_copies]


def transform(images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
    r"""Flip, then shift, then turn: the $g(x|y)$ of Golan and El-Yaniv.

    Class y = k + 4 (s + 9 f) turns by k quarters, shifts by the s-th pair of `OFFSETS`,
    and flips from left to right if f = 1. Classes 0 to 3 are the four rotations.
    What a shift bares is the image mirrored at its border.

    Args:
        images: (B, 3, H, H) in [0, 1].
        classes: (B,), 0 to 71.
        generator: Of the device alone; nothing is drawn.
    """
    turns = classes % NUM_ROTATIONS
    place = classes // NUM_ROTATIONS % len(OFFSETS) ** 2
    flipped = classes >= NUM_CLASSES["geometric"] // 2
    images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    offsets = torch.tensor(OFFSETS, device=images.device)
    rows, columns = place // len(OFFSETS), place % len(OFFSETS)
    images = _shift(images, offsets[rows], dim=2)
    images = _shift(images, offsets[columns], dim=3)
    return rotation(images, turns, generator)


def _shift(images: Tensor, quarters: Tensor, dim: int) -> Tensor:
    """Move each image along rows or columns by quarters (B,) of its side."""
    size = images.shape[dim]
    source = torch.arange(size, device=images.device) - quarters[:, None] * (size // 4)
    source = size - 1 - (size - 1 - source.abs()).abs()  # mirrored at both ends
    index = source[:, None, :, None] if dim == 2 else source[:, None, None, :]
    return images.gather(dim, index.expand_as(images))


class RotNet(nn.Module):
    """Encoder and linear classifier; detectors take `backbone`."""

    def __init__(self, config: RotNetConfig) -> None:
        super().__init__()
        self.backbone = ResNet18(config.base_width)
        num_classes = NUM_CLASSES[config.transformations]
        self.classifier = nn.Linear(self.backbone.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, C)."""
        return self.classifier(self.backbone(images)).float()


def copies(
    images: Tensor, config: RotNetConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each image in K transformations, (N, K, 3, H, W), and their classes, (N, K).

    Weak views come first, as in Sohn et al.: a flip after the turn would make a turn
    to the left look like one to the right wherever left and right are alike.
    """
    num_images, num_classes = len(images), NUM_CLASSES[config.transformations]
    if config.weak_views:
        images = weak_view(images, generator, config.weak)
    classes = draw_classes(num_images, config.num_copies, num_classes, generator)
    repeated = images.repeat_interleave(config.num_copies, dim=0)
    apply = rotation if num_classes == NUM_ROTATIONS else transform
    turned = apply(repeated, classes.flatten(), generator)
    return turned.unflatten(0, (num_images, config.num_copies)), classes


def pretrain(model: RotNet, bank, config: RotNetConfig, loop) -> RotNet:
    """Minimise the cross-entropy on normal images; `loop` resumes and records."""
    for step, optimizer in sgd_steps(model, len(bank), config, loop):
        images = bank.sample(config.batch_size, step.generator)
        images = random_patches(images, config.patch_size, step.generator)
        turned, classes = copies(images, config, step.generator)
        with step.autocast():
            logits = model(turned.flatten(0, 1)).unflatten(0, classes.shape)
            loss = rotation_loss(logits, classes)
        step.update(loss, optimizer, clip_norm=config.clip_norm)
        right = (logits.detach().argmax(dim=-1) == classes).float().mean()
        step.log({"rot": loss, "accuracy": right})
    return model.eval()
