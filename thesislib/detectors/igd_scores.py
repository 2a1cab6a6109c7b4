"""Scores and maps of IGD, thesis Section 6.3.3: Eqs. (6.21) to (6.23) and (6.28).

Axes in all shapes: B images, M test images, H = W pixels.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from thesislib.detectors.igd import (
    IGD,
    IGDConfig,
    reconstruction_loss,
    reconstruction_map,
)
from thesislib.nn import patches


class Scores(NamedTuple):
    """What one model says of M images.

    Attributes:
        score: Eq. (6.22), of the local model Eq. (6.23), (M,); larger is more
            abnormal.
        rec: $\\ell_r$ alone, (M,); of the local model its largest among patches.
        gac: $\\ell_h$ alone, as `rec`.
        maps: Eq. (6.29), (M, H, W); None if not asked for.
    """

    score: Tensor
    rec: Tensor
    gac: Tensor
    maps: Tensor | None


@torch.no_grad()
def score(
    model: IGD, batches: Iterable[Tensor], config: IGDConfig, *, maps: bool = False
) -> Scores:
    """Score images by the global model or the local one, Eqs. (6.22) and (6.23).

    Args:
        model: Trained.
        batches: Images, (B, C, H, W) each.
        config: Settings that it was trained with.
        maps: Also give the maps of Eq. (6.29).
    """
    model.eval()
    found: list[tuple[Tensor, ...]] = []
    for images in batches:
        parts = [
            _score_part(model, p, config, maps)
            for p in patches.portions(images, config.patch_size, config.stride)
        ]
        rec, gac = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        both = weigh(rec, gac, config).view(len(images), -1)
        columns = [both, rec.view_as(both), gac.view_as(both)]
        columns = [column.amax(dim=1).cpu() for column in columns]
        if maps:
            drawn = torch.cat([part[2] for part in parts])
            if config.patch_size:
                drawn = drawn.view(len(images), -1, *drawn.shape[1:])
                drawn = patches.assemble(drawn, images.shape[-1], config.stride)
            columns.append(drawn[:, 0].cpu())
        found.append(tuple(columns))
    gathered = [torch.cat(column) for column in zip(*found, strict=True)]
    return Scores(*gathered) if maps else Scores(*gathered, None)


def weigh(rec: Tensor, gac: Tensor, config: IGDConfig) -> Tensor:
    r"""$\ell_r + \ell_h$ of Eqs. (6.22) and (6.23), or the code's shares of 1.

    Chapter 5 prints shares, $\xi$ and $1 - \xi$ in Eq. (5.10), without their values;
    `share_gac` is $1 - \xi$. Eq. (5.11) mixes the MS-SSIM of both scales by a share
    $\nu$ before the sum. Both chapters have the unweighted sums of chapter 6 here.
    """
    if config.share_gac is None:
        return rec + gac
    return (1 - config.share_gac) * rec + config.share_gac * gac


def combine(of_global: Scores, of_local: Scores, *, mean: bool = False) -> Scores:
    r"""Both scales together: $s^{(G)} + s^{(L)}$, Eq. (6.21), and maps, Eq. (6.28).

    Terms are sums over scales too. Maps of the local model are divided by the number
    of patches that cover a pixel; the authors' program does not divide, so that there
    the local map counts four times.

    Args:
        of_global: By the global model.
        of_local: By the local one.
        mean: Half of each, as the authors' program has it: with its shares of the two
            terms the score is a weighted mean. No ranking changes, but the threshold
            0.5 of Section 6.4.2 means something else.
    """
    weight = 0.5 if mean else 1.0
    sums = [weight * (a + b) for a, b in zip(of_global[:3], of_local[:3], strict=True)]
    if of_global.maps is None or of_local.maps is None:
        return Scores(*sums, None)
    return Scores(*sums, weight * (of_global.maps + of_local.maps))


def _score_part(model: IGD, images: Tensor, config: IGDConfig, maps: bool) -> tuple:
    z = model.encoder(images).float()
    reconstruction = model.decoder(z).float()
    rec = reconstruction_loss(images, reconstruction, config)
    drawn = reconstruction_map(images, reconstruction, config.rho) if maps else None
    return rec, model.classifier(z), drawn
