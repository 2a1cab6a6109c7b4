"""Explorer of test images, heatmaps and thresholds as one piece of HTML.

Works in JupyterLab, in the static book and offline: no kernel, no library, no
request. Pictures travel as three sprites (images as JPEG, maps as 8-bit grey PNG,
masks as 1-bit PNG), the page colours and outlines them itself, and counts decisions
anew at every move of the threshold. It lives in a shadow root, so it neither takes
styles from the page nor gives any, and may stand on a page many times.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import (
    as_images,
    as_labels_and_scores,
    as_maps,
    as_masks,
)
from thesislib.figures.panels import map_scale, spread_over_ranks

if TYPE_CHECKING:
    from IPython.display import HTML

MAX_SIDE = 96  # pixels; larger images are reduced, a page must stay below 3 MB
JPEG_QUALITY = 85


def choose(labels: Any, scores: Any, count: int = 48) -> np.ndarray:
    """Pick test images to show: half of each class, at equal steps through the scores.

    Nobody picks by hand; the lowest and highest score of each class are included.

    Args:
        labels: (N,), 0 normal, 1 abnormal.
        scores: (N,).
        count: Images wanted; fewer where a class has fewer.

    Returns:
        Indices, (count,) or fewer, in increasing order.
    """
    labels, scores = as_labels_and_scores(labels, scores)
    picked = [
        spread_over_ranks(np.flatnonzero(members), scores, count // 2)
        for members in (~labels, labels)
    ]
    return np.sort(np.concatenate(picked))


def explorer_html(
    images: Any,
    maps: Any,
    masks: Any,
    labels: Any,
    scores: Any,
    ids: Sequence[str],
    threshold: float,
    scale: tuple[float, float] | None = None,
    *,
    kinds: Sequence[str] | None = None,
    all_labels: Any = None,
    all_scores: Any = None,
    pixel_threshold: float | None = None,
    title: str = "Test images, anomaly maps and the threshold",
    mark: str = "",
) -> "HTML":
    """Make the explorer.

    Args:
        images: (N, 3, H, W) or (N, H, W, 3); 48 read well, see `choose`.
        maps: (N, h, w), larger is more abnormal.
        masks: (N, H, W), True on the lesion; None where not published.
        labels: (N,), 0 normal, 1 abnormal.
        scores: (N,) image scores.
        ids: (N,) names shown.
        threshold: Image threshold at the start, in units of the scores; at or above
            it an image is called abnormal. It may be infinite: all images or none.
        scale: Ends of the colour scale and of the pixel threshold, in units of the
            maps; None takes `map_scale` of the maps given.
        kinds: (N,) lesion families, shown beside the label; or None.
        all_labels: (M,) labels of the whole test set, over which decisions are
            counted; None counts over the images given.
        all_scores: (M,) scores, as `all_labels`.
        pixel_threshold: At the start, in units of the maps; None puts it at three
            quarters of the scale.
        title: Heading.
        mark: E.g. "phantom · quick", shown beside the heading.

    Returns:
        `IPython.display.HTML`; the string is its `.data`.

    Raises:
        InputError: Lengths or shapes that do not fit.
    """
    from IPython.display import HTML

    data = explorer_data(
        images,
        maps,
        masks,
        labels,
        scores,
        ids,
        threshold,
        scale,
        kinds=kinds,
        all_labels=all_labels,
        all_scores=all_scores,
        pixel_threshold=pixel_threshold,
    )
    here = Path(__file__)
    data |= {
        "title": title,
        "mark": mark,
        "css": here.with_suffix(".css").read_text(encoding="utf-8"),
    }
    text = json.dumps(data, ensure_ascii=True, sort_keys=True, allow_nan=False)
    identity = "explorer-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    text = json.dumps(data | {"id": identity}, ensure_ascii=True, allow_nan=False)
    text = text.replace("<", "\\u003c")  # no tag may end the script
    script = here.with_suffix(".js").read_text(encoding="utf-8")
    return HTML(
        f'<div data-thesis-explorer="{identity}">'
        f"<p><strong>{escape(title)}</strong>. This explorer needs JavaScript; in "
        "JupyterLab the notebook must be trusted.</p></div>\n"
        f"<script>(() => {{\n{script}\n"
        f"const data = {text};\n"
        "for (const host of document.querySelectorAll("
        f"'[data-thesis-explorer=\"{identity}\"]')) {{\n"
        "  if (!host.dataset.started) explore(host, data);\n"
        "}\n})();</script>"
    )


def explorer_data(
    images: Any,
    maps: Any,
    masks: Any,
    labels: Any,
    scores: Any,
    ids: Sequence[str],
    threshold: float,
    scale: tuple[float, float] | None = None,
    *,
    kinds: Sequence[str] | None = None,
    all_labels: Any = None,
    all_scores: Any = None,
    pixel_threshold: float | None = None,
) -> dict[str, Any]:
    """What the page's script works on, as JSON takes it; arguments as above.

    Maps are stored in 256 steps over the scale, so the pixel threshold and the IoU
    shown are exact to one step.
    """
    images = as_images(images)
    num_images = len(images)
    maps, masks = as_maps(maps, num_images), as_masks(masks, num_images)
    labels, scores = as_labels_and_scores(labels, scores)
    for name, values in (("labels", labels), ("ids", ids), ("kinds", kinds)):
        if values is not None and len(values) != num_images:
            raise InputError(
                f"{name} has {len(values)} entries for {num_images} images."
            )
    if (all_labels is None) != (all_scores is None):
        raise InputError("all_labels and all_scores must be given together.")
    if all_labels is None:
        all_labels, all_scores = labels, scores
    else:
        all_labels, all_scores = as_labels_and_scores(all_labels, all_scores)
    if np.isnan(threshold):
        raise InputError("threshold is nan; a number is needed.")
    low, high = map_scale(maps) if scale is None else map(float, scale)
    if not low < high:
        raise InputError(f"scale is ({low}, {high}); its ends must increase.")
    if pixel_threshold is None:
        pixel_threshold = low + 0.75 * (high - low)

    tile = _tile_size(images.shape[1:3])
    columns = int(np.ceil(np.sqrt(num_images)))
    steps = ((maps - low) / (high - low)).clip(0, 1)
    ids, kinds = map(str, ids), kinds if kinds is not None else [""] * num_images
    return {
        "tile": list(tile),
        "columns": columns,
        "images": _sprite(np.uint8(np.round(images * 255)), tile, columns, "JPEG"),
        "maps": _sprite(np.uint8(np.round(steps * 255)), tile, columns, "PNG"),
        "masks": (
            None
            if masks is None
            else _sprite(np.uint8(masks) * 255, tile, columns, "PNG", binary=True)
        ),
        "items": [
            {"id": i, "label": int(label), "score": float(score), "kind": str(kind)}
            for i, label, score, kind in zip(ids, labels, scores, kinds, strict=True)
        ],
        "labels": [int(label) for label in all_labels],
        "scores": [float(score) for score in all_scores],
        "threshold": _number(threshold),
        "low": low,
        "high": high,
        "pixel": int(
            np.clip(round((pixel_threshold - low) / (high - low) * 255), 0, 255)
        ),
        "decimals": style.decimals(all_scores),
        "mapDecimals": style.decimals([low, high]),
        "palette": _palette(),
    }


def _number(value: float) -> float | str:
    """A number as JSON takes it; of the infinite ones, the name that JavaScript has."""
    infinite = "Infinity" if value > 0 else "-Infinity"
    return float(value) if np.isfinite(value) else infinite


def _tile_size(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a tile: multiples of 8, so no JPEG block spans two tiles."""
    shrink = min(1.0, MAX_SIDE / max(shape))
    return tuple(max(8, int(np.ceil(side * shrink / 8)) * 8) for side in shape)


def _sprite(
    pictures: np.ndarray,
    tile: tuple[int, int],
    columns: int,
    form: str,
    binary: bool = False,
) -> str:
    """Pictures (N, H, W) or (N, H, W, 3), uint8, side by side as a data URI."""
    height, width = tile
    rows = -(-len(pictures) // columns)
    mode = "RGB" if pictures.ndim == 4 else "L"
    sheet = Image.new(mode, (columns * width, rows * height))
    how = Image.Resampling.NEAREST if binary else Image.Resampling.BILINEAR
    for i, picture in enumerate(pictures):
        part = Image.fromarray(picture)
        if part.size != (width, height):
            part = part.resize((width, height), how)
        sheet.paste(part, (i % columns * width, i // columns * height))
    out = io.BytesIO()
    if form == "JPEG":
        sheet.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    else:
        (sheet.convert("1") if binary else sheet).save(out, "PNG", optimize=True)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{data}"


def _palette() -> str:
    """The book's heat colours as 256 RGB bytes, base64."""
    colours = mpl.colormaps[style.HEAT](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(colours.tobytes()).decode("ascii")
