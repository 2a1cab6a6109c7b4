"""Anyone's images: both folder layouts, and what is said when they are incomplete."""

import pytest

from thesislib.datasets import registry
from thesislib.errors import InputError


def _find(name, folder, **options):
    return registry.find(name, "real", folder, image_size=16, **options)


def _load(name, folder, **options):
    return registry.load(_find(name, folder, **options), device="cpu")


class TestFolder:
    def test_kinds_are_folders_and_masks_are_paired_by_stem(self, layouts, tmp_path):
        data = _load("folder", layouts["folder"](tmp_path / "own"))

        assert data.test_kinds == ("crack", "normal", "stain")
        assert data.test_labels.tolist() == [1, 0, 1]
        assert data.test_masks.any(axis=(1, 2)).tolist() == [True, False, True]
        assert data.published_counts is None

    def test_a_mask_may_have_the_name_of_its_image(self, layouts, tmp_path):
        folder = layouts["folder"](tmp_path / "own")
        (folder / "ground_truth/crack/000_mask.png").rename(
            folder / "ground_truth/crack/000.bmp"
        )

        assert _load("folder", folder).test_masks[0].any()

    def test_an_empty_folder_of_masks_for_good_images_is_no_matter(
        self, layouts, tmp_path
    ):
        folder = layouts["folder"](tmp_path / "own")
        (folder / "ground_truth/good").mkdir()

        assert _load("folder", folder).test_masks[0].any()

    def test_without_ground_truth_there_are_no_masks(self, layouts, tmp_path):
        folder = layouts["folder"](tmp_path / "own")
        (folder / "ground_truth").rename(tmp_path / "away")

        assert _load("folder", folder).test_masks is None

    def test_masks_for_some_lesions_only_are_an_error(self, layouts, tmp_path):
        folder = layouts["folder"](tmp_path / "own")
        (folder / "ground_truth/stain").rename(tmp_path / "away")

        with pytest.raises(InputError, match=r"no mask for 1 .*test/stain/000\.png"):
            _find("folder", folder)

    def test_other_folders_of_train_are_ignored_and_noted(
        self, layouts, paint, tmp_path
    ):
        folder = layouts["folder"](tmp_path / "own")
        paint(folder / "train/vaild/000.png")

        located = _find("folder", folder)

        assert located.counts["train normal"] == 3
        assert "vaild" in located.provenance["notes"][0]

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ("train/good", "has no folder good"),
            ("test/good", "has no folder good"),
        ],
    )
    def test_a_part_that_is_absent_is_named(self, part, message, layouts, tmp_path):
        folder = layouts["folder"](tmp_path / "own")
        (folder / part).rename(tmp_path / "away")

        with pytest.raises(InputError, match=message):
            _find("folder", folder)

    def test_without_abnormal_images_there_is_nothing_to_judge(self, layouts, tmp_path):
        folder = layouts["folder"](tmp_path / "own")
        for kind in ("crack", "stain"):
            (folder / "test" / kind).rename(tmp_path / kind)

        with pytest.raises(InputError, match="no folder of abnormal images"):
            _find("folder", folder)

    @pytest.mark.parametrize(("num_abnormal", "expected"), [(2, (8, 2)), (5, (7, 3))])
    def test_two_folders_are_split_at_a_fixed_seed(
        self, num_abnormal, expected, paint, tmp_path
    ):
        for number in range(10):
            paint(tmp_path / f"own/normal/{number}.png")
        for number in range(num_abnormal):
            paint(tmp_path / f"own/abnormal/{number}.png")

        first, again = (_find("folder", tmp_path / "own", seed=s) for s in (0, 1))

        assert tuple(first.counts.values()) == (*expected, num_abnormal)
        assert first.fingerprint == again.fingerprint
        assert {i.kind for i in first.items if i.label} == {"abnormal"}

    def test_folders_inside_abnormal_are_kinds(self, paint, paint_mask, tmp_path):
        for number in range(4):
            paint(tmp_path / f"own/normal/{number}.png")
        for kind in ("crack", "stain"):
            paint(tmp_path / f"own/abnormal/{kind}/0.png")
            paint_mask(tmp_path / f"own/ground_truth/{kind}/0.png")

        data = _load("folder", tmp_path / "own")

        assert data.test_kinds == ("normal", "crack", "stain")
        assert data.test_masks.any(axis=(1, 2)).tolist() == [False, True, True]

    def test_files_beside_the_kinds_are_an_error(self, paint, tmp_path):
        paint(tmp_path / "own/normal/0.png")
        paint(tmp_path / "own/normal/1.png")
        paint(tmp_path / "own/abnormal/crack/0.png")
        paint(tmp_path / "own/abnormal/1.png")

        with pytest.raises(InputError, match=r"the file 1\.png"):
            _find("folder", tmp_path / "own")

    def test_one_normal_image_cannot_be_split(self, paint, tmp_path):
        paint(tmp_path / "own/normal/0.png")
        paint(tmp_path / "own/abnormal/0.png")

        with pytest.raises(InputError, match=r"1 distinct normal image.*at least 2"):
            _find("folder", tmp_path / "own")
