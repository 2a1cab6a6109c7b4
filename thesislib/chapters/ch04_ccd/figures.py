"""Chapter 4: the figures that no other chapter draws."""

import math
from dataclasses import replace
from functools import partial

import torch

from thesislib.chapters.ch04_ccd import methods, settings
from thesislib.detectors import f_anogan
from thesislib.figures import curves
from thesislib.figures import one_class as figures
from thesislib.nn import wgan
from thesislib.pretrain import ccd
from thesislib.study import pictures
from thesislib.study.encoders import Encoder, trained
from thesislib.study.html import not_run
from thesislib.study.method import Method
from thesislib.study.optional import attempt, section
from thesislib.study.task import WHOLE
from thesislib.training import seeding
from thesislib.training.schedule import steps_of


def describe(run) -> str:
    """The run in a few lines of Markdown: data, counts, settings."""
    config, images = run.configs["ccd"], run.data.train
    return pictures.describe(
        run,
        f"{images.image_size} px, ResNet-18 of base width {config.base_width}, "
        f"{steps_of(config, len(images)):,} steps of {config.batch_size} images, "
        f"strong augmentation {config.strong}",
        parts=settings.PARTS,
    )


@section("strong augmentations")
def strong_examples(run):
    """One normal image under every class of the four strong augmentations."""
    config = run.configs["ccd"]
    augmentations = {
        name: (label, ccd.strong_augmentation(replace(config, strong=name)))
        for name, label in methods.STRONG_LABELS.items()
    }
    return pictures.strong_examples(run, augmentations, "4.2")


@section("class term by step")
def class_term(run):
    """How soon each strong augmentation of this run is told apart, Eq. (4.3)."""
    named = {}
    for variant in methods.strong(run):
        encoder, label = variant.method.encoder, variant.label
        if attempt(run, f"class term of {label}", partial(trained, run, encoder)):
            named[label] = encoder
    blind = math.log(ccd.strong_augmentation(run.configs["ccd"]).num_classes)
    history = [
        {"step": row["step"], label: row["cla"], "blind": blind}
        for label, encoder in named.items()
        for row in trained(run, encoder).history
        if "cla" in row
    ]
    shown = {label: label for label in named} | {
        "blind": f"a blind guess, {blind:.2f} nats"
    }
    title = r"$\ell_{cla}$, Eq. (4.3)"
    return run.figure(
        curves.panels(history, {title: shown}, limits={title: (0, None)}),
        "class-term",
        alt="Loss of the class term by step, for each strong augmentation.",
        caption="How soon the encoder tells which strong augmentation an image went "
        "through. What is told apart at once teaches no more; what stays at the blind "
        "guess is not learnt.",
    )


@section("generated images")
def generated(run) -> str:
    """Images that f-AnoGAN's generator draws, beside its reconstructions."""
    encoder: Encoder = methods.encoders(run)["ccd"]
    if "f-anogan" not in run.configs["study"].detectors:
        return not_run("f-AnoGAN is not among the detectors of this run", ".")
    model = methods.network(run, encoder, "f-anogan").model(run, WHOLE, "anogan").model
    generator = seeding.generator(
        run.parameters.seed, "figure", "generated", device=run.device
    )
    with torch.no_grad():
        codes = f_anogan.draw_codes(16, run.configs["anogan"], generator)
        drawn = model.decoder(codes).clamp(0, 1).cpu().numpy()
    real = run.data.train.take(range(min(64, len(run.data.train)))).cpu()
    rows = {"training images": real[:8], "generated": drawn[:8], "more": drawn[8:]}
    spread = wgan.diversity(torch.as_tensor(drawn), real).item()
    of_images = run.figure(
        figures.image_rows(rows),
        "generated",
        alt="Training images, and images that the generator draws.",
        caption="Images that the generator of f-AnoGAN draws; they lie "
        f"{spread:.2f} times as far apart as training images do.",
    )
    rebuilt = pictures.reconstructions(
        run,
        lambda images: model.decoder(model.encoder(images)),
        "Reconstructions by the global model of CCD + f-AnoGAN.",
        name="reconstructions-f-anogan",
        number=4,  # a page stays below 3 MB
    )
    return of_images.data + rebuilt.data


@section("reconstructions")
def reconstructions(run, method: Method):
    """What the global model of a detector on CCD makes of test images."""
    model = next(iter(method.fit(run, WHOLE).by_scale.values()))
    return pictures.reconstructions(
        run,
        lambda images: model.decoder(model.encoder(images)),
        f"Reconstructions by the global model of {method.label}.",
        name=f"reconstructions-{method.key}",
        number=4,
    )
