"""Phantoms: seeded, procedural stand-ins for medical images with lesions and masks.

They support claims about mechanisms, never clinical ones. Each modality has a family
of lesions that look like pasted patches, as MedMix makes them, and one that does not:

| modality    | blob-like     | unlike MedMix                                         |
|-------------|---------------|-------------------------------------------------------|
| colonoscopy | `polyp`       | `inflammation`: vessels lost, granular mucosa         |
| fundus      | `retinopathy` | `glaucoma`: the optic cup enlarged                    |
| chest-xray  | `opacity`     | `effusion`: a costophrenic angle absent               |

Lesion strength is one number a modality, `DIFFICULTY`. It was set by
`benchmarks/phantom_calibration.py` from naive baselines and a supervised ceiling
before any method was tried, and is frozen together with `generator_hash`.
"""

import hashlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from thesislib.errors import InputError

from .drawing import BLOCK, Canvas

_MODULES = {
    "colonoscopy": "colonoscopy",
    "fundus": "fundus",
    "chest-xray": "chest_xray",
}
MODALITIES = tuple(_MODULES)
FAMILIES = {  # blob-like, unlike MedMix
    "colonoscopy": ("polyp", "inflammation"),
    "fundus": ("retinopathy", "glaucoma"),
    "chest-xray": ("opacity", "effusion"),
}
MIXTURE = (0, 0, 1)  # families of successive abnormal images: two blob-like, one not
DIFFICULTY = {"colonoscopy": 2.5, "fundus": 2.0, "chest-xray": 1.25}


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Images drawn by `generate`, with what is known of them."""

    images: Tensor  # (N, 3, S, S), uint8
    masks: Tensor  # (N, S, S), bool; true on the lesion, all false for a normal image
    kinds: tuple[str, ...]  # (N,), "normal" or the lesion family


@torch.no_grad()
def generate(
    modality: str,
    num_images: int,
    image_size: int,
    seed: int,
    abnormal: Tensor | None = None,
    difficulty: float | None = None,
    family: str | None = None,
) -> Phantom:
    """Draw phantoms; image i depends on the modality, the seed, i and its lesion only.

    The random numbers behind image i are the same whether or not it is abnormal and
    at every size: a normal image is the healthy twin of the abnormal one, and at
    difficulty 0 the two are equal bit for bit.

    Args:
        modality: One of `MODALITIES`.
        num_images: N.
        image_size: Rows and columns S, 28 to 512 pixels.
        seed: Seed of the draw, 0 or more.
        abnormal: True where an image gets a lesion, (N,), bool; None means nowhere.
        difficulty: Strength of the lesions, 0 (none visible) or more;
            None means the calibrated `DIFFICULTY` of the modality.
        family: One of `FAMILIES[modality]`; None gives successive abnormal images
            families by `MIXTURE`.

    Raises:
        InputError: An argument is outside the values above.
    """
    if abnormal is None:
        abnormal = torch.zeros(max(num_images, 0), dtype=torch.bool)
    _check(modality, num_images, image_size, seed, abnormal, family)
    if difficulty is None:
        difficulty = DIFFICULTY[modality]
    if not 0 <= difficulty < float("inf"):
        raise InputError(f"difficulty is {difficulty}; it must be 0 or more and finite")

    families = FAMILIES[modality]
    chosen = _families(abnormal, None if family is None else families.index(family))
    draw = import_module(f".{_MODULES[modality]}", __name__).draw
    images = torch.empty(num_images, 3, image_size, image_size, dtype=torch.uint8)
    masks = torch.empty(num_images, image_size, image_size, dtype=torch.bool)
    for first in range(0, num_images, BLOCK):
        canvas = Canvas(image_size, seed, (MODALITIES.index(modality), first // BLOCK))
        block = torch.full((BLOCK,), -1)
        count = min(BLOCK, num_images - first)
        block[:count] = chosen[first : first + count]
        present = {
            name: (block == k).float().view(BLOCK, 1, 1)
            for k, name in enumerate(families)
        }
        image, mask = draw(canvas, present, difficulty)  # (B, 3, S, S), (B, S, S)
        levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
        images[first : first + count] = levels[:count]
        masks[first : first + count] = mask[:count]
    kinds = tuple(("normal", *families)[k + 1] for k in chosen.tolist())
    return Phantom(images=images, masks=masks, kinds=kinds)


def generator_hash(modality: str) -> str:
    """SHA-256 (hex) of the sources that draw this modality, line ends as "\\n"."""
    if modality not in MODALITIES:
        raise InputError(_unknown("modality", modality, MODALITIES))
    digest = hashlib.sha256()
    for name in ("__init__", "drawing", _MODULES[modality]):
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        digest.update(f"{name}\n{source}\n".encode())
    return digest.hexdigest()


def _families(abnormal: Tensor, only: int | None) -> Tensor:
    """Index of each image's lesion family, -1 where normal; (N,), int64."""
    if only is None:
        order = (abnormal.cumsum(0) - 1).clamp(min=0)  # of the abnormal images
        family = torch.tensor(MIXTURE)[order % len(MIXTURE)]
    else:
        family = torch.full(abnormal.shape, only)
    return torch.where(abnormal, family, -1)


def _check(
    modality: str,
    num_images: int,
    image_size: int,
    seed: int,
    abnormal: Tensor,
    family: str | None,
) -> None:
    if modality not in MODALITIES:
        raise InputError(_unknown("modality", modality, MODALITIES))
    if num_images < 0:
        raise InputError(f"num_images is {num_images}; it must be 0 or more")
    if not 28 <= image_size <= 512:
        raise InputError(
            f"image_size is {image_size}; phantoms go from 28 to 512 pixels"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    if abnormal.dtype != torch.bool or abnormal.shape != (num_images,):
        raise InputError(
            f"abnormal is {abnormal.dtype} of shape {tuple(abnormal.shape)}; "
            f"it must be torch.bool of shape ({num_images},)"
        )
    if family is not None and family not in FAMILIES[modality]:
        raise InputError(_unknown("family", family, FAMILIES[modality]))


def _unknown(parameter: str, value: str, allowed: tuple[str, ...]) -> str:
    return f"{parameter} is {value!r}; it must be one of {', '.join(allowed)}"
