from importlib import import_module

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from thesislib.datasets import baselines, phantoms
from thesislib.datasets.phantoms.drawing import BLOCK, Canvas
from thesislib.errors import InputError

ALL = torch.ones(BLOCK, dtype=torch.bool)
FAMILIES = [(m, f) for m in phantoms.MODALITIES for f in phantoms.FAMILIES[m]]

# A change of a generator changes every phantom result of the book: calibrate again
# (benchmarks/phantom_calibration.py), then record the new hash here.
FROZEN = {
    "colonoscopy": "e21f6c5ec95fa211fa0a216066180898feb463bc9d7d4e06fe77f09b07f9d16a",
    "fundus": "d22940c92ac672f9b32cf09964ba4a9c1081bdde1aa723e99bf3b97753902046",
    "chest-xray": "b5f7e5128563fde43c8ebb18ee72a7043e1340ae4e71be6e533ac824bfe29fbb",
}

each_modality = pytest.mark.parametrize("modality", phantoms.MODALITIES)
each_family = pytest.mark.parametrize(("modality", "family"), FAMILIES)


@each_modality
def test_the_generator_is_the_one_that_was_calibrated(modality):
    assert phantoms.generator_hash(modality) == FROZEN[modality]


@each_modality
def test_the_first_images_do_not_depend_on_how_many_follow(modality):
    abnormal = torch.arange(BLOCK + 5) % 3 == 0

    many = phantoms.generate(modality, BLOCK + 5, 32, 4, abnormal)
    few = phantoms.generate(modality, BLOCK + 1, 32, 4, abnormal[: BLOCK + 1])

    assert torch.equal(many.images[: BLOCK + 1], few.images)
    assert torch.equal(many.masks[: BLOCK + 1], few.masks)
    assert many.kinds[: BLOCK + 1] == few.kinds


@each_modality
def test_images_seeds_and_blocks_differ(modality):
    images = phantoms.generate(modality, 2 * BLOCK, 32, 0).images.float()
    others = phantoms.generate(modality, BLOCK, 32, 1).images.float()

    distance = torch.cdist(*2 * [torch.cat([images, others]).flatten(1)])
    distance.fill_diagonal_(torch.inf)

    assert distance.min() > 100  # grey levels, over 3,072 numbers


@each_family
def test_an_image_and_its_healthy_twin_differ_mostly_in_the_lesion(modality, family):
    healthy = phantoms.generate(modality, BLOCK, 64, 7)
    ill = phantoms.generate(modality, BLOCK, 64, 7, ALL, 2.0, family)

    change = (ill.images.float() - healthy.images.float()).abs().mean(dim=1)
    inside = (change * ill.masks).sum() / ill.masks.sum()
    outside = (change * ~ill.masks).sum() / (~ill.masks).sum()

    assert inside > 4 * outside


@each_family
def test_at_difficulty_0_an_abnormal_image_equals_its_healthy_twin(modality, family):
    healthy = phantoms.generate(modality, BLOCK, 48, 7)
    ill = phantoms.generate(modality, BLOCK, 48, 7, ALL, 0.0, family)

    assert torch.equal(ill.images, healthy.images)
    assert ill.kinds == (family,) * BLOCK


