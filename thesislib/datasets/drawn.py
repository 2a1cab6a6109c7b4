"""Phantoms as datasets: what a draw is made of, and drawing it."""

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from thesislib.datasets.base import Dataset, Reader
from thesislib.datasets.located import Located, PhantomSize
from thesislib.datasets.packed import PackedReader
from thesislib.errors import InputError

if TYPE_CHECKING:
    from thesislib.datasets.classes import ClassDataset


def describe(reader: Reader, seed: int, image_size: int, size: PhantomSize) -> Located:
    """The phantom of a dataset, not yet drawn.

    Raises:
        InputError: If a number of images is below 1, or a difficulty is given where
            there is none.
    """
    from thesislib.datasets import phantoms

    for name in ("num_train", "num_test_normal", "num_test_abnormal"):
        if getattr(size, name) < 1:
            raise InputError(
                f"{name} of the phantom is {getattr(size, name)}, but must be at "
                "least 1."
            )
    if reader.modality == "shapes":
        return _describe_shapes(reader, seed, image_size, size)
    if size.difficulty is None:
        size = replace(size, difficulty=phantoms.DIFFICULTY[reader.modality])
    facts = {
        "adapter": reader.name,
        "phantom": reader.modality,
        "generator_sha256": phantoms.generator_hash(reader.modality),
        "num_train": size.num_train,
        "num_test_normal": size.num_test_normal,
        "num_test_abnormal": size.num_test_abnormal,
        "difficulty": size.difficulty,
        "image_size": image_size,
        "seed": seed,
    }
    text = json.dumps(facts, sort_keys=True)
    return Located(
        name=reader.name,
        source="phantom",
        modality=reader.modality,
        image_size=image_size,
        counts={
            "train normal": size.num_train,
            "test normal": size.num_test_normal,
            "test abnormal": size.num_test_abnormal,
        },
        published_counts=None,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        provenance=facts | {"split_rule": "training and test drawn apart, by seed"},
        seed=seed,
        phantom=size,
    )


def _describe_shapes(
    reader: PackedReader, seed: int, image_size: int, size: PhantomSize
) -> Located:
    from thesislib.datasets.phantoms import shapes

    if size.difficulty is not None:
        raise InputError(
            f"difficulty of the phantom is {size.difficulty}, but shapes have none; "
            "leave it at None."
        )
    facts = {
        "adapter": reader.name,
        "phantom": reader.modality,
        "generator_sha256": shapes.generator_hash(),
        "num_train_per_class": size.num_train,
        "num_test_per_class": size.num_test_normal,
        "image_size": image_size,
        "seed": seed,
    }
    text = json.dumps(facts, sort_keys=True)
    return Located(
        name=reader.name,
        source="phantom",
        modality=reader.modality,
        image_size=image_size,
        counts={
            "train": size.num_train * len(shapes.NAMES),
            "test": size.num_test_normal * len(shapes.NAMES),
        },
        published_counts=None,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        provenance=facts
        | {
            "split_rule": "training and test drawn apart, by seed",
            "resize": "none, drawn at this size",
        },
        seed=seed,
        phantom=size,
        adapter=reader,
    )


def load(located: Located, device: object, fraction: float) -> "Dataset | ClassDataset":
    """Draw the phantom.

    Args:
        located: What `describe` returned.
        device: Where images are wanted.
        fraction: Part of the device's free memory that each bank may take.
    """
    if located.modality == "shapes":
        return _load_shapes(located, device, fraction)
    import torch

    from thesislib.datasets import phantoms
    from thesislib.datasets.bank import ImageBank

    size = located.phantom
    num_test = size.num_test_normal + size.num_test_abnormal
    labels = np.arange(num_test) >= size.num_test_normal  # normal ones first

    def draw(split: str, num_images: int, abnormal: np.ndarray) -> phantoms.Phantom:
        return phantoms.generate(
            located.modality,
            num_images,
            located.image_size,
            _split_seed(located, split),
            torch.from_numpy(abnormal),
            size.difficulty,
        )

    train = draw("train", size.num_train, np.zeros(size.num_train, dtype=bool))
    test = draw("test", num_test, labels)
    return Dataset(
        name=located.name,
        source="phantom",
        modality=located.modality,
        train=ImageBank(np.asarray(train.images), device, fraction),
        test=ImageBank(np.asarray(test.images), device, fraction),
        test_labels=labels.astype(np.int64),
        test_kinds=test.kinds,
        test_patients=None,
        test_masks=np.asarray(test.masks),
        test_ids=tuple(f"phantom-{index:06d}" for index in range(num_test)),
        train_ids=tuple(f"phantom-train-{i:06d}" for i in range(size.num_train)),
        counts=located.counts,
        published_counts=None,
        partial=False,
        fingerprint=located.fingerprint,
        provenance=located.provenance,
    )


def _load_shapes(located: Located, device: object, fraction: float) -> "ClassDataset":
    from thesislib.datasets.bank import ImageBank
    from thesislib.datasets.classes import PackedClasses
    from thesislib.datasets.packed import Images
    from thesislib.datasets.phantoms import shapes

    channels = located.adapter.channels
    parts = {}
    for split, number in (
        ("train", located.phantom.num_train),
        ("test", located.phantom.num_test_normal),
    ):
        classes = np.arange(number * len(shapes.NAMES)) % len(shapes.NAMES)
        images = shapes.generate(
            classes, located.image_size, _split_seed(located, split)
        )
        images = np.repeat(images.numpy(), channels, axis=1)  # (N, C, S, S)
        parts[split] = images, classes
    train, train_class = parts["train"]
    test, test_class = parts["test"]
    return PackedClasses(
        name=located.name,
        source="phantom",
        modality=located.modality,
        class_names=located.adapter.class_names,
        class_titles=shapes.NAMES,
        class_counts=None,
        counts=located.counts,
        published_counts=None,
        partial=False,
        fingerprint=located.fingerprint,
        provenance=located.provenance,
        train_images=Images(train, located.image_size, None),
        train_class=train_class,
        train_copied=np.zeros(len(train), dtype=bool),
        test=ImageBank(test, device, fraction),
        test_class=test_class,
        id_prefix="phantom-",
    )


def _split_seed(located: Located, split: str) -> int:
    """Seed of one split: other for every run seed, and for training and test."""
    text = f"{located.modality}/{split}/{located.seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
