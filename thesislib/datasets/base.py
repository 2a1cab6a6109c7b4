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


class Reader(ABC):
    """Knows one official layout, reads it and writes nothing into it.

    A subclass fills in the facts and says in its docstring where the data come
    from, under which licence, which folder is expected and how many images each
    split has.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    modality: ClassVar[str]  # key of the phantom, "industrial" or "unknown"
    has_phantom: ClassVar[bool] = True
    url: ClassVar[str]
    licence: ClassVar[str]
    fetch: ClassVar[str]  # what to fetch, a phrase after "fetch"
    layout: ClassVar[str]  # what the folder has to hold, a phrase after "holds"
    folders: ClassVar[tuple[str, ...]]  # names of the folder inside a data root
    archives: ClassVar[tuple[str, ...]] = ()  # names of files read in place of one
    system_folders: ClassVar[tuple[Path, ...]] = ()  # of a package, looked at last
    published: ClassVar[dict[str, int] | None]  # counts as in `Located.counts`

    @abstractmethod
    def locate(self, folder: Path) -> Path | None:
        """The dataset's own folder at `folder` or nested in it, None if absent."""

    def unlike(self, folder: Path) -> str:
        """What a folder may be instead of the dataset, and what to do: a phrase.

        "" where its contents say enough.

        Raises:
            InputError: If the folder cannot be read.
        """
        return ""


class Adapter(Reader):
    """A dataset of image files, listed one by one."""

    box: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Part of each side that is kept before resizing, as fractions of the side."""
    heat_maps: ClassVar[bool] = False
    """Masks are grey heat maps, cut by Otsu's threshold instead of at 128."""
    class_names: ClassVar[tuple[str, ...]] = ()
    """Folders that are datasets of their own, each with its training and test."""
    class_counts: ClassVar[dict[str, tuple[int, int, int]] | None] = None
    """Published counts of each, in the order of `count`."""
    takes_patients: ClassVar[bool] = False
    """Whether the images' owner may say whose they are, as `patients.assign` takes."""
    split_is_owners: ClassVar[bool] = False
    """Whether who runs it can mend the split, so that a copy in both is an error."""

    @abstractmethod
    def listing(self, folder: Path) -> Listing:
        """List and split the images of a folder that `locate` returned.

        Raises:
            InputError: If a part is missing or a class folder is empty.
        """


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images to learn from, and labelled images to be judged on.

    The training images are normal, unless `subsets` mixed abnormal ones among them;
    `train_labels` then says which, for figures: no method is given it.

    Axes: N training images, M test images, H = W = image_size pixels.
    """

    name: str  # key asked for, e.g. "hyperkvasir"
    source: str  # "real" or "phantom"
    modality: str  # as the reader's
    train: "ImageBank"  # normal ones, then what contaminates them
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
    train_ids: tuple[str, ...] = field(default=(), repr=False)  # (N,), as test_ids
    train_labels: np.ndarray | None = None  # (N,), int64; None: all are normal
    sizes: np.ndarray | None = field(default=None, repr=False)  # (N + M, 2), of files

    @property
    def mark(self) -> str:
        """The word that has to stand on every figure and row: see DESIGN, Data."""
        return mark(self.source, self.partial)

    def train_list(self) -> str:
        """The training images as CSV text: file, split, label."""
        labels = [0] * len(self.train_ids)
        if self.train_labels is not None:
            labels = self.train_labels.tolist()
        rows = zip(self.train_ids, labels, strict=True)
        return "file,split,label\n" + "".join(
            f"{_quoted(id)},train,{label}\n" for id, label in rows
        )


def mark(source: str, partial: bool) -> str:
    """The mark of data: "phantom", "partial", or "" where nothing has to be said."""
    if source == "phantom":
        return "phantom"
    return "partial" if partial else ""


def _quoted(text: str) -> str:
    """A field of a CSV line, in quotes where it needs them."""
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def count(items: tuple[Item, ...]) -> dict[str, int]:
    """Number of normal training, normal test and abnormal test images."""
    return {
        "train normal": sum(item.split == "train" for item in items),
        "test normal": sum(i.split == "test" and i.label == 0 for i in items),
        "test abnormal": sum(i.split == "test" and i.label == 1 for i in items),
    }
