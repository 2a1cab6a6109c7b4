import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.detectors.trained import check_resuming, loop_in, without_gradient
from tests.video.toy import auc_of, bags, noise, shaken, videos
from thesislib.errors import InputError
from thesislib.video import ctmil, mil, mining
from thesislib.video.ctmil import CTMIL, CTMILConfig, read

TINY = replace(
    ctmil.SMALL,
    width=8,
    depth=1,
    num_heads=2,
    hidden=(16, 8),
    dropout=0.1,
    batch_size=8,
    num_steps=6,
)
PRINT = read(TINY, "thesis")
LINEAR = replace(TINY, encoder=False, video=False, contrast=False)
CHANNELS = replace(read(TINY, "code"), depth=1, hidden=(16, 8))


def model_of(config=TINY, num_features=8):
    torch.manual_seed(0)
    return CTMIL(config, num_features)


# --- Equations ---------------------------------------------------------------------


def slow_contrast(hard, easy, negatives, tau):
    """Eq. (9.6) of single snippets, with its minus sign."""
    cost = []
    for i, j in itertools.product(range(len(hard)), range(len(easy))):
        top = math.exp(hard[i] @ easy[j] / tau)
        under = sum(math.exp(hard[i] @ m / tau) for m in negatives)
        cost.append(-math.log(top / (top + under)))
    return sum(cost) / len(cost)


def test_contrast_in_print_is_eq_9_6_over_all_snippets():
    config = replace(PRINT, temperature=2.0)
    hard, easy, negatives = (noise(2, n, 4, seed=n) for n in (3, 5, 6))
    valid = torch.tensor([[True, True, False], [True, False, False]])
    every = negatives.flatten(0, 1)
    first, second = (
        slow_contrast(hard[b][valid[b]], easy[b], every, 2.0) for b in (0, 1)
    )

    found = ctmil.contrastive_loss(hard, valid, easy, negatives, config)
    assert found.item() == pytest.approx((2 * first + second) / 3, rel=1e-5)


def test_contrast_in_the_program_is_of_means_against_the_paired_video():
    hard, easy, negatives = (noise(2, n, 4, seed=n) for n in (2, 5, 6))
    valid = torch.ones(2, 2, dtype=torch.bool)
    unit = [
        F.normalize(x, dim=-1) for x in (hard.mean(dim=1), easy.mean(dim=1), negatives)
    ]
    slow = [
        slow_contrast(q[None], k[None], n, 0.07) for q, k, n in zip(*unit, strict=True)
    ]

    found = ctmil.contrastive_loss(hard, valid, easy, negatives, TINY)
    assert found.item() == pytest.approx(sum(slow) / 2, rel=1e-4)


@pytest.mark.parametrize("config", [TINY, PRINT])
def test_indistinct_snippets_cost_the_log_of_their_number(config):
    """One easy snippet and six negatives for each; twelve with the whole batch's."""
    ones, valid = torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    count = 13 if config.negatives == "batch" else 7

    found = ctmil.contrastive_loss(ones, valid, ones, torch.ones(2, 6, 4), config)
    assert found.item() == pytest.approx(math.log(count), rel=1e-5)


def test_negatives_of_the_whole_batch_are_an_option():
    hard, easy, negatives = (noise(3, n, 4, seed=n) for n in (2, 4, 4))
    valid = torch.ones(3, 2, dtype=torch.bool)
    paired, batch = (
        ctmil.contrastive_loss(
            hard, valid, easy, negatives, replace(TINY, negatives=name)
        )
        for name in ("paired", "batch")
    )
    alone = ctmil.contrastive_loss(
        hard[:1], valid[:1], easy[:1], negatives.reshape(1, 12, 4), TINY
    )
    first = ctmil.contrastive_loss(
        hard[:1],
        valid[:1],
        easy[:1],
        negatives,
        replace(TINY, negatives="batch"),
    )

    assert batch > paired
    torch.testing.assert_close(first, alone)


