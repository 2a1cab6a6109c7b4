"""Anyone's videos, as features, frames or video files."""

import json
from collections.abc import Iterator
from pathlib import Path

from thesislib.datasets.base import NORMAL
from thesislib.datasets.filelist import ENDINGS, entries, read_rows, subfolders
from thesislib.datasets.videos import names
from thesislib.datasets.videos.base import (
    Video,
    VideoListing,
    VideoOptions,
    VideoReader,
)
from thesislib.errors import InputError

FEATURES = "features.json"  # how the features of a folder were made
_EVENTS = "events.csv"


class VideoFolder(VideoReader):
    """Videos of one's own.

    Expected: `train/normal/`, `train/abnormal/`, `test/normal/` and `test/abnormal/`
    (or `test/<class>/` for several classes). A video is a `.npy` file of features,
    (T, D) or (T, C, D), a folder of frames, or a video file; all videos are of one
    sort. Optional is `events.csv` with the columns video, start and end, one line an
    event of a test video: its first frame and its last, counted from 0, last included.
    Without it every frame of an abnormal test video counts as abnormal. Features made
    by `thesislib data features` say in `features.json` how long a snippet is.

    Licence and counts are the owner's affair.
    """

    name = "video-folder"
    title = "your own videos"
    has_phantom = False
    url = ""
    licence = "as the owner says"
    fetch = "nothing: these are your own videos"
    layout = "train/normal, train/abnormal, test/normal and test/abnormal"
    folders = ()
    published = None
    frames_per_second = 0.0  # as `VideoOptions` says

    def steps(self, folder: Path, options: VideoOptions) -> tuple[int, int]:
        """As the extraction wrote it down, else `snippet` of the options."""
        about = folder / FEATURES
        if not about.is_file():
            return options.snippet, options.snippet
        try:
            said = json.loads(about.read_text(encoding="utf-8-sig"))
            snippet, stride = said["snippet"], said["stride"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{about} does not say how many frames a snippet has; extract the "
                "features again, or remove it and give `snippet`."
            ) from error
        return snippet, stride

    def locate(self, folder: Path) -> Path | None:
        parts = (folder / "train/normal", folder / "train/abnormal", folder / "test")
        return folder if all(part.is_dir() for part in parts) else None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        given = (folder / _EVENTS).is_file()
        events = _read_events(folder / _EVENTS) if given else {}
        videos = []
        for split in ("train", "test"):
            for kind in subfolders(folder / split):
                label = int(kind.name.lower() != NORMAL)
                for name, form, files in _videos(kind):
                    own = events.get(name, ()) if split == "test" else ()
                    if own and not label:
                        raise InputError(
                            f"{_EVENTS} has events of {name}, which lies among the "
                            "normal videos."
                        )
                    frames = len(files) if form == "frames" and len(files) > 1 else None
                    videos.append(
                        Video(
                            id=name,
                            split=split,
                            label=label,
                            kind=kind.name if label else NORMAL,
                            form=form,
                            files=files,
                            events=own if own or given else ((0, 1 << 40),) * label,
                            num_frames=frames,
                            cut=not given,
                        )
                    )
        known = {video.id for video in videos if video.split == "test"}
        if unknown := [name for name in events if name not in known]:
            raise InputError(
                f"{_EVENTS} has events of {unknown[0]}, which is no video of test/."
            )
        tested = [v for v in videos if v.split == "test" and v.label]
        if given and (bare := [v.id for v in tested if not v.events]):
            raise InputError(
                f"Video {bare[0]} lies among the abnormal test videos, but {_EVENTS} "
                "has no event of it."
            )
        note = "" if given else f"no {_EVENTS}: all frames of abnormal videos count"
        return VideoListing(
            videos=tuple(videos),
            rule="folders train and test",
            notes=(note,) if note else (),
        )


def _videos(folder: Path) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
    """Name, form and files of each video of a class folder."""
    found = entries(folder)
    if not found:
        raise InputError(f"The folder {folder} holds no videos; it needs at least one.")
    for path in found:
        if path.is_dir():
            frames = [p for p in entries(path) if p.suffix.lower() in ENDINGS]
            if not frames:
                raise InputError(f"Video {path.name} has no frames: {path} is empty.")
            yield path.name, "frames", tuple(sorted(frames, key=names.natural))
        elif path.suffix == ".npy":
            yield names.base_name(path.name), "features", (path,)
        elif path.suffix.lower() in names.VIDEO_FILES:
            yield names.base_name(path.name), "frames", (path,)
        else:
            raise InputError(
                f"{path} is no video: expected a .npy file, a folder of frames, or a "
                f"file that ends in {', '.join(names.VIDEO_FILES)}."
            )


def _read_events(path: Path) -> dict[str, tuple[tuple[int, int], ...]]:
    """Events by video, first frame and frame after the last.

    Raises:
        InputError: If the file cannot be read or a frame is no whole number.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for line, row in read_rows(path, "list of events", ("video", "start", "end")):
        try:
            start, end = int(row["start"]), int(row["end"])
        except ValueError as error:
            raise InputError(
                f"Line {line} of {path.name} has start {row['start']!r} and end "
                f"{row['end']!r}; both must be whole numbers of frames."
            ) from error
        found.setdefault(names.base_name(row["video"]), []).append((start, end + 1))
    return {name: tuple(events) for name, events in found.items()}
