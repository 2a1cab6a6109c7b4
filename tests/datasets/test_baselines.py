import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from thesislib.datasets import baselines
from thesislib.errors import InputError


def some_images(num=6, channels=3, size=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, channels, size, size), dtype=np.uint8)


def test_statistics_are_those_of_numpy():
    images = some_images()

    features = baselines.statistics_features(images).reshape(6, 3, 9)

    pixels = images.reshape(6, 3, -1) / 255
    quantiles = np.quantile(pixels, baselines.QUANTILES, axis=2)  # (7, N, C)
    np.testing.assert_allclose(features[..., 0], pixels.mean(axis=2))
    np.testing.assert_allclose(features[..., 1], pixels.std(axis=2))
    np.testing.assert_allclose(features[..., 2:], np.moveaxis(quantiles, 0, 2))


def test_statistics_do_not_see_where_a_pixel_is():
    images = some_images()

    turned = np.rot90(images, axes=(2, 3))

    np.testing.assert_allclose(
        baselines.statistics_features(images), baselines.statistics_features(turned)
    )


def test_thumbnails_are_block_means_where_sizes_divide():
    images = some_images(size=12)

    small = baselines.thumbnails(images, size=4)

    blocks = images.reshape(6, 3, 4, 3, 4, 3).mean(axis=(3, 5)) / 255
    np.testing.assert_allclose(small, blocks.reshape(6, -1))


def test_thumbnails_keep_the_mean_where_sizes_do_not_divide():
    images = some_images(size=13)

    small = baselines.thumbnails(images, size=5).reshape(6, 3, 25)

    np.testing.assert_allclose(small.mean(axis=2), images.mean(axis=(2, 3)) / 255)


def step_edge(height, size=16, low=10):
    """Left half `low`, right half `height` grey levels more, (1, 1, size, size)."""
    image = np.full((1, 1, size, size), low, dtype=np.uint8)
    image[..., size // 2 :] += height
    return image


def ramp(slope, size=16):
    """`slope` grey levels more with every column, (1, 1, size, size)."""
    return np.tile(np.arange(size) * slope, (1, 1, size, 1)).astype(np.uint8)


BOTH = pytest.mark.parametrize(
    "measure", [baselines.edge_strength, baselines.gradient_energy]
)


def test_a_step_edge_has_the_strength_of_its_two_columns():
    # weights 1 + 2 + 1 in two of 16 columns; half the height, squared, in the same two
    strength = baselines.edge_strength(step_edge(51))
    energy = baselines.gradient_energy(step_edge(51))

    np.testing.assert_allclose(strength, [2 / 16 * 4 * 0.2])
    np.testing.assert_allclose(energy, [2 / 16 * (0.2 / 2) ** 2])


def test_a_ramp_has_its_slope_everywhere():
    # eight times the slope inside, half of that in the two columns at the border
    np.testing.assert_allclose(
        baselines.edge_strength(ramp(5)), [8 * 5 / 255 * (14 + 2 / 2) / 16]
    )
    np.testing.assert_allclose(baselines.gradient_energy(ramp(5)), [(5 / 255) ** 2])


def test_edge_strength_is_that_of_scipy_channel_by_channel():
    ndimage = pytest.importorskip("scipy.ndimage")
    images = some_images()

    expected = [
        np.mean(
            [
                np.hypot(ndimage.sobel(plane, 0), ndimage.sobel(plane, 1))
                for plane in image / 255
            ]
        )
        for image in images
    ]

    np.testing.assert_allclose(baselines.edge_strength(images), expected)


def test_gradient_energy_is_that_of_a_slow_version():
    images = some_images(num=2, channels=2, size=5)

    def difference(line, i):
        before, after = max(i - 1, 0), min(i + 1, len(line) - 1)
        return (line[after] - line[before]) / (after - before)

    expected = [
        np.mean(
            [
                difference(plane[i], j) ** 2 + difference(plane[:, j], i) ** 2
                for plane in image / 255
                for i in range(5)
                for j in range(5)
            ]
        )
        for image in images
    ]

    np.testing.assert_allclose(baselines.gradient_energy(images), expected)


@BOTH
def test_an_image_is_measured_without_its_neighbours(measure):
    # a filter over the whole array would mix them, along their number too
    flat = np.array([0, 255, 0, 255], dtype=np.uint8).reshape(4, 1, 1, 1)
    images = some_images(num=5)

    np.testing.assert_array_equal(measure(np.tile(flat, (1, 2, 8, 8))), np.zeros(4))
    np.testing.assert_array_equal(
        measure(images), [measure(image[None])[0] for image in images]
    )


@BOTH
def test_edges_do_not_see_brightness_nor_how_the_image_is_turned(measure):
    dark = some_images() // 2

    np.testing.assert_allclose(measure(dark + 100), measure(dark))
    np.testing.assert_allclose(measure(np.rot90(dark, axes=(2, 3))), measure(dark))
    np.testing.assert_allclose(measure(dark[..., ::-1]), measure(dark))


@pytest.mark.parametrize(
    ("measure", "factor"),
    [(baselines.edge_strength, 3), (baselines.gradient_energy, 9)],
)
def test_strength_grows_with_contrast_and_energy_with_its_square(measure, factor):
    images = some_images() // 3

    np.testing.assert_allclose(measure(3 * images), factor * measure(images))


def test_distance_from_the_mean_has_no_direction():
    scores = baselines.distance_from_mean([1.0, 3.0], [2.0, 0.5, 3.5])

    np.testing.assert_allclose(scores, [0, 1.5, 1.5])


def test_the_oracle_takes_its_direction_from_the_labels():
    values = np.random.default_rng(0).normal(size=50)
    labels = np.tile([0, 1], 25)

    for answers in (labels, 1 - labels):
        scores = baselines.oracle_direction(values, answers)
        auc = roc_auc_score(answers, values)
        assert roc_auc_score(answers, scores) == pytest.approx(max(auc, 1 - auc))


def test_nearest_neighbour_distance_counts_standard_deviations():
    train = np.array([[0.0, 0.0], [2.0, 200.0]])  # deviations 1 and 100

    scores = baselines.one_class_nearest_neighbour(
        train, [[0.0, 0.0], [0.0, -300.0], [5.0, 200.0]]
    )

    np.testing.assert_allclose(scores, [0, 3, 3])


def test_logistic_regression_separates_what_a_line_separates():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    features = rng.uniform(0, 1, (80, 3)) + 2 * labels[:, None]

    scores = baselines.supervised_logistic(features, labels, seed=0)

    assert roc_auc_score(labels, scores) == 1


def test_logistic_regression_never_scores_an_image_it_was_fitted_on():
    # more features than images: fitted scores would be perfect on pure noise
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    features = rng.normal(size=(400, 500))

    scores = baselines.supervised_logistic(features, labels, seed=0)

    assert abs(roc_auc_score(labels, scores) - 0.5) < 5 * 0.029  # 5 standard errors


def test_the_ceiling_learns_a_square_and_repeats_itself():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (192, 1, 16, 16), dtype=np.uint8)
    labels = np.tile([0, 1], 96)
    corners = rng.integers(0, 12, (2, 96))
    for n, row, column in zip(np.flatnonzero(labels), *corners, strict=True):
        images[n, 0, row : row + 4, column : column + 4] = 150

    def scores():
        return baselines.supervised_cnn_scores(
            images[:128], labels[:128], images[128:], seed=0, epochs=8
        )

    first = scores()
    torch.rand(1)  # the global generator has no part in it

    assert roc_auc_score(labels[128:], first) > 0.95
    np.testing.assert_array_equal(first, scores())


