"""A chapter small enough for tests: it trains, scores, seals."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from thesislib import runs
from thesislib.metrics import delong, image
from thesislib.metrics.pixel import PixelHistogram
from thesislib.runs.parameters import ChapterParameters

CHAPTER = "05_toy"


@dataclass(frozen=True, kw_only=True)
class WeakConfig:
    flip: float = 0.5


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    num_steps: int = 4
    lr: float = 0.1
    batch_size: int = 4
    norm: bool = True
    start: Literal["scratch", "imagenet"] = "scratch"
    scale: tuple[float, float] = (0.2, 1.0)
    layers: tuple[int, ...] = (1, 2)
    clip_norm: float | None = None
    weak: WeakConfig = field(default_factory=WeakConfig)


class Toy(ChapterParameters):
    chapter: ClassVar[str] = CHAPTER

    dataset: Literal["covidx", "lag"] = "covidx"
    shots: int = 4
    live: bool = False
    classes: tuple[int, ...] = (1, 2)

    def configs(self) -> dict[str, Any]:
        return {"method": MethodConfig()}

    def locate(self, configs):
        return SimpleNamespace(
            name=self.dataset,
            source="real" if self.source == "real" else "phantom",
            modality="chest-xray",
            counts={"train normal": 8, "test normal": 20, "test abnormal": 20},
            published_counts=None,
            partial=False,
            fingerprint="f" * 64,
            provenance={"licence": "none", "folder": "/private/reader/data"},
        )

    def load(self, located, device):
        rng = np.random.default_rng(self.seed)
        labels = np.repeat([0, 1], 20)
        return SimpleNamespace(
            **vars(located),
            train=torch.from_numpy(rng.normal(size=(8, 4))).float(),
            test=torch.from_numpy(rng.normal(size=(40, 4)) + labels[:, None]).float(),
            labels=labels,
            ids=[f"image {index}.png" for index in range(40)],
        )


def chapter(namespace=None, *, table="5.4", value=None, **options):
    """What a notebook does, from its second cell to its last. The run and weights."""
    run = runs.start(Toy, namespace or {}, **options)
    config = run.configs["method"]
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=config.lr, momentum=0.9)
    saving = {"net": net, "optimizer": optimizer}
    with run.stage("training"):
        loop = run.loop("method", checkpoint_every=2, progress=None)
        for step in loop.steps(config.num_steps, saving=saving):
            x = torch.randn(config.batch_size, 4, generator=step.generator)
            loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
            step.update(loss, optimizer)
            step.log({"con": loss})

    def score():
        with torch.no_grad():
            noise = 0.1 * torch.randn(40)  # from the global state, on purpose
            return {"scores": (net(run.data.test)[:, 0] + noise).numpy()}

    scores = run.once("scores", score)["scores"]
    run.add_scores("pmsacl-padim", {}, run.data.ids, run.data.labels, scores)
    estimates = image.evaluate(run.data.labels, scores, seed=run.parameters.seed)
    for metric, e in estimates.items():
        run.add_row(table, "pmsacl-padim", {}, metric, *e)
    run.add_scores("padim", {}, run.data.ids, run.data.labels, -scores)
    contrast = delong.compare(run.data.labels, scores, -scores)
    run.add_row(
        None,
        "pmsacl-padim",
        {"minus": "padim"},
        "auc difference",
        *(contrast.difference, contrast.ci_low, contrast.ci_high, 40),
    )
    if value is not None:
        run.add_row(None, "extra", {"k": (1, 2)}, "auc", value)
    maps = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    masks = maps + np.random.default_rng(1).normal(size=maps.shape) > 1
    pixels = PixelHistogram()
    pixels.update(maps, masks)
    run.add_histograms("pmsacl-padim", {}, pixels.to_arrays())
    run.add_row(None, "pmsacl-padim", {}, "pixel_auc", pixels.auroc().value)
    run.finish([(table, "pmsacl-padim")])
    return run, net
