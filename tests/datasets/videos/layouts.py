"""Tiny datasets of videos in the official layouts, made in code."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

D = 6  # features
RNG = np.random.default_rng(0)


def features(
    path: Path, num_snippets: int, crops: int | None = 2, dim: int = D
) -> Path:
    """Write features of a video, (T, C, D), or (T, D) where crops is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (num_snippets, dim) if crops is None else (num_snippets, crops, dim)
    np.save(path, RNG.normal(size=shape).astype(np.float32))
    return path


def text(path: Path, lines: Sequence[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def frames(folder: Path, number: int, ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(1, number + 1):
        grey = RNG.integers(0, 256, (24, 36), dtype=np.uint8)
        Image.fromarray(grey).save(folder / f"{k:03d}.{ending}")
    return folder


def shanghaitech(top: Path) -> Path:
    """Abnormal 01_0001 (train), 01_0002 (test, 37 frames); three normal ones."""
    for name, split, length in (
        ("01_0001", "Train", 5),
        ("02_003", "Train", 40),
        ("01_0002", "Test", 3),
        ("03_004", "Test", 2),
    ):
        features(top / f"SH_{split}_ten_crop_i3d/{name}_i3d.npy", length)
    own = "/elsewhere/SH_{}_ten_crop_i3d/{}_i3d.npy"
    text(
        top / "shanghai-i3d-train-10crop.list",
        [own.format("Train", n) for n in ("01_0001", "02_003")],
    )
    text(
        top / "shanghai-i3d-test-10crop.list",
        [own.format("Test", n) for n in ("01_0002", "03_004")],
        end="",
    )
    mask = np.zeros(37, dtype=np.uint8)
    mask[30:] = 1
    masks = top / "testing/test_frame_mask"
    masks.mkdir(parents=True)
    np.save(masks / "01_0002.npy", mask)
    return top


def ucfcrime(top: Path) -> Path:
    """Two normal and two abnormal videos a split; Shooting015's event ends late."""
    train = ("Abuse001_x264", "Normal_Videos001_x264", "Arson002_x264")
    test = ("Shooting015_x264", "Abuse028_x264", "Normal_Videos_003_x264")
    for name in train:
        features(top / f"UCF_Train_ten_crop_i3d/{name}_i3d.npy", 4)
    for name in test:
        features(top / f"UCF_Test_ten_crop_i3d/{name}_i3d.npy", 3)
    text(top / "Anomaly_Train.txt", [f"Any/{name}.mp4" for name in train])
    text(top / "Anomaly_Test.txt", [f"Any/{name}.mp4" for name in test])
    text(
        top / "Temporal_Anomaly_Annotation.txt",
        [
            "Abuse028_x264  Abuse  4  9  20  29  ",
            "Normal_Videos_003_x264  Normal  -1  -1  -1  -1  ",
            "Shooting015_x264  Shooting  40  49  -1  -1  ",
        ],
    )
    text(
        top / "UCF_Annotation.txt",
        [
            "Abuse/Abuse028_x264.mp4 45 Abuse 4 9 20 29",
            "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4 48 Normal -1 -1 "
            "-1 -1",
            "Shooting/Shooting015_x264.mp4 49 Shooting 40 49 -1 -1",
        ],
    )
    return top


XD_VIOLENT = "City.of.God.2002__#01-24-10_01-25-10_label_B2-0-0"


def xdviolence(top: Path) -> Path:
    for part, names in (
        ("RGB", ("v=abc__#1_label_A", "Film.2.0__#00-01-00_00-02-00_label_G-0-0")),
        ("RGBTest", ("v=x.y__#00-00-00_00-01-00_label_A", XD_VIOLENT)),
    ):
        for name in names:
            for k in range(5):
                features(top / f"i3d-features/{part}/{name}__{k}.npy", 3, crops=None)
    text(top / "annotations.txt", [f"{XD_VIOLENT} 0 10 40 60"], end="")
    return top


def ucsd(top: Path, train: int = 16, test: int = 12, number: int = 2) -> Path:
    base = top / f"UCSD_Anomaly_Dataset.v1p2/UCSDped{number}"
    for k in range(1, train + 1):
        frames(base / f"Train/Train{k:03d}", 11, "tif")
    for k in range(1, test + 1):
        frames(base / f"Test/Test{k:03d}", 12, "tif")
    (base / "Test/Test001/._001.tif").write_bytes(b"leftover")
    frames(base / "Test/Test001_gt", 2, "bmp")
    lines = ["TestVideoFile = {};", "TestVideoFile{end+1}.gt_frame = [3:5, 9:12];"]
    lines += ["TestVideoFile{end+1}.gt_frame = [1:12];"] * (test - 1)
    text(base / f"Test/UCSDped{number}.m", lines)
    return top


def polypvideo(top: Path) -> Path:
    own = top / "colon_video_features"
    for split, counts in (("train", (2, 2)), ("test", (2, 2))):
        for word, number in zip(("normal", "abnormal"), counts, strict=True):
            for k in range(number):
                part = own / f"{split}_set/colon_i3d_feature_{split}_{word}"
                features(part / f"video{k}.npy", 2 + k, crops=1)
    labels = np.zeros(16 * 10)
    labels[16 * 5 + 4 : 16 * 5 + 20] = 1  # of the first abnormal test video
    np.save(top / "gt-colon.npy", labels)
    return top


def video_folder(top: Path) -> Path:
    for part, number in (
        ("train/normal", 3),
        ("train/abnormal", 2),
        ("test/normal", 2),
        ("test/fall", 2),
    ):
        for k in range(number):
            word = part.replace("/", "-")
            features(top / part / f"{word}{k}.npy", 3, crops=None)
    text(
        top / "events.csv",
        ["video,start,end", "test-fall0,2,5", "test-fall0,40,47", "test-fall1.npy,0,0"],
    )
    return top


LAYOUTS = {
    "shanghaitech": shanghaitech,
    "ucfcrime": ucfcrime,
    "xdviolence": xdviolence,
    "ucsdped1": lambda top: ucsd(top, 34, 36, 1),
    "ucsdped2": ucsd,
    "polypvideo": polypvideo,
    "video-folder": video_folder,
}


class Means:
    """Mean grey of each pair of frames: a descriptor small enough for tests."""

    snippet, stride = 4, 2
    about = {"name": "means"}  # noqa: RUF012
    calls = 0

    def __call__(self, files):
        type(self).calls += 1
        grey = [np.asarray(Image.open(path)).mean() / 255 for path in files]
        starts = range(0, len(grey) - self.snippet + 1, self.stride)
        rows = [[np.mean(grey[s : s + 4]), np.max(grey[s : s + 4])] for s in starts]
        return np.array(rows)[:, None]
