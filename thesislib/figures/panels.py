"""Pictures of pictures: MedMix, strong augmentations, heatmaps, decisions.

Thesis Figures 5.2 to 5.5.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal as Plain
from matplotlib.patheffects import Stroke

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import (
    as_array,
    as_images,
    as_labels_and_scores,
    as_maps,
    as_masks,
)

_OUTLINE = "#7CFC9A"  # light green on a black rim: seen on tissue, X-ray and magma
_TIGHT = {"w_pad": 0.02, "h_pad": 0.02, "wspace": 0.01, "hspace": 0.01}
TITLE = 14  # signs above a small picture
_RIM = [Stroke(linewidth=2.6, foreground="black"), Plain()]


@style.styled
def medmix_examples(
    images: Any, masks: Any = None, class_names: Sequence[str] | None = None
) -> Figure:
    r"""Draw MedMix augmentations as in thesis Figure 5.2: columns A_0 to A_3.

    Args:
        images: (R, K, 3, H, W) or (R, K, H, W, 3): R normal images, each under the K
            classes, column n with n pasted lesions.
        masks: (R, K, H, W) or (R, K, 1, H, W), True on the pasted lesions; outlined.
            None draws no outlines.
        class_names: K column titles; None writes $\mathcal{A}_n$ and the number of
            lesions.
    """
    images = as_images(images, ndim=5)
    num_rows, num_classes = images.shape[:2]
    if masks is not None:
        flat = as_array(masks).reshape(
            num_rows * num_classes, *as_array(masks).shape[2:]
        )
        masks = as_masks(flat, num_rows * num_classes)
        masks = masks.reshape(num_rows, num_classes, *masks.shape[1:])
    if class_names is None:
        class_names = [
            rf"$\mathcal{{A}}_{n}$: " + ("none" if n == 0 else f"{n} pasted")
            for n in range(num_classes)
        ]
    figure, axes = tiles(num_rows, num_classes, images.shape[2:4])
    for row in range(num_rows):
        for column, name in enumerate(class_names):
            ax = show(axes[row, column], images[row, column])
            if masks is not None:
                outline(ax, masks[row, column])
            if row == 0:
                ax.set_title(name, fontsize=9, fontweight="normal", loc="center")
    if masks is not None:
        outline_legend(figure, [("outline: pasted lesion", "-")])
    return figure


@style.styled
def examples(
    images: Any, labels: Any, masks: Any = None, kinds: Sequence[str] | None = None
) -> Figure:
    """Draw test images: normal ones above, abnormal ones below, as many as given.

    Args:
        images: (N, 3, H, W) or (N, H, W, 3).
        labels: (N,), 0 normal, 1 abnormal.
        masks: (N, H, W), True on the lesion, outlined; or None.
        kinds: (N,) names of the kinds of abnormality, written above; or None.
    """
    images, labels = as_images(images), as_array(labels)
    if not len(images) or labels.shape != (len(images),):
        raise InputError(
            f"{len(images)} images come with labels {labels.shape}; "
            "one or more images with a label each are needed."
        )
    masks = as_masks(masks, len(images))
    names = kinds if kinds is not None else np.where(labels, "abnormal", "normal")
    rows = [np.flatnonzero(labels == label) for label in (0, 1)]
    rows = [row for row in rows if len(row)]
    figure, axes = tiles(len(rows), max(map(len, rows)), images.shape[1:3])
    for row, members in enumerate(rows):
        for column, ax in enumerate(axes[row]):
            if column >= len(members):
                ax.remove()
                continue
            index = members[column]
            show(ax, images[index])
            if masks is not None:
                outline(ax, masks[index])
            title = style.plain(names[index], TITLE)
            ax.set_title(title, fontsize=9, loc="center", fontweight="normal")
    return figure


@style.styled
def strong_examples(
    images: Mapping[str, Any], class_names: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Draw strong augmentations, one a row, its classes from left to right.

    Args:
        images: Augmentation name to (K, 3, H, W) or (K, H, W, 3), one image under
            each of its K classes; K may differ.
        class_names: Augmentation name to K titles; missing ones read "class k".
    """
    rows = {name: as_images(value, name=name) for name, value in images.items()}
    if not rows:
        raise InputError("images is empty; give at least one augmentation.")
    num_columns = max(len(value) for value in rows.values())
    shape = next(iter(rows.values())).shape[1:3]
    figure, axes = tiles(
        len(rows), num_columns, shape, max_tile=1.2, side=1.1, extra=0.0, title=0.24
    )
    for row, (name, pictures) in enumerate(rows.items()):
        titles = (class_names or {}).get(name)
        for column, ax in enumerate(axes[row]):
            if column >= len(pictures):
                ax.remove()
                continue
            show(ax, pictures[column])
            title = titles[column] if titles else f"class {column}"
            ax.set_title(title, fontsize=8, loc="center", fontweight="normal", pad=3)
        axes[row, 0].set_ylabel(
            name.replace("_", " "), rotation=0, ha="right", va="center", labelpad=6
        )
    return figure


