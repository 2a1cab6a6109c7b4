"""Feature files as `.npy`: checked before a number of them is used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thesislib.datasets.videos import feature_pickle
from thesislib.errors import InputError

LARGEST = float(np.finfo(np.float16).max)  # features are kept in half precision


def read(files: Sequence[Path], video: str, allow_pickle: bool = False) -> np.ndarray:
    """Features of one video, (T, C, D), floating point.

    Args:
        files: One file (T, C, D) or (T, D), or one (T, D) a crop.
        video: Its name, for messages.
        allow_pickle: Read pickled tensors, by a restricted unpickler.

    Raises:
        InputError: If a file is truncated, a pickle, of another shape, or holds no
            snippet or a number that is not finite or too large for half precision;
            one sentence that names video and file.
    """
    parts = [_read_file(path, video, allow_pickle) for path in files]
    if len(parts) == 1:
        features = parts[0] if parts[0].ndim == 3 else parts[0][:, None]
    else:
        if len(shapes := {part.shape for part in parts}) > 1:
            listed = " and ".join(str(shape) for shape in sorted(shapes))
            raise InputError(
                f"The crops of video {video} have features of different shapes, "
                f"{listed}."
            )
        features = np.stack([part.reshape(len(part), -1) for part in parts], axis=1)
    if not features.size:
        raise InputError(
            f"Video {video} has no snippets: {files[0].name} has shape "
            f"{features.shape}."
        )
    return features


def checked_half(features: np.ndarray, video: str) -> np.ndarray:
    """Features as float16.

    Raises:
        InputError: If one is not finite or too large for it.
    """
    largest = np.abs(features).max()
    if not largest <= LARGEST:
        what = "not finite" if not np.isfinite(largest) else f"{largest:.3g}"
        raise InputError(
            f"A feature of video {video} is {what}; features must be finite and at "
            f"most {LARGEST:.0f}, since they are kept in half precision."
        )
    return features.astype(np.float16)


def read_vector(path: Path, what: str) -> np.ndarray:
    """Labels of frames, (F,), as uint8.

    Raises:
        InputError: If the file is damaged or holds other values than 0 and 1.
    """
    values = _read_file(path, what, allow_pickle=False, ndims=(1,))
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{path.name} of {what} holds other values than 0 and 1.")
    return values.astype(np.uint8)


def _read_file(
    path: Path, video: str, allow_pickle: bool, ndims: tuple[int, ...] = (2, 3)
) -> np.ndarray:
    where = f"{path.name} of video {video}"
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version, np.lib.format.read_array_header_2_0)
            shape, _, dtype = reader(file)
            if dtype.hasobject:
                array = _read_pickle(file, where, allow_pickle)
                return _of_dimensions(array, where, ndims)
            wanted = file.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        size = path.stat().st_size
        if size < wanted:
            raise InputError(
                f"{where} is truncated: it has {size:,} of {wanted:,} bytes; fetch or "
                "extract it again."
            )
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except InputError:  # is a ValueError
        raise
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from error
    except (ValueError, SyntaxError, EOFError) as error:
        raise InputError(
            f"{where} is no whole .npy file; fetch or extract it again."
        ) from error
    return _of_dimensions(array, where, ndims)


def _of_dimensions(array: np.ndarray, where: str, ndims: tuple[int, ...]) -> np.ndarray:
    if array.ndim not in ndims or array.dtype.kind not in "fiub":
        expected = {1: "(F,)", 2: "(T, D) or (T, C, D)"}[ndims[0]]
        raise InputError(
            f"{where} has shape {array.shape} and type {array.dtype}; expected "
            f"numbers, {expected}."
        )
    return array


def _read_pickle(file, where: str, allow_pickle: bool) -> np.ndarray:
    if not allow_pickle:
        raise InputError(
            f"{where} holds pickled objects, which could run code when read; set "
            "allow_pickle to read pickled tensors by a restricted unpickler, or save "
            "the features as plain arrays."
        )
    try:
        return feature_pickle.load(file)
    except feature_pickle.RefusedError as error:
        raise InputError(f"{where} is refused as a pickle: {error}.") from error
