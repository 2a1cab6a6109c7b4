r"""CTMIL, thesis chapter 9: contrastive transformer-based multiple instance learning.

A transformer whose projections are convolutions along time looks at all snippets of a
video and at a class token. A head scores snippets, another the video by its class
token. Hard snippets, mined in the scores, are drawn to the easy ones of their kind.

Text and authors' program (tianyu0207/weakly-polyp) differ: see `read`. Bugs of the
program that are mended in every reading:

- its loader never shuffles, so that of 61 normal videos the first 32 train for ever;
- its search for missed snippets leaves out the last window of a video;
- where no hard snippet is found it trains on arbitrary ones.

Axes in all shapes: B videos, C crops, T snippets, D features, W features of a token.
Normal videos come first in a batch of both kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thesislib.errors import InputError
from thesislib.ranges import above, at_least, within
from thesislib.video import mil
from thesislib.video.mil import MILConfig, TemporalConv, score_snippets
from thesislib.video.mining import Mined, mine

__all__ = ["CTMIL", "CTMILConfig", "fit", "read", "score_snippets"]

MLP_RATIO = 4  # hidden units of a block's perceptron to features of a token; program
INIT_STD = 0.02  # of linear layers and class token; program


@dataclass(frozen=True, kw_only=True)
class CTMILConfig(MILConfig):
    """Settings of CTMIL, thesis Section 9.3.2 unless another source is named."""

    # Network
    encoder: bool = True  # CTE of Table 9.2; without it a linear network
    tokens: Literal["snippets", "channels"] = "snippets"  # Figure 9.1; program
    width: int = 512  # W; ours: 2,048 would make 0.6 billion weights
    depth: int = 12  # blocks
    num_heads: int = 8
    hidden: tuple[int, int] = (512, 128)  # of the head; program
    dropout: float = 0.7  # in the head; program
    window: int = 32  # snippets that are looked at together, T of training
    causal: bool = False  # past snippets only; the outlook of Section 12.1

    # Loss
    k: int = 3  # snippets that stand for a video in Eq. (9.4)
    pairs: Literal["matched", "all"] = "matched"  # of Eq. (9.4): program, print
    video: bool = True  # video classifier, Eq. (9.3); rows of Table 9.2
    smooth: float = 8e-5  # alpha of Eq. (9.2); program
    sparse: float = 8e-5  # beta; program
    regularised: Literal["program", "print"] = "program"  # see `regularisers`
    contrast: bool = True  # Eq. (9.5)
    contrast_weight: float = 0.25  # program; Eq. (9.1) has none
    temperature: float = 0.07  # tau of Eq. (9.6); program
    unit_length: bool = True  # of features in Eq. (9.6); program
    averaged: bool = True  # mean of a set in place of its snippets, Eq. (9.6); program
    negatives: Literal["paired", "batch"] = "paired"  # the i-th video's, or all

    # Mining, Figure 9.2
    epsilon: float | None = None  # threshold of scores; None: the video's median
    edges: tuple[int, int] = (2, 4)  # erosions whose difference is taken; program
    region: int = 10  # K snippets; program
    majority: int = 8  # R: more than so many of K are abnormal; program
    num_easy: int = 4  # snippets in EA and EN; program
    num_hard: int = 2  # snippets in HN; program
    num_hard_abnormal: int | None = 2  # in HA, of highest score; None: all of them
    ranking_dropout: float = 0.6  # snippets passed over in EA, EN and HN; program

    # Training
    weight_decay: float = 5e-3  # program
    num_steps: int | None = 200  # the program's 200 "epochs" are steps

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "width", "depth", "num_heads", "hidden", "window", "k")
        at_least(self, 1, "edges", "region", "num_easy", "num_hard")
        at_least(self, 1, "num_hard_abnormal")
        at_least(self, 0, "smooth", "sparse", "contrast_weight", "majority")
        above(self, 0, "temperature")
        within(self, "[0, 1)", "dropout", "ranking_dropout")


PAPER = CTMILConfig()
SMALL = replace(  # for D < 512; chosen on made features
    PAPER,
    width=32,
    depth=2,
    num_heads=4,
    hidden=(128, 32),
    dropout=0.3,
    batch_size=16,
    lr=3e-4,
)


def read(config: CTMILConfig, reading: str) -> CTMILConfig:
    """Settings in one of three readings.

    `fixed`, the default, has the text's network, whose tokens are snippets, and the
    program's losses, whose weights and sets are known. `code` has the program's
    network of six blocks, in which each of the D features is a token of 32 numbers in
    time. `thesis` is the text to the letter:

    - Eq. (9.2) over all videos, over T, with alpha = beta = 5e-4;
    - Eq. (9.4) over all pairs;
    - Eq. (9.6) snippet by snippet, of features of any length, with weight 1 and the
      minus sign that is missing in print; negatives from the whole batch;
    - hard abnormal snippets are all that are found: edges are what one erosion takes
      away, the threshold is 0.5 (no epsilon is printed), every set of normal or easy
      snippets has k = 3;
    - weight decay 5e-4; 200 passes, not 200 steps.
    """
    if reading == "fixed":
        return config
    if reading == "code":
        return replace(
            config,
            tokens="channels",
            width=config.window,
            depth=6 if config.depth == PAPER.depth else config.depth,
            num_heads=8,
            hidden=(512, 128),
            dropout=0.7,
        )
    if reading == "thesis":
        return replace(
            config,
            pairs="all",
            smooth=5e-4,
            sparse=5e-4,
            regularised="print",
            contrast_weight=1.0,
            unit_length=False,
            averaged=False,
            negatives="batch",
            epsilon=0.5,
            edges=(1, 3),
            num_easy=3,
            num_hard=3,
            num_hard_abnormal=None,
            ranking_dropout=0.0,
            weight_decay=5e-4,
            epochs=200,
            num_steps=None,
        )
    raise InputError(f"reading is {reading}; allowed are fixed, thesis and code.")


# --- Network ---------------------------------------------------------------------


class Projection(nn.Module):
    """Depth-wise separable convolution in place of a linear projection, Figure 9.1b.

    A convolution along the tokens, one kernel of three a feature, batch norm, and a
    linear layer. The class token has no neighbours and goes to the linear layer alone.

    Args:
        width: W.
        stride: Tokens from one that leaves to the next.
        causal: Convolve past tokens only.
    """

    def __init__(self, width: int, *, stride: int = 1, causal: bool = False) -> None:
        super().__init__()
        self.conv = TemporalConv(width, width, causal=causal, bias=False, groups=width)
        self.conv.stride = (stride,)
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1 + T, W), the class token first, to (B, 1 + T', W)."""
        local = self.norm(self.conv(x[:, 1:].mT)).mT
        return self.linear(torch.cat([x[:, :1], local], dim=1))


