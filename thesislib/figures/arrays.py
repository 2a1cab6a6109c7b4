"""Arrays as figures take them, checked once, with one sentence where they don't fit."""

from typing import Any

import numpy as np

from thesislib.errors import InputError


def as_array(values: Any) -> np.ndarray:
    """NumPy array of anything array-like; a tensor may lie on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def as_images(values: Any, ndim: int = 4, name: str = "images") -> np.ndarray:
    """Images as float32 (..., H, W, 3) in [0, 1].

    Args:
        values: (..., C, H, W) or (..., H, W, C), C of 1 or 3, uint8 or floats in
            [0, 1].
        ndim: Number of axes expected, channels included.
        name: Name used in the error.

    Raises:
        InputError: Another shape, type or range.
    """
    array = as_array(values)
    if array.ndim != ndim:
        raise InputError(
            f"{name} has shape {array.shape}; {ndim} axes are needed, "
            "the last three of them (C, H, W) or (H, W, C)."
        )
    if array.shape[-1] not in (1, 3):
        if array.shape[-3] not in (1, 3):
            raise InputError(
                f"{name} has shape {array.shape}; no axis holds 1 or 3 channels."
            )
        array = np.moveaxis(array, -3, -1)
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    elif np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
        if array.size and not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):
            raise InputError(
                f"{name} ranges over [{array.min():.3g}, {array.max():.3g}]; "
                "floats must lie in [0, 1]."
            )
        array = array.clip(0, 1)
    else:
        raise InputError(
            f"{name} is of type {array.dtype}; uint8 or floats are allowed."
        )
    return np.broadcast_to(array, (*array.shape[:-1], 3))


def as_maps(values: Any, num_images: int, name: str = "maps") -> np.ndarray:
    """Anomaly maps as float32 (N, H, W), all finite; (N, 1, H, W) is taken as well."""
    array = as_array(values)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or len(array) != num_images:
        raise InputError(
            f"{name} has shape {array.shape}; ({num_images}, H, W) is needed."
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds values that are not finite.")
    return array.astype(np.float32)


def as_masks(values: Any, num_images: int, name: str = "masks") -> np.ndarray | None:
    """Masks as bool (N, H, W), or None where there are none."""
    if values is None:
        return None
    array = as_array(values)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or len(array) != num_images:
        raise InputError(
            f"{name} has shape {array.shape}; ({num_images}, H, W) is needed."
        )
    return array.astype(bool)


def as_labels_and_scores(labels: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool (N,), True for abnormal, and finite scores as float64 (N,)."""
    labels, scores = as_array(labels), as_array(scores).astype(np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape or not len(labels):
        raise InputError(
            f"labels {labels.shape} and scores {scores.shape} must have one shape "
            "(N,), N > 0."
        )
    if not np.isin(labels, (0, 1)).all():
        raise InputError("labels must be 0 (normal) or 1 (abnormal).")
    if not np.isfinite(scores).all():
        raise InputError("scores holds values that are not finite.")
    return labels.astype(bool), scores


def counts_at(
    labels: np.ndarray, scores: np.ndarray, threshold: float
) -> dict[str, int]:
    """Decisions at a threshold: an image is called abnormal if score >= threshold.

    Args:
        labels: (N,), True for abnormal.
        scores: (N,), larger is more abnormal.
        threshold: In units of the scores.

    Returns:
        Numbers of images under "tp", "fp", "tn", "fn".
    """
    labels, called = as_array(labels).astype(bool), as_array(scores) >= threshold
    return {
        "tp": int((called & labels).sum()),
        "fp": int((called & ~labels).sum()),
        "tn": int((~called & ~labels).sum()),
        "fn": int((~called & labels).sum()),
    }


def rates(counts: dict[str, int]) -> tuple[float, float]:
    """Sensitivity and specificity, fractions; NaN where the class is absent."""
    abnormal, normal = counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]
    return (
        counts["tp"] / abnormal if abnormal else float("nan"),
        counts["tn"] / normal if normal else float("nan"),
    )
