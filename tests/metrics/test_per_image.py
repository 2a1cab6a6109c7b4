"""Pixel AUROC image by image: scikit-learn as oracle."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thesislib.errors import InputError
from thesislib.metrics.per_image import (
    aurocs_of_images,
    mean_of_images,
    over_classes,
)


def test_each_image_has_scikit_learns_auroc_ties_included():
    random = np.random.default_rng(0)
    maps = random.integers(5, size=(4, 6, 7)) / 4
    masks = random.random((4, 6, 7)) < 0.3

    found = aurocs_of_images(maps, masks)

    expected = [
        roc_auc_score(mask.ravel(), image.ravel())
        for image, mask in zip(maps, masks, strict=True)
    ]
    assert found == pytest.approx(expected)


def test_an_image_is_ranked_by_itself():
    maps = np.arange(18.0).reshape(2, 3, 3)
    masks = maps % 9 >= 6  # the largest of each image

    assert aurocs_of_images(maps * [[[1]], [[100]]] - 50, masks) == pytest.approx(1)


def test_images_without_both_kinds_of_pixel_do_not_count():
    maps = np.random.default_rng(0).random((3, 4, 4))
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[1, 0], masks[2] = True, True

    assert len(aurocs_of_images(maps, masks)) == 1


def test_the_interval_is_that_of_a_mean():
    aurocs = np.array([0.7, 0.8, 0.9, 0.6])

    mean, low, high, number = mean_of_images(aurocs)

    half = 1.959964 * aurocs.std(ddof=1) / 2
    assert (mean, number) == (pytest.approx(0.75), 4)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half))
    with pytest.raises(InputError, match="needs two"):
        mean_of_images([0.5])
    with pytest.raises(InputError, match="shape"):
        aurocs_of_images(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))


def test_a_mean_over_classes_counts_classes_and_adds_their_variances():
    first, second = [0.7, 0.8, 0.9, 0.6], [0.5, 0.52]

    each, mean = over_classes([first, second])

    assert each == [mean_of_images(first), mean_of_images(second)]
    assert (mean.value, mean.n) == (pytest.approx((0.75 + 0.51) / 2), 6)
    halves = [(one.ci_high - one.ci_low) / 2 for one in each]
    assert mean.ci_high - mean.value == pytest.approx(np.hypot(*halves) / 2)
    assert mean.value - mean.ci_low == pytest.approx(np.hypot(*halves) / 2)
    with pytest.raises(InputError, match="needs two"):
        over_classes([first, [0.5]])


def test_ends_that_are_cut_do_not_narrow_the_mean():
    near_one = [1.0, 1.0, 0.9]

    mean = over_classes([near_one, near_one])[1]

    one = mean_of_images(near_one)
    assert one.ci_high == 1
    below = (one.value - one.ci_low) / 2**0.5
    assert mean.value - mean.ci_low == pytest.approx(below)
