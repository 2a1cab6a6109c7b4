"""t-SNE of encoder features, thesis Figure 5.6, and numbers for what it shows.

A t-SNE picture invents gaps and hides distances, so the claim it stands for, normal
images close together and abnormal ones apart, is also measured in feature space.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances, silhouette_score

from thesislib.errors import InputError
from thesislib.figures import style
from thesislib.figures.arrays import as_array

PERPLEXITY = 30.0  # scikit-learn's default; the thesis names none


class Embedding(NamedTuple):
    """A t-SNE map and how it was made."""

    points: np.ndarray  # (N, 2), no units
    perplexity: float  # as used, see `tsne`
    seed: int


def tsne(features: Any, seed: int = 0, perplexity: float = PERPLEXITY) -> Embedding:
    """Map features to the plane by t-SNE with PCA initialisation and a fixed seed.

    The perplexity is at most (N - 1) / 3, beyond which each image would be neighbour
    to all. Features without any spread, as a collapsed encoder has, give N equal
    points instead of the noise that t-SNE would blow up.

    Args:
        features: (N, D), N at least 4.
        seed: Of scikit-learn's random state.
        perplexity: Wanted number of effective neighbours.

    Raises:
        InputError: Another shape, fewer images, or values that are not finite.
    """
    features = _features(features)
    if len(features) < 4:
        raise InputError(
            f"t-SNE needs at least 4 images; features holds {len(features)}."
        )
    perplexity = float(min(perplexity, (len(features) - 1) / 3))
    spread = features.std(axis=0).max()
    if spread <= 1e-6 * max(1.0, float(np.abs(features).max())):
        return Embedding(np.zeros((len(features), 2)), perplexity, seed)
    points = TSNE(
        n_components=2,
        perplexity=perplexity,
        init="pca" if features.shape[1] > 1 else "random",
        learning_rate="auto",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(features)
    return Embedding(points.astype(np.float64), perplexity, seed)


def separation(features: Any, labels: Any) -> dict[str, float]:
    """Measure how tight the normal images lie and how far the abnormal ones.

    Distances are Euclidean, in feature space, means over pairs of different images.
    The last two numbers do not depend on the scale of the features.

    Args:
        features: (N, D).
        labels: (N,), 0 normal, 1 abnormal.

    Returns:
        "within_normal", "within_abnormal", "between": mean distances, in units of
        the features; "tightness": within_normal / between, below 1 where normal
        images lie closer to each other than to abnormal ones; "silhouette": mean
        silhouette of the two classes, in [-1, 1]. NaN where a class has too few
        images or all distances are 0.
    """
    features, labels = _features(features), as_array(labels).astype(bool)
    if labels.shape != features.shape[:1]:
        raise InputError(f"{len(features)} features come with labels {labels.shape}.")
    distances = pairwise_distances(features)

    def within(chosen: np.ndarray) -> float:
        block = distances[np.ix_(chosen, chosen)]
        pairs = len(block) * (len(block) - 1)
        return float(block.sum() / pairs) if pairs else float("nan")

    across = distances[np.ix_(~labels, labels)]
    between = float(across.mean()) if across.size else float("nan")
    normal, abnormal = within(~labels), within(labels)
    usable = len(labels) >= 3 and labels.any() and not labels.all()
    return {
        "within_normal": normal,
        "within_abnormal": abnormal,
        "between": between,
        "tightness": normal / between if between > 0 else float("nan"),
        "silhouette": (
            float(silhouette_score(distances, labels, metric="precomputed"))
            if usable and distances.any()
            else float("nan")
        ),
    }


@style.styled
def scatter(ax: Axes, points: Any, groups: Sequence[str], legend: bool = True) -> Axes:
    """Draw points of images coloured by group.

    Args:
        ax: Axes to draw on.
        points: (N, 2).
        groups: (N,) names: "normal", lesion families (orange, a marker each), and
            "pasted 1", "pasted 2", ... for MedMix classes (purple, drawn as digits).
        legend: Whether to add one to these axes.
    """
    points, groups = as_array(points), np.asarray(groups)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(groups):
        raise InputError(
            f"points {points.shape} and groups {groups.shape} must be (N, 2) and (N,)."
        )
    for name, look in group_looks(groups).items():
        chosen = groups == name
        ax.scatter(
            *points[chosen].T, label=f"{style.plain(name)} ({chosen.sum():,})", **look
        )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.margins(0.04)
    if legend:
        ax.legend(markerscale=1.4)
    return ax


@style.styled
def tsne_panels(
    embeddings: Mapping[str, Embedding],
    groups: Sequence[str] | Mapping[str, Sequence[str]],
    numbers: Mapping[str, Mapping[str, float]] | None = None,
    ncols: int = 3,
) -> Figure:
    """Draw the t-SNE maps of several encoders side by side, thesis Figure 5.6.

    Args:
        embeddings: Encoder name to its `tsne`.
        groups: (N,) names as for `scatter`, or encoder name to them.
        numbers: Encoder name to its `separation`; silhouette and tightness are
            written below the panel.
        ncols: Panels in a row.
    """
    if not embeddings:
        raise InputError("embeddings is empty; give at least one encoder.")
    ncols = min(ncols, len(embeddings))
    nrows = -(-len(embeddings) // ncols)
    side = style.WIDTH / max(ncols, 2)
    figure, axes = style.subplots(
        nrows,
        ncols,
        width=side * ncols,
        height=(side + 0.35) * nrows + 0.5,
        squeeze=False,
    )
    for ax, (name, embedding) in zip(axes.flat, embeddings.items(), strict=False):
        members = groups[name] if isinstance(groups, Mapping) else groups
        scatter(ax, embedding.points, members, legend=False)
        ax.set_box_aspect(1)
        ax.set_title(name)
        lines = [
            f"perplexity {style.number(embedding.perplexity)}, seed {embedding.seed}"
        ]
        if not np.ptp(embedding.points):
            lines.append("all features equal: collapsed")
        elif numbers and name in numbers:
            n = numbers[name]
            lines.append(
                f"silhouette {_signed(n['silhouette'])}, "
                f"tightness {_signed(n['tightness'])}"
            )
        ax.set_xlabel("\n".join(reversed(lines)), fontsize=8, color=style.MUTED)
    for ax in axes.flat[len(embeddings) :]:
        ax.remove()
    handles: dict[str, Any] = {}
    for ax in axes.flat[: len(embeddings)]:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(len(handles), 4),
        markerscale=1.6,
    )
    return figure


def group_looks(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Look of each group, normal first, then lesion families, then pasted classes.

    Families take orange shades and markers in alphabetical order.
    """
    names = sorted(set(map(str, groups)))
    pasted = [n for n in names if re.fullmatch(r"pasted \d+", n)]
    families = [n for n in names if n != "normal" and n not in pasted]
    looks: dict[str, dict[str, Any]] = {}
    if "normal" in names:
        looks["normal"] = {
            "color": style.NORMAL,
            "marker": "o",
            "s": 11,
            "alpha": 0.75,
            "linewidths": 0,
        }
    for i, name in enumerate(families):
        looks[name] = {
            "color": style.FAMILIES[i % len(style.FAMILIES)],
            "marker": "^sDvPX"[i % 6],
            "s": 15,
            "alpha": 0.85,
            "linewidths": 0,
        }
    for name in pasted:
        n = int(name.split()[1])
        looks[name] = {
            "color": style.PASTED[min(max(n, 1), len(style.PASTED)) - 1],
            "marker": f"${n}$",
            "s": 20,
            "alpha": 0.9,
            "linewidths": 0.2,
        }
    return looks


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")


def _features(values: Any) -> np.ndarray:
    features = as_array(values).astype(np.float64)
    if features.ndim != 2:
        raise InputError(f"features has shape {features.shape}; (N, D) is needed.")
    if not np.isfinite(features).all():
        raise InputError("features holds values that are not finite.")
    return features
