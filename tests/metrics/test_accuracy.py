"""Accuracy at a fixed threshold: counting, Wilson's printed example, a simulation."""

import numpy as np
import pytest

from thesislib.errors import InputError
from thesislib.metrics.accuracy import at_threshold, over_classes


def calls(num_right, num_images):
    """Labels and scores of which so many lie on their own side of 0.5."""
    labels = np.arange(num_images) % 2
    right = np.arange(num_images) < num_right
    return labels, np.where(right == (labels == 1), 0.7, 0.2)


def test_a_score_at_the_threshold_is_called_abnormal():
    labels, scores = [0, 0, 0, 1], [0.4, 0.4, 0.6, 0.5]

    assert at_threshold(labels, scores).value == 0.75
    assert at_threshold(labels, scores, threshold=0.55).value == 0.5
    assert at_threshold(labels, scores, threshold=0.4).value == 0.25


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [  # Newcombe 1998, Table I, method 3 (Wilson's score without correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(right, number, low, high):
    found = at_threshold(*calls(right, number))

    assert found.value == right / number
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=5e-5)
    assert found.n == number


def test_ends_of_the_scale_are_inside():
    never, always = (at_threshold(*calls(right, 20)) for right in (0, 20))

    assert never.value == 0 <= never.ci_low < 1e-15
    assert always.value == 1 >= always.ci_high > 1 - 1e-15
    assert never.ci_high == pytest.approx(0.1611, abs=5e-5)  # Newcombe's 0 of 20
    assert always.ci_low == pytest.approx(1 - never.ci_high)


def test_the_mean_counts_classes_and_not_images():
    small, large = calls(10, 10), calls(50, 100)

    each, mean = over_classes(*zip(small, large, strict=True))

    assert [one.value for one in each] == [1.0, 0.5]
    assert mean.value == 0.75  # 60 of 110 images would be 0.55
    assert mean.n == 110


def test_one_class_alone_keeps_its_interval():
    pair = calls(15, 148)

    _, mean = over_classes(*([part] for part in pair))

    assert mean == pytest.approx(at_threshold(*pair))


def test_perfect_classes_leave_room_for_errors_and_never_above_one():
    _, mean = over_classes(*zip(*[calls(20, 20)] * 4, strict=True))

    assert mean.value == 1 >= mean.ci_high > 1 - 1e-15
    below = 1 - at_threshold(*calls(20, 20)).ci_low
    assert 1 - mean.ci_low == pytest.approx(below / 2)  # sqrt(4) / 4


@pytest.mark.parametrize("right", [(0.95, 0.9, 0.7), (1.0, 0.98, 0.6)])
def test_the_means_interval_covers_the_truth_as_often_as_it_says(right):
    """Three classes of 60 images, 4,000 test sets drawn."""
    random, numbers = np.random.default_rng(0), (60, 60, 60)
    drawn = random.binomial(numbers, right, size=(4_000, 3))
    hits = 0
    for counts in drawn:
        pairs = [calls(*pair) for pair in zip(counts, numbers, strict=True)]
        mean = over_classes(*zip(*pairs, strict=True))[1]
        hits += mean.ci_low <= np.mean(right) <= mean.ci_high

    assert 0.93 < hits / len(drawn) < 0.985


def test_a_fixed_mix_varies_less_than_the_interval_allows():
    """100 normal images of which 20 are right, 100 abnormal of which 90 are."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    drawn = random.binomial(100, (0.2, 0.9), size=(4_000, 2)).sum(axis=1) / 200
    scores = np.repeat([0.2, 0.7, 0.2, 0.7], [20, 80, 10, 90])

    found = at_threshold(labels, scores)

    assert found.value == 0.55
    assert found.ci_high - found.ci_low > 1.2 * 2 * 1.96 * drawn.std()


def test_one_class_of_labels_is_refused():
    with pytest.raises(InputError):
        at_threshold([1, 1], [0.2, 0.7])
