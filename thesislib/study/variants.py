"""The section on variants: one method with other settings, at equal steps.

An ablation, another augmentation, a sweep over a number: each variant is a row of the
same key under a setting of its own, drawn beside what is published of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import Any

import numpy as np

from thesislib import paper
from thesislib.figures import comparisons, style
from thesislib.figures import one_class as figures
from thesislib.metrics.image import Estimate
from thesislib.report import text
from thesislib.report.tables import beside
from thesislib.study import units
from thesislib.study.html import (
    estimate_html,
    left_out_by_preset,
    not_run,
    number_html,
    table_html,
)
from thesislib.study.method import Method, detect
from thesislib.study.optional import attempt, in_place, section
from thesislib.study.task import Task, data_of
from thesislib.study.units import IMAGE


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A method with one change.

    Attributes:
        label: For tables and figures.
        value: Of the setting that tells the variants apart.
        method: The changed method.
    """

    label: str
    value: Any
    method: Method

    def as_row(self, name: str) -> Method:
        """The method under the label and the setting that the variant's row has."""
        return replace(self.method, label=self.label, setting={name: self.value})


def changed(label: str, value: Any, method: Method) -> Variant:
    """A variant whose fitted detector no run keeps: its row key is the method's own."""
    return Variant(label=label, value=value, method=replace(method, blank=None))


