"""The section on detection: rows of all methods on all tasks, tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thesislib import paper
from thesislib.errors import InputError
from thesislib.figures import curves, style
from thesislib.metrics.image import Estimate
from thesislib.metrics.seeds import holm
from thesislib.report.tables import beside
from thesislib.study import units
from thesislib.study.html import (
    contrast_html,
    estimate_html,
    number_html,
    p_html,
    table_html,
)
from thesislib.study.method import Method, added, detect, threshold
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


def table(run, methods: Sequence[Method], table_id: str | None, title: str) -> str:
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
    return beside(
        lines,
        table_id,
        metrics=[units.as_printed(table_id, m, dataset) for m in IMAGE.metrics],
        names={method.key: method.label for method in methods},
        every=table_id is not None,
        partial=run.located.partial,
        title="" if table_id else title,
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
    )


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One AUROC minus another on the same test images.

    Attributes:
        row: Row key whose AUROC the other's is taken from.
        minus: The other row key.
        label: For readers.
        declared: Beforehand, as a primary comparison; the others are exploratory.
    """

    row: str
    minus: str
    label: str
    declared: bool = False


def against_added(main: Method) -> list[Comparison]:
    """Every method that a reader added minus the chapter's own; exploratory."""
    return [
        Comparison(
            row=other.key, minus=main.key, label=f"{other.label} minus {main.label}"
        )
        for other in added()
    ]


def contrasts(
    run,
    methods: Sequence[Method],
    comparisons: Sequence[Comparison],
    tasks: Tasks = (WHOLE,),
) -> str:
    """The declared comparisons, p by Holm among them, and the exploratory ones."""
    known = {method.key: method for method in methods}
    chosen = [c for c in comparisons if {c.row, c.minus} <= known.keys()]
    datas, names = [data_of(run, task) for task in tasks], [t.name for t in tasks]

    def scores(key: str) -> list[np.ndarray]:
        return [detect(run, known[key], task).scores for task in tasks]

    found = [
        units.add_contrast(
            run,
            c.row,
            c.minus,
            known[c.row].setting,
            datas,
            names,
            scores(c.row),
            scores(c.minus),
        )
        for c in chosen
    ]
    p = [whole.p for _, whole in found]
    declared = [i for i, c in enumerate(chosen) if c.declared]
    for place, value in zip(declared, holm([p[i] for i in declared]), strict=True):
        p[place] = value
    lines = [
        (
            c.label if c.declared else f"{c.label} (exploratory)",
            contrast_html(whole),
            p_html(p[number]),
            *map(contrast_html, of_classes),
        )
        for number, (c, (of_classes, whole)) in enumerate(
            zip(chosen, found, strict=True)
        )
    ]
    of_each = [name for name in names if name]
    note = " Single classes are exploratory." if of_each else ""
    return table_html(
        "Difference of AUROCs on the same test images, 95 % intervals; p by Holm among "
        f"the declared, of exploratory comparisons not corrected.{note}",
        ("comparison", "mean" if of_each else "AUROC", "p", *of_each),
        lines,
        run,
    )


# --- Kinds, curves, thresholds -----------------------------------------------------


def kinds(run, methods: Sequence[Method], task: Task = WHOLE) -> str:
    """AUROC of each kind of abnormality by itself."""
    data, found = data_of(run, task), {}
    for method in methods:
        scores = detect(run, method, task).scores
        found[method.label] = units.add_kinds(run, data, method.key, scores)
    names = list(next(iter(found.values())))
    numbers = {kind: sum(k == kind for k in data.test_kinds) for kind in names}
    return table_html(
        "AUROC of each kind of abnormality against all normal images.",
        ("encoder and detector", *(f"{kind} ({numbers[kind]})" for kind in names)),
        [
            (label, *(estimate_html(of_kinds[kind]) for kind in names))
            for label, of_kinds in found.items()
        ],
        run,
    )


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
