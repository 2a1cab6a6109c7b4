import colorsys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from thesislib.figures import style


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2, in [0, 1]."""
    channels = np.array(to_rgb(colour))
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    return float(linear @ [0.2126, 0.7152, 0.0722])


def deuteranope(colour: str) -> np.ndarray:
    """Colour as seen without green cones (Viénot et al. 1999), linear RGB."""
    linear = np.array([luminance_channel(c) for c in to_rgb(colour)])
    return np.array(
        [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]
    ) @ (linear)


def luminance_channel(c: float) -> float:
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def test_normal_and_abnormal_differ_in_grey_and_for_colour_blind_readers():
    light, dark = luminance(style.ABNORMAL), luminance(style.NORMAL)

    assert (light + 0.05) / (dark + 0.05) > 2.5
    seen = deuteranope(style.NORMAL) - deuteranope(style.ABNORMAL)
    assert np.abs(seen).max() > 0.25


@pytest.mark.parametrize("colour", [style.NORMAL, style.ABNORMAL, *style.SERIES])
def test_data_colours_stand_out_from_the_white_ground(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 3 - 0.01  # WCAG 2 for graphics


def test_heat_colours_get_lighter_all_the_way():
    steps = mpl.colormaps[style.HEAT](np.linspace(0, 1, 64))[:, :3]

    assert (np.diff([luminance(step) for step in steps]) > 0).all()


def test_normal_is_blue_and_abnormal_orange():
    hue = [colorsys.rgb_to_hsv(*to_rgb(c))[0] * 360 for c in (style.NORMAL, "#E07B00")]

    assert 190 < hue[0] < 250
    assert 20 < hue[1] < 45


def test_a_mark_stands_above_the_axes_and_replaces_an_earlier_one():
    figure, ax = style.subplots(height=2.0)

    style.mark(style.mark(figure, "phantom"), "phantom · quick")

    assert style.marks(figure) == ["phantom · quick"]
    assert figure.get_size_inches()[1] == pytest.approx(2.24)
    figure.draw_without_rendering()
    text = next(t for t in figure.texts if t.get_text() == "phantom · quick")
    assert not text.get_window_extent().overlaps(ax.get_tightbbox())


def test_no_mark_leaves_the_figure_as_it_is():
    figure, _ = style.subplots(height=2.0)

    assert style.marks(style.mark(figure, "")) == []
    assert figure.get_size_inches()[1] == pytest.approx(2.0)


def test_global_settings_stay_as_they_are():
    before = dict(mpl.rcParams)

    style.subplots()

    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-2.0, "−2"), (float("nan"), "–"), (1234.0, "1234")],
)
def test_numbers_read_well(value, text):
    assert style.number(value) == text


def test_compared_numbers_share_their_decimals():
    write = style.fixed([-2.0, 4.66])

    assert [write(v) for v in (1.0, 0.0905, -0.271)] == ["1.00", "0.09", "−0.27"]


def test_an_interval_without_ends_shows_the_value_only():
    assert style.interval_text(0.873, 0.841, 0.902) == "0.873 [0.841, 0.902]"
    assert style.interval_text(0.873, float("nan"), 0.9) == "0.873"
    assert style.interval_text(float("nan")) == "–"


# --- Names of a reader's -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("crack", "crack"),
        ("cost_$100", r"cost_\$100"),
        ("_misc", " _misc"),
        ("cafe\u0301", "caf\u00e9"),
        ("трещина", "трещина"),
        ("a\tb\x00", "a[U+0009]b[U+0000]"),
        ("x" * 50, "x" * 39 + "…"),
    ],
)
def test_names_are_written_letter_for_letter(name, shown):
    assert style.plain(name) == shown


def test_signs_that_no_font_has_are_given_by_their_numbers(monkeypatch):
    latin = frozenset(range(32, 127))
    monkeypatch.setattr(style, "_signs", lambda: latin)

    assert style.plain("裂缝 (big)") == "[U+88C2 U+7F1D] (big)"
    assert style.is_written("big") and not style.is_written("裂缝")


def test_fonts_with_other_scripts_are_used_where_they_are():
    families = style.RC["font.sans-serif"]

    assert families[0] == "DejaVu Sans"
    assert set(families) <= style.INSTALLED


def test_infinite_numbers_are_written_with_their_sign():
    write = style.fixed([0.0, 1.0])

    assert [write(-np.inf), write(np.inf), write(0.5)] == ["−∞", "∞", "0.50"]
