"""MNIST and Fashion-MNIST: their files as people have them, and broken ones."""

import gzip

import numpy as np
import pytest

from tests.datasets.made import NUM_TEST, NUM_TRAIN, idx_bytes, pixels, write_idx
from thesislib.datasets import idx, mnist, registry
from thesislib.errors import InputError

SPELLINGS = [("-", ""), (".", ""), ("-", ".gz"), (".", ".gz")]


def find(name, folder, **options):
    return registry.find(name, "real", folder, **{"image_size": 28} | options)


def load(name, folder, **options):
    return registry.load(find(name, folder, **options))


@pytest.mark.parametrize(("joint", "ending"), SPELLINGS)
def test_every_spelling_gives_the_same_images(joint, ending, tmp_path):
    data = load("mnist", write_idx(tmp_path / "own", joint, ending))

    images, labels = pixels("train", 28, 28)
    assert data.counts == {"train": 10 * NUM_TRAIN, "test": 10 * NUM_TEST}
    np.testing.assert_array_equal(data.test.pixels[:, 0], pixels("test", 28, 28)[0])
    np.testing.assert_array_equal(
        data.one_class("3").train.pixels[:, 0], images[labels == 3]
    )
    assert data.mark == "partial"


def test_the_fingerprint_follows_the_content_not_the_files(tmp_path):
    found = {
        find("mnist", write_idx(tmp_path / f"own{n}", *spelling)).fingerprint
        for n, spelling in enumerate(SPELLINGS)
    }
    assert len(found) == 1
    other = write_idx(tmp_path / "other")
    data = bytearray((other / "train-images-idx3-ubyte").read_bytes())
    data[100] ^= 1
    (other / "train-images-idx3-ubyte").write_bytes(data)
    assert find("mnist", other).fingerprint not in found


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("mnist", ""),
        ("mnist", "raw"),
        ("mnist", "MNIST/raw"),
        ("fmnist", ""),
        ("fmnist", "raw"),
        ("fmnist", "FashionMNIST/raw"),
    ],
)
def test_files_are_found_in_the_usual_folders(name, inner, tmp_path):
    write_idx(tmp_path / "own" / inner)

    assert find(name, tmp_path / "own").counts["train"] == 10 * NUM_TRAIN


def test_one_folder_may_hold_both_as_torchvision_keeps_them(tmp_path):
    write_idx(tmp_path / "own/MNIST/raw")
    write_idx(tmp_path / "own/FashionMNIST/raw")

    folders = {
        name: find(name, tmp_path / "own").folder for name in ("mnist", "fmnist")
    }

    assert folders["mnist"] == tmp_path / "own/MNIST/raw"
    assert folders["fmnist"] == tmp_path / "own/FashionMNIST/raw"


def test_files_of_the_other_dataset_are_refused(tmp_path, monkeypatch):
    folder = write_idx(tmp_path / "own")
    md5 = tuple(
        idx.read(path, part.partition("-")[2]).md5
        for path, part in zip(idx.files(folder, ""), idx.PARTS, strict=True)
    )
    monkeypatch.setitem(mnist.MD5, "Fashion-MNIST", md5)

    assert find("fmnist", folder).official
    with pytest.raises(InputError, match=r"is of Fashion-MNIST, .* 'fmnist'"):
        find("mnist", folder)


def test_unknown_content_counts_only_if_its_folder_is_named(tmp_path):
    folder = write_idx(tmp_path / "data/MNIST")

    located = find("mnist", folder)
    assert located.partial and not located.official
    assert "not that of the official" in located.provenance["notes"][-1]
    with pytest.raises(InputError, match="give this folder as data_root"):
        find("mnist", "")


def test_equal_counts_with_another_content_are_partial_too(tmp_path, monkeypatch):
    counts = {"train": 10 * NUM_TRAIN, "test": 10 * NUM_TEST}
    monkeypatch.setattr(mnist.Mnist, "published", counts)

    assert find("mnist", write_idx(tmp_path / "own")).partial


def test_a_package_of_the_system_is_found_by_itself(tmp_path, monkeypatch):
    folder = write_idx(tmp_path / "usr/share/fashion-mnist", ending=".gz")
    reader = registry.adapter("fmnist")
    monkeypatch.setattr(type(reader), "system_folders", (folder,))
    monkeypatch.setitem(
        mnist.MD5,
        "Fashion-MNIST",
        tuple(
            idx.read(path, part.partition("-")[2]).md5
            for path, part in zip(idx.files(folder, ""), idx.PARTS, strict=True)
        ),
    )

    located = registry.find("fmnist", image_size=28)

    assert (located.source, located.folder) == ("real", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="does not hold"):
        registry.find("fmnist", data_root=tmp_path / "empty", image_size=28)


