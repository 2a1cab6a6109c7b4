r"""Frame metrics of videos, thesis Section 8.4.2: AUC and AP, alarms and latency.

A method scores snippets; a frame takes the mean score of the snippets that cover it.
All metrics are of the frames of all test videos together, as the thesis and the
programs it is compared with have it. Intervals resample whole videos: frames of one
video are no independent observations.

Two definitions of "AP" are in use and both are given. `ap` is average precision, the
step-wise sum $\sum_k (R_k - R_{k-1}) P_k$. `ap_trapezoid` joins the points of the
precision-recall curve by straight lines, which the programs of RTFM and of XD-Violence
do and which is optimistic where scores are coarse.

Axes: V videos, F_v frames and T_v snippets of video v.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.errors import InputError
from thesislib.metrics.bootstrap import exact_if_degenerate, resamples, strata
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate

IGNORED = 255  # label of a frame that does not count
RECALL = 0.8  # share of events that the operating point of alarms has to find, ours
METRICS = (
    *("auc", "ap", "ap_trapezoid", "auc_abnormal"),
    *("false_alarms_per_hour", "latency"),
)
_AREAS = METRICS[:4]


def frame_scores(
    scores: ArrayLike, num_frames: int, snippet: int = 16, stride: int | None = None
) -> NDArray[np.float64]:
    """Scores of frames from scores of snippets, (F,).

    Snippet t covers frames t stride to t stride + snippet - 1. A frame takes the mean
    of the snippets that cover it, frames after the last snippet take its score. With
    stride = snippet that is each score repeated, as the authors' program does it.

    Args:
        scores: Of the snippets, (T,), T at least 1.
        num_frames: F.
        snippet: Frames a snippet.
        stride: Frames from one snippet to the next, at most `snippet`; None means
            `snippet`.

    Raises:
        InputError: If there are no snippets or the stride leaves gaps.
    """
    scores = np.asarray(scores, dtype=np.float64)
    stride = stride or snippet
    if scores.ndim != 1 or not len(scores):
        raise InputError(f"snippet scores have shape {scores.shape}; expected (T,).")
    if not 1 <= stride <= snippet:
        raise InputError(
            f"stride is {stride}; it must be from 1 to snippet, {snippet}."
        )
    if stride == snippet:
        covered = np.repeat(scores, snippet)
    else:
        length = (len(scores) - 1) * stride + snippet
        total, number = np.zeros(length), np.zeros(length)
        for offset in range(snippet):  # frame t stride + offset of every snippet t
            reached = slice(offset, offset + (len(scores) - 1) * stride + 1, stride)
            total[reached] += scores
            number[reached] += 1
        covered = total / number
    missing = max(0, num_frames - len(covered))
    return np.concatenate([covered, np.full(missing, scores[-1])])[:num_frames]


@dataclass(frozen=True, kw_only=True)
class VideoScores:
    """Scores of the snippets of test videos, and the labels of their frames.

    Attributes:
        scores: (T_v,) of every video, float64, finite, larger is more abnormal.
        labels: (F_v,) of every video, uint8, 0 normal, 1 abnormal, 255 not counted.
        snippet: Frames a snippet.
        stride: Frames from one snippet to the next.
        frames_per_second: Frame rate, for alarms an hour and seconds of latency.
        names: Videos, for messages; () for numbers.
    """

    scores: Sequence[NDArray[np.float64]]
    labels: Sequence[NDArray[np.uint8]]
    snippet: int = 16
    stride: int = 16
    frames_per_second: float = 25.0
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.labels) or not len(self.scores):
            raise InputError(
                f"there are scores of {len(self.scores)} videos and labels of "
                f"{len(self.labels)}; they must be as many, and at least one."
            )
        for number, (scores, labels) in enumerate(
            zip(self.scores, self.labels, strict=True)
        ):
            name = self.names[number] if self.names else f"number {number}"
            if not np.isfinite(scores).all():
                raise InputError(f"A snippet score of video {name} is not finite.")
            last = (len(scores) - 1) * self.stride  # first frame of the last snippet
            if not last <= len(labels) < last + self.snippet + self.stride:
                raise InputError(
                    f"Video {name} has {len(scores)} scores of snippets of "
                    f"{self.snippet} frames every {self.stride}, but labels of "
                    f"{len(labels)} frames."
                )

    def frames(self) -> list[NDArray[np.float64]]:
        """Scores of the frames, (F_v,) of every video."""
        return [
            frame_scores(scores, len(labels), self.snippet, self.stride)
            for scores, labels in zip(self.scores, self.labels, strict=True)
        ]

    def evaluate(self, seed: int, num_bootstrap: int = 2000) -> dict[str, Estimate]:
        """All metrics with intervals; see `evaluate`."""
        return evaluate(
            self.labels,
            self.frames(),
            frames_per_second=self.frames_per_second,
            seed=seed,
            num_bootstrap=num_bootstrap,
        )

    def chosen(self, videos: Sequence[int]) -> "VideoScores":
        """Of some of the videos, by number."""
        return VideoScores(
            scores=[self.scores[v] for v in videos],
            labels=[self.labels[v] for v in videos],
            snippet=self.snippet,
            stride=self.stride,
            frames_per_second=self.frames_per_second,
            names=[self.names[v] for v in videos] if self.names else (),
        )

    def to_arrays(self) -> dict[str, NDArray]:
        """What a run keeps, so that `from_arrays` gives the same again."""
        return {
            "snippet_scores": np.concatenate(self.scores).astype(np.float64),
            "snippets": np.array([len(one) for one in self.scores]),
            "frame_labels": np.concatenate(self.labels).astype(np.uint8),
            "frames": np.array([len(one) for one in self.labels]),
            "shape": np.array([self.snippet, self.stride]),
            "frames_per_second": np.array([self.frames_per_second], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "VideoScores":
        """What `to_arrays` gave."""
        snippet, stride = arrays["shape"].tolist()
        return cls(
            scores=_parts(arrays["snippet_scores"], arrays["snippets"]),
            labels=_parts(arrays["frame_labels"], arrays["frames"]),
            snippet=snippet,
            stride=stride,
            frames_per_second=float(arrays["frames_per_second"][0]),
        )


def _parts(whole: NDArray, lengths: NDArray) -> list[NDArray]:
    return np.split(whole, np.cumsum(lengths)[:-1])


def evaluate(
    labels: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    *,
    frames_per_second: float = 25.0,
    recall: float = RECALL,
    seed: int = 0,
    num_bootstrap: int = 2000,
) -> dict[str, Estimate]:
    """Frame metrics with 95 % percentile intervals, bootstrap over videos.

    Videos with normal frames only, with abnormal frames only and with both are drawn
    separately, each group at its own number, as `image.evaluate` does with patients.
    Where a class of frames comes from a single video nothing is known of the
    variation between videos: intervals of areas are then 0 to 1, others are None.

    Args:
        labels: 0 normal, 1 abnormal, 255 not counted, (F_v,) of each of V videos.
        scores: As `labels`, larger is more abnormal.
        frames_per_second: Frame rate.
        recall: Share of events that `false_alarms_per_hour` and `latency` are stated
            at; see `alarms`.
        seed: Decides the resamples.
        num_bootstrap: Resamples.

    Returns:
        `auc`, `ap`, `ap_trapezoid` of all frames; `auc_abnormal`, the AUC among the
        frames of abnormal videos only, left out where those have no normal frame;
        `false_alarms_per_hour` and `latency` in seconds. n counts frames, for the
        last two events. Those two are left out where frames are not counted, since
        their order in time is then broken.

    Raises:
        InputError: If lengths differ, a class is missing or a score is not finite.
    """
    whole = not any((np.asarray(one) == IGNORED).any() for one in labels)
    truth, found = _checked(*(labels, scores) if whole else _counted(labels, scores))
    cells = _Cells(truth, found)
    events = _Alarms(truth, found, frames_per_second) if whole else None
    groups = _strata(truth)
    abnormal = np.flatnonzero([one.any() for one in truth])  # videos
    inside = _Cells([truth[v] for v in abnormal], [found[v] for v in abnormal])

    def figures(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        areas = cells.areas(weights)
        areas["auc_abnormal"] = inside.areas(weights[:, abnormal])["auc"]
        if events is None:
            return areas
        rate, latency = events.at(weights, recall)
        return {**areas, "false_alarms_per_hour": rate, "latency": latency}

    generator = np.random.default_rng(seed)
    values = figures(np.ones((1, len(truth))))
    blocks = [
        figures(weights)
        for weights in resamples(
            groups, np.arange(len(truth)), num_bootstrap, generator, cells.size
        )
    ]
    only_normal, only_abnormal, both = (len(group) for group in groups)
    with_normal, with_abnormal = only_normal + both, only_abnormal + both
    trials = min(with_normal, with_abnormal, len(truth) // 2)
    estimates = {}
    for key, value in values.items():
        if not np.isfinite(value[0]):
            continue  # no normal frame in any abnormal video
        resampled = np.concatenate([block[key] for block in blocks])
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        if key in _AREAS:
            if key == "auc":
                low, high = exact_if_degenerate(low, high, max(1, trials))
            if min(with_normal, with_abnormal) < 2:
                low, high = 0.0, 1.0
        elif with_abnormal < 2:
            low = high = None
        number = sum(map(len, truth)) if key in _AREAS else events.num_events
        if key == "auc_abnormal":
            number = sum(len(truth[v]) for v in abnormal)
        ends = (None if end is None else float(end) for end in (low, high))
        estimates[key] = Estimate(float(value[0]), *ends, number)
    return estimates


def compare(
    first: VideoScores, second: VideoScores, seed: int = 0, num_bootstrap: int = 2000
) -> dict[str, Contrast]:
    """One method's frame metrics minus another's on the same videos.

    Both are scored on the same resamples of videos, drawn as in `evaluate`. The p-value
    is twice the smaller share of resamples on either side of no difference, and not
    below what their number allows.

    Returns:
        `auc`, `ap` and `ap_trapezoid`.

    Raises:
        InputError: If the labels are not the same.
    """
    same = len(first.labels) == len(second.labels) and all(
        map(np.array_equal, first.labels, second.labels)
    )
    if not same:
        raise InputError("two methods can only be compared on the same frame labels.")
    truth, mine = _checked(first.labels, first.frames())
    _, other = _checked(second.labels, second.frames())
    pair = [_Cells(truth, scores) for scores in (mine, other)]
    size = sum(cells.size for cells in pair)
    everyone = np.arange(len(truth))
    blocks = [
        np.ones((1, len(truth))),
        *resamples(
            _strata(truth), everyone, num_bootstrap, np.random.default_rng(seed), size
        ),
    ]
    found = [[cells.areas(weights) for weights in blocks] for cells in pair]
    contrasts = {}
    for key in found[0][0]:
        one, two = (np.concatenate([block[key] for block in f]) for f in found)
        value, drawn = (one - two)[0], (one - two)[1:]
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        side = min((drawn <= 0).mean(), (drawn >= 0).mean())
        p = min(1.0, 2 * max(side, 1 / len(drawn)))
        contrasts[key] = Contrast(float(value), float(low), float(high), float(p))
    return contrasts


def auc(labels: Sequence[ArrayLike], scores: Sequence[ArrayLike]) -> float:
    """Frame AUC alone, without an interval."""
    truth, found = _checked(labels, scores)
    return float(_Cells(truth, found).areas(np.ones((1, len(truth))))["auc"][0])


def alarms(
    labels: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    frames_per_second: float = 25.0,
    recall: float = RECALL,
) -> tuple[float, float, float]:
    r"""What an operator would see: threshold, false alarms an hour, latency.

    An event is a longest run of abnormal frames; it is found when any of its frames
    scores at least the threshold. The threshold is the largest that finds the stated
    share of events. A false alarm is a longest run of frames at or above the threshold
    none of which is abnormal. Latency is the mean time from the first frame of a found
    event to its first frame at or above the threshold; events that are not found have
    none.

    Returns:
        Threshold, false alarms an hour of video, mean latency in seconds.
    """
    truth, found = _checked(labels, scores)
    events = _Alarms(truth, found, frames_per_second)
    rate, latency = events.at(np.ones((1, len(truth))), recall)
    wanted = int(np.ceil(recall * events.num_events - 1e-9))
    return float(events.peaks[wanted - 1]), float(rate[0]), float(latency[0])


def _checked(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike]
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float64]]]:
    if len(labels) != len(scores) or not len(labels):
        raise InputError(
            f"there are labels of {len(labels)} videos and scores of {len(scores)}; "
            "they must be as many, and at least one."
        )
    truth, found = [], []
    for number, (label, score) in enumerate(zip(labels, scores, strict=True)):
        label, score = np.asarray(label), np.asarray(score, dtype=np.float64)
        if label.shape != score.shape or label.ndim != 1 or not len(label):
            raise InputError(
                f"video {number} has labels of shape {label.shape} and scores of shape "
                f"{score.shape}; both must be (F,), F at least 1."
            )
        if not np.isin(label, (0, 1)).all():
            raise InputError(
                f"labels of video {number} must be 0 (normal) or 1 (abnormal)."
            )
        if not np.isfinite(score).all():
            raise InputError(f"a score of video {number} is not finite.")
        truth.append(label.astype(bool))
        found.append(score)
    num_abnormal = sum(int(one.sum()) for one in truth)
    if not 0 < num_abnormal < sum(map(len, truth)):
        raise InputError(
            "labels hold frames of one class only; a ROC curve needs both normal and "
            "abnormal ones."
        )
    return truth, found


def _counted(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike]
) -> tuple[list[NDArray], list[NDArray]]:
    """Frames that count, of the videos that have any."""
    pairs = [
        (np.asarray(label)[kept], np.asarray(score)[kept])
        for label, score in zip(labels, scores, strict=True)
        if (kept := np.asarray(label) != IGNORED).any()
    ]
    return [label for label, _ in pairs], [score for _, score in pairs]


def _strata(truth: list[NDArray[np.bool_]]) -> tuple[NDArray[np.intp], ...]:
    """Videos with normal frames only, with abnormal ones only, and with both."""
    clusters = np.repeat(np.arange(len(truth)), [len(one) for one in truth])
    return strata(np.concatenate(truth), clusters)


class _Cells:
    """Frames of equal score in one video, counted together: C cells, C at most F.

    Scores come by the snippet, so C is far below the number of frames, and 2,000
    resamples of a million frames take half a minute.
    """

    def __init__(
        self, labels: list[NDArray[np.bool_]], scores: list[NDArray[np.float64]]
    ) -> None:
        video, value, abnormal, normal = [], [], [], []
        for number, (label, score) in enumerate(zip(labels, scores, strict=True)):
            distinct, where = np.unique(score, return_inverse=True)
            video.append(np.full(len(distinct), number))
            value.append(distinct)
            abnormal.append(np.bincount(where, label, len(distinct)))
            normal.append(np.bincount(where, ~label, len(distinct)))
        order = np.argsort(np.concatenate(value), kind="stable")[::-1]  # high first
        values = np.concatenate(value)[order]
        self.video = np.concatenate(video)[order]
        self.abnormal = np.concatenate(abnormal)[order]
        self.normal = np.concatenate(normal)[order]
        first = np.flatnonzero(np.diff(values, prepend=np.inf))  # of each tie
        self.first = first if len(first) < len(values) else None
        self.size = len(values)

    def areas(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """AUC, AP and AP by trapezoids of R resamples of videos, weights (R, V)."""
        each = weights[:, self.video]  # (R, C)
        step_tp, step_fp = each * self.abnormal, each * self.normal
        if self.first is not None:
            step_tp = np.add.reduceat(step_tp, self.first, axis=1)
            step_fp = np.add.reduceat(step_fp, self.first, axis=1)
        tp, fp = np.cumsum(step_tp, axis=1), np.cumsum(step_fp, axis=1)
        num_abnormal, num_normal = tp[:, -1], fp[:, -1]
        precision = tp / np.maximum(tp + fp, 1)
        before = np.ones_like(precision)  # precision is 1 where nothing is called yet
        np.copyto(before[:, 1:], precision[:, :-1], where=(tp + fp)[:, :-1] > 0)
        area = np.einsum("rk,rk->r", step_fp, tp - step_tp / 2)
        steps = np.einsum("rk,rk->r", step_tp, precision)
        trapezoids = np.einsum("rk,rk->r", step_tp, (precision + before) / 2)
        return {
            "auc": _ratio(area, num_abnormal * num_normal),
            "ap": _ratio(steps, num_abnormal),
            "ap_trapezoid": _ratio(trapezoids, num_abnormal),
        }


class _Alarms:
    """Events of the test videos, and what happens when each sets the threshold.

    Axes: E events in descending order of their highest score, which are also the E
    thresholds that can matter; V videos.
    """

    def __init__(
        self,
        labels: list[NDArray[np.bool_]],
        scores: list[NDArray[np.float64]],
        frames_per_second: float,
    ) -> None:
        if not frames_per_second > 0:
            raise InputError(
                f"frames_per_second is {frames_per_second}; it must be above 0."
            )
        events = []  # (peak, video, scores of its frames)
        for video, (label, score) in enumerate(zip(labels, scores, strict=True)):
            for start, stop in _runs(label):
                part = score[start:stop]
                events.append((part.max(), video, part))
        events.sort(key=lambda event: -event[0])
        self.num_events = len(events)
        self.peaks = np.array([peak for peak, _, _ in events])  # (E,), descending
        self.video = np.array([video for _, video, _ in events])
        self.hours = np.array([len(one) for one in labels]) / frames_per_second / 3600
        self.latency = np.full((len(events), len(events)), np.nan)  # threshold, event
        for number, (_, _, part) in enumerate(events):
            highest = np.maximum.accumulate(part)
            reached = self.peaks <= highest[-1]
            delay = np.searchsorted(highest, self.peaks[reached], side="left")
            self.latency[reached, number] = delay / frames_per_second
        self.false = np.stack(  # (E, V), false alarms
            [
                _false_alarms(label, score, self.peaks)
                for label, score in zip(labels, scores, strict=True)
            ],
            axis=1,
        )

    def at(
        self, weights: NDArray[np.float64], recall: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False alarms an hour and mean latency (s) of resamples, weights (R, V)."""
        if not 0 < recall <= 1:
            raise InputError(f"recall is {recall}; it must be above 0 and at most 1.")
        each = weights[:, self.video]  # (R, E)
        found = np.cumsum(each, axis=1)
        total = found[:, -1:]
        threshold = np.argmax(found >= recall * total - 1e-9, axis=1)  # (R,)
        rate = _ratio(
            np.einsum("rv,rv->r", weights, self.false[threshold]), weights @ self.hours
        )
        latency = self.latency[threshold]  # (R, E)
        there = np.isfinite(latency)
        waited = np.where(there, latency, 0)
        return rate, _ratio(
            np.einsum("re,re->r", each, waited), np.einsum("re,re->r", each, there)
        )


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Longest runs of true flags, start and stop, of (F,)."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _false_alarms(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], thresholds: NDArray
) -> NDArray[np.int64]:
    """Runs at or above each threshold, (E,), that hold no abnormal frame."""
    # Frames of one score in a row, and of one label, act as one.
    change = (np.diff(scores) != 0) | np.diff(labels)
    first = np.concatenate([[0], np.flatnonzero(change) + 1])
    score, abnormal = scores[first], np.cumsum([0, *labels[first]])
    counts = np.empty(len(thresholds), dtype=np.int64)
    for number, threshold in enumerate(thresholds):
        above = (score >= threshold).astype(np.int8)
        edges = np.flatnonzero(np.diff(above, prepend=0, append=0))
        counts[number] = (abnormal[edges[1::2]] == abnormal[edges[::2]]).sum()
    return counts


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
