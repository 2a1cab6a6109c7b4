"""Adapters: each reads its official layout, and nothing else, unchanged."""

import numpy as np
import pytest
from PIL import Image

from thesislib.datasets import registry
from thesislib.datasets.base import Adapter
from thesislib.datasets.chest_xray import patient
from thesislib.datasets.covidx import Row, read_list
from thesislib.errors import InputError

COUNTS = {  # train normal, test normal, test abnormal of the tiny folders
    "hyperkvasir": (7, 2, 3),
    "lag": (4, 2, 3),
    "liu-colonoscopy": (3, 3, 2),
    "covidx": (3, 1, 1),
    "chestxray": (3, 1, 2),
    "folder": (3, 1, 2),
}
LISTED = [
    name for name in registry.NAMES if isinstance(registry.adapter(name), Adapter)
]


def _find(name, folder, **options):
    return registry.find(name, "real", folder, image_size=16, **options)


def _load(name, folder, **options):
    return registry.load(_find(name, folder, **options), device="cpu")


def _snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("name", COUNTS)
def test_a_tiny_official_folder_loads_and_stays_as_it_was(name, layouts, tmp_path):
    folder = layouts[name](tmp_path / "own")
    before = _snapshot(folder)

    data = _load(name, folder)

    assert tuple(data.counts.values()) == COUNTS[name]
    assert len(data.train) == COUNTS[name][0]
    assert len(data.test) == len(data.test_labels) == sum(COUNTS[name][1:])
    assert [kind == "normal" for kind in data.test_kinds] == [
        label == 0 for label in data.test_labels
    ]
    assert len(set(data.test_ids)) == len(data.test)
    assert all((folder / id).is_file() for id in data.test_ids)
    assert data.train.take([0]).shape == (1, 3, 16, 16)
    assert data.mark == ("" if name == "folder" else "partial")
    assert _snapshot(folder) == before


@pytest.mark.parametrize("name", LISTED)
def test_leftovers_of_macos_are_ignored(name, layouts, tmp_path):
    folder = layouts[name](tmp_path / "own")
    clean = _find(name, folder).fingerprint
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        (place / "._IM-0001.jpeg").write_bytes(b"\0\5\26\7")
        (place / ".DS_Store").touch()

    assert _find(name, folder).fingerprint == clean


@pytest.mark.parametrize("name", [n for n in LISTED if n != "folder"])
def test_a_folder_is_found_under_its_official_name(name, layouts, tmp_path):
    official = registry.adapter(name).folders[0]
    layouts[name](tmp_path / "data" / official)

    assert _find(name, tmp_path / "data").counts == _find(name, "").counts
    assert _find(name, "").provenance["folder"] == f"$THESIS_DATA/{official}"


class TestHyperKvasir:
    def test_normal_are_cecum_ileum_and_clean_mucosa_only(self, layouts, tmp_path):
        located = _find("hyperkvasir", layouts["hyperkvasir"](tmp_path / "own"))

        normals = [i.id for i in located.items if i.label == 0]
        assert len(normals) == 9
        assert not any("polyps" in name for name in normals)

    def test_abnormal_are_the_segmented_images_with_masks(self, layouts, tmp_path):
        data = _load("hyperkvasir", layouts["hyperkvasir"](tmp_path / "own"))

        assert data.test_masks.shape == (5, 16, 16)
        covered = data.test_masks.any(axis=(1, 2))
        assert covered.tolist() == (data.test_labels == 1).tolist()

    def test_the_dark_frame_is_cut_from_images_and_masks(self, layouts, tmp_path):
        folder = layouts["hyperkvasir"](tmp_path / "own")
        frame = np.full((512, 512), 255, dtype=np.uint8)
        frame[45:475, 45:475] = 0
        Image.fromarray(frame).save(folder / "segmented-images/images/p0.jpg")
        Image.fromarray(frame).save(folder / "segmented-images/masks/p0.jpg")

        data = _load("hyperkvasir", folder)

        index = data.test_ids.index("segmented-images/images/p0.jpg")
        assert not data.test_masks[index].any()
        assert data.test.take([index]).max() < 0.2
        assert data.provenance["empty_masks"] == 1

    def test_the_archives_may_keep_their_names(self, layouts, tmp_path):
        folder = layouts["hyperkvasir"](tmp_path / "own")
        for part in ("labeled-images", "segmented-images"):
            archive = folder / f"hyper-kvasir-{part}"
            archive.mkdir()
            (folder / part).rename(archive / part)

        assert tuple(_find("hyperkvasir", folder).counts.values()) == (7, 2, 3)

    def test_the_authors_repack_is_read_by_its_folders(self, paint, tmp_path):
        for number in range(2):
            paint(tmp_path / f"own/train_set/{number}.png")
        paint(tmp_path / "own/test_set/normal_test/0.png")
        paint(tmp_path / "own/test_set/abnormal_test/0.png")

        data = _load("hyperkvasir", tmp_path / "own")

        assert tuple(data.counts.values()) == (2, 1, 1)
        assert data.test_masks is None

    def test_a_polyp_without_mask_is_an_error(self, layouts, tmp_path):
        folder = layouts["hyperkvasir"](tmp_path / "own")
        (folder / "segmented-images/masks/p1.jpg").unlink()

        with pytest.raises(InputError, match=r"no mask of the same.*p1\.jpg"):
            _find("hyperkvasir", folder)

    def test_half_of_the_archives_is_an_error_that_names_the_other(
        self, layouts, tmp_path
    ):
        folder = layouts["hyperkvasir"](tmp_path / "own")
        (folder / "segmented-images").rename(tmp_path / "away")

        with pytest.raises(InputError, match="no folder segmented-images"):
            _find("hyperkvasir", folder)


