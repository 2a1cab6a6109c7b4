r"""RTFM, thesis chapter 8: robust temporal feature magnitude learning.

Features of snippets go through a network that looks along time; the norm of what
leaves it, the *magnitude*, has to be large where something abnormal happens. The k
snippets of largest magnitude stand for their video and train a snippet classifier.

The text and the authors' program (tianyu0207/RTFM) differ in eight points; see `read`.
Mended here: T below k and any number of crops (the program stops), features of any D
(two layers of the program have 2,048), smoothness within videos (the program's runs on
from one video into the next).

Axes in all shapes: B videos, C crops, T snippets, D features, k selected snippets.
Normal videos come first in a batch of both kinds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.errors import InputError
from thesislib.ranges import above, at_least, within
from thesislib.video import mil
from thesislib.video.mil import MILConfig, score_snippets
from thesislib.video.mtn import CONTEXT, MTN, Past

__all__ = ["RTFM", "RTFMConfig", "Stream", "fit", "read", "score_snippets"]

PRINTED_FEATURES = 2_048  # D that margin and weights are printed for
FEW_FEATURES = 512  # D below which head and dropout are smaller


@dataclass(frozen=True, kw_only=True)
class RTFMConfig(MILConfig):
    """Settings of RTFM; by default those of the authors' program, scaled to D.

    At D = 2,048 the scaled constants are the program's own. With few features they
    have to change: the norm of D batch-normed features grows with the root of D, so
    that a margin of 100 is out of reach, and dropout makes the norm of few features
    noise. `read` gives the readings.
    """

    # Network
    network: Literal["program", "print"] = "program"  # see `MTN`
    pdc: bool = True  # pyramid of dilated convolutions; rows of Table 8.5
    tsa: bool = True  # temporal self-attention
    hidden: tuple[int, int] | None = None  # of the head; None: by D, see `at_size`
    dropout: float | None = None  # in the head and of the features; None: by D
    causal: bool = False  # past snippets only; the outlook of Section 12.1

    # Loss
    loss: Literal["program", "print", "ranking"] = "program"  # ranking: no FM, [211]
    k: int = 3  # snippets that stand for a video
    margin: float = 100.0  # m
    magnitude_weight: float = 1e-4  # of the program's; Eq. (8.1) has none
    scale: bool = True  # margin and weight are for D = 2,048, and scaled to D
    feature_dropout: bool = True  # drop features before magnitudes are taken
    selection_dropout: float = 0.7  # share of snippets that selection passes over
    smooth: float = 8e-4  # weight
    sparse: float = 8e-3  # weight
    sparsity: Literal["norm", "sum"] = "norm"  # L2 of the batch, or sums over T
    across_videos: bool = False  # smoothness runs on from one video into the next

    # Training
    weight_decay: float = 5e-3
    num_steps: int | None = 15_000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "k", "hidden")
        at_least(self, 0, "magnitude_weight", "smooth", "sparse")
        above(self, 0, "margin")
        within(self, "[0, 1)", "dropout", "selection_dropout")


PAPER = RTFMConfig()
SMALL = replace(PAPER, batch_size=16, num_steps=200)  # more steps learn bags by heart


def read(config: RTFMConfig, reading: str) -> RTFMConfig:
    """Settings in one of three readings.

    `scaled`, the default, is the program with its constants scaled to D and its bugs
    mended: its squared loss converges better than Eq. (8.7), its authors say, and
    Eq. (8.1) gives that hinge no weight with which it would act beside Eq. (8.8).
    `code` is the program with its constants whatever D is, and smoothness across
    videos. `thesis` is the text to the letter:

    - Eq. (8.7), of means of norms, with weight 1, in place of the square of
      differences of norms of means;
    - Eq. (8.8) snippet by snippet, in place of the mean score of the k;
    - L1 sparsity and smoothness of each video with Sultani's weights;
    - weight decay 5e-4; 50 passes, not 15,000 steps;
    - attention that is a sum over snippets, not their mean; no batch norm, no ReLU and
      no convolution after the concatenation;
    - no dropout before the head, none in the selection.

    Common to all is the sigmoid with which the head ends; see `mil.SnippetHead`.
    """
    if reading == "scaled":
        return config
    literal = replace(config, scale=False, hidden=(512, 128), dropout=0.7)
    if reading == "code":
        return replace(literal, across_videos=True)
    if reading == "thesis":
        return replace(
            literal,
            network="print",
            loss="print" if config.loss == "program" else config.loss,
            magnitude_weight=1.0,
            feature_dropout=False,
            selection_dropout=0.0,
            smooth=8e-5,
            sparse=8e-5,
            sparsity="sum",
            weight_decay=5e-4,
            num_steps=None,
        )
    raise InputError(f"reading is {reading}; allowed are scaled, thesis and code.")


def at_size(config: RTFMConfig, num_features: int) -> RTFMConfig:
    r"""The same settings with all that depends on D worked out.

    With `scale`, $m = 100 \sqrt{D / 2048}$ and the weight of the squared loss is
    $10^{-4} \cdot 2048 / D$: its size beside the classifier's loss is then the same
    for every D. Below 512 features the head has 128 and 32 units and dropout is 0.5,
    ours: 512 units would be most of the cost.
    """
    few = num_features < FEW_FEATURES
    share = num_features / PRINTED_FEATURES if config.scale else 1.0
    return replace(
        config,
        hidden=config.hidden or ((128, 32) if few else (512, 128)),
        dropout=(0.5 if few else 0.7) if config.dropout is None else config.dropout,
        margin=config.margin * math.sqrt(share),
        magnitude_weight=config.magnitude_weight / share,
        scale=False,
    )


def row(config: RTFMConfig, *, pdc: bool, tsa: bool, fm: bool) -> RTFMConfig:
    """A row of Table 8.5; without all three, the baseline of a 1 x 1 convolution.

    Without feature magnitude learning (FM) the loss is Sultani's ranking of the
    largest scores, with Sultani's regularisers: "the original MIL approach".
    """
    parts = replace(config, pdc=pdc, tsa=tsa)
    if fm:
        return parts
    return replace(parts, loss="ranking", smooth=8e-5, sparse=8e-5, sparsity="sum")


# --- Equations -------------------------------------------------------------------


def magnitude(features: Tensor) -> Tensor:
    r"""$\lVert x_t \rVert_2$, mean over crops, (B, C, T, D) to (B, T)."""
    return features.float().norm(dim=-1).mean(dim=1)


def top_k_magnitude(magnitudes: Tensor, k: int) -> Tensor:
    r"""$g_{\theta,k}(X)$, thesis Eq. (8.2): the largest mean of k norms.

    Args:
        magnitudes: $\lVert x_t \rVert_2$, (..., T).
        k: Size of $\Omega_k$; T where T is smaller.

    Returns:
        (...).
    """
    return mil.top_k_mean(magnitudes, k)


def separability(abnormal: Tensor, normal: Tensor, k: int) -> Tensor:
    r"""$d_{\theta,k}(X^+, X^-)$, thesis Eq. (8.3), of magnitudes (..., T) to (...)."""
    return top_k_magnitude(abnormal, k) - top_k_magnitude(normal, k)


def expected_separability(
    k: int,
    num_abnormal: int,
    mean_abnormal: float,
    mean_normal: float,
    epsilon: float = 0.4,
) -> float:
    r"""$\mathbb{E}[D_{\theta,k}(X^+, X^-)]$, thesis Eqs. (8.4) and (B.1).

    $$p_k^+ \mathbb{E}\lVert x^+ \rVert + p_k^- \mathbb{E}\lVert x^- \rVert
      - \mathbb{E}\lVert x^- \rVert, \quad p_k^+ = \frac{\min(\mu, k)}{k + \epsilon}$$

    with $p_k^- = 1 - p_k^+$, which the text leaves open. The equation takes the mean
    of k snippets for the mean of their kind, where Eq. (8.2) takes the largest. Curves
    that `separability_by_k` measures peak at $\mu$ as Theorem B.1.1 says if the
    magnitudes of normal snippets vary more than those of abnormal ones. If both vary
    alike, they fall from k = 1 on: the largest of few abnormal snippets loses more by
    each further one than the largest of all the normal ones.

    Args:
        k: Selected snippets, from 1 on.
        num_abnormal: $\mu$ of the abnormal video.
        mean_abnormal: $\mathbb{E}\lVert x^+ \rVert$.
        mean_normal: $\mathbb{E}\lVert x^- \rVert$.
        epsilon: 0.4 in Figure 8.1.
    """
    share = min(num_abnormal, k) / (k + epsilon)
    return share * mean_abnormal + (1 - share) * mean_normal - mean_normal


def separability_by_k(abnormal: Tensor, normal: Tensor) -> Tensor:
    """Mean of Eq. (8.3) over pairs of videos, for k = 1 to T.

    Args:
        abnormal: Magnitudes of abnormal videos, (B, T).
        normal: The same of normal videos; another B is fine.

    Returns:
        (T,); at k = T the difference of the mean magnitudes.
    """

    def by_k(magnitudes: Tensor) -> Tensor:
        largest_first = magnitudes.sort(dim=-1, descending=True).values
        counts = torch.arange(1, magnitudes.shape[-1] + 1, device=magnitudes.device)
        return (largest_first.cumsum(dim=-1) / counts).mean(dim=0)

    return by_k(abnormal) - by_k(normal)


def simulated_magnitudes(
    num_videos: int,
    length: int,
    num_abnormal: int,
    abnormal: tuple[float, float],
    normal: tuple[float, float],
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Magnitudes as Theorem B.1.1 supposes them, for `separability_by_k`.

    Args:
        num_videos: B of each kind.
        length: T.
        num_abnormal: Snippets of an abnormal video that are abnormal.
        abnormal: Mean and standard deviation of theirs, Gaussian.
        normal: The same of all other snippets.
        seed: Of the draw.

    Returns:
        Of abnormal videos and of normal ones, (B, T) each.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, num_videos, length, generator=generator)
    means, spreads = (torch.full((length,), value) for value in normal)
    means[:num_abnormal], spreads[:num_abnormal] = abnormal
    return means + spreads * noise[0], normal[0] + normal[1] * noise[1]


def hinge_loss(abnormal: Tensor, normal: Tensor, k: int, margin: float) -> Tensor:
    r"""$\ell_s$, thesis Eq. (8.7), $\max(0, m - d_{\theta,k}(X_i, X_j))$.

    Args:
        abnormal: Magnitudes, (B, T).
        normal: As `abnormal`.
        k: Selected snippets.
        margin: $m$.

    Returns:
        Mean over all pairs of the batch, a scalar.
    """
    largest = top_k_magnitude(abnormal, k)[:, None] - top_k_magnitude(normal, k)
    return F.relu(margin - largest).mean()


def squared_loss(abnormal: Tensor, normal: Tensor, margin: float) -> Tensor:
    r"""What the program minimises in place of Eq. (8.7).

    $$\left(\left| m - \lVert \bar x^+ \rVert \right|
      + \lVert \bar x^- \rVert\right)^2$$

    with means $\bar x$ of the selected features: their norm is below the mean of the
    norms of Eq. (8.2) unless all point one way, and it is drawn to the margin from
    above too.

    Args:
        abnormal: Selected features, (B, C, k, D).
        normal: As `abnormal`; the i-th video with the i-th, crop by crop.
        margin: $m$.

    Returns:
        Mean over videos and crops, a scalar.
    """
    far, near = (x.float().mean(dim=2).norm(dim=-1) for x in (abnormal, normal))
    return ((margin - far).abs() + near).square().mean()


def classifier_loss(scores: Tensor, label: float) -> Tensor:
    r"""$\ell_f$, thesis Eq. (8.8), of one kind of videos.

    $$\sum_{x \in \Omega_k} -(y \log f(x) + (1 - y) \log(1 - f(x)))$$

    Args:
        scores: $f_\phi$ of the selected snippets, (B, k).
        label: $y$ of the videos.

    Returns:
        Mean over videos of sums over k, a scalar in nats.
    """
    labels = torch.full_like(scores, label)
    every = F.binary_cross_entropy(scores, labels, reduction="none")
    return every.sum(dim=-1).mean()


# --- Network ---------------------------------------------------------------------


class Bag(NamedTuple):
    """What the network says of B videos.

    Attributes:
        features: X, in training with features dropped, (B, C, T, D).
        scores: Mean over crops, (B, T), in [0, 1].
        magnitudes: Mean over crops, (B, T).
    """

    features: Tensor
    scores: Tensor
    magnitudes: Tensor


class RTFM(nn.Module):
    r"""$r_{\theta,\phi}(F) = f_\phi(s_\theta(F))$, Figure 8.2.

    Args:
        config: Settings.
        num_features: D of the features.
    """

    def __init__(self, config: RTFMConfig, num_features: int) -> None:
        super().__init__()
        self.config = config = at_size(config, num_features)
        self.num_features = num_features
        self.mtn = MTN(
            num_features,
            pdc=config.pdc,
            tsa=config.tsa,
            printed=config.network == "print",
            causal=config.causal,
        )
        self.head = mil.SnippetHead(num_features, config.hidden, config.dropout)
        self.apply(mil.xavier)

    def forward(self, features: Tensor) -> Bag:
        """Map F, (B, C, T, D), to features, scores and magnitudes."""
        size = features.shape[:2]
        x = self.mtn(features.flatten(0, 1))  # (B C, T, D)
        if self.config.feature_dropout:
            x = F.dropout(x, self.config.dropout, self.training)
        scores = self.head(x).unflatten(0, size).mean(dim=1)
        x = x.unflatten(0, size)
        return Bag(x, scores, magnitude(x))

    def score(self, features: Tensor) -> Tensor:
        """Scores of whole videos, (B, T, D) to (B, T), T from 1 on."""
        return self.head(self.mtn(features))


def from_program(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the names of the authors' program, in ours, for `load_state_dict`.

    For a network of reading `code`; D is 2,048 in theirs, and may be another.
    """
    ours = {
        "Aggregate.conv_1": "mtn.pdc.0",
        "Aggregate.conv_2": "mtn.pdc.1",
        "Aggregate.conv_3": "mtn.pdc.2",
        "Aggregate.conv_4.0": "mtn.tsa.reduce",
        "Aggregate.conv_5": "mtn.fuse",
        "Aggregate.non_local.theta": "mtn.tsa.query",
        "Aggregate.non_local.phi": "mtn.tsa.key",
        "Aggregate.non_local.g": "mtn.tsa.value",
        "Aggregate.non_local.W.0": "mtn.tsa.out",
        "Aggregate.non_local.W.1": "mtn.tsa.norm",
        **{f"fc{i}": f"head.fc{i}" for i in (1, 2, 3)},
    }
    return mil.renamed(weights, ours)


