"""Settings of IGD that chapters 5 and 6 share: the thesis's networks, and ours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from thesislib.detectors.igd import IGDConfig
from thesislib.pretrain.pmsacl import PMSACLConfig
from thesislib.pretrain.simclr import SimCLRConfig
from thesislib.ranges import above

Pretraining = TypeVar("Pretraining", PMSACLConfig, SimCLRConfig)

FLOOR = 10.0
"""Least variance in the loss; ours. It only fixes the scale of z against the other
terms. Chosen among 0.1, 1, 10 and 100 on Fashion-MNIST training images of classes 2, 6
and 8, where 10 gave the highest mean AUROC."""

PAPER = IGDConfig(variance_floor=FLOOR)
SMALL = replace(  # plain blocks of 16 to 64 channels, ten times the learning rate
    PAPER, base_width=8, critic_width=4, residual=False, lr=1e-3
)
PATCH = {"patch_size": 32, "stride": 16}  # pixels, of the local model; methods' code


@dataclass(frozen=True, kw_only=True)
class PatchesConfig:
    """How the encoder of IGD's local model is pre-trained, thesis Section 5.4.2.

    A patch is an instance, as large as those of IGD's local model; what is not said
    here is as in the pre-training on images.

    The warm-up has the class term alone on patches too. On 64 px colonoscopy phantoms
    the position term then stays at log 8, a blind guess: the centring shrinks z, all
    that its classifier reads. Alone it is learnt in a hundred steps, and in the warm-up
    it would be; but then the class term is learnt less, and on each of three seeds that
    no run reports (9000 to 9002, 200 steps of 16) the AUROC of the local model by
    itself fell, from 0.64, 0.61 and 0.62 to 0.53, 0.58 and 0.57. Untrained it was 0.48
    to 0.54.
    """

    steps_fraction: float = 1.0  # of the steps on images; ours, the thesis gives none
    lr: float | None = None  # None: as on images; 0.1 in chapter 4's program

    def __post_init__(self) -> None:
        above(self, 0, "steps_fraction", "lr")


def on_patches(config: Pretraining, configs: Mapping[str, Any]) -> Pretraining:
    """Settings of a pre-training on patches.

    Args:
        config: Settings of the same pre-training on images.
        configs: Those of the run: `patches`, and `local` for the size of a patch.
    """
    patches: PatchesConfig = configs["patches"]

    def shorter(number: int | None) -> int | None:
        return number and max(1, round(patches.steps_fraction * number))

    return replace(
        config,
        patch_size=configs["local"].patch_size,
        epochs=shorter(config.epochs),
        num_steps=shorter(config.num_steps),
        lr=config.lr if patches.lr is None else patches.lr,
    )


def both_scales(config: IGDConfig) -> dict[str, IGDConfig]:
    """Global and local model of the same settings."""
    return {"igd": config, "local": replace(config, **PATCH)}
