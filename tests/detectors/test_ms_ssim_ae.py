"""The MS-SSIM auto-encoder, thesis Eq. (4.6), as settings of IGD."""

from dataclasses import replace

import pytest
import torch

from tests.detectors.trained import as_bank, blobs, loop_in, separates, without_gradient
from thesislib.detectors import igd, igd_scores, ms_ssim_ae
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.detectors.igd_scores import Scores
from thesislib.errors import InputError
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.msssim import ms_ssim, scales_of
from thesislib.nn.resnet import ResNet18

TINY = ms_ssim_ae.ms_ssim_ae_config(
    IGDConfig(base_width=4, residual=False, num_features=8, batch_size=8, lr=3e-3)
)
LOCAL = replace(TINY, patch_size=16, stride=8)


def model_of(config=TINY, encoder=None):
    torch.manual_seed(0)
    return IGD(config, config.patch_size or 32, 1, encoder).eval()


def parts_of(images, config):
    """L1 and MS-SSIM of every patch of every image, one at a time, (M, P) each."""
    model, size = model_of(config), config.patch_size or 32
    found = []
    with torch.no_grad():
        for image in images:
            for row in range(0, 33 - size, config.stride):
                for column in range(0, 33 - size, config.stride):
                    x = image[None, :, row : row + size, column : column + size]
                    y = model.decoder(model.encoder(x))
                    m = ms_ssim(x, y, scales_of(size))
                    found.append(((x - y).abs().mean(), m.squeeze()))
    return torch.tensor(found).view(len(images), -1, 2).unbind(-1)


@pytest.mark.parametrize(("rho", "nu"), [(0.15, 0.5), (0.0, 0.3), (0.6, 0.9)])
def test_both_scales_are_equation_4_6(rho, nu):
    images, found = blobs(4), []
    for config in (replace(TINY, rho=rho), replace(LOCAL, rho=rho)):
        found.append(igd_scores.score(model_of(config), [images], config))
    both = ms_ssim_ae.combine(*found, nu).score

    l1, m = parts_of(images, TINY)
    l1_local, m_local = parts_of(images, LOCAL)
    worst = (rho * l1_local - (1 - rho) * m_local).argmax(dim=1)[:, None]
    l1_local, m_local = (x.gather(1, worst)[:, 0] for x in (l1_local, m_local))
    l1, m = l1[:, 0], m[:, 0]
    absolute = nu * l1 + (1 - nu) * l1_local
    expected = rho * absolute + (1 - rho) * (1 - (nu * m + (1 - nu) * m_local))
    torch.testing.assert_close(both, expected)


def test_without_l1_the_score_is_s_msi():
    config = replace(TINY, rho=0.0)
    images, model = blobs(5), model_of(config)
    with torch.no_grad():
        m = ms_ssim(images, model.decoder(model.encoder(images)), scales_of(32))

    torch.testing.assert_close(igd_scores.score(model, [images], config).score, 1 - m)


def test_an_image_given_back_scores_0_everywhere():
    x = blobs(2)

    assert igd.reconstruction_loss(x, x, TINY).abs().max() < 1e-6
    assert igd.reconstruction_map(x, x, TINY.rho).abs().max() < 1e-6


def test_maps_are_mixed_like_scores():
    images = blobs(3)
    found = [
        igd_scores.score(model_of(config), [images], config, maps=True)
        for config in (TINY, LOCAL)
    ]
    both = ms_ssim_ae.combine(*found, 0.25)

    expected = 0.25 * found[0].maps + 0.75 * found[1].maps
    torch.testing.assert_close(both.maps, expected)
    assert both.maps.shape == (3, 32, 32)


def test_nu_of_1_is_the_global_model_and_of_0_the_local_one():
    found = [
        Scores(*torch.rand(3, 4), torch.rand(4, 2, 2)),
        Scores(*torch.rand(3, 4), torch.rand(4, 2, 2)),
    ]

    for nu, one in ((1.0, found[0]), (0.0, found[1])):
        both = ms_ssim_ae.combine(*found, nu)
        for a, b in zip(both, one, strict=True):
            torch.testing.assert_close(a, b)
    assert ms_ssim_ae.combine(found[0]._replace(maps=None), found[1]).maps is None
    with pytest.raises(InputError, match=r"nu is 1\.5"):
        ms_ssim_ae.combine(*found, 1.5)


def test_neither_classifier_nor_critic_nor_sums_are_in_the_score():
    odd = replace(TINY, pixels="sum", share_gac=0.9, terms=("rec", "gac", "inter"))

    assert ms_ssim_ae.ms_ssim_ae_config(odd) == TINY
    assert ms_ssim_ae.ms_ssim_ae_config(replace(odd, rho=0.0)).rho == 0
    scores = igd_scores.score(model_of(), [blobs(4)], TINY)
    assert torch.equal(scores.score, scores.rec)


@pytest.mark.parametrize("config", [TINY, LOCAL], ids=["global", "local"])
def test_gradients_reach_encoder_and_decoder(tmp_path, config):
    config = replace(config, num_steps=1)
    model = model_of(config)
    igd.fit(model, as_bank(blobs(8)), config, loop_in(tmp_path, "ae"))

    idle = without_gradient(model)
    assert idle and all(name.startswith("critic.") for name in idle)


def test_a_short_run_learns(tmp_path):
    config = replace(TINY, num_steps=40)
    model, loop = model_of(config), loop_in(tmp_path, "ae")
    igd.fit(model, as_bank(blobs(40)), config, loop)

    assert loop.history[-1]["rec"] < loop.history[0]["rec"] / 3
    assert set(loop.history[0]) == {"step", "rec", "variance", "loss"}
    assert separates(igd_scores, model, config) == 1


def test_it_takes_a_pre_trained_encoder(tmp_path):
    torch.manual_seed(0)
    encoder = BackboneEncoder(ResNet18(base_width=8), TINY.num_features)
    config, model = replace(TINY, num_steps=2), model_of(TINY, encoder)
    loop = loop_in(tmp_path, "ae")
    igd.fit(model, as_bank(blobs(8)), config, loop)

    assert loop.history[1]["rec"] < loop.history[0]["rec"]
    assert igd_scores.score(model, [blobs(2)], config).score.isfinite().all()
