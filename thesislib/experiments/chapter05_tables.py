"""Chapter 5: rows that its tables need, and the tables as HTML.

Every function records its rows in the run and gives a table that lays them beside
the published ones. What the preset leaves out is said in the table's place.
"""

from thesislib import paper
from thesislib.experiments import chapter05, chapter05_igd, detection
from thesislib.experiments.recipes import Detection
from thesislib.experiments.tables import estimate_html, table_html
from thesislib.metrics.seeds import holm
from thesislib.report import designs, records, text
from thesislib.report.tables import beside


def add_detection_rows(run, detections: dict[str, Detection]) -> dict:
    """Image metrics of every encoder, for Tables 5.1 to 5.4 and 5.9.

    Returns:
        Row key -> metric -> estimate.
    """
    found = {}
    for row, detected in detections.items():
        tables = tuple(
            t for t in chapter05.detection_tables(run) if chapter05.prints(t, row)
        )
        found[row] = detection.add_detection(run, row, detected.scores, tables or None)
    return found


def detection_table(run) -> str:
    """Tables 5.1 to 5.4: what is published beside ours."""
    table = chapter05.DETECTION_TABLE.get(run.parameters.dataset)
    prints = chapter05.prints
    # Table 5.9 prints SimCLR, this one does not: there it is a row of ours.
    rows = [r if prints(table, r["row"]) else {**r, "table": None} for r in run.rows]
    return beside(
        rows,
        table,
        metrics=detection.METRICS,
        names=names(run),
        every=table is not None,
        partial=run.located.partial,
        title="" if table else "PaDiM and IGD on each encoder.",
    )


PMSACL, PMSACL_IGD = "pmsacl-padim", "pmsacl-igd"
PRIMARY = {  # declared beforehand: whose AUROC is taken from whose
    (PMSACL, "random-padim"): "PMSACL minus untrained encoder",
    (PMSACL, "class-padim"): "PMSACL minus its class term alone",
}
EXPLORATORY = {
    (PMSACL, "simclr-padim"): "PMSACL minus SimCLR (exploratory)",
    (PMSACL_IGD, "random-igd"): "PMSACL minus untrained, both IGD (exploratory)",
    (PMSACL_IGD, PMSACL): "PMSACL + IGD minus PMSACL + PaDiM (exploratory)",
}


def contrast_table(run, detections: dict[str, Detection]) -> str:
    """The declared comparisons, p by Holm among them, and the exploratory ones."""
    contrasts = {
        (first, second): detection.add_contrast(
            run, first, second, detections[first].scores, detections[second].scores
        )
        for first, second in (PRIMARY | EXPLORATORY)
        if {first, second} <= detections.keys()
    }
    p = {pair: contrast.p for pair, contrast in contrasts.items()}
    primary = [pair for pair in PRIMARY if pair in p]
    p |= dict(zip(primary, holm([p[pair] for pair in primary]), strict=True))
    return table_html(
        "Difference of AUROCs on the same test images; p by Holm among the declared.",
        ("comparison", "difference", "95 % interval", "p"),
        [
            (
                (PRIMARY | EXPLORATORY)[pair],
                f"{c.difference:+.3f}",
                f"[{c.ci_low:+.3f}, {c.ci_high:+.3f}]",
                f"{p[pair]:.3f}" if p[pair] >= 0.001 else "&lt; 0.001",
            )
            for pair, c in contrasts.items()
        ],
        run,
    )


def families_table(run, detections: dict[str, Detection]) -> str:
    """AUROC of each kind of abnormality."""
    labels, lines = names(run), {}
    kinds: list[str] = []
    for row, detected in detections.items():
        found = detection.add_families(run, row, detected.scores)
        kinds, lines[row] = list(found), found
    numbers = {kind: sum(k == kind for k in run.data.test_kinds) for kind in kinds}
    return table_html(
        "AUROC of each kind of abnormality against all normal images.",
        ("encoder and detector", *(f"{kind} ({numbers[kind]})" for kind in kinds)),
        [
            (labels[row], *(estimate_html(found[kind]) for kind in kinds))
            for row, found in lines.items()
        ],
        run,
    )


def names(run) -> dict[str, str]:
    """Row key -> label of every encoder and detector of this run."""
    chosen = [chapter05.main(run), *chapter05.baselines(run)]
    padim = {recipe.row: f"{recipe.label} + PaDiM" for recipe in chosen}
    on_igd = {
        chapter05_igd.row(r): f"{r.label} + IGD" for r in chapter05_igd.chosen(run)
    }
    return padim | on_igd


