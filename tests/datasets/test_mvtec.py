"""MVTec AD: fifteen categories, each a dataset with masks."""

import numpy as np
import pytest

from thesislib import paper
from thesislib.datasets import decoded, registry, subsets
from thesislib.datasets.mvtec import MvtecAd
from thesislib.errors import InputError


@pytest.fixture
def own(layouts, tmp_path):
    return layouts["mvtec"](tmp_path / "own")  # bottle and grid, 4 + 2 + 3 images


def find(folder, **options):
    return registry.find("mvtec", "real", folder, **{"image_size": 16} | options)


def test_published_counts_of_the_categories_add_up():
    sums = np.sum(list(MvtecAd.class_counts.values()), axis=0)

    assert len(MvtecAd.class_names) == 15
    assert sums.tolist() == list(MvtecAd.published.values()) == [3_629, 467, 1_258]


def test_some_printed_accuracies_lie_below_a_guess():
    """What `book/disagreements.md` says of calling every test image abnormal."""
    guess = {
        name: abnormal / (normal + abnormal)
        for name, (_, normal, abnormal) in MvtecAd.class_counts.items()
    }
    cells = [one for one in paper.cells("A.1") if one.quantity == "accuracy"]
    means = [one for one in cells if one.part == "mean"]
    mean = np.mean(list(guess.values()))

    assert mean == pytest.approx(0.72, abs=0.005)
    for start in ("imagenet", "ssl"):
        own = {c.part: c.value for c in cells if c.setting.get("pretrain") == start}
        below = {name for name in guess if own[name] < guess[name]}
        assert below == {"capsule", "carpet", "pill", "screw"}
    assert {c.row for c in means if c.value < mean} == {"ae-ssim", "dae", "anogan"}


def test_each_category_is_a_dataset_with_masks(own):
    classes = registry.load(find(own))

    assert classes.class_names == ("bottle", "grid")
    assert classes.counts == {"train normal": 8, "test normal": 4, "test abnormal": 6}
    assert classes.mark == "partial"
    data = classes.one_class("bottle")
    assert data.counts == {"train normal": 4, "test normal": 2, "test abnormal": 3}
    assert data.test_kinds == ("crack",) * 3 + ("normal",) * 2
    assert data.test_masks.any(axis=(1, 2)).tolist() == [True] * 3 + [False] * 2
    assert all(id.startswith("bottle/test/") for id in data.test_ids)
    assert all(id.startswith("bottle/train/good/") for id in data.train_ids)
    assert data.published_counts["train normal"] == 209
    assert data.fingerprint != classes.one_class("grid").fingerprint


def test_grey_pictures_get_three_equal_channels(own):
    pixels = registry.load(find(own)).one_class("grid").train.pixels

    assert pixels.shape == (4, 3, 16, 16)
    np.testing.assert_array_equal(pixels[:, 0], pixels[:, 2])


def test_only_the_category_asked_for_is_decoded(own, monkeypatch):
    read = []
    real = decoded.decode.read_image

    def spy(path, *rest):
        read.append(path.relative_to(own).parts[0])
        return real(path, *rest)

    monkeypatch.setattr(decoded.decode, "read_image", spy)

    registry.load(find(own)).one_class("grid")

    assert set(read) == {"grid"}


def test_a_complete_category_is_not_partial(own, monkeypatch):
    counts = {"bottle": (4, 2, 3), "grid": (4, 2, 4)}
    monkeypatch.setattr(MvtecAd, "class_counts", counts)

    classes = registry.load(find(own))

    assert [classes.one_class(n).mark for n in ("bottle", "grid")] == ["", "partial"]


def test_unknown_categories_are_answered_with_those_there_are(own):
    classes = registry.load(find(own))

    for name in ("bottel", "cable"):
        with pytest.raises(InputError, match=rf"{name}'; mvtec has bottle, grid"):
            classes.one_class(name)


def test_contamination_takes_images_out_of_the_test_set(own):
    classes = registry.load(find(own))

    data = classes.one_class("bottle", contamination=0.2, fraction=1.0, seed=1)

    assert data.counts == {
        "train normal": 4,
        "train abnormal": 1,
        "test normal": 2,
        "test abnormal": 2,
    }
    assert data.train_ids[-1].startswith("bottle/test/crack/")
    assert data.train_ids[-1] not in data.test_ids
    assert len(data.test_masks) == 4


def test_a_category_can_be_drawn_from_as_any_dataset(own):
    data = registry.load(find(own)).one_class("bottle")

    part = subsets.subset(data, contamination=0.2, reserve=0.3)

    assert part.counts["train abnormal"] == 1
    assert part.counts["test abnormal"] == 1


def test_settings_cannot_be_chosen_without_abnormal_training_images(own):
    classes = registry.load(find(own))

    with pytest.raises(InputError, match="no abnormal training images"):
        classes.validation("grid", num_train=1, num_normal=1, num_abnormal_per_class=1)


def test_other_folders_of_train_are_ignored_and_noted(own, paint):
    clean = find(own)
    paint(own / "bottle/train/vaild/000.png")

    located = find(own)

    assert located.counts == clean.counts
    assert "ignored in bottle/train: vaild" in located.provenance["notes"]


def test_absent_categories_are_noted(own):
    assert find(own).provenance["notes"][-1].startswith("categories that are not there")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("grid/train/good", "grid has no folder train/good"),
        ("grid/test/good", "grid has no folder test/good"),
        ("grid/ground_truth", "grid has no folder ground_truth"),
        ("grid/ground_truth/crack", r"no mask for the image crack/000\.png"),
        ("grid/ground_truth/crack/001_mask.png", r"expected .*crack/001_mask\.png"),
    ],
)
def test_a_missing_part_is_named(part, message, own, tmp_path):
    (own / part).rename(tmp_path / "away")

    with pytest.raises(InputError, match=message):
        find(own)


def test_a_category_without_defects_is_an_error(own, tmp_path):
    (own / "grid/test/crack").rename(tmp_path / "away")

    with pytest.raises(InputError, match="no test abnormal images"):
        find(own)


def test_copies_in_training_and_test_are_noted_not_refused(own):
    copy = (own / "grid/train/good/000.png").read_bytes()
    (own / "grid/test/good/000.png").write_bytes(copy)

    (note,) = [n for n in find(own).provenance["notes"] if "same content" in n]

    assert "grid/test/good/000.png" in note


def test_an_explicit_list_may_leave_images_out(own, tmp_path):
    located = find(own)
    lines = located.file_list().splitlines()
    kept = [line for line in lines if "train/good/003" not in line]
    (tmp_path / "list.csv").write_text("\n".join(kept), encoding="utf-8")

    again = find(own, file_list=tmp_path / "list.csv")

    assert again.counts["train normal"] == 6


def test_there_is_no_phantom(own):
    with pytest.raises(InputError, match="'mvtec' has no phantom"):
        registry.find("mvtec", "phantom", image_size=32)
    with pytest.raises(InputError, match=r"fetch mvtec_anomaly_detection\.tar\.xz"):
        registry.find("mvtec", image_size=32)
