"""Settings of f-AnoGAN and of the MS-SSIM auto-encoder that chapters share.

`PAPER` is what the sources print or run; `STANDARD` and `QUICK` are ours, for 32 and
64 px and one CPU core: `QUICK` for at most 40 core-seconds a model. Those of f-AnoGAN
were chosen on T-shirts of Fashion-MNIST against training images of the other classes,
one run each: there, half the width and one step of the critic to one of the generator
were no better. The number of steps follows from the budget at 64 px. The auto-encoder
takes IGD's settings.
"""

from dataclasses import replace
from typing import TypeVar

from thesislib.detectors import igd_presets
from thesislib.detectors.f_anogan import FAnoGANConfig
from thesislib.detectors.igd import IGDConfig
from thesislib.detectors.ms_ssim_ae import ms_ssim_ae_config

Config = TypeVar("Config", FAnoGANConfig, IGDConfig)

F_ANOGAN_PAPER = FAnoGANConfig()
F_ANOGAN_QUICK = (
    replace(  # plain blocks of 16 to 64 channels, 10 and 20 times the rates
        F_ANOGAN_PAPER,
        num_features=32,
        base_width=8,
        critic_width=8,
        residual=False,
        num_critic=2,
        batch_size=16,
        lr=1e-3,
        gan_steps=120,
        encoder_lr=1e-3,
        encoder_steps=200,
    )
)
F_ANOGAN_STANDARD = replace(F_ANOGAN_QUICK, gan_steps=2_000, encoder_steps=1_000)
F_ANOGAN = {
    "quick": F_ANOGAN_QUICK,
    "standard": F_ANOGAN_STANDARD,
    "paper": F_ANOGAN_PAPER,
}

MS_SSIM_AE_PAPER = ms_ssim_ae_config(igd_presets.PAPER)
MS_SSIM_AE_STANDARD = ms_ssim_ae_config(replace(igd_presets.SMALL, num_steps=600))
MS_SSIM_AE_QUICK = replace(MS_SSIM_AE_STANDARD, num_steps=200)
MS_SSIM_AE: dict[str, IGDConfig] = {
    "quick": MS_SSIM_AE_QUICK,
    "standard": MS_SSIM_AE_STANDARD,
    "paper": MS_SSIM_AE_PAPER,
}


def at_both_scales(config: Config) -> tuple[Config, Config]:
    """Global and local model of the same settings, thesis Section 4.3.2."""
    return config, replace(config, **igd_presets.PATCH)
