"""Own features: from frames or video files to snippets, (T, C, D) a video.

`motion.Motion` needs no weights. `Kinetics` runs a network trained on Kinetics-400
whose weights you have on disk; nothing is downloaded. `extract` walks a folder of
videos, and the folder that it writes is what the dataset `video-folder` reads.

Own features are no substitute for published ones: other extractions of the same videos
give other numbers, even with the same network.
"""

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from thesislib import atomic, paths
from thesislib.datasets.filelist import ENDINGS, is_leftover
from thesislib.datasets.reading import Progress
from thesislib.datasets.videos.base import Describe
from thesislib.datasets.videos.folder import FEATURES
from thesislib.datasets.videos.names import VIDEO_FILES, natural
from thesislib.errors import InputError
from thesislib.nn.i3d import NUM_FEATURES, I3DResNet50
from thesislib.ranges import at_least
from thesislib.video import frames
from thesislib.video.motion import Motion

CROPS = (1, 5, 10)  # centre; and corners; and their mirror images
_SNIPPETS = 4  # clips that a network sees at a time


@dataclass(frozen=True)
class Trained:
    """A network that may be asked for: how it is built, and what it expects."""

    build: Callable[[], nn.Module]
    features: int  # D
    resize: tuple[int, int] | int  # pixels, or of the shorter side
    crop: int  # pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    file: str  # of the weights
    fetch: str  # where they are to be had


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import video

    network = getattr(video, name)(weights=None)
    network.fc = nn.Identity()
    return network


_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_ZOO = "torchvision (https://download.pytorch.org/models/)"
NETWORKS = {
    name: Trained(
        lambda name=name: _torchvision(name),
        512,
        (128, 171),
        112,
        *_KINETICS,
        file,
        _ZOO,
    )
    for name, file in (
        ("r3d_18", "r3d_18-b3b3357e.pth"),
        ("mc3_18", "mc3_18-a90a0ba3.pth"),
        ("r2plus1d_18", "r2plus1d_18-91a641e6.pth"),
    )
}
NETWORKS["i3d_r50"] = Trained(
    I3DResNet50,
    NUM_FEATURES,
    256,
    224,
    (0.45, 0.45, 0.45),
    (0.225, 0.225, 0.225),
    "i3d_r50_kinetics.pth",
    "github.com/Tushar-N/pytorch-resnet3d",
)


