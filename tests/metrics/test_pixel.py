import io
import pickle

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

from thesislib.errors import InputError
from thesislib.metrics.pixel import PixelHistogram
from thesislib.metrics.pixel_grid import (
    NUM_PAGES,
    Counts,
    PageGrid,
    to_keys,
    to_scores,
)

SMALL = {"num_bins": 1 << 14, "chunk_pixels": 1 << 13}  # a grid within a small test

SHAPES = {
    "normal": lambda x: x,
    "many octaves": lambda x: np.exp(4 * x),
    "far from zero": lambda x: 1000 + x,
    "saturated": lambda x: 1 / (1 + np.exp(-8 * x - 4)),
    "two digits": lambda x: np.round(x, 2),
    "mostly one value": lambda x: np.maximum(x, 0.37),
    "constant": lambda x: 0 * x,
}


def made_maps(num_images=12, size=64, seed=0, shape="normal"):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    masks = np.zeros((num_images, size, size), bool)
    for i in range(0, num_images, 2):
        for _ in range(2):
            cy, cx, r = *rng.random(2), 0.05 + 0.1 * rng.random()
            masks[i] |= (y - cy) ** 2 + (x - cx) ** 2 < r**2
    scores = rng.normal(size=masks.shape) + 1.5 * masks
    return SHAPES[shape](scores).astype(np.float32), masks


def counted(maps, masks, batch=5, **settings):
    histogram = PixelHistogram(**settings)
    for start in range(0, len(maps), batch):
        part = slice(start, start + batch)
        histogram.update(maps[part], masks[part])
    return histogram


