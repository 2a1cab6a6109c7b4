"""Chapter 6: rows that its tables need, and the tables as HTML.

Every function runs what is missing, records its rows in the run and gives a table
that lays them beside the published ones.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from thesislib import paper
from thesislib.detectors.dae import ABLATION, LABELS
from thesislib.experiments import chapter06, detection, one_class, one_class_baselines
from thesislib.experiments.chapter06 import Task
from thesislib.experiments.one_class import Detection, data_of
from thesislib.experiments.tables import estimate_html, table_html
from thesislib.figures import one_class as figures
from thesislib.metrics import classes, delong, image
from thesislib.metrics.delong import Contrast
from thesislib.metrics.image import Estimate

SCALES = {"igd": "global", "local": "local", "both": "global + local"}
NAMES = {
    "igd": "IGD",
    "dae": "DAE",
    "vae": "VAE",
    "dsvdd": "Deep SVDD",
    "dsvdd-rec": "Deep SVDD + REC",
    "kde": "KDE",
    "ocsvm": "one-class SVM",
    **{name: f"floor: {detection.FLOORS[name]}" for name in chapter06.FLOORS},
}
CIFAR10 = (  # as Table A.4 calls them
    *("plane", "car", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def run_method(run, method: str, task: Task, *, maps: bool = False) -> Detection:
    """Train a method of Table 6.1 on a task, or read back what it gave."""
    if method == "igd":
        return one_class.detect_igd(run, task, maps=maps)
    if method == "dae":
        return one_class.detect_igd(run, task, "mse", ABLATION["mse"])
    return one_class_baselines.detect(run, method, task)


def add_rows(
    run,
    method: str,
    tasks: Sequence[Task],
    scores: Sequence[np.ndarray],
    setting: dict,
    metric: str = "auc",
    *,
    tables: tuple[str | None, ...] = (),
    key: str | None = None,
) -> tuple[list[Estimate], Estimate]:
    """Record a method's AUROC for every class and its mean over classes.

    Args:
        method: Row key.
        tasks: One a class, alike in all else.
        scores: Of the tasks' test images, one array a task.
        setting: What tells rows of one key apart; the encoder's start is added.
        metric: `auc`, or `auc_small20` and so on as Table 6.5 has them.
        tables: Published tables that may hold the mean.
        key: What stands in the scores' setting for `metric`; Table 6.5 only.

    Returns:
        Estimates of the classes, and of their mean.
    """
    datasets = [data_of(run, task) for task in tasks]
    labels = [data.test_labels for data in datasets]
    if tasks[0].name:
        shared = run.parameters.dataset != "mvtec"
        measure = classes.over_classes if shared else classes.apart
        found, mean = measure(labels, scores)
    else:
        mean = _image_metrics(run, tasks[0], scores[0])["auc"]
        found = [mean]
    setting = {**chapter06.pretrain(run), **setting}
    stored = setting | ({"training": key} if key else {})
    name = run.parameters.dataset
    for task, data, score, estimate in zip(tasks, datasets, scores, found, strict=True):
        part = printed_class(name, task.name)
        of_class = stored | ({"class": part} if part else {})
        run.add_scores(
            method, of_class, data.test_ids, data.test_labels, score, data.test_patients
        )
        if task.name:
            where = f"{metric}@{name}/{part}"
            run.add_row(
                printed_in(chapter06.CLASS_TABLE.get(name), method, setting),
                method,
                setting,
                where,
                *estimate,
            )
    _add_mean(run, method, setting, metric, mean, tables)
    return found, mean


def printed_class(dataset: str, name: str) -> str:
    """A class as the tables of appendix A call it."""
    return CIFAR10[int(name)] if dataset == "cifar10" else name


def _add_mean(run, method, setting, metric, mean, tables) -> None:
    """The mean over classes: bare in a table of one dataset, with `@` elsewhere."""
    name = run.parameters.dataset
    for table in tables or (None,):
        found = printed_in(table, method, setting)
        printed = paper.table(found)["metrics"] if found else ()
        bare = metric in printed or (found is None and metric != "auc")
        run.add_row(
            found, method, setting, metric if bare else f"{metric}@{name}", *mean
        )


def printed_in(table: str | None, row: str, setting: dict) -> str | None:
    """The table, if it prints such a row."""
    found = table is not None and paper.find_row(table, row, setting)
    return table if found else None


# --- Table 6.1 and appendix A ----------------------------------------------------


def main_rows(run) -> dict[str, tuple[list[Estimate], Estimate]]:
    """IGD and the baselines on every class: Tables 6.1 to 6.4, A.1 to A.4.

    Returns:
        Method -> estimates of the classes and of their mean.
    """
    tasks, found = chapter06.full_tasks(run), {}
    if not tasks[0].name:
        return {m: _single(run, m, tasks[0]) for m in methods(run)}
    table = chapter06.MEAN_TABLE.get(run.parameters.dataset)
    for method in methods(run):
        maps = method == "igd"
        scores = [run_method(run, method, task, maps=maps).scores for task in tasks]
        found[method] = add_rows(run, method, tasks, scores, {}, tables=(table,))
    return found


def methods(run) -> tuple[str, ...]:
    """IGD first, then the baselines of this run.

    A dataset that is one class has its floors in `floors_table`.
    """
    chosen = run.configs["study"].baselines
    apart = () if chapter06.full_tasks(run)[0].name else chapter06.FLOORS
    return ("igd", *(name for name in chosen if name not in ("igd", *apart)))


def floors_table(run) -> str:
    """What no method may be proud of, where the test set is one."""
    if chapter06.full_tasks(run)[0].name:
        return "<p>The floors stand beside the methods, class by class.</p>"
    return detection.floors_table(run)


def _single(run, method: str, task: Task) -> tuple[list[Estimate], Estimate]:
    """A dataset that is one class: image metrics as in chapter 5."""
    scores = run_method(run, method, task, maps=method == "igd").scores
    setting = chapter06.pretrain(run)
    data, found = data_of(run, task), _image_metrics(run, task, scores)
    run.add_scores(
        method, setting, data.test_ids, data.test_labels, scores, data.test_patients
    )
    for metric in detection.METRICS:
        run.add_row(None, method, setting, metric, *found[metric])
    table = chapter06.MEDICAL_TABLE.get(run.parameters.dataset)
    if printed_in(table, method, setting) and not chapter06.reserve(run):
        metric = f"auc@{run.parameters.dataset}"
        run.add_row(table, method, setting, metric, *found["auc"])
    return [found["auc"]], found["auc"]


def _image_metrics(run, task: Task, scores: np.ndarray) -> dict[str, Estimate]:
    """Image metrics on the task's test images, intervals by bootstrap."""
    data, seed = data_of(run, task), run.parameters.seed
    return image.evaluate(
        data.test_labels, scores, patients=data.test_patients, seed=seed
    )


