"""Small and contaminated training sets of any dataset."""

import json
from dataclasses import replace

import numpy as np
import pytest

from thesislib.datasets import registry, subsets
from thesislib.datasets.bank import ImageBank
from thesislib.datasets.registry import PhantomSize
from thesislib.datasets.subsets import numbers, subset
from thesislib.errors import InputError

SIZE = PhantomSize(num_train=20, num_test_normal=5, num_test_abnormal=8)


@pytest.fixture(params=["phantom", "folder"])
def data(request, paint, paint_mask, tmp_path):
    """20 normal training images; 5 normal and 8 abnormal test images with masks."""
    if request.param == "phantom":
        return registry.load(registry.find("hyperkvasir", image_size=28, phantom=SIZE))
    for number in range(20):
        paint(tmp_path / f"own/train/good/{number:02d}.png")
    for number in range(5):
        paint(tmp_path / f"own/test/good/{number:02d}.png")
    for number in range(8):
        paint(tmp_path / f"own/test/crack/{number:02d}.png")
        paint_mask(tmp_path / f"own/ground_truth/crack/{number:02d}_mask.png")
    return registry.load(
        registry.find("folder", "real", tmp_path / "own", image_size=28)
    )


def rows(bank):
    return [image.tobytes() for image in bank.pixels]


@pytest.mark.parametrize(
    ("total", "fraction", "contamination", "expected"),
    [
        (6_000, 1.0, 0.0, (6_000, 0)),
        (6_000, 0.2, 0.0, (1_200, 0)),
        (6_000, 0.6, 0.05, (3_600, 189)),  # 189 / 3,789 = 0.0499
        (6_000, 1.0, 0.01, (6_000, 61)),
        (6_000, 1.0, 0.1, (6_000, 667)),
        (3, 0.5, 0.0, (2, 0)),
        (10, 1.0, 0.5, (10, 10)),
    ],
)
def test_contamination_is_a_share_of_the_final_training_set(
    total, fraction, contamination, expected
):
    normal, ill = numbers(total, fraction, contamination)

    assert (normal, ill) == expected
    assert ill / (normal + ill) == pytest.approx(contamination, abs=1 / (normal + ill))


@pytest.mark.parametrize(
    ("fraction", "contamination", "message"),
    [
        (0, 0, "fraction is 0"),
        (1.1, 0, r"fraction is 1\.1"),
        (float("nan"), 0, "fraction is nan"),
        (0.01, 0, "leaves none of 20"),
        (1, 1, "contamination is 1"),
        (1, -0.1, r"contamination is -0\.1"),
        (1, float("nan"), "contamination is nan"),
        (1, 0.01, "less than half an image beside 20"),
        (1, 0.3, "takes 9 of the 8 abnormal"),
    ],
)
def test_shares_that_cannot_be_are_named(fraction, contamination, message, data):
    with pytest.raises(InputError, match=message):
        subset(data, fraction=fraction, contamination=contamination)


def test_contaminating_images_leave_the_test_set(data):
    part = subset(data, contamination=0.2, seed=3)

    assert part.counts == {
        "train normal": 20,
        "train abnormal": 5,
        "test normal": 5,
        "test abnormal": 3,
    }
    assert part.train_labels.tolist() == [0] * 20 + [1] * 5
    moved = set(part.train_ids[20:])
    assert moved == set(data.test_ids) - set(part.test_ids)
    assert set(rows(part.train)[20:]) | set(rows(part.test)) == set(rows(data.test))
    assert not set(rows(part.train)) & set(rows(part.test))
    assert rows(part.train)[:20] == rows(data.train)
    assert len(part.test) == len(part.test_labels) == len(part.test_kinds) == 8


def test_labels_masks_and_pixels_stay_together(data):
    part = subset(data, contamination=0.2, seed=3)

    before = {id: place for place, id in enumerate(data.test_ids)}
    for place, id in enumerate(part.test_ids):
        old = before[id]
        assert part.test_labels[place] == data.test_labels[old]
        assert part.test_kinds[place] == data.test_kinds[old]
        np.testing.assert_array_equal(part.test_masks[place], data.test_masks[old])
        np.testing.assert_array_equal(part.test.pixels[place], data.test.pixels[old])


def test_patients_go_with_their_images(data):
    patients = np.array([f"p{n}" for n in range(13)])

    part = subset(replace(data, test_patients=patients), contamination=0.2)

    kept = dict(zip(data.test_ids, patients, strict=True))
    assert part.test_patients.tolist() == [kept[id] for id in part.test_ids]


