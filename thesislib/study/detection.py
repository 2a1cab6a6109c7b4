"""The section on detection: rows of all methods on all tasks, tables and figures."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from thesislib import paper
from thesislib.errors import InputError
from thesislib.figures import curves, style
from thesislib.metrics import image
from thesislib.metrics.image import Estimate
from thesislib.metrics.seeds import holm
from thesislib.report import text
from thesislib.report.implemented import contrasts as contrasts_of
from thesislib.report.tables import beside
from thesislib.study import minima, units
from thesislib.study.html import (
    contrast_html,
    estimate_html,
    number_html,
    p_html,
    table_html,
)
from thesislib.study.method import Method, added, detect, rows_left_out, threshold
from thesislib.study.optional import in_place, section
from thesislib.study.task import WHOLE, Task, data_of
from thesislib.study.units import IMAGE

Tasks = Sequence[Task]
Found = dict[str, tuple[list[Estimate], Estimate]]  # row -> of classes, of their mean
STARTS = ("scratch", "imagenet", "ssl")  # of IGD in appendix A


def rows(
    run,
    methods: Sequence[Method],
    tasks: Tasks = (WHOLE,),
    tables: units.Tables = (None,),
    class_table: str | None = None,
) -> Found:
    """Record every method's numbers, with the scores behind them.

    Args:
        tasks: One; or one a class, and then the AUROC of each and their mean.
        tables: Published tables that may print a row, or its mean over classes.
        class_table: Published table with a column a class.

    Raises:
        InputError: If two methods have one key.
    """
    datas, names = [data_of(run, task) for task in tasks], [t.name for t in tasks]
    keys = [method.key for method in methods]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise InputError(
            f"Two methods have the row key {twice[0]}; rename the added one."
        )
    found: Found = {}
    for method in methods:
        scores = [detect(run, method, task).scores for task in tasks]
        if names[0]:
            given = (run, datas, names, method.key, scores, method.setting)
            where = {"class_table": class_table, "tables": tables}
            found[method.key] = units.add_classes(*given, **where)
        else:
            given = (run, datas[0], method.key, scores[0], tables, method.setting)
            mean = IMAGE.add(*given)["auc"]
            found[method.key] = ([mean], mean)
    return found


def table(
    run,
    methods: Sequence[Method],
    table_id: str | None,
    title: str,
    task: Task = WHOLE,
) -> str:
    """Image metrics of every method beside a published table's.

    A row that another table prints, and this one does not, is a row of ours here.

    Args:
        table_id: None where nothing is printed.
        title: Of a table of ours alone.
    """
    settings, lines = {m.key: dict(m.setting) for m in methods}, []
    for row in run.rows:
        if settings.get(row["row"]) == row["setting"]:
            here = units.printed_in(table_id, row["row"], row["setting"])
            lines.append(row if here else {**row, "table": None, "setting": {}})
    dataset = run.parameters.dataset
    html = beside(
        lines,
        table_id,
        metrics=[units.as_printed(table_id, m, dataset) for m in IMAGE.metrics],
        names={method.key: method.label for method in methods},
        every=table_id is not None,
        partial=run.located.partial,
        title="" if table_id else title,
    )
    gone = in_place(run, rows_left_out(run))
    return html + gone + _at_the_median(run, methods[0], task)


def _at_the_median(run, method: Method, task: Task) -> str:
    """One threshold for the table above and for the pictures below."""
    scores, labels = detect(run, method, task).scores, data_of(run, task).test_labels
    value = threshold(run, scores, task)
    shares = image.confusion(labels, scores, value)
    shown = f"{value:.4g}".replace("inf", "∞")
    return (
        "<p>Sensitivity, specificity and accuracy are means over 20 thresholds, "
        "without the images that chose them. The median of these for "
        f"{escape(method.label)} is {shown}: there histogram, decisions and "
        "explorer begin, and over <em>all</em> test images its sensitivity is "
        f"{shares['sensitivity']:.3f}, its specificity {shares['specificity']:.3f}.</p>"
    )


def mean_table(
    run, methods: Sequence[Method], tasks: Tasks, found: Found, table_id: str | None
) -> str:
    """Means over this run's classes; a published mean is over all classes."""
    dataset, first = run.parameters.dataset, methods[0].setting
    metric = units.bare(table_id, "auc", dataset)
    whole = len(tasks) == len(run.data.class_names)
    note = f" Ours is the mean over {len(tasks)} classes, not over all."
    lines = []
    for method in methods:
        key, setting = method.key, dict(method.setting)
        printed = paper.published(table_id, key, setting, metric)
        ours = estimate_html(found[key][1])
        lines.append((method.label, number_html(printed), ours))
    start = f", start {first['pretrain']}" if "pretrain" in first else ""
    return table_html(
        f"Table {table_id}: mean AUROC over classes{start}.{'' if whole else note}",
        ("method", "published", "ours"),
        lines,
        run,
    ) + in_place(run, rows_left_out(run))