def main_table(run, found: dict[str, tuple[list[Estimate], Estimate]]) -> str:
    """Every method's mean beside Table 6.1's, then class by class."""
    tasks = chapter06.full_tasks(run)
    if not tasks[0].name:
        return table_html(
            "AUROC of this run.",
            ("method", "AUROC"),
            [(NAMES[m], estimate_html(mean)) for m, (_, mean) in found.items()],
            run,
        )
    return _mean_table(run, found) + _class_table(run, tasks, found)


def _mean_table(run, found) -> str:
    """Means over this run's classes; a published mean is over all classes."""
    name = run.parameters.dataset
    table, start = chapter06.MEAN_TABLE.get(name), chapter06.pretrain(run)
    metric = "auc" if name == "mvtec" else f"auc@{name}"
    whole = len(chapter06.full_tasks(run)) == len(run.data.class_names)
    lines = []
    for method, (_, mean) in found.items():
        printed = paper.published(table, method, start, metric) if table else None
        lines.append((NAMES[method], _number(printed), estimate_html(mean)))
    number = len(chapter06.full_tasks(run))
    note = "" if whole else f" Ours is the mean over {number} classes, not over all."
    return table_html(
        f"Table {table}: mean AUROC over classes, start {start['pretrain']}.{note}",
        ("method", "published", "ours"),
        lines,
        run,
    )


