"""Which stored value is black and which white, for one dataset as a whole.

Files of 8 bits say it themselves. Greys of 12 bits are often stored in 16, and floats
have any range; read one by one, they would come out black, or each image in a range of
its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from thesislib.datasets.facts import Facts
from thesislib.errors import InputError

_FILLED = 1 / 8  # part of the range that values have to fill, ours


@dataclass(frozen=True)
class Greys:
    """Ends of the greys of a dataset's files of more than 8 bits."""

    low: float  # black
    high: float  # white
    rule: str  # how that came about, one phrase

    def __str__(self) -> str:
        return f"{self.low:g} (black) to {self.high:g} (white), {self.rule}"

    def to_bytes(self, values: np.ndarray, inverted: bool = False) -> np.ndarray:
        """Stored values of any shape to 0 to 255, uint8, rounded half up.

        Args:
            values: Stored values.
            inverted: Whether the file says that its smallest value is white.
        """
        share = (values.astype(np.float64) - self.low) / (self.high - self.low)
        share = share.clip(0, 1)
        share = 1 - share if inverted else share
        return np.floor(255 * share + 0.5).astype(np.uint8)


SIXTEEN_BITS = Greys(0, 65_535, "the whole range of 16 bits")


def decide(facts: Iterable[Facts], given: Sequence[float] = ()) -> Greys | None:
    """Greys of a dataset; None where no file has more than 8 bits a value.

    Whole numbers: 0 to the largest value of as many bits as the files declare, or as
    the largest value of all files needs (at least 8). Floats: 0 to 1, or to 255, or to
    65,535, whichever holds all and is filled by half at least.

    Args:
        facts: Of all images of the dataset, whatever their part.
        given: Black and white as the user says them, or () to decide.

    Raises:
        InputError: If it cannot be known: negative values, floats of another range,
            values that fill less than an eighth of the range, or files of which half
            stay that dark; or if what is given is no range or has no use.
    """
    facts = list(facts)
    deep = [one for one in facts if one.low is not None]
    _check_colours(facts)
    if given:
        return _given(given, deep)
    if not deep:
        return None
    low, high = min(one.low for one in deep), max(one.high for one in deep)
    kinds = {one.whole for one in deep}
    if len(kinds) > 1:
        raise _unknown(deep, "some are whole numbers and some are not")
    if low < 0:
        raise _unknown(deep, "some are negative")
    if kinds == {True}:
        bits = max(max(one.bits or int(one.high).bit_length() for one in deep), 8)
        declared = all(one.bits for one in deep)
        end = float(2**bits - 1)
        rule = f"{bits} bits " + (
            "as the files say" if declared else f"hold the largest value, {high:g}"
        )
    else:
        end = next((e for e in (1.0, 255.0, 65_535.0) if high <= e), 0.0)
        if high <= end / 2 or not end:
            raise _unknown(deep, "no usual range (0 to 1, to 255, to 65535) is filled")
        rule = f"the usual range that holds the largest value, {high:g}"
    if high - low < _FILLED * end:
        raise _unknown(deep, f"which fill little of the range 0 to {end:g}")
    if np.median([one.high for one in deep]) < _FILLED * end:
        raise _unknown(
            deep, f"but half of them stay below {_FILLED * end:g}, nearly black"
        )
    return Greys(0.0, end, rule)


def _given(given: Sequence[float], deep: Sequence[Facts]) -> Greys:
    if len(given) != 2 or not given[0] < given[1] or not np.isfinite(given).all():
        raise InputError(
            f"grey_range is {list(given)}; it must be two numbers, black and then the "
            "larger white, as [0, 4095]."
        )
    if not deep:
        raise InputError(
            f"grey_range is {list(given)}, but no grey image has more than 8 bits a "
            "value; leave it empty."
        )
    return Greys(float(given[0]), float(given[1]), "as grey_range says")


def _unknown(deep: Sequence[Facts], why: str) -> InputError:
    low, high = min(one.low for one in deep), max(one.high for one in deep)
    return InputError(
        f"{len(deep)} image(s) of more than 8 bits hold values from {low:g} to "
        f"{high:g}, {why}, so that it cannot be known which value is black and which "
        f"is white; say it by grey_range, as [{min(low, 0):g}, {high:g}]."
    )


def _check_colours(facts: Iterable[Facts]) -> None:
    """Colours of 16 bits come from Pillow as 8, their lower half cut off.

    Raises:
        InputError: If none of them reaches the middle of the range.
    """
    peaks = [one.colour_peak for one in facts if one.colour_peak is not None]
    if peaks and max(peaks) < 128:
        raise InputError(
            f"{len(peaks)} colour image(s) of 16 bits a channel reach {max(peaks)} of "
            "255 at most when they are read, so that their values seem to fill fewer "
            "bits; save them with 8 bits a channel."
        )
