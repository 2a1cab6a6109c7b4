"""Pre-training on patches: how the encoder of a local model is made, Section 5.4.2."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from thesislib.ranges import above

Config = TypeVar("Config")


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


def on_patches(config: Config, configs: Mapping[str, Any]) -> Config:
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
