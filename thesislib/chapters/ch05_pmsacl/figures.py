"""Chapter 5: the figures that no other chapter draws."""

import math
from dataclasses import replace

import torch

from thesislib.augment.medmix import medmix
from thesislib.augment.strong import STRONG, strong_augmentation
from thesislib.chapters.ch05_pmsacl import methods, settings
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.figures import curves, panels
from thesislib.nn.pretext import NUM_DIRECTIONS
from thesislib.study import pictures
from thesislib.study.encoders import trained
from thesislib.study.html import not_run
from thesislib.study.method import Method
from thesislib.study.optional import section
from thesislib.training import seeding
from thesislib.training.schedule import steps_of


def describe(run) -> str:
    """The run in a few lines of Markdown: data, counts, settings."""
    config, images = run.configs["pmsacl"], run.data.train
    return pictures.describe(
        run,
        f"{images.image_size} px, ResNet-18 of base width {config.base_width}, "
        f"{steps_of(config, len(images)):,} steps of {config.batch_size} images, each "
        f"in {config.num_classes} classes and two views",
        parts=settings.PARTS,
    )


def schedule(run) -> str:
    """How long this run trains, beside what is said of the text to the letter."""
    config, preset = run.configs["pmsacl"], run.parameters.preset
    steps = steps_of(config, len(run.data.train))
    words = f"Preset `{preset}`: {steps:,} steps of {config.batch_size} images"
    if preset == "paper":
        return f"{words}, the thesis's own schedule where nothing is overridden."
    whole = Chapter05(preset="paper").configs()["pmsacl"]
    return (
        f"{words}; the thesis has {whole.epochs:,} epochs. What stands "
        "[below](#why-the-literal-recipe-fails) on the letter is said of so many steps."
    )


def centres_measured(run) -> dict[int, str]:
    """Step at which the centres of Eq. (5.2) are measured, with what happens there."""
    config = run.configs["pmsacl"]
    step = round(config.warm_up * steps_of(config, len(run.data.train)))
    return {step: "centres measured"}


@section("signs of collapse")
def health(run):
    """Signs of collapse in the training of PMSACL."""
    history = trained(run, methods.encoders(run)["pmsacl"]).history
    return run.figure(
        curves.diagnostics(history, events=centres_measured(run)),
        "health",
        alt="Live units of the head, spread of z, smallest distance of two centres.",
        caption="Signs of collapse: dead units, no spread, centres that coincide.",
    )


@section("losses on patches")
def patch_losses(run) -> str:
    """What PMSACL learns of patches beside what it learns of images, as HTML.

    The two terms whose blind guess is known: which class, and in which direction.
    """
    main = methods.encoders(run)["pmsacl"]
    if main not in methods.on_igd(run) or len(methods.igd(run, main).configs) == 1:
        return not_run("this run has no local model of IGD", ".")
    named = {"images": main, "patches": main.on_patches(run.configs)}
    config = named["patches"].config
    guess = {"aug": config.num_classes, "pos": NUM_DIRECTIONS}
    guess = {term: math.log(n) for term, n in guess.items() if term in config.terms}
    history = [
        {"step": row["step"]}
        | {f"{term} {name}": row[term] for term in guess if term in row}
        | {f"{term} blind": blind for term, blind in guess.items()}
        for name, one in named.items()
        for row in trained(run, one).history
    ]
    groups = {
        rf"$\ell_{{{term}}}$": {
            **{f"{term} {name}": name for name in named},
            f"{term} blind": f"a blind guess, {blind:.2f} nats",
        }
        for term, blind in guess.items()
    }
    steps = steps_of(config, len(run.data.train))
    limits = dict.fromkeys(groups, (0, None))
    figure = run.figure(
        curves.panels(history, groups, ncols=2, limits=limits),
        "losses-patches",
        alt="Class and position term of PMSACL on images and on patches, by step.",
        caption=f"Eqs. (5.8) and (5.9) in the pre-training on images and that on "
        f"patches of {config.patch_size} px, {steps:,} steps of {config.batch_size}.",
    )
    return figure.data


def igd_heatmaps(run, method: Method | None) -> str:
    """Maps of IGD, of both scales where it has two, and of added methods, as HTML."""
    what = "as Figures 5.3 and 5.4, Eq. (6.29), the global model alone"
    if method is not None and len(methods.igd(run, method.encoder).configs) > 1:
        what = "as Figures 5.3 and 5.4, Eq. (6.28), both scales added"
    drawn = pictures.heatmaps(run, method, what, "heatmaps-igd")
    return drawn + pictures.of_added(run)


@section("examples of MedMix")
def medmix_examples(run, num_images: int):
    """Normal training images under every class of MedMix, as Figure 5.2."""
    config, count = run.configs["pmsacl"], run.configs["pmsacl"].num_classes
    generator = seeding.generator(
        run.parameters.seed, "figure", "medmix", device=run.device
    )
    images = run.data.train.sample(max(num_images, 8), generator)
    classes = torch.arange(count, device=run.device).repeat_interleave(len(images))
    settings = replace(config.medmix, max_lesions=count - 1)
    mixed, masks = medmix(images.repeat(count, 1, 1, 1), classes, generator, settings)
    mixed = mixed.unflatten(0, (count, -1)).transpose(0, 1)[:num_images]
    masks = masks.unflatten(0, (count, -1)).transpose(0, 1)[:num_images, :, 0]
    return run.figure(
        panels.medmix_examples(mixed.cpu().numpy(), masks.cpu().numpy()),
        "medmix",
        alt="Three normal images, each with zero to three pasted lesions outlined.",
        caption="MedMix, as Figure 5.2: zero to three lesions pasted into a normal "
        "image.",
    )


@section("strong augmentations")
def strong_examples(run):
    """One normal image under every class of every strong augmentation, Figure 5.7."""
    medmix = run.configs["pmsacl"].medmix
    augmentations = {
        name: (label, strong_augmentation(name, STRONG[name].num_classes, medmix))
        for name, label in methods.STRONG_LABELS.items()
    }
    return pictures.strong_examples(run, augmentations, "5.7")
