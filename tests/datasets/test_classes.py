"""The one-class protocol: who trains, who is judged, and who never meets whom."""

import json
from typing import ClassVar

import numpy as np
import pytest

from tests.datasets.made import LAYOUTS, NUM_TEST, NUM_TRAIN, idx_bytes, pixels
from thesislib.datasets import registry
from thesislib.datasets.registry import PhantomSize
from thesislib.errors import InputError

TINY = PhantomSize(num_train=6, num_test_normal=3)
NAMES = ("mnist", "fmnist", "cifar10")


@pytest.fixture(params=["phantom", *NAMES])
def classes(request, tmp_path):
    """Ten classes, 6 training and 3 test images each, from every source."""
    if request.param == "phantom":
        located = registry.find("fmnist", "phantom", image_size=28, phantom=TINY)
    else:
        folder = LAYOUTS[request.param](tmp_path / "own")
        located = registry.find(request.param, "real", folder, image_size=32)
    return registry.load(located)


@pytest.fixture
def digits(tmp_path):
    """MNIST's tiny twin, from files."""
    folder = LAYOUTS["mnist"](tmp_path / "own")
    return registry.load(registry.find("mnist", "real", folder, image_size=28))


def rows(bank):
    return [image.tobytes() for image in bank.pixels]


def test_one_class_trains_and_all_test_images_judge(classes):
    data = classes.one_class("3")

    assert data.counts == {
        "train normal": NUM_TRAIN,
        "test normal": NUM_TEST,
        "test abnormal": 9 * NUM_TEST,
    }
    assert len(data.train) == len(data.train_ids) == NUM_TRAIN
    assert len(data.test) == len(set(data.test_ids)) == 10 * NUM_TEST
    np.testing.assert_array_equal(data.test_labels, np.arange(30) % 10 != 3)
    assert [kind == "normal" for kind in data.test_kinds] == [
        label == 0 for label in data.test_labels
    ]
    titles = [t for n, t in enumerate(classes.class_titles) if n != 3]
    assert set(data.test_kinds) == {"normal", *titles}
    assert data.train_labels is None and data.test_masks is None
    assert data.provenance["class"] == "3"
    assert data.provenance["class_title"] == classes.class_titles[3]
    json.dumps(data.provenance)


def test_the_test_images_are_shared_by_all_classes(classes):
    assert len({id(classes.one_class(name).test) for name in classes.class_names}) == 1


def test_each_class_has_its_own_training_images_and_fingerprint(classes):
    parts = [classes.one_class(name) for name in classes.class_names]

    assert len({id for part in parts for id in part.train_ids}) == 10 * NUM_TRAIN
    assert len({one for part in parts for one in rows(part.train)}) == 10 * NUM_TRAIN
    assert len({part.fingerprint for part in parts} | {classes.fingerprint}) == 11


def test_an_unknown_class_is_an_error_that_lists_them(classes):
    with pytest.raises(InputError, match=r"class is 'sneaker'; .* has 0, 1, .*, 9\."):
        classes.one_class("sneaker")
    with pytest.raises(InputError, match="class is 'x'"):
        classes.validation("x", num_train=1, num_normal=1, num_abnormal_per_class=1)


def test_contaminating_images_are_training_images_of_other_classes(classes):
    data = classes.one_class("5", contamination=0.25, seed=1)

    assert data.counts["train normal"] == NUM_TRAIN
    assert data.counts["train abnormal"] == 2  # 2 of 8
    assert data.train_labels.tolist() == [0] * NUM_TRAIN + [1] * 2
    normal = classes.one_class("5")
    np.testing.assert_array_equal(data.train.pixels[:NUM_TRAIN], normal.train.pixels)
    others = {
        one
        for name in classes.class_names
        if name != "5"
        for one in rows(classes.one_class(name).train)
    }
    ill = rows(data.train)[NUM_TRAIN:]
    assert set(ill) <= others
    assert not set(ill) & set(rows(data.test))
    assert data.test is normal.test
    assert data.train_list().splitlines()[-1] == f"{data.train_ids[-1]},train,1"