def class_table(
    run, methods: Sequence[Method], tasks: Tasks, found: Found, table_id: str
) -> str:
    """A line a class; what is published of the first method from any start, ours."""
    dataset, (main, *_) = run.parameters.dataset, methods
    printed = [s for s in STARTS if paper.find_row(table_id, main.key, {"pretrain": s})]
    titles = dict(zip(run.data.class_names, run.data.class_titles, strict=True))
    lines = []
    for number, task in enumerate(tasks):
        metric = f"auc@{dataset}/{units.printed_class(dataset, task.name)}"
        published = [
            number_html(paper.published(table_id, main.key, {"pretrain": s}, metric))
            for s in printed
        ]
        ours = [estimate_html(found[m.key][0][number]) for m in methods]
        lines.append((f"{task.name} {titles[task.name]}", *published, *ours))
    head = [f"{main.label} published, {start}" for start in printed]
    return table_html(
        f"Class by class, beside Table {table_id}.",
        ("normal class", *head, *(f"{m.label}, ours" for m in methods)),
        lines,
        run,
    )


# --- Contrasts -------------------------------------------------------------------


@section("differences of AUROCs", "contrasts")
def contrasts(run, methods: Sequence[Method], tasks: Tasks = (WHOLE,)) -> str:
    """Differences of AUROCs on the same test images.

    Those that the chapter's `printed.toml` names, p by Holm among the declared; each of
    its own methods minus every floor; every method that a reader added minus the first.
    All become rows; of the floors the table shows the best that knows no labels.
    """
    datas, names = [data_of(run, task) for task in tasks], [t.name for t in tasks]
    labels = {m.key: m.label for m in methods}
    settings = {m.key: m.setting for m in methods}
    scores = {m.key: [detect(run, m, t).scores for t in tasks] for m in methods}
    for key, of_floor in _floors_apart(run, datas, labels).items():
        labels[key], scores[key] = f"floor: {text.FLOORS[key]}", [of_floor]
    named = contrasts_of(run.parameters.chapter)
    floors, own = [k for k in text.FLOORS if k in scores], [row for row, _ in named]
    named |= {(row, floor): False for row in own for floor in floors}
    named |= {(other.key, methods[0].key): False for other in added()}
    found = {
        (row, minus): units.add_contrast(
            *(run, row, minus, settings[row], datas, names),
            *(scores[row], scores[minus]),
        )
        for row, minus in named
        if row in settings and minus in scores
    }
    p = {pair: whole.p for pair, (_, whole) in found.items()}
    declared = [pair for pair in found if named[pair]]
    p |= zip(declared, holm([p[pair] for pair in declared]), strict=True)
    shown = [pair for pair in found if pair[1] not in floors]
    shown += _best_floors(found, floors)
    lines = [
        (
            f"{labels[row]} minus {labels[minus]}"
            + ("" if named[row, minus] else " (exploratory)"),
            contrast_html(found[row, minus][1]),
            p_html(p[row, minus]),
            *map(contrast_html, found[row, minus][0]),
        )
        for row, minus in shown
    ]
    of_each = [name for name in names if name]
    notes = " p by Holm among the declared." if declared else ""
    if len(shown) > len(declared):
        notes += " p of exploratory comparisons is not corrected."
    notes += " Single classes are exploratory." if of_each else ""
    notes += " Of the floors, the best that knows no labels." if floors else ""
    return table_html(
        f"Difference of AUROCs on the same test images, 95 % intervals.{notes}",
        ("comparison", "mean" if of_each else "AUROC", "p", *of_each),
        lines,
        run,
    )