# --- Training --------------------------------------------------------------------


def select(magnitudes: Tensor, k: int, dropout: float = 0.0) -> Tensor:
    r"""Snippets of $\Omega_k$: those of largest magnitude, (B, T) to (B, k).

    Of the program is the dropout of snippets before the k are chosen, for each video
    anew, so that not always the same ones train. All T where T < k.
    """
    kept = F.dropout(torch.ones_like(magnitudes), dropout)
    return (magnitudes * kept).topk(min(k, magnitudes.shape[-1]), dim=-1).indices


def losses(bag: Bag, config: RTFMConfig) -> dict[str, Tensor]:
    r"""Terms of thesis Eq. (8.1), without their weights.

    Args:
        bag: Of B normal videos, then B abnormal ones.
        config: Settings that `at_size` worked out.

    Returns:
        `cls`, $\ell_f$, and `mag`, $\ell_s$, of the selected snippets, or `rank` of
        the largest scores; `smooth` and `sparse` of the abnormal videos.
    """
    abnormal_scores = mil.halves(bag.scores)[1]
    return {
        **(_ranked(bag) if config.loss == "ranking" else _selected(bag, config)),
        "smooth": _smooth(abnormal_scores, config),
        "sparse": _sparse(abnormal_scores, config),
    }


def total_loss(terms: Mapping[str, Tensor], config: RTFMConfig) -> Tensor:
    r"""Thesis Eq. (8.1), $\ell_s + \ell_f$, and the regularisers below Eq. (8.8).

    Means over the videos and pairs of a batch stand for the sums over all of them.
    """
    weights = {
        "mag": config.magnitude_weight,
        "smooth": config.smooth,
        "sparse": config.sparse,
    }
    return sum(weights.get(name, 1.0) * term for name, term in terms.items())