@style.styled
def heatmaps(
    images: Any,
    maps: Any,
    masks: Any = None,
    scores: Any = None,
    labels: Any = None,
    scale: tuple[float, float] | None = None,
    opacity: float | None = None,
    unit: str = "anomaly score of a pixel",
) -> Figure:
    """Draw images and their anomaly maps on one colour scale, thesis Figures 5.3, 5.4.

    Normal images come first, then abnormal ones, each in the order given; one colour
    bar holds for all. A scale of its own for each image would paint a hot spot on
    every normal image.

    Args:
        images: (N, 3, H, W) or (N, H, W, 3); up to 8 read well.
        maps: (N, h, w), larger is more abnormal; the size may differ from the images.
        masks: (N, H, W), True on the lesion, outlined on image and map; or None.
        scores: (N,) image scores, written above; or None.
        labels: (N,), 0 normal, 1 abnormal; None writes no classes.
        scale: Lowest and highest value of the colour bar, e.g. `map_scale` of the
            whole test set; None takes those of the maps shown.
        opacity: None draws the map alone; a fraction lays it over the image.
        unit: Label of the colour bar.
    """
    images = as_images(images)
    num_images = len(images)
    maps, masks = as_maps(maps, num_images), as_masks(masks, num_images)
    if labels is not None:
        labels = as_array(labels).astype(bool)
        order = np.argsort(labels, kind="stable")
    else:
        order = np.arange(num_images)
    low, high = map_scale(maps, 0, 1) if scale is None else scale
    if not low < high:
        raise InputError(f"scale is ({low}, {high}); its ends must increase.")
    height, width = images.shape[1:3]
    num_lines = (labels is not None) + (scores is not None)
    figure, axes = tiles(
        2,
        num_images,
        (height, width),
        side=0.95,
        extra=0.17 * num_lines + 0.3,
    )
    norm = Normalize(low, high)
    write = None if scores is None else style.fixed(as_array(scores))
    for column, i in enumerate(order):
        top, bottom = axes[:, column]
        show(top, images[i])
        if opacity is not None:
            show(bottom, images[i])
        show(bottom, None).imshow(
            maps[i],
            cmap=style.HEAT,
            norm=norm,
            alpha=opacity,
            interpolation="bilinear",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        if masks is not None:
            outline(top, masks[i])
            outline(bottom, masks[i])
        lines = []
        if labels is not None:
            lines.append("abnormal" if labels[i] else "normal")
        if scores is not None:
            lines.append(write(as_array(scores)[i]))
        top.set_title(
            "\n".join(lines),
            fontsize=8.5,
            loc="center",
            color=class_text(labels[i]) if labels is not None else style.INK,
        )
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("map")
    below, above = maps.min() < low, maps.max() > high
    bar = figure.colorbar(
        ScalarMappable(norm, style.HEAT),
        ax=axes,
        fraction=0.03,
        pad=0.015,
        extend={(0, 0): "neither", (1, 0): "min", (0, 1): "max"}.get(
            (int(below), int(above)), "both"
        ),
    )
    bar.set_label(unit)
    bar.outline.set_visible(False)
    if masks is not None and masks.any():
        outline_legend(figure, [("outline: ground truth", "-")])
    return figure


def map_scale(maps: Any, low: float = 0.01, high: float = 0.995) -> tuple[float, float]:
    """Colour scale shared by all maps: two quantiles over every pixel.

    Constant maps get a scale of width 1 that starts at their value.

    Args:
        maps: Anomaly maps of any shape.
        low: Fraction of pixels below the scale.
        high: Fraction of pixels at or below its upper end.
    """
    start, end = (float(q) for q in np.quantile(as_array(maps), [low, high]))
    return (start, end) if start < end else (start, start + 1.0)


@style.styled
def gallery(
    images: Any,
    labels: Any,
    scores: Any,
    threshold: float,
    masks: Any = None,
    per_group: int = 7,
) -> Figure:
    """Draw right and wrong decisions with their scores, thesis Figure 5.5.

    A row for each kind of decision. The examples are not picked by hand: they lie at
    equal steps through the group sorted by score, its lowest and highest included.
    Right decisions have a solid frame and a tick, wrong ones a dashed frame and a
    cross.

    Args:
        images: (N, 3, H, W) or (N, H, W, 3), the whole test set or a sample of it.
        labels: (N,), 0 normal, 1 abnormal.
        scores: (N,), larger is more abnormal.
        threshold: At or above it an image is called abnormal.
        masks: (N, H, W), True on the lesion, outlined; or None.
        per_group: Examples in a row.
    """
    images = as_images(images)
    labels, scores = as_labels_and_scores(labels, scores)
    if len(images) != len(labels):
        raise InputError(f"{len(images)} images come with {len(labels)} labels.")
    masks = as_masks(masks, len(images))
    called = scores >= threshold
    groups = [
        (f"{truth}, called {call}", (labels == is_abnormal) & (called == is_called))
        for truth, is_abnormal in (("normal", False), ("abnormal", True))
        for call, is_called in (("normal", False), ("abnormal", True))
        if (labels == is_abnormal).any()
    ]
    write = style.fixed(scores)
    tile = min(style.WIDTH / per_group, 1.7)
    figure = Figure(
        figsize=(tile * per_group, (tile + 0.5) * len(groups)), layout="constrained"
    )
    figure.get_layout_engine().set(**_TIGHT)
    rows = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    for part, (name, chosen) in zip(rows, groups, strict=True):
        truth, call = name.split(", called ")
        right = truth == call
        total = int((labels == (truth == "abnormal")).sum())
        part.suptitle(
            f"{'✓' if right else '✗'} {name}: {chosen.sum():,} of {total:,}",
            x=0.005,
            ha="left",
            color=style.RIGHT if right else style.WRONG,
            fontsize=9,
            fontweight="bold",
        )
        row = part.subplots(1, per_group, squeeze=False)[0]
        examples = spread_over_ranks(np.flatnonzero(chosen), scores, per_group)
        for ax, i in zip(row, examples, strict=False):
            show(ax, images[i])
            if masks is not None:
                outline(ax, masks[i])
            _frame(ax, right)
            relation = "≥" if called[i] else "<"
            ax.set_title(
                f"{write(scores[i])} {relation} {write(threshold)}",
                loc="center",
                fontsize=7.5,
                fontweight="normal",
                pad=3,
            )
        for ax in row[len(examples) :]:
            ax.set_axis_off()
        if not len(examples):
            row[0].text(0, 0.5, "none", transform=row[0].transAxes, color=style.MUTED)
    return figure


def spread_over_ranks(
    members: np.ndarray, scores: np.ndarray, count: int
) -> np.ndarray:
    """Up to `count` of the members at equal steps through their order by score."""
    ordered = members[np.argsort(scores[members], kind="stable")]
    if len(ordered) <= count:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def outline(ax: Axes, mask: np.ndarray) -> Axes:
    """Draw the border of a mask (H, W) in the pixel frame of an image of that size."""
    if mask.any():
        padded = np.pad(mask.astype(np.float32), 1)  # closed where it meets the border
        ticks_y, ticks_x = (np.arange(-1, n + 1) for n in mask.shape)
        ax.contour(
            ticks_x,
            ticks_y,
            padded,
            [0.5],
            colors=_OUTLINE,
            linewidths=1.1,
        ).set_path_effects(_RIM)
        ax.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))
    return ax