def test_a_training_image_that_is_also_a_test_image_never_contaminates(tmp_path):
    folder = LAYOUTS["mnist"](tmp_path / "own")
    images, labels = pixels("train", 28, 28)
    tested, _ = pixels("test", 28, 28)
    clean = np.flatnonzero(labels == 1)[:2]
    for index in np.flatnonzero(labels != 0):
        if index not in clean:
            images[index] = tested[index % len(tested)]
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    classes = registry.load(registry.find("mnist", "real", folder, image_size=28))

    data = classes.one_class("0", contamination=0.25)

    assert set(data.train_ids[-2:]) == {f"train-{index:05d}" for index in clean}
    repeated = classes.provenance["repeated_images"]
    assert repeated["training images also in test"] == 10 * NUM_TRAIN - NUM_TRAIN - 2
    with pytest.raises(InputError, match=r"takes 3 images of other classes, but .* 2"):
        classes.one_class("0", contamination=1 / 3)


def test_fractions_and_contaminations_of_one_seed_are_nested(classes):
    def ids(**options):
        data = classes.one_class("2", seed=4, **options)
        labels = data.train_labels
        labels = np.zeros(len(data.train)) if labels is None else labels
        return [
            {id for id, label in zip(data.train_ids, labels, strict=True) if label == k}
            for k in (0, 1)
        ]

    (fifth, _), (half, _), (whole, _) = (ids(fraction=f) for f in (0.2, 0.5, 1.0))
    assert fifth < half < whole
    assert (len(fifth), len(half)) == (1, 3)
    some, more = (ids(contamination=c) for c in (0.25, 0.5))
    assert some[0] == more[0] == whole
    assert some[1] < more[1]


def test_a_seed_gives_the_same_subset_again_and_another_one_another(classes):
    options = {"fraction": 0.5, "contamination": 0.4}
    first, again, other = (classes.one_class("2", seed=s, **options) for s in (1, 1, 2))

    assert first.train_ids == again.train_ids
    assert rows(first.train) == rows(again.train)
    assert first.fingerprint == again.fingerprint
    assert first.train_ids != other.train_ids
    assert first.fingerprint != other.fingerprint


def test_what_was_chosen_is_recorded(classes):
    data = classes.one_class("2", fraction=0.5, contamination=0.4, seed=7)

    recorded = data.provenance["subset"]
    assert recorded | {"train_list_sha256": ""} == {
        "fraction": 0.5,
        "contamination": 0.4,
        "seed": 7,
        "num_normal": 3,
        "num_abnormal": 2,
        "train_list_sha256": "",
    }
    from hashlib import sha256

    listed = sha256(data.train_list().encode()).hexdigest()
    assert recorded["train_list_sha256"] == listed
    whole = [classes.one_class("2", seed=seed) for seed in (0, 1)]
    assert whole[0].fingerprint == whole[1].fingerprint  # nothing was drawn
    assert len({whole[0].fingerprint, data.fingerprint}) == 2


