"""Chapter 5: IGD as the second detector, Section 5.4.2.

The pre-trained encoder is frozen; a linear layer and the decoder are trained on it,
once for whole images and once for patches of 32 pixels (chapter 6). The global model
shares PaDiM's encoder; the local one has its own, pre-trained on patches.

The thesis gives the position term (5.9) to the local encoder alone, and yet its effect
on PaDiM, which has a global encoder alone, is the last row of Table 5.8. Here both
encoders are trained by all terms of Eq. (5.1).
"""

import copy
from dataclasses import replace

import numpy as np

from thesislib.detectors import igd
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.errors import InputError
from thesislib.experiments import chapter05, one_class, recipes
from thesislib.experiments.igd_presets import on_patches
from thesislib.experiments.recipes import Recipe
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.training import seeding

SCALES = ("igd", "local")


def chosen(run) -> list[Recipe]:
    """The encoders on which this run trains IGD, PMSACL's first.

    Raises:
        InputError: If `study.igd` names an encoder that the run does not train.
    """
    known = {"pmsacl": chapter05.main(run)}
    known |= {r.stage.removeprefix("pmsacl-"): r for r in chapter05.baselines(run)}
    known = {name.removesuffix("-only"): recipe for name, recipe in known.items()}
    names = [n for n in run.configs["study"].igd if n != "imagenet" or n in known]
    if unknown := sorted(set(names) - known.keys()):
        raise InputError(
            f"study.igd has {', '.join(unknown)}; this run has {', '.join(known)}."
        )
    return [known[name] for name in known if name in names]


def row(recipe: Recipe) -> str:
    """Row key of IGD on a recipe's encoder, `pmsacl-igd` beside `pmsacl-padim`."""
    return recipe.row.replace("padim", "igd")


def pretraining(run, recipe: Recipe, scale: str) -> Recipe:
    """The recipe of the encoder that a scale of IGD takes.

    Both scales are pre-trained in the same way, so that every row compares one thing:
    PMSACL, its class term alone or SimCLR, on images and on patches. An untrained and
    an ImageNet encoder have seen neither, and serve both scales.
    """
    if scale == "igd" or recipe.config is None:
        return recipe
    config = on_patches(recipe.config, run.configs)
    return replace(recipe, stage=f"{recipe.stage}-local", config=config)


def model_of(run, recipe: Recipe, scale: str) -> IGD:
    """IGD of one scale on a recipe's encoder, trained or read back."""
    config: IGDConfig = run.configs[scale]
    pretrained = recipes.trained(run, pretraining(run, recipe, scale)).encoder
    encoder = copy.deepcopy(pretrained)
    data, stage = run.data, f"{scale}/{recipe.stage}"

    def train() -> IGD:
        seeding.seed_torch(run.parameters.seed, stage, "weights")
        size = config.patch_size or data.train.image_size
        backbone = BackboneEncoder(encoder, config.num_features)
        model = IGD(config, size, data.train.channels, backbone).to(run.device)
        loop = run.loop(stage)
        with run.stage(f"IGD {stage}"):
            igd.fit(model, data.train, config, loop)
        return model

    return one_class.kept(run, ("igd", stage), train)


def scales(run) -> tuple[str, ...]:
    """Global and local; Section 5.4.2 has the global model alone at Liu et al.'s 64 px,
    and images that are no larger than a patch have no other."""
    patch = run.configs["local"].patch_size
    if run.parameters.dataset == "liu-colonoscopy":
        return SCALES[:1]
    return SCALES if run.data.train.image_size > patch else SCALES[:1]


def detect(run, recipe: Recipe) -> recipes.Detection:
    """Train IGD on an encoder and score the test images, Eqs. (6.21) and (6.28)."""
    data = run.data

    def compute() -> dict[str, np.ndarray]:
        models = {
            scale: (model_of(run, recipe, scale), run.configs[scale])
            for scale in scales(run)
        }
        with run.stage(f"scores IGD {recipe.stage}"):
            scores, maps = one_class.scores_and_maps(models, data)
            return recipes.arrays_of(run, scores, maps)

    return recipes.detection(run.once(f"igd-{recipe.stage}", compute))


def expected_rows(run) -> list[tuple[str | None, str]]:
    """(table, row) pairs of both detectors without which the run is not complete."""
    own = [row(recipe) for recipe in chosen(run)]
    tables = chapter05.detection_tables(run)
    return chapter05.expected_rows(run) + [
        (table if chapter05.prints(table, key) else None, key)
        for key in own
        for table in tables
    ]
