"""IGD's E-step: what it measures, when, and that it leaves training as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.detectors.igd_toy import (
    NUM_IMAGES,
    TINY,
    changed,
    copy_of,
    model_of,
)
from thesislib.detectors import igd
from thesislib.nn import patches

LOCAL = replace(TINY, patch_size=16, stride=8)


@pytest.mark.parametrize("config", [TINY, LOCAL], ids=["global", "local"])
def test_the_e_step_measures_all_images_or_patches_in_eval_mode(
    bank, make_loop, config
):
    model = model_of(config)
    igd.fit(model, bank, replace(config, num_steps=3), make_loop())  # moves batch norm
    model.train()
    before = copy_of(model.encoder)
    igd.e_step(model, bank, config)

    assert changed(model.encoder, before) == []  # nor its running statistics
    images = bank.take(range(NUM_IMAGES))
    if config.patch_size:
        images = patches.grid(images, 16, 8).flatten(0, 1)
        assert len(images) == 9 * NUM_IMAGES
    with torch.no_grad():
        z = model.encoder.eval()(images).numpy()
    np.testing.assert_allclose(
        model.classifier.mean, z.mean(axis=0), rtol=1e-4, atol=1e-6
    )
    expected = z.var(axis=0).sum()
    assert model.classifier.variance.item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "E MMMM E MMMM E MM E"),
        ({"e_step_every": 2}, "E MMMMMMMM E MM E"),
        ({"e_step_every": 10}, "E MMMMMMMMMM E"),
        ({"batch_size": 100}, "E M E M E M E M E M E M E M E M E M E M E"),
        ({"terms": ("rec",)}, "MMMMMMMMMM E"),
        ({"num_steps": None, "epochs": 2}, "E MMMM E MMMM E"),
    ],
)
def test_the_gaussian_is_measured_at_every_pass_and_at_the_end(
    bank, make_loop, monkeypatch, options, expected
):
    taken = []
    monkeypatch.setattr(igd, "e_step", lambda *_: taken.append(" E "))
    monkeypatch.setattr(igd, "m_step", lambda *_: taken.append("M"))
    config = replace(TINY, **options)
    igd.fit(model_of(config), bank, config, make_loop())

    assert " ".join("".join(taken).split()) == expected


def batch_norms(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("config", [TINY, LOCAL], ids=["global", "local"])
def test_batch_norm_counts_every_m_step_and_no_e_step(bank, make_loop, config):
    """The authors' E-step left the networks in eval mode for the whole training."""
    model = model_of(config)
    before = copy_of(model)
    igd.fit(model, bank, config, make_loop())

    for network in (model.encoder, model.decoder):
        norms = batch_norms(network)
        counts = [norm.num_batches_tracked.item() for norm in norms]
        assert counts == [10] * len(norms) and norms
    moved = set(changed(model, before))
    for name in before:
        if name.startswith("decoder.") and "running" in name:
            assert name in moved
    assert not any(module.training for module in model.modules())


def test_every_m_step_is_in_train_mode(bank, make_loop, monkeypatch):
    modes, m_step = [], igd.m_step

    def watched(model, *arguments):
        modes.append({module.training for module in model.modules()})
        m_step(model, *arguments)

    monkeypatch.setattr(igd, "m_step", watched)
    igd.fit(model_of(TINY), bank, TINY, make_loop())

    assert modes == [{True}] * 10


def test_the_last_e_step_measures_the_last_weights(bank, make_loop):
    model = igd.fit(model_of(TINY), bank, TINY, make_loop())
    with torch.no_grad():
        z = model.encoder(bank.take(range(NUM_IMAGES)))

    assert model.classifier.squared_distance(z).mean().item() == pytest.approx(
        1, rel=1e-3
    )


def test_each_step_logs_the_variance_that_it_used(bank, make_loop, monkeypatch):
    """Also those that are read from the device only after the next E-step."""
    measured, e_step = [], igd.e_step

    def watched(model, *arguments):
        e_step(model, *arguments)
        measured.append(model.classifier.variance.item())

    monkeypatch.setattr(igd, "e_step", watched)
    loop = make_loop(read_every=100, checkpoint_every=100)
    igd.fit(model_of(TINY), bank, TINY, loop)

    logged = [row["variance"] for row in loop.history]
    expected = [measured[0]] * 4 + [measured[1]] * 4 + [measured[2]] * 2
    assert logged == pytest.approx(expected)
    assert len(set(measured)) == 4
