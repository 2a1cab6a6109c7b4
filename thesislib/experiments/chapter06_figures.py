"""Chapter 6: what its figures show, computed from a run."""

import numpy as np
import torch

from thesislib.detectors.dae import ABLATION
from thesislib.experiments import (
    chapter06,
    chapter06_tables,
    one_class,
    one_class_baselines,
)
from thesislib.experiments.chapter06 import Task
from thesislib.experiments.one_class import data_of
from thesislib.figures import panels
from thesislib.metrics import image
from thesislib.training import seeding
from thesislib.training.schedule import steps_of


def first_task(run) -> Task:
    """The class whose pictures the chapter shows: the first of the run."""
    return chapter06.full_tasks(run)[0]


def describe(run) -> str:
    """The run in a few lines of Markdown: data, counts, settings."""
    data, config, parameters = run.data, run.configs["igd"], run.parameters
    lines = [f"**{data.name}**, {data.source} data: {data_words(data.counts)}."]
    if data.source == "phantom":
        lines.append(
            f"The real dataset is not used here; a *phantom* ({data.modality}) stands "
            "in for it, and every figure and row says so."
        )
    elif data.partial:
        published = data_words(data.published_counts or {})
        lines.append(f"The counts differ from the published ones ({published}).")
    task = first_task(run)
    images = data_of(run, task).train
    lines.append(
        f"Preset `{parameters.preset}`, reading `{parameters.reading}`, part "
        f"`{parameters.part}`, seed {parameters.seed}: {images.image_size} px, "
        f"{steps_of(config, len(images)):,} steps of {config.batch_size} images a "
        f"class, base width {config.base_width}, start `{parameters.start}`."
    )
    if task.name:
        names = ", ".join(chapter06.class_names(run))
        lines.append(f"Classes that are normal in their turn: {names}.")
    if run.sealed:
        lines.append("This run was sealed before; its results are read back.")
    return "\n\n".join(lines)


