"""The one-class protocol: each of several classes is normal in its turn."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from thesislib.datasets import packed, subsets
from thesislib.datasets.bank import ImageBank
from thesislib.datasets.base import NORMAL, Dataset, count, mark
from thesislib.datasets.located import Located
from thesislib.datasets.packed import Images
from thesislib.datasets.parts import by_class
from thesislib.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClassDataset(ABC):
    """Labelled images of several classes, each of which can be the normal one in its
    turn (thesis Section 6.4.1)."""

    name: str  # key asked for, e.g. "fmnist"
    source: str  # "real" or "phantom"
    modality: str
    class_names: tuple[str, ...]  # as the thesis's tables name them
    class_titles: tuple[str, ...]  # the same in words
    counts: dict[str, int]  # of all classes together
    published_counts: dict[str, int] | None
    partial: bool  # other counts or another content than the publication's
    fingerprint: str  # sha256, hexadecimal
    provenance: dict = field(repr=False)  # fit for JSON, without private paths

    @property
    def mark(self) -> str:
        """The word that has to stand on every figure and row: see DESIGN, Data."""
        return mark(self.source, self.partial)

    @abstractmethod
    def one_class(
        self,
        name: str,
        *,
        fraction: float = 1.0,
        contamination: float = 0.0,
        seed: int = 0,
    ) -> Dataset:
        """The dataset with one class normal.

        Args:
            name: One of `class_names`.
            fraction: Part of the training images that is kept, 0 < f <= 1.
            contamination: Share of abnormal images in the final training set, with
                the normal ones kept: c = k / (k + n), 0 <= c < 1.
            seed: Seed of both draws. Draws of one seed are nested: a smaller fraction
                or contamination lies inside a larger one.

        Raises:
            InputError: If the name is unknown or a number outside its range.
        """

    @abstractmethod
    def validation(
        self,
        name: str,
        *,
        num_train: int,
        num_normal: int,
        num_abnormal_per_class: int,
        seed: int = 0,
    ) -> Dataset:
        """A dataset for choosing settings, made of training images only.

        Args:
            name: The normal class, one of `class_names`.
            num_train: Its images to train on.
            num_normal: Others of its images to test on.
            num_abnormal_per_class: Training images of each other class to test on.
            seed: Seed of the draws.

        Returns:
            A dataset that is always marked partial (or phantom): it is not the
            published protocol. `provenance["validation"]` says what it is.

        Raises:
            InputError: If a class has too few training images.
        """

    def _number(self, name: str) -> int:
        if name not in self.class_names:
            raise InputError(
                f"The class is {name!r}; {self.name} has {', '.join(self.class_names)}."
            )
        return self.class_names.index(name)


@dataclass(frozen=True, kw_only=True)
class PackedClasses(ClassDataset):
    """Classes that share all test images: those of the others are the abnormal ones.

    What contaminates a class comes from the training images of the others, never from
    the test images, nor does any training image that is also a test image.

    Axes: N training images, M test images, of all classes.
    """

    train_images: Images = field(repr=False)  # (N, C, S, S)
    train_class: np.ndarray = field(repr=False)  # (N,), index of the class
    train_copied: np.ndarray = field(repr=False)  # (N,), bool; also a test image
    test: ImageBank  # (M, C, H, W), shared by all classes
    test_class: np.ndarray = field(repr=False)  # (M,), index of the class
    class_counts: dict[str, tuple[int, ...]] | None  # published, split: by class
    id_prefix: str = ""  # "phantom-" for phantoms

    def one_class(
        self,
        name: str,
        *,
        fraction: float = 1.0,
        contamination: float = 0.0,
        seed: int = 0,
    ) -> Dataset:
        number = self._number(name)
        own = self._own(number)
        num_normal, num_abnormal = subsets.numbers(len(own), fraction, contamination)
        normal = subsets.draw(self._ids(own), num_normal, seed, "fraction")
        others = np.flatnonzero((self.train_class != number) & ~self.train_copied)
        if num_abnormal > len(others):
            raise InputError(
                f"contamination is {contamination}, which takes {num_abnormal} images "
                f"of other classes, but {self.name} has {len(others)} to train on."
            )
        drawn = subsets.draw(self._ids(others), num_abnormal, seed, "contamination")
        data = self._dataset(number, own, normal, others[drawn])
        recorded = subsets.record(data, fraction, contamination, seed)
        published = None
        if self.class_counts:
            normal_test = self.class_counts["test"][number]
            published = {
                "train normal": self.class_counts["train"][number],
                "test normal": normal_test,
                "test abnormal": sum(self.class_counts["test"]) - normal_test,
            }
        return replace(
            data,
            counts=subsets.counts(data),
            published_counts=published,
            fingerprint=subsets.derived(self.fingerprint, {"class": name, **recorded}),
            provenance=data.provenance | {"subset": recorded},
        )

    def validation(
        self,
        name: str,
        *,
        num_train: int,
        num_normal: int,
        num_abnormal_per_class: int,
        seed: int = 0,
    ) -> Dataset:
        number = self._number(name)
        own = self._own(number)
        wanted = {
            "num_train": num_train,
            "num_normal": num_normal,
            "num_abnormal_per_class": num_abnormal_per_class,
        }
        for parameter, value in wanted.items():
            if value < 1:
                raise InputError(f"{parameter} is {value}, but must be at least 1.")
        if num_train + num_normal > len(own):
            raise InputError(
                f"num_train and num_normal are {num_train} and {num_normal}, together "
                f"more than the {len(own)} training images of class {name!r}."
            )
        both = subsets.draw(self._ids(own), num_train + num_normal, seed, "validation")
        within = subsets.draw(self._ids(own[both]), num_train, seed, "train")
        normal = np.delete(own[both], within)
        test = [normal]
        for other in range(len(self.class_names)):
            if other == number:
                continue
            pool = np.flatnonzero(self.train_class == other)
            if num_abnormal_per_class > len(pool):
                raise InputError(
                    f"num_abnormal_per_class is {num_abnormal_per_class}, but class "
                    f"{self.class_names[other]!r} has {len(pool)} training images."
                )
            ids = self._ids(pool)
            drawn = subsets.draw(ids, num_abnormal_per_class, seed, "validation")
            test.append(pool[drawn])
        test = np.concatenate(test)
        data = self._dataset(number, own, both[within], np.array([], dtype=np.int64))
        data = replace(
            data,
            test=subsets.bank_like(self.test, self.train_images.take(test)),
            test_labels=(self.train_class[test] != number).astype(np.int64),
            test_kinds=self._kinds(self.train_class[test], number),
            test_ids=self._ids(test),
            published_counts=None,
            partial=True,
        )
        trained = set(packed.image_digests(self.train_images.stored[own[both[within]]]))
        judged = packed.image_digests(self.train_images.stored[test])
        recorded = {
            "of": "training images only",
            "seed": seed,
            **wanted,
            "copies of training images": sum(one in trained for one in judged),
        }
        return replace(
            data,
            counts=subsets.counts(data),
            fingerprint=subsets.derived(self.fingerprint, {"class": name, **recorded}),
            provenance=data.provenance | {"validation": recorded},
        )

    def _own(self, number: int) -> np.ndarray:
        """Indices of the training images of a class."""
        own = np.flatnonzero(self.train_class == number)
        tested = self.test_class == number
        for part, there in (
            ("training images", len(own)),
            ("test images", tested.any()),
            ("test images of other classes", not tested.all()),
        ):
            if not there:
                raise InputError(
                    f"{self.name} holds no {part} where class "
                    f"{self.class_names[number]!r} is normal."
                )
        return own

    def _dataset(
        self, number: int, own: np.ndarray, normal: np.ndarray, ill: np.ndarray
    ) -> Dataset:
        """One class against all test images.

        Args:
            number: Index of the class.
            own: All its training images, indices.
            normal: Places within `own` of those that train.
            ill: Training images of other classes among them, indices.
        """
        name = self.class_names[number]
        pixels = self.train_images.keep(own, f"class{name}")
        if len(normal) < len(own):
            pixels = pixels[normal]
        if len(ill):
            pixels = np.concatenate([pixels, self.train_images.take(ill)])
        labels = np.repeat([0, 1], [len(normal), len(ill)]).astype(np.int64)
        return Dataset(
            name=self.name,
            source=self.source,
            modality=self.modality,
            train=subsets.bank_like(self.test, pixels),
            train_ids=self._ids(np.concatenate([own[normal], ill])),
            train_labels=labels if len(ill) else None,
            test=self.test,
            test_labels=(self.test_class != number).astype(np.int64),
            test_kinds=self._kinds(self.test_class, number),
            test_patients=None,
            test_masks=None,
            test_ids=self._test_ids,
            counts={},
            published_counts=None,
            partial=self.partial,
            fingerprint=self.fingerprint,
            provenance=self.provenance
            | {"class": name, "class_title": self.class_titles[number]},
        )

    def _kinds(self, classes: np.ndarray, number: int) -> tuple[str, ...]:
        """Per image "normal", or the title of the class, (n,)."""
        titles = list(self.class_titles)
        titles[number] = NORMAL
        return tuple(titles[one] for one in classes)

    def _ids(self, indices: np.ndarray) -> tuple[str, ...]:
        return tuple(f"{self.id_prefix}train-{index:05d}" for index in indices)

    @cached_property
    def _test_ids(self) -> tuple[str, ...]:
        indices = range(len(self.test_class))
        return tuple(f"{self.id_prefix}test-{index:05d}" for index in indices)


@dataclass(frozen=True, kw_only=True)
class FolderClasses(ClassDataset):
    """Classes that are datasets of their own, each with its training and test images.

    What contaminates one comes from its abnormal test images, which leave the test.
    """

    open: Callable[[str], Dataset] = field(repr=False)  # class name -> dataset

    def one_class(
        self,
        name: str,
        *,
        fraction: float = 1.0,
        contamination: float = 0.0,
        seed: int = 0,
    ) -> Dataset:
        self._number(name)
        whole = self.open(name)
        if fraction == 1 and contamination == 0:
            return whole
        return subsets.subset(
            whole, fraction=fraction, contamination=contamination, seed=seed
        )

    def validation(
        self,
        name: str,
        *,
        num_train: int,
        num_normal: int,
        num_abnormal_per_class: int,
        seed: int = 0,
    ) -> Dataset:
        raise InputError(
            f"{self.name} has no abnormal training images, so that settings cannot be "
            "chosen without its test images."
        )


def from_files(
    located: Located, device: torch.device | str, memory_fraction: float
) -> PackedClasses:
    """Open a real dataset whose images lie packed in a few files.

    Args:
        located: What `packed.find` returned.
        device: Where images are wanted.
        memory_fraction: Part of the device's free memory that each bank may take.
    """
    reader = located.adapter
    arrays, _ = packed.content(reader, located.folder, located.hashes)
    test_images = packed.open_images(located, arrays["test_images"], "test")
    test = test_images.keep(np.arange(located.counts["test"]), "all")
    return PackedClasses(
        name=located.name,
        source="real",
        modality=located.modality,
        class_names=reader.class_names,
        class_titles=reader.class_titles,
        class_counts=reader.class_counts,
        counts=located.counts,
        published_counts=located.published_counts,
        partial=located.partial,
        fingerprint=located.fingerprint,
        provenance=located.provenance,
        train_images=packed.open_images(located, arrays["train_images"], "train"),
        train_class=arrays["train_labels"].astype(np.int64),
        train_copied=np.asarray(arrays["train_copied"]),
        test=ImageBank(test, device, memory_fraction),
        test_class=arrays["test_labels"].astype(np.int64),
    )


def from_folders(located: Located, open: Callable[[Located], Dataset]) -> FolderClasses:
    """Classes that are read when they are asked for.

    Args:
        located: All classes together.
        open: Decodes the part of `located` that is one class.
    """
    reader = located.adapter
    parts = by_class(located.items, reader)

    def one(name: str) -> Dataset:
        published = None
        if reader.class_counts:
            keys = ("train normal", "test normal", "test abnormal")
            published = dict(zip(keys, reader.class_counts[name], strict=True))
        part = replace(
            located,
            items=parts[name],
            counts=count(parts[name]),
            published_counts=published,
            fingerprint=subsets.derived(located.fingerprint, {"class": name}),
            provenance=located.provenance | {"class": name},
        )
        return open(part)

    return FolderClasses(
        name=located.name,
        source="real",
        modality=located.modality,
        class_names=tuple(parts),
        class_titles=tuple(name.replace("_", " ") for name in parts),
        counts=located.counts,
        published_counts=located.published_counts,
        partial=located.partial,
        fingerprint=located.fingerprint,
        provenance=located.provenance,
        open=one,
    )
