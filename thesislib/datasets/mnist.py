"""Handwritten digits: MNIST (LeCun et al., 1998)."""

from pathlib import Path
from typing import ClassVar

from thesislib.datasets import idx
from thesislib.datasets.packed import Packed, PackedReader
from thesislib.errors import InputError

MD5 = {  # of the decompressed files of the official releases, in order of `idx.PARTS`
    "MNIST": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "Fashion-MNIST": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}
KEYS = {"MNIST": "mnist", "Fashion-MNIST": "fmnist"}


class IdxReader(PackedReader):
    """Four idx files, plain or gzip, spelled `-idx3-ubyte` or `.idx3-ubyte`.

    The datasets in this layout have equal file names, so it is their content that
    tells them apart. Content that is of no known release is read too, as partial.
    """

    size = idx.SIDE
    channels = 1
    release: ClassVar[str]  # key of `MD5`
    inner: ClassVar[tuple[str, ...]]  # where the files may lie inside the folder
    layout = (
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
        "and t10k-labels-idx1-ubyte, plain or .gz, there or in raw/"
    )
    published: ClassVar = {"train": 60_000, "test": 10_000}

    def locate(self, folder: Path) -> Path | None:
        for name in self.inner:
            if any(idx.find(folder / name, part) for part in idx.PARTS):
                return folder / name
        return None

    def files(self, folder: Path) -> list[Path]:
        return idx.files(folder, self.title)

    def read(self, folder: Path) -> Packed:
        paths = self.files(folder)
        parts = [
            idx.read(path, part.partition("-")[2])
            for path, part in zip(paths, idx.PARTS, strict=True)
        ]
        found = tuple(part.md5 for part in parts)
        for release, digests in MD5.items():
            same = [
                path for path, md5 in zip(paths, found, strict=True) if md5 in digests
            ]
            if same and release != self.release:
                raise InputError(
                    f"{same[0]} is of {release}, not of {self.release}, whose files "
                    f"have the same names; use dataset {KEYS[release]!r}."
                )
        idx.check_pair(*parts[:2], *paths[:2])
        idx.check_pair(*parts[2:], *paths[2:])
        return Packed(
            train_images=parts[0].values[:, None],
            train_labels=parts[1].values,
            test_images=parts[2].values[:, None],
            test_labels=parts[3].values,
            official=found == MD5[self.release],
        )


class Mnist(IdxReader):
    """MNIST, one digit normal at a time, thesis Section 6.4.1.

    Source: http://yann.lecun.com/exdb/mnist, the files mirrored by torchvision.
    Licence: CC BY-SA 3.0, as usually stated.

    Folder: the four idx files in `MNIST/`, `MNIST/raw/` (torchvision), or beside each
    other elsewhere.

    Counts: 60,000 training and 10,000 test images. Section 6.4.1 follows Deep SVDD:
    train on the official training images of one class, test on all official test
    images. (Section 2.4 describes another protocol, which is not followed.)
    """

    name = "mnist"
    title = "MNIST images"
    release = "MNIST"
    url = "http://yann.lecun.com/exdb/mnist"
    licence = "CC BY-SA 3.0"
    fetch = "the four idx files by the command `thesislib data fetch mnist`"
    folders = ("MNIST", "mnist")
    inner = ("", "raw", "MNIST/raw")
    class_names = tuple("0123456789")
    class_titles = class_names
    class_counts: ClassVar = {
        "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    }