def exact(maps, masks, limit=0.3):
    """Metrics by sorting, region by region."""
    labels, scores = masks.ravel(), maps.ravel()
    fpr, tpr, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    overlaps = []
    for mask, image in zip(masks, maps, strict=True):
        regions, count = ndimage.label(mask, np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = np.sort(image[regions == region])
            thresholds = np.unique(scores)[::-1]
            found = len(inside) - np.searchsorted(inside, thresholds)
            overlaps.append(np.append(0, found / len(inside)))
    pro = np.mean(overlaps, axis=0)
    within = fpr < limit
    pro = np.append(pro[within], np.interp(limit, fpr, pro))
    return {
        "auroc": sklearn_metrics.roc_auc_score(labels, scores),
        "ap": sklearn_metrics.average_precision_score(labels, scores),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
        "pro": np.trapezoid(pro, np.append(fpr[within], limit)) / limit,
    }


def kilobytes(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return len(file.getvalue()) / 1000


@pytest.mark.parametrize("shape", SHAPES)
def test_few_pixels_are_counted_exactly(shape):
    maps, masks = made_maps(num_images=4, shape=shape)

    found = counted(maps, masks).metrics()

    for name, value in exact(maps, masks).items():
        assert found[name].value == pytest.approx(value, abs=1e-12)
        assert found[name].error <= 1e-12


@pytest.mark.parametrize("normal_first", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_grid_errs_by_no_more_than_it_says(shape, normal_first):
    maps, masks = made_maps(shape=shape)
    if normal_first:
        order = np.argsort(masks.any(axis=(1, 2)), kind="stable")
        maps, masks = maps[order], masks[order]

    found = counted(maps, masks, **SMALL).metrics()

    for name, value in exact(maps, masks).items():
        assert abs(found[name].value - value) <= found[name].error + 1e-12
        if shape != "saturated":  # a third of its pixels lie in 1 / 128 octave
            assert found[name].error < {"auroc": 1e-4, "pro": 2e-4}.get(name, 5e-3)


def test_even_a_hopelessly_small_grid_keeps_its_promise():
    maps, masks = made_maps(shape="far from zero")

    found = counted(maps, masks, num_bins=1, chunk_pixels=1).metrics()

    for name, value in exact(maps, masks).items():
        assert abs(found[name].value - value) <= found[name].error + 1e-12
    assert found["auroc"].error > 1e-3


@pytest.mark.parametrize(
    ("shape", "normal_first"), [("many octaves", True), ("saturated", False)]
)
def test_a_grid_of_full_size_meets_the_tolerances(shape, normal_first):
    maps, masks = made_maps(num_images=13, size=320, shape=shape)
    if normal_first:
        order = np.argsort(masks.any(axis=(1, 2)), kind="stable")
        maps, masks = maps[order], masks[order]

    found = counted(maps, masks).metrics()

    assert 0 < found["auroc"].error <= 1e-6
    assert found["pro"].error <= 1e-6
    assert found["ap"].error <= 1e-4
    assert found["fpr95"].error <= 1e-4
    auroc = sklearn_metrics.roc_auc_score(masks.ravel(), maps.ravel())
    assert found["auroc"].value == pytest.approx(auroc, abs=found["auroc"].error)


def test_batches_do_not_matter():
    maps, masks = made_maps()

    one_by_one, at_once = (counted(maps, masks, b, **SMALL) for b in (1, 12))

    assert one_by_one.metrics() == at_once.metrics()


@pytest.mark.parametrize("num_first", [1, 2, 6, 11])
def test_merging_counts_what_one_would_have_counted(num_first):
    maps, masks = made_maps()
    whole = exact(maps, masks)
    first = counted(maps[:num_first], masks[:num_first], **SMALL)
    second = pickle.loads(
        pickle.dumps(counted(maps[num_first:], masks[num_first:], **SMALL))
    )

    first.merge(second)

    assert first.num_images == 12
    for name, metric in first.metrics().items():
        assert abs(metric.value - whole[name]) <= metric.error + 1e-12
        assert metric.error < 1e-2


def test_merging_what_is_still_exact_stays_exact():
    maps, masks = made_maps()
    first, second = counted(maps[:6], masks[:6]), counted(maps[6:], masks[6:])

    first.merge(second)

    assert first.metrics() == counted(maps, masks).metrics()


def test_merging_leaves_the_other_as_it_was():
    maps, masks = made_maps()
    first, second = (counted(maps[i::2], masks[i::2], **SMALL) for i in (0, 1))
    second.update(maps[:1], masks[:1])
    before = second.metrics()

    first.merge(second)
    first.update(maps, masks)

    assert second.metrics() == before


def test_pixel_order_is_all_that_counts():
    maps, masks = made_maps()

    found = counted(maps, masks).metrics()

    assert counted(np.exp(maps.astype(float)), masks).metrics()["pro"].value == (
        pytest.approx(found["pro"].value, abs=1e-6)  # float32 makes a few new ties
    )
    assert counted(-2 * maps, masks).auroc().value == pytest.approx(
        1 - found["auroc"].value
    )


def test_pro_weighs_regions_and_auroc_pixels():
    # a region of 1 pixel found first, a region of 9 pixels found last
    maps, masks = np.zeros((1, 6, 6)), np.zeros((1, 6, 6), bool)
    masks[0, 0, 0], masks[0, 2:5, 2:5] = True, True
    maps[0, 0, 0], maps[0, 2:5, 2:5] = 1, -1

    histogram = counted(maps, masks)

    assert histogram.num_components == 2
    assert histogram.pro().value == pytest.approx(0.5)
    assert histogram.auroc().value == pytest.approx(0.1)


def test_corners_join_a_region():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = True
    masks[1, 1, 1] = True  # the same place in the next image is another region

    assert counted(np.zeros((2, 4, 4)), masks).num_components == 2


def test_a_perfect_map_is_perfect():
    _, masks = made_maps()

    found = counted(masks.astype(float), masks).metrics()

    assert {name: m.value for name, m in found.items()} == {
        "auroc": 1,
        "ap": 1,
        "fpr95": 0,
        "pro": pytest.approx(1),
    }


def test_keys_ascend_with_scores_and_lead_back():
    scores = np.float32([-np.inf, -1e30, -1.5, -1e-40, 0, 1e-40, 2, 3e38, np.inf])

    keys = to_keys(scores)

    assert (np.diff(keys.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(to_scores(keys), scores)
    assert to_keys(np.float32([-0.0])) == to_keys(np.float32([0.0]))


def test_bins_remember_the_ends_of_what_they_met():
    counts = Counts(PageGrid(np.zeros(NUM_PAGES, np.int8)))
    page = 7 << 16
    for keys in ([20, 90], [40, 50]):
        counts.add(np.uint32(keys) + np.uint32(page), np.uint32([]), np.zeros(0))

    met = counts.intervals()

    assert (met.low - page, met.high - page, met.normal) == (20, 90, 4)


def test_what_is_kept_is_small_and_gives_the_same_metrics():
    maps, masks = made_maps(num_images=13, size=320)
    histogram = counted(maps, masks)

    arrays = histogram.to_arrays()
    kept = PixelHistogram.from_arrays(arrays)

    assert kilobytes(arrays) < 150
    assert kept.metrics() == histogram.metrics()
    kept.merge(PixelHistogram())  # nothing new, but the record no longer holds
    for name, metric in kept.metrics().items():
        full = histogram.metrics()[name]
        assert abs(metric.value - full.value) <= metric.error + full.error
        assert metric.error < 5e-3


@pytest.mark.parametrize("name", ["auroc", "ap", "fpr95", "pro"])
def test_a_changed_metric_is_noticed(name):
    arrays = counted(*made_maps()).to_arrays()
    arrays[name] = arrays[name] + [0.01, 0]

    with pytest.raises(InputError, match=f"stored pixel {name} .* does not agree"):
        PixelHistogram.from_arrays(arrays)


def test_curve_passes_through_counts_of_pixels():
    maps, masks = made_maps()

    curve = counted(maps, masks, **SMALL).curve(num_points=50)

    assert len(curve["threshold"]) <= 50
    for k in (0, 20, -1):
        called = maps >= curve["threshold"][k]
        both, total = (called & masks).sum(), called.sum() + masks.sum()
        assert curve["tpr"][k] == pytest.approx(both / masks.sum())
        assert curve["fpr"][k] == pytest.approx(
            (called & ~masks).sum() / (~masks).sum()
        )
        assert curve["iou"][k] == pytest.approx(both / (total - both))
        assert curve["dice"][k] == pytest.approx(2 * both / total)


def test_bad_input_is_one_sentence():
    maps, masks = made_maps(num_images=2)
    with pytest.raises(InputError, match="both must be"):
        PixelHistogram().update(maps, masks[:1])
    with pytest.raises(InputError, match="must be bool"):
        PixelHistogram().update(maps, masks.astype(int))
    with pytest.raises(InputError, match="NaN or infinite"):
        PixelHistogram().update(maps * np.nan, masks)
    with pytest.raises(InputError, match="no pixel of the 2 images lies inside"):
        counted(maps, masks & False).auroc()
    with pytest.raises(InputError, match="lacks the array 'low'"):
        PixelHistogram.from_arrays({})
    with pytest.raises(InputError, match="limit is 0"):
        counted(maps, masks).pro(0)