def _class_table(run, tasks, found) -> str:
    """A line a class; what is published for it, from any start, and ours."""
    name = run.parameters.dataset
    table = chapter06.CLASS_TABLE[name]
    starts = ("scratch", "imagenet", "ssl")
    printed = [s for s in starts if paper.find_row(table, "igd", {"pretrain": s})]
    titles = dict(zip(run.data.class_names, run.data.class_titles, strict=True))
    lines = []
    for number, task in enumerate(tasks):
        metric = f"auc@{name}/{printed_class(name, task.name)}"
        published = [
            _number(paper.published(table, "igd", {"pretrain": s}, metric))
            for s in printed
        ]
        ours = [estimate_html(estimates[number]) for estimates, _ in found.values()]
        lines.append((f"{task.name} {titles[task.name]}", *published, *ours))
    head = [f"IGD published, {start}" for start in printed]
    return table_html(
        f"Class by class, beside Table {table}.",
        ("normal class", *head, *(f"{NAMES[m]}, ours" for m in found)),
        lines,
        run,
    )


def _number(value) -> str:
    return "–" if value is None else f"{value:.4g}"


# --- Contrasts -------------------------------------------------------------------


PRIMARY = "dsvdd"  # declared beforehand: IGD minus Deep SVDD, over all classes


def contrast_table(run) -> str:
    """IGD against each baseline on the same images, and every class by itself."""
    tasks, lines = chapter06.full_tasks(run), []
    for method in methods(run)[1:]:
        of_classes, whole = _contrasts(run, method, tasks)
        kind = "" if method == PRIMARY else " (exploratory)"
        p = f"{whole.p:.3f}" if whole.p >= 0.001 else "&lt; 0.001"
        cells = [_contrast_html(one) for one in (whole, *of_classes)]
        lines.append((f"IGD minus {NAMES[method]}{kind}", cells[0], p, *cells[1:]))
    of_each = [task.name for task in tasks if task.name]
    head = ("comparison", "mean" if of_each else "AUROC", "p", *of_each)
    note = " Single classes are exploratory." if of_each else ""
    return table_html(
        "Difference of AUROCs on the same test images, 95 % intervals; p of "
        f"exploratory comparisons is not corrected.{note}",
        head,
        lines,
        run,
    )


def _contrasts(
    run, method: str, tasks: Sequence[Task]
) -> tuple[list[Contrast], Contrast]:
    """IGD minus a baseline, class by class and over them; recorded as rows."""
    datasets = [data_of(run, task) for task in tasks]
    labels = [data.test_labels for data in datasets]
    mine, others = (
        [run_method(run, one, task).scores for task in tasks] for one in ("igd", method)
    )
    setting = {**chapter06.pretrain(run), "minus": method}
    name, number = run.parameters.dataset, sum(map(len, labels))
    if not tasks[0].name:
        patients = datasets[0].test_patients
        whole = delong.compare(labels[0], mine[0], others[0], patients)
        _add_contrast(run, setting, "", whole, number)
        return [], whole
    shared = name != "mvtec"
    of_classes, whole = classes.compare(labels, mine, others, shared=shared)
    for task, one, label in zip(tasks, of_classes, labels, strict=True):
        where = f"@{name}/{printed_class(name, task.name)}"
        _add_contrast(run, setting, where, one, len(label))
    _add_contrast(run, setting, f"@{name}", whole, len(labels[0]) if shared else number)
    return of_classes, whole


def _add_contrast(run, setting: dict, where: str, one: Contrast, number: int) -> None:
    ends = (one.difference, one.ci_low, one.ci_high)
    run.add_row(None, "igd", setting, f"auc difference{where}", *ends, number)


def _contrast_html(one: Contrast) -> str:
    return (
        f"{one.difference:+.3f}<small>[{one.ci_low:+.3f}, {one.ci_high:+.3f}]</small>"
    )


# --- Table 6.5 -------------------------------------------------------------------

TRAININGS = {  # column of Table 6.5: what the training set is
    "full": {},
    "small20": {"fraction": 0.2},
    "contaminated10": {"contamination": 0.1},
}


