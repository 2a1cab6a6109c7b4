import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.detectors.trained import check_resuming, loop_in, without_gradient
from tests.video.toy import auc_of, bags, noise, shaken, videos
from thesislib.errors import InputError
from thesislib.video import mil, mtn, rtfm
from thesislib.video.rtfm import RTFM, RTFMConfig, read

TINY = replace(rtfm.SMALL, hidden=(16, 8), batch_size=8, num_steps=6)
PRINT = replace(read(TINY, "thesis"), hidden=(16, 8))
PARTS = list(itertools.product([False, True], repeat=2))  # pdc, tsa


def model_of(config=TINY, num_features=8):
    torch.manual_seed(0)
    return RTFM(config, num_features)


# --- Equations -------------------------------------------------------------------


def test_top_k_magnitude_is_the_best_subset_of_k():
    magnitudes = torch.rand(6)
    subsets = itertools.combinations(magnitudes.tolist(), 3)
    best = max(sum(chosen) / 3 for chosen in subsets)

    assert rtfm.top_k_magnitude(magnitudes, 3) == pytest.approx(best)


def test_magnitude_is_a_norm_averaged_over_crops():
    features = torch.zeros(1, 2, 3, 2)
    features[0, 0, 1] = torch.tensor([3.0, 4])
    features[0, 1, 1] = torch.tensor([0.0, 1])

    assert rtfm.magnitude(features).tolist() == [[0, 3, 0]]


def test_separability_is_the_difference_of_top_k_magnitudes():
    abnormal, normal = torch.tensor([9.0, 1, 5]), torch.tensor([2.0, 2, 0])

    assert rtfm.separability(abnormal, normal, 2) == 5
    assert rtfm.separability(abnormal, normal, 3) == pytest.approx(5 - 4 / 3)


def test_a_pair_that_is_apart_by_the_margin_costs_nothing():
    abnormal, normal = torch.full((3, 8), 7.0), torch.full((4, 8), 2.0)

    assert rtfm.hinge_loss(abnormal, normal, 3, margin=5) == 0
    assert rtfm.hinge_loss(abnormal, normal, 3, margin=6) == 1
    assert rtfm.hinge_loss(normal, normal, 3, margin=6) == 6


def test_hinge_is_the_mean_of_eq_8_7_over_all_pairs():
    abnormal, normal = torch.rand(3, 8), torch.rand(4, 8)
    slow = [
        max(0, 0.1 - rtfm.separability(a, n, 3).item())
        for a in abnormal
        for n in normal
    ]

    found = rtfm.hinge_loss(abnormal, normal, 3, margin=0.1)
    assert found.item() == pytest.approx(sum(slow) / 12)


def test_the_squared_loss_is_zero_at_the_margin_alone():
    at = torch.zeros(2, 1, 3, 4)
    at[..., 0] = 5.0

    assert rtfm.squared_loss(at, 0 * at, margin=5) == 0
    assert rtfm.squared_loss(2 * at, 0 * at, margin=5) == 25  # drawn back from above
    assert rtfm.squared_loss(at, at, margin=5) == 25
    assert rtfm.squared_loss(0 * at, at, margin=5) == 100


def test_the_squared_loss_takes_the_norm_of_the_mean():
    opposite = torch.tensor([[5.0, 0], [-5, 0]]).view(1, 1, 2, 2)

    assert rtfm.squared_loss(opposite, 0 * opposite, margin=5) == 25


def test_the_squared_loss_pairs_crops_of_any_number():
    abnormal, normal = noise(3, 5, 2, 4), noise(3, 5, 2, 4, seed=1)
    slow = [
        (abs(2 - a.mean(dim=0).norm()) + n.mean(dim=0).norm()) ** 2
        for a, n in zip(abnormal.flatten(0, 1), normal.flatten(0, 1), strict=True)
    ]

    torch.testing.assert_close(
        rtfm.squared_loss(abnormal, normal, 2), torch.stack(slow).mean()
    )


def test_a_classifier_that_knows_nothing_costs_log_2_a_snippet():
    scores = torch.full((4, 3), 0.5)

    for label in (0, 1):
        found = rtfm.classifier_loss(scores, label).item()
        assert found == pytest.approx(3 * math.log(2))
    assert rtfm.classifier_loss(torch.full((2, 3), 0.9), 1).item() == pytest.approx(
        -3 * math.log(0.9)
    )


# --- Theorem B.1.1 ---------------------------------------------------------------


