"""Fetch the datasets that may be downloaded without asking, checked by their hashes."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from thesislib import paths
from thesislib.datasets import packed, registry
from thesislib.errors import InputError


class Download(NamedTuple):
    """Files of a dataset and where they are to be had."""

    mirrors: tuple[str, ...]  # each with all files, ending in "/"
    md5: dict[str, str]  # file: hash as published
    inner: str  # folder below the dataset's own that they go into


DOWNLOADS = {
    "mnist": Download(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        "raw",
    ),
    "fmnist": Download(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        "raw",
    ),
    "cifar10": Download(
        ("https://www.cs.toronto.edu/~kriz/",),
        {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
        "",
    ),
}


def fetch(name: str, folder: str | Path | None = None) -> Path:
    """Download a dataset, or what is missing of it, and check it.

    Args:
        name: A key of `DOWNLOADS`.
        folder: Where the files go, relative to the current folder; None means where
            runs look for them, in `paths.data_dir()`.

    Returns:
        The folder. Files that are there with the published content stay.

    Raises:
        InputError: If the dataset cannot be fetched this way, a file is there with
            another content, no mirror answers, or the disk refuses.
    """
    reader = registry.adapter(name)
    if name not in DOWNLOADS:
        raise InputError(
            f"{name} cannot be fetched by a command, only {', '.join(DOWNLOADS)}; "
            f"fetch {reader.fetch}."
        )
    download = DOWNLOADS[name]
    if folder is None:
        folder = paths.data_dir() / reader.folders[0] / download.inner
    folder = paths.written(folder)
    for file, md5 in download.md5.items():
        if (folder / file).exists():
            if _md5(folder / file) != md5:
                raise InputError(
                    f"{folder / file} is there already, but is not the file as "
                    "published; move it away, or use the folder as data_root as it is."
                )
        else:
            _retrieve(download.mirrors, file, md5, folder)
    packed.find(reader, reader.locate(folder), reader.size, given=False)
    return folder


def _retrieve(mirrors: tuple[str, ...], file: str, md5: str, folder: Path) -> None:
    """Download one file under a temporary name, check it, move it into place."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for mirror in mirrors:
        try:
            pooch.retrieve(f"{mirror}{file}", f"md5:{md5}", file, folder)
            return
        except RequestException as error:
            reasons.append(f"{mirror} ({type(error).__name__})")
        except ValueError:  # pooch's word for another hash
            reasons.append(f"{mirror} (its file is not the published one)")
        except OSError as error:
            raise InputError(
                f"{folder / file} cannot be written: {error.strerror or error}."
            ) from error
    raise InputError(
        f"{file} could not be fetched from {' or '.join(reasons)}; check the network, "
        f"or fetch it elsewhere and put it into {folder}."
    )


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
