"""Pictures of Chapter 6: images by rows, and the maps of both scales.

Thesis Figures 6.3, 6.4, A.1, A.3 and A.4.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import as_array, as_images, as_maps, as_masks
from thesislib.figures.panels import class_text, outline, outline_legend, show, tiles


@style.styled
def image_rows(rows: Mapping[str, Any], titles: Sequence[str] | None = None) -> Figure:
    """Draw labelled rows of images, e.g. image, reconstruction and residual.

    Args:
        rows: Label, written above its row, to images (K, C, H, W) or (K, H, W, C), C
            of 1 or 3, uint8 or floats in [0, 1]; K may differ from row to row.
        titles: Words above the columns, as many as the longest row has images; None
            for none.

    Raises:
        InputError: No row, an empty row, other shapes, or another number of titles.
    """
    rows = {
        label: as_images(value, name=f"rows[{label!r}]")
        for label, value in rows.items()
    }
    if not rows:
        raise InputError("rows is empty; give at least one row of images.")
    if empty := [label for label, images in rows.items() if not len(images)]:
        raise InputError(f"rows {empty} hold no image; give at least one each.")
    num_columns = max(map(len, rows.values()))
    if titles is not None and len(titles) != num_columns:
        raise InputError(
            f"{len(titles)} titles are given for {num_columns} columns of images."
        )
    tallest = max((images.shape[1:3] for images in rows.values()), key=_aspect)
    figure, axes = tiles(
        len(rows),
        num_columns,
        tallest,
        max_tile=1.4,
        extra=0.05 if titles is None else 0.2,
        title=0.24,
    )
    for row, (label, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, images, strict=False):
            show(ax, image)
        for ax in row[len(images) :]:
            ax.set_axis_off()
        row[0].set_title(" ", fontsize=9, pad=3)  # room for the label, which may
        row[0].annotate(  # reach over the next images without moving them
            label,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            va="baseline",
            in_layout=num_columns == 1,
        )
    if titles is not None:
        for ax, title in zip(axes[-1], titles, strict=True):
            ax.text(
                0.5,
                -0.04,
                title,
                transform=ax.transAxes,
                ha="center",
                va="top",
                fontsize=8.5,
            )
    return figure


@style.styled
def scale_heatmaps(
    images: Any,
    maps: Mapping[str, Any],
    ends: Mapping[str, tuple[float, float]],
    masks: Any = None,
    labels: Any = None,
    scores: Any = None,
) -> Figure:
    """Draw the maps of each scale beside their image, Figures 6.3, 6.4, A.1, A.3, A.4.

    A row a test image, normal ones first; a column a scale. All images share the
    colour scale of a column, drawn below it: a scale of its own for each image would
    paint a hot spot on every normal image. The scales' units differ, so the columns
    don't share one.

    Args:
        images: (N, C, H, W) or (N, H, W, C), C of 1 or 3; up to 8 read well.
        maps: Name of a scale ("global", "local", ...) to its maps, (N, h, w), larger
            is more abnormal; the size may differ from the images.
        ends: The same names to lowest and highest value of the colour scale.
        masks: (N, H, W), True on the defect, outlined on image and maps; or None.
        labels: (N,), 0 normal, 1 abnormal; None writes no classes.
        scores: (N,) image scores, written beside; or None.

    Raises:
        InputError: Shapes or names that don't fit, ends that don't increase.
    """
    images = as_images(images)
    num_images = len(images)
    if not num_images or not maps:
        raise InputError(
            f"{num_images} images and {len(maps)} scales are given; "
            "one or more of each are needed."
        )
    if set(maps) != set(ends):
        raise InputError(
            f"maps has the scales {list(maps)}, ends has {list(ends)}; "
            "the names must agree."
        )
    maps = {
        name: as_maps(value, num_images, name=f"maps[{name!r}]")
        for name, value in maps.items()
    }
    for name, (low, high) in ends.items():
        if not low < high:
            raise InputError(f"ends[{name!r}] is ({low}, {high}); they must increase.")
    masks = as_masks(masks, num_images)
    if masks is not None and masks.shape[1:] != images.shape[1:3]:
        raise InputError(
            f"masks are {masks.shape[1:]}, images {images.shape[1:3]} (H, W); "
            "one size is needed."
        )
    labels = _column(labels, num_images, "labels")
    scores = _column(scores, num_images, "scores")
    order = np.arange(num_images)
    if labels is not None:
        order = np.argsort(labels.astype(bool), kind="stable")
    write = None if scores is None else style.fixed(scores)

    height, width = images.shape[1:3]
    beside = 0.0 if labels is None and scores is None else 0.75
    figure, axes = tiles(
        num_images,
        1 + len(maps),
        (height, width),
        1.5,
        side=beside,
        extra=0.7,
        bars=0.09,
    )
    *rows, bars = axes
    for row, i in zip(rows, order, strict=True):
        show(row[0], images[i])
        lines = [] if labels is None else ["abnormal" if labels[i] else "normal"]
        lines += [] if scores is None else [write(scores[i])]
        row[0].set_ylabel(
            "\n".join(lines),
            rotation=0,
            ha="right",
            va="center",
            color=style.INK if labels is None else class_text(labels[i]),
        )
        for ax, (name, values) in zip(row[1:], maps.items(), strict=True):
            show(ax, None).imshow(
                values[i],
                cmap=style.HEAT,
                norm=Normalize(*ends[name]),
                interpolation="bilinear",
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            )
        if masks is not None:
            for ax in row:
                outline(ax, masks[i])
    for ax, name in zip(axes[0], ("image", *maps), strict=True):
        ax.set_title(name, loc="center")
    for ax in bars:
        ax.set_axis_off()
    for ax, (name, values) in zip(bars[1:], maps.items(), strict=True):
        low, high = ends[name]
        bar = figure.colorbar(
            ScalarMappable(Normalize(low, high), style.HEAT),
            cax=ax.inset_axes([0.04, 0, 0.92, 1]),
            orientation="horizontal",
            extend=_extend(values, low, high),
            ticks=MaxNLocator(3),
        )
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
    if masks is not None and masks.any():
        outline_legend(figure, [("outline: ground truth", "-")])
    return figure


def _column(values: Any, num_images: int, name: str) -> np.ndarray | None:
    """One finite number an image, (N,), or None where there are none."""
    if values is None:
        return None
    array = as_array(values)
    if array.shape != (num_images,):
        raise InputError(f"{name} has shape {array.shape}; ({num_images},) is needed.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds values that are not finite.")
    return array


def _extend(values: np.ndarray, low: float, high: float) -> str:
    """Which ends of a colour scale are passed by values."""
    below, above = bool(values.min() < low), bool(values.max() > high)
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max"}.get((below, above), "both")


def _aspect(shape: Sequence[int]) -> float:
    return shape[0] / shape[1]
