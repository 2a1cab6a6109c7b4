"""Videos to learn from and to be judged on, in one memory-mapped array."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from thesislib.datasets.bank import MEMORY_FRACTION
from thesislib.datasets.base import mark
from thesislib.datasets.videos.bags import SEGMENTS, Bags, SnippetBank, segments
from thesislib.errors import InputError

CLIP = 8.0  # standard deviations, of `standardised`
_SMALLEST_STD = 0.1  # times the median standard deviation


@dataclass(frozen=True, kw_only=True)
class VideoDataset:
    """Snippet features of all videos end to end, with labels.

    Axes: V videos, S snippets in all, C crops, D features, F_v frames of video v.

    Where a dataset has one fixed split, training videos are kept as their segments
    already, which is all that training sees; else, and in test, all snippets are kept.
    """

    name: str  # key asked for, e.g. "shanghaitech"
    source: str  # "real" or "phantom"
    modality: str  # "video"
    features: np.ndarray = field(repr=False)  # (S, C, D), float16, may be mapped
    offsets: np.ndarray = field(repr=False)  # (V + 1,), int64, first snippet of each
    ids: tuple[str, ...] = field(repr=False)  # (V,)
    splits: tuple[str, ...] = field(repr=False)  # (V,), "train" or "test"
    labels: np.ndarray = field(repr=False)  # (V,), int64, 0 normal, 1 abnormal
    kinds: tuple[str, ...] = field(repr=False)  # (V,), "normal" or its class
    frame_labels: tuple[np.ndarray | None, ...] = field(repr=False)
    """(F_v,) of each, uint8, 0 normal, 1 abnormal; None of videos that only train."""
    snippet: int = 16  # frames
    stride: int = 16  # frames from one snippet to the next
    num_segments: int = SEGMENTS
    frames_per_second: float = 25.0
    draws: tuple[frozenset[str], ...] = field(default=(), repr=False)
    snippet_kinds: tuple[np.ndarray | None, ...] = field(default=(), repr=False)
    """(T_v,) of each, str: what a phantom put there; () for real data."""
    counts: dict[str, int] = field(default_factory=dict)
    published_counts: dict[str, int] | None = None
    partial: bool = False
    fingerprint: str = ""
    provenance: dict = field(default_factory=dict, repr=False)

    @property
    def mark(self) -> str:
        """The word that has to stand on every figure and row."""
        return mark(self.source, self.partial)

    @property
    def num_features(self) -> int:
        """D."""
        return self.features.shape[2]

    @property
    def num_crops(self) -> int:
        """C."""
        return self.features.shape[1]

    @cached_property
    def test(self) -> tuple[int, ...]:
        """Numbers of the test videos."""
        return tuple(v for v, split in enumerate(self.splits) if split == "test")

    @property
    def test_ids(self) -> tuple[str, ...]:
        """Names of the test videos."""
        return tuple(self.ids[v] for v in self.test)

    @property
    def test_kinds(self) -> tuple[str, ...]:
        """ "normal", or the class of each abnormal test video."""
        return tuple(self.kinds[v] for v in self.test)

    @property
    def test_frame_labels(self) -> tuple[np.ndarray, ...]:
        """Labels of the frames of every test video, (F_v,), uint8."""
        return tuple(self.frame_labels[v] for v in self.test)

    @property
    def test_snippet_kinds(self) -> tuple[str, ...]:
        """What abnormal snippets of test videos are called, in phantoms; else ()."""
        if not self.snippet_kinds:
            return ()
        found = {
            str(kind)
            for v in self.test
            for kind in self.snippet_kinds[v][self._abnormal_snippets(v)]
        }
        return tuple(sorted(found))

    def labels_of_kind(self, kind: str) -> list[np.ndarray]:
        """Labels of the frames of test videos where only one kind of snippet counts.

        (F_v,) of each, uint8: 1 of that kind, 0 normal, 255 abnormal of another kind.
        """
        labels = []
        for v in self.test:
            own = (self.snippet_kinds[v] == kind).repeat(self.snippet)
            frames = self.frame_labels[v]
            labels.append(np.where(frames == 0, 0, np.where(own, 1, 255)).astype("u1"))
        return labels

    def _abnormal_snippets(self, video: int) -> np.ndarray:
        return self.frame_labels[video][:: self.stride].astype(bool)

    def snippets(self, video: int) -> np.ndarray:
        """What is kept of a video by number, (T_v, C, D), float16."""
        return self.features[self.offsets[video] : self.offsets[video + 1]]

    def test_video(self, number: int, device: torch.device | str = "cpu") -> Tensor:
        """All snippets of the n-th test video, (C, T, D), float32."""
        kept = torch.from_numpy(np.asarray(self.snippets(self.test[number])))
        return kept.to(device).transpose(0, 1).float().contiguous()

    def train(self, label: int) -> list[int]:
        """Numbers of the training videos of a label."""
        return [
            v
            for v, split in enumerate(self.splits)
            if split == "train" and self.labels[v] == label
        ]

    def bags(
        self,
        device: torch.device | str = "cpu",
        memory_fraction: float = MEMORY_FRACTION,
    ) -> Bags:
        """Training videos in segments, one bank a label.

        Args:
            device: Where batches are wanted.
            memory_fraction: Part of the device's free memory that each bank may take.

        Raises:
            InputError: If there is no training video of a label.
        """
        banks = []
        for label, word in ((0, "normal"), (1, "abnormal")):
            chosen = self.train(label)
            if not chosen:
                raise InputError(f"{self.name} has no {word} training video.")
            banks.append(SnippetBank(self._segments(chosen), device, memory_fraction))
        return Bags(*banks)

    def _segments(self, videos: Sequence[int]) -> np.ndarray:
        """Segments of videos, (N, T, C, D), float16; a view where they lie that way."""
        length = self.num_segments
        starts = self.offsets[list(videos)]
        whole = (self.offsets[np.add(videos, 1)] - starts == length).all()
        if whole and (np.diff(starts) == length).all():
            part = self.features[starts[0] : starts[0] + length * len(videos)]
            return part.reshape(len(videos), length, *self.features.shape[1:])
        return np.stack(
            [segments(self.snippets(v), length).astype(np.float16) for v in videos]
        )

    def drawn(self, draw: int) -> "VideoDataset":
        """The same videos, divided as a recorded draw says; see `ucsd_ped`.

        Raises:
            InputError: If there is no such draw.
        """
        if not 0 <= draw < len(self.draws):
            have = f"0 to {len(self.draws) - 1}" if self.draws else "none"
            raise InputError(f"draw is {draw}; {self.name} has {have}.")
        training = self.draws[draw]
        splits = tuple("train" if id in training else "test" for id in self.ids)
        return replace(self, splits=splits)

    def standardised(self) -> "VideoDataset":
        """Features less their mean over deviation, on normal training videos only.

        Mean and standard deviation of each feature over the snippets and crops of the
        normal training videos of the present draw; deviations are at least a tenth of
        their median, results are clipped at 8. Own features need it, official I3D
        features are used as they are.
        """
        normal = np.concatenate([self.snippets(v) for v in self.train(0)])
        flat = normal.reshape(-1, self.num_features).astype(np.float64)
        mean, std = flat.mean(axis=0), flat.std(axis=0)
        std = np.maximum(std, _SMALLEST_STD * np.median(std))
        std[std == 0] = 1  # a feature that never changes stays zero
        scaled = np.clip((self.features - mean) / std, -CLIP, CLIP)
        return replace(self, features=scaled.astype(np.float16))
