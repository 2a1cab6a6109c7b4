"""A method: a row of the tables. Fitted once in a run, kept, read back on resume."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from thesislib.detectors.scales import Detector, Scores
from thesislib.errors import InputError
from thesislib.figures.explorer import choose
from thesislib.figures.panels import map_scale
from thesislib.metrics import image, localisation
from thesislib.metrics.image import Estimate
from thesislib.metrics.inputs import check_scores
from thesislib.metrics.per_image import aurocs_of_images
from thesislib.metrics.pixel import PixelHistogram
from thesislib.study import minima
from thesislib.study.encoders import Encoder
from thesislib.study.optional import attempt
from thesislib.study.task import WHOLE, Task, data_of, kept, known

BATCH = 256  # images that are scored together, where a method does not say otherwise
Shape = tuple[int, int]  # channels and side of the images, pixels


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row.

    Attributes:
        key: Row key, as in `thesislib.paper` where the row is printed.
        label: For legends and tables.
        stage: Unique in a run; names stored arrays.
        fit: Gives the detector that (run, task) fits.
        blank: The same detector without weights, from (run, shape): what
            `thesislib score` fills with those of a sealed run. None: not kept.
        setting: What tells rows of one key apart.
        encoder: What it starts from, where that is pre-trained here.
        config: Settings that variants change.
        batch_size: Images that are scored together.
        groups: Section 5.4.5's figures over groups of images, where masks exist.
        every_scale: Keep the maps of each scale beside those of all together.
    """

    key: str
    label: str
    stage: str
    fit: Callable[[Any, Task], Detector]
    blank: Callable[[Any, Shape], Detector] | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)
    encoder: Encoder | None = None
    config: Any = None
    batch_size: int = BATCH
    groups: bool = False
    every_scale: bool = False


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a method says of the test images of a task. Axes: M images, K of them shown.

    The unit may be an image, a frame or a pixel: images and frames have scores, pixels
    have histograms, and all of them may have maps.

    Attributes:
        scores: (M,), larger is more abnormal.
        terms: Parts of the score by name, (M,) each: "rec igd", "gac local".
        shown: Indices of the images whose maps are kept, (K,).
        maps: Scale -> anomaly maps of these, (K, H, W), float32, the method's own last.
        ends: Scale -> ends of one colour scale for the maps of all test images.
        pixels: Scale -> histogram of all pixels, where masks exist.
        images: Scale -> pixel AUROC of each abnormal image by itself, (n,).
        groups: Means over groups of images, "iou global", "iou oracle", "dice global",
            "dice oracle", "pro ranking", where they were asked for.
    """

    scores: np.ndarray
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    shown: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)
    pixels: dict[str, PixelHistogram] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    groups: dict[str, Estimate] = field(default_factory=dict)

    @property
    def scale(self) -> str | None:
        """Name of the method's own maps; None if it has none."""
        return next(reversed(self.maps), None)


def detect(run, method: Method, task: Task = WHOLE, *, maps: bool = True) -> Detection:
    """Fit a method on a task and score its test images, or read back what it said.

    Args:
        maps: Keep maps of some test images, and histograms of all pixels where masks
            exist; without them only scores are asked for.
    """
    name = " ".join(filter(None, (method.stage, task.stage)))
    if not maps and not known(run, ("detection", name)):
        name += " scores"

    def compute() -> dict[str, np.ndarray]:
        detector = method.fit(run, task)
        with run.stage(f"scores {name}"):
            arrays = _arrays(run, method, detector, data_of(run, task), maps)
        if maps and method.blank and len(detector.models) == len(detector.by_scale):
            file = " ".join(filter(None, (method.key, task.stage)))
            run.keep_model(file, detector.tensors(), _about(run, method, task, arrays))
        return arrays

    return kept(run, ("detection", name), lambda: _detection(run.once(name, compute)))


def fitted(
    run, methods: Sequence[Method], tasks: Sequence[Task] = (WHOLE,)
) -> list[Method]:
    """Fit every method on every task and score its test images; those that could be.

    The first is the chapter's own, whose errors stop the run. The others are left out
    where the data are too few for them, or where they fail.

    Raises:
        InputError: If the data are too few for the first, before anything is trained.
    """
    for task in tasks:
        minima.require(data_of(run, task))
    main, *others = methods
    kept(run, ("labels",), set).update(method.label for method in others)
    for task in tasks:
        detect(run, main, task)

    def scored(method: Method) -> bool:
        for task in tasks:
            detect(run, method, task)
        return True

    chosen = [main]
    for method in others:
        short = (minima.lacking(data_of(run, task), method.key) for task in tasks)
        why = next(filter(None, short), "")
        if attempt(run, method.label, partial(scored, method), why):
            chosen.append(method)
    return chosen


def rows_left_out(run) -> list[str]:
    """Labels of the methods that `fitted` left out."""
    labels = kept(run, ("labels",), set)
    return [part for part in run.left_out if part in labels]


def threshold(run, scores: np.ndarray, task: Task = WHOLE) -> float:
    """Median threshold of the validation draws of Section 5.4.3."""
    labels = data_of(run, task).test_labels
    return image.protocol_50_50(labels, scores, run.parameters.seed)["threshold"]


def _about(run, method: Method, task: Task, arrays: dict) -> dict[str, Any]:
    """What a reader of a kept detector's scores needs to know."""
    images, ends = data_of(run, task).train, [k for k in arrays if k[:5] == "ends/"]
    return {
        "row": method.key,
        "label": method.label,
        "class": task.name,
        "channels": images.channels,
        "image_size": images.image_size,
        "batch_size": method.batch_size,
        "threshold": str(threshold(run, arrays["scores"], task)),
        "map_ends": arrays[ends[-1]].tolist() if ends else None,
    }


