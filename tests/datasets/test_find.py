"""Finding and loading: which data a run gets, and what it is told otherwise."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thesislib.datasets import cache, decode, registry
from thesislib.datasets.parts import check_parts
from thesislib.datasets.registry import PhantomSize
from thesislib.errors import InputError

TINY = PhantomSize(num_train=3, num_test_normal=2, num_test_abnormal=2)
WITH_PHANTOM = [n for n in registry.NAMES if registry.adapter(n).has_phantom]
TO_FETCH = [name for name in registry.NAMES if name != "folder"]
OFFICIAL = [n for n in TO_FETCH if registry.adapter(n).modality != "shapes"]


def _find(name, source="auto", data_root="", **options):
    options = {"image_size": 32, "phantom": TINY} | options
    return registry.find(name, source, data_root, **options)


def _load(*args, **options):
    return registry.load(_find(*args, **options), device="cpu")


class TestSource:
    @pytest.mark.parametrize("name", WITH_PHANTOM)
    def test_auto_takes_the_phantom_where_data_are_absent(self, name):
        assert _find(name).source == "phantom"

    @pytest.mark.parametrize("name", OFFICIAL)
    def test_auto_takes_the_data_where_they_are(self, name, layouts, tmp_path):
        layouts[name](tmp_path / "data" / registry.adapter(name).folders[0])

        assert _find(name).source == "real"
        assert _find(name, "real").source == "real"
        if name in WITH_PHANTOM:
            assert _find(name, "phantom").source == "phantom"

    @pytest.mark.parametrize("name", TO_FETCH)
    def test_real_says_what_to_fetch_and_where_to_put_it(self, name, tmp_path):
        with pytest.raises(InputError) as error:
            _find(name, "real")

        reader = registry.adapter(name)
        assert reader.fetch in str(error.value)
        assert str(tmp_path / "data" / reader.folders[0]) in str(error.value)

    @pytest.mark.parametrize("source", registry.SOURCES)
    @pytest.mark.parametrize("name", TO_FETCH)
    def test_a_folder_that_is_given_has_to_hold_the_data(self, name, source, tmp_path):
        (tmp_path / "own").mkdir()

        if source == "phantom" and name not in WITH_PHANTOM:
            pytest.skip("has no phantom")
        with pytest.raises(InputError, match=r"data_root .* does not hold"):
            _find(name, source, tmp_path / "own")
        with pytest.raises(InputError, match=r"data_root .* is no folder"):
            _find(name, source, tmp_path / "gone")

    def test_a_given_folder_is_the_dataset_or_holds_it(self, layouts, tmp_path):
        own = layouts["lag"](tmp_path / "mine/LAG")

        assert _find("lag", data_root=own) == _find("lag", data_root=own.parent)

    @pytest.mark.parametrize("source", ["auto", "real"])
    def test_an_incomplete_official_folder_is_no_reason_for_a_phantom(
        self, source, tmp_path
    ):
        (tmp_path / "data/LAG").mkdir(parents=True)

        with pytest.raises(InputError, match="is there but does not hold"):
            _find("lag", source)
        assert _find("lag", "phantom").source == "phantom"

    def test_a_folder_of_ones_own_has_no_phantom(self, layouts, tmp_path):
        with pytest.raises(InputError, match="no phantom; use source 'real'"):
            _find("folder", "phantom")
        for source in ("auto", "real"):
            with pytest.raises(InputError, match="give your folder as data_root"):
                _find("folder", source)
        assert _find("folder", "auto", layouts["folder"](tmp_path / "own")).items


class TestParameters:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"name": "datset"}, "dataset is 'datset'; allowed are hyperkvasir, lag"),
            ({"source": "fake"}, "source is 'fake'; allowed are auto, real, phantom"),
            ({"on_bad_image": "no"}, "on_bad_image is 'no'; allowed are error, skip"),
            ({"image_size": 0}, "image_size is 0"),
            ({"image_size": 64.0}, "image_size is 64.0"),
            ({"phantom": PhantomSize(num_train=0)}, "num_train of the phantom is 0"),
            ({"file_list": "a.csv"}, "file_list is 'a.csv', but it needs the real"),
        ],
    )
    def test_values_that_are_not_allowed_are_named(self, options, message):
        with pytest.raises(InputError, match=message):
            _find(**{"name": "lag"} | options)

    def test_finding_needs_no_torch(self, layouts, tmp_path):
        layouts["folder"](tmp_path / "own")
        code = (
            "import sys; from thesislib.datasets.registry import find; "
            f"find('folder', data_root={str(tmp_path / 'own')!r}, image_size=32); "
            "assert 'torch' not in sys.modules"
        )

        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", code], check=True, env=env)


class TestPhantom:
    def test_every_phantom_says_that_it_is_one(self):
        for name in WITH_PHANTOM:
            data = _load(name)
            assert (data.mark, data.partial) == ("phantom", False)
            assert data.modality == registry.adapter(name).modality

    def test_the_parts_have_the_size_asked_for(self):
        data = _load("lag")

        assert (len(data.train), len(data.test)) == (3, 4)
        assert data.test_labels.tolist() == [0, 0, 1, 1]
        assert data.test_masks.any(axis=(1, 2)).tolist() == [False, False, True, True]
        assert data.test_ids[-1] == "phantom-000003"
        assert data.counts == {
            "train normal": 3,
            "test normal": 2,
            "test abnormal": 2,
        }

    def test_training_and_test_are_redrawn_for_every_seed(self):
        first, again, other = (_load("covidx", seed=seed) for seed in (1, 1, 2))

        def pixels(bank):
            return bank.take(torch.arange(2))

        assert torch.equal(pixels(first.train), pixels(again.train))
        assert torch.equal(pixels(first.test), pixels(again.test))
        assert not torch.equal(pixels(first.train), pixels(other.train))
        assert not torch.equal(pixels(first.test), pixels(other.test))
        assert not torch.equal(pixels(first.train), pixels(first.test))

    def test_the_fingerprint_follows_every_setting(self):
        settings = [
            {},
            {"seed": 1},
            {"image_size": 64},
            {"phantom": PhantomSize(num_train=4)},
            {"phantom": PhantomSize(num_train=3, num_test_normal=2)},
            {"phantom": PhantomSize(num_train=4, difficulty=0.0)},
        ]
        found = {_find("lag", **options).fingerprint for options in settings}

        assert len(found) == len(settings)
        assert _find("lag").fingerprint == _find("lag").fingerprint
        assert _find("covidx").fingerprint != _find("chestxray").fingerprint

    def test_the_calibrated_difficulty_is_written_out(self):
        from thesislib.datasets import phantoms

        located = _find("lag")

        assert located.provenance["difficulty"] == phantoms.DIFFICULTY["fundus"]
        assert located.file_list() == ""


class TestReal:
    def test_the_split_does_not_follow_the_seed_of_the_run(self, layouts, tmp_path):
        own = layouts["hyperkvasir"](tmp_path / "own")

        first, second = (_find("hyperkvasir", data_root=own, seed=s) for s in (0, 1))

        assert first.items == second.items
        assert first.fingerprint == second.fingerprint

    def test_its_own_file_list_gives_the_same_split_again(self, layouts, tmp_path):
        own = layouts["hyperkvasir"](tmp_path / "own")
        drawn = _find("hyperkvasir", data_root=own)
        (tmp_path / "split.csv").write_text(drawn.file_list(), encoding="utf-8")

        listed = _find("hyperkvasir", data_root=own, file_list=tmp_path / "split.csv")

        assert listed.items == drawn.items
        assert listed.fingerprint != drawn.fingerprint  # another rule
        sha = "file_list_sha256"
        assert listed.provenance[sha] == drawn.provenance[sha]

    def test_a_file_list_has_to_fill_every_part(self, layouts, tmp_path):
        own = layouts["folder"](tmp_path / "own")
        (tmp_path / "split.csv").write_text("file,split\ntrain/good/000.png,train\n")

        with pytest.raises(InputError, match="no test normal and no test abnormal"):
            _find("folder", data_root=own, file_list=tmp_path / "split.csv")

    def test_the_provenance_is_json_without_private_paths(self, layouts, tmp_path):
        data = _load("chestxray", data_root=layouts["chestxray"](tmp_path / "own"))

        text = json.dumps(data.provenance)
        assert str(tmp_path) not in text
        assert data.provenance["folder"] == "own"
        assert data.provenance["patients_in_both_splits"] == 0

    def test_counts_of_the_publication_are_compared(
        self, layouts, tmp_path, monkeypatch
    ):
        own = layouts["lag"](tmp_path / "own")
        assert _load("lag", data_root=own).mark == "partial"

        counts = {"train normal": 4, "test normal": 2, "test abnormal": 3}
        monkeypatch.setattr(registry.adapter("lag").__class__, "published", counts)

        assert _load("lag", data_root=own).mark == ""

    def test_a_test_image_that_also_trains_is_an_error(self, layouts, tmp_path):
        own = layouts["folder"](tmp_path / "own")
        (own / "test/crack/000.png").write_bytes(
            (own / "train/good/001.png").read_bytes()
        )

        with pytest.raises(InputError) as error:
            _find("folder", data_root=own)

        assert "test/crack/000.png" in str(error.value)
        assert "train/good/001.png" in str(error.value)

    def test_copies_within_a_part_are_counted(self, layouts, tmp_path):
        own = layouts["folder"](tmp_path / "own")
        for copy in ("train/good/copy", "train/good/copy2"):
            (own / f"{copy}.png").write_bytes((own / "train/good/001.png").read_bytes())

        located = _find("folder", data_root=own)

        assert located.counts["train normal"] == 5
        assert located.provenance["repeated_images"]["train"] == 2

    def test_a_drawn_split_leaves_copies_out(self, layouts, tmp_path):
        own = layouts["lag"](tmp_path / "own")
        for number in range(6):
            copy = own / f"non_glaucoma/image/copy{number}.jpg"
            copy.write_bytes(
                (own / f"non_glaucoma/image/{number:04d}.jpg").read_bytes()
            )

        assert tuple(_find("lag", data_root=own).counts.values()) == (4, 2, 3)

    def test_masks_for_some_lesions_only_are_no_ground_truth(self, layouts, tmp_path):
        own = layouts["folder"](tmp_path / "own")
        items = list(_find("folder", data_root=own).items)
        check_parts(tuple(items), own)
        bare = next(i for i, item in enumerate(items) if item.mask)
        items[bare] = replace(items[bare], mask=None)

        with pytest.raises(InputError, match="1 of 2 abnormal images have no mask"):
            check_parts(tuple(items), own)

    def test_an_empty_class_folder_is_named(self, layouts, tmp_path):
        own = layouts["chestxray"](tmp_path / "own")
        (own / "test/NORMAL/IM-0001-0001.jpeg").unlink()

        with pytest.raises(InputError, match="test/NORMAL holds no images"):
            _find("chestxray", data_root=own)

    def test_a_folder_that_may_not_be_read_is_named(
        self, layouts, tmp_path, monkeypatch
    ):
        own = layouts["chestxray"](tmp_path / "own")
        allowed = Path.iterdir

        def iterdir(path):  # permissions do not hold off a test run as root
            if path == own / "test/NORMAL":
                raise PermissionError(13, os.strerror(13), str(path))
            return allowed(path)

        monkeypatch.setattr(Path, "iterdir", iterdir)

        with pytest.raises(InputError, match="test/NORMAL cannot be read: Permission"):
            _find("chestxray", data_root=own)


class TestBadImages:
    @pytest.fixture
    def own(self, layouts, paint_mask, tmp_path):
        """Truncated, empty and foreign files, and a mask of another size."""
        own = layouts["folder"](tmp_path / "own")
        whole = (own / "train/good/000.png").read_bytes()
        (own / "train/good/truncated.png").write_bytes(whole[: len(whole) // 2])
        (own / "train/good/empty.png").touch()
        (own / "train/good/notes.txt").write_text("no image")
        (own / "test/good/empty.png").touch()
        paint_mask(own / "ground_truth/crack/000_mask.png", (10, 10))
        return own

    NAMES = (
        "train/good/truncated.png",
        "train/good/empty.png (empty file)",
        "train/good/notes.txt (not an image)",
        "test/good/empty.png (empty file)",
        "mask crack/000_mask.png (the mask has 10 x 10 pixels, its image 24 x 20)",
    )

    def test_one_error_names_them_all(self, own):
        for _ in range(2):  # from the files, then from the cache
            with pytest.raises(InputError) as error:
                _load("folder", data_root=own)

            assert "5 file(s) of the dataset cannot be used" in str(error.value)
            assert all(name in str(error.value) for name in self.NAMES)
            assert "\n" not in str(error.value)

    def test_skipping_leaves_them_out_and_records_them(self, own):
        for _ in range(2):
            data = _load("folder", data_root=own, on_bad_image="skip")

            assert tuple(data.counts.values()) == (3, 1, 1)
            assert data.test_kinds == ("normal", "stain")
            assert data.test_masks.any(axis=(1, 2)).tolist() == [False, True]
            skipped = " ".join(data.provenance["skipped"])
            assert all(name in skipped for name in self.NAMES)

    def test_what_was_skipped_once_is_an_error_where_skipping_is_not_allowed(self, own):
        _load("folder", data_root=own, on_bad_image="skip")

        with pytest.raises(InputError, match="cannot be used"):
            _load("folder", data_root=own)

    @pytest.mark.parametrize("on_bad_image", registry.ON_BAD_IMAGE)
    def test_what_the_system_withholds_for_a_while_is_not_held_against_the_file(
        self, on_bad_image, layouts, tmp_path, monkeypatch
    ):
        own = layouts["folder"](tmp_path / "own")
        options = {"data_root": own, "on_bad_image": on_bad_image}

        def withheld(*_):
            raise decode.UnreadableError("Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(decode, "read_image", withheld)
            with pytest.raises(InputError, match="cannot be read: Too many open"):
                _load("folder", **options)

        assert tuple(_load("folder", **options).counts.values()) == (3, 1, 2)

    def test_skipping_a_whole_part_is_an_error(self, own):
        (own / "test/good/000.png").write_bytes(b"")

        with pytest.raises(InputError, match="left with no test normal images"):
            _load("folder", data_root=own, on_bad_image="skip")


class TestLoading:
    def test_pixels_are_those_of_the_files_in_the_order_of_the_ids(
        self, layouts, tmp_path
    ):
        own = layouts["folder"](tmp_path / "own")

        data = _load("folder", data_root=own, image_size=20)

        for index, name in enumerate(data.test_ids):
            with Image.open(own / name) as file:
                expected = file.resize((20, 20), Image.Resampling.BICUBIC)
            np.testing.assert_allclose(
                data.test.take([index])[0].numpy() * 255,
                np.asarray(expected).transpose(2, 0, 1),
                atol=1e-4,
            )

    def test_the_second_start_decodes_nothing(self, layouts, tmp_path, monkeypatch):
        own = layouts["chestxray"](tmp_path / "own")
        first = _load("chestxray", data_root=own)

        def refuse(*args, **options):
            raise AssertionError("decoded again")

        monkeypatch.setattr(decode, "read_image", refuse)
        calls = []
        second = registry.load(
            _find("chestxray", data_root=own),
            device="cpu",
            progress=lambda *now: calls.append(now),
        )

        assert torch.equal(first.train.take([0, 1]), second.train.take([0, 1]))
        assert calls == []
        with pytest.raises(AssertionError, match="decoded again"):
            _load("chestxray", data_root=own, image_size=24)

    def test_progress_counts_every_image_of_both_parts(self, layouts, tmp_path):
        calls = []

        registry.load(
            _find("chestxray", data_root=layouts["chestxray"](tmp_path / "own")),
            device="cpu",
            progress=lambda *now: calls.append(now),
        )

        assert calls == [(done, 6) for done in range(1, 7)]

    def test_changed_files_are_decoded_again(self, layouts, paint, tmp_path):
        own = layouts["chestxray"](tmp_path / "own")
        first = _load("chestxray", data_root=own)
        name = own / "train/NORMAL/IM-0115-0001.jpeg"
        paint(name, mode="L")
        os.utime(name, (1_000_000_001, 1_000_000_001))

        second = _load("chestxray", data_root=own)

        assert first.fingerprint != second.fingerprint
        assert not torch.equal(first.train.take([0]), second.train.take([0]))

    def test_a_full_disk_is_one_sentence_and_the_next_start_works(
        self, layouts, tmp_path, monkeypatch
    ):
        own = layouts["chestxray"](tmp_path / "own")

        def full(*_):
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(cache, "_to_disk", full)
            with pytest.raises(InputError, match="the disk is full; free space there"):
                _load("chestxray", data_root=own)
        assert not list((tmp_path / "cache/images").glob("*.npy"))
        assert not list((tmp_path / "cache/images").glob("*.tmp"))

        assert _load("chestxray", data_root=own).counts["train normal"] == 3