def test_copies_of_a_contaminating_image_leave_the_test_set_too(data):
    pixels = data.test.pixels.copy()
    *same, other = np.flatnonzero(data.test_labels)
    pixels[same] = pixels[same[0]]  # all abnormal images are one picture but the last
    twins = replace(data, test=ImageBank(pixels))
    seeds = {}
    for seed in range(20):
        part = subset(twins, contamination=0.05, seed=seed)  # takes one image
        assert not set(rows(part.train)[20:]) & set(rows(part.test))
        seeds[part.counts["test abnormal"]] = part
    assert set(seeds) == {1, 7}  # seven go with any of the copies, or the one alone
    assert seeds[1].provenance["subset"]["num_removed_from_test"] == 7
    pixels[other] = pixels[same[0]]
    with pytest.raises(InputError, match="are all of the abnormal test"):
        subset(replace(data, test=ImageBank(pixels)), contamination=0.05)


def test_contaminations_can_be_judged_on_the_same_images(data):
    parts = [subset(data, contamination=c, reserve=0.2) for c in (0.0, 0.05, 0.2)]

    assert len({part.test_ids for part in parts}) == 1
    assert [part.counts.get("train abnormal", 0) for part in parts] == [0, 1, 5]
    assert {part.provenance["subset"]["num_removed_from_test"] for part in parts} == {5}
    assert len({part.fingerprint for part in parts} | {data.fingerprint}) == 4
    for part in parts:
        assert part.provenance["subset"]["seed"] == 0
        assert not set(part.train_ids) & set(part.test_ids)
    with pytest.raises(InputError, match=r"reserve is 1\.0"):
        subset(data, reserve=1.0)


def test_subsets_of_one_seed_are_nested(data):
    fifth, half, whole = (
        set(subset(data, fraction=f, seed=1).train_ids) for f in (0.2, 0.6, 1.0)
    )
    assert fifth < half < whole
    assert (len(fifth), len(half), len(whole)) == (4, 12, 20)
    few, more = (
        set(subset(data, contamination=c, seed=1).train_ids[20:]) for c in (0.05, 0.2)
    )
    assert (len(few), len(more)) == (1, 5)
    assert few < more


def test_a_draw_follows_its_seed_alone(data):
    options = {"fraction": 0.5, "contamination": 0.3}
    first, again, other = (subset(data, seed=s, **options) for s in (1, 1, 2))

    assert first.train_ids == again.train_ids
    assert first.fingerprint == again.fingerprint
    assert first.train_ids != other.train_ids
    assert first.fingerprint != other.fingerprint


def test_the_whole_dataset_stays_the_same_data(data):
    whole = subset(data, seed=5)

    assert whole.fingerprint == data.fingerprint
    assert whole.train is data.train and whole.test is data.test
    assert whole.train_labels is None
    assert whole.counts == data.counts
    assert whole.provenance["subset"]["seed"] is None


def test_only_the_training_set_of_a_fraction_changes(data):
    part = subset(data, fraction=0.5)

    assert part.test is data.test
    assert part.test_ids == data.test_ids
    kept = dict(zip(data.train_ids, rows(data.train), strict=True))
    assert rows(part.train) == [kept[id] for id in part.train_ids]
    assert part.fingerprint != data.fingerprint
    assert "num_removed_from_test" not in part.provenance["subset"]


def test_the_list_says_what_trains(data):
    part = subset(data, fraction=0.2, contamination=0.2)

    lines = part.train_list().splitlines()
    assert lines[0] == "file,split,label"
    assert [line.split(",")[0] for line in lines[1:]] == list(part.train_ids)
    assert [line[-1] for line in lines[1:]] == ["0"] * 4 + ["1"]
    json.dumps(part.provenance)


def test_names_with_commas_and_quotes_are_quoted(data):
    import csv
    import io

    ids = ('a "b", c.png', *data.train_ids[1:])

    text = replace(data, train_ids=ids).train_list()

    assert [row["file"] for row in csv.DictReader(io.StringIO(text))] == list(ids)


def test_a_subset_is_not_drawn_from_again(data):
    with pytest.raises(InputError, match="a subset already"):
        subset(subset(data, fraction=0.5), fraction=0.5)


def test_draws_for_different_purposes_are_independent():
    ids = [str(n) for n in range(1_000)]

    first, second = (set(subsets.draw(ids, 500, 0, p)) for p in ("one", "other"))

    assert len(first) == len(second) == 500
    assert 180 < len(first & second) < 320  # 250 ± 4.4 standard deviations


def test_a_reserve_leaves_the_same_test_images_whatever_the_fraction(data):
    parts = [
        subset(data, fraction=0.5, reserve=0.2),
        subset(data, reserve=0.2),
        subset(data, contamination=0.2, reserve=0.2),
    ]

    assert len({part.test_ids for part in parts}) == 1
    assert len(parts[0].test_ids) == len(data.test_ids) - 5