@each_modality
def test_at_difficulty_0_every_naive_baseline_is_at_chance(modality):
    train = phantoms.generate(modality, BLOCK, 32, 1).images
    healthy = phantoms.generate(modality, 2 * BLOCK, 32, 2).images
    ill = phantoms.generate(
        modality, 2 * BLOCK, 32, 2, torch.ones(2 * BLOCK, dtype=torch.bool), 0.0
    ).images
    images, labels = torch.cat([healthy, ill]), np.repeat([0, 1], 2 * BLOCK)
    answers = np.tile([0, 1], BLOCK // 2)

    scores = [
        baselines.one_class_nearest_neighbour(features(train), features(images))
        for features in (baselines.statistics_features, baselines.thumbnails)
    ]
    scores.append(baselines.supervised_cnn_scores(train, answers, images, 0, epochs=1))

    for score in scores:  # twins tie, whatever the score: exactly one half
        assert roc_auc_score(labels, score) == pytest.approx(0.5, abs=1e-12)


@each_family
def test_lesions_are_marked_and_normal_images_are_not(modality, family):
    ill = phantoms.generate(modality, 4 * BLOCK, 64, 3, ALL.repeat(4), None, family)
    healthy = phantoms.generate(modality, BLOCK, 64, 3)

    area = ill.masks.float().mean(dim=(1, 2))

    assert (area > 0).float().mean() > 0.95
    assert 0.005 < area.mean() < 0.6
    assert not healthy.masks.any()
    assert set(healthy.kinds) == {"normal"}


@each_modality
def test_two_of_three_abnormal_images_are_blob_like(modality):
    blob, unlike = phantoms.FAMILIES[modality]
    abnormal = torch.tensor([False, True, True, False, True, True, True, True])

    kinds = phantoms.generate(modality, 8, 28, 0, abnormal).kinds

    ill = (blob, blob, unlike)
    assert kinds == ("normal", *ill[:2], "normal", ill[2], *ill)


@each_family
def test_a_scene_looks_the_same_at_another_size(modality, family):
    large = phantoms.generate(modality, BLOCK, 128, 5, ALL, 2.0, family)
    small = phantoms.generate(modality, BLOCK, 64, 5, ALL, 2.0, family)

    shrunk = torch.nn.functional.avg_pool2d(large.images.float(), 2)
    pairs = torch.stack([shrunk.flatten(1), small.images.float().flatten(1)], dim=1)
    agreement = torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs])
    mask = torch.nn.functional.avg_pool2d(large.masks.float()[:, None], 2)[:, 0] > 0.5
    overlap = (mask & small.masks).sum() / (mask | small.masks).sum()

    assert agreement.min() > 0.97
    assert overlap > 0.85


@pytest.mark.parametrize(
    ("modality", "size"),
    [
        ("colonoscopy", 28),
        ("fundus", 28),
        ("chest-xray", 28),
        ("colonoscopy", 97),
        ("fundus", 512),
    ],
)
def test_any_size_is_drawn_in_full_range(modality, size):
    phantom = phantoms.generate(modality, 1, size, 0)

    assert phantom.images.shape == (1, 3, size, size)
    assert phantom.masks.shape == (1, size, size)
    assert phantom.images.dtype == torch.uint8
    assert phantom.images.float().std() > 20  # a picture, not a flat field


@each_family
def test_even_absurd_difficulty_draws_finite_numbers(modality, family):
    # uint8 would hide them: fractional powers of negative light are NaN
    module = import_module(f"{phantoms.__name__}.{modality.replace('-', '_')}")
    present = {
        name: torch.full((BLOCK, 1, 1), float(name == family))
        for name in phantoms.FAMILIES[modality]
    }

    image, _ = module.draw(Canvas(32, 0, (0, 0)), present, 30.0)

    assert image.isfinite().all()


def test_a_chest_x_ray_is_grey():
    images = phantoms.generate("chest-xray", 2, 32, 0).images

    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"modality": "ct"}, "modality is 'ct'.*colonoscopy, fundus, chest-xray"),
        ({"num_images": -1}, "num_images is -1"),
        ({"image_size": 27}, "image_size is 27.*28 to 512"),
        ({"image_size": 513}, "image_size is 513.*28 to 512"),
        ({"seed": -1}, "seed is -1"),
        ({"difficulty": -0.1}, "difficulty is -0.1"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"family": "polyp"}, "family is 'polyp'.*retinopathy, glaucoma"),
        ({"abnormal": torch.ones(3, dtype=torch.bool)}, r"shape \(3,\).*shape \(2,\)"),
        ({"abnormal": torch.ones(2)}, "abnormal is torch.float32"),
    ],
)
def test_wrong_input_is_named(wrong, named):
    good = {"modality": "fundus", "num_images": 2, "image_size": 28, "seed": 0}

    with pytest.raises(InputError, match=named):
        phantoms.generate(**(good | wrong))
