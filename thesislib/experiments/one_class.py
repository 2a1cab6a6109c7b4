"""One-class detectors on the tasks of chapter 6, each trained once and kept.

Everything here is kept in the run's folder and read back on resume, so that a notebook
can be run again in seconds and a kill loses minutes at most.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from thesislib.datasets import subsets
from thesislib.datasets.bank import ImageBank
from thesislib.detectors import igd, igd_scores
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.experiments import chapter06
from thesislib.experiments.chapter06 import Task, scales
from thesislib.experiments.igd_presets import on_patches
from thesislib.figures.explorer import choose
from thesislib.figures.panels import map_scale
from thesislib.metrics.per_image import aurocs_of_images
from thesislib.metrics.pixel import PixelHistogram
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18
from thesislib.pretrain import distillation, imagenet, pmsacl, simclr
from thesislib.pretrain.distillation import Student
from thesislib.training import seeding

BATCH = 256  # images that are scored together


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a method says of the test images of a task. Axes: M images, K shown.

    Attributes:
        scores: (M,), larger is more abnormal.
        terms: Parts of the score by name, (M,) each: "rec global", "gac local".
        shown: Indices of the images whose maps are kept, (K,).
        maps: Scale -> maps of these, (K, H, W): "igd", "local", and "both".
        ends: Scale -> ends of one colour scale for all test images.
        pixels: Scale -> histogram of all pixels, where masks exist.
        images: Scale -> pixel AUROC of each abnormal image by itself, (n,).
    """

    scores: np.ndarray
    terms: dict[str, np.ndarray]
    shown: np.ndarray
    maps: dict[str, np.ndarray]
    ends: dict[str, tuple[float, float]]
    pixels: dict[str, PixelHistogram]
    images: dict[str, np.ndarray]


class Trained(NamedTuple):
    """A model, and the losses of its training, one row a recorded step."""

    model: nn.Module
    history: list[dict[str, float]]


_KNOWN: WeakKeyDictionary = WeakKeyDictionary()  # run -> key -> what was made


def kept(run, key: tuple, make: Callable[[], Any]) -> Any:
    """What `make` gives, made once in a run's life."""
    known = _KNOWN.setdefault(run, {})
    if key not in known:
        known[key] = make()
    return known[key]


def data_of(run, task: Task):
    """The task's training images and the test images that all methods share."""

    def make():
        if task.name:
            return run.data.one_class(
                task.name,
                fraction=task.fraction,
                contamination=task.contamination,
                seed=run.parameters.seed,
            )
        return subsets.subset(
            run.data,
            fraction=task.fraction,
            contamination=task.contamination,
            seed=run.parameters.seed,
            reserve=chapter06.reserve(run),
        )

    return kept(run, ("data", task), make)


def fitted(run, stage: str, task: Task, make: Callable, fit: Callable) -> Trained:
    """A model of a task, trained or read back.

    Args:
        stage: Unique among the methods of a run; its first word names the settings.
        make: Gives the untrained model.
        fit: Trains it, called with (model, training images, loop).
    """

    def train() -> Trained:
        name = f"{stage}/{task.stage}"
        train_images = data_of(run, task).train
        seeding.seed_torch(run.parameters.seed, name, "weights")
        model = make().to(run.device)
        settings = name.partition("/")[0]  # baselines take those of IGD
        settings = settings if settings in run.configs else "igd"
        loop = run.loop(name, batch_override=f"{settings}.batch_size")
        with run.stage(name), torch.enable_grad():
            fit(model, train_images, loop)
        return Trained(model.eval(), loop.history)

    return kept(run, (stage, task), train)


def backbone_of(run, task: Task, scale: str = "igd") -> nn.Module | None:
    """The encoder that a task's models start from, None for one from scratch.

    Args:
        scale: `igd`, whole images, also those of the baselines; or `local`.
    """
    start = run.parameters.start
    if start == "scratch":
        return None
    # Trained just now, read back or kept: what is built on it draws the same.
    with torch.random.fork_rng(devices=[]):
        if scale in chapter06.distilled(run):
            return student(run, task, scale).model
        if start == "imagenet":
            return _resnet18(run)
        return _self_supervised(run, task, scale)