def _floors_apart(run, datas: Sequence, methods: Iterable[str]) -> dict[str, Any]:
    """Scores of the floors of a dataset that is one class, which are no methods.

    None where this task is judged on other images than they were.
    """
    found = {}
    for key in text.FLOORS if len(datas) == 1 else ():
        ids, scores = run.scores(key, {})
        if key not in methods and ids == list(map(str, datas[0].test_ids)):
            found[key] = scores
    return found


def _best_floors(found: Mapping, floors: Sequence[str]) -> list[tuple[str, str]]:
    """Of each row's differences from naive floors the smallest."""
    naive = [f for f in floors if f not in text.LABELLED]
    pairs = [pair for pair in found if pair[1] in naive]
    of_rows = dict.fromkeys(row for row, _ in pairs)
    return [
        min((p for p in pairs if p[0] == row), key=lambda p: found[p][1].difference)
        for row in of_rows
    ]


# --- Kinds, curves, thresholds -----------------------------------------------------


@section("kinds of abnormality by themselves")
def kinds(run, methods: Sequence[Method], task: Task = WHOLE) -> str:
    """AUROC of each kind of abnormality by itself."""
    data, found = data_of(run, task), {}
    few = [minima.of_kind(kind) for kind in minima.few_of_a_kind(data)]
    for part in few:
        run.leave_out(part, minima.TOO_FEW)
    for method in methods:
        scores = detect(run, method, task).scores
        found[method.label] = units.add_kinds(run, data, method.key, scores)
    names = list(next(iter(found.values())))
    abnormal = np.array(data.test_kinds)[data.test_labels == 1]
    numbers = {kind: int((abnormal == kind).sum()) for kind in names}
    if not names:
        return in_place(run, few)
    table = table_html(
        "AUROC of each kind of abnormality against all normal images.",
        ("encoder and detector", *(f"{kind} ({numbers[kind]})" for kind in names)),
        [
            (label, *(estimate_html(of_kinds[kind]) for kind in names))
            for label, of_kinds in found.items()
        ],
        run,
    )
    return table + in_place(run, few)


@section("ROC curves")
def roc(run, methods: Sequence[Method], found: Found, what: str):
    """ROC curves of all methods.

    Args:
        what: "PaDiM and IGD on each encoder", for text and caption.
    """
    labels = run.data.test_labels
    fig, ax = style.subplots(width=4.6, height=5.4)
    curves.roc(
        ax,
        {m.label: (labels, detect(run, m).scores) for m in methods},
        {m.label: found[m.key][1] for m in methods},
    )
    text = f"ROC curves of {what}."
    return run.figure(fig, "roc", alt=text, caption=text)


@section("histogram of scores")
def histogram(run, method: Method):
    """Scores of normal and abnormal images, and the threshold of Section 5.4.3."""
    found = detect(run, method)
    fig, ax = style.subplots(height=3.4)
    labels = run.data.test_labels
    curves.score_histogram(ax, labels, found.scores, threshold(run, found.scores))
    return run.figure(
        fig,
        "histogram",
        alt="Scores of normal and abnormal test images, and the threshold.",
        caption=f"Image scores of {method.label}, and the threshold of Section 5.4.3.",
    )
