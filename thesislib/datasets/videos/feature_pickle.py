"""Pickled feature files, read without running anything that they name.

Some circulating feature files are arrays of PyTorch tensors, saved with NumPy, so
that the tensors are pickled. The names that such a pickle needs stand for substitutes
here, as in `cifar_pickle`; every other name is refused.
"""

import io
import math
from typing import Any, BinaryIO

import numpy as np
import torch

from thesislib.datasets.cifar_pickle import (
    PickledArray,
    PickledType,
    RefusedError,
    Unpickler,
    unpickled,
)

__all__ = ["RefusedError", "load"]

_NUMBERS = ("f2", "f4", "f8")


def load(file: BinaryIO) -> np.ndarray:
    """Features as one float array from a pickled list or array of tensors or arrays.

    Raises:
        RefusedError: If the pickle names anything else, is damaged, or its parts have
            different shapes.
    """
    found = _plain(unpickled(_FeatureUnpickler(file, encoding="bytes")))
    parts = found if isinstance(found, list) else [found]
    if not parts or not all(isinstance(part, np.ndarray) for part in parts):
        raise RefusedError("it holds something else than tensors or arrays of numbers")
    if len({part.shape for part in parts}) > 1:
        raise RefusedError("its tensors have different shapes")
    return np.stack(parts) if isinstance(found, list) else found


class _FeatureUnpickler(Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage
        if (module, name) == ("collections", "OrderedDict"):  # a tensor's empty hooks
            return dict
        return super().find_class(module, name)


def _storage(data: bytes) -> torch.UntypedStorage | torch.TypedStorage:
    """The numbers behind a tensor, by PyTorch's own restricted reader."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> Any:
    """A tensor as an array, if it lies within its storage."""
    if not isinstance(storage, torch.TypedStorage):
        raise RefusedError("it holds a tensor without numbers")
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise RefusedError("it holds a tensor of no possible shape")
    flat = torch.tensor([], dtype=storage.dtype).set_(storage)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if math.prod(size) and last >= flat.numel():
        raise RefusedError("it holds a tensor that reaches beyond its numbers")
    return torch.as_strided(flat, size, stride, offset).float().numpy()


def _plain(value: Any) -> Any:
    """Lists and stand-ins as lists and arrays."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, PickledArray):
        return value
    match value.state:
        case (_, tuple(shape), PickledType(code=code), bool(fortran), content):
            code = code.decode() if isinstance(code, bytes) else code
            if code == "O8" and isinstance(content, list) and len(shape) == 1:
                return _plain(content)
            if code in _NUMBERS and isinstance(content, bytes):
                size = math.prod(shape) * int(code[1])
                if all(type(n) is int and n >= 0 for n in shape) and size == len(
                    content
                ):
                    flat = np.frombuffer(content, dtype=f"<{code}")
                    return flat.reshape(shape, order="F" if fortran else "C")
    raise RefusedError("it holds an array that is no whole one of numbers")
