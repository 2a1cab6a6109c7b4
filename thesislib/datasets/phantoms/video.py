r"""Video phantom: bags of snippet features with events, spikes and distractors.

A snippet is a vector of D features, drawn, not computed from frames. The normal part is
a scene, a video's own offset, slow autoregressive motion and noise. An *event* adds one
of three axes over several snippets; half the events are strong, half subtle; their
first and last snippet are weaker (*edge*) and sometimes one inside (*missed*).
What keeps a snippet by itself from being enough is in all videos, normal ones too: a
*spike* lasts one snippet on a true axis and is no event, a *distractor* lasts longer on
an axis close to one. The length of the vectors tells almost nothing, since an event
turns what is not noise rather than lengthens it; and as the noise stays, events lie
about as far from normal snippets as others do.

Order of methods is a property of such data: without spikes a snippet by itself is
enough, and with a strong offset of each video the bags can be memorised.

The constants were set by `benchmarks/video_data.py --calibrate` from naive baselines
and supervised ceilings before any method was tried, and are frozen together with
`generator_hash`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thesislib.datasets.base import NORMAL
from thesislib.datasets.videos.base import VideoPhantomSize

FEATURES = 64  # D
SNIPPET = 16  # frames
FRAMES_PER_SECOND = 25.0
DIFFICULTY = 1.0  # times the amplitude of events
KINDS = ("strong", "subtle", "edge", "missed")  # of an event's snippets

NUM_TYPES = 3  # axes of events
NUM_SCENES = 6
LENGTHS = (32, 64)  # snippets of a video, first and last
SCENE = 0.3  # standard deviations a feature
VIDEO = 0.1
NOISE = 0.35
MOTION = 0.25
RANK, DECAY = 12, 0.85  # of the motion
NUISANCE = 0.7  # of a video along the axes of events
SHARED = 0.3  # part that the axes of events have in common
STRONG, SUBTLE = 8.0, 6.0  # amplitudes
EVENT_LENGTHS = (4, 12)  # snippets
ATTEMPTS = 50  # to place the events of a video
EDGE = (0.5, 0.9)  # share of the amplitude
MISSED = 0.4
DISTRACTOR, DISTRACTOR_LENGTHS, DISTRACTORS = 6.0, (2, 6), 1.0  # the last a video
SPIKE, SPIKES = 8.0, 2.5
SCALE, SCALE_DECAY = 0.15, 0.8  # slow change of length, of all videos


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Videos end to end; see `videos.dataset.VideoDataset`."""

    features: np.ndarray  # (S, 1, D), float16
    offsets: np.ndarray  # (V + 1,)
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: np.ndarray  # (V,)
    kinds: tuple[str, ...]  # "normal", "type 1" to "type 3"
    frame_labels: tuple[np.ndarray, ...]  # (16 T,) of each video
    snippet_kinds: tuple[np.ndarray, ...]  # (T,) of each, str


@dataclass(frozen=True, kw_only=True)
class World:
    """What the videos of one seed share; all axes are of unit length or nearly so."""

    scenes: np.ndarray  # (6, D), means
    events: np.ndarray  # (3, D), axes
    distractors: np.ndarray  # (3, D)
    motion: np.ndarray  # (12, D)

    @classmethod
    def of(cls, seed: int) -> "World":
        """Drawn from a seed: a random orthonormal basis, and what is made of it."""
        rng = np.random.default_rng((seed, 0))
        basis, _ = np.linalg.qr(rng.normal(size=(FEATURES, FEATURES)))
        shared, own = basis[0], basis[1 : 1 + NUM_TYPES]
        events = SHARED * shared + np.sqrt(1 - SHARED**2) * own
        apart = basis[1 + NUM_TYPES : 1 + 2 * NUM_TYPES]
        mixed = rng.normal(size=(RANK, FEATURES))
        size = MOTION / np.sqrt((mixed**2).sum(axis=0))  # of each feature
        return cls(
            scenes=SCENE * rng.normal(size=(NUM_SCENES, FEATURES)),
            events=events,
            distractors=0.5 * events + np.sqrt(0.75) * apart,
            motion=mixed * size,
        )


