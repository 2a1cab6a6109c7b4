"""The sections of pictures: examples, losses, maps of features, heatmaps, decisions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from thesislib.datasets.base import NORMAL
from thesislib.figures import curves, embedding, explorer, panels, style
from thesislib.figures import one_class as figures
from thesislib.report import says as sentences
from thesislib.report import text
from thesislib.report.designs import Design
from thesislib.report.records import Run
from thesislib.study import minima
from thesislib.study.encoders import Encoder, features, in_colour, trained
from thesislib.study.html import not_run
from thesislib.study.localisation import SCALES
from thesislib.study.method import Detection, Method, added, detect, threshold
from thesislib.study.optional import attempt, section
from thesislib.study.task import WHOLE, Task, data_of
from thesislib.study.units import add_distance_ratio
from thesislib.training import seeding


def words(counts: Mapping[str, int]) -> str:
    """Numbers of images in words: "60,000 train, 10,000 test"."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def describe(run, setup: str, *more: str, parts: Collection[str]) -> str:
    """The run in a few lines of Markdown: data, counts, settings.

    Args:
        setup: What was trained, a phrase after preset, reading and seed.
        more: Further paragraphs.
        parts: Of the chapter, those that need some number of images.

    Raises:
        InputError: If the data are too few for any run.
    """
    data, parameters = run.data, run.parameters
    if not getattr(data, "class_names", None):
        minima.require(data)
    lines = [f"**{data.name}**, {data.source} data: {words(data.counts)}."]
    if data.source == "phantom":
        lines.append(
            f"The real dataset is not used here; a {data.modality} *phantom* stands in "
            "for it, and every figure and row says so."
        )
    elif data.partial:
        published = words(data.published_counts or {})
        lines.append(f"The counts differ from the published ones ({published}).")
    lines.append(
        f"Preset `{parameters.preset}`, reading `{parameters.reading}`, seed "
        f"{parameters.seed}: {setup}."
    )
    lines += more
    gone = minima.left_out(data, parts)
    lines += [f"Left out: {text.markdown(part)}. {why}" for part, why in gone]
    if run.sealed:
        lines.append("This run was sealed before; its results are read back.")
    return "\n\n".join(lines)


def some_of_each(labels: np.ndarray, number: int = 6) -> np.ndarray:
    """Indices of normal and then abnormal images, at equal steps."""
    chosen = []
    for label in (0, 1):
        found = np.flatnonzero(labels == label)
        places = np.linspace(0, len(found) - 1, min(number, len(found))).astype(int)
        chosen.append(found[places])
    return np.concatenate(chosen)


def _masks(data, indices: np.ndarray) -> np.ndarray | None:
    return None if data.test_masks is None else data.test_masks[indices]


@section("examples of test images")
def examples(run, task: Task = WHOLE, of: str = "") -> str:
    """Normal and abnormal test images.

    Args:
        of: " of the first class" where a class is normal in its turn.
    """
    data = data_of(run, task)
    chosen = some_of_each(data.test_labels)
    fig = panels.examples(
        data.test.take(chosen),
        data.test_labels[chosen],
        masks=_masks(data, chosen),
        kinds=kind_names(data, chosen),
    )
    outlined = "" if data.test_masks is None else ", their masks outlined"
    return run.figure(
        fig,
        "examples",
        alt=f"Normal and abnormal test images{of}.",
        caption=f"Test images{of}: normal above, abnormal below{outlined}."
        f"{_unwritten(data)}",
    )


def kind_names(data, indices: np.ndarray) -> list[str]:
    """What test images are, for figures: "normal" is said of normal images alone."""
    return [
        _kind(data.test_kinds[i]) if data.test_labels[i] else NORMAL for i in indices
    ]


def _kind(name: str) -> str:
    """A kind of abnormality; names that figures have other looks for are told apart."""
    taken = name == NORMAL or name.startswith("pasted ")
    return f"abnormal: {name}" if taken else name


