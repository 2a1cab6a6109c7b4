"""Views of images in classes: every image under every strong augmentation.

Axes in all shapes: A classes, V = 2 weak views, N images.
"""

import torch
from torch import Tensor

from thesislib.augment.geometry import mask_bounds
from thesislib.augment.strong import StrongAugmentation
from thesislib.augment.weak import WeakConfig, weak_view

NUM_VIEWS = 2


def in_every_class(
    images: Tensor, strong: StrongAugmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Each image once in every class, class by class.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        Images, (A N, 3, H, W), and the bounds of what was pasted into them, (A N, 4),
        as `weak_view` keeps them; None if nothing is.
    """
    classes = torch.arange(strong.num_classes, device=images.device)
    classes = classes.repeat_interleave(len(images))
    shifted, mask = strong.with_mask(images, classes, generator)
    return shifted, None if mask is None else mask_bounds(mask)


def views_in_every_class(
    images: Tensor,
    strong: StrongAugmentation,
    weak: WeakConfig,
    generator: torch.Generator,
    keep_lesions: bool = True,
) -> Tensor:
    """Each image in every class, in two weak views: strong first, then weak.

    Args:
        images: (N, 3, H, W) in [0, 1].
        keep_lesions: Crops hold all that was pasted, so that the class stays true.

    Returns:
        (A, V, N, 3, H, W).
    """
    shifted, pasted = in_every_class(images, strong, generator)
    keep = pasted if keep_lesions else None
    views = [weak_view(shifted, generator, weak, keep=keep) for _ in range(NUM_VIEWS)]
    return torch.stack([view.unflatten(0, (-1, len(images))) for view in views], dim=1)