def localisation_table(run, detections: dict[str, Detection]) -> str:
    """Tables 5.6 and 5.7, with the threshold named."""
    if run.data.test_masks is None:
        return "<p><em>Not run</em>: this dataset has no masks.</p>"
    for row, detected in detections.items():
        _add_localisation(run, row, detected)
    table = chapter05.LOCALISATION_TABLE.get(run.parameters.dataset)
    groups = beside(
        run.rows,
        table,
        metrics=("iou", "dice", "pro", "iou oracle", "dice oracle"),
        names=names(run),
        partial=run.located.partial,
        title="" if table else "Localisation by PaDiM and IGD on each encoder.",
    )
    pixels = beside(
        [{**r, "setting": {}} for r in run.rows if r["setting"] == ALL_PIXELS],
        None,
        metrics=("pixel_auc", "pixel_ap", "fpr95", "pro"),
        names=names(run),
        partial=run.located.partial,
        title="All pixels of all test images together.",
    )
    return groups + pixels


ALL_PIXELS = {"pixels": "all"}


def _add_localisation(run, row: str, detected: Detection) -> None:
    """Rows of one encoder; IoU and Dice at the global threshold carry the table."""
    table = chapter05.LOCALISATION_TABLE.get(run.parameters.dataset)
    table = table if chapter05.prints(table, row) else None
    groups = detected.groups
    run.add_row(table, row, {}, "iou", *groups["iou global"])
    run.add_row(table, row, {}, "dice", *groups["dice global"])
    run.add_row(table, row, {}, "pro", *groups["pro ranking"])
    run.add_row(None, row, {}, "iou oracle", *groups["iou oracle"])
    run.add_row(None, row, {}, "dice oracle", *groups["dice oracle"])
    run.add_histograms(row, ALL_PIXELS, detected.pixels.to_arrays())
    for metric, bounded in (
        ("pixel_auc", detected.pixels.auroc()),
        ("pixel_ap", detected.pixels.ap()),
        ("fpr95", detected.pixels.fpr95()),
        ("pro", detected.pixels.pro()),
    ):
        num_images = len(run.data.test_labels)
        run.add_row(None, row, ALL_PIXELS, metric, bounded.value, n=num_images)


def others_table(run) -> str:
    """Table 5.9; its rows were recorded with the detection rows."""
    if run.parameters.dataset != "hyperkvasir":
        return "<p>Table 5.9 is printed for Hyper-Kvasir alone.</p>"
    return beside(
        run.rows,
        "5.9",
        metrics=("auc", "specificity", "sensitivity", "accuracy"),
        every=True,
        partial=run.located.partial,
    )


def seeds_table(run) -> str:
    """Table 5.5: spread of PMSACL + PaDiM over sealed runs of other seeds, and this.

    It records no row, because what other runs lie on the disk is not this run's.
    """
    this = records.Run(
        record={"seal": "", **run.record, "rows": run.rows}, where="this run"
    )
    sealed = [r for r in records.collect().runs if r.design == this.design]
    others = [r for r in sealed if r.seed != this.seed]
    design = designs.Design(sorted([*others, this], key=lambda r: r.seed))
    row = chapter05.main(run).row
    asked = [
        (metric, {}) for metric in ("auc", "specificity", "sensitivity", "accuracy")
    ]
    asked += [("auc difference", {"minus": r.row}) for r in chapter05.baselines(run)]
    lines, labels = [], names(run)
    for metric, setting in asked:
        result = _over_seeds(design, row, metric, setting)
        if result is None:
            continue
        dataset = {"dataset": run.parameters.dataset}
        published = None if setting else paper.published("5.5", row, dataset, metric)
        several = len(result.seeds) > 1 and result.ci_low is not None
        lines.append(
            (
                f"AUROC minus {labels[setting['minus']]}"
                if setting
                else text.metric(metric),
                f"{published['std']:.4f}" if published else "–",
                "–" if result.std is None else f"{result.std:.4f}",
                f"{result.value:.3f}",
                f"[{result.ci_low:.3f}, {result.ci_high:.3f}]" if several else "–",
                ", ".join(f"{value:.3f}" for value in result.values),
            )
        )
    seeds = ", ".join(map(str, result.seeds))
    head = ("metric", "published std", "our std", "our mean", "95 % interval", "seeds")
    return table_html(
        f"PMSACL + PaDiM over {len(result.seeds)} seed"
        f"{'s' * (len(result.seeds) > 1)} ({seeds}), as Table 5.5.",
        head,
        lines,
        run,
    )


def _over_seeds(
    design: designs.Design, row: str, metric: str, setting: dict
) -> designs.Result | None:
    for key, stated in design.rows.items():
        first = stated[0][1]
        if (first["row"], first["metric"], first["setting"]) == (row, metric, setting):
            return design.result(key)
    return None