class TestLag:
    def test_attention_maps_become_masks_at_their_otsu_threshold(
        self, layouts, tmp_path
    ):
        folder = layouts["lag"](tmp_path / "own")
        heat = np.full((20, 24), 30, dtype=np.uint8)
        heat[:10] = 90
        maps = folder / "suspicious_glaucoma/attention_map"
        Image.fromarray(heat).save(maps / "0000.jpg", quality=100)

        data = _load("lag", folder)

        index = data.test_ids.index("suspicious_glaucoma/image/0000.jpg")
        expected = np.arange(16)[:, None] < 8
        np.testing.assert_array_equal(
            data.test_masks[index], np.broadcast_to(expected, (16, 16))
        )
        assert not data.test_masks[data.test_labels == 0].any()

    def test_maps_are_not_counted_as_images(self, layouts, tmp_path):
        located = _find("lag", layouts["lag"](tmp_path / "own"))

        assert all("/image/" in item.id for item in located.items)

    def test_without_maps_there_are_no_masks(self, layouts, tmp_path):
        folder = layouts["lag"](tmp_path / "own")
        for name in ("non_glaucoma", "suspicious_glaucoma"):
            (folder / name / "attention_map").rename(tmp_path / f"away_{name}")

        assert _load("lag", folder).test_masks is None

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # with a BOM
    def test_the_repack_of_medianomaly_is_read_by_its_lists(
        self, encoding, paint, tmp_path
    ):
        for name in "abcde":
            paint(tmp_path / f"own/images/{name}.jpg")
        (tmp_path / "own/data.json").write_text(
            '{"train": {"0": ["a.jpg", "b.jpg"]},'
            ' "test": {"0": ["c.jpg"], "1": ["d.jpg", "e.jpg"]}}',
            encoding=encoding,
        )

        data = _load("lag", tmp_path / "own")

        assert tuple(data.counts.values()) == (2, 1, 2)
        assert data.test_labels.tolist() == [0, 1, 1]

    def test_a_repack_that_lists_absent_files_is_an_error(self, paint, tmp_path):
        paint(tmp_path / "own/images/a.jpg")
        lists = '{"train": {"0": ["a.jpg"]}, "test": {"0": ["z.jpg"], "1": []}}'
        (tmp_path / "own/data.json").write_text(lists)

        with pytest.raises(InputError, match=r"not in images, the first z\.jpg"):
            _find("lag", tmp_path / "own")


class TestLiuColonoscopy:
    def test_abnormal_frames_are_labelled_one(self, layouts, tmp_path):
        data = _load("liu-colonoscopy", layouts["liu-colonoscopy"](tmp_path / "own"))

        for id, label in zip(data.test_ids, data.test_labels, strict=True):
            assert label == id.startswith("test/abnormal_")

    def test_frames_are_in_the_order_of_their_numbers(self, layouts, tmp_path):
        located = _find("liu-colonoscopy", layouts["liu-colonoscopy"](tmp_path / "own"))

        train = [item.id for item in located.items if item.split == "train"]
        assert train == [f"train/normal_{number}.png" for number in (1, 2, 10)]

    def test_abnormal_training_frames_are_left_out(self, layouts, paint, tmp_path):
        folder = layouts["liu-colonoscopy"](tmp_path / "own")
        paint(folder / "train/abnormal_3.png")

        located = _find("liu-colonoscopy", folder)

        assert located.counts["train normal"] == 3
        assert "1 abnormal training images are not used" in located.provenance["notes"]

    def test_a_frame_with_another_name_is_an_error(self, layouts, paint, tmp_path):
        folder = layouts["liu-colonoscopy"](tmp_path / "own")
        paint(folder / "test/polyp_3.png")

        with pytest.raises(InputError, match=r"polyp_3\.png is named neither"):
            _find("liu-colonoscopy", folder)