def _unwritten(data) -> str:
    """What a caption says where no font here has a sign of some kind's name."""
    names = "".join(set(data.test_kinds))
    if not style.is_written(names):
        return " [U+...] is a sign that no font here has, by its number in Unicode."
    return ""


@section("examples of strong augmentations")
def strong_examples(run, augmentations: Mapping[str, tuple[str, Any]], figure: str):
    """One normal image under every class of every strong augmentation.

    Args:
        augmentations: Name -> label, and the `StrongAugmentation`.
        figure: The thesis's figure that compares them, "5.7".
    """
    found = {}
    images = run.data.train.take(torch.arange(min(8, len(run.data.train))))
    images = images.expand(-1, 3, -1, -1)
    for name, (label, augmentation) in augmentations.items():
        generator = seeding.generator(
            run.parameters.seed, "figure", name, device=run.device
        )
        count = augmentation.num_classes
        classes = torch.arange(count, device=run.device).repeat_interleave(len(images))
        drawn = augmentation(images.repeat(count, 1, 1, 1), classes, generator)
        found[label] = np.asarray(drawn[:: len(images)].cpu())
    return run.figure(
        panels.strong_examples(found),
        "strong",
        alt="One normal image under each strong augmentation, a row each.",
        caption=f"The strong augmentations that Figure {figure} compares, all their "
        "classes.",
    )


@section("curves of losses")
def losses(
    run,
    history: Sequence[Mapping[str, float]],
    terms: Mapping[str, str],
    what: str,
    events: Mapping[int, str] | None = None,
):
    """The terms of a loss by step, each on its own scale.

    Args:
        terms: Name in the history -> title.
        what: What the terms are of, a phrase.
        events: Step -> what happens there.
    """
    shown = {title: {name: title} for name, title in terms.items()}
    return run.figure(
        curves.panels(history, shown, events, ncols=2),
        "losses",
        alt=f"{what}, by optimiser step.",
        caption=f"{what}, each on its own scale.",
    )


# --- What the encoders see ---------------------------------------------------------


def sample_of_each(run, task: Task = WHOLE) -> np.ndarray:
    """Indices of the test images in a t-SNE figure: half normal, half abnormal."""
    labels = data_of(run, task).test_labels
    half = run.configs["study"].num_tsne // 2
    random = np.random.default_rng(seeding.derive(run.parameters.seed, "t-SNE"))
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:half] for label in (0, 1)
    ]
    return np.sort(np.concatenate(chosen))


def sample_of_all(run) -> np.ndarray:
    """Indices of the test images in a t-SNE figure, a seeded sample of all."""
    wanted = run.configs["study"].num_tsne
    random = np.random.default_rng(run.parameters.seed)
    return np.sort(random.permutation(len(run.data.test_labels))[:wanted])


def tsne(
    run,
    features: Mapping[str, np.ndarray],
    groups: Sequence[str],
    labels: np.ndarray,
    caption: str,
):
    """t-SNE maps of features, with the distances that they are meant to show.

    Args:
        features: Label -> (n, D).
        groups: What each image is, (n,).
        labels: 0 normal, 1 abnormal, (n,).
    """
    seed = run.parameters.seed
    fig = embedding.tsne_panels(
        {label: embedding.tsne(f, seed=seed) for label, f in features.items()},
        list(groups),
        {label: embedding.separation(f, labels) for label, f in features.items()},
        ncols=2,
    )
    alt = f"t-SNE maps of test images for {', '.join(features)}, normal and abnormal."
    return run.figure(fig, "tsne", alt=alt, caption=caption)


