"""Frame metrics of videos against scikit-learn, by hand and by slow loops."""

import numpy as np
import pytest
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
)

from thesislib.errors import InputError
from thesislib.metrics import video
from thesislib.metrics.video import VideoScores, alarms, compare, evaluate, frame_scores


@pytest.fixture(params=["distinct", "tied"])
def made(request):
    """Six videos, two normal, one all abnormal: frame labels and frame scores."""
    rng = np.random.default_rng(0)
    labels, scores = [], []
    for number, length in enumerate((40, 64, 33, 80, 50, 48)):
        label = np.zeros(length, dtype=np.uint8)
        if number == 2:
            label[:] = 1
        elif number > 2:
            label[10:25] = label[30:36] = 1
        score = rng.normal(size=length) + label
        labels.append(label)
        scores.append(score.round(0) if request.param == "tied" else score)
    return labels, scores


def test_areas_agree_with_scikit_learn(made):
    labels, scores = (np.concatenate(part) for part in made)
    precision, recall, _ = precision_recall_curve(labels, scores)

    found = evaluate(*made, num_bootstrap=10)

    assert found["auc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert found["ap"].value == pytest.approx(average_precision_score(labels, scores))
    assert found["ap_trapezoid"].value == pytest.approx(auc(recall, precision))
    assert found["auc"].n == len(labels)


def test_auc_among_abnormal_videos_leaves_normal_videos_out(made):
    labels, scores = (np.concatenate(part[2:]) for part in made)

    found = evaluate(*made, num_bootstrap=10)["auc_abnormal"]

    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.n == len(labels)


def test_auc_among_abnormal_videos_is_left_out_where_they_have_no_normal_frame():
    labels = [np.ones(4, int), np.zeros(4, int)]
    assert "auc_abnormal" not in evaluate(labels, [np.arange(4.0)] * 2)


def test_frames_that_do_not_count_are_as_if_they_were_not_there(made):
    labels, scores = made
    rng = np.random.default_rng(2)
    masked = [np.where(rng.random(len(one)) < 0.3, 255, one) for one in labels]
    masked[1][:] = 255

    found = evaluate(masked, scores, num_bootstrap=10)

    left, kept = (np.concatenate(part) for part in (masked, scores))
    counted = left != 255
    assert found["auc"].value == pytest.approx(
        roc_auc_score(left[counted], kept[counted])
    )
    assert found["auc"].n == counted.sum()
    assert "latency" not in found


def test_intervals_are_those_of_videos_drawn_and_scored_one_by_one(made):
    """A slow bootstrap in the same strata, each resample put together and scored."""
    labels, scores = made
    rng = np.random.default_rng(1)
    values = []
    for _ in range(300):
        chosen = np.concatenate(
            [rng.choice(g, len(g)) for g in ([0, 1], [2], [3, 4, 5])]
        )
        label = np.concatenate([labels[v] for v in chosen])
        score = np.concatenate([scores[v] for v in chosen])
        precision, recall, _ = precision_recall_curve(label, score)
        values.append((roc_auc_score(label, score), auc(recall, precision)))
    low, high = np.percentile(values, [2.5, 97.5], axis=0)

    found = evaluate(labels, scores, num_bootstrap=4000)

    for place, key in enumerate(("auc", "ap_trapezoid")):
        assert found[key].ci_low == pytest.approx(low[place], abs=0.03)
        assert found[key].ci_high == pytest.approx(high[place], abs=0.03)


def test_frames_of_one_video_are_no_independent_observations():
    """Ten times the frames of the same videos say nothing more."""
    rng = np.random.default_rng(0)
    labels = [np.zeros(8, int)] * 6 + [np.repeat([0, 1], 4)] * 6
    scores = [rng.normal(size=1) + rng.normal(size=8) + label for label in labels]
    longer = [[np.repeat(one, 10) for one in part] for part in (labels, scores)]

    few, many = evaluate(labels, scores)["auc"], evaluate(*longer)["auc"]

    assert (few.ci_low, few.ci_high) == pytest.approx((many.ci_low, many.ci_high))


def test_a_class_of_frames_from_one_video_leaves_everything_open():
    found = evaluate(
        [np.zeros(5, int), np.array([0, 1, 1])], [np.arange(5.0), np.arange(3.0)]
    )
    assert (found["auc"].ci_low, found["auc"].ci_high) == (0, 1)
    assert found["latency"].ci_low is None


def test_alarms_on_a_timeline_small_enough_to_read():
    labels = [np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 0])]
    scores = [
        np.array([9, 0, 0, 5, 9, 9, 0, 6, 2, 3.0]),  # found after 1 frame; after 0
        np.array([0, 7, 7, 0.0]),
    ]

    # Half of the events: the first one, peak 9; frame 0 alarms, frame 5 belongs to it.
    threshold, rate, latency = alarms(labels, scores, frames_per_second=1, recall=0.5)
    assert (threshold, latency) == (9, 2)
    assert rate == pytest.approx(1 / (14 / 3600))

    # Both: threshold 3; frames 0 and 1-2 of the second video; 7 is the second event's
    # neighbour at once below the threshold, so it stands alone.
    threshold, rate, latency = alarms(labels, scores, frames_per_second=1, recall=1)
    assert (threshold, latency) == (3, 1)  # delays 1 and 1
    assert rate == pytest.approx(3 / (14 / 3600))


