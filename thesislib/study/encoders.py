"""Encoders: what a method starts from, pre-trained once in a run or read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from thesislib.datasets import subsets
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.nn.resnet import ResNet18
from thesislib.pretrain import ccd, csi, droc, imagenet, pmsacl, rotnet, simclr, supcon
from thesislib.pretrain.patches import on_patches
from thesislib.report import text
from thesislib.study.task import WHOLE, Task, data_of, kept
from thesislib.training import seeding

PRETRAININGS: dict[str, tuple[ModuleType, type[nn.Module]]] = {
    "pmsacl": (pmsacl, pmsacl.PMSACL),
    "simclr": (simclr, simclr.SimCLR),
    "ccd": (ccd, ccd.CCD),
    "rotnet": (rotnet, rotnet.RotNet),
    "supcon": (supcon, supcon.SupCon),
    "csi": (csi, csi.CSI),
    "droc": (droc, droc.DROC),
}
LABELS = text.ENCODERS | {"imagenet": "ImageNet"}
UNTRAINED = {"random": "untrained", "imagenet": "imagenet"}  # kind -> stage
ROWS = {"untrained": "random", "imagenet": ""}  # stage -> first word of a row key
FULL_WIDTH = 64  # channels of the published ResNet-18's first stage


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One way to an encoder.

    Attributes:
        stage: Unique in a run; names checkpoints, losses and stored arrays.
        label: For legends and tables.
        kind: What trains it, a key of `PRETRAININGS`; `random` and `imagenet` are
            weights that stay as they are.
        config: Settings of the pre-training; None where there is none.
        base_width: Channels of ResNet-18's first stage.
        start: Weights that the pre-training begins with.
    """

    stage: str
    label: str
    kind: str
    config: Any = None
    base_width: int = 64
    start: Literal["random", "imagenet"] = "random"
    key: str | None = None  # first word of its row keys, where it is not the stage

    def row(self, detector: str = "padim") -> str:
        """Row key of a detector on it: `pmsacl-padim`, `random-igd`, `igd`."""
        first = ROWS.get(self.stage, self.stage) if self.key is None else self.key
        return "-".join(filter(None, (first, detector)))

    def on_patches(self, configs: dict[str, Any]) -> "Encoder":
        """The encoder of a local model, pre-trained in the same way on patches.

        Untrained and ImageNet weights have seen neither, and serve both scales.
        """
        if self.config is None:
            return self
        config = on_patches(self.config, configs)
        return replace(self, stage=f"{self.stage}-local", config=config)


class Trained(NamedTuple):
    """A model, and the losses of its training, one row a recorded step."""

    model: nn.Module
    history: list[dict[str, float]]


def encoder_of(run, kind: str, width_of: str = "", **given: Any) -> Encoder:
    """An encoder of one kind, with the run's settings of it and its start.

    Args:
        width_of: The pre-training whose width an encoder has that nothing trains.
        given: Fields that are otherwise than the kind says.
    """
    config = given.get("config", run.configs.get(kind))
    width = (config or run.configs[width_of]).base_width
    start = "imagenet" if run.parameters.start == "imagenet" else "random"
    fields = {"stage": UNTRAINED.get(kind, kind), "label": LABELS[kind]}
    fields |= {"config": config, "base_width": width, "start": start}
    return Encoder(kind=kind, **fields | given)


def compared(run, main: Encoder, setting: str, names: Sequence[str], **more: Encoder):
    """A chapter's own encoder, and those that its settings compare it with, by name.

    Args:
        main: The chapter's own; its kind is its name.
        setting: Where the names stand, for an error.
        names: Kinds, or names in `more`; `imagenet` is left out where it is not here.
    """
    known = {k: encoder_of(run, k, main.kind) for k in LABELS if _settled(run, k)}
    chosen = chosen_of(setting, names, known | more)
    if not has_imagenet(run, main.kind):
        chosen.pop("imagenet", None)
    return {main.kind: main} | chosen


def _settled(run, kind: str) -> bool:
    return kind in run.configs or kind in UNTRAINED


