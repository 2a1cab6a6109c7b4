"""Checks that the metrics share; each failure is one sentence."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError


def check_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Return labels (N,) as bool, True for abnormal; both classes must be there."""
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise InputError(f"labels must have shape (N,), not {labels.shape}.")
    if not np.isin(labels, (0, 1)).all():
        raise InputError("labels must be 0 (normal) or 1 (abnormal) throughout.")
    abnormal = labels.astype(bool)
    num_abnormal = int(abnormal.sum())
    if not 0 < num_abnormal < len(abnormal):
        raise InputError(
            f"labels hold {len(abnormal) - num_abnormal} normal and {num_abnormal} "
            "abnormal images; a ROC curve needs at least one of each."
        )
    return abnormal


def check_scores(scores: ArrayLike, num_images: int) -> NDArray[np.float64]:
    """Return finite scores (..., N) in float64."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 0 or scores.shape[-1] != num_images:
        raise InputError(
            f"scores have shape {scores.shape}, but there are {num_images} labels."
        )
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise InputError(f"scores hold {count} NaN or infinite values; none may.")
    return scores


def check_patients(patients: ArrayLike | None, num_images: int) -> NDArray[np.intp]:
    """Return a cluster number for each image, (N,): patients, or the images themselves.

    Args:
        patients: Patient ids, (N,), of any comparable type; None where none exist.
        num_images: N.
    """
    if patients is None:
        return np.arange(num_images)
    patients = np.asarray(patients)
    if patients.shape != (num_images,):
        raise InputError(
            f"patients have shape {patients.shape}, but there are {num_images} labels."
        )
    return np.unique(patients, return_inverse=True)[1]