def draw(size: VideoPhantomSize, seed: int) -> Drawn:
    """Draw videos; each depends on the seed, its place and its label only.

    What is normal in video i is the same whether or not it has events, so that at
    difficulty 0 the two labels cannot be told apart.

    Args:
        size: How many videos, and how strong their events.
        seed: Seed of the draw, 0 or more.
    """
    world, parts = World.of(seed), []
    difficulty = DIFFICULTY if size.difficulty is None else size.difficulty
    numbers = (
        ("train", 0, size.num_train_normal),
        ("train", 1, size.num_train_abnormal),
        ("test", 0, size.num_test_normal),
        ("test", 1, size.num_test_abnormal),
    )
    for stream, (split, label, number) in enumerate(numbers, start=1):
        for index in range(number):
            rng = np.random.default_rng((seed, stream, index))
            video, of_type, found = _video(world, rng, bool(label), difficulty)
            name = f"phantom-{split}-{'abnormal' if label else NORMAL}-{index:04d}"
            parts.append((name, split, label, of_type, video, found))
    ids, splits, labels, kinds, videos, snippet_kinds = zip(*parts, strict=True)
    normal = [
        v
        for v, s, k in zip(videos, splits, labels, strict=True)
        if s == "train" and not k
    ]
    mean = np.concatenate(normal).mean(axis=0)
    std = np.concatenate(normal).std(axis=0)
    features = ((np.concatenate(videos) - mean) / std).astype(np.float16)
    return Drawn(
        features=features[:, None],
        offsets=np.concatenate([[0], np.cumsum([len(video) for video in videos])]),
        ids=ids,
        splits=splits,
        labels=np.array(labels, dtype=np.int64),
        kinds=kinds,
        frame_labels=tuple(
            np.isin(found, KINDS).repeat(SNIPPET).astype(np.uint8)
            for found in snippet_kinds
        ),
        snippet_kinds=snippet_kinds,
    )


def _video(
    world: World, rng: np.random.Generator, abnormal: bool, difficulty: float
) -> tuple[np.ndarray, str, np.ndarray]:
    """Features of one video, (T, D), its kind, and the kind of each snippet, (T,)."""
    length = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    features = world.scenes[rng.integers(NUM_SCENES)]
    features = features + VIDEO * rng.normal(size=FEATURES)
    features = features + NUISANCE * rng.normal(size=NUM_TYPES) @ world.events
    motion = _autoregressive(rng.normal(size=(length, RANK)), DECAY)
    features = features + motion @ world.motion
    noise = NOISE * rng.normal(size=(length, FEATURES))
    scale = np.exp(SCALE * _autoregressive(rng.normal(size=(length, 1)), SCALE_DECAY))

    added = np.zeros_like(features)
    kinds = np.full(length, NORMAL, dtype="U10")
    for _ in range(rng.poisson(DISTRACTORS)):
        number = int(rng.integers(DISTRACTOR_LENGTHS[0], DISTRACTOR_LENGTHS[1] + 1))
        start = int(rng.integers(length - number + 1))
        axis = world.distractors[rng.integers(NUM_TYPES)]
        added[start : start + number] += DISTRACTOR * axis
        kinds[start : start + number] = "distractor"
    for _ in range(rng.poisson(SPIKES)):
        place = int(rng.integers(length))
        added[place] += SPIKE * world.events[rng.integers(NUM_TYPES)]
        kinds[place] = "spike"
    of_type = NORMAL
    if abnormal:
        number = int(rng.integers(NUM_TYPES))
        of_type = f"type {number + 1}"
        for start, amplitudes, names in _events(rng, length):
            stop = start + len(amplitudes)
            event = difficulty * amplitudes[:, None] * world.events[number]
            added[start:stop] += event
            kinds[start:stop] = names
    before = np.linalg.norm(features, axis=1)
    features = features + added
    after = np.linalg.norm(features, axis=1)
    features = features * (before / after)[:, None]
    return (features + noise) * scale, of_type, kinds


def _events(
    rng: np.random.Generator, length: int
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """One to three events that do not touch: start, amplitudes, kinds of snippets."""
    taken, found = np.zeros(length + 2, dtype=bool), []
    wanted = int(rng.integers(1, 4))
    for _ in range(ATTEMPTS):
        number = int(rng.integers(EVENT_LENGTHS[0], EVENT_LENGTHS[1] + 1))
        start = int(rng.integers(length - number + 1))
        if taken[start : start + number + 2].any():
            continue  # there would be no normal snippet between the two
        taken[start + 1 : start + number + 1] = True
        strong = rng.random() < 0.5
        amplitudes = np.full(number, STRONG if strong else SUBTLE, dtype=np.float64)
        names = np.full(number, "strong" if strong else "subtle", dtype="U10")
        amplitudes[[0, -1]] *= rng.uniform(*EDGE, size=2)
        names[[0, -1]] = "edge"
        if number >= 5 and rng.random() < 0.5:
            missed = int(rng.integers(1, number - 1))
            amplitudes[missed] *= MISSED
            names[missed] = "missed"
        found.append((start, amplitudes, names))
        if len(found) == wanted:
            break
    return found


def _autoregressive(noise: np.ndarray, decay: float) -> np.ndarray:
    """AR(1) series of unit variance down the first axis, (T, n)."""
    series = np.empty_like(noise)
    series[0] = noise[0]
    for t in range(1, len(noise)):
        series[t] = decay * series[t - 1] + np.sqrt(1 - decay**2) * noise[t]
    return series


def generator_hash() -> str:
    """SHA-256 (hex) of the source that draws videos, line ends as "\\n"."""
    source = Path(__file__).read_text(encoding="utf-8")
    return hashlib.sha256(source.encode()).hexdigest()