def ablation(run) -> str:
    """Table 6.5: MSE, REC, GAC and INTER one by one, on three kinds of training set."""
    chosen = run.configs["study"].ablation
    if not chosen:
        return _not_run("the components one by one (Table 6.5)", run, "ablation")
    cifar10 = run.parameters.dataset == "cifar10"
    suffix = "" if cifar10 else f"@{run.parameters.dataset}"
    table = "6.5" if cifar10 else None
    lines = []
    full = list(ABLATION)[-1]
    for name in (*chosen, full):
        variant, change = ("", None) if name == full else (name, ABLATION[name])
        setting, cells = {"components": name.split("-")}, []
        for training, what in TRAININGS.items():
            tasks = [replace(task, **what) for task in chapter06.full_tasks(run)]
            scores = [
                one_class.detect_igd(run, task, variant, change).scores
                for task in tasks
            ]
            mean = _ablation_rows(run, tasks, scores, setting, training, table, suffix)
            cells.append(estimate_html(mean))
        printed = [
            _number(paper.published("6.5", "igd", setting, f"auc_{t}"))
            for t in TRAININGS
        ]
        both = [cell for pair in zip(printed, cells, strict=True) for cell in pair]
        lines.append((LABELS[name], *both))
    head = [f"{t}, {who}" for t in TRAININGS for who in ("Table 6.5", "ours")]
    return table_html(
        "Components one by one; the published columns are CIFAR-10 from ImageNet.",
        ("components", *head),
        lines,
        run,
    )


def _ablation_rows(run, tasks, scores, setting, training, table, suffix) -> Estimate:
    _, mean = add_rows(
        run,
        "igd",
        tasks,
        scores,
        setting,
        f"auc_{training}",
        tables=(table,),
        key=training,
    )
    return mean


# --- Tables 6.6 and 6.7 ----------------------------------------------------------


def robustness(run) -> str:
    """Tables 6.6 and 6.7 and Figure 6.1: small and contaminated training sets."""
    tasks = chapter06.robustness_tasks(run)
    if not tasks:
        return _not_run(
            "small and contaminated training sets (Figure 6.1, Tables 6.6, 6.7)",
            run,
            "robustness",
        )
    study = run.configs["study"]
    found = {
        (method, kind, value): _robust_row(run, method, kind, value)
        for method in study.robust
        for kind, values in (
            ("train_fraction", (*study.fractions, 1.0)),
            ("contamination", (0.0, *study.contaminations)),
        )
        for value in values
    }
    figure = run.figure(
        figures.robustness(
            {
                NAMES[m]: {k: v for k, v in _curves(found, m).items() if v}
                for m in study.robust
            }
        ),
        "robustness",
        alt="AUROC of IGD and Deep SVDD against size and contamination of training.",
        caption="Contaminated (left) and small (right) training sets, as Figure 6.1.",
    )
    lines = [
        (
            f"{NAMES[method]}, {_words(kind, value)}",
            _number(_printed(run, method, kind, value)),
            estimate_html(estimate),
        )
        for (method, kind, value), estimate in found.items()
    ]
    table = table_html(
        "Small and contaminated training sets, beside Tables 6.6 and 6.7.",
        ("training set", "published, CIFAR-10", "ours"),
        lines,
        run,
    )
    return table + figure.data


def _robust_row(run, method: str, kind: str, value: float) -> Estimate:
    clean = {"train_fraction": 1.0, "contamination": 0.0}[kind] == value
    what = {} if clean else {kind.removeprefix("train_"): value}
    tasks = [replace(task, **what) for task in chapter06.full_tasks(run)]
    scores = [run_method(run, method, task).scores for task in tasks]
    table = "6.6" if kind == "train_fraction" else "6.7"
    setting = {kind: value}
    return add_rows(run, method, tasks, scores, setting, tables=(table,))[1]


def _curves(found: dict, method: str) -> dict[str, dict[float, Estimate]]:
    kinds = ("contamination", "train_fraction")
    return {
        kind: {v: e for (m, k, v), e in found.items() if (m, k) == (method, kind)}
        for kind in kinds
    }


def _printed(run, method: str, kind: str, value: float) -> float | None:
    table = "6.6" if kind == "train_fraction" else "6.7"
    return paper.published(table, method, {kind: value}, "auc@cifar10")


def _words(kind: str, value: float) -> str:
    what = "of the images" if kind == "train_fraction" else "abnormal among them"
    return f"{value * 100:g} % {what}"


def _not_run(what: str, run, part: str) -> str:
    return (
        f"<p><em>Not run</em>: {what}. Part {run.parameters.part} leaves this out; "
        f"<code>-p part {part}</code> runs it.</p>"
    )
