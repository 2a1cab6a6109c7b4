"""Small colour photographs: CIFAR-10 (Krizhevsky, 2009)."""

import hashlib
import io
import tarfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from thesislib.datasets import cifar_pickle
from thesislib.datasets.packed import Packed, PackedReader
from thesislib.errors import InputError

_SIDE, _PIXELS = 32, 3 * 32 * 32
_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_FORMS = {  # form: folder, archive, ending of the files
    "python": ("cifar-10-batches-py", "cifar-10-python.tar.gz", ""),
    "binary": ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin"),
}
_FOLDERS = tuple(folder for folder, _, _ in _FORMS.values())
_LARGEST = 1 << 26  # bytes; a batch has 31 million
_MD5 = {  # of the official files in Python's form, as torchvision checks them
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


class Cifar10(PackedReader):
    """CIFAR-10, one class normal at a time, thesis Section 6.4.1.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html. Licence: none is stated; the
    authors ask to be cited.

    Folder: `cifar-10-batches-py/` (`data_batch_1` to `_5` and `test_batch`, Python
    pickles) or `cifar-10-batches-bin/` (the same with `.bin`), or the archive
    `cifar-10-python.tar.gz` or `cifar-10-binary.tar.gz` as downloaded, which is read
    without unpacking it. Pickles are read by a reader that runs nothing of them.

    Counts: 5,000 training and 1,000 test images of each of ten classes; protocol as
    for MNIST. Whether binary files are the official ones is judged by their counts,
    for lack of published hashes of the single files.
    """

    name = "cifar10"
    title = "CIFAR-10 images"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    licence = "none stated, cite the authors"
    fetch = "cifar-10-python.tar.gz by the command `thesislib data fetch cifar10`"
    layout = "data_batch_1 to data_batch_5 and test_batch, or the archive with them"
    folders = ("cifar10", "CIFAR10", "cifar-10", *_FOLDERS)
    archives = tuple(archive for _, archive, _ in _FORMS.values())
    published: ClassVar = {"train": 50_000, "test": 10_000}
    size = _SIDE
    channels = 3
    class_names = tuple("0123456789")
    class_titles = (
        "plane",
        "car",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    class_counts: ClassVar = {"train": (5_000,) * 10, "test": (1_000,) * 10}

    def locate(self, folder: Path) -> Path | None:
        if folder.is_file():
            return folder if folder.name in self.archives else None
        for name, _, ending in _FORMS.values():
            for place in (folder, folder / name):
                names = (*_BATCHES, "test_batch")
                if any((place / f"{one}{ending}").is_file() for one in names):
                    return place
        for archive in self.archives:
            if (folder / archive).is_file():
                return folder / archive
        return None

    def files(self, folder: Path) -> list[Path]:
        if folder.is_file():
            return [folder]
        ending = _ending(folder)
        paths = [folder / f"{name}{ending}" for name in (*_BATCHES, "test_batch")]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise InputError(
                f"{folder} lacks {' and '.join(missing)}; CIFAR-10 needs five training "
                "batches and test_batch."
            )
        return paths

    def read(self, folder: Path) -> Packed:
        blobs = _unpacked(folder) if folder.is_file() else {}
        blobs = blobs or {path: path.read_bytes() for path in self.files(folder)}
        parts = []
        for path, blob in blobs.items():
            parts.append((_binary if path.suffix else _python)(path, blob))
        *train, test = parts
        train_labels = np.concatenate([labels for _, labels in train])
        found = {
            path.name: hashlib.md5(blob, usedforsecurity=False).hexdigest()
            for path, blob in blobs.items()
        }
        if any(path.suffix for path in blobs):
            counts = {
                "train": tuple(np.bincount(train_labels, minlength=10).tolist()),
                "test": tuple(np.bincount(test[1], minlength=10).tolist()),
            }
            official = counts == self.class_counts
        else:
            official = found == _MD5
        return Packed(
            train_images=np.concatenate([images for images, _ in train]),
            train_labels=train_labels,
            test_images=test[0],
            test_labels=test[1],
            official=official,
        )


def _unpacked(archive: Path) -> dict[Path, bytes]:
    """The batches in an archive, training before test; nothing is written.

    Members count by the last folder and the name, and only if they are plain files:
    links, devices and other paths are never followed.
    """
    forms = {name: ending for name, packed, ending in _FORMS.values()}
    found = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = Path(member.name)
                ending = forms.get(path.parent.name)
                wanted = ending is not None and path.name in [
                    f"{name}{ending}" for name in (*_BATCHES, "test_batch")
                ]
                if not (wanted and member.isfile()):
                    continue
                if member.size > _LARGEST:
                    raise InputError(
                        f"{member.name} in {archive} has {member.size} bytes; a batch "
                        f"has at most {_LARGEST}."
                    )
                found[path.name] = tar.extractfile(member).read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InputError(
            f"{archive} cannot be read as a .tar.gz: {error}; fetch it again."
        ) from error
    for ending in forms.values():
        names = [f"{name}{ending}" for name in (*_BATCHES, "test_batch")]
        if all(name in found for name in names):
            return {archive / name: found[name] for name in names}
    raise InputError(
        f"{archive} does not hold data_batch_1 to data_batch_5 and test_batch in "
        f"{' or '.join(forms)}."
    )


def _ending(folder: Path) -> str:
    """ ".bin" where a folder holds the binary form, else ""."""
    return ".bin" if any(folder.glob("*_batch*.bin")) else ""


def _binary(path: Path, blob: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,), uint8; a record is 1 + 3,072 bytes."""
    if not blob or len(blob) % (1 + _PIXELS):
        raise InputError(
            f"{path} has {len(blob)} bytes, which is no multiple of the "
            f"{1 + _PIXELS} of one image and its label."
        )
    rows = np.frombuffer(blob, dtype=np.uint8).reshape(-1, 1 + _PIXELS)
    if rows[:, 0].max() > 9:
        raise InputError(
            f"{path} holds the label {rows[:, 0].max()}; labels go from 0 to 9."
        )
    return rows[:, 1:].reshape(-1, 3, _SIDE, _SIDE), rows[:, 0]


def _python(path: Path, blob: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,), uint8, of a batch in Python's form."""
    try:
        batch = cifar_pickle.load(io.BytesIO(blob))
    except cifar_pickle.RefusedError as error:
        raise InputError(
            f"{path} is no batch of CIFAR-10 that can be trusted: {error}."
        ) from error
    data, labels = batch.get(b"data"), batch.get(b"labels")
    whole = isinstance(labels, list) and all(type(n) is int for n in labels)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or not whole:
        raise InputError(f"{path} lacks an array b'data' and a list b'labels'.")
    if data.shape != (len(labels), _PIXELS) or not labels:
        raise InputError(
            f"{path} holds data of shape {data.shape} and {len(labels)} labels; "
            f"expected ({len(labels)}, {_PIXELS}), at least one."
        )
    if min(labels) < 0 or max(labels) > 9:
        raise InputError(
            f"{path} holds labels from {min(labels)} to {max(labels)}; labels go from "
            "0 to 9."
        )
    images = data.reshape(-1, 3, _SIDE, _SIDE)
    return images, np.array(labels, dtype=np.uint8)