class TestCovidx:
    def test_lines_are_read_from_the_right(self, tmp_path):
        (tmp_path / "list.txt").write_text(
            "COVID 1 COVID(1).png positive sirm\n"
            "\n"
            "a b c x.JPG negative rsna\n"
            "p y.png COVID-19 cohen\n"
            "q z.png pneumonia\n",
            encoding="utf-8",
        )

        assert read_list(tmp_path / "list.txt") == [
            Row("COVID 1", "COVID(1).png", 1),
            Row("a b c", "x.JPG", 0),
            Row("p", "y.png", 1),
            Row("q", "z.png", 0),
        ]

    @pytest.mark.parametrize(
        "line", ["p x.png maybe rsna", "x.png", "p x.png", "negative"]
    )
    def test_a_line_that_is_no_row_is_named(self, line, tmp_path):
        (tmp_path / "list.txt").write_text(f"p a.png negative rsna\n{line}\n")

        with pytest.raises(InputError, match=r"Line 2 of .*list\.txt"):
            read_list(tmp_path / "list.txt")

    def test_a_file_with_two_labels_is_an_error(self, tmp_path):
        (tmp_path / "list.txt").write_text("p a.png negative x\np a.png positive x\n")

        with pytest.raises(InputError, match="another label"):
            read_list(tmp_path / "list.txt")

    def test_training_uses_negatives_only_and_patients_come_from_the_list(
        self, layouts, tmp_path
    ):
        folder = layouts["covidx"](tmp_path / "own")
        located = _find("covidx", folder)
        data = registry.load(located, device="cpu")

        train = {i.id: i.patient for i in located.items if i.split == "train"}
        assert train == {
            "train/a.png": "p1",
            "train/b.JPG": "p2",
            "train/c.jpeg": "COVID 7",
        }
        assert data.test_patients.tolist() == ["t1", "t 2"]
        assert data.test_kinds == ("covid-19", "normal")

    def test_lists_of_the_paper_go_before_those_of_the_archive(self, layouts, tmp_path):
        folder = layouts["covidx"](tmp_path / "own")
        (folder / "train.txt").write_text("p a.png negative rsna\n")
        with_paper = _find("covidx", folder).counts["train normal"]
        (folder / "train_COVIDx7B.txt").unlink()

        assert (with_paper, _find("covidx", folder).counts["train normal"]) == (3, 1)

    def test_lists_may_lie_in_labels(self, layouts, tmp_path):
        folder = layouts["covidx"](tmp_path / "own")
        (folder / "labels").mkdir()
        for name in ("train_COVIDx7B.txt", "test_COVIDx8B.txt"):
            (folder / name).rename(folder / "labels" / name)

        assert _find("covidx", folder).counts["train normal"] == 3

    def test_listed_files_that_are_absent_are_recorded(self, layouts, tmp_path):
        folder = layouts["covidx"](tmp_path / "own")
        (folder / "train/a.png").unlink()

        located = _find("covidx", folder)

        assert located.counts["train normal"] == 2
        note = "1 of 3 files of train_COVIDx7B.txt are not in train/"
        assert note in located.provenance["notes"]


class TestChestXray:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("person1_bacteria_1.jpeg", "person1"),
            ("person1_virus_6.jpeg", "person1"),
            ("person10_virus_6.jpeg", "person10"),
            ("IM-0115-0001.jpeg", "im-0115"),
            ("IM-0429-0001-0002.jpeg", "im-0429"),
            ("NORMAL2-IM-0115-0001.jpeg", "normal2-im-0115"),
            ("BACTERIA-1008087-0001.jpeg", "1008087"),
            ("NORMAL-1003233-0001.jpeg", "1003233"),
            ("else.jpeg", "else.jpeg"),
        ],
    )
    def test_file_names_tell_patients_apart(self, name, expected):
        assert patient(name) == expected

    def test_normal_images_of_val_train_and_nothing_else_of_it(
        self, layouts, paint, tmp_path
    ):
        folder = layouts["chestxray"](tmp_path / "own")
        paint(folder / "val/PNEUMONIA/person1946_bacteria_4874.jpeg")

        located = _find("chestxray", folder)

        used = [item.id for item in located.items if item.id.startswith("val/")]
        assert used == ["val/NORMAL/NORMAL2-IM-1427-0001.jpeg"]
        assert located.counts == {
            "train normal": 3,
            "test normal": 1,
            "test abnormal": 2,
        }

    def test_the_copy_nested_in_the_kaggle_archive_is_not_counted(
        self, layouts, tmp_path
    ):
        folder = layouts["chestxray"](tmp_path / "own")
        alone = _find("chestxray", folder).fingerprint
        layouts["chestxray"](folder / "chest_xray")
        layouts["chestxray"](folder / "__MACOSX/chest_xray")

        assert _find("chestxray", folder).fingerprint == alone

    def test_a_folder_around_the_nested_copy_is_enough(self, layouts, tmp_path):
        layouts["chestxray"](tmp_path / "own/chest_xray/chest_xray")

        for place in ("own", "own/chest_xray"):
            located = _find("chestxray", tmp_path / place)
            assert located.counts["train normal"] == 3

    def test_kinds_and_patients_come_from_the_names(self, layouts, tmp_path):
        data = _load("chestxray", layouts["chestxray"](tmp_path / "own"))

        assert data.test_kinds == ("normal", "bacteria", "virus")
        assert data.test_patients.tolist() == ["im-0001", "person9", "person9"]
