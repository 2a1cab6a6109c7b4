"""UCF-Crime with video labels, thesis Section 8.4.1."""

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

_TRAIN = ("Anomaly_Train.txt", "ucf-i3d.list")
_TEST = ("Anomaly_Test.txt", "ucf-i3d-test.list")
_EVENTS = (
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
    "Temporal_Anomaly_Annotation.txt",
)
_FRAMES = ("UCF_Annotation_with_frame_counts.txt", "UCF_Annotation.txt")
_SNIPPET = 16


class UcfCrime(VideoReader):
    """Surveillance videos with 13 classes of crimes and accidents (Sultani et al.).

    Source: crcv.ucf.edu/projects/real-world; I3D features and lists by the authors of
    RTFM. Published: 800 normal and 810 abnormal videos for training, 150 and 140 for
    testing.

    Expected, at any depth: one `<video>_i3d.npy` a video, (T, 10, 2048); the official
    `Anomaly_Train.txt` and `Anomaly_Test.txt`, or RTFM's `ucf-i3d.list` and
    `ucf-i3d-test.list`; `Temporal_Anomaly_Annotation.txt`. Lists may lie in another
    folder, given as `annotations`. A video is normal if its name starts with Normal.

    Three rules of ground truth circulate, as `ground_truth`:

    - `rtfm`, the default: 16 T frames a video, an event's last frame included, events
      cut at the end (gt-ucf.npy);
    - `vadclip`: the same with the last frame left out;
    - `ur-dmu`: as `vadclip`, and the frames that fill no whole snippet are dropped; it
      needs the list of frame counts, UCF_Annotation.txt. (Whether its events include
      the last frame is not published; taken as left out.)
    """

    name = "ucfcrime"
    title = "UCF-Crime"
    url = "https://www.crcv.ucf.edu/projects/real-world/"
    licence = "none stated by its authors"
    fetch = "its lists and the I3D features that github.com/tianyu0207/RTFM links to"
    layout = (
        "Anomaly_Train.txt and Anomaly_Test.txt, Temporal_Anomaly_Annotation.txt and "
        "one <video>_i3d.npy a video"
    )
    folders = ("UCF_Crimes", "UCF-Crime", "ucf_crime")
    published = counts(800, 810, 150, 140)
    frames_per_second = 30.0

    def locate(self, folder: Path) -> Path | None:
        names_of_lists = (*_TRAIN, "*_x264_i3d.npy")
        return folder if names.find_file(folder, *names_of_lists) else None

    def listing(self, folder: Path, options: VideoOptions) -> VideoListing:
        places = names.places(folder, options.annotations)
        splits = names.lists_of(places, _TRAIN, _TEST)
        if splits is None:
            raise InputError(
                f"{folder} holds no list of videos; put {_TRAIN[0]} and {_TEST[0]} "
                "there, or give their folder as annotations."
            )
        events = self._events(places, splits, options.ground_truth)
        frames = self._frames(places) if options.ground_truth == "ur-dmu" else {}
        files = names.arrays_below(folder)
        videos = []
        for name, split in splits.items():
            abnormal = not name.startswith("Normal")
            if split == "test" and abnormal and not events.get(name):
                raise InputError(
                    f"Video {name} is abnormal, but no event of it is annotated."
                )
            videos.append(
                Video(
                    id=name,
                    split=split,
                    label=int(abnormal),
                    kind=_class_of(name) if abnormal else NORMAL,
                    files=(files[name],) if name in files else (),
                    events=events.get(name, ()) if split == "test" else (),
                    num_frames=frames.get(name) if split == "test" else None,
                )
            )
        return VideoListing(
            videos=tuple(videos),
            rule="the official split, by the lists",
            notes=(f"frame labels by the rule {options.ground_truth}",),
        )

    def _events(
        self, places: list[Path], splits: dict[str, str], ground_truth: str
    ) -> dict[str, tuple[tuple[int, int], ...]]:
        path = next(filter(None, (names.find_file(p, *_EVENTS) for p in places)), None)
        if path is None:
            raise InputError(
                f"{places[0]} holds no {_EVENTS[1]}, so that the frames of test videos "
                "have no labels."
            )
        included = int(ground_truth == "rtfm")  # the last frame
        found = {}
        for line in names.lines(path):
            name, numbers = names.base_name(line.split()[0]), line.split()[2:6]
            if splits.get(name) != "test":
                raise InputError(
                    f"{path.name} has events of {name}, which is no video of the test "
                    "list."
                )
            try:
                start1, end1, start2, end2 = map(int, numbers)
            except ValueError as error:
                raise InputError(
                    f"{path.name} has the line {line.strip()!r}; expected a name, a "
                    "class and four frame numbers."
                ) from error
            pairs = ((start1, end1), (start2, end2))
            found[name] = tuple((s, e + included) for s, e in pairs if s >= 0)
        return found

    def _frames(self, places: list[Path]) -> dict[str, int]:
        path = next(filter(None, (names.find_file(p, *_FRAMES) for p in places)), None)
        if path is None:
            raise InputError(
                f"ground_truth is 'ur-dmu', which needs {_FRAMES[1]} with the number "
                f"of frames of each video; {places[0]} does not hold it."
            )
        found = {}
        for line in names.lines(path):
            name, number = [*line.split(), ""][:2]
            if not number.isdigit():
                raise InputError(
                    f"{path.name} has the line {line.strip()!r}; expected a name and a "
                    "number of frames."
                )
            found[names.base_name(name)] = int(number) // _SNIPPET * _SNIPPET
        return found


def _class_of(name: str) -> str:
    """`Abuse` of `Abuse028_x264`."""
    return name.split("_")[0].rstrip("0123456789")