def data_words(counts: dict[str, int]) -> str:
    """Numbers of images in words: "60,000 train, 10,000 test"."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def distillation(run) -> str:
    """How near the students of the first class came to their teacher, in Markdown."""
    if not (scales := chapter06.distilled(run)):
        return "This run distils no encoder."
    config, task = run.configs["distillation"], first_task(run)
    lines = [
        f"{config.num_steps:,} steps of {config.batch_size} training images, which the "
        f"teacher sees at {config.teacher_size} px. Squared distance to its features, "
        "first class, means over a tenth of the steps:",
        "",
    ]
    for scale in scales:
        history = one_class.student(run, task, scale).history
        tenth = max(1, len(history) // 10)
        first, last, spread = (
            float(np.mean([row[name] for row in rows]))
            for name, rows in (
                ("kd", history[:tenth]),
                ("kd", history[-tenth:]),
                ("spread", history[-tenth:]),
            )
        )
        lines.append(
            f"- {chapter06_tables.SCALES[scale]} model: {first:.3g} at first, "
            f"{last:.3g} at the end; {spread:.3g} for the mean as the only answer"
        )
    return "\n".join(lines)


def gaussian_passes(run) -> dict[str, list[dict[str, float]]]:
    """The Gaussian term of IGD on the first class, and of its variants, by passes.

    Returns:
        Label -> rows `{"step": pass, "gac": mean l_h, "variance": measured}`.
    """
    task = first_task(run)
    floor = run.configs["igd"].variance_floor
    label = "no floor" if floor is None else f"floor {floor:g}"
    histories = {label: one_class.igd_model(run, task).history}
    for name in run.configs["study"].oscillation:
        label, change = chapter06.OSCILLATION[name]
        made = one_class.igd_model(run, task, variant=f"gaussian-{name}", change=change)
        histories[label] = made.history
    num_images = len(data_of(run, task).train)
    every = max(1, num_images // run.configs["igd"].batch_size)
    return {label: per_pass(rows, every) for label, rows in histories.items()}


def per_pass(history: list[dict[str, float]], every: int) -> list[dict[str, float]]:
    """Means of `gac` and `variance` over each pass through the training images.

    Args:
        history: Rows of a training, `{"step": index, "gac": ..., "variance": ...}`.
        every: Steps of a pass.
    """
    passes: dict[int, list[dict[str, float]]] = {}
    for row in history:
        passes.setdefault(row["step"] // every, []).append(row)
    names = ("gac", "variance")
    return [
        {"step": k, **{n: float(np.mean([row[n] for row in rows])) for n in names}}
        for k, rows in sorted(passes.items())
    ]


def shown_images(run, task: Task) -> np.ndarray:
    """Indices of the test images in Figures 6.5 and A.2: half normal, half abnormal."""
    labels = data_of(run, task).test_labels
    half = run.configs["study"].num_tsne // 2
    random = np.random.default_rng(seeding.derive(run.parameters.seed, "t-SNE"))
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:half] for label in (0, 1)
    ]
    return np.sort(np.concatenate(chosen))


def representations(run, task: Task, indices: np.ndarray) -> dict[str, np.ndarray]:
    """z of test images by Deep SVDD, GAC and IGD, as Figures 6.5 and A.2.

    GAC is IGD without the adversarial interpolation.

    Returns:
        Label -> (n, Z).
    """
    images = data_of(run, task).test
    models = {
        "IGD without INTER": one_class.igd_model(
            run, task, variant="rec-gac", change=ABLATION["rec-gac"]
        ),
        "IGD": one_class.igd_model(run, task),
    }
    if "dsvdd" in chapter06_tables.methods(run):
        svdd = one_class_baselines.deep_model(run, "dsvdd", task)
        models = {"Deep SVDD": svdd} | models
    return {
        label: one_class.representations(trained.model, images, indices)
        for label, trained in models.items()
    }


@torch.no_grad()
def reconstructed(run, task: Task, indices: np.ndarray) -> np.ndarray:
    """Reconstructions of test images by the global model, (n, C, H, W) in [0, 1]."""
    model = one_class.igd_model(run, task).model
    images = data_of(run, task).test.take(indices)
    return model.decoder(model.encoder(images)).clamp(0, 1).cpu().numpy()


@torch.no_grad()
def interpolated(run, task: Task, number: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Images decoded between two normal test images, $\\hat{x}_\\alpha$ of Eq. (6.9).

    Returns:
        Weights of the second image, (n,), and images in [0, 1] of three pairs,
        (3, n, C, H, W).
    """
    model, data = one_class.igd_model(run, task).model, data_of(run, task)
    normal, places = np.flatnonzero(data.test_labels == 0), np.arange(3)
    first, second = (
        model.encoder(data.test.take(normal[p % len(normal)]))
        for p in (places, places + len(normal) // 2)
    )
    weights = torch.linspace(0, 1, number, device=first.device)
    share = weights[:, None, None]
    decoded = model.decoder((share * second + (1 - share) * first).flatten(0, 1))
    decoded = decoded.unflatten(0, (number, 3)).transpose(0, 1)
    return weights.cpu().numpy(), decoded.clamp(0, 1).cpu().numpy()


def examples(run, task: Task, number: int = 6) -> np.ndarray:
    """Indices of normal and then abnormal test images, at equal steps."""
    labels = data_of(run, task).test_labels
    chosen = []
    for label in (0, 1):
        found = np.flatnonzero(labels == label)
        places = np.linspace(0, len(found) - 1, min(number, len(found))).astype(int)
        chosen.append(found[places])
    return np.concatenate(chosen)


def heatmap_examples(detected, labels: np.ndarray, per_class: int = 4) -> np.ndarray:
    """Which of the kept maps to draw: each class at equal steps through its scores.

    Returns:
        Indices into `detected.shown`.
    """
    labels, scores = labels[detected.shown], detected.scores[detected.shown]
    chosen = [
        panels.spread_over_ranks(np.flatnonzero(labels == label), scores, per_class)
        for label in (0, 1)
    ]
    return np.concatenate(chosen)


def threshold(run, task: Task, scores: np.ndarray) -> float:
    """Median threshold of the validation draws of Section 5.4.3."""
    labels = data_of(run, task).test_labels
    return image.protocol_50_50(labels, scores, run.parameters.seed)["threshold"]


def score_terms(terms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The two terms of the global score, Eq. (6.22), under the names of the axes."""
    return {
        r"reconstruction $\ell_r$": terms["rec igd"],
        r"Gaussian $\ell_h$": terms["gac igd"],
    }
