"""Chapter 5: the ablations, each as a table and a figure (Table 5.8, Figures 5.7, 5.8).

All are variants of the main path that change one thing, at equal steps from the same
random weights. What the preset leaves out is said in the comparison's place.
"""

from html import escape
from typing import NamedTuple

import numpy as np

from thesislib import paper
from thesislib.experiments import chapter05, detection, recipes
from thesislib.experiments.chapter05 import Recipe
from thesislib.experiments.recipes import Detection
from thesislib.experiments.tables import estimate_html, table_html
from thesislib.figures import comparisons, style
from thesislib.metrics.image import Estimate
from thesislib.report import text
from thesislib.report.tables import beside

ROW = "pmsacl-padim"
TERM_TITLES = {
    "l_pmsacl": r"$\ell_{PMSACL}$",
    "l_ctr": r"$\ell_{ctr}$",
    "kappa": r"$\kappa(n,m)$",
    "l_aug": r"$\ell_{aug}$",
    "l_pos": r"$\ell_{pos}$",
}
STRONG_PUBLISHED = {  # the text on Figure 5.7, with IGD
    "hyperkvasir": {"medmix": 0.995, "permutation": 0.969},
    "covidx": {"medmix": 0.872, "rotation": 0.821},  # "5.1 points" below MedMix
}
CLASSES_PUBLISHED = {  # of the main path, with PaDiM
    "hyperkvasir": {4: paper.published("5.1", "pmsacl-padim", {}, "auc")}
}


class Published(NamedTuple):
    """AUROCs known of a printed figure, by label of the variant."""

    values: dict[str, float]
    label: str  # in legend and table
    note: str = ""  # for the caption


NOTHING = Published({}, "published")


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
    """Figure 5.7: other strong augmentations. Printed with IGD, here with PaDiM."""
    labels, own = chapter05.STRONG_LABELS, run.configs["pmsacl"].strong
    known = STRONG_PUBLISHED.get(run.parameters.dataset, {})
    return _variants(
        run,
        chapter05.strong(run),
        "strong",
        "Strong augmentations with PMSACL + PaDiM (Figure 5.7: with IGD)",
        (labels.get(own, own), full),
        Published(
            {labels[name]: value for name, value in known.items()},
            "published, IGD (real data)",
            "Published is what the text says; on Covid-X that rotation is 5.1 points "
            "below MedMix. ",
        ),
    )


def numbers_of_classes(run, full: Detection) -> str:
    """Figure 5.8: other numbers of MedMix classes, with PaDiM as printed."""
    known = CLASSES_PUBLISHED.get(run.parameters.dataset, {})
    return _variants(
        run,
        chapter05.numbers_of_classes(run),
        "num_classes",
        "Numbers of MedMix classes with PMSACL + PaDiM, as Figure 5.8",
        (str(run.configs["pmsacl"].num_classes), full),
        Published(
            {str(number): value for number, value in known.items()},
            "published, Table 5.1 (real data)",
            "The text on Figure 5.8 says 98 to 99 %, and less above 5 and below 3. ",
        ),
    )


def _variants(
    run,
    chosen: list[Recipe],
    name: str,
    title: str,
    full: tuple[str, Detection],
    published: Published = NOTHING,
) -> str:
    """AUROC of variants as rows, table and figure.

    Args:
        name: Setting that tells the rows apart.
        full: Label of the main path among the variants, and its detection.
        published: What is known of the printed figure on this dataset.
    """
    if not chosen:
        return _not_run(title, run)
    scored = {recipe.label: recipes.detect(run, recipe) for recipe in chosen}
    configs = {recipe.label: recipe.config for recipe in chosen}
    scored[full[0]], configs[full[0]] = full[1], run.configs["pmsacl"]
    if name == "num_classes":
        scored = dict(sorted(scored.items(), key=lambda item: int(item[0])))
    estimates = {}
    for label, detected in scored.items():
        value = getattr(configs[label], name, label.replace(" ", "-"))
        estimates[label] = _add(run, {name: value}, detected, None, "auc")
    values = [estimate.value for estimate in estimates.values()]
    intervals = _intervals(list(estimates.values()))
    known = published.values
    fig, ax = style.subplots(height=1.2 + 0.35 * len(values))
    if name == "num_classes":
        comparisons.num_classes(
            ax,
            [int(label) for label in estimates],
            values,
            intervals,
            {int(label): value for label, value in known.items()},
            ours_label="ours, PaDiM, 95 % interval",
            published_label=published.label,
        )
    else:
        comparisons.dots(
            ax,
            list(estimates),
            values,
            intervals,
            [known.get(label) for label in estimates],
            ours_label="ours, PaDiM, 95 % interval",
            published_label=published.label,
        )
    head = [name.replace("_", " "), "AUROC"]
    lines = [[label, estimate_html(e)] for label, e in estimates.items()]
    alt, note = f"{title}: AUROC with interval", ""
    if known:
        head.append(published.label)
        for line in lines:
            line.append(text.number(known.get(line[0])))
        alt, note = f"{alt}, and the published values known", published.note
    figure = run.figure(
        fig,
        f"{name}-auc",
        alt=f"{alt}.",
        caption=f"{title}. {note}Intervals are over the test images of this run.",
    )
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
