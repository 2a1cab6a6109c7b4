"""Pictures of clothes: Fashion-MNIST (Xiao et al., 2017)."""

from pathlib import Path
from typing import ClassVar

from thesislib.datasets.mnist import IdxReader


class FashionMnist(IdxReader):
    """Fashion-MNIST, one class normal at a time, thesis Section 6.4.1.

    Source: https://github.com/zalandoresearch/fashion-mnist. Licence: MIT.

    Folder: the four idx files in `FashionMNIST/`, `FashionMNIST/raw/` (torchvision),
    or beside each other elsewhere; else Debian's package `dataset-fashion-mnist`,
    which is found by itself.

    Counts: 6,000 training and 1,000 test images of each of ten classes; protocol as
    for MNIST.
    """

    name = "fmnist"
    title = "Fashion-MNIST images"
    release = "Fashion-MNIST"
    url = "https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
    fetch = "the four idx files by the command `thesislib data fetch fmnist`"
    folders = ("FashionMNIST", "fashion-mnist", "fmnist")
    system_folders = (Path("/usr/share/datasets/fashion-mnist"),)
    inner = ("", "raw", "FashionMNIST/raw")
    class_names = tuple("0123456789")
    class_titles = (
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    class_counts: ClassVar = {"train": (6_000,) * 10, "test": (1_000,) * 10}
