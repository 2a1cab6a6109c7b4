"""Chapter 6: the figures and texts that no other chapter has."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from thesislib.chapters.ch06_igd import methods, settings
from thesislib.detectors.dae import ABLATION
from thesislib.detectors.igd_presets import OSCILLATION
from thesislib.figures import one_class as figures
from thesislib.study import pictures
from thesislib.study.detectors import Network, variant
from thesislib.study.encoders import features
from thesislib.study.localisation import SCALES
from thesislib.study.method import detect
from thesislib.study.optional import attempt, section
from thesislib.study.task import Task, data_of
from thesislib.training.schedule import steps_of

History = Sequence[dict[str, float]]


def first_task(run) -> Task:
    """The class whose pictures the chapter shows: the first of the run."""
    return settings.full_tasks(run)[0]


def describe(run) -> str:
    """The run in a few lines of Markdown: data, counts, settings."""
    config, parameters, task = run.configs["igd"], run.parameters, first_task(run)
    images, more = data_of(run, task).train, []
    if task.name:
        names = ", ".join(settings.class_names(run))
        more.append(f"Classes that are normal in their turn: {names}.")
    return pictures.describe(
        run,
        f"part `{parameters.part}`, {images.image_size} px, "
        f"{steps_of(config, len(images)):,} steps of {config.batch_size} images a "
        f"class, base width {config.base_width}, start `{parameters.start}`",
        *more,
        parts=settings.PARTS,
    )


def igd_model(run, task: Task, network: Network | None = None):
    """The global model of IGD, and its losses."""
    return (network or methods.igd(run)).model(run, task, "igd")


def distillation(run) -> str:
    """How near the students of the first class came to their teacher, in Markdown."""
    if not (scales := settings.distilled(run)):
        return "This run distils no encoder."
    config, task = run.configs["distillation"], first_task(run)
    lines = [
        f"{config.num_steps:,} steps of {config.batch_size} training images, which the "
        f"teacher sees at {config.teacher_size} px. Squared distance to its features, "
        "first class, means over a tenth of the steps:",
        "",
    ]
    for scale in scales:
        history = methods.student(run, task, scale).history
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
            f"- {SCALES[scale]} model: {first:.3g} at first, {last:.3g} at the end; "
            f"{spread:.3g} for the mean as the only answer"
        )
    return "\n".join(lines)


@section("Gaussian term pass by pass")
def gaussian(run):
    """The Gaussian term on the first class, and what its floor does, pass by pass."""
    task, floor = first_task(run), run.configs["igd"].variance_floor
    label = "no floor" if floor is None else f"floor {floor:g}"
    histories: dict[str, History] = {label: igd_model(run, task).history}
    for name in run.configs["study"].oscillation:
        label, change = OSCILLATION[name]
        network = variant(methods.igd(run), f"gaussian-{name}", change)
        train = partial(igd_model, run, task, network)
        if trained := attempt(run, f"Gaussian term, {label}", train):
            histories[label] = trained.history
    num_images = len(data_of(run, task).train)
    every = max(1, num_images // run.configs["igd"].batch_size)
    passes = {label: per_pass(rows, every) for label, rows in histories.items()}
    return run.figure(
        figures.gaussian(passes, floor=floor),
        "gaussian",
        alt="Mean of the Gaussian term and measured variance, pass by pass.",
        caption="Mean of Eq. (6.8) and the measured variance for each pass, first "
        "class.",
    )


def per_pass(history: History, every: int) -> list[dict[str, float]]:
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


@section("t-SNE of z")
def representations(run):
    """t-SNE of z of test images by Deep SVDD, GAC and IGD, as Figures 6.5 and A.2.

    GAC is IGD without the adversarial interpolation.
    """
    task = first_task(run)
    data, shown = data_of(run, task), pictures.sample_of_each(run, first_task(run))
    name = "rec-gac"
    networks = {
        "IGD without INTER": (variant(methods.igd(run), name, ABLATION[name]), "igd"),
        "IGD": (methods.igd(run), "igd"),
    }
    if "dsvdd" in run.configs["study"].baselines:
        networks = {"Deep SVDD": (methods.deep(run, "dsvdd"), "dsvdd")} | networks
    models = {}
    for label, (network, scale) in networks.items():
        train = partial(network.model, run, task, scale)
        if trained := attempt(run, f"t-SNE of z by {label}", train):
            models[label] = trained.model
    labels = data.test_labels[shown]
    return pictures.tsne(
        run,
        {label: features(m.encoder, data.test, shown) for label, m in models.items()},
        ["abnormal" if label else "normal" for label in labels],
        labels,
        "t-SNE of z of test images, as Figures 6.5 and A.2.",
    )


@section("reconstructions")
def reconstructions(run):
    """What the global model makes of test images."""
    model = igd_model(run, first_task(run)).model
    return pictures.reconstructions(
        run,
        lambda images: model.decoder(model.encoder(images)),
        "Reconstructions by the global model.",
        first_task(run),
    )


def maps(run):
    """The maps of IGD, of each scale where there are two."""
    caption = "Maps of Eq. (6.29), of the global model"
    if len(settings.scales(run)) > 1:
        caption = "Maps of Eqs. (6.28) and (6.29), of each scale and of both"
    caption += ", one colour scale for all images."
    igd, task = methods.method(run, "igd"), first_task(run)
    return pictures.scale_heatmaps(run, igd, caption, task)


@torch.no_grad()
def interpolated(run, task: Task, number: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Images decoded between two normal test images, $\\hat{x}_\\alpha$ of Eq. (6.9).

    Returns:
        Weights of the second image, (n,), and images in [0, 1] of three pairs,
        (3, n, C, H, W).
    """
    model, data = igd_model(run, task).model, data_of(run, task)
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


@section("interpolations")
def interpolations(run):
    """Three pairs of normal test images, and what lies between them."""
    weights, between = interpolated(run, first_task(run))
    rows = {f"pair {number}": row for number, row in enumerate(between, start=1)}
    return run.figure(
        figures.image_rows(rows, titles=[f"{weight:.2f}" for weight in weights]),
        "interpolations",
        alt="Images decoded between the representations of two test images.",
        caption="Decoded between two normal test images; below, the second one's "
        "share.",
    )


@section("terms of the score")
def score_terms(run):
    """The two terms of the global score, Eq. (6.22)."""
    task = first_task(run)
    return pictures.score_terms(
        run,
        detect(run, methods.method(run, "igd"), task),
        {"rec igd": r"reconstruction $\ell_r$", "gac igd": r"Gaussian $\ell_h$"},
        "The two terms of Eq. (6.22) for the test images of the first class.",
        task,
    )
