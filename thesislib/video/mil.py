r"""What the methods of chapters 8 and 9 share: bags, ranking, regularisers, a head.

A video is a bag of snippets with one label. Training sees T = 32 segments of every
video; scoring sees the snippets as they are, however many.

`bags` has two banks, `bags.normal` and `bags.abnormal`. Each has `len()`,
`num_features` and `sample(batch_size, generator)`, which gives (B, crops, T, D),
float32 on the device.

Axes in all shapes: B videos, C crops, T snippets, D features. The normal videos of a
batch come first.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from thesislib.errors import InputError
from thesislib.ranges import above, at_least
from thesislib.training.loop import Loop, Step
from thesislib.training.schedule import steps_of

PORTION = 2**25  # numbers of a video that are scored together


@dataclass(frozen=True, kw_only=True)
class MILConfig:
    """Settings of the training, thesis Section 8.4.2; a method adds its own.

    The number of steps is fixed in advance: checkpoints are never chosen by the AUC on
    test videos, as the authors' programs choose them.
    """

    batch_size: int = 32  # videos of each kind in a step
    lr: float = 1e-3  # Adam
    weight_decay: float = 5e-4
    epochs: int = 50  # passes over the kind with more videos
    num_steps: int | None = None  # if given, instead of `epochs`

    def __post_init__(self) -> None:
        at_least(self, 1, "batch_size", "epochs", "num_steps")
        at_least(self, 0, "weight_decay")
        above(self, 0, "lr")


# --- Losses ----------------------------------------------------------------------


def top_k_mean(values: Tensor, k: int) -> Tensor:
    r"""Mean of the k largest, (..., T) to (...); of all where T < k.

    With magnitudes it is $g_{\theta,k}$ of thesis Eq. (8.2), with scores $g_k$ of
    Eq. (9.4).
    """
    return values.topk(min(k, values.shape[-1]), dim=-1).values.mean(dim=-1)


def ranking_loss(abnormal: Tensor, normal: Tensor) -> Tensor:
    r"""Abnormal videos rank above normal ones by a margin of 1, thesis Eq. (9.4).

    $$\max(0, 1 - g_k(\tilde y_i) + g_k(\tilde y_j))$$

    Eq. (9.4) prints $1 - g_k(s_\phi(f_\theta(F_i)) - g_k(\cdot))$, one bracket too
    far; with k = 1 it is Sultani et al. Eq. (6).

    Args:
        abnormal: Scores of videos, in [0, 1]; (B,) for the i-th with the i-th, (B, 1)
            for all pairs.
        normal: (B,).

    Returns:
        Mean over pairs, a scalar in [0, 2].
    """
    return F.relu(1 - abnormal + normal).mean()


def smoothness(scores: Tensor) -> Tensor:
    r"""$\sum_t (\tilde y(t) - \tilde y(t - 1))^2$ of each video, (B, T) to (B,)."""
    return scores.diff(dim=-1).square().sum(dim=-1)


def sparsity(scores: Tensor) -> Tensor:
    r"""$\sum_t |\tilde y(t)|$ of each video, (B, T) to (B,); scores are in [0, 1]."""
    return scores.sum(dim=-1)


def halves(videos: Tensor) -> tuple[Tensor, Tensor]:
    """Normal and abnormal videos of a batch, (2B, ...) to (B, ...) twice."""
    normal, abnormal = videos.chunk(2)
    return normal, abnormal


# --- Layers ----------------------------------------------------------------------


class TemporalConv(nn.Conv1d):
    """Convolution over time that keeps T, (B, C, T); zeros stand beyond the ends.

    Args:
        num_in: Channels that enter.
        num_out: Channels that leave.
        size: Snippets that the kernel looks at.
        dilation: Snippets from one of them to the next.
        causal: Look at past snippets only.
        bias: Add a bias.
        groups: As `nn.Conv1d`; `num_in` is depth-wise.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        size: int = 3,
        *,
        dilation: int = 1,
        causal: bool = False,
        bias: bool = True,
        groups: int = 1,
    ) -> None:
        reach = dilation * (size - 1)
        super().__init__(
            num_in,
            num_out,
            size,
            dilation=dilation,
            padding=0 if causal else reach // 2,
            bias=bias,
            groups=groups,
        )
        self.past = reach if causal else 0

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.past, 0)) if self.past else x)