class Block(nn.Module):
    """Convolutional transformer block: attention and perceptron, each normed before.

    Args:
        width: W.
        num_heads: Heads.
        causal: A snippet attends to itself and past ones, and not to the class token,
            which attends to all.
        program: As the authors' program: keys and values of every second token, and
            products over the root of W, not of a head's share of it.

    Raises:
        InputError: If the heads do not divide W.
    """

    def __init__(
        self, width: int, num_heads: int, *, causal: bool, program: bool
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise InputError(f"width is {width}; {num_heads} heads must divide it.")
        stride = 2 if program else 1
        self.num_heads, self.causal = num_heads, causal
        self.scale = (width if program else width // num_heads) ** -0.5
        self.norm1 = nn.LayerNorm(width)
        self.query = Projection(width, causal=causal)
        self.key = Projection(width, stride=stride, causal=causal)
        self.value = Projection(width, stride=stride, causal=causal)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1 + T, W), the class token first, to the same shape."""
        x = x + self.attend(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def attend(self, x: Tensor) -> Tensor:
        """Attention over the tokens, as `forward`."""
        projections = (self.query, self.key, self.value)
        q, k, v = (
            projection(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in projections
        )  # (B, heads, tokens, W / heads)
        mask = _past_only(x.shape[1], x.device) if self.causal else None
        found = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
        return self.out(found.transpose(1, 2).flatten(2))


def _past_only(num_tokens: int, device: torch.device) -> Tensor:
    """Who may attend to whom, (tokens, tokens); the class token is the first."""
    allowed = torch.ones(num_tokens, num_tokens, device=device).tril().bool()
    allowed[1:, 0] = False
    allowed[0] = True
    return allowed


class Encoder(nn.Module):
    r"""Convolutional transformer encoder (CTE) $f_\theta$, Figure 9.1a.

    Args:
        num_features: D.
        config: Settings.

    Raises:
        InputError: If channels are tokens and the encoder is to be causal.
    """

    def __init__(self, num_features: int, config: CTMILConfig) -> None:
        super().__init__()
        program = config.tokens == "channels"
        if program and config.causal:
            raise InputError(
                "tokens is channels, each of which holds all snippets; a causal "
                "encoder has snippets for tokens."
            )
        self.channels = program
        self.num_out = num_features if program else config.width
        self.embed = TemporalConv(num_features, self.num_out, causal=config.causal)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, causal=config.causal, program=program)
            for _ in range(config.depth)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map F, (B, T, D), to X, (B, T, W or D), and the class token, (B, W)."""
        x = self.embed(features.mT)  # (B, channels, T)
        x = x if self.channels else x.mT
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        token, x = x[:, 0], x[:, 1:]
        return (x.mT if self.channels else x), token


class Bag(NamedTuple):
    """What the network says of B videos; means over crops.

    Attributes:
        features: X, (B, T, W).
        scores: $\\tilde y$, (B, T), in [0, 1].
        videos: $v_\\gamma$, (B,), in [0, 1]; None without an encoder.
    """

    features: Tensor
    scores: Tensor
    videos: Tensor | None


class CTMIL(nn.Module):
    r"""$r_{\theta,\phi}(F) = s_\phi(f_\theta(F))$ and a video classifier, Figure 9.1.

    Args:
        config: Settings.
        num_features: D of the features.

    Raises:
        InputError: If the settings do not go together.
    """

    def __init__(self, config: CTMILConfig, num_features: int) -> None:
        super().__init__()
        if not config.encoder and (config.video or config.contrast):
            raise InputError(
                "encoder is False; video and contrast need it and must be False too."
            )
        if config.tokens == "channels" and config.width != config.window:
            raise InputError(
                f"width is {config.width}; with channels for tokens it must be the "
                f"window, {config.window} snippets."
            )
        self.config, self.num_features = config, num_features
        self.encoder = Encoder(num_features, config) if config.encoder else None
        num_in = self.encoder.num_out if self.encoder else num_features
        self.head = mil.SnippetHead(num_in, config.hidden, config.dropout)
        self.video = nn.Linear(config.width, 1) if config.video else None
        self.apply(_initialise)
        if self.encoder:
            nn.init.trunc_normal_(self.encoder.class_token, std=INIT_STD)

    def forward(self, features: Tensor) -> Bag:
        """Map F, (B, C, T, D), to features, scores and video scores.

        Raises:
            InputError: If channels are tokens and T is not the window.
        """
        x = features.flatten(0, 1)
        size, videos = features.shape[:2], None
        if self.encoder:
            if self.config.tokens == "channels" and x.shape[1] != self.config.window:
                raise InputError(
                    f"A video has {x.shape[1]} segments; with channels for tokens it "
                    f"must have {self.config.window}."
                )
            x, token = self.encoder(x)
        if self.video is not None:
            logits = self.video(token).squeeze(-1).float()
            videos = logits.sigmoid().unflatten(0, size).mean(dim=1)
        scores = self.head(x).unflatten(0, size).mean(dim=1)
        return Bag(x.float().unflatten(0, size).mean(dim=1), scores, videos)

    def score(self, features: Tensor) -> Tensor:
        """Scores of whole videos, (B, T, D) to (B, T), T from 1 on.

        Windows of as many snippets as training had, one after the other, the last one
        filled up with the last snippet, as the program has it. A causal network would
        know no past at the start of each: its windows overlap by half, and the second
        half counts.
        """
        if not self.encoder:
            return self.head(features)
        batch, length, _ = features.shape
        size = self.config.window
        stride = max(1, size // 2) if self.config.causal else size
        count = 1 + max(0, -(-(length - size) // stride))
        padding = size + (count - 1) * stride - length
        filled = torch.cat([features, features[:, -1:].expand(-1, padding, -1)], dim=1)
        windows = filled.unfold(1, size, stride).mT.flatten(0, 1)  # (B count, size, D)
        every = [self.head(self.encoder(part)[0]) for part in windows.split(256)]
        scores = torch.cat(every).unflatten(0, (batch, count))
        first, others = scores[:, 0], scores[:, 1:, size - stride :].flatten(1)
        return torch.cat([first, others], dim=1)[:, :length]


def _initialise(module: nn.Module) -> None:
    """Truncated normal weights and no bias of linear layers, as the program."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)


def from_program(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the names of the authors' program, in ours, for `load_state_dict`.

    For a network of reading `code`; D is 2,048 in theirs, and may be another.
    """
    depth = 1 + max(
        (int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        default=-1,
    )
    ours = {
        "patch_embed.proj": "encoder.embed",
        "cls_token": "encoder.class_token",
        "cls_head": "video",
        **{f"fc{i}": f"head.fc{i}" for i in (1, 2, 3)},
    }
    for i in range(depth):
        theirs, own = f"blocks.{i}", f"encoder.blocks.{i}"
        ours |= {f"{theirs}.norm{n}": f"{own}.norm{n}" for n in (1, 2)}
        ours |= {f"{theirs}.mlp.fc{n}": f"{own}.fc{n}" for n in (1, 2)}
        ours[f"{theirs}.attn.proj"] = f"{own}.out"
        for letter, name in (("q", "query"), ("k", "key"), ("v", "value")):
            ours[f"{theirs}.attn.proj_{letter}"] = f"{own}.{name}.linear"
            convolved = f"{theirs}.attn.conv_proj_{letter}"
            ours[f"{convolved}.conv"] = f"{own}.{name}.conv"
            ours[f"{convolved}.bn"] = f"{own}.{name}.norm"
    return mil.renamed(weights, ours)


# --- Equations -------------------------------------------------------------------


def snippet_loss(scores: Tensor, config: CTMILConfig) -> Tensor:
    r"""$\ell_{snp}$, thesis Eq. (9.4): the mean of k scores ranks videos.

    Args:
        scores: Of B normal videos, then B abnormal ones, (2B, T).
        config: Settings; `pairs` says which.
    """
    normal, abnormal = mil.halves(mil.top_k_mean(scores, config.k))
    return mil.ranking_loss(
        abnormal[:, None] if config.pairs == "all" else abnormal, normal
    )


def video_loss(videos: Tensor) -> Tensor:
    r"""$\ell_{vid}$, thesis Eq. (9.3): cross-entropy of video scores.

    Args:
        videos: $v_\gamma$ of B normal videos, then B abnormal ones, (2B,).

    Returns:
        Mean over videos, a scalar in nats.
    """
    labels = torch.zeros_like(videos)
    labels[len(videos) // 2 :] = 1
    return F.binary_cross_entropy(videos, labels)


def regularisers(scores: Tensor, config: CTMILConfig) -> dict[str, Tensor]:
    r"""Both terms of $\ell_{reg}$, thesis Eq. (9.2), without $\alpha$ and $\beta$.

    In print means over T, of all videos. The program sums squares over T, takes the L2
    norm of a video's scores for sparsity, and regularises abnormal videos alone.

    Args:
        scores: Of B normal videos, then B abnormal ones, (2B, T).
        config: Settings.

    Returns:
        `smooth` and `sparse`, means over videos.
    """
    if config.regularised == "print":
        length = scores.shape[-1]
        smooth, sparse = mil.smoothness(scores) / length, mil.sparsity(scores) / length
    else:
        abnormal = mil.halves(scores)[1]
        smooth, sparse = mil.smoothness(abnormal), abnormal.norm(dim=-1)
    return {"smooth": smooth.mean(), "sparse": sparse.mean()}


def contrastive_loss(
    hard: Tensor,
    valid: Tensor,
    easy: Tensor,
    negatives: Tensor,
    config: CTMILConfig,
) -> Tensor:
    r"""$\ell_c$, thesis Eq. (9.6), with the minus sign that print leaves out.

    $$-\log \frac{\exp(x_i^\top x_j / \tau)}
      {\exp(x_i^\top x_j / \tau) + \sum_m \exp(x_i^\top x_m / \tau)}$$

    Args:
        hard: $x_i$, hard snippets of B videos, (B, n, W).
        valid: Which of them count, (B, n), bool.
        easy: $x_j$, easy snippets of the same videos, (B, e, W).
        negatives: $x_m$, easy snippets of the other kind, (B, e, W): for the i-th
            video the i-th's, or all of them.
        config: Settings; with `averaged` the mean of a set stands for its snippets.

    Returns:
        Mean over hard and easy snippets, a scalar in nats; 0 if none is hard.
    """
    weight = valid.to(hard.dtype)
    if config.averaged:
        total = weight.sum(dim=1, keepdim=True)  # (B, 1)
        hard = (hard * weight[..., None]).sum(dim=1, keepdim=True)
        hard = hard / total.clamp_min(1)[..., None]
        easy = easy.mean(dim=1, keepdim=True)
        weight = (total > 0).to(hard.dtype)
    if config.unit_length:
        hard, easy, negatives = (
            F.normalize(x, dim=-1) for x in (hard, easy, negatives)
        )
    positive = torch.einsum("bnw,bew->bne", hard, easy) / config.temperature
    if config.negatives == "batch":
        against = torch.einsum("bnw,cmw->bncm", hard, negatives).flatten(2)
    else:
        against = torch.einsum("bnw,bmw->bnm", hard, negatives)
    against = (against / config.temperature).logsumexp(dim=-1)  # (B, n)
    cost = F.softplus(against[..., None] - positive).mean(dim=-1)
    return (cost * weight).sum() / weight.sum().clamp_min(1)


def contrast(bag: Bag, mined: Mined, config: CTMILConfig) -> Tensor:
    r"""$\ell_{cnt}$, thesis Eq. (9.5), a scalar in nats."""
    normal, abnormal = mil.halves(bag.features)
    easy_abnormal = mined.easy_abnormal.of(abnormal)
    easy_normal = mined.easy_normal.of(normal)
    of_abnormal = contrastive_loss(
        mined.hard_abnormal.of(abnormal),
        mined.hard_abnormal.valid,
        easy_abnormal,
        easy_normal,
        config,
    )
    of_normal = contrastive_loss(
        mined.hard_normal.of(normal),
        mined.hard_normal.valid,
        easy_normal,
        easy_abnormal,
        config,
    )
    return of_abnormal + of_normal


def losses(bag: Bag, config: CTMILConfig) -> dict[str, Tensor]:
    """Terms of thesis Eq. (9.1), without their weights.

    Args:
        bag: Of B normal videos, then B abnormal ones.
        config: Settings.

    Returns:
        `snp`, `smooth`, `sparse`, and `vid` and `cnt` where they are asked for.
    """
    terms = {"snp": snippet_loss(bag.scores, config)}
    terms |= regularisers(bag.scores, config)
    if config.video:
        terms["vid"] = video_loss(bag.videos)
    if config.contrast:
        terms["cnt"] = contrast(bag, mine(bag.scores.detach(), config), config)
    return terms


def total_loss(terms: Mapping[str, Tensor], config: CTMILConfig) -> Tensor:
    r"""Thesis Eq. (9.1), $\ell_{cnt} + \ell_{snp} + \ell_{vid} + \ell_{reg}$."""
    weights = {
        "cnt": config.contrast_weight,
        "smooth": config.smooth,
        "sparse": config.sparse,
    }
    return sum(weights.get(name, 1.0) * term for name, term in terms.items())


def fit(model: CTMIL, bags, config: CTMILConfig, loop) -> CTMIL:
    """Train on bags of both kinds; see `rtfm.fit`."""
    for step, optimizer, features in mil.batches(model, bags, config, loop):
        with step.autocast():
            bag = model(features)
        terms = losses(bag, config)
        step.update(total_loss(terms, config), optimizer)
        step.log(terms)
    return model.eval()
