"""One DICOM file to one picture, by pydicom, which is an optional package.

Of a header only the elements in `_TAGS` are read, none of which tells who the patient
is; the others are passed over, so that no record, figure or message can hold them.
`patient_id` reads one more, for `patients.py`, which hashes it at once.
"""

from collections.abc import Callable, Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thesislib.datasets.bad_image import BadImageError, UnreadableError
from thesislib.datasets.filelist import ENDINGS
from thesislib.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom import Dataset

ENDING = ".dcm"
INSTALL = "pip install 'thesislib[dicom]'"
PLUGINS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"

_TAGS = (
    *("PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "NumberOfFrames", "PixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as PS3.10 says: 128 bytes of anything, then `DICM`.

    A name with the ending of another picture is believed; else the ending says
    nothing, since many archives name files by their UID, "1.2.840.113619.2.55".
    """
    if path.suffix.lower() in ENDINGS or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def require(files: Iterable[Path], where: str) -> None:
    """Say at once, of many files, that pydicom is missing.

    Raises:
        InputError: If some are DICOM files and pydicom is not installed.
    """
    if find_spec("pydicom"):
        return
    if number := sum(map(is_dicom, files)):
        raise InputError(
            f"{where} holds {number} DICOM file(s), which are read by pydicom: "
            f"{INSTALL}."
        )


def version() -> str:
    """Version of pydicom, "" if it is not installed."""
    return metadata.version("pydicom") if find_spec("pydicom") else ""


def read(path: Path, ends: tuple[float, float] | None = None) -> "Image":
    r"""Decode a file of one frame, grey (mode L) or RGB.

    Stored values $v$ become grey values in the steps of PS3.3: modality ($m v + b$ by
    the rescale slope and intercept, or the file's table), then the values of interest,

    $$g = \min(1, \max(0, (m v + b - l) / (h - l))),$$

    then $1 - g$ for MONOCHROME1, and $255 g$ to the nearest whole number. The ends
    $l, h$ are decided by the file alone, never by the values of the image, so that
    equal stored values are equal greys in all files with equal headers:

    - the first window of the file, if it has one: PS3.3 C.11.2.1.2 for LINEAR,
      LINEAR_EXACT and SIGMOID (which is a curve between 0 and 1, without ends);
    - else its first table (VOI LUT), and the range of the table's bits;
    - else, of a file that declares fewer bits than it stores, the full range of these,
      $0$ to $2^b - 1$ or, signed, $-2^{b-1}$ to $2^{b-1} - 1$, after the modality step;
    - else, of 16 bits of which nobody knows how many are used, the ends that are given,
      as `greys.decide` finds them for the whole dataset; without them all 16.

    Windows and rescaling inside of functional groups (enhanced objects) are refused.
    Colours (RGB, and YBR, which pydicom converts) are kept; more than 8 bits are
    divided down to 8.

    Args:
        path: The file.
        ends: Black and white of files that are `_bare`, after the modality step.

    Raises:
        BadImageError: If the file has no image or several frames, is of a kind that
            is not read here, or is damaged.
        UnreadableError: If pydicom, or what it needs to decompress, is missing.
    """
    return _safely(path, lambda header: _decoded(header, ends))


def examine(path: Path) -> tuple[str, np.ndarray | None]:
    """Kind of image, `DICOM MONOCHROME2`; of a file that is `_bare` also its values.

    Values are those after the modality step, (H, W), float64.

    Raises:
        BadImageError: As `read`.
    """
    header = _header(path, _TAGS, pixels=False)
    kind = header.get("PhotometricInterpretation")
    name = f"DICOM {kind}" if kind in _GREY + _COLOUR else "DICOM"
    if kind not in _GREY or not _bare(header):
        return name, None
    return name, _safely(path, lambda header: _modality(header, _stored(header))[0])


def _safely(path: Path, of_header: Callable[["Dataset"], Any]) -> Any:
    """What a function makes of a whole file, without a word of its header in errors.

    Raises:
        BadImageError: As `read`.
    """
    header = _header(path, _TAGS + _GROUPS)
    if "PixelData" not in header:
        raise BadImageError("a DICOM file without an image")
    try:
        return of_header(header)
    except (MemoryError, BadImageError):
        raise
    except Exception:  # its text may quote the header
        raise BadImageError("a DICOM file whose image is damaged") from None


def _bare(header: "Dataset") -> bool:
    """Whether a file has 16 bits, all of them stored, and neither window nor table."""
    tables = ("ModalityLUTSequence", "VOILUTSequence")
    return (
        int(header.get("BitsStored") or 0) == int(header.get("BitsAllocated") or 0) > 8
        and any(_first(header.get(f"Window{x}")) is None for x in ("Center", "Width"))
        and not any(header.get(name) for name in tables)
    )


def patient_id(path: Path) -> bytes:
    """PatientID as it stands in the header, b"" if there is none: to be hashed, only.

    Raises:
        BadImageError: As `read`.
    """
    header = _header(path, ("PatientID",), pixels=False)
    if "PatientID" not in header:
        return b""
    value = (
        header.get_item("PatientID").value or b""
    )  # undecoded, so never complained of
    return value.strip(b" \0")


_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def _header(path: Path, tags: tuple[str, ...], pixels: bool = True) -> "Dataset":
    try:
        import pydicom
    except ImportError:
        raise UnreadableError(
            f"a DICOM file, which is read by pydicom: {INSTALL}"
        ) from None
    try:
        return pydicom.dcmread(
            path, specific_tags=list(tags), stop_before_pixels=not pixels
        )
    except MemoryError:
        raise
    except Exception as error:  # its text may quote the header
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableError(error.strerror) from None
        raise BadImageError("a DICOM file whose header is damaged") from None


def _decoded(header: "Dataset", ends: tuple[float, float] | None) -> "Image":
    from PIL import Image

    kind = str(header.get("PhotometricInterpretation"))
    stored = _stored(header)
    if kind in _COLOUR:
        largest = 2 ** int(header.BitsStored) - 1
        return Image.fromarray(_to_bytes(stored / largest))
    share = _share(header, stored, ends)
    return Image.fromarray(_to_bytes(1 - share if kind == "MONOCHROME1" else share))


def _stored(header: "Dataset") -> np.ndarray:
    """Stored values, (H, W) or (H, W, 3), colours as RGB.

    Raises:
        BadImageError: As `read`.
    """
    from pydicom import pixels

    if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
        raise BadImageError(
            f"a DICOM file of {frames} frames: save each frame as a file of its own"
        )
    kind = str(header.get("PhotometricInterpretation"))
    if kind not in _GREY + _COLOUR:
        raise BadImageError(
            "a DICOM file that is neither grey nor RGB: save it as one of them"
        )
    if any(name in header for name in _GROUPS):
        raise BadImageError(
            "an enhanced DICOM file, with its window in functional groups: save it as "
            "a classic one"
        )
    _require_decoder(header)
    return pixels.pixel_array(header)


def _require_decoder(header: "Dataset") -> None:
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise BadImageError(
            "a DICOM file that is compressed in a way that pydicom does not read"
        ) from None
    if not decoder.is_available:
        raise UnreadableError(
            f"a DICOM file compressed as {syntax.name}, for which pydicom needs its "
            f"plugins: {PLUGINS}"
        )


def _modality(
    header: "Dataset", stored: np.ndarray
) -> tuple[np.ndarray, tuple[float, float]]:
    """Values after the modality step, (H, W), and the range that bits can store."""
    from pydicom.pixels import apply_modality_lut

    bits = int(header.BitsStored)
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if header.PixelRepresentation
        else (0, 2**bits - 1)
    )
    if table := header.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, header).astype(np.float64)
        low, high = 0, 2 ** _table_bits(table) - 1
    else:
        slope = float(header.get("RescaleSlope") or 1)
        intercept = float(header.get("RescaleIntercept") or 0)
        values = slope * stored.astype(np.float64) + intercept
        low, high = sorted((slope * low + intercept, slope * high + intercept))
    return values, (low, high)


def _share(
    header: "Dataset", stored: np.ndarray, ends: tuple[float, float] | None
) -> np.ndarray:
    """Grey values in [0, 1], (H, W), before MONOCHROME1 is turned round; see `read`."""
    from pydicom.pixels import apply_voi

    values, (low, high) = _modality(header, stored)
    if ends and _bare(header):
        low, high = ends
    center, width = (_first(header.get(f"Window{x}")) for x in ("Center", "Width"))
    if center is not None and width is not None:
        function = str(header.get("VOILUTFunction") or "LINEAR")
        return window(values, center, width, function)
    if table := header.get("VOILUTSequence"):
        values = apply_voi(np.rint(values).astype(np.int64), header)
        low, high = 0, 2 ** _table_bits(table) - 1
    return ((values - low) / (high - low)).clip(0, 1)


def window(
    values: np.ndarray, center: float, width: float, function: str = "LINEAR"
) -> np.ndarray:
    """Values of interest as shares in [0, 1], PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: After the modality step, of any shape.
        center: Window center $c$.
        width: Window width $w$; at least 1 for LINEAR, else above 0.
        function: `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.

    Raises:
        BadImageError: If the width is too small, or the function another one.
    """
    least = 1 if function == "LINEAR" else 0
    if width < least or width == 0:
        raise BadImageError(f"a DICOM file whose window is {width:g} wide")
    if function == "LINEAR" and width == 1:
        return (values > center - 0.5).astype(np.float64)
    if function == "LINEAR":
        return ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    if function == "LINEAR_EXACT":
        return ((values - center) / width + 0.5).clip(0, 1)
    if function == "SIGMOID":
        return 0.5 * (1 + np.tanh(2 * (values - center) / width))  # 1 / (1 + e^-4x)
    raise BadImageError("a DICOM file whose window is of an unknown function")


def _first(value: object) -> float | None:
    """The first of several values, None if there is none."""
    if value is None or value == "":
        return None
    values = list(value) if hasattr(value, "__iter__") else [value]
    return float(values[0]) if values else None


def _table_bits(table: object) -> int:
    return int(table[0].LUTDescriptor[2])


def _to_bytes(share: np.ndarray) -> np.ndarray:
    return np.rint(255 * share).astype(np.uint8)
