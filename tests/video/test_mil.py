import pytest
import torch

from tests.detectors.trained import loop_in
from tests.video.toy import Bags, Bank, bags, noise, videos
from thesislib.errors import InputError
from thesislib.video import mil
from thesislib.video.deep_mil import SMALL, DeepMIL
from thesislib.video.mil import MILConfig, TemporalConv


def test_mean_of_the_k_largest_is_that_of_all_where_there_are_fewer():
    values = torch.tensor([[1.0, 5, 3, 2], [0, 0, 4, 0]])

    assert mil.top_k_mean(values, 2).tolist() == [4, 2]
    assert mil.top_k_mean(values, 9).tolist() == [2.75, 1]


def test_ranking_costs_nothing_at_a_margin_of_one_and_one_where_all_are_alike():
    ones, zeros = torch.ones(3), torch.zeros(3)

    assert mil.ranking_loss(ones, zeros) == 0
    assert mil.ranking_loss(ones, ones) == 1
    assert mil.ranking_loss(zeros, ones) == 2


def test_ranking_of_all_pairs_is_the_mean_over_both_loops():
    abnormal, normal = torch.rand(4), torch.rand(3)
    slow = [max(0, 1 - a + n) for a in abnormal for n in normal]

    found = mil.ranking_loss(abnormal[:, None], normal)
    torch.testing.assert_close(found, sum(slow) / 12)


def test_smoothness_does_not_run_on_from_one_video_into_the_next():
    scores = torch.tensor([[0.0, 0, 0], [1, 1, 1]])

    assert mil.smoothness(scores).tolist() == [0, 0]
    assert mil.smoothness(scores.flatten()) == 1
    assert mil.smoothness(torch.tensor([0, 0.5, 0])) == 0.5
    assert mil.sparsity(torch.tensor([0.25, 0.5, 0])) == 0.75


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_temporal_convolution_is_a_sum_over_shifted_snippets(causal, dilation):
    conv = TemporalConv(3, 2, dilation=dilation, causal=causal)
    x = noise(1, 3, 11)
    shift = 2 * dilation if causal else dilation
    slow = conv.bias[:, None].repeat(1, 11)
    for t in range(11):
        for w in range(3):
            s = t + w * dilation - shift
            if 0 <= s < 11:
                slow[:, t] = slow[:, t] + conv.weight[:, :, w] @ x[0, :, s]

    torch.testing.assert_close(conv(x)[0], slow)


def test_every_video_is_drawn_sooner_or_later(tmp_path):
    """The program of chapter 9 trains on the first 32 normal videos for ever."""
    marked = torch.arange(61.0)[:, None, None, None].expand(61, 1, 32, 4)
    config = MILConfig(num_steps=10)
    model = DeepMIL(SMALL, 4)
    seen = set()
    both = Bags(Bank(marked), Bank(marked + 100))
    for step, optimizer, features in mil.batches(
        model, both, config, loop_in(tmp_path, "s")
    ):
        assert features.shape == (64, 1, 32, 4)
        seen.update(features[:, 0, 0, 0].tolist())
        step.update(model(features).mean(), optimizer)

    assert seen == {*range(61), *range(100, 161)}


def test_the_bags_must_fit_the_network(tmp_path):
    model, loop = DeepMIL(SMALL, 4), loop_in(tmp_path, "s")
    empty = Bags(Bank(videos(2, 4)), Bank(videos(2, 4)[:0]))

    with pytest.raises(InputError, match="no abnormal training video"):
        next(mil.batches(model, empty, SMALL, loop))
    with pytest.raises(InputError, match="have 8 features; the network is for 4"):
        next(mil.batches(model, bags(), SMALL, loop))


@pytest.mark.parametrize("shape", [(2, 5), (1, 0, 4), (0, 5, 4), (1, 5, 3)])
def test_the_features_of_a_video_have_crops_snippets_and_the_networks_number(shape):
    with pytest.raises(InputError, match=r"expected \(crops, snippets, 4\)"):
        mil.score_snippets(DeepMIL(SMALL, 4), torch.zeros(shape))


def test_scores_are_means_over_crops_in_portions_of_any_size(monkeypatch):
    model, video = DeepMIL(SMALL, 4).train(), videos(1, 4, crops=5)[0]
    whole = mil.score_snippets(model, video)
    alone = [mil.score_snippets(model, crop[None]) for crop in video]
    monkeypatch.setattr(mil, "PORTION", 2 * 32 * 4)
    portions = mil.score_snippets(model, video.half())

    torch.testing.assert_close(whole, torch.stack(alone).mean(dim=0))
    torch.testing.assert_close(portions, whole, atol=1e-3, rtol=0)
    assert not model.training
    many = list(mil.score_videos(model, [video, video[:2]]))
    assert torch.equal(many[0], mil.score_snippets(model, video)) and len(many) == 2


def test_a_weight_of_unknown_name_is_refused():
    names = {"a.1": "b.2"}

    assert mil.renamed({"a.1.weight": 5, "a.1": 6}, names) == {
        "b.2.weight": 5,
        "b.2": 6,
    }
    with pytest.raises(InputError, match=r"weight a\.11\.weight is none"):
        mil.renamed({"a.11.weight": 5}, names)
