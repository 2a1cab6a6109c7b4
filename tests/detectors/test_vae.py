import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from tests.detectors.trained import (
    as_bank,
    blobs,
    check_resuming,
    loop_in,
    separates,
    without_gradient,
)
from thesislib.detectors import vae
from thesislib.detectors.vae import VAE, VAEConfig
from thesislib.errors import InputError

TINY = VAEConfig(
    base_width=4,
    residual=False,
    num_features=8,
    batch_size=8,
    lr=3e-3,
    num_steps=6,
)


def model_of(config=TINY):
    torch.manual_seed(0)
    return VAE(config, 32, 1)


def test_kl_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 3, generator=generator)
    posterior = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)

    torch.testing.assert_close(vae.kl_divergence(mean, log_variance), expected)


def test_a_code_like_the_prior_costs_nothing():
    assert vae.kl_divergence(torch.zeros(2, 4), torch.zeros(2, 4)).tolist() == [0, 0]


def test_likelihood_is_that_of_torch():
    images, reconstruction = torch.rand(2, 3, 2, 4, 4)
    expected = -Normal(reconstruction, 0.3).log_prob(images).sum(dim=(1, 2, 3))
    ours = vae.negative_log_likelihood(images, reconstruction, 0.3)

    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(("shift", "widen"), [(0, 1), (0.3, 1), (0, 2)])
def test_bound_is_the_evidence_only_at_the_true_posterior(shift, widen):
    """A pixel x = w z + s noise, whose evidence and posterior are known."""
    w, s, x = 0.7, 0.5, 0.9
    evidence = Normal(0.0, math.hypot(w, s)).log_prob(torch.tensor(x)).item()
    variance = widen / (1 + w**2 / s**2)
    mean = x * w / (w**2 + s**2) + shift
    nodes, weights = np.polynomial.hermite.hermgauss(20)  # the mean over codes, exact
    z = mean + math.sqrt(2 * variance) * torch.from_numpy(nodes)
    of_code = vae.negative_log_likelihood(
        torch.full((20, 1, 1, 1), x), (w * z).view(20, 1, 1, 1), s
    )
    rec = (torch.from_numpy(weights) * of_code).sum().item() / math.sqrt(math.pi)
    kl = vae.kl_divergence(
        torch.tensor([[mean]]), torch.tensor([[math.log(variance)]])
    ).item()

    if (shift, widen) == (0, 1):
        assert -(rec + kl) == pytest.approx(evidence, abs=1e-5)
    else:
        assert -(rec + kl) < evidence - 0.01


def test_codes_have_the_moments_that_the_encoder_says():
    mean = torch.tensor([[2.0, -1.0]]).expand(20_000, 2)
    log_variance = torch.tensor([[0.25, 4.0]]).log().expand(20_000, 2)
    z = vae.draw_codes(mean, log_variance, torch.Generator().manual_seed(0))

    torch.testing.assert_close(z.mean(dim=0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(
        z.var(dim=0), torch.tensor([0.25, 4.0]), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("residual", [False, True])
def test_gradients_reach_every_parameter(residual):
    model = model_of(replace(TINY, residual=residual)).train()
    generator = torch.Generator().manual_seed(0)
    terms = vae.losses(model, blobs(8), TINY, generator)
    sum(terms.values()).backward()

    assert set(terms) == {"rec", "kl"}
    assert without_gradient(model) == []


def test_score_is_the_bound_at_the_mean_code():
    model, images = model_of().eval(), blobs(6)
    scores = vae.score(model, images.split(4), TINY)
    with torch.no_grad():
        mean, log_variance = model.encode(images)
        rec = vae.negative_log_likelihood(images, model.decoder(mean), TINY.std)

    torch.testing.assert_close(scores.rec, rec)
    torch.testing.assert_close(scores.kl, vae.kl_divergence(mean, log_variance))
    torch.testing.assert_close(scores.score, scores.rec + scores.kl)


def test_a_short_run_learns(tmp_path):
    config = replace(TINY, num_steps=40)
    model = model_of(config)
    loop = loop_in(tmp_path, "vae")
    vae.fit(model, as_bank(blobs(40)), config, loop)

    assert loop.history[-1]["loss"] < loop.history[0]["loss"] / 2
    assert separates(vae, model, config) == 1


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    bank = as_bank(blobs(20))

    def train(loop):
        return vae.fit(model_of(), bank, TINY, loop).state_dict()

    check_resuming(tmp_path, train)


def test_an_encoder_of_z_features_is_too_small():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(1024, 8))

    with pytest.raises(InputError, match=r"gives 8 features.*need 16"):
        VAE(TINY, 32, 1, encoder).encode(blobs(2))


def test_a_scale_of_zero_is_refused():
    with pytest.raises(InputError, match=r"vae\.std is 0"):
        VAE(replace(TINY, std=0), 32, 1)
