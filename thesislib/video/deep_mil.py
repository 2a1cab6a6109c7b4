r"""DeepMIL, the baseline of chapters 8 and 9: Sultani et al., CVPR 2018.

Three layers score every snippet by itself; the largest score of an abnormal video has
to rank above that of a normal one. The baseline of Table 8.5, which puts a 1 x 1
convolution before them, is RTFM without its parts: see `rtfm.row`.

Recalled from the paper, not read in its program: layers, dropout, loss and weights.
Its optimiser is Adagrad; ours is Adam as for the other methods, which scored as well
on made features. Pairs are all of the batch's.

Axes in all shapes: B videos, C crops, T snippets, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from thesislib.ranges import at_least, within
from thesislib.video import mil
from thesislib.video.mil import MILConfig, score_snippets

__all__ = ["DeepMIL", "DeepMILConfig", "fit", "score_snippets"]


@dataclass(frozen=True, kw_only=True)
class DeepMILConfig(MILConfig):
    """Settings of DeepMIL, Sultani et al. Section 4.1."""

    hidden: tuple[int, int] = (512, 32)  # units
    dropout: float = 0.6
    k: int = 1  # snippets whose scores stand for a video
    smooth: float = 8e-5  # lambda_1
    sparse: float = 8e-5  # lambda_2
    adagrad: bool = False  # the paper's optimiser

    batch_size: int = 30
    weight_decay: float = 1e-3  # lambda_3; the paper has 0.01, its program 0.001
    num_steps: int | None = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "hidden", "k")
        at_least(self, 0, "smooth", "sparse")
        within(self, "[0, 1)", "dropout")


PAPER = DeepMILConfig()
SMALL = replace(PAPER, hidden=(128, 32), batch_size=16, num_steps=400)  # for D < 512


class DeepMIL(nn.Module):
    """Scores snippets one by one.

    Args:
        config: Settings.
        num_features: D of the features.
    """

    def __init__(self, config: DeepMILConfig, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.head = mil.SnippetHead(
            num_features, config.hidden, config.dropout, linear=True
        )
        self.apply(mil.xavier)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, T, D) to scores (B, T), the mean over crops."""
        return self.head(features).mean(dim=1)

    def score(self, features: Tensor) -> Tensor:
        """Map (B, T, D) to scores (B, T)."""
        return self.head(features)


def losses(scores: Tensor, config: DeepMILConfig) -> dict[str, Tensor]:
    r"""Terms of Sultani et al. Eq. (7), without their weights.

    Args:
        scores: Of B normal videos, then B abnormal ones, (2B, T).
        config: Settings.

    Returns:
        `rank`, the mean over pairs; `smooth` and `sparse`, means over abnormal videos
        of sums over T.
    """
    normal, abnormal = mil.halves(mil.top_k_mean(scores, config.k))
    rank = mil.ranking_loss(abnormal[:, None], normal)
    abnormal = mil.halves(scores)[1]
    return {
        "rank": rank,
        "smooth": mil.smoothness(abnormal).mean(),
        "sparse": mil.sparsity(abnormal).mean(),
    }


def total_loss(terms: Mapping[str, Tensor], config: DeepMILConfig) -> Tensor:
    r"""Sultani et al. Eq. (7); its $\lambda_3 \lVert W \rVert$ is weight decay."""
    weighted = config.smooth * terms["smooth"] + config.sparse * terms["sparse"]
    return terms["rank"] + weighted


def fit(model: DeepMIL, bags, config: DeepMILConfig, loop) -> DeepMIL:
    """Train on bags of both kinds; see `rtfm.fit`."""
    optimizer = None
    if config.adagrad:
        optimizer = torch.optim.Adagrad(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
    steps = mil.batches(model, bags, config, loop, optimizer)
    for step, optimizer, features in steps:
        with step.autocast():
            scores = model(features)
        terms = losses(scores, config)
        step.update(total_loss(terms, config), optimizer)
        step.log(terms)
    return model.eval()