@section("t-SNE of encoders")
def tsne_of_encoders(run, encoders: Sequence[Encoder], figure: str):
    """t-SNE of what encoders make of test images, and the ratio of distances as a row.

    Args:
        figure: The thesis's figure, "5.6".
    """
    data, chosen = run.data, sample_of_all(run)
    labels, found = data.test_labels[chosen], {}
    for encoder in encoders:
        seen = partial(_seen, run, encoder, chosen)
        if (what := attempt(run, f"t-SNE of {encoder.label}", seen)) is not None:
            found[encoder.label] = what
            add_distance_ratio(run, encoder.row(), what, labels)
    caption = f"t-SNE of encoder features of test images, as Figure {figure}."
    kinds = kind_names(data, chosen)
    return tsne(run, found, kinds, labels, caption + _unwritten(data))


def _seen(run, encoder: Encoder, chosen: np.ndarray) -> np.ndarray:
    """What an encoder makes of some test images, (n,) indices to (n, D)."""
    images = in_colour(run.data.test)
    return features(trained(run, encoder).model, images, chosen)


# --- Maps ------------------------------------------------------------------------


def _spread(labels: np.ndarray, found: Detection, per_class: int) -> np.ndarray:
    """Which of the kept maps to draw: each class at equal steps through its scores.

    Returns:
        Indices into `found.shown`.
    """
    labels, scores = labels[found.shown], found.scores[found.shown]
    chosen = [
        panels.spread_over_ranks(np.flatnonzero(labels == label), scores, per_class)
        for label in (0, 1)
    ]
    return np.concatenate(chosen)


@section("anomaly maps")
def heatmaps(
    run, method: Method | None, what: str, name: str = "heatmaps", task: Task = WHOLE
) -> str:
    """A method's own anomaly maps beside the images, on one colour scale.

    Args:
        method: None where this run has none.
        what: For the caption: which figure this is, and what the map is made of.
        name: Of the file.
    """
    if method is None or (scale := detect(run, method, task).scale) is None:
        return not_run(f"this run has no maps, {what}", ".")
    found, data = detect(run, method, task), data_of(run, task)
    rows = _spread(data.test_labels, found, 4)
    shown = found.shown[rows]
    fig = panels.heatmaps(
        data.test.take(shown),
        found.maps[scale][rows],
        _masks(data, shown),
        found.scores[shown],
        data.test_labels[shown],
        scale=found.ends[scale],
    )
    outlined = "" if data.test_masks is None else "; outlined: the ground truth"
    return run.figure(
        fig,
        name,
        alt=f"Test images with the anomaly maps of {method.label} on one colour scale.",
        caption=f"Anomaly maps of {method.label} {what}; one colour scale for normal "
        f"and abnormal images{outlined}.",
    ).data


def of_added(run) -> str:
    """Maps of the methods that a reader added; nothing where there are none."""
    return "".join(
        heatmaps(run, method, "", f"heatmaps-{method.key}")
        for method in added()
        if detect(run, method).scale
    )


@section("anomaly maps of each scale")
def scale_heatmaps(run, method: Method, caption: str, task: Task = WHOLE):
    """The maps of each scale side by side."""
    found, data = detect(run, method, task), data_of(run, task)
    rows = _spread(data.test_labels, found, 4)
    places = found.shown[rows]
    fig = figures.scale_heatmaps(
        data.test.take(places),
        {SCALES[s]: m[rows] for s, m in found.maps.items()},
        {SCALES[s]: e for s, e in found.ends.items()},
        _masks(data, places),
        data.test_labels[places],
        found.scores[places],
    )
    alt = "Test images with the maps of each scale."
    return run.figure(fig, "heatmaps", alt=alt, caption=caption)


@section("right and wrong decisions")
def gallery(
    run, method: Method | None, what: str, name: str, per_group: int = 4
) -> str:
    """Right and wrong decisions at the median threshold of the validation draws.

    Args:
        method: None where this run has none.
        what: For the caption: which figure this is.
        name: Of the file.
    """
    if method is None:
        return not_run(f"decisions{what}: this run has no such detector", ".")
    found, data = detect(run, method), run.data
    shown = found.shown
    fig = panels.gallery(
        data.test.take(shown),
        data.test_labels[shown],
        found.scores[shown],
        threshold(run, found.scores),
        _masks(data, shown),
        per_group=per_group,
    )
    return run.figure(
        fig,
        name,
        alt=f"Test images by decision of {method.label}: right and wrong, normal and "
        "abnormal.",
        caption=f"Decisions of {method.label} with scores{what}.",
    ).data