def slow_alarms(labels, scores, recall):
    """Threshold by trying all of them, runs frame by frame."""
    events = []
    for v, label in enumerate(labels):
        start = None
        for f in range(len(label) + 1):
            inside = f < len(label) and label[f]
            if inside and start is None:
                start = f
            if not inside and start is not None:
                events.append((v, start, f))
                start = None
    for threshold in sorted(set(np.concatenate(scores)), reverse=True):
        found = [
            next((f - s for f in range(s, e) if scores[v][f] >= threshold), None)
            for v, s, e in events
        ]
        if sum(d is not None for d in found) >= recall * len(events):
            break
    false = 0
    for label, score in zip(labels, scores, strict=True):
        run = []
        for f in range(len(label) + 1):
            if f < len(label) and score[f] >= threshold:
                run.append(label[f])
            else:
                false += bool(run) and not any(run)
                run = []
    hours = sum(map(len, labels)) / 25 / 3600
    return threshold, false / hours, np.mean([d for d in found if d is not None]) / 25


@pytest.mark.parametrize("recall", [0.3, 0.8, 1.0])
def test_alarms_agree_with_a_loop_over_frames(made, recall):
    assert alarms(*made, recall=recall) == pytest.approx(slow_alarms(*made, recall))


def test_the_recorded_alarms_are_those_at_the_stated_recall(made):
    _, rate, latency = alarms(*made)
    found = evaluate(*made, num_bootstrap=50)
    assert found["false_alarms_per_hour"].value == pytest.approx(rate)
    assert found["latency"].value == pytest.approx(latency)
    assert found["latency"].n == 7  # events


def test_a_snippets_score_is_repeated_over_its_frames():
    assert frame_scores([1, 2], 7, snippet=3).tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert frame_scores([1, 2], 5, snippet=3).tolist() == [1, 1, 1, 2, 2]


def test_a_frame_takes_the_mean_of_the_snippets_that_cover_it():
    scores = np.random.default_rng(0).normal(size=5)
    slow = [
        np.mean(
            [s for t, s in enumerate(scores) if t * 2 <= f < t * 2 + 6] or scores[-1]
        )
        for f in range(16)
    ]
    assert frame_scores(scores, 16, snippet=6, stride=2) == pytest.approx(slow)


def test_what_a_run_keeps_gives_the_same_numbers_again(made):
    labels, _ = made
    rng = np.random.default_rng(0)
    whole = VideoScores(
        scores=[rng.normal(size=-(-len(one) // 16)) for one in labels],
        labels=labels,
        frames_per_second=10,
    )

    again = VideoScores.from_arrays(whole.to_arrays())

    assert again.evaluate(seed=3, num_bootstrap=100) == whole.evaluate(
        seed=3, num_bootstrap=100
    )


def test_a_contrast_is_the_difference_with_an_interval_for_the_pair(made):
    labels, _ = made
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=-(-len(one) // 16)) for one in labels]
    better = [s + label[::16] for s, label in zip(scores, labels, strict=True)]
    first, second = (VideoScores(scores=s, labels=labels) for s in (better, scores))

    found = compare(first, second, num_bootstrap=400)

    values = [one.evaluate(0, num_bootstrap=2)["ap"].value for one in (first, second)]
    assert found["ap"].difference == pytest.approx(values[0] - values[1])
    assert found["auc"].ci_low <= found["auc"].difference <= found["auc"].ci_high
    nothing = compare(first, first, num_bootstrap=100)["auc"]
    assert tuple(vars(nothing).values()) == (0, 0, 0, 1)
    with pytest.raises(InputError, match="same frame labels"):
        compare(first, VideoScores(scores=scores[:5], labels=labels[:5]))


@pytest.mark.parametrize("num_frames", [31, 80])
def test_scores_and_labels_that_do_not_belong_together_name_the_video(num_frames):
    with pytest.raises(InputError, match=r"Video walk has 4 scores .* of \d+ frames"):
        VideoScores(scores=[np.zeros(4)], labels=[np.zeros(num_frames)], names=["walk"])


def test_frames_of_one_class_are_refused():
    with pytest.raises(InputError, match="one class only"):
        video.auc([np.zeros(3)], [np.zeros(3)])
