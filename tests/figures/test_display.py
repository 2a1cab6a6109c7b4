import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from thesislib.errors import InputError
from thesislib.figures import display, style


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def line_figure():
    figure, ax = style.subplots(width=3, height=2)
    ax.plot([0, 1], [0, 1], color=style.NORMAL)
    return figure


def photograph_figure(rng):
    figure, ax = style.subplots(width=1, height=1)
    ax.imshow(rng.integers(0, 256, (100, 100, 3), dtype=np.uint8))
    return figure


def test_text_is_escaped_and_comes_back_as_it_was():
    alt, caption = 'map of "x" <b>&', "</figcaption><script>alert(1)</script> a < b"

    page = Tags(display.figure_html(line_figure(), alt, caption).data)

    assert [tag for tag, _ in page.found] == ["figure", "img", "figcaption"]
    assert dict(page.found)["img"]["alt"] == alt
    assert page.text == caption


def test_the_picture_travels_inside_the_page():
    page = Tags(display.figure_html(line_figure(), "a line").data)

    source = dict(page.found)["img"]["src"]
    assert source.startswith("data:image/png;base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
    assert picture.size[0] > 300


def test_a_mark_is_on_the_figure_in_the_alt_text_and_in_the_caption():
    figure = line_figure()

    page = Tags(display.figure_html(figure, "a line", mark="phantom · quick").data)

    assert style.marks(figure) == ["phantom · quick"]
    assert dict(page.found)["img"]["alt"] == "a line (phantom · quick)"
    assert page.text == "phantom · quick"


def test_alt_text_is_not_optional():
    with pytest.raises(InputError, match="alt is empty"):
        display.figure_html(line_figure(), " ")


def test_equal_figures_give_equal_bytes():
    assert display.png_bytes(line_figure()) == display.png_bytes(line_figure())


def test_a_plot_is_stored_with_a_palette_and_its_ground_stays_white():
    picture = Image.open(io.BytesIO(display.png_bytes(line_figure())))

    assert picture.mode == "P"
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_crowded_colours_do_not_tint_the_white_ground(rng):
    crowded = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    crowded[0] = 255

    stored = display.in_256_colours(Image.fromarray(crowded)).convert("RGB")

    assert stored.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_that_256_colours_would_spoil_is_stored_in_full(rng):
    picture = Image.open(io.BytesIO(display.png_bytes(photograph_figure(rng))))

    assert picture.mode == "RGB"