@pytest.mark.parametrize("config", [TINY, PRINT])
def test_an_empty_set_of_hard_snippets_leaves_its_video_out(config):
    """The program trains on arbitrary snippets then."""
    x, easy, negatives = (noise(2, 3, 4, seed=n) for n in range(3))
    config = replace(config, negatives="paired")
    hard = x.clone().requires_grad_()
    half = torch.tensor([[True] * 3, [False] * 3])
    both = ctmil.contrastive_loss(hard, half, easy, negatives, config)
    alone = ctmil.contrastive_loss(x[:1], half[:1], easy[:1], negatives[:1], config)
    none = ctmil.contrastive_loss(hard, half & False, easy, negatives, config)
    (gradient,) = torch.autograd.grad(both + none, hard)

    torch.testing.assert_close(both, alone)
    assert none == 0
    assert gradient[0].abs().max() > 0 and gradient[1].abs().max() == 0


def test_a_batch_without_hard_snippets_has_the_other_term_alone():
    scores = torch.full((4, 32), 0.2)
    bag = ctmil.Bag(noise(4, 32, 8), scores, None)
    config = replace(TINY, epsilon=0.5, ranking_dropout=0.0)
    mined = mining.mine(scores, config)
    found = ctmil.contrast(bag, mined, config)
    normal, abnormal = mil.halves(bag.features)
    expected = ctmil.contrastive_loss(
        mined.hard_normal.of(normal),
        mined.hard_normal.valid,
        mined.easy_normal.of(normal),
        mined.easy_abnormal.of(abnormal),
        config,
    )

    assert not mined.hard_abnormal.valid.any()
    torch.testing.assert_close(found, expected)


def test_ranking_pairs_are_matched_in_the_program_and_all_in_print():
    scores = torch.rand(8, 32)
    best = scores.topk(3, dim=1).values.mean(dim=1).tolist()
    cost = {
        (i, j): max(0, 1 - best[4 + i] + best[j])
        for i, j in itertools.product(range(4), range(4))
    }

    matched = sum(cost[i, i] for i in range(4)) / 4
    assert ctmil.snippet_loss(scores, TINY).item() == pytest.approx(matched)
    every = sum(cost.values()) / 16
    assert ctmil.snippet_loss(scores, PRINT).item() == pytest.approx(every)


def test_a_video_classifier_that_knows_nothing_costs_log_2():
    half = torch.full((6,), 0.5)
    sure = torch.tensor([0.1, 0.1, 0.9, 0.9])

    assert ctmil.video_loss(half).item() == pytest.approx(math.log(2))
    assert ctmil.video_loss(sure).item() == pytest.approx(-math.log(0.9))


def test_regularisers_of_all_videos_in_print_and_of_abnormal_ones_in_the_program():
    scores = torch.zeros(2, 5)
    scores[0] = 0.5  # normal
    scores[1] = torch.tensor([0, 0.6, 0.8, 0, 0])
    squares = 0.36 + 0.04 + 0.64
    printed = ctmil.regularisers(scores, PRINT)
    program = ctmil.regularisers(scores, TINY)

    assert printed["smooth"].item() == pytest.approx(squares / 5 / 2)
    assert printed["sparse"].item() == pytest.approx((0.5 + 1.4 / 5) / 2)
    assert program["smooth"].item() == pytest.approx(squares)
    assert program["sparse"].item() == pytest.approx(1.0)


def test_the_total_is_eq_9_1_with_the_weights_of_its_reading():
    terms = {
        name: torch.tensor(float(10**n))
        for n, name in enumerate(("snp", "vid", "cnt", "smooth", "sparse"))
    }
    rest = 8e-5 * (1e3 + 1e4)

    assert ctmil.total_loss(terms, TINY).item() == pytest.approx(11 + 25 + rest)
    rest = 5e-4 * (1e3 + 1e4)
    assert ctmil.total_loss(terms, PRINT).item() == pytest.approx(111 + rest)


# --- Network -----------------------------------------------------------------------


