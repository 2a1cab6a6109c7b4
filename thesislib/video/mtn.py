r"""Multi-scale temporal network (MTN) of RTFM, thesis Section 8.3.2 and Figure 8.3.

Axes in all shapes: B videos (or crops of them), T snippets, D features, E inner ones.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.video.mil import TemporalConv

DILATIONS = (1, 2, 4)  # of the three convolutions, Section 8.4.2
CONTEXT = 2 * max(DILATIONS) + 2  # snippets before its own that a causal output reads
BLOCK = 256  # snippets that causal attention takes at once


class Past(NamedTuple):
    """What causal attention needs to know of snippets that went by.

    Attributes:
        total: $\\sum_s k_s v_s^\\top$, (B, E, E).
        count: Their number.
    """

    total: Tensor
    count: int


class TemporalAttention(nn.Module):
    r"""Temporal self-attention (TSA), thesis Eq. (8.6).

    $$F^{(TSA)} = F^{(c4)} + F^{(c)}, \quad
      F^{(c4)} = Conv_{1 \times 1}(M F^{(c3)}), \quad M = F^{(c1)} F^{(c2)\top}$$

    There is no softmax, so $M F^{(c3)}$ is also $F^{(c1)} (F^{(c2)\top} F^{(c3)})$,
    which costs a long video T and not T squared.

    The program divides $M$ by T, has a ReLU after $F^{(c)}$, half as many features in
    $F^{(c1)}$ to $F^{(c3)}$, and a batch norm at the end whose weight starts at zero:
    attention adds nothing at first. In print $M$ is a sum, which grows with T.

    Args:
        num_features: D.
        num_out: Features of $F^{(c)}$; D / 4.
        printed: As the thesis prints it.
        causal: $M$ is lower triangular, each row divided by its number of snippets.
    """

    def __init__(
        self, num_features: int, num_out: int, *, printed: bool, causal: bool
    ) -> None:
        super().__init__()
        inner = num_out if printed else max(1, num_out // 2)
        self.printed, self.causal = printed, causal
        self.reduce = nn.Conv1d(num_features, num_out, 1, bias=printed)
        self.query = nn.Conv1d(num_out, inner, 1)
        self.key = nn.Conv1d(num_out, inner, 1)
        self.value = nn.Conv1d(num_out, inner, 1)
        self.out = nn.Conv1d(inner, num_out, 1)
        self.norm = nn.Identity() if printed else nn.BatchNorm1d(num_out)
        if not printed:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Map (B, D, T) to (B, D / 4, T); `past` comes before, if causal."""
        x = self.reduced(x)
        query, key, value = self.query(x), self.key(x), self.value(x)  # (B, E, T)
        attend = self._causal if self.causal else self._whole
        return self.norm(self.out(attend(query, key, value, past))) + x

    def reduced(self, x: Tensor) -> Tensor:
        """$F^{(c)}$, (B, D, T) to (B, D / 4, T)."""
        x = self.reduce(x)
        return x if self.printed else F.relu(x)

    def extend(self, past: Past | None, x: Tensor) -> Past:
        """`past` with the snippets of x, (B, D, T), after it."""
        x = self.reduced(x)
        key, value = self.key(x), self.value(x)
        total = key @ value.mT
        if past is None:
            return Past(total, x.shape[-1])
        return Past(past.total + total, past.count + x.shape[-1])

    def _whole(self, query: Tensor, key: Tensor, value: Tensor, past: None) -> Tensor:
        inner, length = query.shape[1:]
        if length > inner:
            summed = (key @ value.mT).mT @ query
        else:
            summed = value @ (key.mT @ query)
        return summed if self.printed else summed / length

    def _causal(
        self, query: Tensor, key: Tensor, value: Tensor, past: Past | None
    ) -> Tensor:
        total, count = past or (0.0, 0)
        found = []
        parts = (x.split(BLOCK, dim=-1) for x in (query, key, value))
        for q, k, v in zip(*parts, strict=True):
            summed = v @ (k.mT @ q).triu()  # columns are the snippets that ask
            if count:
                summed = summed + total.mT @ q
            places = torch.arange(count + 1, count + q.shape[-1] + 1, device=q.device)
            found.append(summed if self.printed else summed / places)
            total, count = total + k @ v.mT, count + q.shape[-1]
        return torch.cat(found, dim=-1)


class MTN(nn.Module):
    r"""Multi-scale temporal network $s_\theta$, thesis Section 8.3.2 and Figure 8.3.

    Three dilated convolutions (PDC), Eq. (8.5), and self-attention (TSA), Eq. (8.6),
    give D / 4 features each; concatenated, with a skip connection, they are X.

    The program has ReLU and batch norm after each convolution and fuses the
    concatenation by one more, of three snippets, which the text does not have.

    Without PDC and TSA one 1 x 1 convolution takes their place (Table 8.5). With one
    of them alone the program's fusion takes what there is; in print they share D.

    Args:
        num_features: D.
        pdc: Have the convolutions.
        tsa: Have the attention.
        printed: As the thesis prints it.
        causal: Past snippets only.
    """

    def __init__(
        self,
        num_features: int,
        *,
        pdc: bool = True,
        tsa: bool = True,
        printed: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        num_branches = len(DILATIONS) * pdc + tsa
        widths = [max(1, num_features // 4)] * num_branches
        if printed and num_branches:
            whole = torch.arange(num_features).tensor_split(num_branches)
            widths = [len(part) for part in whole]
        self.pdc = nn.ModuleList()
        if pdc:
            for width, dilation in zip(widths, DILATIONS, strict=False):
                conv = TemporalConv(
                    num_features, width, dilation=dilation, causal=causal
                )
                self.pdc.append(conv if printed else _normed(conv))
        self.tsa = None
        if tsa:
            self.tsa = TemporalAttention(
                num_features, widths[-1], printed=printed, causal=causal
            )
        self.fuse = nn.Identity()
        if not num_branches:
            self.fuse = _normed(nn.Conv1d(num_features, num_features, 1))
        elif not printed:
            self.fuse = _normed(
                TemporalConv(sum(widths), num_features, causal=causal, bias=False)
            )

    def forward(self, features: Tensor, past: Past | None = None) -> Tensor:
        """Map F to X, both (B, T, D)."""
        x = features.mT  # (B, D, T)
        found = [branch(x) for branch in self.pdc]
        if self.tsa is not None:
            found.append(self.tsa(x, past))
        fused = self.fuse(torch.cat(found, dim=1) if found else x)
        return (fused + x).mT


def _normed(conv: nn.Conv1d) -> nn.Sequential:
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm1d(conv.out_channels))
