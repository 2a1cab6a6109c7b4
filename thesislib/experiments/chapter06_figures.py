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
from thesislib.training import seeding


def first_task(run) -> Task:
    """The class whose pictures the chapter shows: the first of the run."""
    return chapter06.full_tasks(run)[0]


def gaussian_histories(run) -> dict[str, list[dict[str, float]]]:
    """Losses of IGD on the first class, and of variants of its Gaussian term.

    Returns:
        Label -> rows with `gac`, mean $\\ell_h$ of a batch, and `variance`.
    """
    task = first_task(run)
    floor = run.configs["igd"].variance_floor
    label = "no floor" if floor is None else f"floor {floor:g}"
    histories = {label: one_class.igd_model(run, task).history}
    for name in run.configs["study"].oscillation:
        one_class.known_method(name, tuple(chapter06.OSCILLATION), "study.oscillation")
        label, change = chapter06.OSCILLATION[name]
        made = one_class.igd_model(run, task, variant=f"gaussian-{name}", change=change)
        histories[label] = made.history
    return histories


def per_epoch(run, history: list[dict[str, float]], name: str) -> list[dict]:
    """Means of a logged term over each pass through the training images.

    Args:
        history: Rows of a training, `{"step": ..., name: ...}`.
        name: Term, "gac" for $\\ell_h$.

    Returns:
        Rows `{"step": pass, name: mean}`.
    """
    num_images = len(data_of(run, first_task(run)).train)
    every = max(1, num_images // run.configs["igd"].batch_size)
    passes: dict[int, list[float]] = {}
    for row in history:
        passes.setdefault(row["step"] // every, []).append(row[name])
    return [{"step": k, name: float(np.mean(v))} for k, v in sorted(passes.items())]


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
    normal = np.flatnonzero(data.test_labels == 0)[:6]
    if len(normal) < 6:
        return np.array([]), np.array([])
    first, second = (model.encoder(data.test.take(p)) for p in normal.reshape(2, 3))
    weights = torch.linspace(0, 1, number, device=first.device)
    share = weights[:, None, None]
    decoded = model.decoder((share * second + (1 - share) * first).flatten(0, 1))
    decoded = decoded.unflatten(0, (number, 3)).transpose(0, 1)
    return weights.cpu().numpy(), decoded.clamp(0, 1).cpu().numpy()


def examples(run, task: Task, number: int = 8) -> np.ndarray:
    """Indices of normal and then abnormal test images, at equal steps."""
    labels = data_of(run, task).test_labels
    chosen = []
    for label in (0, 1):
        found = np.flatnonzero(labels == label)
        places = np.linspace(0, len(found) - 1, min(number, len(found))).astype(int)
        chosen.append(found[places])
    return np.concatenate(chosen)