class SnippetHead(nn.Module):
    """Three layers that map features of snippets to scores in [0, 1].

    ReLU and dropout follow each of the first two; the thesis (Section 8.4.2) says so
    of the last too, where a ReLU would hold every score at 0.5 or above.

    Args:
        num_features: D.
        hidden: Units of the first two layers.
        dropout: Share of units that are dropped in training.
        linear: Leave out the second ReLU, as Sultani et al. do.
    """

    def __init__(
        self,
        num_features: int,
        hidden: tuple[int, int],
        dropout: float,
        *,
        linear: bool = False,
    ) -> None:
        super().__init__()
        first, second = hidden
        self.fc1 = nn.Linear(num_features, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 1)
        self.dropout = dropout
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (...), float32."""
        x = F.dropout(F.relu(self.fc1(x)), self.dropout, self.training)
        x = self.fc2(x)
        x = F.dropout(x if self.linear else F.relu(x), self.dropout, self.training)
        return self.fc3(x).squeeze(-1).float().sigmoid()


def xavier(module: nn.Module) -> None:
    """Xavier-uniform weights and no bias, for `nn.Module.apply`; RTFM's program."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# --- Training --------------------------------------------------------------------


class Batch(NamedTuple):
    """What a step trains on.

    Attributes:
        step: The step.
        optimizer: To update by.
        features: Normal videos, then as many abnormal ones, (2B, C, T, D).
    """

    step: Step
    optimizer: Optimizer
    features: Tensor


def batches(
    model: nn.Module,
    bags,
    config: MILConfig,
    loop: Loop,
    optimizer: Optimizer | None = None,
) -> Iterator[Batch]:
    """Steps of a training of all of `model`.

    Every step draws its videos anew from all there are.

    Args:
        model: Has `num_features`; put into training mode.
        bags: Banks of normal and of abnormal videos.
        config: Settings.
        loop: Resumes, records and stops.
        optimizer: None: Adam.

    Raises:
        InputError: If a bank is empty, or its videos have other features.
    """
    banks = {"normal": bags.normal, "abnormal": bags.abnormal}
    for kind, bank in banks.items():
        if len(bank) == 0:
            raise InputError(f"There is no {kind} training video; one or more must be.")
        if bank.num_features != model.num_features:
            raise InputError(
                f"The {kind} training videos have {bank.num_features} features; the "
                f"network is for {model.num_features}."
            )
    optimizer = optimizer or torch.optim.Adam(
        model.parameters(),
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=True,  # a tenth of a small step
    )
    num_steps = steps_of(config, max(len(bank) for bank in banks.values()))
    model.train()
    for step in loop.steps(num_steps, {"model": model, "optimizer": optimizer}):
        drawn = [b.sample(config.batch_size, step.generator) for b in banks.values()]
        yield Batch(step, optimizer, torch.cat(drawn))


# --- Scores ----------------------------------------------------------------------


@torch.no_grad()
def score_snippets(model: nn.Module, features: Tensor) -> Tensor:
    """Score every snippet of a whole video, the mean over crops.

    Args:
        model: Trained; `model.score` maps (B, T, D) to (B, T).
        features: (C, T, D), of any float type, on any device; T from 1 on.

    Returns:
        (T,), float32 in [0, 1] on the CPU; larger is more abnormal.

    Raises:
        InputError: If the shape is another, or the network is for other features.
    """
    check_video(features, model.num_features)
    model.eval()
    device = next(model.parameters()).device
    num_crops, length, num_features = features.shape
    portion = max(1, PORTION // (length * num_features))
    total = torch.zeros(length, device=device)
    for crops in features.split(portion):
        total += model.score(crops.to(device, torch.float32)).float().sum(dim=0)
    return (total / num_crops).cpu()


def score_videos(model: nn.Module, videos: Iterable[Tensor]) -> Iterator[Tensor]:
    """Scores of each of many videos; see `score_snippets`. None is kept in memory."""
    return (score_snippets(model, features) for features in videos)


def check_video(features: Tensor, num_features: int) -> None:
    """Refuse what is not (C, T, D) of the network's D, with at least one snippet."""
    shape = tuple(features.shape)
    if len(shape) != 3 or 0 in shape or shape[-1] != num_features:
        raise InputError(
            f"The features of a video have shape {shape}; expected (crops, snippets, "
            f"{num_features}) with at least one crop and one snippet."
        )


def renamed(
    weights: Mapping[str, Tensor], names: Mapping[str, str]
) -> dict[str, Tensor]:
    """Weights with the beginnings of their names replaced.

    Args:
        weights: Name -> weight.
        names: Their beginning, up to a dot -> ours.

    Raises:
        InputError: If a name begins with none of them.
    """
    found = {}
    for name, weight in weights.items():
        begin = next((b for b in names if name == b or name.startswith(f"{b}.")), None)
        if begin is None:
            raise InputError(
                f"The weight {name} is none of the authors' program; names begin with "
                f"{', '.join(names)}."
            )
        found[names[begin] + name.removeprefix(begin)] = weight
    return found
