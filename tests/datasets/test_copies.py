"""The same picture in other bytes: found between training and test by its pixels."""

import numpy as np
import pytest
from PIL import Image

from thesislib.datasets import check, registry
from thesislib.errors import InputError


def _load(folder, name="folder", **options):
    located = registry.find(name, "real", folder, image_size=16, **options)
    return registry.load(located)


@pytest.fixture
def own(layouts, tmp_path):
    return layouts["folder"](tmp_path / "own")


OTHERWISE = {
    "another compression": lambda image: ("a.png", {"compress_level": 0}),
    "another format": lambda image: ("a.bmp", {}),
    "another text": lambda image: ("a.png", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
}


@pytest.mark.parametrize("how", OTHERWISE)
def test_a_training_image_saved_anew_may_not_be_tested(how, own):
    with Image.open(own / "train/good/001.png") as image:
        name, options = OTHERWISE[how](image)
        image.save(own / "test/crack" / name, **options)
    (own / "ground_truth").rename(own.parent / "away")

    with pytest.raises(
        InputError,
        match=r"test/crack/a\.\w+ has the same content as the "
        r"training image train/good/001\.png",
    ):
        _load(own)


def test_a_jpeg_that_is_decoded_at_a_fraction_is_still_its_png(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        grey = Image.fromarray(rng.integers(0, 256, (160, 200), dtype=np.uint8))
        part = "train/good" if index < 2 else "test/good" if index < 3 else "test/bad"
        (tmp_path / "own" / part).mkdir(parents=True, exist_ok=True)
        grey.save(tmp_path / f"own/{part}/{index}.jpg")
    with Image.open(tmp_path / "own/train/good/1.jpg") as image:
        image.save(tmp_path / "own/test/bad/copy.png")

    with pytest.raises(InputError, match=r"test/bad/copy\.png has the same content"):
        _load(tmp_path / "own")


def test_grey_and_colour_of_one_picture_are_copies(paint, own):
    paint(own / "train/good/grey.png", mode="L")
    with Image.open(own / "train/good/grey.png") as image:
        image.convert("RGB").save(own / "test/good/colour.png")

    with pytest.raises(InputError, match=r"test/good/colour\.png has the same content"):
        _load(own)


def test_images_that_differ_in_one_pixel_are_two(own):
    for place, value in (("train/good/a.png", 0), ("test/good/a.png", 1)):
        grey = np.zeros((400, 400), dtype=np.uint8)
        grey[0, 0] = value  # gone at 16 px
        Image.fromarray(grey).save(own / place)

    data = _load(own)

    assert data.counts["test normal"] == 2


def test_a_split_of_ours_leaves_copies_out_of_the_test(paint, tmp_path):
    folder = tmp_path / "own"
    for index in range(6):
        with Image.open(paint(folder / f"normal/{index}.png")) as image:
            image.save(folder / f"normal/{index}-again.bmp")
        paint(folder / f"abnormal/{index}.png")

    data = _load(folder)

    stems = [
        {name.rpartition("/")[2].partition(".")[0].partition("-")[0] for name in ids}
        for ids in (data.train_ids, data.test_ids[: data.counts["test normal"]])
    ]
    assert not stems[0] & stems[1]
    left_out = 12 - data.counts["train normal"] - data.counts["test normal"]
    assert f"{left_out} normal image(s) are not tested" in data.provenance["notes"][-1]
    assert check.check("folder", folder)[1]


def test_published_releases_are_judged_as_published_and_a_note_says_so(
    layouts, tmp_path
):
    own = layouts["chestxray"](tmp_path / "own")
    with Image.open(own / "train/NORMAL/IM-0115-0001.jpeg") as image:
        image.save(own / "test/NORMAL/other.png")

    data = _load(own, "chestxray")

    assert data.counts["test normal"] == 2
    assert "test/NORMAL/other.png has the same content" in data.provenance["notes"][-1]


def test_copies_within_a_part_are_counted_by_pixels(own):
    with Image.open(own / "train/good/001.png") as image:
        image.save(own / "train/good/again.bmp")

    assert _load(own).provenance["repeated_images"]["train"] == 1
    assert "copies     1 in training" in check.check("folder", own)[0]