def _ranked(bag: Bag) -> dict[str, Tensor]:
    normal, abnormal = mil.halves(bag.scores.amax(dim=-1))
    return {"rank": mil.ranking_loss(abnormal[:, None], normal)}


def _selected(bag: Bag, config: RTFMConfig) -> dict[str, Tensor]:
    chosen = select(bag.magnitudes.detach(), config.k, config.selection_dropout)
    scores = mil.halves(bag.scores.gather(1, chosen))  # (B, k)
    if config.loss == "print":
        magnitudes = mil.halves(bag.magnitudes)
        mag = hinge_loss(magnitudes[1], magnitudes[0], config.k, config.margin)
    else:
        scores = [x.mean(dim=-1, keepdim=True) for x in scores]
        where = chosen[:, None, :, None].expand(
            -1, bag.features.shape[1], -1, bag.features.shape[-1]
        )
        normal, abnormal = mil.halves(bag.features.gather(2, where))
        mag = squared_loss(abnormal, normal, config.margin)
    cls = [classifier_loss(x, label) for label, x in enumerate(scores)]
    return {"cls": sum(cls) / 2, "mag": mag}


def _smooth(scores: Tensor, config: RTFMConfig) -> Tensor:
    """Sum over the batch, or with sums over T the mean over videos."""
    if config.across_videos:
        return mil.smoothness(scores.flatten())
    every = mil.smoothness(scores)
    return every.mean() if config.sparsity == "sum" else every.sum()


