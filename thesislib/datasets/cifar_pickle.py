"""Read the pickles of CIFAR-10 without running anything that they name.

A pickle may name any function and call it. Here the names that a pickled array needs
stand for harmless substitutes of our own, and every other name is refused. NumPy's
own way of restoring arrays is not used either: a forged type could make it read
memory that does not belong to it.
"""

import math
import pickle
from typing import Any, BinaryIO

import numpy as np

_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")


class RefusedError(Exception):
    """The pickle is damaged, or names something that is not allowed."""


def load(file: BinaryIO) -> dict:
    """A dictionary of numbers, text, bytes, lists and uint8 arrays.

    Text of Python 2 comes as bytes.

    Raises:
        RefusedError: If it holds anything else, with the reason.
    """
    found = unpickled(Unpickler(file, encoding="bytes"))
    if type(found) is not dict:
        raise RefusedError(f"it holds a {type(found).__name__}, not a dictionary")
    return {key: _array(value) for key, value in found.items()}


def unpickled(unpickler: pickle.Unpickler) -> Any:
    """What a restricted unpickler loads.

    Raises:
        RefusedError: If it refuses, or the pickle is damaged.
    """
    try:
        return unpickler.load()
    except RefusedError:
        raise
    except MemoryError as error:
        raise RefusedError("it asks for more memory than there is") from error
    except Exception as error:  # a forged pickle may raise anything
        raise RefusedError(f"it is damaged ({type(error).__name__})") from error


class Unpickler(pickle.Unpickler):
    """Knows the names that pickled arrays need, and stand-ins for them."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAYS and name == "_reconstruct":
            return PickledArray
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return PickledType
        if (module, name) == ("_codecs", "encode"):  # bytes, as Python 3 writes them
            return _latin1
        raise RefusedError(f"it names {module}.{name}, which could run code")

    def persistent_load(self, _: Any) -> Any:
        raise RefusedError("it refers to something outside of it")


class PickledType:
    """Stands for a NumPy type; only its code is kept."""

    __slots__ = ("code",)

    def __init__(self, *arguments: Any) -> None:
        self.code = arguments[0] if arguments else None

    def __setstate__(self, _: Any) -> None:
        """Byte order and alignment, which do not matter for bytes."""


class PickledArray:
    """Stands for an array while it is restored: shape, type, order and bytes."""

    __slots__ = ("state",)

    def __init__(self, *_: Any) -> None:
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _latin1(text: str, encoding: str) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise RefusedError("it encodes bytes in an unknown way")
    return text.encode("latin1")


def _array(value: Any) -> Any:
    """The array that a `PickledArray` stands for; other values as they are."""
    if not isinstance(value, PickledArray):
        return value
    match value.state:
        case (
            _,
            tuple(shape),
            PickledType(code="u1" | b"u1"),
            bool(fortran),
            bytes(data),
        ):
            counts = all(type(n) is int and n >= 0 for n in shape)
            if counts and math.prod(shape) == len(data):
                flat = np.frombuffer(data, dtype=np.uint8)
                return flat.reshape(shape, order="F" if fortran else "C")
    raise RefusedError("it holds an array that is no whole one of uint8")
