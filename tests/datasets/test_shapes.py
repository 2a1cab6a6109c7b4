"""The phantom of silhouettes: seeded, hard to tell apart without its outlines."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from thesislib.datasets import baselines
from thesislib.datasets.phantoms import shapes
from thesislib.datasets.phantoms.drawing import BLOCK
from thesislib.errors import InputError

# A change of the generator changes every phantom result: calibrate again
# (benchmarks/phantom_calibration.py --shapes), then record the new hash here.
FROZEN = "4fad275f939244a46d879c881fc83e77866ca1d3077f1507187f67636e3dba9e"
NUM_CLASSES = len(shapes.NAMES)


def in_turn(number: int) -> np.ndarray:
    return np.arange(number * NUM_CLASSES) % NUM_CLASSES


def test_the_generator_is_the_one_that_was_calibrated():
    assert shapes.generator_hash() == FROZEN


def test_an_image_depends_on_seed_place_and_class_only():
    classes = in_turn(4)

    images = shapes.generate(classes, 32, 5)

    assert images.shape == (40, 1, 32, 32)
    assert images.dtype == torch.uint8
    few = shapes.generate(classes[: BLOCK + 3], 32, 5)
    assert torch.equal(images[: BLOCK + 3], few)
    other = classes.copy()
    other[7] = (other[7] + 1) % NUM_CLASSES
    changed = (shapes.generate(other, 32, 5) != images).flatten(1).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [7]
    assert not torch.equal(images, shapes.generate(classes, 32, 6))


@pytest.mark.parametrize("size", [28, 97, 256])
def test_a_silhouette_looks_the_same_at_another_size(size):
    large = shapes.generate(in_turn(1), 2 * size, 1).float()
    small = shapes.generate(in_turn(1), size, 1).float()

    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    for pair in zip(shrunk.flatten(1), small.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack(pair))[0, 1] > 0.95


def test_all_outlines_cover_the_same_area():
    line = torch.linspace(-2, 2, 501)
    v, u = torch.meshgrid(line, line, indexing="ij")

    for name, outline in shapes.OUTLINES.items():
        scale = shapes._scale(name)
        area = 16 * (outline(u / scale, v / scale) > 0).float().mean().item()
        assert area == pytest.approx(shapes._AREA, rel=0.02), name


@pytest.mark.parametrize("name", shapes.NAMES)
def test_depth_is_about_a_distance(name):
    """Depth changes nowhere faster than by the step taken (a 1-Lipschitz function)."""
    generator = torch.Generator().manual_seed(0)
    here = 3 * torch.rand(2, 4_000, generator=generator) - 1.5
    step = 0.01 * torch.randn(2, 4_000, generator=generator)

    change = shapes.OUTLINES[name](*(here + step)) - shapes.OUTLINES[name](*here)

    assert (change.abs() <= 1.01 * step.norm(dim=0) + 1e-6).float().mean() > 0.99


def test_intensities_do_not_tell_classes_apart_and_thumbnails_not_fully():
    train, test = in_turn(100), in_turn(40)
    drawn = [shapes.generate(c, 32, s).numpy() for c, s in ((train, 1), (test, 2))]

    mean = {}
    for features in (baselines.statistics_features, baselines.thumbnails):
        known, asked = (features(images) for images in drawn)
        mean[features.__name__] = np.mean(
            [
                roc_auc_score(
                    test != one,
                    baselines.one_class_nearest_neighbour(known[train == one], asked),
                )
                for one in range(NUM_CLASSES)
            ]
        )

    assert mean["statistics_features"] < 0.6
    assert 0.7 < mean["thumbnails"] < 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.array([10]), 32, 0), "classes must be whole numbers from 0 to 9"),
        ((np.array([[1]]), 32, 0), "classes must be"),
        ((np.array([1]), 27, 0), "image_size is 27"),
        ((np.array([1]), 32, -1), "seed is -1"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        shapes.generate(*arguments)
