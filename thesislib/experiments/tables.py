"""Tables of one run alone, and numbers that several chapters record alike."""

from html import escape

import numpy as np

from thesislib.metrics.image import Estimate
from thesislib.report.tables import STYLE


def estimate_html(estimate: Estimate) -> str:
    return (
        f"{estimate.value:.3f}<small>[{estimate.ci_low:.3f}, "
        f"{estimate.ci_high:.3f}]</small>"
    )


def table_html(caption: str, head: tuple[str, ...], lines: list[tuple], run) -> str:
    """A table of this run alone, in the look of `report.tables`.

    The first column names the row; the cells are trusted HTML of ours.
    """
    if not lines:
        return f"<p>{escape(caption)} Nothing to compare in this run.</p>"
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head[1:])
    body = "".join(
        f'<tr><th scope="row">{escape(line[0])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines
    )
    mark = f' <span class="thesis-mark">{run.mark}</span>' if run.mark else ""
    return (
        f'{STYLE}<div class="thesis-scroll" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table class="thesis-table">'
        f"<caption>{escape(caption)}{mark}</caption>"
        f'<thead><tr><th scope="col" class="name">{escape(head[0])}</th>{columns}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


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
