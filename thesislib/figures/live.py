"""The threshold under a slider in a running notebook, with counts made anew.

For reading in JupyterLab only; the book has `explorer`, which needs no kernel. In a
run without a reader nothing is made, so that no dead slider litters the book.
"""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from thesislib.figures import style
from thesislib.figures.arrays import (
    as_images,
    as_labels_and_scores,
    counts_at,
    rates,
)

if TYPE_CHECKING:
    from ipywidgets import VBox

NEIGHBOURS = 5  # images shown on either side of the threshold
_SIDE = 72  # pixels


def reader_present() -> bool:
    """Whether a person sits at this notebook.

    JupyterLab, Notebook and VS Code let a cell ask for input; papermill, nbclient,
    `jupyter execute` and the book build don't. ipykernel keeps what the running
    cell's request said (`allow_stdin` of the Jupyter messaging protocol). Without a
    kernel the answer is no.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def live_threshold(
    labels: Any,
    scores: Any,
    images: Any = None,
    threshold: float | None = None,
    live: bool | None = None,
) -> "VBox | None":
    """Make a slider for the image threshold.

    Under it stand the decisions counted anew, and, with images, those whose scores
    lie next to the threshold: the ones a small step would change.

    Args:
        labels: (N,), 0 normal, 1 abnormal.
        scores: (N,), larger is more abnormal.
        images: (N, 3, H, W) or (N, H, W, 3); or None.
        threshold: At the start; None takes the median score.
        live: True makes it, False does not, None asks `reader_present`.

    Returns:
        An ipywidgets box to leave as the last expression of a cell; None where nobody
        is there to move it, which shows nothing.
    """
    labels, scores = as_labels_and_scores(labels, scores)
    if images is not None:
        images = as_images(images)
    if not (reader_present() if live is None else live):
        return None
    import ipywidgets

    low, high = float(scores.min()), float(scores.max())
    margin = 0.02 * ((high - low) or 1.0)
    start = float(np.median(scores)) if threshold is None else float(threshold)
    if np.isinf(start):  # below or above all scores, and so is the slider's end
        start = low - margin if start < 0 else high + margin
    slider = ipywidgets.FloatSlider(
        value=start,
        min=min(low - margin, start),
        max=max(high + margin, start),
        step=(high - low + 2 * margin) / 500,
        readout_format=f".{style.decimals(scores)}f",
        description="threshold",
        continuous_update=True,
        layout={"width": "100%", "max_width": "620px"},
    )
    text = ipywidgets.HTML()

    def show(_: Any = None) -> None:
        text.value = decisions_html(labels, scores, slider.value)
        if images is not None:
            text.value += _neighbours_html(images, labels, scores, slider.value)

    slider.observe(show, names="value")
    show()
    return ipywidgets.VBox([slider, text])


def decisions_html(labels: np.ndarray, scores: np.ndarray, threshold: float) -> str:
    """Table of the four counts, with sensitivity and specificity, at a threshold."""
    counts = counts_at(labels, scores, threshold)
    sensitivity, specificity = rates(counts)
    return (
        "<table><tr><th></th><th>called normal</th><th>called abnormal</th>"
        "<th></th></tr>"
        f"<tr><th>normal</th><td>{counts['tn']}</td><td>{counts['fp']}</td>"
        f"<td>specificity {specificity:.3f}</td></tr>"
        f"<tr><th>abnormal</th><td>{counts['fn']}</td><td>{counts['tp']}</td>"
        f"<td>sensitivity {sensitivity:.3f}</td></tr></table>"
    ).replace("nan", "–")


def _neighbours_html(
    images: np.ndarray, labels: np.ndarray, scores: np.ndarray, threshold: float
) -> str:
    """Images just below and just above the threshold, in the order of their scores."""
    order = np.argsort(scores, kind="stable")
    middle = int(np.searchsorted(scores[order], threshold, side="left"))
    write = style.fixed(scores)
    tiles = []
    for i in order[max(middle - NEIGHBOURS, 0) : middle + NEIGHBOURS]:
        truth = "abnormal" if labels[i] else "normal"
        right = (scores[i] >= threshold) == labels[i]
        color = style.RIGHT if right else style.WRONG
        line = f"3px {'solid' if right else 'dashed'} {color}"
        out = io.BytesIO()
        picture = Image.fromarray(np.uint8(np.round(images[i] * 255)))
        picture.resize((_SIDE, _SIDE)).save(out, "JPEG", quality=85)
        data = base64.b64encode(out.getvalue()).decode("ascii")
        tiles.append(
            '<div style="text-align:center;font-size:.85em;line-height:1.3">'
            f'<img alt="{truth} image" src="data:image/jpeg;base64,{data}" '
            f'style="border:{line};display:block">'
            f"{'✓' if right else '✗'} {write(scores[i])}<br>{truth}</div>"
        )
    return (
        "<div>Scores next to the threshold:</div>"
        f'<div style="display:flex;flex-wrap:wrap;gap:6px">{"".join(tiles)}</div>'
    )
