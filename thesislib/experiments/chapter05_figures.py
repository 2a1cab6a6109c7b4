"""Chapter 5: what its figures show, as arrays, and one figure whole."""

import math
from dataclasses import replace

import numpy as np
import torch

from thesislib.augment.medmix import medmix
from thesislib.augment.strong import STRONG
from thesislib.experiments import chapter05, chapter05_igd, recipes
from thesislib.figures import curves, panels
from thesislib.metrics import image
from thesislib.nn.pretext import NUM_DIRECTIONS
from thesislib.pretrain.pmsacl import strong_augmentation
from thesislib.training import seeding
from thesislib.training.schedule import steps_of


def describe(run) -> str:
    """The run in a few lines of Markdown: data, counts, settings."""
    data, config = run.data, run.configs["pmsacl"]
    counts = ", ".join(f"{number:,} {name}" for name, number in data.counts.items())
    lines = [f"**{data.name}**, {data.source} data: {counts}."]
    if data.source == "phantom":
        lines.append(
            f"The real dataset is not used here; a {data.modality} *phantom* stands in "
            "for it, and every figure and row says so."
        )
    elif data.partial:
        published = ", ".join(f"{n:,} {k}" for k, n in data.published_counts.items())
        lines.append(f"The counts differ from the published ones ({published}).")
    steps = steps_of(config, len(data.train))
    lines.append(
        f"Preset `{run.parameters.preset}`, reading `{run.parameters.reading}`, seed "
        f"{run.parameters.seed}: {data.train.image_size} px, ResNet-18 of base width "
        f"{config.base_width}, {steps:,} steps of {config.batch_size} images, each in "
        f"{config.num_classes} classes and two views."
    )
    if run.sealed:
        lines.append("This run was sealed before; its results are read back.")
    return "\n\n".join(lines)


def end_of_warm_up(run) -> int:
    """Step at which the centres of Eq. (5.2) are measured."""
    config = run.configs["pmsacl"]
    return round(config.warm_up * steps_of(config, len(run.data.train)))


def patch_losses(run) -> str:
    """What PMSACL learns of patches beside what it learns of images, as HTML.

    The two terms whose blind guess is known: which class, and in which direction.
    """
    recipe = chapter05.main(run)
    if recipe not in chapter05_igd.chosen(run) or len(chapter05_igd.scales(run)) == 1:
        return "<p><em>Not run</em>: this run has no local model of IGD.</p>"
    on_patches = chapter05_igd.pretraining(run, recipe, "local")
    named, config = {"images": recipe, "patches": on_patches}, on_patches.config
    guess = {"aug": config.num_classes, "pos": NUM_DIRECTIONS}
    guess = {term: math.log(n) for term, n in guess.items() if term in config.terms}
    history = [
        {"step": row["step"]}
        | {f"{term} {name}": row[term] for term in guess if term in row}
        | {f"{term} blind": blind for term, blind in guess.items()}
        for name, one in named.items()
        for row in recipes.trained(run, one).history
    ]
    groups = {
        rf"$\ell_{{{term}}}$": {
            **{f"{term} {name}": name for name in named},
            f"{term} blind": f"a blind guess, {blind:.2f} nats",
        }
        for term, blind in guess.items()
    }
    steps = steps_of(config, len(run.data.train))
    figure = run.figure(
        curves.panels(
            history, groups, ncols=2, limits=dict.fromkeys(groups, (0, None))
        ),
        "losses-patches",
        alt="Class and position term of PMSACL on images and on patches, by step.",
        caption=f"Eqs. (5.8) and (5.9) in the pre-training on images and that on "
        f"patches of {config.patch_size} px, {steps:,} steps of {config.batch_size}.",
    )
    return figure.data


