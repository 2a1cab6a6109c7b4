"""Phantom of videos: frozen, redrawn by the seed, and as hard as it says."""

import numpy as np
import pytest

from thesislib.datasets import registry
from thesislib.datasets.phantoms import video
from thesislib.datasets.videos import baselines
from thesislib.datasets.videos.base import VideoPhantomSize
from thesislib.errors import InputError
from thesislib.metrics.video import auc

# Change the generator: calibrate again from floors and ceilings only
# (benchmarks/video_data.py --calibrate), then record the new hash here.
FROZEN = "7341963a6d2f92cd23392ae1121909414c48b858dbbb58d9a425787837f4f637"

SMALL = {
    "num_train_normal": 12,
    "num_train_abnormal": 12,
    "num_test_normal": 8,
    "num_test_abnormal": 8,
}


def load(seed=9_000, **size):
    located = registry.find_videos(
        "shanghaitech",
        "phantom",
        seed=seed,
        phantom=VideoPhantomSize(**{**SMALL, **size}),
    )
    return registry.load_videos(located)


def test_the_generator_is_frozen():
    assert video.generator_hash() == FROZEN


def test_a_seed_gives_the_same_videos_and_another_gives_others():
    one, same, other = load(9_001), load(9_001), load(9_002)
    np.testing.assert_array_equal(one.features, same.features)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert not np.isin(one.features[:64, 0, 0], other.features[:, 0, 0]).all()


def test_more_videos_leave_the_others_as_they_are():
    few = video.draw(VideoPhantomSize(**SMALL), 9_000)
    many = video.draw(VideoPhantomSize(**{**SMALL, "num_test_abnormal": 9}), 9_000)
    np.testing.assert_array_equal(few.features, many.features[: len(few.features)])


def test_at_difficulty_0_an_event_is_nothing_at_all():
    none = video.draw(VideoPhantomSize(**SMALL, difficulty=0.0), 9_000)
    some = video.draw(VideoPhantomSize(**SMALL), 9_000)
    normal = np.concatenate(some.snippet_kinds) == "normal"
    event = np.isin(np.concatenate(some.snippet_kinds), video.KINDS)

    np.testing.assert_array_equal(none.features[normal], some.features[normal])
    assert (none.features[event] != some.features[event]).any(axis=(1, 2)).all()
    data = load(difficulty=0.0, num_test_abnormal=30, num_test_normal=30)
    scores = [one.repeat(16) for one in baselines.supervised_context(data)]
    assert abs(auc(data.test_frame_labels, scores) - 0.5) < 0.1


def test_labels_of_frames_are_those_of_events_alone():
    data = load()
    for v, kinds in enumerate(data.snippet_kinds):
        event = np.isin(kinds, video.KINDS)
        np.testing.assert_array_equal(data.frame_labels[v], event.repeat(16))
        assert event.any() == bool(data.labels[v])
        assert 32 <= len(kinds) <= 64
    found = set(np.concatenate(data.snippet_kinds))
    assert found == {"normal", "spike", "distractor", *video.KINDS}


def test_events_do_not_touch_and_last_at_least_four_snippets():
    data = load(num_train_abnormal=60)
    number = []
    for v in data.train(1):
        event = np.isin(data.snippet_kinds[v], video.KINDS).astype(int)
        edges = np.flatnonzero(np.diff(event, prepend=0, append=0))
        lengths = edges[1::2] - edges[::2]
        assert lengths.min() >= 4 and lengths.max() <= 12
        number.append(len(lengths))
    assert set(number) == {1, 2, 3}


def test_features_are_standardised_by_normal_training_videos():
    data = load()
    normal = np.concatenate([data.snippets(v) for v in data.train(0)])
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(normal.astype(float).std(axis=0), 1, atol=0.01)


def test_length_alone_is_near_chance_and_labels_with_context_are_not():
    data = load(
        9_003,
        num_train_normal=60,
        num_train_abnormal=60,
        num_test_normal=30,
        num_test_abnormal=30,
    )

    def measure(floor):
        scores = [one.repeat(16) for one in floor(data)]
        return auc(data.test_frame_labels, scores)

    assert 0.4 < measure(baselines.magnitude) < 0.6
    assert 0.35 < measure(baselines.nearest_neighbours) < 0.6
    snippet = measure(baselines.supervised_logistic)
    assert snippet < measure(baselines.supervised_context)
    assert measure(baselines.video_oracle) > 0.7


def test_ceilings_need_labels_of_training_frames():
    data = load()
    blind = data.__class__(
        **{
            **{f: getattr(data, f) for f in data.__dataclass_fields__},
            "frame_labels": (None,) * len(data.ids),
        }
    )
    with pytest.raises(InputError, match="no frame labels of training videos"):
        baselines.supervised_logistic(blind)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"num_test_normal": 0}, "above 0"), ({"difficulty": -1.0}, "0 or")],
)
def test_sizes_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        load(**wrong)