def test_wrong_input_is_named():
    with pytest.raises(InputError, match="float64 of shape"):
        baselines.statistics_features(np.zeros((2, 3, 8, 8)))
    with pytest.raises(InputError, match="float64 of shape"):
        baselines.edge_strength(np.zeros((2, 3, 8, 8)))
    with pytest.raises(InputError, match=r"size is 9.*8 x 8.*1 to 8"):
        baselines.thumbnails(some_images(size=8), size=9)
    with pytest.raises(InputError, match="6 zeros and 4 ones"):
        baselines.supervised_logistic(np.zeros((10, 2)), [0] * 6 + [1] * 4, seed=0)


def test_kermany_chest_x_rays_leak_their_labels_through_grey_levels(real_data):
    from PIL import Image

    root = real_data("chest_xray_224")

    def read(folder):
        files = sorted((root / folder).glob("*.jpeg"))
        images = [np.asarray(Image.open(file).convert("L"))[None] for file in files]
        return np.stack(images)

    normal, abnormal = read("test/NORMAL"), read("test/PNEUMONIA")
    labels = np.repeat([0, 1], [len(normal), len(abnormal)])
    train = baselines.statistics_features(read("train/NORMAL"))
    test = baselines.statistics_features(np.concatenate([normal, abnormal]))

    one_class = baselines.one_class_nearest_neighbour(train, test)
    supervised = baselines.supervised_logistic(test, labels, seed=0)

    assert roc_auc_score(labels, one_class) == pytest.approx(0.683, abs=0.005)
    assert roc_auc_score(labels, supervised) == pytest.approx(0.841, abs=0.01)
    assert f1_score(labels, np.ones_like(labels)) == pytest.approx(0.769, abs=5e-4)


def test_kermany_chest_x_rays_leak_their_labels_through_edges(real_data):
    from PIL import Image

    root = real_data("chest_xray_224")

    def edges(folder):
        files = sorted((root / folder).glob("*.jpeg"))
        images = [
            Image.open(file).convert("L").resize((64, 64), Image.Resampling.BICUBIC)
            for file in files
        ]
        return baselines.edge_strength(np.stack(images)[:, None])

    normal, abnormal = edges("test/NORMAL"), edges("test/PNEUMONIA")
    labels = np.repeat([0, 1], [len(normal), len(abnormal)])
    test = np.concatenate([normal, abnormal])

    one_class = baselines.distance_from_mean(edges("train/NORMAL"), test)
    oracle = baselines.oracle_direction(test, labels)

    assert roc_auc_score(labels, one_class) == pytest.approx(0.841, abs=0.005)
    assert roc_auc_score(labels, oracle) == pytest.approx(0.877, abs=0.005)
    assert abnormal.mean() < normal.mean()