@section("explorer")
def explore(run, method: Method, task: Task = WHOLE, at: float | None = None):
    """The explorer: a threshold to move, images to choose, without a kernel.

    Args:
        at: Threshold at the start, that of the table; None: the median of the draws.
    """
    found, data = detect(run, method, task), data_of(run, task)
    shown = found.shown
    return explorer.explorer_html(
        data.test.take(shown),
        found.maps[found.scale],
        _masks(data, shown),
        data.test_labels[shown],
        found.scores[shown],
        [data.test_ids[index] for index in shown],
        threshold(run, found.scores, task) if at is None else at,
        found.ends[found.scale],
        kinds=[data.test_kinds[index] for index in shown],
        all_labels=data.test_labels,
        all_scores=found.scores,
        mark=run.mark,
    )


# --- What a decoder makes of images ------------------------------------------------


@section("reconstructions")
def reconstructions(
    run,
    rebuild: Callable[[torch.Tensor], torch.Tensor],
    caption: str,
    task: Task = WHOLE,
    name: str = "reconstructions",
    number: int = 6,
):
    """Test images, what a model makes of them, and the absolute difference.

    Args:
        rebuild: (n, C, H, W) to (n, C, H, W) in [0, 1].
        number: Images of each class.
    """
    data = data_of(run, task)
    chosen = some_of_each(data.test_labels, number)
    images = data.test.take(chosen)
    with torch.no_grad():
        rebuilt = rebuild(images).clamp(0, 1).cpu().numpy()
    rows = {"image": images, "reconstruction": rebuilt}
    rows["difference"] = abs(images.cpu().numpy() - rebuilt)
    labels = data.test_labels[chosen]
    fig = figures.image_rows(rows, ["abnormal" if y else "normal" for y in labels])
    alt = "Test images, their reconstructions and the absolute difference."
    return run.figure(fig, name, alt=alt, caption=caption)


@section("terms of the score")
def score_terms(
    run, found: Detection, terms: Mapping[str, str], caption: str, task: Task
):
    """The two terms of a score against each other.

    Args:
        terms: Name in the detection -> name of the axis.
    """
    drawn: dict[str, Any] = {title: found.terms[name] for name, title in terms.items()}
    fig = figures.score_terms(data_of(run, task).test_labels, drawn)
    alt = f"{' against '.join(terms.values())} for every test image."
    return run.figure(fig, "terms", alt=alt, caption=caption)


@section("what this run says")
def says(run) -> str:
    """What the rows of this run say so far, as Markdown: a loss before a gain."""
    record = {"seal": "", **run.record, "rows": run.rows}
    return sentences.markdown(Design([Run(record=record, where="this run")]))


def left_out(run, fields: Mapping[str, str], why: str) -> list[str]:
    """What a run's `study` settings leave of the chapter's own, one phrase a setting.

    Args:
        fields: Setting -> what to call it.
        why: Who left it out.
    """
    study, found = run.configs["study"], []
    full = type(study)()
    for field, what in fields.items():
        whole, chosen = getattr(full, field), getattr(study, field)
        if isinstance(whole, bool):
            found += [] if chosen >= whole else [f"{what}: {why}"]
        elif missing := [x for x in whole if x not in chosen and x != "imagenet"]:
            found.append(f"{what} ({', '.join(map(str, missing))}): {why}")
    own = run.left_out.items()
    return found + [text.markdown(f"{part}: {reason}") for part, reason in own]


def bullets(phrases: Sequence[str]) -> str:
    """What a run leaves out, as Markdown."""
    return "\n".join(f"- {phrase}" for phrase in phrases)
