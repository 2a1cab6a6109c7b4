"""Rows of frames of videos: numbers become rows here as they do of images in `units`.

What `runs verify` needs to compute them again is kept: scores of snippets with labels
of frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from thesislib.datasets.base import NORMAL
from thesislib.metrics import video
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate
from thesislib.metrics.seeds import over_seeds_phantom
from thesislib.metrics.video import VideoScores
from thesislib.study.units import Tables, as_printed, printing


def video_scores(data, scores: Sequence[np.ndarray]) -> VideoScores:
    """Scores of the snippets of a dataset's test videos, with its frame labels.

    Args:
        data: What was judged, a `VideoDataset`.
        scores: (T_v,) of each test video, larger is more abnormal.
    """
    return VideoScores(
        scores=[np.asarray(one, dtype=np.float64) for one in scores],
        labels=data.test_frame_labels,
        snippet=data.snippet,
        stride=data.stride,
        frames_per_second=data.frames_per_second,
        names=data.test_ids,
    )


def add_frames(
    run,
    row: str,
    judged: VideoScores,
    tables: Tables = (None,),
    setting: Mapping[str, Any] | None = None,
) -> dict[str, Estimate]:
    """Record a row's frame metrics, and the scores and labels behind them.

    Args:
        row: Row key.
        judged: Of all test videos; intervals are by bootstrap over videos.
        tables: Published tables that may print the row; None for rows of ours.
        setting: What tells rows of one key apart.
    """
    setting, found = setting or {}, judged.evaluate(run.parameters.seed)
    run.add_histograms(row, setting, judged.to_arrays())
    _add_frame_rows(run, row, found, tables, setting)
    return found


def add_draws(
    run,
    row: str,
    draws: Mapping[int, VideoScores],
    tables: Tables = (None,),
    setting: Mapping[str, Any] | None = None,
) -> dict[str, Estimate]:
    """Record each draw of training videos by `add_frames`, and the mean over draws.

    The draws share videos, so they are no independent observations: Student's interval
    says how much the choice of training videos matters, not how a method does on
    others.

    Args:
        draws: Number of the draw -> scores of its test videos; at least five.

    Returns:
        Means of the metrics that every draw has; n is that of the first draw.
    """
    setting, means = setting or {}, {}
    each = [
        add_frames(run, row, judged, setting={**setting, "draw": draw})
        for draw, judged in draws.items()
    ]
    for metric, first in each[0].items():
        if all(metric in one for one in each):
            mean = over_seeds_phantom([one[metric].value for one in each])
            ends = (mean.value, mean.ci_low, mean.ci_high)
            means[metric] = Estimate(*ends, first.n)
    _add_frame_rows(run, row, means, tables, setting)
    return means


def add_event_kinds(
    run, data, row: str, judged: VideoScores, setting: Mapping[str, Any] | None = None
) -> dict[str, Estimate]:
    """Record the frame AUC of each kind of event against all normal frames.

    A class of abnormal videos is judged with all normal videos, Figure 8.6; a kind of
    snippet, which phantoms have, with all normal frames, other events left out.

    Args:
        data: What was judged, a `VideoDataset`.

    Returns:
        Kind -> estimate, classes first.
    """
    found, kinds = {}, np.array(data.test_kinds)
    parts = {
        kind: judged.chosen(np.flatnonzero((kinds == kind) | (kinds == NORMAL)))
        for kind in sorted(set(kinds.tolist()) - {NORMAL})
    }
    for kind in data.test_snippet_kinds:
        parts[kind] = replace(judged, labels=data.labels_of_kind(kind))
    for kind, part in parts.items():
        own = {**(setting or {}), "kind": kind}
        run.add_histograms(row, own, part.to_arrays())
        found[kind] = part.evaluate(run.parameters.seed)["auc"]
        run.add_row(None, row, own, "auc", *found[kind])
    return found


def add_frame_contrast(
    run,
    row: str,
    minus: str,
    pair: tuple[VideoScores, VideoScores],
    setting: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = ("auc", "ap"),
) -> dict[str, Contrast]:
    """Record one row's frame metrics minus another's on the same videos.

    Args:
        row: Row key whose metrics the other's are taken from.
        minus: The other row key.
        pair: Scores of both; kept under the setting of the contrast, since the other
            row may stand under one of its own.
        setting: What tells rows of `row` apart.
        metrics: Those to record, of `metrics.video.compare`.
    """
    setting = dict(setting or {})
    for key, judged in zip((row, minus), pair, strict=True):
        run.add_histograms(key, setting, judged.to_arrays())
    found = video.compare(*pair, seed=run.parameters.seed)
    _add_differences(run, row, minus, found, pair[0], setting, metrics)
    return found


def add_draw_contrast(
    run,
    row: str,
    minus: str,
    pairs: Mapping[int, tuple[VideoScores, VideoScores]],
    setting: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = ("auc", "ap"),
) -> dict[str, Contrast]:
    """Record the contrast of each draw by `add_frame_contrast`, and their mean.

    Args:
        pairs: Number of the draw -> scores of both; at least five draws.

    Returns:
        Means over draws with Student's interval; see `add_draws`.
    """
    setting, means = dict(setting or {}), {}
    each = [
        add_frame_contrast(run, row, minus, pair, {**setting, "draw": draw}, metrics)
        for draw, pair in pairs.items()
    ]
    for metric in metrics:
        mean = over_seeds_phantom([one[metric].difference for one in each])
        means[metric] = Contrast(mean.value, mean.ci_low, mean.ci_high, mean.p)
    first = next(iter(pairs.values()))[0]
    _add_differences(run, row, minus, means, first, setting, metrics)
    return means


def _add_differences(
    run,
    row: str,
    minus: str,
    found: Mapping[str, Contrast],
    judged: VideoScores,
    setting: Mapping[str, Any],
    metrics: Sequence[str],
) -> None:
    number = sum(map(len, judged.labels))
    for metric in metrics:
        one = found[metric]
        ends = (one.difference, one.ci_low, one.ci_high)
        where = {**setting, "minus": minus}
        run.add_row(None, row, where, f"{metric} difference", *ends, number)


def _add_frame_rows(
    run, row: str, found: Mapping[str, Estimate], tables: Tables, setting: Mapping
) -> None:
    for table in printing(tables, row, setting):
        for metric, estimate in found.items():
            name = as_printed(table, metric, run.parameters.dataset)
            run.add_row(table, row, setting, name, *estimate)
