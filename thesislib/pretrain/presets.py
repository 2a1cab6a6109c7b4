"""Settings of pre-trainings that several chapters share: readings, and small networks.

The small networks and schedules are ours, for 64 px and two cores. They were chosen on
colonoscopy phantoms of seeds that no run reports: at 64 px, small lesions under the
full colour jitter are hardly learnt in minutes. So lesions are larger, and the weak
views milder than SimCLR's.
"""

from dataclasses import replace
from typing import Any, TypeVar

from thesislib.augment.colour import JitterConfig
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.weak import WeakConfig
from thesislib.pretrain.ccd import CCDConfig
from thesislib.pretrain.csi import CSIConfig
from thesislib.pretrain.droc import DROCConfig
from thesislib.pretrain.pmsacl import PMSACLConfig
from thesislib.pretrain.rotnet import RotNetConfig
from thesislib.pretrain.simclr import SimCLRConfig
from thesislib.pretrain.supcon import SupConConfig

Config = TypeVar("Config")

SMALL = {"base_width": 16, "lr": 0.05}
MILD = WeakConfig(
    crop_scale=(0.75, 1.0),
    jitter=JitterConfig(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05),
    grey=0.1,
)
BUDGET = {"quick": (300, 12), "standard": (4_000, 16)}  # steps, images a step


def pmsacl(preset: str) -> PMSACLConfig:
    """PMSACL: as printed for `paper`, else small."""
    if preset == "paper":
        return PMSACLConfig()
    num_steps, batch_size = BUDGET[preset]
    return PMSACLConfig(
        **SMALL,
        batch_size=batch_size,
        num_steps=num_steps,
        weak=MILD,
        medmix=MedMixConfig(size=(0.12, 0.35)),
        num_centre_images=128,
    )


def simclr(preset: str) -> SimCLRConfig:
    """SimCLR: chapter 4's numbers for `paper`, else small."""
    if preset == "paper":
        return SimCLRConfig()
    return SimCLRConfig(**SMALL, batch_size=64, num_steps=BUDGET[preset][0] // 4)


def ccd(preset: str) -> CCDConfig:
    """CCD: as printed for `paper`, else small."""
    return _small(CCDConfig, preset, batch_size=12, weak=MILD)


def rotnet(preset: str) -> RotNetConfig:
    """RotNet: its own numbers for `paper`, else small."""
    return _small(RotNetConfig, preset, batch_size=32, weak=MILD)


def supcon(preset: str) -> SupConConfig:
    """SupCon: its own numbers for `paper`, else small, with PMSACL's augmentations."""
    lesions = MedMixConfig(size=(0.12, 0.35))
    return _small(SupConConfig, preset, batch_size=12, weak=MILD, medmix=lesions)


def csi(preset: str) -> CSIConfig:
    """CSI: its own numbers for `paper`, else small."""
    return _small(CSIConfig, preset, batch_size=12, weak=MILD)


def droc(preset: str) -> DROCConfig:
    """DROC: its own numbers for `paper`, else small."""
    return _small(DROCConfig, preset, batch_size=64, num_hidden=2)


def _small(kind: type[Config], preset: str, **changes: Any) -> Config:
    """The printed settings for `paper`, else a small network and few steps."""
    if preset == "paper":
        return kind()
    num_steps = {"quick": 150, "standard": 2_000}[preset]
    return kind(**SMALL, num_steps=num_steps, **changes)


def read_pmsacl(config: PMSACLConfig, reading: str) -> PMSACLConfig:
    """Settings of PMSACL in one of the three readings of chapter 5.

    `staged`, the default, trains: warm-up with the class term, then Eq. (5.1).
    `thesis` is the text to the letter: centres from random weights, a head without
    batch norm, no clipping, the printed Eq. (5.5). It collapses, which is its point.
    `code` is `staged` with the parts that chapter 4's program shares as that program
    has them: crops down to a fifth of the area, no blur, classifiers on the backbone.
    (Its learning rate on patches is in `patches`.)
    """
    code: dict[str, Any] = {
        "weak": replace(config.weak, crop_scale=(0.2, 1.0)),
        "keep_lesions": False,
    }
    if reading == "thesis":
        return replace(
            config,
            head_norm=False,
            clip_norm=None,
            warm_up=0.0,
            positive="printed",
            lr=PMSACLConfig.lr,
            **code,
        )
    if reading == "code":
        code["weak"] = replace(code["weak"], blur=0.0)
        return replace(config, classify="backbone", **code)
    return config
