"""ShanghaiTech Campus with video labels, thesis Section 8.4.1."""

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

_MASKS = "test_frame_mask"
_TRAIN = ("shanghai-i3d-train-10crop.list", "SH_Train.txt")
_TEST = ("shanghai-i3d-test-10crop.list", "SH_Test.txt")


class ShanghaiTech(VideoReader):
    """Thirteen scenes of a campus, weakly supervised split of Zhong et al. (2019).

    Source: svip-lab.github.io/dataset/campus_dataset.html (masks); I3D features and
    lists by the authors of RTFM. Published: 175 normal and 63 abnormal videos for
    training, 155 and 44 for testing. (Section 2.4's 307 normal and 130 abnormal videos
    are not those of the lists; 130 is the number of events.)

    Expected, at any depth: one `<video>_i3d.npy` a video, (T, 10, 2048); the lists
    `shanghai-i3d-train-10crop.list` and `-test-` or `SH_Train.txt` and `SH_Test.txt`,
    or else folders with "train" and "test" in their names; and `test_frame_mask/`, one
    array of frame labels an abnormal video, or else `gt-sh.npy`.

    A video is abnormal if its number has four digits, `01_0014`; those with three were
    training videos originally. A mask is padded to whole snippets with its last value,
    which gives `gt-sh.npy` to the last value.
    """

    name = "shanghaitech"
    title = "ShanghaiTech Campus"
    url = "https://svip-lab.github.io/dataset/campus_dataset.html"
    licence = "not stated on the page; BSD 2-Clause by other projects' account"
    fetch = (
        "its videos' frame masks and the I3D features and lists that "
        "github.com/tianyu0207/RTFM links to"
    )
    layout = "one <video>_i3d.npy a video, the two lists, and test_frame_mask/"
    folders = ("ShanghaiTech", "shanghaitech")
    published = counts(175, 63, 155, 44)
    frames_per_second = 24.0

    def locate(self, folder: Path) -> Path | None:
        found = next(folder.rglob("[0-9][0-9]_[0-9]*_i3d.npy"), None)
        return folder if found else None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        files = names.arrays_below(folder, not_in=(_MASKS, "test_pixel_mask"))
        files = {n: p for n, p in files.items() if re.fullmatch(r"\d\d_\d{3,4}", n)}
        places = names.places(folder, options.annotations)
        splits = names.lists_of(places, _TRAIN, _TEST)
        rule = "weakly supervised split of Zhong et al., by the lists"
        if splits is None:
            splits = {name: _of_folder(path, folder) for name, path in files.items()}
            rule = "by the folders' names, train and test"
        masks = next((p for at in places for p in at.rglob(_MASKS) if p.is_dir()), None)
        masks = names.arrays_in(masks) if masks else {}
        vector = None
        if not masks:
            vector = next(
                filter(None, (names.find_file(p, "gt-sh.npy") for p in places))
            )
            if vector is None:
                raise InputError(
                    f"{folder} holds neither {_MASKS}/ nor gt-sh.npy, so that the "
                    "frames of test videos have no labels."
                )
        videos = []
        for name, split in splits.items():
            abnormal = re.fullmatch(r"\d\d_\d{4}", name) is not None
            mask = masks.get(name) if abnormal and split == "test" else None
            if masks and abnormal and split == "test" and mask is None:
                raise InputError(
                    f"Video {name} is abnormal, but {_MASKS} holds no {name}.npy."
                )
            videos.append(
                Video(
                    id=name,
                    split=split,
                    label=int(abnormal),
                    kind="abnormal" if abnormal else NORMAL,
                    files=(files[name],) if name in files else (),
                    mask=mask,
                )
            )
        return VideoListing(videos=tuple(videos), rule=rule, vector=vector)


def _of_folder(path: Path, folder: Path) -> str:
    words = path.relative_to(folder).parent.as_posix().lower()
    if ("train" in words) == ("test" in words):
        raise InputError(
            f"{path.name} lies in {words or 'no folder'}, which names neither train "
            f"nor test, and there are no lists; put {_TRAIN[0]} and {_TEST[0]} there."
        )
    return "train" if "train" in words else "test"
