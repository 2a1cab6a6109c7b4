"""Methods on videos: fitted once on each task, judged on frames, recorded as rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from thesislib.datasets.videos import baselines
from thesislib.errors import InputError
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate
from thesislib.metrics.video import VideoScores
from thesislib.study.encoders import chosen_of
from thesislib.study.frames import (
    add_draw_contrast,
    add_draws,
    add_frame_contrast,
    add_frames,
    video_scores,
)
from thesislib.study.task import kept
from thesislib.study.units import Tables
from thesislib.study.video_task import WHOLE, VideoTask, bags_of, videos_of
from thesislib.training import seeding
from thesislib.video import ctmil, deep_mil, mil, rtfm

Tasks = Sequence[VideoTask]
Found = dict[str, dict[str, Estimate]]  # row -> metric -> estimate


@dataclass(frozen=True, kw_only=True)
class VideoMethod:
    """One row.

    Attributes:
        key: Row key, as in `thesislib.paper` where the row is printed.
        label: For legends and tables.
        stage: Unique in a run; names stored arrays.
        score: Gives the scores of the snippets of every test video, (T_v,) each, from
            (run, task).
        setting: What tells rows of one key apart.
        config: Settings that variants change.
    """

    key: str
    label: str
    stage: str
    score: Callable[[Any, VideoTask], Sequence[np.ndarray]]
    setting: Mapping[str, Any] = field(default_factory=dict)
    config: Any = None


# --- Networks --------------------------------------------------------------------

FAMILIES: dict[type, tuple[ModuleType, type[nn.Module]]] = {
    rtfm.RTFMConfig: (rtfm, rtfm.RTFM),
    ctmil.CTMILConfig: (ctmil, ctmil.CTMIL),
    deep_mil.DeepMILConfig: (deep_mil, deep_mil.DeepMIL),
}


def trained(run, config, stage: str, task: VideoTask = WHOLE) -> nn.Module:
    """The network of some settings, trained on a task or read back.

    Args:
        config: Settings of one of `FAMILIES`.
        stage: Name of the training; what stands before a slash in it names overrides.
    """
    name = f"{stage}/{task.stage or 'all'}"
    module, build = FAMILIES[type(config)]

    def train() -> nn.Module:
        bags = bags_of(run, task)
        seeding.seed_torch(run.parameters.seed, name, "weights")
        model = build(config, bags.num_features).to(run.device)
        with run.stage(name), torch.enable_grad():
            module.fit(model, bags, config, run.loop(name))
        return model

    return kept(run, ("video network", name), train)


def network(config, stage: str, **given: Any) -> VideoMethod:
    """The row of a trained network; see `trained`."""

    def score(run, task: VideoTask) -> list[np.ndarray]:
        model, data = trained(run, config, stage, task), videos_of(run, task)
        tests = (data.test_video(n) for n in range(len(data.test)))
        return [one.numpy() for one in mil.score_videos(model, tests)]

    return VideoMethod(stage=stage, score=score, config=config, **given)


FLOORS = {  # row key -> label and function; no method may be read without them
    "video-oracle": ("label of the whole video", baselines.video_oracle),
    "magnitude": ("length of the features", baselines.magnitude),
    "nn-snippets": ("nearest normal snippets", baselines.nearest_neighbours),
    "logistic-videos": ("logistic regression on videos", baselines.pooled_logistic),
    "logistic-noisy": (
        "logistic regression, snippets with the label of their video",
        baselines.noisy_logistic,
    ),
}
CEILINGS = {  # with labels of training snippets, which phantoms alone have
    "supervised": ("supervised, snippet by snippet", baselines.supervised_logistic),
    "supervised-context": ("supervised, with context", baselines.supervised_network),
}


def floors(run) -> list[VideoMethod]:
    """What the methods are read beside: floors, and ceilings where there can be."""
    known = FLOORS | (CEILINGS if run.data.source == "phantom" else {})
    return [
        VideoMethod(
            key=key,
            label=label,
            stage=f"floor-{key}",
            score=lambda run, task, floor=floor: floor(videos_of(run, task)),
        )
        for key, (label, floor) in known.items()
    ]


def features_of(run, official: str) -> dict[str, str]:
    """The part of a row's setting that names the features.

    Args:
        official: As the chapter's tables call the published features, and phantoms
            in their place.
    """
    if run.parameters.dataset == "video-folder":
        return {"features": "own"}
    own = "describe" in run.data.provenance
    return {"features": run.parameters.features if own else official}


def variants(
    own: VideoMethod, name: str, changes: Mapping[Any, Mapping[str, Any]]
) -> list[VideoMethod]:
    """The same method with other settings, each told apart by `name`.

    Args:
        own: As configured; a variant that changes nothing is this very training.
        changes: Value of `name` -> what changes.
    """
    found = []
    for value, change in changes.items():
        config, setting = replace(own.config, **change), {name: value}
        label = f"{name.replace('_', ' ')} {value}"
        if config == own.config:
            found.append(replace(own, label=label, setting=setting))
        else:
            stage = f"{own.stage}/{name}-{value}"
            given = {"key": own.key, "label": label, "setting": setting}
            found.append(network(config, stage, **given))
    return found


def readings(run, own: VideoMethod, name: str) -> list[VideoMethod]:
    """The readings that the study names, beside each other.

    Args:
        own: As configured.
        name: Of its settings in the run's.
    """
    chosen = run.configs["study"].readings
    allowed = get_args(type(run.parameters).model_fields["reading"].annotation)
    found = {}
    for reading in chosen_of("study.readings", chosen, dict.fromkeys(allowed)):
        parameters = run.parameters.model_copy(update={"reading": reading})
        found[reading] = vars(parameters.resolved_configs()[name])
    return variants(own, "reading", found)


# --- Scores and rows ---------------------------------------------------------------


def detect(run, method: VideoMethod, task: VideoTask = WHOLE) -> VideoScores:
    """Fit a method on a task and score its test videos, or read back what it said."""
    name = " ".join(filter(None, (method.stage, task.stage)))
    data = videos_of(run, task)

    def compute() -> dict[str, np.ndarray]:
        scores = method.score(run, task)
        with run.stage(f"scores {name}"):
            return video_scores(data, scores).to_arrays()

    def read() -> VideoScores:
        return VideoScores.from_arrays(run.once(f"video scores {name}", compute))

    return kept(run, ("video scores", name), read)


def rows(
    run, methods: Sequence[VideoMethod], tasks: Tasks, tables: Tables = (None,)
) -> Found:
    """Record every method's frame metrics, with the snippet scores behind them.

    Args:
        tasks: One; or the recorded draws, and then each and the mean over them, with
            an interval over draws.
        tables: Published tables that may print a row.

    Raises:
        InputError: If two methods have one key and setting.
    """
    named = [(method.key, str(dict(method.setting))) for method in methods]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise InputError(f"Two methods have the row key {twice[0][0]} and one setting.")
    return {method.stage: _add(run, method, tasks, tables) for method in methods}


def _add(run, method: VideoMethod, tasks: Tasks, tables: Tables) -> dict:
    scores = {task: detect(run, method, task) for task in tasks}
    common = _common(method, tasks)
    if len(tasks) > 1:
        draws = {task.draw: judged for task, judged in scores.items()}
        return add_draws(run, method.key, draws, tables, common)
    return add_frames(run, method.key, scores[tasks[0]], tables, common)


def contrast(
    run,
    first: VideoMethod,
    second: VideoMethod,
    tasks: Tasks = (WHOLE,),
    given: Sequence[str] = ("auc", "ap"),
) -> dict[str, Contrast]:
    """Record one method's frame metrics minus another's on the same videos.

    Args:
        tasks: One; or the recorded draws, and then each and the mean over them.
        given: Which metrics.
    """
    pairs = {
        task: (detect(run, first, task), detect(run, second, task)) for task in tasks
    }
    keys, common = (first.key, second.key), _common(first, tasks)
    if len(tasks) > 1:
        of_draws = {task.draw: pair for task, pair in pairs.items()}
        return add_draw_contrast(run, *keys, of_draws, common, given)
    return add_frame_contrast(run, *keys, pairs[tasks[0]], common, given)


def _common(method: VideoMethod, tasks: Tasks) -> dict[str, Any]:
    """The setting of a method's rows on a task, or on all draws together."""
    setting = {**method.setting, **tasks[0].setting}
    if len(tasks) > 1:
        setting.pop("draw", None)
    return setting
