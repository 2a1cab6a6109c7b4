"""Tiny pictures, maps and scores that the figure tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([1, 0, 1, 0, 1, 0])


@pytest.fixture
def scores() -> np.ndarray:
    return np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.3])


@pytest.fixture
def maps(rng) -> np.ndarray:
    return rng.normal(size=(6, 8, 8)).astype(np.float32)


@pytest.fixture
def masks(labels) -> np.ndarray:
    masks = np.zeros((6, 16, 16), dtype=bool)
    masks[labels == 1, 4:9, 5:11] = True
    return masks
