"""UCSD Ped1 and Ped2 with video labels, thesis Sections 8.4.1 and 8.4.6."""

import json
import re
from pathlib import Path

from thesislib.datasets.base import NORMAL
from thesislib.datasets.filelist import ENDINGS, entries
from thesislib.datasets.videos import names
from thesislib.datasets.videos.base import (
    Video,
    VideoListing,
    VideoOptions,
    VideoReader,
    counts,
)
from thesislib.errors import InputError

DRAWS = Path(__file__).with_name("ucsd_draws.json")
"""Ten draws of training clips of each set.

The thesis draws 6 abnormal and 4 normal clips at random ten times and does not publish
them. Draw d here takes the first 6 of a permutation of the test clips, then the first 4
of one of the training clips, both from `numpy.random.default_rng(100 + d)`.
"""


class UcsdPed2(VideoReader):
    """A walkway with pedestrians, seen from afar; bicycles and carts are abnormal.

    Source: svcl.ucsd.edu/projects/anomaly. Published by Section 8.4.6: 4 normal and 6
    abnormal clips drawn for training, 12 and 6 left for testing, mean of ten draws. The
    official training clips are the normal, the official test clips the abnormal ones.

    Expected: `UCSD_Anomaly_Dataset.v1p2/UCSDped2/` with `Train/TrainNNN/` and
    `Test/TestNNN/`, frames in any picture format, and `Test/UCSDped2.m`, the ranges of
    abnormal frames, one line a clip, counted from 1, last frame included.
    """

    name = "ucsdped2"
    title = "UCSD Ped2"
    number = 2
    url = "http://www.svcl.ucsd.edu/projects/anomaly/dataset.html"
    licence = "none stated; open download, asks to cite Mahadevan et al. (2010)"
    fetch = "UCSD_Anomaly_Dataset.tar.gz from svcl.ucsd.edu/projects/anomaly"
    folders = ("UCSD_Anomaly_Dataset.v1p2", "UCSD_Anomaly_Dataset")
    layout = "UCSDped2/Train, UCSDped2/Test and UCSDped2/Test/UCSDped2.m"
    published = counts(4, 6, 12, 6)
    frames_per_second = 10.0

    def locate(self, folder: Path) -> Path | None:
        own = f"UCSDped{self.number}"
        for place in (folder, folder / own, *(folder / f / own for f in self.folders)):
            there = (place / "Test" / f"{own}.m").is_file()
            if there and (place / "Train").is_dir():
                return place
        return None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        train, test = _clips(folder / "Train"), _clips(folder / "Test")
        ranges = _ranges(folder / "Test" / f"UCSDped{self.number}.m")
        if len(ranges) != len(test):
            raise InputError(
                f"UCSDped{self.number}.m has labels of {len(ranges)} clips, but "
                f"{folder / 'Test'} holds {len(test)}."
            )
        events = dict(zip(test, ranges, strict=True))
        draws = tuple(
            frozenset(draw)
            for draw in json.loads(DRAWS.read_text(encoding="utf-8"))[self.name]
        )
        for name in sorted(draws[0] | draws[-1]):
            if name not in train and name not in test:
                raise InputError(
                    f"{folder} holds no clip {name}, which a recorded draw trains on."
                )
        videos = tuple(
            Video(
                id=name,
                split="train" if name in draws[0] else "test",
                label=int(name in test),
                kind="abnormal" if name in test else NORMAL,
                form="frames",
                files=frames,
                events=events.get(name, ()),
                num_frames=len(frames),
                cut=False,
            )
            for name, frames in (train | test).items()
        )
        rule = f"recorded draws 0 to {len(draws) - 1} of 6 abnormal and 4 normal clips"
        return VideoListing(videos=videos, rule=rule, draws=draws)


class UcsdPed1(UcsdPed2):
    """As Ped2, seen at an angle; 34 training and 36 test clips of 200 frames."""

    name = "ucsdped1"
    title = "UCSD Ped1"
    number = 1
    layout = "UCSDped1/Train, UCSDped1/Test and UCSDped1/Test/UCSDped1.m"
    published = counts(4, 6, 30, 30)


def _clips(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Frames of each clip; folders of masks are passed over."""
    found = {}
    for clip in entries(folder):
        if clip.is_dir() and re.fullmatch(r"(Train|Test)\d{3}", clip.name):
            frames = [p for p in entries(clip) if p.suffix.lower() in ENDINGS]
            if not frames:
                raise InputError(f"Video {clip.name} has no frames: {clip} is empty.")
            found[clip.name] = tuple(sorted(frames, key=names.natural))
    if not found:
        raise InputError(f"{folder} holds no clips, such as {folder.name}001.")
    return found


def _ranges(path: Path) -> list[tuple[tuple[int, int], ...]]:
    """Abnormal frames of each test clip as the `.m` file lists them.

    Raises:
        InputError: If a range cannot be read.
    """
    found = []
    for line in names.lines(path):
        match = re.search(r"^[^%]*gt_frame\s*=\s*\[([^\]]*)\]", line)
        if match is None:
            continue
        parts = re.findall(r"(\d+)(?:\s*:\s*(\d+))?", match[1])
        if re.sub(r"[\d\s:,;]", "", match[1]):
            raise InputError(f"{path.name} has the line {line.strip()!r}, no ranges.")
        found.append(tuple((int(a) - 1, int(b or a)) for a, b in parts))
    return found
