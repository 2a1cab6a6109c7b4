"""Real data, where they are at hand: the same facts on bytes we did not make."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from thesislib.datasets import check, idx, mnist, registry
from thesislib.datasets.fmnist import FashionMnist
from thesislib.errors import InputError


def _find(name, folder):
    return registry.find(name, "real", folder, image_size=64)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def chest(real_data, shared_cache, monkeypatch):
    """The chest X-rays, decoded once for all tests of this file."""
    monkeypatch.setenv("THESIS_CACHE", str(shared_cache))
    return real_data("chest_xray_224")


def test_the_chest_x_rays_are_those_of_the_publication_less_eight(chest):
    data = registry.load(_find("chestxray", chest), device="cpu")

    assert data.counts == {
        "train normal": 1_341,
        "test normal": 234,
        "test abnormal": 390,
    }
    assert (data.mark, data.published_counts["train normal"]) == ("partial", 1_349)
    assert set(data.test_kinds) == {"normal", "bacteria", "virus"}
    assert len(set(data.test_patients)) == 427
    assert data.provenance["patients_in_both_splits"] == 0
    assert data.provenance["repeated_images"]["both labels"] == 0
    grey = data.test.take(np.arange(len(data.test)))
    assert (grey[:, 0] - grey[:, 2]).abs().mean() < 0.01  # saved as RGB, but grey
    assert 0.3 < grey.mean() < 0.7


def test_the_second_start_takes_seconds(chest):
    registry.load(_find("chestxray", chest), device="cpu")

    start = time.process_time()
    registry.load(_find("chestxray", chest), device="cpu")

    assert time.process_time() - start < 5


def test_data_check_finds_nothing_wrong_with_the_chest_x_rays(chest):
    report, ok = check.check("chestxray", chest)

    assert ok, report
    assert "1,341 train normal, 234 test normal, 390 test abnormal" in report
    assert "sizes      all 224 x 224 px" in report


@pytest.fixture
def kvasir(real_data, layouts, tmp_path):
    """The five real polyps with masks, beside painted normal images."""
    top = layouts["hyperkvasir"](tmp_path / "own")
    shutil.rmtree(top / "segmented-images")
    sample = real_data("hyper_kvasir_sample") / "segmented-images"
    for part in ("images", "masks"):
        shutil.copytree(sample / part, top / "segmented-images" / part)
    return top


def test_real_polyp_masks_survive_crop_and_resize(kvasir):
    from PIL import Image

    data = registry.load(_find("hyperkvasir", kvasir), device="cpu")

    assert data.counts["test abnormal"] == 5
    assert data.provenance["empty_masks"] == 0
    for index in np.flatnonzero(data.test_labels):
        name = data.test_ids[index].replace("/images/", "/masks/")
        with Image.open(kvasir / name) as file:
            grey = np.asarray(file.convert("L"))
        height, width = grey.shape
        rows = slice(round(height * 45 / 512), round(height * 475 / 512))
        columns = slice(round(width * 45 / 512), round(width * 475 / 512))
        area = (grey[rows, columns] >= 128).mean()
        assert data.test_masks[index].mean() == pytest.approx(area, abs=0.01)


def test_real_polyps_are_redder_than_they_are_blue(kvasir):
    data = registry.load(_find("hyperkvasir", kvasir), device="cpu")

    polyps = data.test.take(np.flatnonzero(data.test_labels))
    red, _, blue = polyps.mean(dim=(0, 2, 3))
    assert red > 1.3 * blue


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """The folder of Debian's package, or skip; decoded once a test."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("needs real data: the package dataset-fashion-mnist")
    monkeypatch.setattr(FashionMnist, "system_folders", (folder,))
    return folder


def test_fashion_mnist_of_debian_is_the_official_one(fashion):
    located = registry.find("fmnist", image_size=32)
    data = registry.load(located)

    assert (located.source, data.mark) == ("real", "")
    assert data.counts == {"train": 60_000, "test": 10_000}
    boots = data.one_class("9")
    assert (
        boots.counts
        == boots.published_counts
        == {
            "train normal": 6_000,
            "test normal": 1_000,
            "test abnormal": 9_000,
        }
    )
    assert boots.test_kinds[0] == "normal"  # the first test image is a boot
    repeated = data.provenance["repeated_images"]
    assert repeated["training images also in test"] == 0


def test_fashion_mnist_is_not_taken_for_mnist(fashion):
    with pytest.raises(InputError, match="is of Fashion-MNIST, not of MNIST"):
        registry.find("mnist", data_root=fashion, image_size=28)


def test_the_test_files_of_mnist_alone_do_not_make_a_training_set(real_data, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for path in real_data("mnist").glob("t10k-*"):
        shutil.copy(path, folder)

    images = idx.read(idx.find(folder, "t10k-images"), "images")
    assert images.md5 == mnist.MD5["MNIST"][2]
    with pytest.raises(InputError, match="lacks train-images-idx3-ubyte"):
        registry.find("mnist", data_root=folder, image_size=28)
