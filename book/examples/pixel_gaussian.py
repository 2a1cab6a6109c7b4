"""A Gaussian at every pixel: an example of a detector of one's own.

    papermill chapters/05_pmsacl.ipynb out.ipynb -p dataset covidx \
        -y 'methods: [book/examples/pixel_gaussian.py]'
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.study.method import add_method


class PixelGaussian(nn.Module):
    """How many standard deviations each pixel lies from its mean on normal images.

    What `fit` measures are buffers, so a sealed run keeps them and `thesislib score`
    can use the detector on other images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", None)  # (C, H, W)
        self.register_buffer("std", None)

    def fit(self, batches) -> None:
        """Measure mean and deviation.

        Args:
            batches: Normal images, (B, C, H, W) in [0, 1], batch after batch; can be
                gone through more than once.
        """
        number = sum(len(images) for images in batches)
        self.mean = sum(images.sum(dim=0) for images in batches) / number
        squares = sum((images - self.mean).square().sum(dim=0) for images in batches)
        self.std = (squares / number).sqrt() + 0.01  # flat pixels have no deviation

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,) and maps (B, H, W); larger is more abnormal."""
        maps = ((images - self.mean) / self.std).abs().mean(dim=1, keepdim=True)
        maps = F.avg_pool2d(maps, kernel_size=5, stride=1, padding=2)[:, 0]
        return torch.quantile(maps.flatten(1), 0.99, dim=1), maps


add_method("pixel-gaussian", "Gaussian of every pixel", PixelGaussian)
