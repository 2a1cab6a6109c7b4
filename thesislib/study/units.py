"""What is judged: images and pixels, frames in `frames`. Numbers become rows here.

A unit knows its metrics and intervals, and stores what `runs verify` needs to compute
them again: scores of images, histograms of pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thesislib import paper
from thesislib.metrics import classes, delong, image
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate
from thesislib.metrics.pixel import PixelHistogram
from thesislib.study import minima

Tables = Sequence[str | None]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One kind of thing that has a score and a label.

    Attributes:
        name: For readers.
        metrics: Recorded for each row, keys of `metrics.image.evaluate`.
    """

    name: str
    metrics: tuple[str, ...]

    def estimates(self, run, data, scores: np.ndarray) -> dict[str, Estimate]:
        """Metrics with intervals by bootstrap; images of a patient stay together."""
        return image.evaluate(
            data.test_labels,
            scores,
            patients=data.test_patients,
            seed=run.parameters.seed,
        )

    def add(
        self,
        run,
        data,
        row: str,
        scores: np.ndarray,
        tables: Tables = (None,),
        setting: Mapping[str, Any] | None = None,
    ) -> dict[str, Estimate]:
        """Record a row's metrics, and the scores behind them.

        Args:
            data: What was judged, a `Dataset`.
            row: Row key.
            scores: (M,), larger is more abnormal.
            tables: Published tables that may print the row; None for rows of ours.
            setting: What tells rows of one key apart.
        """
        setting, found = setting or {}, self.estimates(run, data, scores)
        add_scores(run, data, row, setting, scores)
        for table in printing(tables, row, setting):
            for metric in self.metrics:
                name = as_printed(table, metric, run.parameters.dataset)
                run.add_row(table, row, setting, name, *found[metric])
        return found


IMAGE = Unit(
    name="image", metrics=("auc", "ap", "sensitivity", "specificity", "accuracy")
)
PIXELS = {  # metric of all pixels of all test images -> method of `PixelHistogram`
    "pixel_auc": "auroc",
    "pixel_ap": "ap",
    "fpr95": "fpr95",
    "pro": "pro",
}


def printing(tables: Tables, row: str, setting: Mapping[str, Any]) -> Tables:
    """The tables that print such a row, and None where it is asked for or none does."""
    found = [t for t in tables if t is None or printed_in(t, row, setting)]
    return found or (None,)


def as_printed(table: str | None, metric: str, dataset: str) -> str:
    """A metric as a table calls it: with its dataset where there are several."""
    there = paper.table(table)["metrics"] if table else ()
    return f"{metric}@{dataset}" if f"{metric}@{dataset}" in there else metric


def printed_in(
    table: str | None, row: str, setting: Mapping[str, Any] | None = None
) -> str | None:
    """The table, if it prints such a row."""
    if table is None or paper.find_row(table, row, dict(setting or {})) is None:
        return None
    return table


def add_scores(run, data, row: str, setting: Mapping[str, Any], scores) -> None:
    """Keep the scores of all test images behind a row."""
    ids, labels, patients = data.test_ids, data.test_labels, data.test_patients
    run.add_scores(row, setting, ids, labels, scores, patients)


def add_kinds(run, data, row: str, scores: np.ndarray) -> dict[str, Estimate]:
    """Record the AUROC of each kind of abnormality against all normal images.

    Returns:
        Kind -> estimate, in alphabetical order; without kinds of too few images.
    """
    found, kinds, labels = {}, np.array(data.test_kinds), data.test_labels
    few = minima.few_of_a_kind(data)
    for kind in sorted({str(kind) for kind in kinds[labels == 1]} - few.keys()):
        chosen = (labels == 0) | ((labels == 1) & (kinds == kind))
        patients = data.test_patients
        patients = None if patients is None else patients[chosen]
        given = (labels[chosen], scores[chosen])
        found[kind] = image.evaluate(
            *given, patients=patients, seed=run.parameters.seed
        )["auc"]
        setting, ids = {"kind": kind}, np.array(data.test_ids)[chosen]
        run.add_scores(row, setting, ids, *given, patients)
        run.add_row(None, row, setting, "auc", *found[kind])
    return found


def add_pixels(run, row: str, setting: Mapping, pixels: PixelHistogram, number: int):
    """Record the metrics of all pixels of all test images together.

    Returns:
        Metric -> value with its bounds.
    """
    run.add_histograms(row, setting, pixels.to_arrays())
    found = {metric: getattr(pixels, how)() for metric, how in PIXELS.items()}
    for metric, bounded in found.items():
        run.add_row(None, row, setting, metric, bounded.value, n=number)
    return found


# --- Benchmarks whose classes are normal in their turn, Section 6.4.1 ---------------