def _arrays(run, method, detector, data, maps: bool) -> dict[str, np.ndarray]:
    """Scores of all test images and what is kept of their maps, as arrays."""

    def batches() -> Iterable[torch.Tensor]:
        return data.test.batches(method.batch_size)

    masks, num_maps = data.test_masks, run.configs["study"].num_maps
    maps = maps and detector.maps != "none"
    every = detector.maps == "free" or masks is not None
    found = detector.score(batches, maps=maps and every)
    scores = found.scores.numpy()
    check_scores(scores, len(data.test_labels))
    arrays = {"scores": scores}
    arrays |= {f"terms/{name}": term.numpy() for name, term in found.terms.items()}
    if not maps:
        return arrays
    shown = choose(data.test_labels, scores, num_maps)
    drawn, places = found.maps, shown
    if not every:
        few = data.test.take(torch.as_tensor(shown))
        drawn, places = detector.score(lambda: [few]).maps, np.arange(len(shown))
    arrays["shown"] = shown
    if not method.every_scale:
        drawn = dict(list(drawn.items())[-1:])
    for scale, of_all in drawn.items():
        of_all = of_all.numpy()
        arrays[f"maps/{scale}"] = _small(of_all[places])
        arrays[f"ends/{scale}"] = np.array(map_scale(of_all))
        if masks is not None:
            histogram = PixelHistogram()
            histogram.update(of_all, masks)
            of_pixels = histogram.to_arrays().items()
            arrays |= {f"pixels/{scale}/{k}": v for k, v in of_pixels}
            arrays[f"images/{scale}"] = aurocs_of_images(of_all, masks)
    in_groups = method.groups and masks is not None and drawn
    if in_groups and not minima.lacking(data, "groups"):
        own = list(drawn.values())[-1].numpy()
        seed = run.parameters.seed
        groups = localisation.localise(own, masks, data.test_labels, seed=seed)
        for threshold, estimates in groups.estimates.items():
            for metric, estimate in estimates.items():
                arrays[f"groups/{metric} {threshold}"] = np.array(estimate)
    return arrays


def _small(maps: np.ndarray) -> np.ndarray:
    """Maps in half precision, where they fit into it."""
    fits = np.abs(maps).max(initial=0) < np.finfo(np.float16).max
    return maps.astype(np.float16) if fits else maps


def _detection(arrays: dict[str, np.ndarray]) -> Detection:
    """What `_arrays` gave, read back."""

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
        groups={
            name: Estimate(*array[:3].tolist(), int(array[3]))
            for name, array in of("groups").items()
        },
    )


# --- Methods from outside ----------------------------------------------------------

_ADDED: dict[str, Method] = {}


def add_method(
    key: str, label: str, make: Callable[[], Any], *, batch_size: int = BATCH
) -> None:
    """Add a detector to the detection table of every chapter that runs from now on.

    Args:
        key: Row key, of small letters, digits and hyphens, unlike all others.
        label: For legends and tables.
        make: Gives an object with `fit(batches)` and `score(images)`. `batches` is a
            list-like of normal images, (B, C, H, W) in [0, 1], that can be gone through
            several times; `score` maps (B, C, H, W) to scores (B,), or to scores and
            maps (B, H, W); larger is more abnormal. If it is an `nn.Module` whose
            parameters and buffers are all there is to it, sealed runs keep it and
            `thesislib score` can use it.
        batch_size: Images at a time.

    Raises:
        InputError: If the key is no row key.
    """
    if not key.replace("-", "").isalnum() or key != key.lower():
        raise InputError(
            f"The row key {key!r} must be made of small letters, digits and hyphens."
        )

    def detector(model: Any) -> Detector:
        return Detector({key: model}, {key: None}, _ask, maps="free")

    def fit(run, task: Task) -> Detector:
        model = make()
        if isinstance(model, torch.nn.Module):
            model = model.to(run.device)
        with run.stage(f"fit {key} {task.stage}".strip()):
            model.fit(_Again(lambda: data_of(run, task).train.batches(batch_size)))
        return detector(model)

    def blank(run, shape: Shape) -> Detector:
        return detector(make())

    _ADDED[key] = Method(
        key=key, label=label, stage=key, fit=fit, blank=blank, batch_size=batch_size
    )


def added() -> list[Method]:
    """Methods that `add_method` added, in that order."""
    return list(_ADDED.values())


@dataclass(frozen=True)
class _Again:
    """An iterable that starts anew each time."""

    start: Callable[[], Iterable[torch.Tensor]]

    def __iter__(self):
        return iter(self.start())


def _ask(model: Any, batches: Iterable, config: None, *, maps: bool) -> Scores:
    """Scores and maps of a detector from outside, checked."""
    found = []
    for images in batches:
        answer = model.score(images)
        answer = answer if isinstance(answer, tuple) else (answer,)
        fits = [(len(images),), (len(images), *images.shape[-2:])]
        for tensor, shape in zip(answer, fits, strict=False):
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"{type(model).__name__}.score gave shape {tuple(tensor.shape)} "
                    f"for {len(images)} images; scores are {fits[0]}, maps {fits[1]}."
                )
        found.append([torch.as_tensor(one).detach().float().cpu() for one in answer])
    scores, *drawn = (torch.cat(column) for column in zip(*found, strict=True))
    return Scores(scores, drawn[0] if drawn else None)
