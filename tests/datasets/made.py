"""Tiny files in the layouts of MNIST and CIFAR-10: every image is another noise."""

import gzip
import pickle
from pathlib import Path

import numpy as np

NUM_TRAIN, NUM_TEST = 6, 3  # images of each class


def pixels(split: str, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, *shape), uint8, of noise, and labels (N,); ten classes in turn."""
    per_class = NUM_TRAIN if split == "train" else NUM_TEST
    rng = np.random.default_rng(per_class)
    labels = np.arange(10 * per_class, dtype=np.uint8) % 10
    images = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    return images, labels


def idx_bytes(array: np.ndarray) -> bytes:
    magic = 2051 if array.ndim == 3 else 2049
    return np.array([magic, *array.shape], dtype=">u4").tobytes() + array.tobytes()


def write_idx(folder: Path, joint: str = "-", ending: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, split in (("train", "train"), ("t10k", "test")):
        for kind, array in zip(
            ("images", "labels"), pixels(split, 28, 28), strict=True
        ):
            name = f"{part}-{kind}{joint}idx{array.ndim}-ubyte{ending}"
            data = idx_bytes(array)
            data = gzip.compress(data, mtime=0) if ending else data
            (folder / name).write_bytes(data)
    return folder


def cifar_batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Batch name -> data (N, 3072) and labels (N,)."""
    images, labels = pixels("train", 3072)
    names = [f"data_batch_{number}" for number in range(1, 6)]
    parts = zip(
        names, np.array_split(images, 5), np.array_split(labels, 5), strict=True
    )
    return {name: (data, of) for name, data, of in parts} | {
        "test_batch": pixels("test", 3072)
    }


def write_cifar(folder: Path, form: str = "python") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, labels) in cifar_batches().items():
        if form == "python":
            batch = {b"data": data, b"labels": labels.tolist(), b"batch_label": b"x"}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            rows = np.concatenate([labels[:, None], data], axis=1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


LAYOUTS = {"mnist": write_idx, "fmnist": write_idx, "cifar10": write_cifar}
