"""The record of videos: what training and test see of it."""

import numpy as np
import pytest

from thesislib.datasets.videos.bags import segments
from thesislib.datasets.videos.dataset import VideoDataset
from thesislib.errors import InputError


@pytest.fixture
def data():
    """Two normal and two abnormal training videos, one of each for testing."""
    lengths = [3, 32, 5, 40, 6, 7]
    rng = np.random.default_rng(0)
    features = rng.normal(2, 3, size=(sum(lengths), 2, 4)).astype(np.float16)
    features[:, :, 3] = 1  # never changes
    return VideoDataset(
        name="made",
        source="real",
        modality="video",
        features=features,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids=("a", "b", "c", "d", "e", "f"),
        splits=("train",) * 4 + ("test",) * 2,
        labels=np.array([0, 0, 1, 1, 0, 1]),
        kinds=("normal", "normal", "fire", "fall", "normal", "fall"),
        frame_labels=(None,) * 4 + (np.zeros(96, np.uint8), np.ones(112, np.uint8)),
        draws=(frozenset("abcd"), frozenset("aefc")),
    )


def test_bags_hold_the_segments_of_each_training_video(data):
    bags = data.bags()

    assert (len(bags), len(bags.normal), len(bags.abnormal)) == (4, 2, 2)
    for bank, number, video in ((bags.normal, 0, 0), (bags.abnormal, 1, 3)):
        expected = segments(data.snippets(video)).transpose(1, 0, 2)
        np.testing.assert_allclose(bank.take([number])[0], expected, rtol=2e-3)


def test_videos_kept_as_segments_are_not_copied(data):
    """As `load` keeps those of fixed splits: the bank is the mapped file itself."""
    whole = np.concatenate([data.features, data.features])[:96]
    as_segments = VideoDataset(
        **{
            **{f: getattr(data, f) for f in data.__dataclass_fields__},
            "features": whole,
            "offsets": np.array([0, 32, 64, 96, 96, 96, 96]),
            "splits": ("train", "train", "train", "test", "test", "test"),
        }
    )
    bank = as_segments.bags().normal
    whole[0] = 100
    assert (bank.take([0])[0, :, 0] == 100).all()


def test_a_test_video_is_whole_as_crops_by_time(data):
    video = data.test_video(1)
    assert video.shape == (2, 7, 4)
    np.testing.assert_array_equal(
        video, data.features[-7:].transpose(1, 0, 2).astype(np.float32)
    )
    assert data.test_ids == ("e", "f") and data.test_kinds == ("normal", "fall")


def test_another_draw_changes_only_who_trains(data):
    other = data.drawn(1)
    assert other.test_ids == ("b", "d")
    assert other.train(1) == [2, 5]
    assert other.features is data.features


def test_standardising_looks_at_normal_training_videos_only(data):
    first = data.standardised()
    normal = np.concatenate([first.snippets(v) for v in (0, 1)]).reshape(-1, 4)
    np.testing.assert_allclose(normal[:, :3].mean(0), 0, atol=0.01)
    np.testing.assert_allclose(normal[:, :3].std(0), 1, atol=0.01)
    assert (first.features[:, :, 3] == 0).all()

    data.features[35:] *= 50  # all other videos
    second = data.standardised()

    np.testing.assert_array_equal(first.features[:35], second.features[:35])
    assert np.abs(second.features).max() == 8


def test_a_split_without_abnormal_training_videos_is_refused(data):
    few = VideoDataset(
        **{
            **{f: getattr(data, f) for f in data.__dataclass_fields__},
            "splits": ("train", "train", "test", "test", "test", "test"),
        }
    )
    with pytest.raises(InputError, match="no abnormal training video"):
        few.bags()