def has_imagenet(run, kind: str) -> bool:
    """Whether ImageNet weights exist here and fit the width of a pre-training."""
    full = run.configs[kind].base_width == FULL_WIDTH
    return full and imagenet.find_weights(run.parameters.weights) is not None


def without_imagenet(run, kind: str, what: str) -> list[str]:
    """What a run leaves out, and why, where it has no ImageNet weights."""
    if has_imagenet(run, kind):
        return []
    width = run.configs[kind].base_width
    why = f"its weights need base width {FULL_WIDTH}, this run has {width}"
    return [f"{what}: {why if width != FULL_WIDTH else 'no weights on this machine'}"]


def chosen_of(
    setting: str, names: Sequence[str], known: Mapping[str, Any], has="allowed are"
) -> dict[str, Any]:
    """What a setting names, of what is known.

    Raises:
        InputError: If it names anything else.
    """
    if unknown := sorted(set(names) - set(known)):
        raise InputError(
            f"{setting} has {', '.join(unknown)}; {has} {', '.join(known)}."
        )
    return {name: known[name] for name in names}


def untrained(run, base_width: int) -> ResNet18:
    """The random encoder that every pre-training from scratch starts from."""
    seeding.seed_torch(run.parameters.seed, "untrained")
    return ResNet18(base_width).to(run.device)


def trained(run, encoder: Encoder, task: Task = WHOLE) -> Trained:
    """Train the encoder on a task's images, or read back the one that was trained."""
    return kept(run, ("encoder", encoder, task), lambda: _train(run, encoder, task))


def _train(run, encoder: Encoder, task: Task) -> Trained:
    start = untrained(run, encoder.base_width)
    if "imagenet" in (encoder.kind, encoder.start):
        imagenet.start_from_imagenet(start, run.parameters.weights)
    if encoder.kind in UNTRAINED:
        return Trained(start.eval(), [])
    module, kind = PRETRAININGS[encoder.kind]
    seeding.seed_torch(run.parameters.seed, "heads")
    model = kind(encoder.config).to(run.device)
    model.backbone.load_state_dict(start.state_dict())
    images = in_colour(data_of(run, task).train)
    names = [encoder.stage]
    if warm_up := warm_up_stage(run, encoder):
        names = [warm_up, encoder.stage]
    names = ["/".join(filter(None, (name, task.stage))) for name in names]
    override = f"{encoder.kind}.batch_size"
    *before, loop = [run.loop(name, batch_override=override) for name in names]
    with run.stage(f"pre-training {names[-1]}"), torch.enable_grad():
        module.pretrain(model, images, encoder.config, loop, *before)
    history = [row for one in (*before, loop) for row in one.history]
    return Trained(model.backbone.eval(), history)


def warm_up_stage(run, encoder: Encoder) -> str | None:
    """Name of the stage that holds a warm-up; None if the pre-training has none.

    Pre-trainings that agree with the run's own settings in all that plays before the
    centres are measured share its warm-up: trained once, it takes all of them to the
    same weights. Its cost is counted to the one that comes first. On patches the run's
    own settings are those on patches.
    """
    module = PRETRAININGS[encoder.kind][0]
    if not getattr(encoder.config, "warm_up", 0):
        return None
    main, shared = run.configs[encoder.kind], f"{encoder.kind}-warm-up"
    if encoder.config.patch_size:
        main, shared = on_patches(main, run.configs), f"{encoder.kind}-local-warm-up"
    later = {name: getattr(main, name) for name in module.AFTER_WARM_UP}
    agrees = replace(encoder.config, **later) == main
    return shared if agrees else f"{encoder.stage}-warm-up"


def in_colour(images: ImageBank) -> ImageBank:
    """Grey images with three equal channels, as the augmentations take them."""
    if images.channels == 3:
        return images
    return subsets.bank_like(images, np.repeat(images.pixels, 3, axis=1))


@torch.no_grad()
def features(model: nn.Module, images: ImageBank, indices: np.ndarray) -> np.ndarray:
    """What an encoder makes of some images, (n,) indices to (n, D)."""
    chunks = torch.as_tensor(indices).split(32)
    return torch.cat([model(images.take(c)) for c in chunks]).float().cpu().numpy()
