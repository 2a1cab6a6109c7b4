"""How many images the parts of a chapter need, known before anything is trained.

The main path needs `LEAST` images of each part of the data, else a run stops before it
trains. Any other part is left out where the data are too few for it; `data check`
and the first cells of a chapter say which, from the same list.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from thesislib.detectors.kde_ocsvm import ShallowConfig
from thesislib.errors import InputError

LEAST = 2  # images of a part: a spread to learn; one for a threshold, one to judge
KINDS = "kinds"  # each kind of abnormality by itself
OF_A_KIND = 2  # images: one to choose a threshold on, one to judge
TOO_FEW = f"It needs at least {OF_A_KIND} images."


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a part needs.

    Attributes:
        part: For readers.
        train: Training images.
        normal: Normal test images.
        abnormal: Abnormal test images.
        lesions: Abnormal test images whose mask shows a lesion.
        outlines: Test images with pixels inside and outside of a lesion.
        patients: Patients with normal, and with abnormal test images, where the data
            say whose they are.
    """

    part: str
    train: int = 0
    normal: int = 0
    abnormal: int = 0
    lesions: int = 0
    outlines: int = 0
    patients: int = 0


NEEDS = {
    "logistic-statistics": Need(
        part="logistic regression on statistics, with labels", normal=5, abnormal=5
    ),
    "kde": Need(part="KDE", train=2 * ShallowConfig().folds),
    "contrasts": Need(part="differences of AUROCs", patients=2),
    "groups": Need(part="localisation in groups of images", normal=2, lesions=3),
    "pixels": Need(part="localisation, all pixels together", lesions=1),
    "outlines": Need(part="localisation image by image", outlines=2),
}
OF_A_DETECTOR = ("logistic-statistics", "contrasts", "groups", "pixels", KINDS)
WORDS = {  # field of a need: what it counts
    "train": "training images",
    "normal": "normal test images",
    "abnormal": "abnormal test images",
    "lesions": "abnormal test images with a lesion in their mask",
    "outlines": "test images with pixels inside and outside of a lesion",
    "patients": "patients with normal and as many with abnormal test images",
}


def amounts(data: Any) -> dict[str, int]:
    """What there is of a `Dataset`, as in `WORDS`; no more of what it does not have."""
    labels, patients = data.test_labels, data.test_patients
    found = {
        "train": len(data.train),
        "normal": int((labels == 0).sum()),
        "abnormal": int((labels == 1).sum()),
    }
    if (masks := data.test_masks) is not None:
        inside = masks[labels == 1].any(axis=(1, 2))
        outside = ~masks[labels == 1].all(axis=(1, 2))
        found["lesions"] = int(inside.sum())
        found["outlines"] = int((inside & outside).sum())
    if patients is not None:
        of_each = [np.unique(patients[labels == label]) for label in (0, 1)]
        found["patients"] = min(map(len, of_each))
    return found


def require(data: Any) -> None:
    """Refuse data that are too few for the main path of any chapter.

    Args:
        data: A `Dataset`.

    Raises:
        InputError: If a part has fewer images than `LEAST`.
    """
    parts = ("train", "normal", "abnormal")
    found = {WORDS[part]: amounts(data)[part] for part in parts}
    if any(number < LEAST for number in found.values()):
        has = ", ".join(f"{number} {words}" for words, number in found.items())
        raise InputError(f"The data hold {has}; a run needs at least {LEAST} of each.")


def lacking(data: Any, key: str) -> str:
    """Why data are too few for a part, a sentence; "" if they are enough.

    Args:
        data: A `Dataset`; where classes take turns, each has one of its own.
        key: Of `NEEDS`; parts that are not there need no more than a run does.
    """
    if key not in NEEDS or getattr(data, "class_names", None):
        return ""
    found = amounts(data)
    short = [
        f"at least {needed} {words} (here {found[name]})"
        for name, words in WORDS.items()
        if (needed := getattr(NEEDS[key], name)) > found.get(name, needed)
    ]
    return f"It needs {' and '.join(short)}." if short else ""


def few_of_a_kind(data: Any) -> dict[str, int]:
    """Kinds of abnormality with too few images for numbers of their own."""
    abnormal = zip(data.test_labels, data.test_kinds, strict=True)
    numbers = Counter(kind for label, kind in abnormal if label)
    return {kind: n for kind, n in sorted(numbers.items()) if n < OF_A_KIND}


def left_out(data: Any, parts: Collection[str]) -> Iterator[tuple[str, str]]:
    """Parts that such data are too few for, each with its why.

    Args:
        data: A `Dataset`, or one whose classes take turns in being normal.
        parts: Of a chapter: keys of `NEEDS`, and `KINDS`.
    """
    if names := getattr(data, "class_names", None):
        for name in names:
            for part, why in left_out(data.one_class(name), parts):
                yield f"{part}, class {name}", why
        return
    for key in NEEDS.keys() & parts:
        if why := lacking(data, key):
            yield NEEDS[key].part, why
    for kind in few_of_a_kind(data) if KINDS in parts else ():
        yield of_kind(kind), TOO_FEW


def of_kind(kind: str) -> str:
    """What the numbers of a kind of abnormality are called."""
    return f"the kind {kind} by itself"
