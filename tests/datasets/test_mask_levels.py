"""Masks of several grey levels: which of them are lesions is for the owner to say."""

import numpy as np
import pytest
from PIL import Image

from thesislib.datasets import check, decode, registry
from thesislib.errors import InputError

SQUARE = np.zeros((20, 24), dtype=np.uint8)
SQUARE[5:15, 6:18] = 1


def _mask(*values):
    """A square that has the values from outside to inside, 3 pixels each."""
    mask = np.zeros((40, 40), dtype=np.uint8)
    for step, value in enumerate(values):
        mask[4 * step : 40 - 4 * step, 4 * step : 40 - 4 * step] = value
    return mask


class TestLevels:
    @pytest.mark.parametrize(
        "values", [(0,), (0, 255), (0, 100, 200), (0, 1, 2, 3), (7,)]
    )
    def test_flat_values_that_are_apart_are_levels(self, values):
        assert decode.levels(_mask(*values)) == sorted(values)

    def test_values_that_are_nearly_the_same_are_one(self):
        assert decode.levels(_mask(0, 2, 250, 255)) in ([0, 250], [0, 255], [2, 250])

    def test_soft_outlines_are_no_levels(self):
        soft = Image.fromarray(_mask(0, 255, 255, 255)).resize((81, 81), Image.BICUBIC)

        assert len(np.unique(soft)) > 2
        assert len(decode.levels(np.asarray(soft))) == 2

    def test_a_ramp_is_one(self):
        assert (
            len(decode.levels(np.arange(256, dtype=np.uint8)[None].repeat(9, 0))) == 1
        )

    def test_jpeg_leaves_two_levels_two(self, tmp_path):
        Image.fromarray(_mask(0, 255, 255)).save(tmp_path / "a.jpg", quality=70)

        with Image.open(tmp_path / "a.jpg") as image:
            assert len(decode.levels(np.asarray(image))) == 2


@pytest.fixture
def own(layouts, tmp_path):
    """A dataset whose two masks have a square of one value each."""

    def own(crack, stain):
        folder = layouts["folder"](tmp_path / "own")
        for kind, mask in (("crack", crack), ("stain", stain)):
            mask = mask if isinstance(mask, np.ndarray) else SQUARE * np.uint8(mask)
            Image.fromarray(mask).save(folder / f"ground_truth/{kind}/000_mask.png")
        return folder

    return own


def _masks(folder, **options):
    located = registry.find("folder", "real", folder, image_size=24, **options)
    data = registry.load(located)
    return {k: m.mean() for k, m in zip(data.test_kinds, data.test_masks, strict=True)}


SHARE = SQUARE.mean()
TWO = SQUARE * np.uint8(150)
TWO[5:10, 6:18] = 250  # the upper half of the square


@pytest.mark.parametrize(("crack", "stain"), [(TWO, 250), (150, 250)])
def test_levels_of_one_mask_or_of_several_ask_which_are_lesions(crack, stain, own):
    folder = own(crack, stain)

    with pytest.raises(
        InputError,
        match=r"3 grey levels \(0, 150, 250; 150 in mask crack/000_mask\.png.* "
        r"say it by lesion_levels",
    ):
        _masks(folder)
    report, ok = check.check("folder", folder)

    assert not ok
    assert "not usable as it is: The masks hold 3 grey levels" in report


def test_the_levels_that_are_named_are_lesions(own):
    folder = own(TWO, 250)

    assert _masks(folder, lesion_levels=(250,)) == pytest.approx(
        {"crack": SHARE / 2, "normal": 0, "stain": SHARE}, rel=0.11
    )
    assert _masks(folder, lesion_levels=(150, 250)) == pytest.approx(
        {"crack": SHARE, "normal": 0, "stain": SHARE}, rel=0.11
    )


def test_numbers_of_classes_are_levels(own):
    labels = np.where(TWO == 250, 2, SQUARE).astype(np.uint8)
    folder = own(labels, SQUARE * np.uint8(2))

    with pytest.raises(InputError, match="unless lesion_levels names theirs"):
        _masks(folder)
    assert _masks(folder, lesion_levels=(2,))["crack"] == pytest.approx(
        SHARE / 2, rel=0.11
    )


def test_a_level_that_no_mask_has_is_an_error(own):
    with pytest.raises(InputError, match="77 is no grey level: masks hold 0, 250"):
        _masks(own(250, 250), lesion_levels=(77,))


def test_two_levels_are_cut_as_ever(own):
    shares = _masks(own(TWO // 250 * np.uint8(250), 255))

    assert shares == pytest.approx(
        {"crack": SHARE / 2, "normal": 0, "stain": SHARE}, rel=0.11
    )
