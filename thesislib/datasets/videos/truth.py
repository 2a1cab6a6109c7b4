"""Labels of the frames of test videos, and whether they fit the snippets.

A wrong order or a wrong length gives a plausible and wrong AUC, so every length is
checked, and the sentence names the video.
"""

from collections.abc import Sequence

import numpy as np

from thesislib.datasets.videos import arrays
from thesislib.datasets.videos.base import Video
from thesislib.errors import InputError


def of_video(video: Video, num_snippets: int, snippet: int, stride: int) -> np.ndarray:
    """Frame labels of a test video, (F,), uint8.

    A mask is padded to whole snippets with its last value, as the authors pad those of
    ShanghaiTech; the frames of events are numbered from 0.

    Args:
        video: A test video.
        num_snippets: T.
        snippet: Frames a snippet.
        stride: Frames from one snippet to the next.

    Raises:
        InputError: If labels and snippets differ in length, or an event lies beyond
            the last frame.
    """
    if video.mask is not None:
        labels = arrays.read_vector(video.mask, f"video {video.id}")
        length = num_snippets * snippet
        if not length - snippet < len(labels) <= length:
            raise InputError(
                f"Video {video.id} has {num_snippets} snippets of {snippet} frames, "
                f"but its mask {video.mask.name} has {len(labels)} frames, which are "
                f"{-(-len(labels) // snippet)} snippets."
            )
        return padded(labels, length)
    if video.num_frames is not None:
        check_length(video.id, num_snippets, video.num_frames, snippet, stride)
        length = video.num_frames
    else:
        length = (num_snippets - 1) * stride + snippet
    labels = np.zeros(length, dtype=np.uint8)
    for start, stop in video.events:
        check_event(video, start, stop, length, snippet)
        labels[start:stop] = 1
    return labels


def of_vector(
    vector: np.ndarray,
    videos: Sequence[Video],
    num_snippets: Sequence[int],
    snippet: int,
) -> list[np.ndarray]:
    """Frame labels cut from one vector of all test videos in order.

    Raises:
        InputError: If the vector has another length, or a normal video gets an
            abnormal frame, which shows another order.
    """
    ends = np.cumsum(num_snippets) * snippet
    if len(vector) != ends[-1]:
        raise InputError(
            f"The ground truth has {len(vector):,} frames, but the test videos from "
            f"{videos[0].id} to {videos[-1].id} have {ends[-1]:,} ({snippet} x "
            f"{sum(num_snippets):,} snippets)."
        )
    parts = np.split(vector, ends[:-1])
    for video, part in zip(videos, parts, strict=True):
        if not video.label and part.any():
            raise InputError(
                f"The ground truth calls frames of the normal video {video.id} "
                "abnormal, so its order is not that of the test videos."
            )
    return parts


def padded(labels: np.ndarray, length: int) -> np.ndarray:
    """Labels with the last one repeated up to a length."""
    return np.pad(labels, (0, max(0, length - len(labels))), mode="edge")[:length]


def check_length(
    name: str, num_snippets: int, num_frames: int, snippet: int, stride: int
) -> None:
    """Refuse labels that are too many or too few for the snippets.

    The last snippet may be incomplete, or incomplete ones may have been dropped.
    """
    least = (num_snippets - 1) * stride
    if not max(1, least) <= num_frames < least + snippet + stride:
        raise InputError(
            f"Video {name} has {num_snippets} snippets of {snippet} frames every "
            f"{stride}, but labels of {num_frames} frames."
        )


def check_event(
    video: Video, start: int, stop: int, num_frames: int, snippet: int
) -> None:
    """Refuse an event that is none, or that lies beyond the video's end.

    Official lists count frames that feature extractors drop at the end, so that their
    events are cut; one that starts more than a snippet beyond the end is an error.
    """
    if start < 0 or stop <= start:
        raise InputError(
            f"Video {video.id} has an event from frame {start} to {stop - 1}, which is "
            "no range of frames."
        )
    limit = num_frames + snippet if video.cut else num_frames
    if (start if video.cut else stop - 1) >= limit:
        raise InputError(
            f"Video {video.id} has an event from frame {start} to {stop - 1}, but only "
            f"{num_frames} frames."
        )
