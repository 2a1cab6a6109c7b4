"""A figure as HTML that carries its picture, its alt text and its caption.

One form for JupyterLab, the static book and dark pages: a `<figure>` with the PNG
inside it, on a white card. Needs neither network nor files.
"""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from thesislib.errors import InputError
from thesislib.figures import style

if TYPE_CHECKING:
    from IPython.display import HTML

DPI = 144  # 1.44 pixels of the file for one of the page: sharp, still small
_PAGE_DPI = 100  # CSS pixels an inch


def png_bytes(fig: Figure, dpi: int = DPI) -> bytes:
    """Render a figure as a compact PNG on white.

    A palette of 256 colours holds the picture where 998 of 1,000 pixels stay within
    12 of 255 levels in each channel, as plots and many pictures do; else it is stored
    in full. White stays white. No dates or versions are written, so equal figures give
    equal bytes.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(style.RC):
        fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.08)
    exact = Image.open(buffer).convert("RGB")
    best = in_256_colours(exact)
    difference = np.abs(
        np.asarray(exact, dtype=np.int16)
        - np.asarray(best.convert("RGB"), dtype=np.int16)
    )
    if (difference.max(axis=-1) > 12).mean() > 0.002:
        best = exact
    out = io.BytesIO()
    best.save(out, format="PNG", optimize=True)
    return out.getvalue()


def in_256_colours(image: Image.Image) -> Image.Image:
    """Quantise without dithering, which would cost more bytes than it saves."""
    method = Image.Quantize.MEDIANCUT
    enough = 1 + image.width * image.height // 200  # pixels that may still move
    quantised = image.quantize(256, method, kmeans=enough, dither=Image.Dither.NONE)
    palette = np.array(quantised.getpalette()).reshape(-1, 3)
    palette[np.abs(palette - 255).sum(axis=1).argmin()] = 255
    quantised.putpalette(palette.ravel().tolist())
    return quantised


def figure_html(fig: Figure, alt: str, caption: str = "", mark: str = "") -> "HTML":
    """Show a figure with alt text and caption.

    Args:
        fig: The figure. Gets the mark, is not closed or changed otherwise.
        alt: What the picture shows, for readers who don't see it; plain text.
        caption: Plain text; escaped.
        mark: E.g. "phantom · quick", written on the figure, in the alt text and in
            the caption; "" for real data at the thesis's own settings.

    Returns:
        `IPython.display.HTML`; the string is its `.data`.

    Raises:
        InputError: Empty alt text.
    """
    from IPython.display import HTML

    style.mark(fig, mark)
    return HTML(png_html(png_bytes(fig), alt, caption, mark))


def png_html(png: bytes, alt: str, caption: str = "", mark: str = "") -> str:
    """The same from PNG bytes, e.g. of a figure that an earlier run has stored."""
    if not alt.strip():
        raise InputError("alt is empty; say what the figure shows.")
    if mark:
        alt = f"{alt} ({mark})"
    width, _ = Image.open(io.BytesIO(png)).size
    width = round(width * _PAGE_DPI / DPI)
    data = base64.b64encode(png).decode("ascii")
    badge = (
        '<span style="border:1px solid currentColor;border-radius:.3em;'
        f'padding:0 .35em;margin-right:.5em;white-space:nowrap">{escape(mark)}</span>'
        if mark
        else ""
    )
    text = (
        '<figcaption style="font-size:.9em;line-height:1.4;margin-top:.4em;'
        f'text-align:left">{badge}{escape(caption)}</figcaption>'
        if caption or mark
        else ""
    )
    return (
        '<figure class="thesis-figure" style="margin:1em 0">'
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}" width="{width}" '
        f'style="width:{width}px;max-width:100%;'
        'height:auto;background:#fff;border-radius:6px;display:block">'
        f"{text}</figure>"
    )
