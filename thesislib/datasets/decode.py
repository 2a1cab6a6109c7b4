"""One image or mask file to one square array, whatever its mode."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from thesislib.datasets import dicom
from thesislib.datasets.bad_image import BadImageError, UnreadableError
from thesislib.datasets.facts import Facts
from thesislib.datasets.greys import SIXTEEN_BITS, Greys

__all__ = ["BadImageError", "examine", "otsu", "read_image", "read_mask"]

VERSION = 2
"""Raised whenever the same file would decode to other values."""

_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 exchange width and height
_SIXTEEN_BIT = {"I;16", "I;16L", "I;16B", "I;16N"}
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0: two tags and a value
_FLAT = 16  # grey levels of a mask are this part of its largest value apart, or more


def examine(path: Path) -> Facts:
    """Facts of an image, from its header and, of more than 8 bits, its values.

    Raises:
        BadImageError: As `read_image`.
    """
    if dicom.is_dicom(path):
        mode, values = dicom.examine(path)
        facts = Facts(mode, "DICOM", (0, 0))
        if values is None:
            return facts
        whole = bool((values == np.rint(values)).all())
        ends = {"low": float(values.min()), "high": float(values.max())}
        return facts._replace(**ends, whole=whole)
    try:
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            facts = Facts(image.mode, image.format, image.size, _frames(image))
            stored = "".join(str(tile[3]) for tile in image.tile)  # ('RGB;16B', ...)
            codecs = {tile[0] for tile in image.tile}
            declared = image.tag_v2.get(_BITS, ()) if image.format == "TIFF" else ()
            if image.mode in ("I", "F") or _is_deep(image):
                values = _finite(np.asarray(image))
                low, high = float(values.min()), float(values.max())
                bits = declared[0] if declared and declared[0] not in (16, 32) else 0
                if image.format == "PPM" and codecs != {"raw"}:
                    bits = 16  # Pillow spread what the file declares over 16 bits
                whole = bool(image.mode != "F")
                return facts._replace(low=low, high=high, whole=whole, bits=bits)
            if ";16" in stored:
                peak = max(high for _, high in _ends(image))
                return facts._replace(colour_peak=peak)
            return facts
    except (MemoryError, BadImageError):
        raise
    except Exception as error:  # a broken file may raise anything in its plugin
        raise _reason(path, error) from error


def _frames(image: Image.Image) -> int:
    """Pages or frames of an open file; 1 where those after the first are damaged."""
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # only the first is read, and it may be whole
        return 1
    finally:
        image.seek(0)


def read_image(
    path: Path,
    size: int,
    box: tuple[float, float] = (0.0, 1.0),
    greys: Greys | None = None,
    hasher: Any = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a file to an RGB square.

    Grey is repeated over the channels, values of more than 8 bits become 0 to 255 as
    `greys` says, palettes and CMYK are converted, transparent pixels become black, EXIF
    rotation is applied, and of several frames the first is taken. Greys whose file says
    that the smallest value is white (TIFF) are turned round. DICOM files are turned
    into 8-bit greys or RGB as `dicom.read` says. The resize is bicubic with
    antialiasing and does not keep the aspect ratio.

    Args:
        path: Image file.
        size: Side of the square, pixels.
        box: Part of each side that is kept before resizing, as fractions.
        greys: Ends of greys of more than 8 bits; None takes the range of 16 bits, and
            knows none of floats and of 32 bits.
        hasher: Of `hashlib`; takes the pixels before they are resized. A JPEG may
            then be at a fraction of its size.

    Returns:
        Pixels, (3, size, size), uint8; width and height of the upright original.

    Raises:
        BadImageError: If the file is empty, truncated, no image or of a mode
            whose range is not known, or needs a package that is not installed.
    """
    # A JPEG may be decoded at 1/2, 1/4 or 1/8; twice the final size loses nothing.
    draft = math.ceil(2 * size / (box[1] - box[0]))
    image, full = _open(path, draft, greys)
    rgb = _rgb(image, greys)
    if hasher:
        _hash(rgb, full, hasher)
    square = rgb.resize((size, size), Image.Resampling.BICUBIC, _crop(image, box))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), full


def hash_whole(path: Path, greys: Greys | None, hasher: Any) -> None:
    """Give the pixels of a whole image to a `hasher`, as `read_image` does.

    Raises:
        BadImageError: As `read_image`.
    """
    image, full = _open(path, greys=greys)
    _hash(_rgb(image, greys), full, hasher)


def _hash(rgb: Image.Image, full: tuple[int, int], hasher: Any) -> None:
    hasher.update(f"{full} {rgb.size}".encode())
    hasher.update(np.asarray(rgb).data)


