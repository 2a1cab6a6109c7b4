"""What no method may be proud of: naive baselines on the same images."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from thesislib.datasets import baselines, phantoms
from thesislib.detectors.scales import Detector, Scores
from thesislib.metrics import image
from thesislib.metrics.image import Estimate
from thesislib.metrics.ranks import LEAST, rank_correlation
from thesislib.report.tables import beside
from thesislib.report.text import FLOORS
from thesislib.study import minima
from thesislib.study.html import estimate_html, table_html
from thesislib.study.method import Method, detect
from thesislib.study.optional import attempt, in_place, section
from thesislib.study.task import Task, data_of
from thesislib.study.units import IMAGE

FOLLOWED = ("nn-statistics", "nn-thumbnails-16", "edge-oracle")  # by scores of methods
FEATURES = {  # of the one-class nearest neighbours
    "nn-statistics": baselines.statistics_features,
    "nn-thumbnails-16": partial(baselines.thumbnails, size=16),
    "nn-thumbnails-32": partial(baselines.thumbnails, size=32),
}


EDGES = {  # of the distance from the training images' mean
    "edge-strength": baselines.edge_strength,
    "gradient-energy": baselines.gradient_energy,
}


def floor(run, data, key: str) -> np.ndarray:
    """Scores of the test images by a naive baseline, (M,)."""
    test, seed = data.test.pixels, run.parameters.seed
    if key == "logistic-statistics":
        statistics = baselines.statistics_features(test)
        return baselines.supervised_logistic(statistics, data.test_labels, seed)
    if key == "cnn-ceiling":
        return _ceiling(run, test)
    if key == "edge-oracle":
        edges = baselines.edge_strength(test)
        return baselines.oracle_direction(edges, data.test_labels)
    if measure := EDGES.get(key):
        return baselines.distance_from_mean(measure(data.train.pixels), measure(test))
    features = FEATURES[key]
    nearest = baselines.one_class_nearest_neighbour
    return nearest(features(data.train.pixels), features(test))


def method(key: str, **given: Any) -> Method:
    """A floor as a row beside the methods, where classes are normal in their turn."""

    def fit(run, task: Task) -> Detector:
        def score(model, batches, config, maps: bool) -> Scores:
            with run.stage(f"{key} {task.stage}"):
                scores = floor(run, data_of(run, task), key)
            return Scores(torch.as_tensor(scores, dtype=torch.float64), None)

        return Detector({key: None}, {key: None}, score)

    label = f"floor: {FLOORS[key]}"
    return Method(key=key, label=label, stage=key, fit=fit, **given)


def rows(run) -> dict[str, Estimate]:
    """Record the floors of a dataset that is one class, and the F1 of calling every
    test image abnormal.

    Returns:
        Row key -> AUROC; `all-abnormal` -> F1.
    """
    data = run.data
    with run.stage("naive baselines"):
        scores = _scores(run)
    found = {key: IMAGE.add(run, data, key, of)["auc"] for key, of in scores.items()}
    f1 = image.f1_all_abnormal(data.test_labels)
    run.add_row(None, "all-abnormal", {}, "f1", f1, n=len(data.test_labels))
    return found | {"all-abnormal": Estimate(f1, f1, f1, len(data.test_labels))}


def _scores(run) -> dict[str, np.ndarray]:
    """Scores of all floors of a dataset that is one class, each computed once; without
    those that the data are too few for."""
    found = {}
    for key, name in FLOORS.items():
        if key != "cnn-ceiling" or run.data.source == "phantom":
            why = minima.lacking(run.data, key)
            found[key] = attempt(run, name, partial(_kept, run, key), why)
    return {key: scores for key, scores in found.items() if scores is not None}


def _kept(run, key: str) -> np.ndarray:
    compute = partial(floor, run, run.data, key)
    return run.once(f"floor {key}", lambda: {"scores": compute()})["scores"]


@section("naive baselines")
def table(run) -> str:
    """The naive baselines, a table of ours alone; where classes take turns they stand
    beside the methods."""
    if getattr(run.data, "class_names", None):
        return "<p>The floors stand beside the methods, class by class.</p>"
    f1 = rows(run)["all-abnormal"].value
    html = beside(
        run.rows,
        None,
        metrics=("auc",),
        names=FLOORS,
        partial=run.located.partial,
        title="Baselines that know nothing of lesions.",
    )
    html += in_place(run, FLOORS.values())
    return f"{html}<p>Calling every test image abnormal has an F1 of {f1:.3f}.</p>"


@section("floors that scores follow")
def followed(run, methods: Sequence[Method]) -> str:
    """Which floors the scores of methods follow, on normal test images alone.

    A rank correlation near 1 says that a method is a meter of that floor, whatever it
    was trained for; normal images alone, since a score that finds lesions agrees with
    a floor that finds them, too. The edge strength has the direction that test labels
    give it, which does not order normal images otherwise.
    """
    if getattr(run.data, "class_names", None):
        return ""
    normal, of_floors = run.data.test_labels == 0, _scores(run)
    if normal.sum() < LEAST:
        return f"<p>Fewer than {LEAST} normal test images: nothing to rank.</p>"
    lines = []
    for method in methods:
        scores, cells = detect(run, method).scores[normal], []
        for key in FOLLOWED:
            found = None
            if key in of_floors:
                found = rank_correlation(scores, of_floors[key][normal])
            cells.append("–" if found is None else estimate_html(found))
            if found is not None:
                setting = {**method.setting, "floor": key}
                run.add_row(None, method.key, setting, "rank correlation", *found)
        lines.append((method.label, *cells))
    return table_html(
        "Rank correlation of scores with those of the floors, normal test images "
        "alone; 95 % intervals.",
        ("method", *(FLOORS[key] for key in FOLLOWED)),
        lines,
        run,
    )


def _ceiling(run, test: np.ndarray) -> np.ndarray:
    """Scores of a small network trained on labelled phantoms of its own draw."""
    name = f"ceiling/{run.data.modality}/{run.parameters.seed}"
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    count = run.configs["study"].num_ceiling
    abnormal = torch.arange(count) % 2 == 1
    drawn = phantoms.generate(run.data.modality, count, test.shape[-1], seed, abnormal)
    return baselines.supervised_cnn_scores(
        np.asarray(drawn.images), abnormal.numpy(), test, run.parameters.seed
    )
