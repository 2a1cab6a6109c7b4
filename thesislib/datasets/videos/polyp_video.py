"""Polyp videos with video labels, thesis Section 9.3.1."""

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


class PolypVideo(VideoReader):
    """Colonoscopies of Hyper-Kvasir and LDPolypVideo as the authors put them together.

    Source: github.com/tianyu0207/weakly-polyp; the I3D features are the split, since
    the raw videos that circulate differ from them. Published: 61 normal and 102
    abnormal videos for training, 30 and 60 for testing.

    Expected: `train_set/colon_i3d_feature_train_{normal,abnormal}/`,
    `test_set/colon_i3d_feature_test_{normal,abnormal}/`, one `.npy` a video,
    (T, 1, 2048), and `gt-colon.npy`, the labels of the frames of all test videos, in
    the order of sorted names, normal videos first. There is no other list, so the
    length of the labels is checked, and that normal videos have none.
    """

    name = "polypvideo"
    title = "the polyp videos of chapter 9"
    url = "https://github.com/tianyu0207/weakly-polyp"
    licence = "Hyper-Kvasir's part CC BY 4.0; LDPolypVideo states none"
    fetch = "what github.com/tianyu0207/weakly-polyp links to, and its gt-colon.npy"
    layout = "train_set/, test_set/ and gt-colon.npy"
    folders = ("colon_video_features", "polypvideo")
    published = counts(61, 102, 30, 60)
    frames_per_second = 25.0

    def locate(self, folder: Path) -> Path | None:
        for place in (folder, folder / "colon_video_features"):
            if all((place / f"{split}_set").is_dir() for split in ("train", "test")):
                return place
        return None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        places = [*names.places(folder, options.annotations), folder.parent]
        found = (place / "gt-colon.npy" for place in places)
        vector = next((path for path in found if path.is_file()), None)
        if vector is None:
            raise InputError(
                f"{folder} holds no gt-colon.npy, nor does the folder around it, so "
                "that the frames of test videos have no labels."
            )
        videos = []
        for split in ("train", "test"):
            for label, word in enumerate(("normal", "abnormal")):
                part = folder / f"{split}_set" / f"colon_i3d_feature_{split}_{word}"
                videos += [
                    Video(
                        id=f"{split}_{word}/{name}",
                        split=split,
                        label=label,
                        kind="polyp" if label else NORMAL,
                        files=(path,),
                    )
                    for name, path in names.arrays_in(part).items()
                ]
        return VideoListing(
            videos=tuple(videos), rule="the authors' four folders", vector=vector
        )
