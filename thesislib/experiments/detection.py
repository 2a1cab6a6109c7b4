"""From scores to rows: detection, contrasts, localisation and the naive floors.

Shared by all chapters whose detectors give an image score and a map.
"""

import hashlib

import numpy as np
import torch

from thesislib.datasets import baselines, phantoms
from thesislib.metrics import delong, image
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate
from thesislib.report.tables import beside

METRICS = ("auc", "ap", "sensitivity", "specificity", "accuracy")
FLOORS = {  # row key of a naive baseline: what it is
    "nn-statistics": "nearest normal image, intensity statistics",
    "nn-thumbnails-16": "nearest normal image, 16 px thumbnails",
    "nn-thumbnails-32": "nearest normal image, 32 px thumbnails",
    "logistic-statistics": "logistic regression on statistics, with labels",
    "cnn-ceiling": "small network trained on labelled phantoms",
}


def estimates(run, scores: np.ndarray) -> dict[str, Estimate]:
    """Image metrics of the test set with intervals, as the run's record has them."""
    return image.evaluate(
        run.data.test_labels,
        scores,
        patients=run.data.test_patients,
        seed=run.parameters.seed,
    )


def add_detection(run, row, scores, table=None, setting=None) -> dict[str, Estimate]:
    """Record image metrics with intervals, and the scores behind them.

    Args:
        run: An open run.
        row: Row key.
        scores: (M,), one a test image.
        table: Published table, None if there is none; several as a tuple.
        setting: What tells rows of one key apart.

    Returns:
        Metric -> estimate.
    """
    data, setting = run.data, setting or {}
    found = estimates(run, scores)
    run.add_scores(
        row, setting, data.test_ids, data.test_labels, scores, data.test_patients
    )
    for one in table if isinstance(table, tuple) else (table,):
        for metric in METRICS:
            run.add_row(one, row, setting, metric, *found[metric])
    return found


def add_families(run, row, scores) -> dict[str, Estimate]:
    """Record the AUROC of each kind of abnormality against all normal images.

    Returns:
        Kind -> estimate, in alphabetical order.
    """
    data, found = run.data, {}
    kinds = np.array(data.test_kinds)
    for kind in sorted(set(kinds[data.test_labels == 1])):
        chosen = (data.test_labels == 0) | (kinds == kind)
        patients = data.test_patients
        patients = None if patients is None else patients[chosen]
        setting = {"kind": str(kind)}
        found[str(kind)] = image.evaluate(
            data.test_labels[chosen],
            scores[chosen],
            patients=patients,
            seed=run.parameters.seed,
        )["auc"]
        ids = np.array(data.test_ids)[chosen]
        run.add_scores(
            row, setting, ids, data.test_labels[chosen], scores[chosen], patients
        )
        run.add_row(None, row, setting, "auc", *found[str(kind)])
    return found


def add_contrast(run, first, second, first_scores, second_scores) -> Contrast:
    """Record the difference of two AUROCs on the same test images, by DeLong.

    Args:
        first: Row key whose AUROC the other's is taken from.
        second: The other row key.
    """
    data = run.data
    contrast = delong.compare(
        data.test_labels, first_scores, second_scores, data.test_patients
    )
    run.add_row(
        None,
        first,
        {"minus": second},
        "auc difference",
        contrast.difference,
        contrast.ci_low,
        contrast.ci_high,
        len(data.test_labels),
    )
    return contrast


def add_floors(run) -> dict[str, Estimate]:
    """Record what no method may be proud of: naive baselines on the same images.

    One-class nearest neighbours on intensity statistics and on thumbnails, logistic
    regression with labels, on phantoms a small network with labels, and the F1 of
    calling everything abnormal.

    Returns:
        Row key -> AUROC; `all-abnormal` -> F1.
    """
    data = run.data

    def compute() -> dict[str, np.ndarray]:
        train, test = data.train.pixels, data.test.pixels
        train_statistics = baselines.statistics_features(train)
        statistics = baselines.statistics_features(test)
        nearest = baselines.one_class_nearest_neighbour
        scores = {
            "nn-statistics": nearest(train_statistics, statistics),
            "logistic-statistics": baselines.supervised_logistic(
                statistics, data.test_labels, run.parameters.seed
            ),
        }
        for size in (16, 32):
            scores[f"nn-thumbnails-{size}"] = nearest(
                baselines.thumbnails(train, size), baselines.thumbnails(test, size)
            )
        if data.source == "phantom":
            scores["cnn-ceiling"] = _ceiling(run, test)
        return scores

    with run.stage("naive baselines"):
        scores = run.once("floors", compute)
    found = {
        row: add_detection(run, row, scores[row])["auc"]
        for row in FLOORS
        if row in scores
    }
    f1 = image.f1_all_abnormal(data.test_labels)
    run.add_row(None, "all-abnormal", {}, "f1", f1, n=len(data.test_labels))
    found["all-abnormal"] = Estimate(f1, f1, f1, len(data.test_labels))
    return found


def floors_table(run) -> str:
    """The naive baselines, a table of ours alone."""
    add_floors(run)
    html = beside(
        run.rows,
        None,
        metrics=("auc",),
        names=FLOORS,
        partial=run.located.partial,
        title="Baselines that know nothing of lesions.",
    )
    f1 = next(r["value"] for r in run.rows if r["row"] == "all-abnormal")
    return f"{html}<p>Calling every test image abnormal has an F1 of {f1:.3f}.</p>"


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
