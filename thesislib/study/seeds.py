"""The section on the spread over seeds: sealed siblings of a run, as Table 5.5."""

from collections.abc import Sequence
from typing import Any

from thesislib import paper
from thesislib.report import designs, records, text
from thesislib.study.html import table_html
from thesislib.study.method import Method


def table(run, method: Method, minus: Sequence[Method], table_id: str) -> str:
    """Spread of a method over sealed runs that differ from this one in the seed alone.

    It records no row, because what other runs lie on the disk is not this run's.

    Args:
        minus: Methods whose AUROC is taken from the method's, seed by seed.
        table_id: Published table of standard deviations.
    """
    this = records.Run(
        record={"seal": "", **run.record, "rows": run.rows}, where="this run"
    )
    sealed = [r for r in records.collect().runs if r.design == this.design]
    others = [r for r in sealed if r.seed != this.seed]
    design = designs.Design(sorted([*others, this], key=lambda r: r.seed))
    labels = {other.key: other.label for other in minus}
    asked: list[tuple[str, dict[str, Any]]] = [
        (metric, {}) for metric in ("auc", "specificity", "sensitivity", "accuracy")
    ]
    asked += [("auc difference", {"minus": key}) for key in labels]
    lines, result = [], None
    for metric, setting in asked:
        found = _over_seeds(design, method.key, metric, setting)
        if found is None:
            continue
        result, dataset = found, {"dataset": run.parameters.dataset}
        known = None
        if not setting:
            known = paper.published(table_id, method.key, dataset, metric)
        several = len(result.seeds) > 1 and result.ci_low is not None
        name = text.metric(metric)
        lines.append(
            (
                f"AUROC minus {labels[setting['minus']]}" if setting else name,
                f"{known['std']:.4f}" if known else "–",
                "–" if result.std is None else f"{result.std:.4f}",
                f"{result.value:.3f}",
                f"[{result.ci_low:.3f}, {result.ci_high:.3f}]" if several else "–",
                ", ".join(f"{value:.3f}" for value in result.values),
            )
        )
    seeds = ", ".join(map(str, result.seeds))
    head = ("metric", "published std", "our std", "our mean", "95 % interval", "seeds")
    return table_html(
        f"{method.label} over {len(result.seeds)} seed"
        f"{'s' * (len(result.seeds) > 1)} ({seeds}), as Table {table_id}.",
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
