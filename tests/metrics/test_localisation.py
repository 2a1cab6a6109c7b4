import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from thesislib.errors import InputError
from thesislib.metrics.localisation import (
    best_pixel_threshold,
    draw_groups,
    filter_regions,
    localise,
    oracle_thresholds,
    overlap,
)
from thesislib.metrics.pixel import PixelHistogram


def made_maps(num_normal=12, num_abnormal=30, size=32, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [num_normal, num_abnormal])
    y, x = np.mgrid[:size, :size] / size
    masks = np.zeros((len(labels), size, size), bool)
    for i in np.flatnonzero(labels):
        cy, cx = 0.3 + 0.4 * rng.random(2)
        masks[i] = (y - cy) ** 2 + (x - cx) ** 2 < (0.1 + 0.1 * rng.random()) ** 2
    maps = masks + noise * rng.normal(size=masks.shape)
    return maps.astype(np.float32), masks, labels


def test_a_map_equal_to_its_mask_scores_one_everywhere():
    _, masks, labels = made_maps()

    found = localise(masks.astype(float), masks, labels)

    for kind, metrics in found.estimates.items():
        for metric, estimate in metrics.items():
            assert estimate.value == pytest.approx(1), (kind, metric)
            assert estimate.n == 20  # 6 of 30 for the threshold, 5 groups of 4


def test_groups_of_the_thesis_are_five_times_a_hundred_images_never_drawn_before():
    abnormal = np.repeat([False, True], [500, 1000])

    validation, groups = draw_groups(
        abnormal, np.arange(1500), np.random.default_rng(0)
    )

    assert groups.shape == (5, 100)
    assert len(np.unique(groups)) == 500
    assert abnormal[groups].all()
    assert (abnormal[validation].sum(), (~abnormal[validation]).sum()) == (50, 50)
    assert not np.isin(groups, validation).any()


@pytest.mark.parametrize(
    ("num_abnormal", "groups"),
    [(3, (2, 1)), (8, (4, 1)), (30, (5, 5)), (700, (5, 100))],
)
def test_fewer_images_make_smaller_groups(num_abnormal, groups):
    abnormal = np.repeat([False, True], [8, num_abnormal])

    _, drawn = draw_groups(abnormal, np.arange(len(abnormal)), np.random.default_rng(0))

    assert drawn.shape == groups


def test_figures_are_those_of_each_image_averaged():
    maps, masks, labels = made_maps()

    found = localise(maps, masks, labels, min_area=0)

    iou = sklearn_metrics.jaccard_score
    dice = sklearn_metrics.f1_score
    for name, metric in (("iou", iou), ("dice", dice)):
        each = [
            np.mean(
                [
                    metric(masks[i].ravel(), maps[i].ravel() >= found.threshold)
                    for i in group
                ]
            )
            for group in found.groups
        ]
        np.testing.assert_allclose(found.per_group["global"][name], each)
        assert found.estimates["global"][name].value == pytest.approx(np.mean(each))
    histogram = PixelHistogram()
    histogram.update(maps[found.groups[0]], masks[found.groups[0]])
    assert found.per_group["ranking"]["pro"][0] == histogram.pro().value


def test_global_threshold_comes_from_the_validation_images_alone():
    maps, masks, labels = made_maps()
    found = localise(maps, masks, labels, seed=4)
    scrambled = maps.copy()
    scrambled[np.setdiff1d(np.arange(len(maps)), found.validation)] *= -1

    again = localise(scrambled, masks, labels, seed=4)

    assert again.threshold == found.threshold
    np.testing.assert_array_equal(again.groups, found.groups)


@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_has_a_larger_pixel_f1(ties):
    maps, masks, _ = made_maps(num_normal=1, num_abnormal=2, size=8)
    maps = np.round(maps, 1) if ties else maps

    threshold = best_pixel_threshold(maps, masks)

    def f1(t):
        return sklearn_metrics.f1_score(masks.ravel(), maps.ravel() >= t)

    assert f1(threshold) == pytest.approx(max(f1(t) for t in np.unique(maps)))


def test_oracle_tries_what_a_slow_search_tries():
    maps, masks, _ = made_maps(num_normal=0, num_abnormal=4, size=14)

    best = oracle_thresholds(maps, masks)

    tried = np.unique(maps)
    for index, name in enumerate(("iou", "dice")):
        means = [overlap(maps >= t, masks)[index].mean() for t in tried]
        found = overlap(maps >= best[name], masks)[index].mean()
        assert found == pytest.approx(max(means))


def test_oracle_is_never_below_global():
    for seed in range(5):
        maps, masks, labels = made_maps(noise=1.0, seed=seed)

        found = localise(maps, masks, labels, seed=seed).per_group

        for name in ("iou", "dice"):
            assert (found["oracle"][name] >= found["global"][name]).all()


def test_small_regions_go_and_corners_hold_together():
    called = np.zeros((2, 20, 20), bool)  # 0.5 % is 2 pixels
    called[0, 0, 0] = True
    called[0, 5, 5] = called[0, 6, 6] = True
    called[1, 0, 0] = True  # would reach two pixels across images
    expected = called & False
    expected[0, 5, 5] = expected[0, 6, 6] = True

    np.testing.assert_array_equal(filter_regions(called, 0.005), expected)
    np.testing.assert_array_equal(filter_regions(called, 0), called)


def test_largest_region_of_each_image_stays():
    called = np.zeros((3, 20, 20), bool)
    called[0, :3, :3] = called[2, 8:10, 8:10] = True
    expected = called.copy()
    called[0, 10:12, 10:12] = called[2, 0, 0] = True

    np.testing.assert_array_equal(filter_regions(called, 0, True), expected)


def test_dice_and_iou_tell_the_same():
    maps, masks, _ = made_maps()
    masks[0] = maps[0] > 9  # empty on both sides

    iou, dice = overlap(maps > 0.5, masks)

    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))
    assert overlap(masks[:1], masks[:1]) == (1, 1)


def test_abnormal_images_without_a_mask_are_counted_and_not_used():
    maps, masks, labels = made_maps()
    masks[20:23] = False

    found = localise(maps, masks, labels)

    assert found.num_without_lesion == 3
    used = np.concatenate([found.groups.ravel(), found.validation])
    assert not np.isin([20, 21, 22], used).any()


def test_bad_input_is_one_sentence():
    maps, masks, labels = made_maps()
    with pytest.raises(InputError, match="42 maps, but 41 labels"):
        localise(maps, masks, labels[1:])
    with pytest.raises(InputError, match="labelled normal have a lesion"):
        localise(maps, masks, 1 - labels)
    with pytest.raises(InputError, match="too few to localise"):
        localise(maps[:14], masks[:14], labels[:14])
    with pytest.raises(InputError, match="min_area is 1"):
        localise(maps, masks, labels, min_area=1)
