"""What parts of a chapter are said to need is what they need."""

from types import SimpleNamespace

import numpy as np
import pytest

from thesislib.datasets.bank import ImageBank
from thesislib.datasets.baselines import supervised_logistic
from thesislib.detectors.kde_ocsvm import ShallowConfig, fit_kde
from thesislib.errors import InputError
from thesislib.metrics import delong, image, localisation
from thesislib.metrics.per_image import mean_of_images
from thesislib.study import minima

RANDOM = np.random.default_rng(0)


def data(train=20, normal=6, abnormal=6, kinds=None, masks=None, patients=None):
    """What minima look at of a dataset."""
    labels = np.repeat([0, 1], [normal, abnormal])
    return SimpleNamespace(
        train=range(train),
        test_labels=labels,
        test_kinds=("normal",) * normal + tuple(kinds or ["crack"] * abnormal),
        test_masks=masks,
        test_patients=patients,
    )


def masks(normal, abnormal, lesions):
    """4 x 4 pixels; the first so many abnormal images have a lesion."""
    found = np.zeros((normal + abnormal, 4, 4), dtype=bool)
    found[normal : normal + lesions, 1:3, 1:3] = True
    return found


def fails(part) -> bool:
    try:
        part()
    except InputError:
        return True
    return False


@pytest.mark.parametrize("normal", [4, 5])
@pytest.mark.parametrize("abnormal", [4, 5])
def test_the_regression_needs_as_many_images_as_folds(normal, abnormal):
    few = data(normal=normal, abnormal=abnormal)
    features = RANDOM.normal(size=(normal + abnormal, 3))

    said = minima.lacking(few, "logistic-statistics")
    assert bool(said) == fails(
        lambda: supervised_logistic(features, few.test_labels, 0)
    )


@pytest.mark.parametrize("train", [9, 10])
def test_the_kde_needs_two_images_a_fold(train):
    bank = ImageBank(RANDOM.integers(0, 255, (train, 1, 8, 8), dtype=np.uint8))

    said = minima.lacking(data(train=train), "kde")
    assert bool(said) == fails(lambda: fit_kde(bank, ShallowConfig(), 0))


@pytest.mark.parametrize(("normal", "lesions"), [(2, 3), (2, 2), (1, 3), (3, 4)])
def test_localisation_in_groups_needs_a_draw_and_two_groups(normal, lesions):
    of_images = masks(normal, lesions, lesions)
    few = data(normal=normal, abnormal=lesions, masks=of_images)
    maps = RANDOM.normal(size=of_images.shape).astype(np.float32)

    said = minima.lacking(few, "groups")
    assert bool(said) == fails(
        lambda: localisation.localise(maps, of_images, few.test_labels)
    )


@pytest.mark.parametrize("lesions", [1, 2])
def test_localisation_image_by_image_needs_a_spread(lesions):
    few = data(masks=masks(6, 6, lesions))

    said = minima.lacking(few, "outlines")
    assert bool(said) == fails(lambda: mean_of_images(np.full(lesions, 0.9)))


def test_an_image_that_is_all_lesion_has_no_outline():
    of_images = masks(6, 6, 3)
    of_images[6] = True

    assert minima.amounts(data(masks=of_images))["lesions"] == 3
    assert minima.amounts(data(masks=of_images))["outlines"] == 2


@pytest.mark.parametrize("of_normal", [1, 2])
def test_differences_need_two_patients_of_a_class(of_normal):
    patients = np.array([f"n{i % of_normal}" for i in range(6)] + list("abcdef"))
    few = data(patients=patients)
    scores = RANDOM.normal(size=(2, 12))

    said = minima.lacking(few, "contrasts")
    assert bool(said) == fails(
        lambda: delong.compare(few.test_labels, *scores, patients)
    )


@pytest.mark.parametrize("number", [1, 2])
def test_a_kind_needs_an_image_for_the_threshold_and_one_to_judge(number):
    few = data(kinds=["crack"] * (6 - number) + ["stain"] * number)
    labels = np.repeat([0, 1], [6, number])

    assert (minima.few_of_a_kind(few) == {"stain": 1}) == fails(
        lambda: image.evaluate(labels, RANDOM.normal(size=6 + number))
    )


@pytest.mark.parametrize("part", ["train", "normal", "abnormal"])
def test_no_run_goes_on_one_image_of_a_part(part):
    minima.require(data(train=2, normal=2, abnormal=2))

    with pytest.raises(InputError, match="at least 2 of each"):
        minima.require(data(**{"train": 2, "normal": 2, "abnormal": 2} | {part: 1}))


def test_it_is_said_what_is_there_and_what_is_needed():
    few = data(train=9, normal=4, abnormal=7, kinds=["a"] * 6 + ["b"])
    parts = ("logistic-statistics", "kde", "groups", minima.KINDS)

    assert dict(minima.left_out(few, parts)) == {
        "logistic regression on statistics, with labels": "It needs at least 5 normal "
        "test images (here 4).",
        "KDE": "It needs at least 10 training images (here 9).",
        "the kind b by itself": "It needs at least 2 images.",
    }
    assert dict(minima.left_out(data(), parts)) == {}
    assert dict(minima.left_out(few, ("kde",))).keys() == {"KDE"}


def test_classes_that_take_turns_are_looked_at_one_by_one():
    classes = {"0": data(train=9), "6": data()}
    both = SimpleNamespace(class_names=("0", "6"), one_class=classes.get)

    assert [part for part, _ in minima.left_out(both, ("kde",))] == ["KDE, class 0"]
