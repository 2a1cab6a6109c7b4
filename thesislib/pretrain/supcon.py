r"""SupCon pre-training, a row of thesis Table 5.9.

Khosla et al., *Supervised Contrastive Learning*, 2020: samples of one class attract,
all others repel. Normal images have no labels. The thesis adapts SupCon "to our pseudo
multi-class pre-training paradigm" (Section 5.4.5), so its classes are those of PMSACL:
$\mathcal{A}_n$ holds images with n pasted lesions. Whether the other terms of Eq. (5.1)
were kept beside it is not said; here SupCon stands alone, as SimCLR and RotNet do in
that table.

Axes in all shapes: A classes, V = 2 weak views, N images, D = 128 features.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.strong import strong_augmentation
from thesislib.augment.views import views_in_every_class
from thesislib.augment.weak import WeakConfig
from thesislib.nn.patches import random_patches
from thesislib.nn.resnet import LEAST_WIDTH
from thesislib.pretrain.simclr import SimCLR
from thesislib.ranges import above, at_least
from thesislib.training.sgd import SGDConfig, sgd_steps


@dataclass(frozen=True, kw_only=True)
class SupConConfig(SGDConfig):
    """Settings of SupCon: the thesis gives none, so those of PMSACL where shared."""

    patch_size: int | None = None  # pixels: instances are patches; None: images
    batch_size: int = 32  # instances; each appears in every class and in two views
    strong: str = "medmix"  # makes the classes, a name in augment.strong.STRONG
    num_classes: int = 4  # A: 0, 1, 2 or 3 pasted lesions
    medmix: MedMixConfig = field(default_factory=MedMixConfig)  # where `strong` is it
    weak: WeakConfig = field(default_factory=WeakConfig)
    keep_lesions: bool = True  # crops hold every lesion, as in PMSACL here
    base_width: int = 64  # channels of ResNet-18's first stage
    num_features: int = 128  # D; Khosla et al. as well
    temperature: float = 0.1  # tau, Khosla et al. Section 4

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "patch_size", "batch_size", "num_features")
        at_least(self, 2, "num_classes")
        at_least(self, LEAST_WIDTH, "base_width")
        above(self, 0, "temperature")
        strong_augmentation(self.strong, self.num_classes, self.medmix)


def supervised_contrastive_loss(
    z: Tensor, classes: Tensor, temperature: float
) -> Tensor:
    r"""SupCon with the mean outside of the logarithm, Khosla et al. Eq. (2).

    $$\ell_i = \frac{-1}{|P(i)|} \sum_{p \in P(i)} \log
      \frac{\exp(z_i^\top z_p / \tau)}{\sum_{a \ne i} \exp(z_i^\top z_a / \tau)}$$

    $P(i)$ are the other samples of the class of i. The paper sums over i; the mean
    here is of SimCLR's size, and is SimCLR's loss where every image is a class.

    Axes: B samples, D features.

    Args:
        z: Unit vectors, (B, D).
        classes: (B,), integers; each has two samples or more.
        temperature: $\tau$.

    Returns:
        Mean over B, a scalar in nats; log(B - 1) if all are alike.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = torch.einsum("id,ad->ia", z, z) / temperature
    log_sum = logits.masked_fill(itself, -math.inf).logsumexp(dim=1, keepdim=True)
    positive = (classes[:, None] == classes) & ~itself
    share = positive / positive.sum(dim=1, keepdim=True)  # 1 / |P(i)| on P(i)
    return (share * (log_sum - logits)).sum(dim=1).mean()


class SupCon(SimCLR):
    """SimCLR's encoder and projection head; detectors take `backbone`."""


def pretrain(model: SupCon, bank, config: SupConConfig, loop) -> SupCon:
    """Minimise Eq. (2) on normal images and their classes; `loop` resumes, records."""
    strong = strong_augmentation(config.strong, config.num_classes, config.medmix)
    for step, optimizer in sgd_steps(model, len(bank), config, loop):
        images = bank.sample(config.batch_size, step.generator)
        images = random_patches(images, config.patch_size, step.generator)
        views = views_in_every_class(
            images, strong, config.weak, step.generator, config.keep_lesions
        )  # (A, V, N, 3, H, W)
        classes = torch.arange(config.num_classes, device=views.device)
        classes = classes.repeat_interleave(views.shape[1:3].numel())  # (A V N,)
        with step.autocast():
            z, live = model(views.flatten(0, 2))
        z = F.normalize(z, dim=-1)  # outside of autocast: half precision blurs z / tau
        loss = supervised_contrastive_loss(z, classes, config.temperature)
        step.update(loss, optimizer, clip_norm=config.clip_norm)
        step.log({"con": loss, "live": live})
    return model.eval()