@dataclass(frozen=True, kw_only=True)
class Published:
    """AUROCs known of a printed figure, by label of the variant.

    Attributes:
        label: In legend and table.
        note: For the caption.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    label: str = "published"
    note: str = ""


NOTHING = Published()


@section("variants")
def compare(
    run,
    variants: Sequence[Variant],
    name: str,
    title: str,
    published: Published = NOTHING,
    *,
    numbers: bool = False,
) -> str:
    """AUROC of variants as rows, table and figure.

    Args:
        variants: The method as configured among them; a lone one is nothing to compare.
        name: Setting that tells the rows apart.
        published: What is known of the printed figure on this dataset.
        numbers: The values are numbers, and the figure an axis of them.
    """
    if len(variants) < 2:
        return not_run(title, left_out_by_preset(run))
    if numbers:
        variants = sorted(variants, key=lambda variant: variant.value)
    found = {}
    for variant in variants:
        estimate = attempt(run, _part(variant), partial(_add, run, variant, name))
        if estimate is not None:
            found[variant.label] = estimate
    gone = in_place(run, map(_part, variants))
    values = [estimate.value for estimate in found.values()]
    drawn = {
        "ours_label": "ours, 95 % interval",
        "published_label": published.label,
    }
    known, intervals = published.values, units.intervals(found.values())
    fig, ax = style.subplots(height=1.2 + 0.35 * len(values))
    if numbers:
        at = {int(label): value for label, value in known.items()}
        comparisons.num_classes(
            ax, list(map(int, found)), values, intervals, at, **drawn
        )
    else:
        beside_them = [known.get(label) for label in found]
        comparisons.dots(ax, list(found), values, intervals, beside_them, **drawn)
    head = [name.replace("_", " "), "AUROC"]
    lines = [[label, estimate_html(e)] for label, e in found.items()]
    alt, remark = f"{title}: AUROC with interval", ""
    if known:
        head.append(published.label)
        for line in lines:
            line.append(text.number(known.get(line[0])))
        alt, remark = f"{alt}, and the published values known", published.note
    figure = run.figure(
        fig,
        f"{name}-auc",
        alt=f"{alt}.",
        caption=f"{title}. {remark}Intervals are over the test images of this run.",
    )
    return table_html(f"{title}.", head, lines, run) + gone + figure.data


@section("loss terms one by one")
def components(
    run,
    variants: Sequence[Variant],
    titles: Mapping[str, str],
    table_id: str | None,
    table_of: str,
    metric: str = "auc",
) -> str:
    """Terms of a loss one by one; a variant's value is the terms that it has.

    Args:
        titles: Term -> what the figure calls it.
        table_id: The table, if it prints this dataset.
        table_of: The table whose rows these are, for captions.
        metric: As the table calls the AUROC.
    """
    if len(variants) < 2:
        what = f"the loss terms one by one (Table {table_of})"
        return not_run(what, left_out_by_preset(run))
    estimates, published, shown = [], [], []
    for variant in variants:
        add = partial(_add, run, variant, "components", table_id, metric)
        if (estimate := attempt(run, _part(variant), add)) is None:
            continue
        shown.append(variant)
        estimates.append(estimate)
        setting = {"components": list(variant.value)}
        value = paper.published(table_id, variant.method.key, setting, metric)
        published.append(np.nan if value is None else value)
    fig = comparisons.ablation(
        list(titles.values()),
        [[term in variant.value for term in titles] for variant in shown],
        [estimate.value for estimate in estimates],
        units.intervals(estimates),
        published if table_id else None,
        published_label=f"published, Table {table_of} (real data)",
    )
    figure = run.figure(
        fig,
        "loss-terms",
        alt="AUROC as the loss terms are added one by one.",
        caption=f"Loss terms added one by one, as Table {table_of}.",
    )
    html = beside(
        [row for row in run.rows if "components" in row["setting"]],
        table_id,
        metrics=(metric,),
        partial=run.located.partial,
        title="" if table_id else f"Loss terms one by one, as Table {table_of}.",
    )
    return html + in_place(run, map(_part, variants)) + figure.data


def _part(variant: Variant) -> str:
    """What a variant is called where it is left out."""
    return f"the variant {variant.label}"


def _add(
    run, variant: Variant, name: str, table: str | None = None, metric: str = "auc"
) -> Estimate:
    """Record the AUROC of a variant, under its value, and the scores behind it."""
    value = list(variant.value) if name == "components" else variant.value
    key, setting, found = variant.method.key, {name: value}, detect(run, variant.method)
    estimate = IMAGE.estimates(run, run.data, found.scores)["auc"]
    units.add_scores(run, run.data, key, setting, found.scores)
    run.add_row(table, key, setting, metric, *estimate)
    return estimate


# --- Training sets: whole, small, contaminated -------------------------------------


@section("components one by one")
def trainings(
    run,
    variants: Sequence[Variant],
    tasks: Sequence[Task],
    sets: Mapping[str, Mapping[str, float]],
    table_id: str,
    table_dataset: str,
) -> str:
    """Table 6.5: each variant on several kinds of training set.

    Args:
        sets: Column of the table -> what changes in a task.
        table_dataset: The dataset that the table prints.
    """
    dataset, lines, gone = run.parameters.dataset, [], []
    suffix = "" if dataset == table_dataset else f"@{dataset}"
    table = None if suffix else table_id
    for variant in variants:
        method, setting = variant.method, {"components": list(variant.value)}
        cells = []
        for column, change in sets.items():
            part = f"the components {variant.label}, training set {column}"
            mean = attempt(
                run,
                part,
                partial(
                    _over_classes,
                    run,
                    method,
                    [replace(task, **change) for task in tasks],
                    {**method.setting, **setting},
                    f"auc_{column}",
                    table,
                    column,
                ),
            )
            gone.append(part)
            printed = paper.published(table_id, method.key, setting, f"auc_{column}")
            cells += [number_html(printed), estimate_html(mean) if mean else "–"]
        lines.append((variant.label, *cells))
    head = [f"{s}, {who}" for s in sets for who in (f"Table {table_id}", "ours")]
    return table_html(
        "Components one by one; the published columns are CIFAR-10 from ImageNet.",
        ("components", *head),
        lines,
        run,
    ) + in_place(run, gone)


@section("small and contaminated training sets")
def sweep(
    run,
    methods: Sequence[Method],
    tasks: Sequence[Task],
    kinds: Mapping[str, Sequence[float]],
    tables: Mapping[str, str],
    table_dataset: str,
) -> str:
    """Tables 6.6 and 6.7, Figure 6.1: methods against a number of the training set.

    Args:
        kinds: Setting, `train_fraction` or `contamination` -> its values in order, the
            clean set among them.
        tables: Setting -> table.
    """
    found: dict[tuple, Estimate] = {}
    gone = []
    for method in methods:
        for kind, values in kinds.items():
            for value in values:
                clean = {"train_fraction": 1.0, "contamination": 0.0}[kind] == value
                what = {} if clean else {kind.removeprefix("train_"): value}
                gone.append(_training_set(method.label, kind, value))
                estimate = attempt(
                    run,
                    gone[-1],
                    partial(
                        _over_classes,
                        run,
                        method,
                        [replace(task, **what) for task in tasks],
                        {**method.setting, kind: value},
                        "auc",
                        tables[kind],
                    ),
                )
                if estimate is not None:
                    found[method.label, kind, value] = estimate
    of_methods = {
        method.label: {
            kind: {
                v: e for (m, k, v), e in found.items() if (m, k) == (method.label, kind)
            }
            for kind in ("contamination", "train_fraction")
            if kinds.get(kind)
        }
        for method in methods
    }
    figure = run.figure(
        figures.robustness(of_methods),
        "robustness",
        alt=f"AUROC of {', '.join(of_methods)} against size and contamination of "
        "training.",
        caption="Contaminated (left) and small (right) training sets, as Figure 6.1.",
    )
    keys = {method.label: method.key for method in methods}
    lines = []
    for (label, kind, value), estimate in found.items():
        metric = f"auc@{table_dataset}"
        printed = paper.published(tables[kind], keys[label], {kind: value}, metric)
        name = _training_set(label, kind, value)
        lines.append((name, number_html(printed), estimate_html(estimate)))
    table = table_html(
        "Small and contaminated training sets, beside Tables "
        f"{tables['train_fraction']} and {tables['contamination']}.",
        ("training set", f"published, {text.DATASETS[table_dataset]}", "ours"),
        lines,
        run,
    )
    return table + in_place(run, gone) + figure.data


def _training_set(label: str, kind: str, value: float) -> str:
    """A method on a kind of training set, for readers."""
    what = "of the images" if kind == "train_fraction" else "abnormal among them"
    return f"{label}, {value * 100:g} % {what}"


def _over_classes(
    run, method, tasks, setting, metric, table, training=None
) -> Estimate:
    scores = [detect(run, method, task, maps=False).scores for task in tasks]
    return units.add_classes(
        run,
        [data_of(run, task) for task in tasks],
        [task.name for task in tasks],
        method.key,
        scores,
        setting,
        metric,
        tables=(table,),
        training=training,
    )[1]


def not_chosen(what: str, run, part: str) -> str:
    """What stands in the place of a part of the chapter that this run leaves out."""
    why = (
        f". Part {escape(run.parameters.part)} leaves this out; "
        f"<code>-p part {part}</code> runs it."
    )
    return not_run(what, why)
