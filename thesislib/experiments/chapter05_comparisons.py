"""Chapter 5: the ablations, each as a table and a figure (Table 5.8, Figures 5.7, 5.8).

All are variants of the main path that change one thing, at equal steps from the same
random weights. What the preset leaves out is said in the comparison's place.
"""

from html import escape

import numpy as np

from thesislib import paper
from thesislib.experiments import chapter05, detection, recipes
from thesislib.experiments.chapter05 import Recipe
from thesislib.experiments.recipes import Detection
from thesislib.experiments.tables import estimate_html, table_html
from thesislib.figures import comparisons, style
from thesislib.metrics.image import Estimate
from thesislib.report.tables import beside

ROW = "pmsacl-padim"
TERM_TITLES = {
    "l_pmsacl": r"$\ell_{PMSACL}$",
    "l_ctr": r"$\ell_{ctr}$",
    "kappa": r"$\kappa(n,m)$",
    "l_aug": r"$\ell_{aug}$",
    "l_pos": r"$\ell_{pos}$",
}


def loss_terms(run, full: Detection) -> str:
    """Table 5.8, row by row; its last row is the main path again."""
    chosen = chapter05.loss_terms(run)
    if not chosen:
        return _not_run("the loss terms one by one (Table 5.8)", run)
    printed = run.parameters.dataset in chapter05.LOSS_TABLE_DATASETS
    table = "5.8" if printed else None
    metric = f"auc@{run.parameters.dataset}" if printed else "auc"
    scored = [(components, recipes.detect(run, r)) for r, components in chosen]
    scored.append((chapter05.ALL_COMPONENTS, full))
    estimates, published = [], []
    for components, detected in scored:
        setting = {"components": list(components)}
        estimates.append(_add(run, setting, detected, table, metric))
        value = paper.published(table, ROW, setting, metric)
        published.append(np.nan if value is None else value)
    fig = comparisons.ablation(
        list(TERM_TITLES.values()),
        [[term in components for term in TERM_TITLES] for components, _ in scored],
        [estimate.value for estimate in estimates],
        _intervals(estimates),
        published if printed else None,
        published_label="published, Table 5.8 (real data)",
    )
    figure = run.figure(
        fig,
        "loss-terms",
        alt="AUROC as the loss terms are added one by one.",
        caption="Loss terms added one by one, as Table 5.8.",
    )
    html = beside(
        [row for row in run.rows if "components" in row["setting"]],
        table,
        metrics=(metric,),
        partial=run.located.partial,
        title="" if printed else "Loss terms one by one, as Table 5.8.",
    )
    return html + figure.data


def diagnosis(run, full: Detection) -> str:
    """What becomes of the literal recipe, one change at a time."""
    return _variants(
        run,
        chapter05.diagnosis(run),
        "variant",
        "Variants of the recipe at equal steps",
        ("staged", full),
    )


def strong(run, full: Detection) -> str:
    """Figure 5.7: other strong augmentations."""
    return _variants(
        run,
        chapter05.strong(run),
        "strong",
        "Strong augmentations, as Figure 5.7",
        (run.configs["pmsacl"].strong, full),
    )


def numbers_of_classes(run, full: Detection) -> str:
    """Figure 5.8: other numbers of MedMix classes."""
    return _variants(
        run,
        chapter05.numbers_of_classes(run),
        "num_classes",
        "Numbers of MedMix classes, as Figure 5.8",
        (str(run.configs["pmsacl"].num_classes), full),
    )


def _variants(
    run, chosen: list[Recipe], name: str, title: str, full: tuple[str, Detection]
) -> str:
    """AUROC of variants as rows, table and figure.

    Args:
        name: Setting that tells the rows apart.
        full: Value of that setting on the main path, and its detection.
    """
    if not chosen:
        return _not_run(title, run)
    scored = {recipe.label: recipes.detect(run, recipe) for recipe in chosen}
    scored[full[0]] = full[1]
    if name == "num_classes":
        scored = dict(sorted(scored.items(), key=lambda item: int(item[0])))
    estimates = {}
    for label, detected in scored.items():
        value = int(label) if label.isdigit() else label.replace(" ", "-")
        estimates[label] = _add(run, {name: value}, detected, None, "auc")
    values = [estimate.value for estimate in estimates.values()]
    intervals = _intervals(list(estimates.values()))
    fig, ax = style.subplots(height=1.2 + 0.35 * len(values))
    if name == "num_classes":
        counts = [int(label) for label in estimates]
        comparisons.num_classes(ax, counts, values, intervals)
    else:
        comparisons.dots(ax, list(estimates), values, intervals)
    figure = run.figure(
        fig,
        name,
        alt=f"{title}: AUROC with interval, a row each.",
        caption=f"{title}. Intervals are over the test images of this run.",
    )
    lines = [(label, estimate_html(e)) for label, e in estimates.items()]
    head = (name.replace("_", " "), "AUROC")
    return table_html(f"{title}.", head, lines, run) + figure.data


def _add(run, setting, detected, table, metric) -> Estimate:
    """Record the AUROC of a variant and the scores behind it."""
    estimate = detection.estimates(run, detected.scores)["auc"]
    data = run.data
    run.add_scores(
        ROW,
        setting,
        data.test_ids,
        data.test_labels,
        detected.scores,
        data.test_patients,
    )
    run.add_row(table, ROW, setting, metric, *estimate)
    return estimate


def _intervals(estimates: list[Estimate]) -> list[tuple[float, float]]:
    return [(estimate.ci_low, estimate.ci_high) for estimate in estimates]


def _not_run(what: str, run) -> str:
    return (
        f"<p><em>Not run</em>: {escape(what)}, left out by preset "
        f"<code>{run.parameters.preset}</code>. <code>-p preset standard</code> runs "
        "it in hours on two cores, <code>-p preset paper</code> as printed.</p>"
    )
