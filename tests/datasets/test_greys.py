"""Black and white of files of more than 8 bits: decided once, for the whole dataset."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from thesislib import scoring
from thesislib.datasets import check, decode, registry
from thesislib.datasets.facts import Facts
from thesislib.datasets.greys import Greys, decide
from thesislib.errors import InputError


def _facts(low, high, **others):
    return Facts("I;16", "PNG", (4, 4), low=low, high=high, **others)


def _ends(*facts, given=()):
    found = decide(facts, given)
    return found.low, found.high


@pytest.fixture
def own(tmp_path):
    """Write images (N, 12, 12) of one type into `normal/` and `abnormal/`."""

    def own(images, ending="png", **options):
        for index, image in enumerate(images):
            part = "abnormal" if index >= len(images) - 2 else "normal"
            path = tmp_path / "own" / part / f"{index}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, **options)
        return tmp_path / "own"

    return own


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (8, 12, 12))  # 8 bits


def _load(folder, **options):
    located = registry.find("folder", "real", folder, image_size=12, **options)
    return registry.load(located)


def _pixels(data):
    """Grey values by file name, (12, 12)."""
    names = [*data.train_ids, *data.test_ids]
    pixels = np.concatenate([data.train.pixels, data.test.pixels])
    return {name: image[0] for name, image in zip(names, pixels, strict=True)}


class TestDecide:
    def test_eight_bits_need_no_decision(self):
        assert decide([Facts("L", "PNG", (4, 4))]) is None

    @pytest.mark.parametrize(
        ("highest", "white"), [(255, 255), (256, 511), (4_000, 4_095), (65_535, 65_535)]
    )
    def test_whole_numbers_have_the_bits_of_the_largest(self, highest, white):
        assert _ends(_facts(0, highest), _facts(3, highest // 2)) == (0, white)

    def test_declared_bits_win_over_the_largest_value(self):
        assert _ends(_facts(0, 900, bits=12)) == (0, 4_095)

    @pytest.mark.parametrize(
        ("highest", "white"), [(0.9, 1), (1.0, 1), (254.5, 255), (40_000, 65_535)]
    )
    def test_floats_have_the_usual_range_that_they_fill(self, highest, white):
        assert _ends(_facts(0, highest, whole=False)) == (0, white)

    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            ([_facts(-5, 900)], "some are negative"),
            ([_facts(0, 3.7, whole=False)], "no usual range"),
            ([_facts(0, 1e6, whole=False)], "no usual range"),
            ([_facts(0, 1, whole=False), _facts(0, 900)], "some are whole numbers"),
            ([_facts(30_000, 31_000)], "fill little of the range 0 to 32767"),
            (
                [_facts(0, 65_535), *[_facts(0, 4_000)] * 3],
                "half of them stay below 8191.88, nearly black",
            ),
        ],
    )
    def test_what_cannot_be_known_names_the_setting(self, facts, why):
        with pytest.raises(InputError, match=rf"{why}.* say it by grey_range"):
            decide(facts)
        assert _ends(*facts, given=(0, 500)) == (0, 500)

    @pytest.mark.parametrize("given", [(5,), (9, 5), (0, float("nan")), (1, 2, 3)])
    def test_a_range_is_two_numbers(self, given):
        with pytest.raises(InputError, match=r"grey_range is .* must be two numbers"):
            decide([_facts(0, 9)], given)

    def test_a_range_that_nothing_needs_is_an_error(self):
        with pytest.raises(InputError, match="no grey image has more than 8 bits"):
            decide([Facts("L", "PNG", (4, 4))], (0, 4_095))

    def test_colours_whose_upper_half_is_empty_are_an_error(self):
        dark, bright = (Facts("RGB", "PNG", (4, 4), colour_peak=p) for p in (15, 128))
        with pytest.raises(InputError, match=r"reach 15 of 255 .* 8 bits a channel"):
            decide([dark])
        assert decide([dark, bright]) is None


def test_the_largest_value_is_white_and_halves_are_rounded_up():
    values = np.array([0, 1, 2, 3, 4, 5])

    assert Greys(1, 4, "").to_bytes(values).tolist() == [0, 0, 85, 170, 255, 255]
    assert Greys(0, 510, "").to_bytes(np.array([1])).tolist() == [1]
    assert Greys(1, 4, "").to_bytes(values, inverted=True).tolist() == [
        *(255, 255, 170, 85, 0, 0)
    ]


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        (lambda grey: (grey * 4_095 // 255).astype(np.uint16), "png"),
        (lambda grey: (grey * 4_095 // 255).astype(np.uint16), "tif"),
        (lambda grey: (grey * 257).astype(np.uint16), "png"),
        (lambda grey: grey.astype(np.int32), "tif"),
        (lambda grey: (grey / 255).astype(np.float32), "tif"),
        (lambda grey: grey.astype(np.float32), "tif"),
    ],
)
def test_every_depth_becomes_the_same_eight_bits(change, ending, own, noise):
    noise[:, 0, 0] = 255  # every range is filled to its end

    data = _load(own(change(noise), ending))

    found = _pixels(data)
    for index, image in enumerate(noise):
        (name,) = [n for n in found if n.endswith(f"/{index}.{ending}")]
        np.testing.assert_allclose(found[name], image, atol=1)


def test_one_range_for_dark_and_bright_images(own, noise):
    noise[:6] = noise[:6] // 4  # the normal ones are darker
    noise[-1, 0, 0] = 255

    found = _pixels(_load(own((noise * 16).astype(np.uint16))))

    for index, image in enumerate(noise):
        (name,) = [n for n in found if n.endswith(f"/{index}.png")]
        np.testing.assert_allclose(found[name], image * 16 * 255 / 4_095, atol=0.51)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_greys_whose_smallest_is_white_are_turned_round(kind, own, noise):
    noise[:, 0, :2] = 0, 255
    folder = own(noise.astype(kind), "tif", tiffinfo={262: 0})  # WhiteIsZero

    found = _pixels(_load(folder))

    (name,) = [n for n in found if n.endswith("/0.tif")]
    np.testing.assert_array_equal(found[name], 255 - noise[0])


def test_it_is_recorded_said_in_the_check_and_part_of_the_data(own, noise):
    folder = own((noise * 16).astype(np.uint16))

    data, other = _load(folder), _load(folder, grey_range=(0, 65_535))

    assert data.provenance["greys"] == {
        "low": 0.0,
        "high": 4_095.0,
        "rule": f"12 bits hold the largest value, {noise.max() * 16}",
    }
    assert data.fingerprint != other.fingerprint
    assert other.train.pixels.max() < 17
    assert (
        "greys      0 (black) to 4095 (white), 12 bits hold"
        in (check.check("folder", folder)[0])
    )


def test_a_file_of_more_bits_than_the_others_asks(own, noise):
    deep = (noise * 16).astype(np.uint16)
    deep[-1] *= 16

    with pytest.raises(InputError, match=r"half of them stay below .*grey_range"):
        _load(own(deep))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_that_are_no_numbers_are_named(value, own, noise):
    floats = (noise / 255).astype(np.float32)
    floats[0, 3, 3] = value

    with pytest.raises(InputError, match=r"normal/0\.tif \(holds values that are no"):
        _load(own(floats, "tif"))


def test_twelve_bits_that_a_tiff_declares_are_believed(tmp_path):
    values = np.array([[0, 1_000], [2_000, 2_001]])
    packed = bytes([0x00, 0x03, 0xE8, 0x7D, 0x07, 0xD1])  # 12 bits each, two rows
    entries = [
        *((256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 12), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 2)),
        (279, 4, 1, 6),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = struct.pack("<2sHI", b"II", 42, 16) + packed + b"\0\0"
    data += struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(data)

    facts = decode.examine(tmp_path / "a.tif")

    assert (facts.low, facts.high, facts.bits) == (values.min(), values.max(), 12)
    assert _ends(facts) == (0, 4_095)


@pytest.mark.parametrize(("largest", "white"), [(4_095, 4_095), (1_000, 1_000)])
def test_the_largest_value_that_a_pgm_declares_is_white(largest, white, tmp_path):
    values = np.array([[0, white // 2], [white // 4, 0]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(f"P5 2 2 {largest}\n".encode() + values.tobytes())

    facts = decode.examine(tmp_path / "a.pgm")
    image, _ = decode.read_image(tmp_path / "a.pgm", 2, greys=decide([facts]))

    np.testing.assert_allclose(image[0], values / white * 255, atol=1)


def _deep_colours(path, colours):
    """Write colours (H, W, 3), 16 bits, as a PNG, which Pillow cannot."""
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data))
            + name
            + data
            + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


@pytest.mark.parametrize(("bits", "fine"), [(12, False), (16, True)])
def test_colours_of_sixteen_bits_have_to_fill_them(bits, fine, tmp_path):
    rng = np.random.default_rng(0)
    for part, number in (("normal", 3), ("abnormal", 1)):
        for index in range(number):
            colours = rng.integers(0, 2**bits, (6, 6, 3))
            _deep_colours(tmp_path / f"own/{part}/{index}.png", colours)

    report, ok = check.check("folder", tmp_path / "own")

    assert ok == fine
    assert ("colour image(s) of 16 bits" in report) == (not fine)


def test_further_pages_are_counted_and_named(own, noise):
    folder = own(noise.astype(np.uint8))
    first, second = (Image.fromarray(one.astype(np.uint8)) for one in noise[:2])
    first.save(
        folder / "normal/pages.tif", save_all=True, append_images=[second.transpose(0)]
    )
    Image.fromarray(255 - noise[2].astype(np.uint8)).save(
        folder / "normal/moving.gif", save_all=True, append_images=[second, first]
    )

    report, ok = check.check("folder", folder)

    assert ok
    assert (
        "note       2 file(s) have several pages or frames, of which the first is "
        "read: normal/moving.gif (3), normal/pages.tif (2)"
    ) in report


def test_new_images_are_scored_in_the_greys_of_the_run(own, noise):
    folder = own((noise * 16).astype(np.uint16))
    data = _load(folder)
    loaded = object.__new__(scoring.Loaded)  # what `read` needs of a run
    loaded.image_size, loaded.channels = 12, 3
    loaded._adapter = registry.adapter("folder")

    loaded._greys = Greys(**data.provenance["greys"])
    image = loaded.read(folder / data.train_ids[0])
    np.testing.assert_array_equal(image, data.train.pixels[0])

    loaded._greys, loaded._eight_bits = None, True
    with pytest.raises(InputError, match="more than 8 bits a value and the run's own"):
        loaded.read(folder / data.train_ids[0])