def _resnet18(run) -> ResNet18:
    """ResNet-18 with ImageNet weights, one for all tasks: nothing changes it."""

    def load() -> ResNet18:
        encoder = ResNet18().to(run.device)
        imagenet.start_from_imagenet(encoder, run.parameters.weights)
        return encoder.eval().requires_grad_(False)

    return kept(run, ("imagenet",), load)


def student(run, task: Task, scale: str) -> Trained:
    """The encoder of one scale that ResNet-18 taught on the task's images.

    Args:
        scale: One of `chapter06.distilled`.
    """
    config, data = run.configs["distillation"], data_of(run, task)
    size = run.configs[scale].patch_size or data.train.image_size

    def fit(model, images, loop) -> None:
        distillation.distil(model, _resnet18(run), images, config, loop)

    stage = f"distillation/{scale}"
    return fitted(run, stage, task, lambda: Student(size, config.base_width), fit)


def _self_supervised(run, task: Task, scale: str) -> ResNet18:
    """The encoder that SimCLR or PMSACL trained on the task's images or patches."""
    method = stage = run.parameters.start
    module, kind = {
        "simclr": (simclr, simclr.SimCLR),
        "pmsacl": (pmsacl, pmsacl.PMSACL),
    }[method]
    config = run.configs[method]
    if scale == "local":
        config, stage = on_patches(config, run.configs), f"{method}/local"

    def fit(model, images, loop) -> None:
        module.pretrain(model, _in_colour(images), config, loop)

    return fitted(run, stage, task, lambda: kind(config), fit).model.backbone


def _in_colour(images: ImageBank) -> ImageBank:
    """Grey images with three equal channels, as the augmentations take them."""
    if images.channels == 3:
        return images
    return subsets.bank_like(images, np.repeat(images.pixels, 3, axis=1))


def igd_config(run, scale: str, change: dict[str, Any] | None = None) -> IGDConfig:
    """Settings of one scale, with what a variant changes."""
    return replace(run.configs[scale], **(change or {}))


def igd_model(
    run, task: Task, scale: str = "igd", variant: str = "", change: dict | None = None
) -> Trained:
    """IGD of one scale, trained on a task.

    Args:
        scale: `igd`, the global model, or `local`.
        variant: Names a change of the settings, "" for none.
        change: The change, field of `IGDConfig` -> value.
    """
    config, data = igd_config(run, scale, change), data_of(run, task)

    def make() -> IGD:
        backbone = backbone_of(run, task, scale)
        encoder = backbone and BackboneEncoder(backbone, config.num_features)
        size = config.patch_size or data.train.image_size
        return IGD(config, size, data.train.channels, encoder)

    stage = f"{scale}/{variant}" if variant else scale
    return fitted(
        run, stage, task, make, lambda m, images, loop: igd.fit(m, images, config, loop)
    )


def detect_igd(
    run,
    task: Task,
    variant: str = "",
    change: dict | None = None,
    *,
    maps: bool = False,
) -> Detection:
    """Train IGD on a task, both scales where there are two, and score its test images.

    Args:
        variant: Names a change of the settings, "" for none.
        change: The change, field of `IGDConfig` -> value.
        maps: Keep maps of some test images, and histograms of all pixels where masks
            exist.
    """
    num_maps = run.configs["study"].num_maps if maps else 0

    def compute() -> dict[str, np.ndarray]:
        models = {
            scale: (
                igd_model(run, task, scale, variant, change).model,
                igd_config(run, scale, change),
            )
            for scale in scales(run)
        }
        with run.stage(f"scores igd {variant} {task.stage}"):
            return scored(models, data_of(run, task), num_maps)

    parts = ("igd", variant, task.stage, "maps" if maps else "")
    return detection(run.once(" ".join(filter(None, parts)), compute))


