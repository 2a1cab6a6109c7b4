"""Small and contaminated training sets, thesis Figure 6.1: seeded, nested, recorded.

A draw takes the first items in the order of sha256(seed, purpose, id). It is the same
on every machine, and a smaller draw lies inside a larger one of the same seed.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from thesislib.datasets.base import Dataset
from thesislib.errors import InputError

if TYPE_CHECKING:
    from thesislib.datasets.bank import ImageBank


def subset(
    dataset: Dataset,
    *,
    fraction: float = 1.0,
    contamination: float = 0.0,
    seed: int = 0,
    reserve: float = 0.0,
) -> Dataset:
    """Train on a part of the normal images, with abnormal test images among them.

    The abnormal images that train leave the test set, with every copy of them. To
    judge several contaminations on the same test images, give the largest of them as
    `reserve` each time.

    Args:
        dataset: Any; those whose classes take turns have their own, `one_class`.
        fraction: Part of the normal training images that is kept, 0 < f <= 1.
        contamination: Share c of abnormal images in the final training set, with n
            normal ones kept: c = k / (k + n), 0 <= c < 1.
        seed: Seed of both draws.
        reserve: Contamination of the whole training set whose images leave the test
            set in any case, whatever `fraction`, 0 <= r < 1.

    Returns:
        The dataset with another training set; `provenance["subset"]` says which.

    Raises:
        InputError: If a parameter is outside its range, nothing would be drawn, or
            no abnormal image would be left to test on.
    """
    if "subset" in dataset.provenance:
        raise InputError("The dataset is a subset already; draw from the whole one.")
    if len(dataset.train_ids) != len(dataset.train):
        raise InputError(
            f"The dataset {dataset.name!r} does not name its training images, so that "
            "no subset of them can be recorded."
        )
    if not 0 <= reserve < 1:
        raise InputError(f"reserve is {reserve}, but must be at least 0 and below 1.")
    total, largest = len(dataset.train), max(reserve, contamination)
    num_normal, num_abnormal = numbers(total, fraction, contamination)
    num_gone = max(num_abnormal, numbers(total, 1.0, reserve)[1])
    ill = np.flatnonzero(dataset.test_labels)
    if num_gone >= len(ill):
        raise InputError(
            f"contamination is {largest}, which takes {num_gone} of the {len(ill)} "
            "abnormal test images, but at least one has to be left."
        )
    normal = draw(dataset.train_ids, num_normal, seed, "fraction")
    ids = [dataset.test_ids[i] for i in ill]
    taken, gone = (
        ill[draw(ids, number, seed, "contamination")]
        for number in (num_abnormal, num_gone)
    )
    gone = _copies(dataset.test, gone)
    part = dataset
    if num_normal < total or num_abnormal:
        part = _training_on(part, normal, taken)
    if num_gone:
        part = _without(part, gone)
    recorded = record(part, fraction, contamination, seed)
    if num_gone:
        recorded |= {"seed": seed, "num_removed_from_test": len(gone)}
    return replace(
        part,
        counts=counts(part),
        fingerprint=derived(dataset.fingerprint, None if part is dataset else recorded),
        provenance=dataset.provenance | {"subset": recorded},
    )


def numbers(total: int, fraction: float, contamination: float) -> tuple[int, int]:
    """How many normal and abnormal images a training set gets.

    n = f N and k = c n / (1 - c), each to the nearest whole number.

    Args:
        total: Normal training images N.
        fraction: f, 0 < f <= 1.
        contamination: c, 0 <= c < 1.

    Raises:
        InputError: If f or c is outside its range, or a part that is wanted is empty.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction is {fraction}, but must be above 0 and at most 1.")
    if not 0 <= contamination < 1:
        raise InputError(
            f"contamination is {contamination}, but must be at least 0 and below 1."
        )
    num_normal = math.floor(fraction * total + 0.5)
    num_abnormal = math.floor(contamination * num_normal / (1 - contamination) + 0.5)
    if not num_normal:
        raise InputError(
            f"fraction is {fraction}, which leaves none of {total} images."
        )
    if contamination and not num_abnormal:
        raise InputError(
            f"contamination is {contamination}, which is less than half an image "
            f"beside {num_normal} normal ones."
        )
    return num_normal, num_abnormal


