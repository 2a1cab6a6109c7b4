import pytest
import torch

from thesislib.detectors import f_anogan, igd_scores
from thesislib.detectors import reconstruction_presets as presets
from thesislib.detectors.f_anogan import FAnoGAN
from thesislib.detectors.igd import IGD
from thesislib.detectors.ms_ssim_ae import ms_ssim_ae_config


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize(
    ("kind", "score", "config"),
    [
        (FAnoGAN, f_anogan.score, presets.F_ANOGAN["quick"]),
        (IGD, igd_scores.score, presets.MS_SSIM_AE["quick"]),
    ],
)
def test_both_scales_score_images_of_both_sizes(image_size, kind, score, config):
    images = torch.rand(2, 1, image_size, image_size)
    sides = []
    for one in presets.at_both_scales(config):
        model = kind(one, one.patch_size or image_size, 1)
        found = score(model, [images], one, maps=True)
        assert found.maps.shape == (2, image_size, image_size)
        sides.append(one.patch_size)

    assert sides == [None, 32]


def test_quick_and_standard_differ_in_steps_alone():
    steps = {"gan_steps", "encoder_steps", "num_steps"}
    for named in (presets.F_ANOGAN, presets.MS_SSIM_AE):
        assert list(named) == ["quick", "standard", "paper"]
        quick, standard = (vars(named[name]) for name in ("quick", "standard"))
        assert {key for key in quick if quick[key] != standard[key]} <= steps


def test_every_auto_encoder_is_one():
    for config in presets.MS_SSIM_AE.values():
        assert ms_ssim_ae_config(config) == config