def test_test_files_alone_are_refused_and_the_missing_ones_named(tmp_path):
    folder = write_idx(tmp_path / "own")
    (folder / "train-images-idx3-ubyte").unlink()

    with pytest.raises(InputError, match="lacks train-images-idx3-ubyte"):
        find("mnist", folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"train-images.* and train-labels"):
        find("mnist", folder)


def _images(count=60, side=28):
    return idx_bytes(np.zeros((count, side, side), dtype=np.uint8))


def _labels(count=60, highest=9):
    return idx_bytes(np.full(count, highest, dtype=np.uint8))


@pytest.mark.parametrize(
    ("part", "data", "message"),
    [
        ("images-idx3", b"", "is empty, but an idx file of images"),
        ("images-idx3", _labels(), "starts with 2049, .* magic number 2051"),
        ("labels-idx1", _images(), "starts with 2051, .* magic number 2049"),
        ("images-idx3", b"no idx file, but long enough", "magic number 2051"),
        ("images-idx3", _images()[:-1], "is shorter than its header says"),
        ("images-idx3", _images() + b"0", "is longer than its header says"),
        ("images-idx3", _images()[:12], "magic number 2051"),
        ("images-idx3", _images(side=27), "27 x 27 pixels; expected 28 x 28"),
        ("images-idx3", _images(count=0), "says that it holds 0 images"),
        ("labels-idx1", _labels(highest=10), "holds the label 10; labels go from 0"),
        ("labels-idx1", _labels(count=59), "60 images, but .* 59 labels"),
    ],
)
def test_a_broken_file_is_one_sentence_that_names_it(part, data, message, tmp_path):
    for ending in ("", ".gz"):
        folder = write_idx(tmp_path / f"own{ending}", ending=ending)
        name = f"train-{part}-ubyte{ending}"
        (folder / name).write_bytes(gzip.compress(data) if ending else data)

        with pytest.raises(InputError, match=message) as error:
            find("mnist", folder)

        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_a_truncated_gzip_file_is_named(tmp_path):
    folder = write_idx(tmp_path / "own", ending=".gz")
    path = folder / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()

    for data in (whole[: len(whole) // 2], b"no gzip", whole[:40] + b"0" * 40):
        path.write_bytes(data)
        with pytest.raises(
            InputError, match=r"t10k-images-idx3-ubyte\.gz cannot be re"
        ):
            find("mnist", folder)


def test_a_file_list_makes_no_sense_here(tmp_path):
    folder = write_idx(tmp_path / "own")

    with pytest.raises(InputError, match="no files of their own to list"):
        find("mnist", folder, file_list="a.csv")


class TestSizes:
    def test_28_px_are_the_published_pixels_and_32_have_a_border_of_zeros(
        self, tmp_path
    ):
        folder = write_idx(tmp_path / "own")

        data = load("mnist", folder, image_size=32)

        images, _ = pixels("test", 28, 28)
        assert data.test.pixels.shape == (30, 1, 32, 32)
        np.testing.assert_array_equal(data.test.pixels[:, 0, 2:-2, 2:-2], images)
        for bank in (data.test, data.one_class("0").train):
            border = bank.pixels.copy()
            border[:, :, 2:-2, 2:-2] = 0
            assert not border.any()
        assert "2 px of zeros" in data.provenance["resize"]
        assert "as published" in find("mnist", folder).provenance["resize"]

    def test_other_sizes_are_resized_as_files_are(self, tmp_path):
        from PIL import Image

        from thesislib.datasets.decode import read_image

        folder = write_idx(tmp_path / "own")

        data = load("mnist", folder, image_size=40)

        images, labels = pixels("train", 28, 28)
        Image.fromarray(images[labels == 4][0]).save(tmp_path / "one.png")
        expected, _ = read_image(tmp_path / "one.png", 40)
        np.testing.assert_array_equal(
            data.one_class("4").train.pixels[0, 0], expected[0]
        )
        assert data.provenance["resize"] == "from 28 px, bicubic, antialiased"

    def test_what_was_resized_once_is_read_from_the_cache(self, tmp_path, monkeypatch):
        from thesislib.datasets import packed

        folder = write_idx(tmp_path / "own")
        first = load("mnist", folder, image_size=40)
        train = first.one_class("1").train.pixels

        def refuse(*_):
            raise AssertionError("resized again")

        monkeypatch.setattr(packed, "_resized", refuse)
        again = load("mnist", folder, image_size=40)

        np.testing.assert_array_equal(again.one_class("1").train.pixels, train)
        np.testing.assert_array_equal(again.test.pixels, first.test.pixels)
        with pytest.raises(AssertionError, match="resized again"):
            again.one_class("2")