def draw(ids: Sequence[str], number: int, seed: int, purpose: str) -> np.ndarray:
    """Indices of `number` ids, in ascending order, (number,).

    Args:
        ids: Names to draw from, each once.
        number: How many, at most all.
        seed: Seed of the draw.
        purpose: Draws for different purposes are independent.
    """

    def place(index: int) -> bytes:
        return hashlib.sha256(f"{seed}/{purpose}/{ids[index]}".encode()).digest()

    if number in (0, len(ids)):
        return np.arange(number)
    order = sorted(range(len(ids)), key=place)
    return np.sort(np.array(order[:number], dtype=np.int64))


def record(
    dataset: Dataset, fraction: float, contamination: float, seed: int
) -> dict[str, object]:
    """What `provenance["subset"]` holds: the draw, its counts, a hash of its list."""
    drawn = fraction < 1 or contamination > 0
    ill = 0 if dataset.train_labels is None else int(dataset.train_labels.sum())
    return {
        "fraction": float(fraction),
        "contamination": float(contamination),
        "seed": seed if drawn else None,
        "num_normal": len(dataset.train) - ill,
        "num_abnormal": ill,
        "train_list_sha256": hashlib.sha256(dataset.train_list().encode()).hexdigest(),
    }


def counts(dataset: Dataset) -> dict[str, int]:
    """Images by split and label; "train abnormal" only where there are any."""
    ill = 0 if dataset.train_labels is None else int(dataset.train_labels.sum())
    test_ill = int(dataset.test_labels.sum())
    return {
        "train normal": len(dataset.train) - ill,
        **({"train abnormal": ill} if ill else {}),
        "test normal": len(dataset.test) - test_ill,
        "test abnormal": test_ill,
    }


def derived(fingerprint: str, facts: object) -> str:
    """Fingerprint of what was made of data; the same where nothing was done (None)."""
    if facts is None:
        return fingerprint
    text = json.dumps([fingerprint, facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def bank_like(bank: "ImageBank", images: np.ndarray) -> "ImageBank":
    """A bank of other images, (N, C, H, W), uint8, on the same device."""
    return type(bank)(images, bank.device, bank.memory_fraction)


def _training_on(dataset: Dataset, normal: np.ndarray, taken: np.ndarray) -> Dataset:
    """The dataset with some training images and, among them, some test images."""
    parts = [dataset.train.stored(normal)]
    parts += [dataset.test.stored(taken)] if len(taken) else []
    ids = [dataset.train_ids[i] for i in normal] + [dataset.test_ids[i] for i in taken]
    labels = np.repeat([0, 1], [len(normal), len(taken)]).astype(np.int64)
    return replace(
        dataset,
        train=bank_like(dataset.train, np.concatenate(parts)),
        train_ids=tuple(ids),
        train_labels=labels if len(taken) else None,
    )


def _without(dataset: Dataset, gone: np.ndarray) -> Dataset:
    """The dataset without some test images.

    Raises:
        InputError: If no normal or no abnormal one would be left.
    """
    kept = np.setdiff1d(np.arange(len(dataset.test)), gone)
    for label, word in enumerate(("normal", "abnormal")):
        if not (dataset.test_labels[kept] == label).any():
            raise InputError(
                f"The contaminating images and their copies are all of the {word} test "
                "images; at least one has to be left, so take fewer."
            )
    patients, masks = dataset.test_patients, dataset.test_masks
    return replace(
        dataset,
        test=bank_like(dataset.test, dataset.test.stored(kept)),
        test_labels=dataset.test_labels[kept],
        test_kinds=tuple(dataset.test_kinds[i] for i in kept),
        test_ids=tuple(dataset.test_ids[i] for i in kept),
        test_patients=None if patients is None else patients[kept],
        test_masks=None if masks is None else masks[kept],
    )


def _copies(bank: "ImageBank", taken: np.ndarray) -> np.ndarray:
    """Indices of all images whose pixels equal those of one that was taken."""
    from thesislib.datasets.packed import image_digests

    if not len(taken):
        return taken
    wanted = set(image_digests(bank.stored(taken)))
    return np.array(
        [i for i, one in enumerate(image_digests(bank.pixels)) if one in wanted]
    )