def test_expected_separability_grows_until_k_is_mu_and_then_fades():
    found = [rtfm.expected_separability(k, 6, 5.0, 2.0) for k in range(1, 200)]

    assert all(0 <= a < b for a, b in itertools.pairwise(found[:6]))
    assert all(a > b for a, b in itertools.pairwise(found[5:]))
    assert found[5] == pytest.approx(6 / 6.4 * 3)
    assert rtfm.expected_separability(10**9, 6, 5.0, 2.0) == pytest.approx(0, abs=1e-7)


def test_separability_by_k_is_that_of_every_k():
    abnormal, normal = torch.rand(5, 9), torch.rand(7, 9)
    slow = [
        rtfm.top_k_magnitude(abnormal, k).mean()
        - rtfm.top_k_magnitude(normal, k).mean()
        for k in range(1, 10)
    ]

    torch.testing.assert_close(
        rtfm.separability_by_k(abnormal, normal), torch.stack(slow)
    )


def magnitudes(spread_abnormal, spread_normal, length=32):
    """Six abnormal snippets of mean 5 a video; normal ones have mean 2."""
    kinds = (5.0, spread_abnormal), (2.0, spread_normal)
    return rtfm.simulated_magnitudes(4_000, length, 6, *kinds)


def test_simulated_magnitudes_have_the_means_and_spreads_asked_for():
    abnormal, normal = magnitudes(0.5, 0.25)
    parts = (abnormal[:, :6], abnormal[:, 6:], normal)

    assert [round(x.mean().item(), 1) for x in parts] == [5, 2, 2]
    assert [round(x.std().item(), 2) for x in parts] == [0.5, 0.25, 0.25]
    assert not torch.equal(abnormal[:, 6:], normal[:, 6:])


def test_without_spread_theorem_b_1_1_holds_exactly_with_epsilon_0():
    measured = rtfm.separability_by_k(*magnitudes(0.0, 0.0))
    expected = [rtfm.expected_separability(k, 6, 5, 2, 0.0) for k in range(1, 33)]

    torch.testing.assert_close(measured, torch.tensor(expected))


def test_where_only_normal_snippets_spread_separability_peaks_at_mu():
    """Part 1, and part 2: what is left at k = T fades as the video grows."""
    measured = rtfm.separability_by_k(*magnitudes(0.0, 0.5))
    longer = rtfm.separability_by_k(*magnitudes(0.0, 0.5, length=128))

    assert (measured[:6].diff() > 0).all() and (measured[5:].diff() < 0).all()
    assert (measured > 0).all()
    assert measured[-1].item() == pytest.approx(6 / 32 * 3, abs=0.02)
    assert longer[-1].item() == pytest.approx(6 / 128 * 3, abs=0.02)


def test_where_both_spread_alike_separability_peaks_at_1():
    """The proof takes snippets of the mean of their kind; Eq. (8.2) the largest."""
    measured = rtfm.separability_by_k(*magnitudes(0.5, 0.5))

    assert (measured.diff() < 0).all()
    assert measured[-1].item() == pytest.approx(6 / 32 * 3, abs=0.02)


# --- Network ---------------------------------------------------------------------


def slow_attention(layer, x):
    """Eq. (8.6) snippet by snippet, (D, T) to (D / 4, T)."""
    reduced = layer.reduce(x[None])[0]
    if not layer.printed:
        reduced = reduced.relu()
    q, k, v = (part(reduced[None])[0] for part in (layer.query, layer.key, layer.value))
    columns = []
    for t in range(x.shape[-1]):
        seen = range(t + 1) if layer.causal else range(x.shape[-1])
        total = sum((q[:, t] @ k[:, s]) * v[:, s] for s in seen)
        columns.append(total if layer.printed else total / len(seen))
    return layer.norm(layer.out(torch.stack(columns, dim=1)[None]))[0] + reduced


