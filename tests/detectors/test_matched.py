from dataclasses import fields, replace

import pytest
import torch

from tests.detectors.trained import as_bank, blobs
from thesislib.detectors import matched
from thesislib.detectors.deep_svdd import DeepSVDDConfig
from thesislib.detectors.igd import IGDConfig
from thesislib.detectors.vae import VAEConfig


@pytest.mark.parametrize("kind", [VAEConfig, DeepSVDDConfig])
def test_defaults_of_baselines_are_igd_s(kind):
    own = {"std", "centre_margin", "with_reconstruction"}
    igd, baseline = IGDConfig(), kind()
    shared = {f.name for f in fields(kind)} - own

    assert {n: getattr(baseline, n) for n in shared} == {
        n: getattr(igd, n) for n in shared
    }


def test_settings_follow_igd_except_for_what_is_changed():
    igd = IGDConfig(base_width=8, lr=0.5, num_steps=7, pixels="sum", flip=True)
    config = matched.settings_like(DeepSVDDConfig, igd, lr=0.25)

    assert (config.base_width, config.num_steps, config.lr) == (8, 7, 0.25)
    assert (config.pixels, config.flip) == ("sum", True)


def test_flips_are_drawn_image_by_image():
    slope = torch.linspace(0, 1, 32).expand(16, 1, 32, 32)
    bank = as_bank(slope)

    def draw(flip):
        generator = torch.Generator().manual_seed(0)
        config = replace(VAEConfig(), batch_size=16, flip=flip)
        images = matched.draw(bank, config, generator)
        return (images[:, 0, 0, 0] > images[:, 0, 0, -1]).tolist()

    assert not any(draw(False))
    assert 0 < sum(draw(True)) < 16
    assert draw(True) == draw(True)


def test_a_batch_is_no_larger_than_the_bank():
    generator = torch.Generator().manual_seed(0)

    assert matched.draw(as_bank(blobs(5)), VAEConfig(), generator).shape[0] == 5