def slow_block(block, x, causal):
    """One block token by token, (tokens, W), the class token first; strides of 1."""

    def project(projection, y):
        kernel = projection.conv.weight[:, 0]  # (W, 3)
        local = torch.zeros_like(y[1:])
        for t, w in itertools.product(range(len(local)), range(3)):
            s = t + w - (2 if causal else 1)
            if 0 <= s < len(local):
                local[t] += kernel[:, w] * y[1 + s]
        return projection.linear(torch.cat([y[:1], projection.norm(local)]))

    y = block.norm1(x)
    q, k, v = (project(p, y) for p in (block.query, block.key, block.value))
    share = x.shape[1] // block.num_heads
    attended = torch.zeros_like(x)
    for head, i in itertools.product(range(block.num_heads), range(len(x))):
        part = slice(head * share, (head + 1) * share)
        seen = list(range(len(x)))
        if causal and i > 0:
            seen = list(range(1, i + 1))
        logits = torch.stack([q[i, part] @ k[j, part] for j in seen])
        weights = (logits / math.sqrt(share)).softmax(dim=0)
        attended[i, part] = sum(
            w * v[j, part] for w, j in zip(weights, seen, strict=True)
        )
    x = x + block.out(attended)
    return x + block.fc2(F.gelu(block.fc1(block.norm2(x))))


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_is_convolved_attention_and_a_perceptron(causal):
    block = ctmil.Block(8, 2, causal=causal, program=False)
    block, x = shaken(block).eval(), noise(10, 8)

    torch.testing.assert_close(
        block(x[None])[0], slow_block(block, x, causal), atol=1e-5, rtol=1e-4
    )


def test_the_linear_network_of_table_9_2_sees_snippets_one_by_one():
    order, video = torch.randperm(32), videos(1)[0]
    for config in (LINEAR, TINY):
        model = shaken(model_of(config))
        scores = mil.score_snippets(model, video)
        moved = mil.score_snippets(model, video[:, order])
        assert torch.allclose(moved, scores[order], atol=1e-5) == (config is LINEAR)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="encoder is False"):
        model_of(replace(TINY, encoder=False))
    with pytest.raises(InputError, match="2 heads must divide"):
        model_of(replace(TINY, width=9))
    with pytest.raises(InputError, match="must be the window, 32"):
        model_of(replace(CHANNELS, width=16))
    with pytest.raises(InputError, match="causal encoder has snippets"):
        model_of(replace(CHANNELS, causal=True))
    with pytest.raises(InputError, match="has 31 segments"):
        model_of(CHANNELS)(videos(2, length=31))
    with pytest.raises(InputError, match="region is 0"):
        CTMILConfig(region=0)


# --- Parity with the authors' program ------------------------------------------------


def authors_weights(num_features, depth=6, window=32):
    """Weights by the names of the program, of its shapes but for D."""
    linear = {"cls_head": (1, window)}
    sizes = (num_features, 512, 128, 1)
    linear |= {f"fc{i}": (sizes[i], sizes[i - 1]) for i in (1, 2, 3)}
    weights = {
        "cls_token": noise(1, 1, window),
        "patch_embed.proj.weight": noise(num_features, num_features, 3) / 7,
        "patch_embed.proj.bias": noise(num_features),
    }
    for i in range(depth):
        begin = f"blocks.{i}"
        for letter in "qkv":
            convolved = f"{begin}.attn.conv_proj_{letter}"
            weights[f"{convolved}.conv.weight"] = noise(window, 1, 3, seed=i)
            for part in ("weight", "bias", "running_mean"):
                weights[f"{convolved}.bn.{part}"] = noise(window, seed=ord(letter))
            weights[f"{convolved}.bn.running_var"] = 0.5 + noise(window).abs()
            weights[f"{convolved}.bn.num_batches_tracked"] = torch.tensor(7)
            linear[f"{begin}.attn.proj_{letter}"] = (window, window)
        linear[f"{begin}.attn.proj"] = (window, window)
        linear[f"{begin}.mlp.fc1"] = (4 * window, window)
        linear[f"{begin}.mlp.fc2"] = (window, 4 * window)
        for n in (1, 2):
            weights[f"{begin}.norm{n}.weight"] = noise(window, seed=n)
            weights[f"{begin}.norm{n}.bias"] = noise(window, seed=n + 5)
    for seed, (name, shape) in enumerate(linear.items()):
        weights[f"{name}.weight"] = noise(*shape, seed=seed) / math.sqrt(shape[1])
        weights[f"{name}.bias"] = 0.1 * noise(shape[0], seed=seed)
    return weights


