from dataclasses import replace

import pytest
import torch
from scipy import ndimage

from tests.video.toy import noise
from thesislib.video import ctmil, mining

PROGRAM = ctmil.SMALL
PRINT = ctmil.read(ctmil.SMALL, "thesis")


def test_the_median_takes_half_of_a_video_for_abnormal_whatever_its_scores():
    scores = torch.rand(5, 32) * 1e-3

    assert mining.binarise(scores, None).sum(dim=1).tolist() == [16] * 5
    assert mining.binarise(torch.rand(5, 7), None).sum(dim=1).tolist() == [3] * 5
    assert not mining.binarise(torch.ones(2, 6), None).any()
    assert not mining.binarise(scores, 0.5).any()
    assert mining.binarise(torch.tensor([0.5, 0.51]), 0.5).tolist() == [False, True]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_erosion_is_that_of_scipy(size):
    binary = noise(6, 32) > -0.7
    expected = ndimage.binary_erosion(binary.numpy(), structure=[[1] * size])

    assert torch.equal(mining.erode(binary, size), torch.from_numpy(expected))


def test_edges_in_print_are_the_ends_of_an_event_and_in_the_program_lie_inside():
    binary = torch.zeros(1, 12, dtype=torch.bool)
    binary[0, 3:9] = True

    assert mining.edge_snippets(binary, (1, 3)).nonzero()[:, 1].tolist() == [3, 8]
    assert mining.edge_snippets(binary, (2, 4)).nonzero()[:, 1].tolist() == [4, 8]


def slow_missed(binary, region, majority):
    found = torch.zeros_like(binary)
    for b in range(len(binary)):
        for start in range(binary.shape[1] - region + 1):
            window = range(start, start + region)
            if sum(binary[b, t].item() for t in window) > majority:
                for t in window:
                    found[b, t] = not binary[b, t]
    return found


@pytest.mark.parametrize("length", [5, 10, 32])
def test_missed_snippets_are_normal_ones_in_an_abnormal_region(length):
    binary = noise(40, length) > -1.2
    found = mining.missed_snippets(binary, 10, 8)

    assert torch.equal(found, slow_missed(binary, 10, 8))
    assert found.any() == (length >= 10)


def test_the_last_window_of_a_video_is_searched_too():
    """The program stops one window early."""
    binary = torch.zeros(1, 32, dtype=torch.bool)
    binary[0, 22:] = True
    binary[0, 25] = False

    assert mining.missed_snippets(binary, 10, 8).nonzero().tolist() == [[0, 25]]


def test_all_that_is_allowed_is_chosen_and_no_more():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    allowed = torch.tensor([[True, False, True, True], [False] * 4])
    two, every = (mining.highest(scores, n, allowed) for n in (2, None))

    assert two.indices[0].tolist() == [3, 2] and two.valid[0].tolist() == [True, True]
    assert every.valid.sum(dim=1).tolist() == [3, 0]
    assert mining.highest(scores, 2).valid.all()


def test_the_four_sets_of_one_video_step_by_step():
    normal = torch.linspace(0.0, 0.3, 32)
    abnormal = torch.full((32,), 0.2)
    abnormal[8:20] = torch.linspace(0.8, 0.91, 12)
    abnormal[14] = 0.4  # missed
    config = replace(PRINT, num_easy=2, num_hard=2)
    sets = mining.mine(torch.stack([normal, abnormal]), config)

    assert sets.easy_normal.indices.tolist() == [[0, 1]]
    assert sets.hard_normal.indices.tolist() == [[31, 30]]
    assert sets.easy_abnormal.indices.tolist() == [[19, 18]]
    hard = sets.hard_abnormal
    assert sorted(hard.indices[hard.valid].tolist()) == [8, 13, 14, 15, 19]


def test_easy_and_hard_snippets_are_passed_over_by_chance():
    scores = torch.rand(40, 32)
    config = replace(PROGRAM, ranking_dropout=0.6)
    torch.manual_seed(0)
    with_dropout = mining.mine(scores, config)
    without = mining.mine(scores, replace(config, ranking_dropout=0.0))

    for name in ("easy_abnormal", "easy_normal", "hard_normal"):
        one, two = getattr(with_dropout, name), getattr(without, name)
        assert not torch.equal(one.indices, two.indices), name
    assert torch.equal(
        with_dropout.hard_abnormal.indices, without.hard_abnormal.indices
    )