def scored(
    models: dict[str, tuple[IGD, IGDConfig]], data, num_maps: int
) -> dict[str, np.ndarray]:
    """Scores of test images by one scale or two, and maps, as arrays to be kept.

    Args:
        models: "igd", the global model, and "local" if there is one, with settings.
        data: The `Dataset`; where it has masks, all images are mapped.
        num_maps: How many maps to keep; 0 makes none.
    """

    all_maps = num_maps > 0 and data.test_masks is not None
    found = _score(models, lambda: data.test.batches(BATCH), all_maps)
    arrays = {"scores": list(found.values())[-1].score.numpy()}
    for scale in models:
        arrays[f"terms/rec {scale}"] = found[scale].rec.numpy()
        arrays[f"terms/gac {scale}"] = found[scale].gac.numpy()
    if not num_maps:
        return arrays
    shown = choose(data.test_labels, arrays["scores"], num_maps)
    places = shown
    if not all_maps:
        few = data.test.take(torch.as_tensor(shown))
        found = _score(models, lambda: [few], True)
        places = np.arange(len(shown))
    arrays["shown"] = shown
    for scale, one in found.items():
        drawn = one.maps.numpy()
        arrays[f"maps/{scale}"] = drawn[places].astype(np.float16)
        arrays[f"ends/{scale}"] = np.array(map_scale(drawn))
        if all_maps:
            arrays |= _pixels(scale, drawn, data.test_masks)
            each = aurocs_of_images(drawn, data.test_masks)
            arrays[f"images/{scale}"] = each
    return arrays


def scores_and_maps(
    models: dict[str, tuple[IGD, IGDConfig]], data
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M,) and maps (M, H, W) of all test images, both scales together."""
    last = list(_score(models, lambda: data.test.batches(BATCH), True).values())[-1]
    return last.score.numpy(), last.maps.numpy()


def _score(
    models: dict[str, tuple[IGD, IGDConfig]], batches: Callable, maps: bool
) -> dict[str, igd_scores.Scores]:
    """Scores by each scale, and by both together where there are two.

    Together they are Eq. (6.21), or its mean where the terms have shares of 1.
    """
    found = {
        scale: igd_scores.score(model, batches(), config, maps=maps)
        for scale, (model, config) in models.items()
    }
    if "local" in found:
        shares = models["igd"][1].share_gac is not None
        found["both"] = igd_scores.combine(found["igd"], found["local"], mean=shares)
    return found


def detect(run, task: Task, stage: str, compute: Callable) -> Detection:
    """Score a task's test images by a method without maps.

    Args:
        stage: Unique among the methods of a run.
        compute: Gives the scores, (M,), called with the task's data.
    """
    data = data_of(run, task)

    def scores() -> dict[str, np.ndarray]:
        return {"scores": np.asarray(compute(data), dtype=np.float64)}

    return detection(run.once(f"{stage} {task.stage}", scores))


@torch.no_grad()
def representations(model: IGD, images, indices: np.ndarray) -> np.ndarray:
    """z of some images, (n,) indices to (n, Z)."""
    chunks = torch.as_tensor(indices).split(BATCH)
    z = [model.encoder(images.take(chunk)) for chunk in chunks]
    return torch.cat(z).float().cpu().numpy()


def _pixels(
    scale: str, maps: np.ndarray, masks: np.ndarray | None
) -> dict[str, np.ndarray]:
    if masks is None:
        return {}
    histogram = PixelHistogram()
    histogram.update(maps, masks)
    return {f"pixels/{scale}/{k}": v for k, v in histogram.to_arrays().items()}


def detection(arrays: dict[str, np.ndarray]) -> Detection:
    """What `scored` or a method without maps gave, read back."""

    def of(kind: str) -> dict[str, np.ndarray]:
        names = [name for name in arrays if name.startswith(f"{kind}/")]
        return {name.removeprefix(f"{kind}/"): arrays[name] for name in names}

    pixels: dict[str, dict[str, np.ndarray]] = {}
    for name, array in of("pixels").items():
        scale, _, part = name.partition("/")
        pixels.setdefault(scale, {})[part] = array
    return Detection(
        scores=arrays["scores"],
        terms=of("terms"),
        shown=arrays.get("shown", np.array([], dtype=np.int64)),
        maps={scale: m.astype(np.float32) for scale, m in of("maps").items()},
        ends={scale: tuple(e.tolist()) for scale, e in of("ends").items()},
        pixels={s: PixelHistogram.from_arrays(parts) for s, parts in pixels.items()},
        images=of("images"),
    )