@dataclass(frozen=True, kw_only=True)
class Kinetics:
    """Describes snippets by a network trained on Kinetics-400, its last layer left out.

    The thesis's features are those of I3D with a ResNet-50, 16 frames, ten crops.
    """

    network: str = "i3d_r50"  # a key of `NETWORKS`
    weights: str = ""  # file
    crops: int = 10
    snippet: int = 16  # frames
    stride: int = 16
    device: str = field(default="cpu", compare=False)

    def __post_init__(self) -> None:
        at_least(self, 1, "snippet", "stride")
        if self.network not in NETWORKS:
            raise InputError(
                f"network is {self.network!r}; allowed are {', '.join(NETWORKS)}."
            )
        if self.crops not in CROPS:
            raise InputError(f"crops is {self.crops}; allowed are 1, 5 and 10.")
        if self.stride > self.snippet:
            raise InputError(
                f"stride is {self.stride}; it must be at most snippet, {self.snippet}."
            )

    @cached_property
    def _file(self) -> Path:
        path = paths.resolve(self.weights) if self.weights else None
        if path is None or not path.is_file():
            known = NETWORKS[self.network]
            lacking = f"no file {self.weights}" if self.weights else "none given"
            raise InputError(
                f"weights of {self.network}: {lacking}; fetch {known.file} from "
                f"{known.fetch} and give its path."
            )
        return path

    @cached_property
    def about(self) -> Mapping[str, object]:
        """Settings, and what the weights are."""
        digest = hashlib.sha256(self._file.read_bytes()).hexdigest()
        return {
            "name": self.network,
            "version": 1,
            "weights_sha256": digest,
            "crops": self.crops,
            "snippet": self.snippet,
            "stride": self.stride,
        }

    @cached_property
    def _model(self) -> nn.Module:
        model = NETWORKS[self.network].build()
        try:
            state = torch.load(self._file, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
            left = model.load_state_dict(state, strict=False)
        except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{self._file.name} does not hold weights of {self.network}."
            ) from error
        extra = [key for key in left.unexpected_keys if not key.startswith("fc.")]
        if left.missing_keys or extra:
            first = (left.missing_keys or extra)[0]
            raise InputError(
                f"{self._file.name} does not hold weights of {self.network}: {first} "
                f"is {'missing' if left.missing_keys else 'not known'}."
            )
        return model.eval().to(self.device)

    @torch.no_grad()
    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        """Features of a video, (T, C, D), float32.

        Args:
            files: Frames in order, or one video file.
        """
        rows, batch = [], []
        for clip in frames.windows(frames.read(files), self.snippet, self.stride):
            batch.append(self._prepared(clip))
            if len(batch) == _SNIPPETS:
                rows.append(self._features(batch))
                batch = []
        if batch:
            rows.append(self._features(batch))
        return np.concatenate(rows)

    def _prepared(self, clip: np.ndarray) -> Tensor:
        """Frames (F, H, W, 3), uint8, as crops (C, 3, F, S, S), normalised."""
        known = NETWORKS[self.network]
        images = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
        size = known.resize
        if isinstance(size, int):
            height, width = images.shape[2:]
            scale = size / min(height, width)
            size = (round(height * scale), round(width * scale))
        images = interpolate(images, size, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (known.mean, known.std))
        return crop((images - mean) / std, known.crop, self.crops).transpose(1, 2)

    def _features(self, batch: Sequence[Tensor]) -> np.ndarray:
        clips = torch.stack(batch).to(self.device)  # (B, C, 3, F, S, S)
        found = self._model(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return found.float().cpu().numpy()


def crop(images: Tensor, size: int, number: int) -> Tensor:
    """Cut squares of frames, (F, 3, H, W), in torchvision's order, (C, F, 3, S, S).

    One crop is the centre. Five are top left, top right, bottom left, bottom right and
    centre; ten are these and the same of the mirror image.
    """
    height, width = images.shape[-2:]
    top, left = round((height - size) / 2), round((width - size) / 2)
    centre = images[..., top : top + size, left : left + size]
    if number == 1:
        return centre[None]
    corners = [
        images[..., :size, :size],
        images[..., :size, width - size :],
        images[..., height - size :, :size],
        images[..., height - size :, width - size :],
    ]
    five = torch.stack([*corners, centre])
    return five if number == 5 else torch.cat([five, crop(images.flip(-1), size, 5)])


def extract(
    source: Path, target: Path, describe: Describe, progress: Progress | None = None
) -> int:
    """Describe every video below a folder; what is there already is left as it is.

    Each video becomes `<its path>.npy` below `target`, whole or not at all, so that an
    extraction that was interrupted goes on where it stopped.

    Args:
        source: Folder of video files or of folders of frames, at any depth.
        target: Where features go, outside of `source`.
        describe: A `Motion` or a `Kinetics`.
        progress: Called with (videos done, videos).

    Returns:
        Number of videos described now.

    Raises:
        InputError: If there is no video, one cannot be read, or `target` holds features
            of other settings.
    """
    videos = find_videos(source)
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target} lies in {source}; features need a folder apart.")
    about = json.loads(json.dumps(dict(describe.about)))
    record = target / FEATURES
    if record.is_file():
        if (kept := _read_record(record)) != about:
            raise InputError(
                f"{target} holds features of other settings, {json.dumps(kept)}; give "
                "another folder."
            )
    else:
        atomic.write_json(record, about)
    made = 0
    for done, (name, files) in enumerate(videos.items(), start=1):
        path = target / f"{name}.npy"
        if not path.is_file():
            buffer = io.BytesIO()
            np.save(buffer, describe(files))
            atomic.write_bytes(path, buffer.getvalue())
            made += 1
        if progress:
            progress(done, len(videos))
    return made


def find_videos(source: Path) -> dict[str, tuple[Path, ...]]:
    """Videos below a folder by path: video files, and folders that hold pictures.

    Raises:
        InputError: If the folder is none or holds no video.
    """
    if not source.is_dir():
        raise InputError(f"{source} is no folder.")
    found: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        if is_leftover(path) or not path.is_file():
            continue
        name = path.relative_to(source)
        if path.suffix.lower() in VIDEO_FILES:
            found[name.with_suffix("").as_posix()] = [path]
        elif path.suffix.lower() in ENDINGS and path.parent != source:
            found.setdefault(name.parent.as_posix(), []).append(path)
    if not found:
        raise InputError(
            f"{source} holds no videos: no files that end in {', '.join(VIDEO_FILES)} "
            "and no folders of frames."
        )
    return {name: tuple(sorted(files, key=natural)) for name, files in found.items()}


def describer(name: str, weights: str = "", crops: int = 10, **settings) -> Describe:
    """A description by name: "motion", "motion+appearance" or a key of `NETWORKS`.

    Args:
        name: Which.
        weights: File, of networks.
        crops: Of networks.
        settings: `snippet`, `stride` and so on.
    """
    if name in ("motion", "motion+appearance"):
        return Motion(appearance=name != "motion", **settings)
    if name not in NETWORKS:
        allowed = ", ".join(("motion", "motion+appearance", *NETWORKS))
        raise InputError(f"features are {name!r}; allowed are {allowed}.")
    return Kinetics(network=name, weights=weights, crops=crops, **settings)


def _read_record(record: Path) -> object:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{record} cannot be read; give another folder.") from error
