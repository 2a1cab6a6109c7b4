"""Frames of a video as a stream: from pictures in order, or from a video file."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from thesislib.datasets.videos.names import VIDEO_FILES
from thesislib.errors import InputError


def read(files: Sequence[Path], mode: str = "RGB") -> Iterator[np.ndarray]:
    """Frames one after the other, so that a video of any length fits.

    Args:
        files: Pictures in order, or one video file.
        mode: "RGB" gives (H, W, 3), "L" grey (H, W).

    Yields:
        uint8 arrays.

    Raises:
        InputError: If a file cannot be decoded, frames differ in size, or there is
            none; one sentence that names the file.
    """
    one_file = len(files) == 1 and files[0].suffix.lower() in VIDEO_FILES
    frames = _decoded(files[0], mode) if one_file else _pictures(files, mode)
    shape = None
    for frame in frames:
        if shape is not None and frame.shape != shape:
            raise InputError(
                f"A frame of {files[0].parent.name} has {frame.shape[1]} x "
                f"{frame.shape[0]} px, but the first has {shape[1]} x {shape[0]}."
            )
        shape = frame.shape
        yield frame
    if shape is None:
        named = files[0].name if files else "An empty list"
        raise InputError(f"{named} holds no frames.")


def windows(
    items: Iterable[np.ndarray], length: int, stride: int
) -> Iterator[np.ndarray]:
    """Snippets of a stream, (length, ...), one every `stride` items.

    Items that fill no whole snippet at the end are left out. A stream shorter than one
    snippet gives one, with its last item repeated.
    """
    kept: deque[np.ndarray] = deque(maxlen=length)
    number = -1
    for number, item in enumerate(items):
        kept.append(item)
        if number >= length - 1 and (number - length + 1) % stride == 0:
            yield np.stack(kept)
    if 0 <= number < length - 1:
        yield np.stack([*kept, *[kept[-1]] * (length - len(kept))])


def _pictures(files: Sequence[Path], mode: str) -> Iterator[np.ndarray]:
    from PIL import Image, UnidentifiedImageError

    for path in files:
        try:
            with Image.open(path) as picture:
                yield np.asarray(picture.convert(mode))
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise InputError(
                f"The frame {path.parent.name}/{path.name} cannot be read: {error}."
            ) from error


def _decoded(path: Path, mode: str) -> Iterator[np.ndarray]:
    try:
        import av
    except ImportError as error:
        raise InputError(
            f"{path.name} is a video file, which needs the extra `video` (pip install "
            "-e '.[video]'); folders of frames need none."
        ) from error
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="gray" if mode == "L" else "rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{path.name} cannot be decoded: {error}.") from error