def _sparse(scores: Tensor, config: RTFMConfig) -> Tensor:
    return mil.sparsity(scores).mean() if config.sparsity == "sum" else scores.norm()


def fit(model: RTFM, bags, config: RTFMConfig, loop) -> RTFM:
    """Train on bags of both kinds.

    Args:
        model: As its constructor made it.
        bags: See `video.mil`.
        config: Settings that the model was made with.
        loop: A `training.loop.Loop`; records the terms, resumes after a kill.

    Returns:
        The model in eval mode.

    Raises:
        InputError: If the bags do not fit the model.
    """
    config = at_size(config, model.num_features)
    for step, optimizer, features in mil.batches(model, bags, config, loop):
        with step.autocast():
            bag = model(features)
        terms = losses(bag, config)
        step.update(total_loss(terms, config), optimizer)
        step.log(terms)
    return model.eval()


# --- Scores ----------------------------------------------------------------------


@torch.no_grad()
def snippet_magnitudes(model: RTFM, features: Tensor) -> Tensor:
    """Magnitudes of a video's snippets, Figure 8.4, (C, T, D) to (T,), on the CPU."""
    mil.check_video(features, model.num_features)
    model.eval()
    device = next(model.parameters()).device
    crops = (model.mtn(x[None].to(device, torch.float32)) for x in features)
    return torch.stack([x.norm(dim=-1)[0] for x in crops]).mean(dim=0).cpu()


