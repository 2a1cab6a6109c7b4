r"""Contrastive snippet mining of CTMIL, thesis Section 9.2.2 and Figure 9.2.

Scores say which snippets of an abnormal video are taken for abnormal. Those at the
edges of an event, and those that an event seems to have missed, are *hard*.

Axes in all shapes: B videos, T snippets, W features, n snippets of a set.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from thesislib.video import mil


class Chosen(NamedTuple):
    """A set of snippets of each video.

    Attributes:
        indices: (B, n).
        valid: Which of them count, (B, n), bool; a set may be smaller, or empty.
    """

    indices: Tensor
    valid: Tensor

    def of(self, features: Tensor) -> Tensor:
        """Their features, (B, T, W) to (B, n, W)."""
        where = self.indices[..., None].expand(-1, -1, features.shape[-1])
        return features.gather(1, where)


class Mined(NamedTuple):
    """The four sets of Eq. (9.5), of B normal and B abnormal videos.

    Attributes:
        hard_abnormal: HA, edges and missed snippets.
        easy_abnormal: EA, the highest scores of abnormal videos.
        hard_normal: HN, the highest scores of normal videos.
        easy_normal: EN, the lowest scores of normal videos.
    """

    hard_abnormal: Chosen
    easy_abnormal: Chosen
    hard_normal: Chosen
    easy_normal: Chosen


def binarise(scores: Tensor, epsilon: float | None) -> Tensor:
    r"""$\hat y(t) = (\tilde y(t) > \epsilon)$, (B, T) to (B, T), bool.

    With None each video's median is its threshold, as in the program: half of every
    abnormal video is then taken for abnormal, whatever its scores.
    """
    if epsilon is None:  # the lower of two medians: nothing lies between them
        middle = (scores.shape[-1] - 1) // 2
        epsilon = scores.sort(dim=-1).values[..., middle, None]
    return scores > epsilon


def erode(binary: Tensor, size: int) -> Tensor:
    """Where all of `size` snippets around are true, (B, T), bool.

    Snippets beyond the ends are false. Of an even size one more lies before, as in
    `scipy.ndimage.binary_erosion`.
    """
    before = size // 2
    padded = F.pad(binary, (before, size - 1 - before), value=False)
    return padded.unfold(-1, size, 1).all(dim=-1)


def edge_snippets(binary: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Temporal edges of Figure 9.2: what one erosion keeps and a larger one does not.

    Sizes (1, 3) are the text's "subtract the original and eroded sequences"; (2, 4)
    are the program's, which leave out the first snippet of an event.
    """
    inner, outer = sizes
    return erode(binary, inner) & ~erode(binary, outer)


def missed_snippets(binary: Tensor, region: int, majority: int) -> Tensor:
    """Normal snippets in a region where more than `majority` are abnormal, (B, T).

    Args:
        binary: $\\hat y$, (B, T), bool.
        region: K snippets.
        majority: R.
    """
    length = binary.shape[-1]
    if length < region:
        return torch.zeros_like(binary)
    counts = binary.unfold(-1, region, 1).sum(dim=-1)  # (B, T - K + 1), every window
    starts = F.pad(counts > majority, (region - 1, region - 1), value=False)
    return starts.unfold(-1, region, 1).any(dim=-1) & ~binary


def highest(scores: Tensor, count: int | None, allowed: Tensor | None = None) -> Chosen:
    """The highest scores among those allowed, at most `count`; None: all of them."""
    length = scores.shape[-1]
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -1.0)  # scores are 0 or more
    indices = scores.topk(min(count or length, length), dim=-1).indices
    if allowed is None:
        return Chosen(indices, torch.ones_like(indices, dtype=torch.bool))
    return Chosen(indices, allowed.gather(-1, indices))


@torch.no_grad()
def mine(scores: Tensor, config) -> Mined:
    """Hard and easy snippets of both kinds, below Eq. (9.6) and Figure 9.2.

    Args:
        scores: Of B normal videos, then B abnormal ones, (2B, T).
        config: Those settings of `CTMILConfig` that it groups as "Mining".
    """
    kept = F.dropout(torch.ones_like(scores), config.ranking_dropout)
    normal, abnormal = mil.halves(scores)
    kept_normal, kept_abnormal = mil.halves(kept)
    reverse = normal.amax(dim=-1, keepdim=True) - normal
    binary = binarise(abnormal, config.epsilon)
    hard = edge_snippets(binary, config.edges)
    hard |= missed_snippets(binary, config.region, config.majority)
    return Mined(
        hard_abnormal=highest(abnormal, config.num_hard_abnormal, hard),
        easy_abnormal=highest(abnormal * kept_abnormal, config.num_easy),
        hard_normal=highest(normal * kept_normal, config.num_hard),
        easy_normal=highest(reverse * kept_normal, config.num_easy),
    )
