"""Localisation protocol of chapter 5, Tables 5.6 and 5.7.

"5 different groups of 100 images with ground truth masks": IoU and Dice are computed
for each abnormal image and averaged over its group, PRO is that of the group, and the
mean over groups is reported. The thesis does not say how its maps were made binary, so
two thresholds are reported side by side (both ours):

- `global`: one threshold, with the largest F1 over all pixels of 50 normal and 50
  abnormal validation images drawn from the test set, which are left out of the groups;
- `oracle`: for each group and each of IoU and Dice the threshold that suits it best.
  It has seen the answer, so it is never below `global`: a bound, not a result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.image import Estimate, num_drawn
from thesislib.metrics.inputs import check_labels
from thesislib.metrics.pixel import PixelHistogram, check_maps, label_components
from thesislib.metrics.pixel_grid import PRO_LIMIT

NUM_GROUPS = 5
GROUP_SIZE = 100
NUM_THRESHOLDS = 1000  # tried by the oracle, evenly spaced in rank of the scores
IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Localisation:
    """Means over groups, and all that is needed to draw the same groups again.

    Axes: G groups of S images.
    """

    estimates: dict[str, dict[str, Estimate]]  # [global | oracle | ranking][metric]
    per_group: dict[str, dict[str, NDArray[np.float64]]]  # (G,) for each of them
    threshold: float  # the global one
    groups: NDArray[np.intp]  # (G, S), positions in the test set
    validation: NDArray[np.intp]  # positions of the images left out
    num_without_lesion: int  # abnormal images with an empty mask, not used
    min_area: float  # fraction of the image that a region must have
    largest_only: bool


def localise(
    maps: ArrayLike,
    masks: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int | np.random.Generator = 0,
    min_area: float = 0.005,
    largest_only: bool = False,
) -> Localisation:
    """Localisation figures of a test set.

    Where there are fewer images than 100 a group and 50 + 50 for validation, half of
    the smaller class (rounded down) is drawn for validation and the remaining abnormal
    images are divided into five equal groups (into as many as there are, below five).

    The 95 % intervals are Student's t over the groups, cut to [0, 1]: the groups share
    no image. They do not hold the chance of the validation draw.

    Args:
        maps: Anomaly scores of the test images, (N, H, W), larger is more abnormal.
        masks: True on the lesion, (N, H, W).
        labels: 0 normal, 1 abnormal, (N,).
        seed: Decides draw and groups.
        min_area: Regions of the binary map (8-connectivity) below this fraction of
            the image area are dropped before IoU and Dice; 0 keeps all. Chapter 4
            filters by connected components, without a number. The thresholds are
            chosen on unfiltered maps.
        largest_only: Keep the largest region of an image only.

    Returns:
        `estimates["global"]` and `["oracle"]` hold `iou` and `dice`,
        `["ranking"]` holds `pro` (to FPR 0.3, over the group's images), which needs
        no threshold. n is the number of images in all groups.

    Raises:
        InputError: Shapes differ, or fewer than two abnormal images remain for groups.
    """
    if not 0 <= min_area < 1:
        raise InputError(f"min_area is {min_area}; it must be from 0 to below 1.")
    maps, masks = check_maps(maps, masks)
    abnormal = check_labels(labels)
    if len(abnormal) != len(maps):
        raise InputError(f"there are {len(maps)} maps, but {len(abnormal)} labels.")
    with_lesion = masks.any(axis=(1, 2))
    if (with_lesion & ~abnormal).any():
        raise InputError(
            f"{int((with_lesion & ~abnormal).sum())} images labelled normal have a "
            "lesion in their mask; normal masks must be all False."
        )
    usable = np.flatnonzero(with_lesion == abnormal)
    validation, groups = draw_groups(abnormal, usable, np.random.default_rng(seed))
    threshold = best_pixel_threshold(maps[validation], masks[validation])

    names = {"global": ("iou", "dice"), "oracle": ("iou", "dice"), "ranking": ("pro",)}
    found = {kind: {metric: [] for metric in names[kind]} for kind in names}
    for group in groups:
        group_maps, group_masks = maps[group], masks[group]

        def figures(
            at: float, maps: NDArray = group_maps, masks: NDArray = group_masks
        ) -> tuple[float, float]:
            called = filter_regions(maps >= at, min_area, largest_only)
            iou, dice = overlap(called, masks)
            return float(iou.mean()), float(dice.mean())

        best = oracle_thresholds(group_maps, group_masks)
        for index, metric in enumerate(("iou", "dice")):
            ours = figures(threshold)[index]
            found["global"][metric].append(ours)
            found["oracle"][metric].append(max(ours, figures(best[metric])[index]))
        histogram = PixelHistogram()
        histogram.update(group_maps, group_masks)
        found["ranking"]["pro"].append(histogram.pro(PRO_LIMIT).value)

    per_group = {
        kind: {metric: np.array(values) for metric, values in metrics.items()}
        for kind, metrics in found.items()
    }
    return Localisation(
        estimates={
            kind: {
                metric: _over_groups(values, groups.size)
                for metric, values in metrics.items()
            }
            for kind, metrics in per_group.items()
        },
        per_group=per_group,
        threshold=threshold,
        groups=groups,
        validation=validation,
        num_without_lesion=int((abnormal & ~with_lesion).sum()),
        min_area=min_area,
        largest_only=largest_only,
    )


def draw_groups(
    abnormal: NDArray[np.bool_],
    usable: NDArray[np.intp],
    generator: np.random.Generator,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw validation images and disjoint groups of abnormal ones.

    Args:
        abnormal: (N,).
        usable: Positions to draw from.
        generator: Decides the draw.

    Returns:
        Positions of validation images (V,) and of groups (G, S), ascending within.
    """
    normal_ones = generator.permutation(usable[~abnormal[usable]])
    abnormal_ones = generator.permutation(usable[abnormal[usable]])
    if min(len(normal_ones), len(abnormal_ones)) < 2 or len(abnormal_ones) < 3:
        raise InputError(
            f"{len(normal_ones)} normal images and {len(abnormal_ones)} abnormal ones "
            "with a mask are too few to localise: at least two normal ones are needed, "
            "and one abnormal for the threshold and two for groups."
        )
    drawn = num_drawn(abnormal[usable])
    rest = abnormal_ones[drawn:]
    num_groups = min(NUM_GROUPS, len(rest))
    size = min(GROUP_SIZE, len(rest) // num_groups)
    groups = rest[: num_groups * size].reshape(num_groups, size)
    validation = np.concatenate([normal_ones[:drawn], abnormal_ones[:drawn]])
    return np.sort(validation), np.sort(groups, axis=1)


def best_pixel_threshold(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """Score at or above which calling pixels abnormal gives the largest F1.

    Over all pixels pooled, exactly: every distinct score is tried. Of equally good
    thresholds the highest is taken.

    Args:
        maps: (N, H, W).
        masks: (N, H, W).
    """
    scores = maps.ravel()
    order = np.argsort(scores)[::-1]
    scores = scores[order]
    tp = np.cumsum(masks.ravel()[order])
    called = np.arange(1, len(scores) + 1)
    f1 = 2 * tp / (called + tp[-1])
    f1[:-1][scores[:-1] == scores[1:]] = -1  # inside a tie
    return float(scores[np.argmax(f1)])


def oracle_thresholds(
    maps: NDArray[np.float32], masks: NDArray[np.bool_]
) -> dict[str, float]:
    """Thresholds with the largest mean IoU and the largest mean Dice over images.

    Tried are 1,000 scores evenly spaced in rank among the lesion pixels and as many
    among all pixels.

    Args:
        maps: (N, H, W).
        masks: (N, H, W), each with a lesion.
    """
    levels = np.linspace(0, 1, NUM_THRESHOLDS)
    thresholds = np.unique(
        np.concatenate(
            [
                np.quantile(pixels, levels, method="inverted_cdf")
                for pixels in (maps.ravel(), maps[masks])
            ]
        )
    )
    num_images, num_levels = len(maps), len(thresholds)
    called, hit = np.zeros((2, num_images, num_levels))
    for image in range(num_images):
        # thresholds at or below a score: it is called abnormal at those
        level = np.searchsorted(thresholds, maps[image].ravel(), side="right")
        inside = level[masks[image].ravel()]
        for counts, of_pixels in ((called, level), (hit, inside)):
            histogram = np.bincount(of_pixels, minlength=num_levels + 1)
            counts[image] = np.cumsum(histogram[:0:-1])[::-1]
    lesion = masks.sum(axis=(1, 2))[:, None]
    iou = (hit / (called + lesion - hit)).mean(axis=0)
    dice = (2 * hit / (called + lesion)).mean(axis=0)
    return {
        "iou": float(thresholds[np.argmax(iou)]),
        "dice": float(thresholds[np.argmax(dice)]),
    }


def overlap(
    called: NDArray[np.bool_], masks: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """IoU and Dice of each image, (N,), from binary maps and masks (N, H, W).

    Both are 1 where map and mask are empty.
    """
    both = (called & masks).sum(axis=(1, 2))
    total = called.sum(axis=(1, 2)) + masks.sum(axis=(1, 2))
    empty = total == 0
    iou = np.where(empty, 1.0, both / np.maximum(total - both, 1))
    return iou, np.where(empty, 1.0, 2 * both / np.maximum(total, 1))


def filter_regions(
    called: NDArray[np.bool_], min_area: float, largest_only: bool = False
) -> NDArray[np.bool_]:
    """Drop small 8-connected regions of binary maps (N, H, W).

    Args:
        called: (N, H, W).
        min_area: Regions with a smaller fraction of the image area are dropped.
        largest_only: Of those left keep the largest of each image (of equals the
            first in reading order).
    """
    if min_area == 0 and not largest_only:
        return called
    kept = np.empty_like(called)
    num_pixels = called.shape[1] * called.shape[2]
    for start in range(0, len(called), IMAGES_AT_ONCE):
        part = called[start : start + IMAGES_AT_ONCE]
        regions, count = label_components(part)
        area = np.bincount(regions.ravel(), minlength=count + 1)
        keep = area >= min_area * num_pixels
        keep[0] = False
        if largest_only and count:
            image = np.zeros(count + 1, np.intp)
            image[regions] = np.arange(len(part))[:, None, None]
            by_size = np.lexsort((np.arange(count + 1), -area, image))
            by_size = by_size[by_size != 0]
            first = np.unique(image[by_size], return_index=True)[1]
            largest = np.zeros_like(keep)
            largest[by_size[first]] = True
            keep &= largest
        kept[start : start + IMAGES_AT_ONCE] = keep[regions]
    return kept


def _over_groups(values: NDArray[np.float64], num_images: int) -> Estimate:
    from scipy import stats  # heavy; only needed here

    mean, count = float(values.mean()), len(values)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / count**0.5
    return Estimate(
        mean, max(mean - float(half), 0.0), min(mean + float(half), 1.0), num_images
    )