def tiles(
    num_rows: int,
    num_columns: int,
    shape: Sequence[int],
    max_tile: float = 1.7,
    side: float = 0.0,
    extra: float = 0.5,
    title: float = 0.0,
    bars: float = 0.0,
) -> tuple[Figure, np.ndarray]:
    """Grid of axes for images of one shape (H, W).

    In inches: `max_tile` limits a tile's width, `side` is kept free beside the grid,
    `title` above each row, `extra` above and below all. `bars` adds a last row of
    that height, for a colour bar in each column.
    """
    tile = min(max_tile, (style.WIDTH - side) / num_columns)
    heights = [tile * shape[0] / shape[1] + title] * num_rows + [bars] * (bars > 0)
    figure, axes = style.subplots(
        len(heights),
        num_columns,
        width=max(tile * num_columns + side, 2.4),
        height=sum(heights) + extra,
        height_ratios=heights,
        squeeze=False,
    )
    figure.get_layout_engine().set(**_TIGHT)
    return figure, axes


def show(ax: Axes, image: np.ndarray | None) -> Axes:
    """Show an image without ticks and spines."""
    if image is not None:
        ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _frame(ax: Axes, right: bool) -> None:
    ax.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=ax.transAxes,
            fill=False,
            clip_on=False,
            edgecolor=style.RIGHT if right else style.WRONG,
            linewidth=1.6 if right else 2.2,
            linestyle="-" if right else (0, (2.2, 1.4)),
        )
    )


def class_text(abnormal: bool) -> str:
    """Class colour dark enough for small type (contrast with white above 4.5)."""
    return "#9A4A00" if abnormal else style.NORMAL


def outline_legend(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    handles = [
        Line2D([], [], color=_OUTLINE, linestyle=dash, linewidth=1.4, path_effects=_RIM)
        for _, dash in entries
    ]
    figure.legend(
        handles,
        [text for text, _ in entries],
        loc="outside lower left",
        fontsize=8,
        borderpad=0.1,
    )