def read_mask(
    path: Path,
    size: int,
    box: tuple[float, float] = (0.0, 1.0),
    *,
    full: tuple[int, int],
    heat_map: bool = False,
    lesion: tuple[int, ...] = (),
    seen: set[int] | None = None,
) -> np.ndarray:
    """Decode a mask to a square of booleans, true on the lesion.

    A mask is cut before it is resized, at 128 of 255 (masks saved as JPEG hold
    values around 0 and 255), or at half of 65,535, or between 0 and 1 where it
    holds nothing else. Resizing takes the nearest pixel. Where the grey levels of
    lesions are given, a pixel is of the nearest level, and lesion if that is one.

    Args:
        path: Mask file.
        size: Side of the square, pixels.
        box: As for the image.
        full: Width and height that the mask has to have, those of its image.
        heat_map: Cut a grey heat map at Otsu's threshold instead.
        lesion: Grey levels that are lesions, the others are not; () cuts.
        seen: Takes the grey levels of the mask, see `levels`; none of a heat map.

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
    if seen is not None and not heat_map:
        seen.update(levels(grey))
    if heat_map:
        grey = grey // 257 if grey.dtype == np.uint16 else grey
        inside = grey > otsu(grey)
    elif lesion:
        inside = _nearest(grey, lesion)
    elif grey.max(initial=0) <= 1:
        inside = grey > 0
    else:
        middle = 32_768 if grey.dtype == np.uint16 else 128
        inside = grey >= middle
        if not inside.any():
            raise BadImageError(
                f"the mask's largest value is {grey.max()}, but lesions are expected "
                f"at {middle} or above, unless lesion_levels names theirs"
            )
    square = Image.fromarray(inside.astype(np.uint8)).resize(
        (size, size), Image.Resampling.NEAREST, _crop(image, box)
    )
    return np.asarray(square) > 0


def levels(grey: np.ndarray) -> list[int]:
    """Well separated grey levels of a mask, ascending.

    Values less than a sixteenth of the largest apart are one level (JPEG), the most
    frequent of them. In masks of more than two values, those of flat places count
    (3 x 3 pixels of one level), so that soft outlines are none.

    Args:
        grey: (H, W), uint8 or uint16.
    """
    times = np.bincount(grey.ravel())
    (values,) = times.nonzero()
    if len(values) > 2:
        step = apart(int(values[-1]))
        low, high = _around(grey, np.minimum), _around(grey, np.maximum)
        times = np.bincount(grey[high - low < max(1, step // 2)], minlength=1)
        (values,) = times.nonzero()
    return separated({int(value): int(times[value]) for value in values})


def _around(grey: np.ndarray, of_two: np.ufunc) -> np.ndarray:
    """Smallest or largest of the 3 x 3 values around each, (H, W)."""
    wide = np.pad(grey, 1, mode="edge")
    rows = of_two(of_two(wide[:-2], wide[1:-1]), wide[2:])  # (H, W + 2)
    return of_two(of_two(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def separated(times: dict[int, int]) -> list[int]:
    """The most frequent of values that are not `apart`, ascending.

    Args:
        times: How often a value is found.
    """
    groups: list[list[int]] = []
    step = apart(max(times, default=0))
    for value in sorted(times):
        if groups and value - groups[-1][-1] < step:
            groups[-1].append(value)
        else:
            groups.append([value])
    return [max(group, key=times.__getitem__) for group in groups]


def apart(largest: int) -> int:
    """How far two grey levels of masks have to be apart; 1 for numbers of classes."""
    return max(1, largest // _FLAT)


def _nearest(grey: np.ndarray, lesion: tuple[int, ...]) -> np.ndarray:
    """Where the nearest of a mask's own and the given levels is one that is given."""
    step = apart(int(grey.max(initial=0)))
    own = [v for v in levels(grey) if all(abs(v - given) >= step for given in lesion)]
    every = np.array(sorted({*own, *lesion}))
    distance = np.abs(np.arange(int(grey.max()) + 1)[:, None] - every)  # (value, level)
    return np.isin(every[distance.argmin(axis=1)], lesion)[grey]


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


def _open(
    path: Path, draft: int = 0, greys: Greys | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Load a file, upright; also its original width and height.

    Args:
        path: Image file.
        draft: Side in pixels that a JPEG has to keep; 0 keeps it whole.
        greys: Ends of greys of DICOM files that say nothing of theirs.
    """
    if dicom.is_dicom(path):
        image = dicom.read(path, (greys.low, greys.high) if greys else None)
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


def _rgb(image: Image.Image, greys: Greys | None = None) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "1" or image.mode == "L":
        return image.convert("RGB")
    if greys is None and _is_deep(image):
        greys = SIXTEEN_BITS
    if greys is not None and (image.mode in ("I", "F") or _is_deep(image)):
        tags = getattr(image, "tag_v2", {})
        inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        values = greys.to_bytes(_finite(np.asarray(image)), inverted)
        return Image.fromarray(values).convert("RGB")
    if image.mode in ("CMYK", "YCbCr"):
        return image.convert("RGB")
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa", "RGBX"):
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, rgba).convert("RGB")
    raise BadImageError(
        f"mode {image.mode}: save it with 8 or 16 bits a channel, grey or RGB"
    )


def _ends(image: Image.Image) -> list[tuple[int, int]]:
    """Smallest and largest value of each colour, without transparency."""
    ends = image.getextrema()
    bands = image.getbands()
    ends = ends if len(bands) > 1 else (ends,)
    return [pair for pair, band in zip(ends, bands, strict=True) if band != "A"]


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise BadImageError("holds values that are no finite numbers")
    return values


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
