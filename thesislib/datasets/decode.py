"""One image or mask file to one square array, whatever its mode."""

import math
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from thesislib.datasets import dicom
from thesislib.datasets.bad_image import BadImageError, UnreadableError

__all__ = ["BadImageError", "mode", "otsu", "read_image", "read_mask"]

VERSION = 1
"""Raised whenever the same file would decode to other values."""

_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 exchange width and height
_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}


def read_image(
    path: Path, size: int, box: tuple[float, float] = (0.0, 1.0)
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a file to an RGB square.

    Grey is repeated over the channels, 16-bit values are divided by 257, palettes
    and CMYK are converted, transparent pixels become black, EXIF rotation is
    applied, and of several frames the first is taken. DICOM files are turned into
    8-bit greys or RGB as `dicom.read` says. The resize is bicubic with antialiasing
    and does not keep the aspect ratio.

    Args:
        path: Image file.
        size: Side of the square, pixels.
        box: Part of each side that is kept before resizing, as fractions.

    Returns:
        Pixels, (3, size, size), uint8; width and height of the upright original.

    Raises:
        BadImageError: If the file is empty, truncated, no image or of a mode
            whose range is not known (32-bit, floating point), or needs a package
            that is not installed.
    """
    # A JPEG may be decoded at 1/2, 1/4 or 1/8; twice the final size loses nothing.
    image, full = _open(path, draft=math.ceil(2 * size / (box[1] - box[0])))
    square = _rgb(image).resize(
        (size, size), Image.Resampling.BICUBIC, _crop(image, box)
    )
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), full


def read_mask(
    path: Path,
    size: int,
    box: tuple[float, float] = (0.0, 1.0),
    *,
    full: tuple[int, int],
    heat_map: bool = False,
) -> np.ndarray:
    """Decode a mask to a square of booleans, true on the lesion.

    A mask is cut before it is resized, at 128 of 255 (masks saved as JPEG hold
    values around 0 and 255), or at half of 65,535, or between 0 and 1 where it
    holds nothing else. Resizing takes the nearest pixel.

    Args:
        path: Mask file.
        size: Side of the square, pixels.
        box: As for the image.
        full: Width and height that the mask has to have, those of its image.
        heat_map: Cut a grey heat map at Otsu's threshold instead.

    Returns:
        Mask, (size, size), bool.

    Raises:
        BadImageError: If it cannot be read, has another size than its image, is a
            DICOM file (which has greys, not two values), or holds values but none
            that reaches the threshold.
    """
    if dicom.is_dicom(path):
        raise BadImageError("the mask is a DICOM file; save it as PNG")
    image, found = _open(path)
    if found != full:
        raise BadImageError(
            f"the mask has {found[0]} x {found[1]} pixels, its image "
            f"{full[0]} x {full[1]}"
        )
    grey = _grey(image)
    if heat_map:
        grey = grey // 257 if grey.dtype == np.uint16 else grey
        lesion = grey > otsu(grey)
    elif grey.max(initial=0) <= 1:
        lesion = grey > 0
    else:
        middle = 32_768 if grey.dtype == np.uint16 else 128
        lesion = grey >= middle
        if not lesion.any():
            raise BadImageError(
                f"the mask's largest value is {grey.max()}, but lesions are expected "
                f"at {middle} or above"
            )
    square = Image.fromarray(lesion.astype(np.uint8)).resize(
        (size, size), Image.Resampling.NEAREST, _crop(image, box)
    )
    return np.asarray(square) > 0


def otsu(grey: np.ndarray) -> int:
    """Otsu's threshold t of 8-bit values: it divides them into <= t and > t.

    It maximises the variance between the two classes (Otsu, 1979, Eq. 18).

    Raises:
        BadImageError: If all values are equal.
    """
    share = np.bincount(grey.ravel(), minlength=256) / grey.size  # (256,)
    below = share.cumsum()
    moment = (share * np.arange(256)).cumsum()
    divides = (below > 0) & (below < 1)
    if grey.min() == grey.max():
        raise BadImageError("the heat map is constant, so nothing stands out in it")
    between = np.zeros(256)
    np.divide(
        (moment[-1] * below - moment) ** 2,
        below * (1 - below),
        out=between,
        where=divides,
    )
    return int(between.argmax())


def mode(path: Path) -> str:
    """Mode of an image, as Pillow names it, from its header alone.

    Raises:
        BadImageError: As `read_image`.
    """
    if dicom.is_dicom(path):
        return dicom.mode(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.mode
    except Exception as error:
        raise _reason(path, error) from error


def _open(path: Path, draft: int = 0) -> tuple[Image.Image, tuple[int, int]]:
    """Load a file, upright; also its original width and height.

    Args:
        path: Image file.
        draft: Side in pixels that a JPEG has to keep; 0 keeps it whole.
    """
    if dicom.is_dicom(path):
        image = dicom.read(path)
        return image, image.size
    # Through a file object: given a name, Pillow (13.0) maps an uncompressed TIFF
    # into memory and scrambles it if it is to be turned by 90 degrees.
    try:
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            full = _upright(image)
            if draft and image.format == "JPEG":
                image.draft(None, (draft, draft))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image, full if image.format == "JPEG" else image.size
    except MemoryError:
        raise
    except Exception as error:  # a broken file may raise anything in its plugin
        raise _reason(path, error) from error


def _reason(path: Path, error: Exception) -> BadImageError:
    if isinstance(error, OSError) and error.strerror:
        return UnreadableError(error.strerror)
    if path.stat().st_size == 0:
        return BadImageError("empty file")
    if isinstance(error, UnidentifiedImageError):
        if path.suffix.lower() == dicom.ENDING:
            return BadImageError("not a DICOM file: no DICM after 128 bytes")
        return BadImageError("not an image")
    if isinstance(error, (zlib.error, SyntaxError, EOFError)):
        return BadImageError(f"damaged: {error}")
    return BadImageError(str(error) or type(error).__name__)


def _upright(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _crop(image: Image.Image, box: tuple[float, float]) -> tuple[float, ...]:
    low, high = box
    return (
        low * image.width,
        low * image.height,
        high * image.width,
        high * image.height,
    )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "1" or image.mode == "L":
        return image.convert("RGB")
    if _is_deep(image):
        grey = np.asarray(image).astype(np.uint32)  # 0 to 65,535
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("CMYK", "YCbCr"):
        return image.convert("RGB")
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa", "RGBX"):
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("RGB")
    raise BadImageError(
        f"mode {image.mode}: save it with 8 or 16 bits a channel, grey or RGB"
    )


def _grey(image: Image.Image) -> np.ndarray:
    """Grey values, (H, W), uint8, or uint16 where the file has 16 bits."""
    if _is_deep(image):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    return np.asarray(_rgb(image).convert("L"))


def _is_deep(image: Image.Image) -> bool:
    """Whether values are 16-bit greys; Pillow also calls such PNG and PGM "I"."""
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return True
    return image.mode in _SIXTEEN_BIT