class Stream:
    """Scores of one causal model as snippets arrive, and never more memory.

    Pushed one by one or in chunks, snippets score as `score_snippets` would score them
    all at once: attention carries a sum, convolutions the last ten snippets.

    Args:
        model: Trained, with `causal` set.

    Raises:
        InputError: If the model looks ahead.
    """

    def __init__(self, model: RTFM) -> None:
        if not model.config.causal:
            raise InputError(
                "A stream needs a causal model; this one was trained with causal False."
            )
        self.model = model.eval()
        self._recent: Tensor | None = None  # (C, up to CONTEXT, D)
        self._past: Past | None = None  # what lies before them

    @torch.no_grad()
    def push(self, features: Tensor) -> Tensor:
        """Scores of the snippets that follow, (C, t, D) to (t,), on the CPU."""
        mil.check_video(features, self.model.num_features)
        new = features.to(next(self.model.parameters()).device, torch.float32)
        known = new if self._recent is None else torch.cat([self._recent, new], dim=1)
        x = self.model.mtn(known, self._past)[:, -new.shape[1] :]
        leaving, self._recent = known[:, :-CONTEXT], known[:, -CONTEXT:]
        if self.model.mtn.tsa is not None and leaving.shape[1]:
            self._past = self.model.mtn.tsa.extend(self._past, leaving.mT)
        return self.model.head(x).mean(dim=0).cpu()

    def scores(self, chunks: Iterable[Tensor]) -> Iterable[Tensor]:
        """Scores of each of many chunks that follow each other."""
        return (self.push(chunk) for chunk in chunks)
