"""Bags of snippets: the authors' bins, and drawing batches."""

import numpy as np
import pytest
import torch

from thesislib.datasets.videos import bags
from thesislib.datasets.videos.bags import Bags, SnippetBank, segments
from thesislib.errors import InputError


def slow_segments(snippets, number):
    """Each crop by itself, bin by bin, as the authors' loop does it."""
    edges = np.linspace(0, len(snippets), number + 1, dtype=int)
    out = np.zeros((number, *snippets.shape[1:]), dtype=np.float32)
    for crop in range(snippets.shape[1]):
        for t in range(number):
            if edges[t] != edges[t + 1]:
                out[t, crop] = snippets[edges[t] : edges[t + 1], crop].mean(axis=0)
            else:
                out[t, crop] = snippets[edges[t], crop]
    return out


@pytest.mark.parametrize("length", [1, 5, 31, 32, 33, 64, 200])
def test_segments_are_the_authors_bins(length):
    snippets = np.random.default_rng(0).normal(size=(length, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(
        segments(snippets), slow_segments(snippets, 32), rtol=1e-5, atol=1e-6
    )


def test_a_video_of_as_many_snippets_stays_as_it_is():
    snippets = np.arange(32.0).reshape(32, 1, 1)
    np.testing.assert_array_equal(segments(snippets), snippets)


def test_a_video_without_snippets_is_refused():
    with pytest.raises(InputError, match="at least one"):
        segments(np.zeros((0, 1, 4)))


@pytest.fixture
def features():
    """Seven videos, 32 segments, 2 crops, 3 features, each number different."""
    return np.arange(7 * 32 * 2 * 3, dtype=np.float16).reshape(7, 32, 2, 3)


@pytest.mark.parametrize("large", [1, 2**15])
def test_a_batch_holds_whole_videos_as_crops_by_time(features, large, monkeypatch):
    monkeypatch.setattr(bags, "_LARGE", large)
    bank = SnippetBank(features)

    batch = bank.take([4, 1])

    assert batch.shape == (2, 2, 32, 3)
    assert batch.dtype == torch.float32 and batch.is_contiguous()
    np.testing.assert_array_equal(batch[0], features[4].transpose(1, 0, 2))


def test_every_video_is_drawn_once_before_any_is_drawn_twice(features):
    bank, generator = SnippetBank(features), torch.Generator().manual_seed(0)

    first = bank.sample(7, generator)[:, 0, 0, 0]
    twice = bank.sample(14, generator)[:, 0, 0, 0]

    assert sorted(first.tolist()) == features[:, 0, 0, 0].tolist()
    assert sorted(twice.tolist()) == sorted(features[:, 0, 0, 0].tolist() * 2)


def test_a_batch_follows_from_its_generator_alone(features):
    bank = SnippetBank(features)
    one, other = (bank.sample(3, torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_bank_takes_no_copy_of_what_it_is_given(features):
    bank = SnippetBank(features)
    features[2] = -1
    assert (bank.take([2]) == -1).all()


def test_fewer_abnormal_videos_lie_within_more_and_normal_ones_stay(features):
    both = Bags(SnippetBank(features), SnippetBank(features))

    few, more = both.fewer_abnormal(2, seed=0), both.fewer_abnormal(4, seed=0)

    names = [
        set(b.abnormal.take(range(len(b.abnormal)))[:, 0, 0, 0].tolist())
        for b in (few, more)
    ]
    assert [len(n) for n in names] == [2, 4] and names[0] < names[1]
    assert few.normal is both.normal
    with pytest.raises(InputError, match="there are 1 to 7"):
        both.fewer_abnormal(8, seed=0)


@pytest.mark.parametrize("wrong", [np.zeros((2, 32, 3)), np.zeros((2, 32, 1, 3))])
def test_other_shapes_and_types_are_refused(wrong):
    with pytest.raises(InputError, match=r"expected \(N, T, C, D\), float16"):
        SnippetBank(wrong)