class TestValidation:
    OPTIONS: ClassVar = {"num_train": 4, "num_normal": 2, "num_abnormal_per_class": 3}

    def test_it_is_made_of_training_images_only(self, classes):
        data = classes.validation("8", **self.OPTIONS)

        assert data.counts == {
            "train normal": 4,
            "test normal": 2,
            "test abnormal": 27,
        }
        own = set(classes.one_class("8").train_ids)
        assert set(data.train_ids) <= own
        for id, label in zip(data.test_ids, data.test_labels, strict=True):
            assert (id in own) == (label == 0)
        kinds = [kind for kind in data.test_kinds if kind != "normal"]
        assert {kinds.count(kind) for kind in set(kinds)} == {3}
        assert len(set(kinds)) == 9
        assert not set(rows(data.test)) & set(rows(classes.test))

    def test_its_two_parts_share_nothing(self, classes):
        data = classes.validation("8", **self.OPTIONS)

        assert not set(data.train_ids) & set(data.test_ids)
        assert len(set(data.train_ids + data.test_ids)) == 4 + 29
        assert not set(rows(data.train)) & set(rows(data.test))
        assert data.provenance["validation"]["copies of training images"] == 0

    def test_pixels_and_labels_belong_together(self, digits):
        images, labels = pixels("train", 28, 28)

        data = digits.validation("8", **self.OPTIONS)

        places = [int(id.removeprefix("train-")) for id in data.test_ids]
        np.testing.assert_array_equal(data.test.pixels[:, 0], images[places])
        np.testing.assert_array_equal(data.test_labels, labels[places] != 8)

    def test_it_follows_its_seed(self, classes):
        first, again, other = (
            classes.validation("8", **self.OPTIONS, seed=seed) for seed in (1, 1, 2)
        )

        assert first.train_ids == again.train_ids and first.test_ids == again.test_ids
        assert first.fingerprint == again.fingerprint != other.fingerprint
        assert first.test_ids != other.test_ids

    def test_it_never_passes_for_the_published_protocol(self, classes):
        data = classes.validation("8", **self.OPTIONS)

        assert data.mark == ("phantom" if data.source == "phantom" else "partial")
        assert data.published_counts is None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_train": 5}, "5 and 2, together more than the 6"),
            ({"num_normal": 0}, "num_normal is 0"),
            ({"num_abnormal_per_class": 7}, "is 7, but class '0' has 6"),
        ],
    )
    def test_too_many_or_none_is_an_error(self, options, message, digits):
        with pytest.raises(InputError, match=message):
            digits.validation("8", **self.OPTIONS | options)


def test_a_class_without_images_is_named(tmp_path):
    folder = LAYOUTS["mnist"](tmp_path / "own")
    zeros = np.zeros(10 * NUM_TRAIN, dtype=np.uint8)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(zeros))
    classes = registry.load(registry.find("mnist", "real", folder, image_size=28))

    assert classes.one_class("0").counts["train normal"] == 10 * NUM_TRAIN
    with pytest.raises(InputError, match="no training images where class '7'"):
        classes.one_class("7")


class TestPublished:
    def test_official_counts_are_those_of_the_class(self, digits):
        published = digits.one_class("1").published_counts

        assert published == {
            "train normal": 6_742,
            "test normal": 1_135,
            "test abnormal": 8_865,
        }
        assert digits.one_class("1").partial

    @pytest.mark.parametrize("name", NAMES)
    def test_classes_add_up_to_the_whole(self, name):
        reader = registry.adapter(name)
        sums = {split: sum(of) for split, of in reader.class_counts.items()}

        assert sums == reader.published
        assert len(reader.class_names) == len(set(reader.class_titles)) == 10


class TestPhantom:
    def test_its_size_is_given_by_class(self):
        located = registry.find("mnist", image_size=28, phantom=TINY)

        assert (located.source, located.modality) == ("phantom", "shapes")
        assert located.counts == {"train": 60, "test": 30}
        assert registry.load(located).mark == "phantom"
        assert located.file_list() == ""

    def test_colour_is_grey_in_three_channels(self):
        data = registry.load(registry.find("cifar10", image_size=32, phantom=TINY))
        grey = registry.load(registry.find("fmnist", image_size=32, phantom=TINY))

        assert data.test.pixels.shape == (30, 3, 32, 32)
        for channel in range(3):
            np.testing.assert_array_equal(
                data.test.pixels[:, channel], grey.test.pixels[:, 0]
            )

    def test_training_and_test_are_redrawn_for_every_seed(self):
        found = [
            registry.load(
                registry.find("fmnist", image_size=28, phantom=TINY, seed=seed)
            )
            for seed in (0, 0, 1)
        ]
        banks = [(d.one_class("0").train, d.test) for d in found]

        for part in (0, 1):
            assert rows(banks[0][part]) == rows(banks[1][part])
            assert not set(rows(banks[0][part])) & set(rows(banks[2][part]))
        assert not set(rows(banks[0][0])) & set(rows(banks[0][1]))
        assert found[0].fingerprint == found[1].fingerprint != found[2].fingerprint

    def test_it_has_no_difficulty(self):
        with pytest.raises(InputError, match="difficulty of the phantom is 1"):
            registry.find("fmnist", image_size=28, phantom=PhantomSize(difficulty=1.0))
