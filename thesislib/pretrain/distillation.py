r"""ImageNet knowledge distillation (KD), a start of chapter 6's encoders.

Thesis Section 6.4.2, after Bergmann et al., *Uninformed Students*, 2020: a student
learns the 512 features that an ImageNet ResNet-18, the teacher, has of an image. Then
it stays as it is, under a linear layer (`nn.autoencoder.BackboneEncoder`).

What the student looks at is not stated; Bergmann et al. have patches of ImageNet's
images. Here, a departure, it looks at the normal training images of the dataset
itself, since ImageNet's are not at hand. So it knows its teacher's features of what
is normal; of what it has never seen, its features are its own.

The authors' program reads a finished student from a file, without its training.

Axes in all shapes: B images or patches, D = 512 features.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.errors import InputError
from thesislib.nn import patches
from thesislib.nn.autoencoder import Encoder
from thesislib.nn.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet18
from thesislib.ranges import above, at_least

LEAST_TEACHER_SIZE = 32  # pixels; ResNet-18 halves five times, down to one pixel


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Settings of the distillation, thesis Section 6.4.2; the rest says its source.

    `teacher_size` is ours. A patch of 32 px leaves one pixel, mostly padding, of the
    teacher's last stage; enlarged to the 224 px of its own training it fills 7 x 7.
    """

    base_width: int = 64  # channels, 512 in the last block; the authors' program
    teacher_size: int = 224  # pixels a side that the teacher sees
    batch_size: int = 64
    lr: float = 1e-4  # Adam
    weight_decay: float = 1e-5
    num_steps: int = 50_000

    def __post_init__(self) -> None:
        at_least(self, 1, "base_width", "batch_size")
        above(self, 0, "lr")
        at_least(self, 0, "weight_decay")
        if self.teacher_size < LEAST_TEACHER_SIZE:
            raise InputError(
                f"distillation.teacher_size is {self.teacher_size} pixels; ResNet-18 "
                f"needs {LEAST_TEACHER_SIZE} or more."
            )
        if self.num_steps < 1:
            raise InputError(
                f"distillation.num_steps is {self.num_steps}; an encoder that was "
                "taught nothing is no start from ImageNet."
            )


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Distance of the student's features from the teacher's, thesis Section 6.4.2.

    $$\ell_{KD} = \mathbb{E}_x \lVert f_\psi(x) - f_T(x) \rVert_2^2$$

    The thesis says "the l2 norm" and prints no equation; Bergmann et al. have its
    square, which is taken here.

    Args:
        student: $f_\psi(x)$, (B, D).
        teacher: $f_T(x)$, (B, D); no gradient reaches it.

    Returns:
        Mean over B, a scalar.
    """
    return (student - teacher.detach()).square().sum(dim=1).mean()


class Student(nn.Module):
    """The encoder that learns: like `ResNet18`, it maps images to D features.

    At 32 px the local encoder of the authors' program: a convolution to 64 channels,
    three residual blocks that halve the image, to 512, and a linear layer on what is
    left, 512 x 4 x 4. Larger images pass through more blocks, also of 512.

    Args:
        image_size: Pixels a side of what enters: patches of the local model, whole
            images of the global one.
        base_width: Channels of the first convolution.
        num_features: D, the teacher's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, image_size: int, base_width: int = 64, num_features: int = 512
    ) -> None:
        super().__init__()
        self.image_size, self.num_features = image_size, num_features
        self.encoder = Encoder(image_size, 3, base_width, num_features, residual=True)
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1] to features (B, D)."""
        return self.encoder((images - self.mean) / self.std)


def distil(
    student: Student, teacher: ResNet18, bank, config: DistillationConfig, loop
) -> Student:
    """Minimise $\\ell_{KD}$ on normal images; `loop` resumes and records.

    Args:
        student: Trained in place. Where it takes less than a whole image, it sees one
            patch of each, at a random place.
        teacher: Not changed, its batch norm in eval mode.
        bank: `ImageBank` of normal images, grey or colour.
        config: Settings.
        loop: A `training.loop.Loop`; records `kd`, the loss, and `spread`, the loss
            of a student whose only answer is the batch's mean.

    Returns:
        The student in eval mode.
    """
    teacher.eval().requires_grad_(False)
    optimizer = torch.optim.Adam(
        student.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    student.train()
    saving = {"student": student, "optimizer": optimizer}
    for step in loop.steps(config.num_steps, saving=saving):
        images = bank.sample(config.batch_size, step.generator)
        images = patches.random_patches(images, student.image_size, step.generator)
        images = images.expand(-1, 3, -1, -1)
        with step.autocast():
            target = teacher_features(teacher, images, config.teacher_size)
            loss = distillation_loss(student(images).float(), target)
        step.update(loss, optimizer)
        spread = distillation_loss(target.mean(dim=0, keepdim=True), target)
        step.log({"kd": loss, "spread": spread})
    return student.eval()


@torch.no_grad()
def teacher_features(teacher: ResNet18, images: Tensor, size: int) -> Tensor:
    """The teacher's D features of images (B, 3, H, W) that it sees at `size` pixels."""
    seen = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return teacher(seen).float()


SMALL = DistillationConfig(  # all ours: half a core-minute a class
    base_width=8, teacher_size=64, batch_size=8, lr=1e-3, num_steps=200
)
PRESETS = {
    "quick": SMALL,
    "standard": replace(SMALL, batch_size=16, num_steps=600),
    "paper": DistillationConfig(),
}