def slow_program(weights, features, depth=6):
    """methods.md section 7 (1) in words: scores and video score of (32, D)."""

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def layer_norm(name, x):
        x = x - x.mean(dim=-1, keepdim=True)
        x = x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def project(begin, letter, x, stride):
        name = f"{begin}.conv_proj_{letter}"
        kernel, tokens = weights[f"{name}.conv.weight"][:, 0], x[1:]
        centres = range(0, len(tokens), stride)
        local = torch.zeros(len(centres), x.shape[1])
        for row, centre in enumerate(centres):
            for w in range(3):
                if 0 <= centre + w - 1 < len(tokens):
                    local[row] += kernel[:, w] * tokens[centre + w - 1]
        mean, var, gamma, beta = (
            weights[f"{name}.bn.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        local = (local - mean) / (var + 1e-5).sqrt() * gamma + beta
        return linear(f"{begin}.proj_{letter}", torch.cat([x[:1], local]))

    embed = weights["patch_embed.proj.weight"]
    snippets = torch.zeros(len(features), len(embed))
    for t, w in itertools.product(range(len(features)), range(3)):
        if 0 <= t + w - 1 < len(features):
            snippets[t] += embed[:, :, w] @ features[t + w - 1]
    snippets = snippets + weights["patch_embed.proj.bias"]
    x = torch.cat([weights["cls_token"][0], snippets.T])  # (1 + D, 32)
    for i in range(depth):
        begin = f"blocks.{i}"
        y = layer_norm(f"{begin}.norm1", x)
        q, k, v = (
            project(f"{begin}.attn", letter, y, stride)
            for letter, stride in (("q", 1), ("k", 2), ("v", 2))
        )
        heads = []
        for q_h, k_h, v_h in zip(*(z.split(4, dim=1) for z in (q, k, v)), strict=True):
            heads.append((q_h @ k_h.T / math.sqrt(32)).softmax(dim=1) @ v_h)
        x = x + linear(f"{begin}.attn.proj", torch.cat(heads, dim=1))
        hidden = linear(f"{begin}.mlp.fc1", layer_norm(f"{begin}.norm2", x))
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(f"{begin}.mlp.fc2", hidden)
    video = linear("cls_head", x[0]).sigmoid()[0]
    h = x[1:].T
    h = linear("fc2", linear("fc1", h).relu()).relu()
    return linear("fc3", h)[:, 0].sigmoid(), video


def test_with_the_programs_weights_the_forward_pass_is_the_programs():
    weights = authors_weights(24)
    model = model_of(read(ctmil.PAPER, "code"), 24)
    model.load_state_dict(ctmil.from_program(weights), strict=True)
    video = noise(1, 32, 24)
    scores, of_video = slow_program(weights, video[0])
    bag = model.eval()(video[None])

    torch.testing.assert_close(bag.scores[0], scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bag.videos[0], of_video, atol=1e-5, rtol=1e-5)


def test_scoring_in_windows_is_the_programs():
    """32 consecutive snippets, the last window filled up with the last snippet."""
    weights = authors_weights(8, depth=1)
    config = replace(read(ctmil.PAPER, "code"), depth=1)
    model = model_of(config, 8)
    model.load_state_dict(ctmil.from_program(weights), strict=True)
    video = noise(40, 8)
    filled = torch.cat([video[32:], video[-1:].expand(24, 8)])
    slow = [slow_program(weights, part, depth=1)[0] for part in (video[:32], filled)]

    found = mil.score_snippets(model, video[None])
    torch.testing.assert_close(found, torch.cat(slow)[:40], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (32, 1), (33, 2), (64, 2)])
def test_no_window_holds_nothing_but_filling(length, expected, monkeypatch):
    """The program scores one more where 32 divides T."""
    model, seen = model_of(), []
    forward = model.encoder.forward
    monkeypatch.setattr(
        model.encoder, "forward", lambda x: seen.append(len(x)) or forward(x)
    )

    assert mil.score_snippets(model, noise(1, length, 8)).shape == (length,)
    assert sum(seen) == expected


# --- Readings ------------------------------------------------------------------------


def test_readings_have_names():
    code, thesis = read(ctmil.PAPER, "code"), read(ctmil.PAPER, "thesis")

    assert read(ctmil.PAPER, "fixed") == ctmil.PAPER
    assert (code.tokens, code.depth, code.weight_decay) == ("channels", 6, 5e-3)
    assert (thesis.tokens, thesis.depth, thesis.weight_decay) == ("snippets", 12, 5e-4)
    assert (thesis.num_steps, thesis.epochs) == (None, 200)
    with pytest.raises(InputError, match="allowed are fixed, thesis and code"):
        read(ctmil.PAPER, "scaled")


# --- Training ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        PRINT,
        CHANNELS,
        LINEAR,
        replace(TINY, causal=True),
        replace(TINY, contrast=False),
        replace(TINY, contrast=False, video=False),
    ],
)
def test_gradients_reach_every_parameter(config):
    config = replace(config, dropout=0.0)
    model = shaken(model_of(config)).train()
    terms = ctmil.losses(model(videos(8, crops=2)), config)
    ctmil.total_loss(terms, config).backward()
    # Softmax does not see what is added to every key.
    missing = [n for n in without_gradient(model) if not n.endswith("key.linear.bias")]
    if not config.video and config.encoder:
        # The last class token is nobody's then, and in one block the first as well,
        # but for the keys and values that snippets read.
        missing = [n for n in missing if n != "encoder.class_token"]

    assert missing == []
    assert ("vid" in terms, "cnt" in terms) == (config.video, config.contrast)


