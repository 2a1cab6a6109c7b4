"""What a dataset is here: one listed image, one adapter a dataset, one result."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from thesislib.datasets.bank import ImageBank

NORMAL = "normal"  # the kind of every normal image


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image file of a dataset and what its folder says of it."""

    id: str  # file name relative to the dataset's folder, with forward slashes
    path: Path
    split: str  # "train", "test", or "" for one to draw from or to leave out
    label: int = 0  # 0 normal, 1 abnormal
    kind: str = NORMAL  # "normal", or the class of the abnormality
    patient: str | None = None
    mask: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a dataset, divided into splits, not yet read."""

    items: tuple[Item, ...]
    rule: str  # how the split came about, one phrase
    draw: tuple[int, int] | None = None  # from those without split: training, testing
    notes: tuple[str, ...] = ()  # what a reader of the results should know


class Adapter(ABC):
    """Reads one official folder layout and writes nothing into it.

    A subclass fills in the facts and says in its docstring where the data come
    from, under which licence, which folder is expected and how many images each
    split has.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    modality: ClassVar[str]  # "colonoscopy", "fundus", "chest-xray" or "unknown"
    url: ClassVar[str]
    licence: ClassVar[str]
    fetch: ClassVar[str]  # what to fetch, a phrase after "fetch"
    layout: ClassVar[str]  # what the folder has to hold, a phrase after "holds"
    folders: ClassVar[tuple[str, ...]]  # names of the folder inside a data root
    published: ClassVar[dict[str, int] | None]  # counts as in `count`
    box: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Part of each side that is kept before resizing, as fractions of the side."""
    heat_maps: ClassVar[bool] = False
    """Masks are grey heat maps, cut by Otsu's threshold instead of at 128."""

    @abstractmethod
    def locate(self, folder: Path) -> Path | None:
        """The dataset's own folder at `folder` or nested in it, None if absent."""

    @abstractmethod
    def listing(self, folder: Path) -> Listing:
        """List and split the images of a folder that `locate` returned.

        Raises:
            InputError: If a part is missing or a class folder is empty.
        """


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Normal images to learn from, and labelled images to be judged on.

    Axes: M test images, H = W = image_size pixels.
    """

    name: str  # key asked for, e.g. "hyperkvasir"
    source: str  # "real" or "phantom"
    modality: str  # "colonoscopy", "fundus", "chest-xray" or "unknown"
    train: "ImageBank"  # normal images only
    test: "ImageBank"
    test_labels: np.ndarray  # (M,), int64, 0 normal, 1 abnormal
    test_kinds: tuple[str, ...]  # (M,), "normal", a lesion family or a class folder
    test_patients: np.ndarray | None  # (M,), str; None where no ids are published
    test_masks: np.ndarray | None  # (M, H, W), bool, true on the lesion
    test_ids: tuple[str, ...]  # (M,), relative file names, or "phantom-000123"
    counts: dict[str, int]
    published_counts: dict[str, int] | None
    partial: bool  # the counts differ from the publication's
    fingerprint: str  # sha256, hexadecimal
    provenance: dict = field(repr=False)  # fit for JSON, without private paths

    @property
    def mark(self) -> str:
        """The word that has to stand on every figure and row: see DESIGN, Data."""
        if self.source == "phantom":
            return "phantom"
        return "partial" if self.partial else ""


def count(items: tuple[Item, ...]) -> dict[str, int]:
    """Number of normal training, normal test and abnormal test images."""
    return {
        "train normal": sum(item.split == "train" for item in items),
        "test normal": sum(i.split == "test" and i.label == 0 for i in items),
        "test abnormal": sum(i.split == "test" and i.label == 1 for i in items),
    }
