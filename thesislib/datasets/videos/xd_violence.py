"""XD-Violence with video labels, thesis Section 8.4.1."""

import re
from pathlib import Path

from thesislib.datasets.base import NORMAL
from thesislib.datasets.videos import names
from thesislib.datasets.videos.base import (
    Video,
    VideoListing,
    VideoOptions,
    VideoReader,
    counts,
)
from thesislib.errors import InputError

CLASSES = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}


class XdViolence(VideoReader):
    """Films and videos from the web with six classes of violence (Wu et al., 2020).

    Source: roc-ng.github.io/XD-Violence. Published: 2,049 normal and 1,905 violent
    videos for training, 300 and 500 for testing.

    Expected, at any depth: `RGB/` and `RGBTest/`, five files of centre and corner crops
    a video, `<video>__0.npy` to `<video>__4.npy`, each (T, 1024); and
    `annotations.txt`, the events of the violent test videos. Names hold `#`, `=` and
    dots, and the label: `_label_A` is normal, else its first class counts. Audio and
    flow features are not read.

    Ground truth by the official rule: an event's last frame is left out, and frames
    that fill no snippet are dropped.
    """

    name = "xdviolence"
    title = "XD-Violence"
    url = "https://roc-ng.github.io/XD-Violence/"
    licence = "for research; see the page"
    fetch = "its I3D features (RGB, training and test) and annotations.txt"
    layout = "RGB/ and RGBTest/ with five .npy files a video, and annotations.txt"
    folders = ("XD-Violence", "xd_violence")
    published = counts(2_049, 1_905, 300, 500)
    frames_per_second = 24.0

    def locate(self, folder: Path) -> Path | None:
        found = next(folder.rglob("*_label_*__0.npy"), None)
        annotated = (path for path in folder.rglob("annotations.txt") if _is_own(path))
        return folder if found or next(annotated, None) else None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        events = self._events(names.places(folder, options.annotations))
        videos = []
        for part, split in (("RGB", "train"), ("RGBTest", "test")):
            top = next((p for p in sorted(folder.rglob(part)) if p.is_dir()), None)
            files = sorted(top.glob("*.npy")) if top else []
            for name, crops in names.of_crops(files).items():
                videos.append(_video(name, split, crops, events))
        there = {video.id for video in videos if video.split == "test"}
        if trained := [v.id for v in videos if v.split == "train" and v.id in events]:
            raise InputError(
                f"annotations.txt has events of {trained[0]}, which is for training."
            )
        videos += [_video(name, "test", (), events) for name in events.keys() - there]
        order = {"train": 0, "test": 1}
        videos.sort(key=lambda video: (order[video.split], video.id))
        return VideoListing(videos=tuple(videos), rule="folders RGB and RGBTest")

    def _events(self, places: list[Path]) -> dict[str, tuple[tuple[int, int], ...]]:
        found = (names.find_file(place, "annotations.txt") for place in places)
        path = next(filter(None, found), None)
        if path is None:
            raise InputError(
                f"{places[0]} holds no annotations.txt, so that the frames of test "
                "videos have no labels."
            )
        events = {}
        for line in names.lines(path):
            name, *numbers = line.split()
            if len(numbers) % 2 or not numbers or not all(map(str.isdigit, numbers)):
                raise InputError(
                    f"{path.name} has the line {line.strip()!r}; expected a name and "
                    "pairs of frame numbers."
                )
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            events[names.base_name(name)] = tuple((int(s), int(e)) for s, e in pairs)
        return events


def _video(
    name: str, split: str, crops: tuple[Path, ...], events: dict[str, tuple]
) -> Video:
    match = re.search(r"_label_([A-Z0-9]+)", name)
    if match is None:
        raise InputError(f"Video {name} has no label in its name, such as _label_A.")
    abnormal = match[1] != "A"
    if split == "test" and abnormal != (name in events):
        word = "violent, but has no events" if abnormal else "normal, but has events"
        raise InputError(f"Video {name} is {word} in annotations.txt.")
    return Video(
        id=name,
        split=split,
        label=int(abnormal),
        kind=CLASSES.get(match[1], "violence") if abnormal else NORMAL,
        form="crops",
        files=crops,
        events=events.get(name, ()),
    )


def _is_own(path: Path) -> bool:
    """Whether an annotations.txt is of this dataset."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return "_label_" in file.readline()
    except (OSError, UnicodeDecodeError):
        return False