@pytest.mark.parametrize("length", [3, 20])  # fewer and more than the inner features
@pytest.mark.parametrize("printed", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_sum_of_eq_8_6(length, printed, causal, monkeypatch):
    monkeypatch.setattr(mtn, "BLOCK", 7)
    layer = mtn.TemporalAttention(32, 8, printed=printed, causal=causal)
    layer = shaken(layer).eval()
    x = noise(32, length)

    torch.testing.assert_close(
        layer(x[None])[0], slow_attention(layer, x), atol=1e-4, rtol=1e-4
    )


def test_attention_adds_nothing_at_first():
    layer = mtn.TemporalAttention(32, 8, printed=False, causal=False).train()
    x = noise(2, 32, 10)

    assert torch.equal(layer(x), layer.reduced(x))


def test_printed_attention_grows_with_the_length_of_a_video():
    layer = mtn.TemporalAttention(8, 4, printed=True, causal=False)
    short = noise(1, 8, 5)
    added = [
        (layer(x) - layer.reduced(x))[..., 0] for x in (short, short.repeat(1, 1, 9))
    ]
    bias = layer.out.bias

    torch.testing.assert_close(9 * (added[0] - bias), added[1] - bias)


@pytest.mark.parametrize(("pdc", "tsa"), PARTS)
@pytest.mark.parametrize("config", [TINY, PRINT])
@pytest.mark.parametrize("num_features", [8, 10])
def test_every_part_alone_keeps_the_shape(pdc, tsa, config, num_features):
    model = model_of(replace(config, pdc=pdc, tsa=tsa), num_features)
    bag = model(videos(4, num_features, crops=2))

    assert bag.features.shape == (4, 2, 32, num_features)
    assert bag.scores.shape == bag.magnitudes.shape == (4, 32)


def test_the_baseline_of_table_8_5_sees_snippets_one_by_one():
    order = torch.randperm(32)
    video = videos(1)[0]
    for pdc, tsa in PARTS:
        model = shaken(model_of(replace(TINY, pdc=pdc, tsa=tsa)))
        scores = mil.score_snippets(model, video)
        moved = mil.score_snippets(model, video[:, order])
        alike = torch.allclose(moved, scores[order], atol=1e-5)
        assert alike != (pdc or tsa)


# --- Parity with the authors' program ----------------------------------------------


def authors_weights(num_features, num_hidden=(512, 128)):
    """Weights by the names of the program, of its shapes but for D."""
    branch, inner = num_features // 4, num_features // 8
    shapes = {}
    for i in (1, 2, 3):
        shapes[f"Aggregate.conv_{i}.0.weight"] = (branch, num_features, 3)
        shapes[f"Aggregate.conv_{i}.0.bias"] = (branch,)
        shapes[f"Aggregate.conv_{i}.2"] = branch  # batch norm
    shapes["Aggregate.conv_4.0.weight"] = (branch, num_features, 1)
    shapes["Aggregate.conv_5.0.weight"] = (num_features, 4 * branch, 3)
    shapes["Aggregate.conv_5.2"] = num_features
    for name in ("g", "theta", "phi"):
        shapes[f"Aggregate.non_local.{name}.weight"] = (inner, branch, 1)
        shapes[f"Aggregate.non_local.{name}.bias"] = (inner,)
    shapes["Aggregate.non_local.W.0.weight"] = (branch, inner, 1)
    shapes["Aggregate.non_local.W.0.bias"] = (branch,)
    shapes["Aggregate.non_local.W.1"] = branch
    sizes = (num_features, *num_hidden, 1)
    for i in (1, 2, 3):
        shapes[f"fc{i}.weight"] = (sizes[i], sizes[i - 1])
        shapes[f"fc{i}.bias"] = (sizes[i],)
    weights = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        if isinstance(shape, int):
            for part in ("weight", "bias", "running_mean"):
                weights[f"{name}.{part}"] = noise(shape, seed=seed)
            weights[f"{name}.running_var"] = 0.5 + noise(shape, seed=seed).abs()
            weights[f"{name}.num_batches_tracked"] = torch.tensor(7)
        else:
            fan_in = max(1, math.prod(shape[1:]))
            weights[name] = noise(*shape, seed=seed) / math.sqrt(fan_in)
    return weights


def slow_program(weights, features):
    """methods.md section 6 (1) in words: scores and magnitudes of one video, (C, T, D).

    Each step sums over neighbours and features by hand.
    """

    def conv(name, x, dilation):  # x: (D, T)
        weight = weights[f"{name}.weight"]
        reach = dilation * (weight.shape[-1] - 1) // 2
        out = torch.zeros(len(weight), x.shape[-1])
        for t in range(x.shape[-1]):
            for w in range(weight.shape[-1]):
                s = t + w * dilation - reach
                if 0 <= s < x.shape[-1]:
                    out[:, t] += weight[:, :, w] @ x[:, s]
        return out + weights.get(f"{name}.bias", torch.zeros(len(weight)))[:, None]

    def norm(name, x):
        mean, var, gamma, beta = (
            weights[f"{name}.{part}"][:, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gamma + beta

    def of_crop(x):  # (D, T)
        branches = [
            norm(f"Aggregate.conv_{i}.2", conv(f"Aggregate.conv_{i}.0", x, d).relu())
            for i, d in ((1, 1), (2, 2), (3, 4))
        ]
        reduced = conv("Aggregate.conv_4.0", x, 1).relu()
        theta, phi, g = (
            conv(f"Aggregate.non_local.{name}", reduced, 1)
            for name in ("theta", "phi", "g")
        )
        affinity = torch.einsum("et,es->ts", theta, phi) / x.shape[-1]
        attended = torch.einsum("ts,es->et", affinity, g)
        attended = conv("Aggregate.non_local.W.0", attended, 1)
        branches.append(norm("Aggregate.non_local.W.1", attended) + reduced)
        fused = conv("Aggregate.conv_5.0", torch.cat(branches), 1).relu()
        out = norm("Aggregate.conv_5.2", fused) + x
        h = out.T
        for i in (1, 2):
            h = (h @ weights[f"fc{i}.weight"].T + weights[f"fc{i}.bias"]).relu()
        h = h @ weights["fc3.weight"].T + weights["fc3.bias"]
        return h[:, 0].sigmoid(), out.square().sum(dim=0).sqrt()

    of_crops = [of_crop(crop.T) for crop in features]
    return [sum(column) / len(features) for column in zip(*of_crops, strict=True)]


@pytest.mark.parametrize(("crops", "length"), [(10, 37), (5, 32), (1, 2)])
def test_with_the_programs_weights_the_forward_pass_is_the_programs(crops, length):
    weights = authors_weights(16)
    model = model_of(read(rtfm.PAPER, "code"), 16)
    model.load_state_dict(rtfm.from_program(weights), strict=True)
    video = noise(crops, length, 16)
    scores, sizes = slow_program(weights, video)

    found = mil.score_snippets(model, video)
    torch.testing.assert_close(found, scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        rtfm.snippet_magnitudes(model, video), sizes, atol=1e-5, rtol=1e-5
    )
    bag = model.eval()(video[None])
    torch.testing.assert_close(bag.scores[0], scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bag.magnitudes[0], sizes, atol=1e-5, rtol=1e-5)


def test_in_reading_code_the_losses_are_the_programs():
    """methods.md section 6 (2), of features as they come and three snippets a video."""
    config = replace(read(TINY, "code"), selection_dropout=0.0)
    features, scores = noise(8, 10, 32, 4), torch.rand(8, 32)
    bag = rtfm.Bag(features, scores, rtfm.magnitude(features))
    terms = rtfm.losses(bag, config)

    bce, mag = 0.0, []
    chosen = [sorted(range(32), key=lambda t: -m[t])[:3] for m in bag.magnitudes]
    for video in range(8):
        mean = scores[video, chosen[video]].mean()
        bce -= torch.log(mean if video >= 4 else 1 - mean) / 8
    for pair, crop in itertools.product(range(4), range(10)):
        normal = features[pair, crop, chosen[pair]].mean(dim=0).norm()
        abnormal = features[pair + 4, crop, chosen[pair + 4]].mean(dim=0).norm()
        mag.append(((100 - abnormal).abs() + normal) ** 2)
    concatenated = scores[4:].flatten()
    squares = [(b - a) ** 2 for a, b in itertools.pairwise(concatenated.tolist())]

    torch.testing.assert_close(terms["cls"], bce)
    torch.testing.assert_close(terms["mag"], sum(mag) / 40)
    assert terms["smooth"].item() == pytest.approx(sum(squares), rel=1e-5)
    torch.testing.assert_close(terms["sparse"], concatenated.square().sum().sqrt())
    expected = terms["cls"] + 1e-4 * terms["mag"]
    expected = expected + 8e-4 * terms["smooth"] + 8e-3 * terms["sparse"]
    torch.testing.assert_close(rtfm.total_loss(terms, config), expected)


def test_in_reading_thesis_the_losses_are_as_printed():
    features, scores = noise(4, 1, 6, 4), torch.rand(4, 6)
    bag = rtfm.Bag(features, scores, rtfm.magnitude(features))
    terms = rtfm.losses(bag, PRINT)
    chosen = bag.magnitudes.topk(3).indices
    picked = scores.gather(1, chosen)
    per_video = [-(1 - picked[:2]).log().sum(dim=1), -picked[2:].log().sum(dim=1)]

    torch.testing.assert_close(terms["cls"], torch.cat(per_video).mean())
    hinge = rtfm.hinge_loss(bag.magnitudes[2:], bag.magnitudes[:2], 3, 100.0)
    torch.testing.assert_close(terms["mag"], hinge)
    torch.testing.assert_close(terms["sparse"], scores[2:].sum(dim=1).mean())
    diffs = scores[2:].diff(dim=1).square().sum(dim=1)
    torch.testing.assert_close(terms["smooth"], diffs.mean())
    expected = terms["cls"] + terms["mag"] + 8e-5 * (terms["smooth"] + terms["sparse"])
    torch.testing.assert_close(rtfm.total_loss(terms, PRINT), expected)


# --- Readings ----------------------------------------------------------------------


def test_at_2048_features_the_scaled_constants_are_the_programs():
    scaled = rtfm.at_size(rtfm.PAPER, 2_048)
    code = rtfm.at_size(read(rtfm.PAPER, "code"), 2_048)

    assert replace(code, across_videos=False) == scaled
    assert (scaled.margin, scaled.magnitude_weight) == (100, 1e-4)
    assert (scaled.hidden, scaled.dropout) == ((512, 128), 0.7)


def test_with_64_features_margin_and_weight_are_scaled_and_in_code_they_are_not():
    scaled = rtfm.at_size(rtfm.PAPER, 64)
    code = rtfm.at_size(read(rtfm.PAPER, "code"), 64)

    assert scaled.margin == pytest.approx(100 * math.sqrt(64 / 2_048))
    assert scaled.magnitude_weight == pytest.approx(1e-4 * 2_048 / 64)
    assert (scaled.hidden, scaled.dropout) == ((128, 32), 0.5)
    assert (code.margin, code.magnitude_weight) == (100, 1e-4)
    assert (code.hidden, code.dropout) == ((512, 128), 0.7)
    assert rtfm.at_size(scaled, 64) == scaled


def test_what_a_row_of_table_8_5_sets():
    full = rtfm.row(TINY, pdc=True, tsa=True, fm=True)
    base = rtfm.row(TINY, pdc=False, tsa=False, fm=False)
    terms = rtfm.losses(model_of(base)(videos(4)), base)

    assert full == TINY
    assert set(terms) == {"rank", "smooth", "sparse"}


def test_readings_have_names_and_the_thesis_trains_for_passes():
    assert mil.steps_of(read(rtfm.PAPER, "thesis"), 810) == 50 * 25
    assert read(rtfm.SMALL, "scaled") == rtfm.SMALL
    with pytest.raises(InputError, match="allowed are scaled, thesis and code"):
        read(rtfm.PAPER, "paper")


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"margin": 0}, {"dropout": 1.0}, {"hidden": (16, 0)}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        RTFMConfig(**wrong)


# --- Training ----------------------------------------------------------------------


def test_selection_takes_the_largest_and_with_dropout_others_too():
    sizes = torch.arange(1.0, 33).repeat(50, 1)
    torch.manual_seed(0)
    chosen = rtfm.select(sizes, 3, dropout=0.7)

    assert rtfm.select(sizes, 3).tolist() == [[31, 30, 29]] * 50
    assert rtfm.select(sizes[:, :2], 3).shape == (50, 2)
    assert len(chosen.unique()) > 15
    assert not torch.equal(chosen[:25], chosen[25:])  # each kind has its own draws


@pytest.mark.parametrize("loss", ["program", "print", "ranking"])
@pytest.mark.parametrize(("pdc", "tsa"), PARTS)
@pytest.mark.parametrize("network", ["program", "print"])
def test_gradients_reach_every_parameter(loss, pdc, tsa, network):
    config = replace(
        TINY, loss=loss, pdc=pdc, tsa=tsa, network=network, dropout=0.0, margin=1e3
    )
    model = shaken(model_of(config)).train()
    terms = rtfm.losses(model(videos(8, crops=2)), rtfm.at_size(config, 8))
    rtfm.total_loss(terms, rtfm.at_size(config, 8)).backward()
    # A bias that batch norm takes away, as in the program.
    useless = ["mtn.tsa.out.bias"] if tsa and network == "program" else []

    assert [name for name in without_gradient(model) if name not in useless] == []


@pytest.mark.parametrize("crops", [1, 5])
@pytest.mark.parametrize("length", [1, 2, 32])  # k is 3
@pytest.mark.parametrize("config", [TINY, PRINT, replace(TINY, causal=True)])
def test_any_number_of_crops_and_snippets(crops, length, config):
    """The program stops with fewer than three snippets and other than ten crops."""
    model = model_of(config)
    terms = rtfm.losses(model(videos(4, crops=crops, length=length)), model.config)
    scores = mil.score_snippets(model, videos(1, crops=crops, length=length)[0])

    assert all(term.isfinite() for term in terms.values())
    assert scores.shape == (length,)


def test_any_number_of_features():
    """Two layers of the program are for 2,048."""
    for number in (5, 1_024):
        model = model_of(TINY, number)
        assert mil.score_snippets(model, noise(5, 4, number)).shape == (4,)


def test_scores_do_not_depend_on_the_order_of_crops():
    model, video = shaken(model_of()), videos(1, crops=5)[0]

    torch.testing.assert_close(
        mil.score_snippets(model, video), mil.score_snippets(model, video.flip(0))
    )


@pytest.mark.parametrize("loss", ["program", "ranking"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_short_run_learns(tmp_path, loss, causal):
    config = replace(
        TINY, num_steps=100, loss=loss, causal=causal, lr=3e-3, dropout=0.2
    )
    model = model_of(config)
    before = auc_of(model)
    loop = loop_in(tmp_path, "rtfm")
    rtfm.fit(model, bags(), config, loop)

    assert auc_of(model) > max(0.85, before)
    assert {"smooth", "sparse", "loss"} <= set(loop.history[0])


def test_training_makes_abnormal_magnitudes_the_larger_ones(tmp_path):
    config = replace(TINY, num_steps=60, lr=3e-3)
    model = rtfm.fit(model_of(config), bags(), config, loop_in(tmp_path, "rtfm"))
    sizes = rtfm.snippet_magnitudes(model, videos(1, event=8, seed=5)[0])

    assert sizes[10:18].mean() > 1.3 * sizes[20:].mean()


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    def train(loop):
        return rtfm.fit(model_of(), bags(), TINY, loop).state_dict()

    check_resuming(tmp_path, train)


# --- Causal form -------------------------------------------------------------------


@pytest.mark.parametrize("network", ["program", "print"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_causal_score_does_not_know_what_comes(network, causal):
    model = shaken(model_of(replace(TINY, network=network, causal=causal)))
    video = videos(1, length=40)[0]
    whole = mil.score_snippets(model, video)
    begin = mil.score_snippets(model, video[:, :25])

    assert torch.allclose(whole[:20], begin[:20], atol=1e-5) == causal
    assert torch.allclose(whole[:25], begin, atol=1e-5) == causal


@pytest.mark.parametrize(("pdc", "tsa"), PARTS)
@pytest.mark.parametrize("chunk", [1, 7, 50])
@pytest.mark.parametrize("config", [TINY, PRINT])
def test_a_stream_says_what_the_whole_video_says(pdc, tsa, chunk, config):
    model = model_of(replace(config, pdc=pdc, tsa=tsa, causal=True))
    model, video = shaken(model), videos(1, crops=2, length=50)[0]
    stream = rtfm.Stream(model)
    found = torch.cat(list(stream.scores(video.split(chunk, dim=1))))

    torch.testing.assert_close(
        found, mil.score_snippets(model, video), atol=1e-5, rtol=1e-4
    )


def test_a_stream_needs_a_causal_model():
    with pytest.raises(InputError, match="needs a causal model"):
        rtfm.Stream(model_of())


def test_dropout_of_features_comes_before_magnitudes_in_the_program_alone():
    torch.manual_seed(0)
    video = videos(2)
    for config, drops in ((TINY, True), (PRINT, False)):
        model = model_of(config).train()
        dropped = (model(video).features == 0).float().mean().item()
        assert (dropped > 0.3) == drops


def test_half_of_the_loss_is_of_each_kind():
    """The mean over 2B videos, F.binary_cross_entropy as the oracle."""
    config = replace(rtfm.at_size(TINY, 4), k=1, selection_dropout=0.0)
    features, scores = noise(6, 1, 5, 4), torch.rand(6, 5)
    bag = rtfm.Bag(features, scores, rtfm.magnitude(features))
    picked = scores.gather(1, bag.magnitudes.argmax(dim=1, keepdim=True))[:, 0]
    labels = torch.tensor([0.0, 0, 0, 1, 1, 1])

    torch.testing.assert_close(
        rtfm.losses(bag, config)["cls"], F.binary_cross_entropy(picked, labels)
    )
