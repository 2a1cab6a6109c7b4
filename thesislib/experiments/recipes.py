"""A recipe: how to get an encoder, and what PaDiM makes of it.

Everything a recipe computes is kept in the run's folder and read back on resume, so
that a notebook can be run again in seconds and a kill loses minutes at most.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from thesislib.detectors.padim import PaDiM
from thesislib.experiments.igd_presets import on_patches
from thesislib.figures.explorer import choose
from thesislib.figures.panels import map_scale
from thesislib.metrics import localisation
from thesislib.metrics.image import Estimate
from thesislib.metrics.pixel import PixelHistogram
from thesislib.nn.resnet import ResNet18
from thesislib.pretrain import imagenet, pmsacl, simclr
from thesislib.training import seeding
from thesislib.training.loop import Loop

AFTER_WARM_UP = (  # settings of PMSACL that play no part before it measures centres
    "temperature",
    "alpha",
    "positive",
    "terms",
    "weight_ctr",
    "weight_pmsacl",
    "weight_pos",
    "kappa",
    "num_centre_images",
    "centre_momentum",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to an encoder.

    Attributes:
        stage: Unique in a run; names checkpoints, losses and stored arrays.
        row: Row key in the tables, as in `thesislib.paper`.
        label: For legends and tables.
        method: What trains the encoder.
        config: Settings of the method; None where there are none.
    """

    stage: str
    row: str
    label: str
    method: Literal["random", "imagenet", "simclr", "pmsacl"]
    config: Any = None


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What PaDiM says of the test images. Axes: M test images, K of them shown.

    Attributes:
        scores: (M,), larger is more abnormal.
        shown: Indices of the images whose maps are kept, (K,).
        maps: Anomaly maps of these, (K, H, W), float32.
        scale: Ends of one colour scale for the maps of all test images.
        pixels: Histogram of all pixels, where masks exist.
        groups: Means over groups of 100 images, "iou global", "iou oracle",
            "dice global", "dice oracle", "pro ranking", where masks exist.
    """

    scores: np.ndarray
    shown: np.ndarray
    maps: np.ndarray
    scale: tuple[float, float]
    pixels: PixelHistogram | None
    groups: dict[str, Estimate]


def untrained(run) -> ResNet18:
    """The random encoder that every recipe from scratch starts from."""
    seeding.seed_torch(run.parameters.seed, "untrained")
    return ResNet18(run.configs["pmsacl"].base_width).to(run.device)


class Trained(NamedTuple):
    """An encoder, and the losses of its pre-training, one row a recorded step."""

    encoder: ResNet18
    history: list[dict[str, float]]


_TRAINED: WeakKeyDictionary = WeakKeyDictionary()  # run -> stage -> Trained


def trained(run, recipe: Recipe) -> Trained:
    """Train the recipe's encoder, or read back the one that this run trained."""
    known = _TRAINED.setdefault(run, {})
    if recipe.stage not in known:
        known[recipe.stage] = _train(run, recipe)
    return known[recipe.stage]


def _train(run, recipe: Recipe) -> Trained:
    parameters = run.parameters
    start = untrained(run)
    if recipe.method == "imagenet" or (
        parameters.start == "imagenet" and recipe.method != "random"
    ):
        imagenet.start_from_imagenet(start, parameters.weights)
    if recipe.method in ("random", "imagenet"):
        return Trained(start.eval(), [])
    seeding.seed_torch(parameters.seed, "heads")
    kind = pmsacl.PMSACL if recipe.method == "pmsacl" else simclr.SimCLR
    model = kind(recipe.config).to(run.device)
    model.backbone.load_state_dict(start.state_dict())
    bank, loop = run.data.train, _loop(run, recipe, recipe.stage)
    with run.stage(f"pre-training {recipe.stage}"):
        if recipe.method == "simclr":
            simclr.pretrain(model, bank, recipe.config, loop)
            return Trained(model.backbone.eval(), loop.history)
        if not (stage := warm_up_stage(run, recipe)):
            pmsacl.pretrain(model, bank, recipe.config, loop)
            return Trained(model.backbone.eval(), loop.history)
        warm_up = _loop(run, recipe, stage)
        pmsacl.pretrain(model, bank, recipe.config, loop, warm_up)
        return Trained(model.backbone.eval(), warm_up.history + loop.history)