@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("length", [1, 2, 32, 70])  # k is 3
@pytest.mark.parametrize("config", [TINY, PRINT, replace(TINY, causal=True), LINEAR])
def test_any_number_of_crops_and_snippets(crops, length, config):
    model = model_of(config)
    terms = ctmil.losses(model(videos(4, crops=crops, length=length)), config)
    scores = mil.score_snippets(model, videos(1, crops=crops, length=length)[0])

    assert all(term.isfinite() for term in terms.values())
    assert scores.shape == (length,)


def test_any_number_of_features():
    model = model_of(TINY, 1_024)

    assert mil.score_snippets(model, noise(5, 40, 1_024)).shape == (40,)


@pytest.mark.parametrize("config", [TINY, LINEAR, replace(TINY, causal=True)])
def test_a_short_run_learns(tmp_path, config):
    config = replace(config, num_steps=80, lr=3e-3)
    model = model_of(config)
    before = auc_of(model)
    loop = loop_in(tmp_path, "ctmil")
    ctmil.fit(model, bags(), config, loop)

    assert auc_of(model) > max(0.85, before)
    assert loop.history[-1]["snp"] < 0.7 * loop.history[0]["snp"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    def train(loop):
        return ctmil.fit(model_of(), bags(), TINY, loop).state_dict()

    check_resuming(tmp_path, train)


# --- Causal form ---------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_a_causal_score_does_not_know_what_comes(causal):
    model = shaken(model_of(replace(TINY, depth=2, causal=causal)))
    video = videos(1, length=80)[0]
    whole = mil.score_snippets(model, video)
    for end in (7, 32, 41, 60):
        begin = mil.score_snippets(model, video[:, :end])
        assert torch.allclose(whole[:end], begin, atol=1e-5) == (
            causal or end == 32  # windows do not see each other
        )


def test_causal_windows_overlap_so_that_a_score_knows_half_a_window_of_past():
    model = shaken(model_of(replace(TINY, causal=True)))
    video = videos(1, length=80)[0]
    changed = video.clone()
    changed[:, 31] += 5
    moved = mil.score_snippets(model, video) != mil.score_snippets(model, changed)

    assert not moved[:31].any() and moved[31:48].all()
