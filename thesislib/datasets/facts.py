"""What one image file says of itself."""

from typing import NamedTuple


class Facts(NamedTuple):
    """What a file says of itself; of more than 8 bits a value, also its values."""

    mode: str  # as Pillow names it, or "DICOM MONOCHROME2"
    format: str
    size: tuple[int, int]  # width and height, upright or not
    frames: int = 1
    low: float | None = None  # smallest value; None for 8 bits, colours, most DICOM
    high: float | None = None
    whole: bool = True  # values are whole numbers
    bits: int = 0  # that values have as the file declares; 0: no fewer than it stores
    colour_peak: int | None = None  # largest of colours of 16 bits, read as 8

    @classmethod
    def from_list(cls, values: list) -> "Facts":
        """From JSON, which keeps tuples as lists."""
        mode, kind, size, *others = values
        return cls(mode, kind, tuple(size), *others)
