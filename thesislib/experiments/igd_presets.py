"""Settings of IGD that chapters 5 and 6 share: the thesis's networks, and ours."""

from dataclasses import replace

from thesislib.detectors.igd import IGDConfig

FLOOR = 10.0
"""Least variance in the loss; ours. It only fixes the scale of z against the other
terms. Chosen among 0.1, 1, 10 and 100 on Fashion-MNIST training images of classes 2, 6
and 8, where 10 gave the highest mean AUROC."""

PAPER = IGDConfig(variance_floor=FLOOR)
SMALL = replace(  # plain blocks of 16 to 64 channels, ten times the learning rate
    PAPER, base_width=8, critic_width=4, residual=False, lr=1e-3
)
PATCH = {"patch_size": 32, "stride": 16}  # pixels, of the local model; methods' code


def both_scales(config: IGDConfig) -> dict[str, IGDConfig]:
    """Global and local model of the same settings."""
    return {"igd": config, "local": replace(config, **PATCH)}
