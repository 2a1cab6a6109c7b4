"""Heads on top of the encoder's features."""

from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    r"""Two-layer perceptron to the space $\mathcal{Z}$ of the contrastive losses.

    Chen et al., SimCLR, 2020; thesis Section 5.4.2 names its output size alone.

    Args:
        num_in: Features of the encoder.
        num_features: D, features of the output.
        norm: Batch norm before the ReLU. Ours: without it the large gradients of
            Eq. (5.3) can switch every unit off for good.
    """

    def __init__(self, num_in: int, num_features: int, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(num_in, num_in)
        self.norm = nn.BatchNorm1d(num_in) if norm else nn.Identity()
        self.last = nn.Linear(num_in, num_features)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, num_in) to z (B, D) and the share of live units.

        A hidden unit is live if any image of the batch switches it on.
        """
        hidden = F.relu(self.norm(self.first(h)))  # (B, num_in)
        live = (hidden.detach() > 0).any(dim=0).float().mean()
        return self.last(hidden), live