APART = ("mvtec",)  # each class has test images of its own
CIFAR10 = (  # as Table A.4 calls them
    *("plane", "car", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def printed_class(dataset: str, name: str) -> str:
    """A class as the tables of appendix A call it."""
    return CIFAR10[int(name)] if dataset == "cifar10" else name


def add_classes(
    run,
    datas: Sequence,
    names: Sequence[str],
    row: str,
    scores: Sequence[np.ndarray],
    setting: Mapping[str, Any],
    metric: str = "auc",
    *,
    class_table: str | None = None,
    tables: Tables = (None,),
    training: str | None = None,
) -> tuple[list[Estimate], Estimate]:
    """Record a row's AUROC for every class and its mean over classes.

    Args:
        datas: One a class.
        names: The classes; "" where the dataset is one class.
        scores: Of their test images, one array a class.
        metric: `auc`, or `auc_small20` and so on as Table 6.5 has them.
        class_table: Published table with a column a class.
        tables: Published tables that may hold the mean.
        training: What stands in the scores' setting for `metric`; Table 6.5 only.
    """
    dataset, labels = run.parameters.dataset, [data.test_labels for data in datas]
    if names[0]:
        measure = classes.apart if dataset in APART else classes.over_classes
        found, mean = measure(labels, scores)
    else:
        mean = IMAGE.estimates(run, datas[0], scores[0])["auc"]
        found = [mean]
    stored = {**setting} | ({"training": training} if training else {})
    for name, data, score, estimate in zip(names, datas, scores, found, strict=True):
        part = printed_class(dataset, name)
        add_scores(run, data, row, stored | ({"class": part} if part else {}), score)
        if name:
            (table,) = printing((class_table,), row, setting)
            where = f"{metric}@{dataset}/{part}"
            run.add_row(table, row, setting, where, *estimate)
    for one in tables:
        (table,) = printing((one,), row, setting)
        run.add_row(table, row, setting, bare(table, metric, dataset), *mean)
    return found, mean


def bare(table: str | None, metric: str, dataset: str) -> str:
    """A metric as its table has it: bare in a table of one dataset, else with `@`."""
    printed = paper.table(table)["metrics"] if table else ()
    alone = metric in printed or (table is None and metric != "auc")
    return metric if alone else f"{metric}@{dataset}"


# --- Contrasts -------------------------------------------------------------------


def add_contrast(
    run,
    row: str,
    minus: str,
    setting: Mapping[str, Any],
    datas: Sequence,
    names: Sequence[str],
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
) -> tuple[list[Contrast], Contrast]:
    """Record one AUROC minus another on the same test images, by DeLong.

    Args:
        row: Row key whose AUROC the other's is taken from.
        minus: The other row key.
        first: Scores of `row`, one array a class.
        second: Scores of `minus`.

    Returns:
        The contrast of every class, and of their mean; none of classes where the
        dataset is one class.
    """
    setting, dataset = {**setting, "minus": minus}, run.parameters.dataset
    labels = [data.test_labels for data in datas]
    total = sum(map(len, labels))

    def add(where: str, one: Contrast, number: int) -> None:
        ends = (one.difference, one.ci_low, one.ci_high)
        run.add_row(None, row, setting, f"auc difference{where}", *ends, number)

    if not names[0]:
        whole = delong.compare(labels[0], first[0], second[0], datas[0].test_patients)
        add("", whole, total)
        return [], whole
    shared = dataset not in APART
    of_classes, whole = classes.compare(labels, first, second, shared=shared)
    for name, one, label in zip(names, of_classes, labels, strict=True):
        add(f"@{dataset}/{printed_class(dataset, name)}", one, len(label))
    add(f"@{dataset}", whole, len(labels[0]) if shared else total)
    return of_classes, whole


def add_distance_ratio(run, row: str, features: np.ndarray, labels: np.ndarray) -> None:
    """Record how much farther abnormal images lie from the normal centre.

    Mean distance to the mean of the normal features, abnormal over normal images:
    above 1 where normal images form the tighter cluster (claim on Figure 5.6). The
    interval resamples images of either class, 2,000 times, about the same centre.

    Args:
        features: Encoder features, (N, D).
        labels: 0 normal, 1 abnormal, (N,).
    """
    centre = features[labels == 0].mean(axis=0)
    distance = np.linalg.norm(features - centre, axis=1)
    normal, abnormal = distance[labels == 0], distance[labels == 1]
    if normal.mean() == 0:
        return  # all features alike: the encoder has collapsed, there is no ratio
    random = np.random.default_rng(run.parameters.seed)
    draws = [
        random.choice(part, (2_000, len(part))).mean(axis=1)
        for part in (abnormal, normal)
    ]
    low, high = np.percentile(draws[0] / draws[1], [2.5, 97.5])
    ratio = abnormal.mean() / normal.mean()
    run.add_row(None, row, {}, "distance ratio", ratio, low, high, len(labels))


def intervals(estimates: Iterable[Estimate]) -> list[tuple[float, float]]:
    """Ends of the intervals, for figures."""
    return [(estimate.ci_low, estimate.ci_high) for estimate in estimates]
