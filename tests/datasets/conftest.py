"""Tiny folders in the official layouts, painted in code."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.made import LAYOUTS
from thesislib.datasets import fmnist

Paint = Callable[..., Path]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> None:
    """An empty cache and an empty data folder for every test."""
    monkeypatch.setenv("THESIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THESIS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("THESIS_THREADS", "2")
    monkeypatch.setattr(fmnist.FashionMnist, "system_folders", ())  # Debian's package


@pytest.fixture
def paint() -> Paint:
    """Write an image of noise, another one at each call; returns its path."""
    rng = np.random.default_rng(0)

    def paint(path: Path, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(path)
        os.utime(path, (1_000_000_000, 1_000_000_000))  # settled long ago
        return path

    return paint


@pytest.fixture
def paint_mask() -> Paint:
    """Write a grey mask with a white square in the middle."""

    def paint_mask(path: Path, size: tuple[int, int] = (24, 20)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.zeros((size[1], size[0]), dtype=np.uint8)
        grey[size[1] // 4 : 3 * size[1] // 4, size[0] // 4 : 3 * size[0] // 4] = 255
        Image.fromarray(grey).save(path)
        return path

    return paint_mask


@pytest.fixture
def layouts(paint, paint_mask) -> dict[str, Callable[[Path], Path]]:
    """A function for every dataset that builds it, tiny, and returns its folder."""

    def hyperkvasir(top: Path) -> Path:
        lower = top / "labeled-images/lower-gi-tract"
        for number in range(4):
            paint(lower / f"anatomical-landmarks/cecum/c{number}.jpg")
            paint(lower / f"quality-of-mucosal-views/bbps-2-3/b{number}.jpg")
        paint(lower / "anatomical-landmarks/ileum/i0.jpg")
        paint(lower / "pathological-findings/polyps/p0.jpg")  # not to be read
        for number in range(3):
            paint(top / f"segmented-images/images/p{number}.jpg")
            paint_mask(top / f"segmented-images/masks/p{number}.jpg")
        (top / "segmented-images/bounding-boxes.json").write_text("{}")
        return top

    def lag(top: Path) -> Path:
        for name, number in (("non_glaucoma", 6), ("suspicious_glaucoma", 3)):
            for index in range(number):
                paint(top / name / f"image/{index:04d}.jpg")
                paint_mask(top / name / f"attention_map/{index:04d}.jpg")
                label = top / name / f"label/{index:04d}.txt"
                label.parent.mkdir(exist_ok=True)
                label.write_text(str(int(name != "non_glaucoma")))
        return top

    def liu(top: Path) -> Path:
        for number in (10, 2, 1):
            paint(top / f"train/normal_{number}.png", (64, 64))
            paint(top / f"test/normal_{number}.png", (64, 64))
        for number in (7, 11):
            paint(top / f"test/abnormal_{number}.png", (64, 64))
        return top

    def covidx(top: Path) -> Path:
        train = (
            "p1 a.png negative rsna\n"
            "COVID 1 COVID(1).png positive sirm\n"
            "p2 b.JPG negative rsna\n"
            "COVID 7 c.jpeg negative sirm\n"
        )
        test = "t1 t1.png positive ricord\nt 2 t2.png negative rsna\n"
        for name in ("a.png", "COVID(1).png", "b.JPG", "c.jpeg"):
            paint(top / "train" / name)
        for name in ("t1.png", "t2.png"):
            paint(top / "test" / name)
        (top / "train_COVIDx7B.txt").write_text(train, encoding="utf-8")
        (top / "test_COVIDx8B.txt").write_text(test, encoding="utf-8")
        return top

    def chestxray(top: Path) -> Path:
        paint(top / "train/NORMAL/IM-0115-0001.jpeg", mode="L")
        paint(top / "train/NORMAL/NORMAL2-IM-0019-0001.jpeg")
        paint(top / "train/PNEUMONIA/person1_bacteria_1.jpeg")
        paint(top / "val/NORMAL/NORMAL2-IM-1427-0001.jpeg")
        paint(top / "test/NORMAL/IM-0001-0001.jpeg")
        paint(top / "test/PNEUMONIA/person9_bacteria_38.jpeg")
        paint(top / "test/PNEUMONIA/person9_virus_6.jpeg")
        return top

    def folder(top: Path) -> Path:
        for number in range(3):
            paint(top / f"train/good/{number:03d}.png")
        paint(top / "test/good/000.png")
        for kind in ("crack", "stain"):
            paint(top / f"test/{kind}/000.png")
            paint_mask(top / f"ground_truth/{kind}/000_mask.png")
        return top

    def mvtec(top: Path) -> Path:
        for category, mode in (("bottle", "RGB"), ("grid", "L")):
            for number in range(4):
                paint(top / category / f"train/good/{number:03d}.png", mode=mode)
            for number in range(2):
                paint(top / category / f"test/good/{number:03d}.png", mode=mode)
            for number in range(3):
                paint(top / category / f"test/crack/{number:03d}.png", mode=mode)
                paint_mask(top / category / f"ground_truth/crack/{number:03d}_mask.png")
            (top / category / "readme.txt").write_text("")
        return top

    return {
        "hyperkvasir": hyperkvasir,
        "lag": lag,
        "liu-colonoscopy": liu,
        "covidx": covidx,
        "chestxray": chestxray,
        "folder": folder,
        "mvtec": mvtec,
        **LAYOUTS,
    }
