"""Decoding: every mode to the same pixels, masks cut where they should be."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thesislib.datasets import decode
from thesislib.datasets.decode import BadImageError, otsu, read_image, read_mask

# Pillow warns of damaged TIFF tags and goes on; the damage is the test's.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)  # (16, 16), grey


def _rgba(grey):
    return Image.merge(
        "RGBA", [Image.fromarray(grey)] * 3 + [Image.new("L", (16, 16), 255)]
    )


def _palette(grey):
    image = Image.fromarray(grey[::-1].copy()).convert("P")
    image.putpalette([value for value in range(256) for _ in range(3)])
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


MODES = {
    "L.png": Image.fromarray,
    "RGB.png": lambda grey: Image.fromarray(grey).convert("RGB"),
    "RGBA.png": _rgba,
    "LA.png": lambda grey: Image.fromarray(grey).convert("LA"),
    "P.png": _palette,
    "16bit.png": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
    "16bit.tif": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
    "16bit.pgm": lambda grey: Image.fromarray(grey.astype(np.int32) * 257),
    "CMYK.tif": lambda grey: Image.fromarray(grey).convert("RGB").convert("CMYK"),
    "bmp.bmp": Image.fromarray,
    "webp.webp": Image.fromarray,
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_decodes_to_the_same_grey(name, tmp_path):
    options = {"lossless": True} if name.endswith("webp") else {}
    MODES[name](RAMP).save(tmp_path / name, **options)

    image, full = read_image(tmp_path / name, 16)

    assert full == (16, 16)
    np.testing.assert_array_equal(image, np.stack([RAMP] * 3))


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    Image.new("RGB", (16, 16), (230, 20, 20)).convert("CMYK").save(tmp_path / "a.jpg")

    image, _ = read_image(tmp_path / "a.jpg", 16)

    np.testing.assert_allclose(image[:, 8, 8], (230, 20, 20), atol=4)


def test_sixteen_bit_greys_span_the_whole_range(tmp_path):
    deep = np.array([[0, 128, 129, 257, 32_768, 65_407, 65_535, 65_535]] * 8, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")

    image, _ = read_image(tmp_path / "deep.png", 8)

    assert image[0, 0].tolist() == [0, 0, 1, 1, 128, 255, 255, 255]


def test_transparent_pixels_become_black(tmp_path):
    Image.new("RGBA", (16, 16), (255, 255, 255, 0)).save(tmp_path / "clear.png")

    image, _ = read_image(tmp_path / "clear.png", 16)

    assert image.max() == 0


@pytest.mark.parametrize("mode", ["F", "I"])
def test_modes_without_a_known_range_are_refused(mode, tmp_path):
    Image.new(mode, (16, 16)).save(tmp_path / "a.tif")

    with pytest.raises(BadImageError, match=f"mode {mode}"):
        read_image(tmp_path / "a.tif", 16)


UPRIGHT = {  # EXIF orientation: what has to be done to the stored pixels
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.transpose(stored), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_exif_orientation_is_applied(orientation, ending, tmp_path):
    wide = np.repeat(RAMP, 2, axis=1)  # (16, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(wide).save(tmp_path / f"a.{ending}", exif=exif)
    upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](wide)))
    upright.save(tmp_path / "upright.png")

    image, size = read_image(tmp_path / f"a.{ending}", 16)

    assert size == upright.size
    np.testing.assert_array_equal(image, read_image(tmp_path / "upright.png", 16)[0])


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_a_rotated_image_has_the_size_its_viewer_sees(ending, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (400, 300)).save(tmp_path / f"a.{ending}", exif=exif)

    assert decode.examine(tmp_path / f"a.{ending}").mode == "L"
    assert read_image(tmp_path / f"a.{ending}", 16)[1] == (300, 400)


def test_resizing_averages_instead_of_skipping_pixels(tmp_path):
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255  # every second pixel white
    Image.fromarray(checkers.astype(np.uint8)).save(tmp_path / "a.png")

    image, _ = read_image(tmp_path / "a.png", 8)

    np.testing.assert_allclose(image, 127.5, atol=4)


def test_a_jpeg_decoded_at_a_fraction_looks_the_same(tmp_path):
    y, x = np.mgrid[:600, :800]
    waves = (127 + 90 * np.sin(x / 8) * np.cos(y / 8)).astype(np.uint8)
    Image.fromarray(waves).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(waves).save(tmp_path / "a.png")

    image, full = read_image(tmp_path / "a.jpg", 64)  # decoded at a quarter
    reference, _ = read_image(tmp_path / "a.png", 64)

    assert full == (800, 600)
    np.testing.assert_allclose(image, reference.astype(float), atol=4)


def test_the_crop_is_that_of_512_pixels_cut_to_45_to_475(tmp_path):
    y, x = np.mgrid[:300, :380]
    waves = (127 + 90 * np.sin(x / 30) * np.cos(y / 25)).astype(np.uint8)
    Image.fromarray(waves).save(tmp_path / "a.png")
    bicubic = Image.Resampling.BICUBIC
    steps = Image.fromarray(waves).resize((512, 512), bicubic)
    steps = steps.crop((45, 45, 475, 475)).resize((64, 64), bicubic)

    image, _ = read_image(tmp_path / "a.png", 64, (45 / 512, 475 / 512))

    np.testing.assert_allclose(image[0], np.asarray(steps, dtype=float), atol=2)


@pytest.mark.parametrize("box", [(0.0, 1.0), (45 / 512, 475 / 512)])
def test_a_mask_lies_where_its_image_shows_it(box, tmp_path):
    grey = np.zeros((300, 380), dtype=np.uint8)
    grey[40:150, 200:330] = 255
    Image.fromarray(grey).save(tmp_path / "a.png")

    image, full = read_image(tmp_path / "a.png", 64, box)
    mask = read_mask(tmp_path / "a.png", 64, box, full=full)

    assert mask.sum() > 100
    assert (mask != (image[0] >= 128)).sum() <= 30  # half a pixel along one edge each
    assert (np.roll(mask, 1, axis=0) != (image[0] >= 128)).sum() > 30


def test_masks_are_cut_at_128(tmp_path):
    Image.fromarray(np.array([[0, 8, 127, 128, 247, 255]] * 6, np.uint8)).save(
        tmp_path / "m.png"
    )

    mask = read_mask(tmp_path / "m.png", 6, full=(6, 6))

    assert mask[0].tolist() == [False, False, False, True, True, True]


def test_masks_of_zero_and_one_are_understood(tmp_path):
    ones = (RAMP > 99).astype(np.uint8)
    Image.fromarray(ones).save(tmp_path / "m.png")

    np.testing.assert_array_equal(
        read_mask(tmp_path / "m.png", 16, full=(16, 16)), ones > 0
    )


def test_a_jpeg_mask_equals_its_clean_original(tmp_path):
    square = np.zeros((64, 64), dtype=np.uint8)
    square[13:46, 13:46] = 255  # not along the blocks of 8 x 8
    Image.fromarray(square).convert("RGB").save(tmp_path / "m.jpg", quality=85)
    stored = np.asarray(Image.open(tmp_path / "m.jpg").convert("L"))
    assert len(np.unique(stored)) > 2

    mask = read_mask(tmp_path / "m.jpg", 64, full=(64, 64))

    np.testing.assert_array_equal(mask, square > 0)


def test_a_mask_that_never_reaches_the_threshold_is_no_mask(tmp_path):
    Image.new("L", (16, 16), 38).save(tmp_path / "m.png")

    with pytest.raises(BadImageError, match="largest value is 38"):
        read_mask(tmp_path / "m.png", 16, full=(16, 16))


def test_a_mask_of_another_size_is_refused(tmp_path):
    Image.new("L", (16, 12), 255).save(tmp_path / "m.png")

    with pytest.raises(BadImageError, match="16 x 12 pixels, its image 16 x 16"):
        read_mask(tmp_path / "m.png", 16, full=(16, 16))


@given(st.lists(st.integers(0, 255), min_size=2, max_size=40))
def test_otsu_maximises_the_variance_between_classes(values):
    grey = np.array(values, dtype=np.uint8)
    if grey.min() == grey.max():
        with pytest.raises(BadImageError, match="constant"):
            otsu(grey)
        return

    def between(threshold):
        below, above = grey[grey <= threshold], grey[grey > threshold]
        if not len(below) or not len(above):
            return 0.0
        return len(below) * len(above) * (below.mean() - above.mean()) ** 2

    best = max(between(threshold) for threshold in range(256))
    assert between(otsu(grey)) == pytest.approx(best)


def test_a_heat_map_is_cut_between_its_two_levels(tmp_path):
    heat = np.where(RAMP > 128, 90, 20).astype(np.uint8)  # nothing reaches 128
    Image.fromarray(heat).save(tmp_path / "m.png")

    mask = read_mask(tmp_path / "m.png", 16, full=(16, 16), heat_map=True)

    np.testing.assert_array_equal(mask, RAMP > 128)


def _bytes(ending):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()))
    return buffer.getvalue()


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_truncated_files_are_refused(ending, share, tmp_path):
    whole = _bytes(ending)
    (tmp_path / f"a.{ending}").write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(BadImageError):
        read_image(tmp_path / f"a.{ending}", 16)


def test_empty_and_foreign_files_are_named_for_what_they_are(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("I am no image.")

    with pytest.raises(BadImageError, match="empty file"):
        read_image(tmp_path / "empty.png", 16)
    with pytest.raises(BadImageError, match="not an image"):
        read_image(tmp_path / "text.png", 16)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "gif"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_decoded_or_refused_but_never_crashes(
    ending, tmp_path_factory, data
):
    damaged = bytearray(_bytes(ending))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(len(damaged), 600) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{ending}"
    path.write_bytes(damaged)

    try:
        image, _ = read_image(path, 16)
    except BadImageError:
        return
    assert image.shape == (3, 16, 16)
    assert image.dtype == np.uint8
