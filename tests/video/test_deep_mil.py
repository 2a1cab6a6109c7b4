from dataclasses import replace

import pytest
import torch

from tests.detectors.trained import check_resuming, loop_in, without_gradient
from tests.video.toy import auc_of, bags, videos
from thesislib.errors import InputError
from thesislib.video import deep_mil, mil
from thesislib.video.deep_mil import DeepMIL, DeepMILConfig

TINY = replace(deep_mil.SMALL, hidden=(16, 8), batch_size=8, num_steps=6)


def model_of(config=TINY, num_features=8):
    torch.manual_seed(0)
    return DeepMIL(config, num_features)


def test_the_loss_is_that_of_sultani_pair_by_pair():
    scores = torch.rand(4, 6)
    terms = deep_mil.losses(scores, TINY)
    rank = [max(0, 1 - a.max() + n.max()) for a in scores[2:] for n in scores[:2]]
    smooth = sum((a[t + 1] - a[t]) ** 2 for a in scores[2:] for t in range(5)) / 2

    torch.testing.assert_close(terms["rank"], sum(rank) / 4)
    torch.testing.assert_close(terms["smooth"], smooth)
    torch.testing.assert_close(terms["sparse"], scores[2:].sum() / 2)
    expected = sum(rank) / 4 + 8e-5 * (smooth + scores[2:].sum() / 2)
    torch.testing.assert_close(deep_mil.total_loss(terms, TINY), expected)


def test_the_second_layer_is_linear():
    model = model_of().eval()
    video, head = videos(1), model.head
    hidden = head.fc2(head.fc1(video).relu())

    torch.testing.assert_close(
        model(video), head.fc3(hidden)[..., 0].sigmoid().mean(dim=1)
    )
    assert (hidden < 0).any()


def test_snippets_are_seen_one_by_one():
    model, video, order = model_of(), videos(1)[0], torch.randperm(32)
    scores = mil.score_snippets(model, video)

    moved = mil.score_snippets(model, video[:, order])
    torch.testing.assert_close(moved, scores[order])


def test_gradients_reach_every_parameter():
    model = model_of(replace(TINY, dropout=0.0)).train()
    deep_mil.total_loss(deep_mil.losses(model(videos(8)), TINY), TINY).backward()

    assert without_gradient(model) == []


@pytest.mark.parametrize("adagrad", [False, True])
def test_a_short_run_learns(tmp_path, adagrad):
    lr = 5e-2 if adagrad else 1e-2
    config = replace(TINY, num_steps=80, lr=lr, dropout=0.2, adagrad=adagrad)
    model = model_of(config)
    before = auc_of(model)
    deep_mil.fit(model, bags(), config, loop_in(tmp_path, "deep-mil"))

    assert auc_of(model) > max(0.85, before)


@pytest.mark.parametrize("adagrad", [False, True])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, adagrad):
    config = replace(TINY, adagrad=adagrad)

    def train(loop):
        return deep_mil.fit(model_of(config), bags(), config, loop).state_dict()

    check_resuming(tmp_path, train)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="dropout is 1"):
        DeepMILConfig(dropout=1)
    with pytest.raises(InputError, match="batch_size is 0"):
        DeepMILConfig(batch_size=0)