def warm_up_stage(run, recipe: Recipe) -> str | None:
    """Name of the stage that holds PMSACL's warm-up; None if a recipe has none.

    Recipes that agree with the main path in all settings which play before the
    centres are measured share its warm-up: trained once, it takes all of them to the
    same weights. Its cost is counted to the recipe that comes first. On patches the
    main path is PMSACL on patches.
    """
    main, shared = run.configs["pmsacl"], "pmsacl-warm-up"
    if recipe.config.warm_up == 0:
        return None
    if recipe.config.patch_size:
        main, shared = on_patches(main, run.configs), "pmsacl-local-warm-up"
    later = {name: getattr(main, name) for name in AFTER_WARM_UP}
    agrees = replace(recipe.config, **later) == main
    return shared if agrees else f"{recipe.stage}-warm-up"


def _loop(run, recipe: Recipe, stage: str) -> Loop:
    return run.loop(stage, batch_override=f"{recipe.method}.batch_size")


@torch.no_grad()
def features(run, recipe: Recipe, images: np.ndarray) -> np.ndarray:
    """Encoder features of some test images, (N,) indices to (N, 8 base_width)."""
    model = trained(run, recipe).encoder
    chunks = torch.as_tensor(images).split(run.configs["padim"].batch_size)
    maps = [model(run.data.test.take(chunk)) for chunk in chunks]
    return torch.cat(maps).float().cpu().numpy()


def detect(run, recipe: Recipe) -> Detection:
    """Fit PaDiM on the normal training images and score the test images."""
    model = trained(run, recipe).encoder
    config, data = run.configs["padim"], run.data

    def compute() -> dict[str, np.ndarray]:
        with run.stage(f"PaDiM {recipe.stage}"):
            detector = PaDiM(model, config, run.parameters.seed)
            detector.fit(data.train.batches(config.batch_size))
            scores, maps = detector.score(data.test.batches(config.batch_size))
            return arrays_of(run, scores.numpy(), maps.numpy())

    return detection(run.once(f"padim-{recipe.stage}", compute))


def arrays_of(run, scores: np.ndarray, maps: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of a detector's scores, (M,), and maps, (M, H, W)."""
    shown = choose(run.data.test_labels, scores, run.configs["study"].num_maps)
    return {
        "scores": scores,
        "shown": shown,
        "maps": maps[shown].astype(np.float16),
        "scale": np.array(map_scale(maps)),
        **_localise(run, maps),
    }


def detection(arrays: dict[str, np.ndarray]) -> Detection:
    """What `arrays_of` kept, read back."""
    return Detection(
        scores=arrays["scores"],
        shown=arrays["shown"],
        maps=arrays["maps"].astype(np.float32),
        scale=tuple(arrays["scale"].tolist()),
        pixels=_pixels(arrays),
        groups={
            name.removeprefix("groups/"): Estimate(*array[:3].tolist(), int(array[3]))
            for name, array in arrays.items()
            if name.startswith("groups/")
        },
    )


def _localise(run, maps: np.ndarray) -> dict[str, np.ndarray]:
    """Pixel histogram and group figures of Section 5.4.5, where masks exist."""
    masks = run.data.test_masks
    if masks is None:
        return {}
    histogram = PixelHistogram()
    histogram.update(maps, masks)
    found = localisation.localise(
        maps, masks, run.data.test_labels, seed=run.parameters.seed
    )
    return {
        **{f"pixels/{name}": array for name, array in histogram.to_arrays().items()},
        **{
            f"groups/{metric} {threshold}": np.array(estimate)
            for threshold, estimates in found.estimates.items()
            for metric, estimate in estimates.items()
        },
    }


def _pixels(arrays: dict[str, np.ndarray]) -> PixelHistogram | None:
    kept = {
        name.removeprefix("pixels/"): array
        for name, array in arrays.items()
        if name.startswith("pixels/")
    }
    return PixelHistogram.from_arrays(kept) if kept else None