def medmix_examples(run, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal training images under every class of MedMix, for Figure 5.2.

    Returns:
        Images (R, A, 3, H, W) in [0, 1] and masks of the lesions (R, A, H, W).
    """
    config = run.configs["pmsacl"]
    count = config.num_classes
    generator = seeding.generator(
        run.parameters.seed, "figure", "medmix", device=run.device
    )
    images = run.data.train.sample(max(num_images, 8), generator)
    classes = torch.arange(count, device=run.device).repeat_interleave(len(images))
    settings = replace(config.medmix, max_lesions=count - 1)
    mixed, masks = medmix(images.repeat(count, 1, 1, 1), classes, generator, settings)
    mixed = mixed.unflatten(0, (count, -1)).transpose(0, 1)[:num_images]
    masks = masks.unflatten(0, (count, -1)).transpose(0, 1)[:num_images, :, 0]
    return mixed.cpu().numpy(), masks.cpu().numpy()


def strong_examples(run) -> dict[str, np.ndarray]:
    """One normal image under every class of every strong augmentation.

    Returns:
        What to call it -> (K, 3, H, W) in [0, 1].
    """
    config, found = run.configs["pmsacl"], {}
    for name, published in STRONG.items():
        augmentation = strong_augmentation(
            replace(config, strong=name, num_classes=published.num_classes)
        )
        generator = seeding.generator(
            run.parameters.seed, "figure", name, device=run.device
        )
        images = run.data.train.take(torch.arange(min(8, len(run.data.train))))
        count = augmentation.num_classes
        classes = torch.arange(count, device=run.device).repeat_interleave(len(images))
        strong = augmentation(images.repeat(count, 1, 1, 1), classes, generator)
        found[chapter05.STRONG_LABELS[name]] = strong[:: len(images)].cpu().numpy()
    return found


def tsne_images(run) -> np.ndarray:
    """Indices of the test images in Figure 5.6, a seeded sample of either class."""
    labels, wanted = run.data.test_labels, run.configs["study"].num_tsne
    random = np.random.default_rng(run.parameters.seed)
    order = random.permutation(len(labels))[:wanted]
    return np.sort(order)


def threshold(run, detected) -> float:
    """Median threshold of the validation draws of Section 5.4.3."""
    return image.protocol_50_50(
        run.data.test_labels, detected.scores, run.parameters.seed
    )["threshold"]


def heatmap_examples(run, detected, per_class: int = 4) -> np.ndarray:
    """Which of the kept maps to draw: each class at equal steps through its scores.

    Returns:
        Indices into `detected.shown`.
    """
    labels = run.data.test_labels[detected.shown]
    scores = detected.scores[detected.shown]
    chosen = [
        panels.spread_over_ranks(np.flatnonzero(labels == label), scores, per_class)
        for label in (0, 1)
    ]
    return np.concatenate(chosen)


def heatmaps(run, detected: recipes.Detection | None, detector: str) -> str:
    """Anomaly maps of PMSACL + `detector` as Figures 5.3 and 5.4, as HTML."""
    if detected is None:
        return _not_run(detector)
    data, rows = run.data, heatmap_examples(run, detected)
    shown = detected.shown[rows]
    fig = panels.heatmaps(
        data.test.take(shown),
        detected.maps[rows],
        None if data.test_masks is None else data.test_masks[shown],
        detected.scores[shown],
        data.test_labels[shown],
        scale=detected.scale,
    )
    what = {"PaDiM": "Eq. (5.12)", "IGD": "Eq. (6.28), both scales added"}[detector]
    figure = run.figure(
        fig,
        f"heatmaps-{detector.lower()}",
        alt=f"Test images with the anomaly maps of PMSACL + {detector} on one colour "
        "scale.",
        caption=f"Anomaly maps of PMSACL + {detector} as Figures 5.3 and 5.4, {what}; "
        "one colour scale for normal and abnormal images; outlined: the ground truth.",
    )
    return figure.data


def _not_run(detector: str) -> str:
    return f"<p><em>Not run</em>: this run has no PMSACL + {detector}.</p>"


def gallery(run, detected: recipes.Detection | None, detector: str) -> str:
    """Right and wrong decisions of PMSACL + `detector` as Figure 5.5, as HTML."""
    if detected is None:
        return _not_run(detector)
    data, shown = run.data, detected.shown
    fig = panels.gallery(
        data.test.take(shown),
        data.test_labels[shown],
        detected.scores[shown],
        threshold(run, detected),
        None if data.test_masks is None else data.test_masks[shown],
        per_group=4,  # two galleries in a page that stays below 3 MB
    )
    printed = ", as Figure 5.5" if detector == "IGD" else "; Figure 5.5 is with IGD"
    figure = run.figure(
        fig,
        f"gallery-{detector.lower()}",
        alt=f"Test images by decision of PMSACL + {detector}: right and wrong, normal "
        "and abnormal.",
        caption=f"Decisions of PMSACL + {detector} with scores{printed}.",
    )
    return figure.data
