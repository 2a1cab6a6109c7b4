"""Chapter 6: accuracy at the score 0.5 on MVTec AD, Tables 6.2 and A.1."""

import numpy as np

from thesislib import paper
from thesislib.chapters.ch06_igd import methods, settings
from thesislib.metrics import accuracy, image
from thesislib.metrics.image import Estimate
from thesislib.study import units
from thesislib.study.html import estimate_html, table_html
from thesislib.study.method import detect
from thesislib.study.optional import section
from thesislib.study.task import data_of
from thesislib.study.units import printed_in

BY_CLASS, MEAN = "A.1", "6.2"  # tables
FLOOR = "all-abnormal"  # row of a detector that calls every image abnormal
STARTS = ("imagenet", "ssl")  # printed in both tables


@section("accuracy at the score 0.5")
def at_one_half(run) -> str:
    """Accuracy of IGD at the score 0.5, class by class and on the mean.

    Beside each stand the published ones and what puts them into proportion: the
    accuracy of calling every image abnormal, which most of MVTec AD's test images are,
    and the shares that are right among normal and among abnormal images.
    """
    if run.parameters.dataset != "mvtec":
        return (
            "<p>The thesis judges MVTec AD alone by an accuracy at a fixed score "
            "(Section 6.4.2), so there is none here.</p>"
        )
    tasks = settings.full_tasks(run)
    labels = [data_of(run, task).test_labels for task in tasks]
    igd = methods.method(run, "igd")
    scores = [detect(run, igd, task).scores for task in tasks]
    found = accuracy.over_classes(labels, scores)
    floor = accuracy.over_classes(labels, [np.ones(len(one)) for one in labels])
    _record(run, tasks, found)
    _record_floor(run, tasks, labels, floor)
    shares = [
        image.confusion(*pair, accuracy.SCORE_THRESHOLD)
        for pair in zip(labels, scores, strict=True)
    ]
    lines = []
    for number, task in enumerate(tasks):
        medians = [
            np.median(scores[number][labels[number] == label]) for label in (0, 1)
        ]
        lines.append(
            _line(
                task.name.replace("_", " "),
                _printed(BY_CLASS, f"accuracy@mvtec/{task.name}"),
                found[0][number],
                floor[0][number],
                shares[number],
                " / ".join(f"{median:.2f}" for median in medians),
            )
        )
    mean = {key: np.mean([one[key] for one in shares]) for key in shares[0]}
    lines.append(
        _line("mean", _printed(MEAN, "accuracy"), found[1], floor[1], mean, "–")
    )
    whole = len(tasks) == len(run.data.class_names)
    note = "" if whole else f" Our mean is over {len(tasks)} classes, not over all."
    return table_html(
        f"Accuracy at the score {accuracy.SCORE_THRESHOLD:g}, beside Tables {BY_CLASS} "
        f"and {MEAN}. Reading {run.parameters.reading}: {score_words(run)}.{note}",
        (
            "normal class",
            *(f"IGD published, {start}" for start in STARTS),
            f"IGD, ours, start {run.parameters.start}",
            "calling every image abnormal",
            "right among normal",
            "right among abnormal",
            "median score, normal / abnormal",
        ),
        lines,
        run,
    )


def threshold_of(run) -> float | None:
    """The score at which the tables of this dataset judge; None: chosen on images."""
    return accuracy.SCORE_THRESHOLD if run.parameters.dataset == "mvtec" else None


def score_words(run) -> str:
    """What the score is a sum or a mean of in this run, and how far it can go."""
    config, number = run.configs["igd"], len(settings.scales(run))
    if config.share_gac is not None:
        return "the score is a weighted mean of its terms, from 0 to about 1"
    over = f"over {number} scales" if number > 1 else "of one scale"
    if config.pixels == "sum":
        return f"the score adds up two terms {over}, one of them over all pixels"
    return f"the score adds up two terms {over}, from 0 to about {2 * number}"


def _record(run, tasks, found: tuple[list[Estimate], Estimate]) -> None:
    """Rows of Tables A.1 and 6.2, or ours alone where they print no such start."""
    setting = settings.pretrain(run)
    by_class, mean = (printed_in(table, "igd", setting) for table in (BY_CLASS, MEAN))
    for task, estimate in zip(tasks, found[0], strict=True):
        metric = f"accuracy@mvtec/{task.name}"
        run.add_row(by_class, "igd", setting, metric, *estimate)
    metric = "accuracy" if mean else "accuracy@mvtec"
    run.add_row(mean, "igd", setting, metric, *found[1])


def _record_floor(run, tasks, labels, floor: tuple[list[Estimate], Estimate]) -> None:
    """Rows of the floor, as of a detector whose score is always 1.

    They have no interval: how many test images are abnormal is a decision of whoever
    made the test set, not of chance.
    """
    each, mean = floor
    for task, label, estimate in zip(tasks, labels, each, strict=True):
        data, metric = data_of(run, task), f"accuracy@mvtec/{task.name}"
        units.add_scores(run, data, FLOOR, {"class": task.name}, np.ones(len(label)))
        run.add_row(None, FLOOR, {}, metric, estimate.value, n=estimate.n)
    run.add_row(None, FLOOR, {}, "accuracy@mvtec", mean.value, n=mean.n)


def _printed(table: str, metric: str) -> list[float | None]:
    settings = ({"pretrain": start} for start in STARTS)
    return [paper.published(table, "igd", setting, metric) for setting in settings]


def _line(name, printed, ours, floor, shares, medians: str) -> tuple[str, ...]:
    return (
        name,
        *("–" if value is None else f"{value:.2f}" for value in printed),
        estimate_html(ours),
        f"{floor.value:.3f}",
        f"{shares['specificity']:.3f}",
        f"{shares['sensitivity']:.3f}",
        medians,
    )
