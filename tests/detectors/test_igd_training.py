"""IGD's training: what each step moves, when, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.detectors.igd_toy import (
    NUM_IMAGES,
    SIZE,
    TINY,
    changed,
    copy_of,
    model_of,
)
from thesislib.datasets.bank import ImageBank
from thesislib.detectors import igd, igd_scores
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.errors import InputError
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18
from thesislib.training.schedule import polynomial_lr

LOCAL = replace(TINY, patch_size=16, stride=8)


class Recording(torch.optim.SGD):
    """An optimiser that notes every gradient of a model when it is asked to step."""

    def __init__(self, parameters, model, lr=0.0):
        super().__init__(parameters, lr=lr)
        self.model, self.seen = model, []

    def step(self, closure=None):
        named = self.model.named_parameters()
        self.seen.append(
            {n: None if p.grad is None else p.grad.clone() for n, p in named}
        )
        super().step(closure)


def optimizers_of(model, lr=0.0, critic_lr=0.0):
    ours = [*model.encoder.parameters(), *model.decoder.parameters()]
    critics = model.critic.parameters()
    return Recording(ours, model, lr), Recording(critics, model, critic_lr)


def one_m_step(model, config, loop, images, **rates):
    optimizers = optimizers_of(model, **rates)
    model.train()
    for step in loop.steps(1, saving={}):
        igd.m_step(model, images, config, step, *optimizers)
    return optimizers


# --- The M-step ----------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, LOCAL, replace(TINY, residual=True)])
def test_gradients_reach_every_parameter_once(bank, make_loop, config):
    config = replace(config, base_width=4, critic_width=4)
    model, loop = model_of(config), make_loop()
    images = igd._draw(bank, config, torch.Generator().manual_seed(0))
    ours, critics = one_m_step(model, config, loop, images)

    ((first,), (second,)) = ours.seen, critics.seen
    own = {n for n in first if n.startswith(("encoder.", "decoder."))}
    assert all(first[n].abs().max() > 1e-9 for n in own), first
    others = set(first) - own
    assert others and all(n.startswith("critic.") for n in others)
    assert all(second[n].abs().max() > 1e-9 for n in others)
    for name in own:  # the critic's loss adds nothing to its opponents' gradients
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)
    losses = loop.history[0]
    assert set(losses) == {
        "step", "rec", "gac", "inter", "variance", "loss", "critic"
    }  # fmt: skip
    total = losses["gac"] + losses["rec"] + 0.1 * losses["inter"]
    assert losses["loss"] == pytest.approx(total, rel=1e-5)


def test_the_critic_s_gradient_is_that_of_its_own_loss_alone(bank, make_loop):
    """What fooling it sends through the critic does not move the critic."""
    model = model_of(TINY)
    seen = []
    for lambda_3 in (0.1, 100.0):
        config = replace(TINY, lambda_3=lambda_3)
        _, critics = one_m_step(
            model, config, make_loop(str(lambda_3)), bank.take([0, 1])
        )
        seen.append(critics.seen[0])

    for name in seen[0]:
        if name.startswith("critic."):
            torch.testing.assert_close(seen[0][name], seen[1][name], rtol=0, atol=0)


def test_either_optimiser_moves_its_own_weights_alone(bank, make_loop):
    images = bank.take([0, 1, 2, 3])
    for rates, moved in (
        ({"lr": 0.1}, {"encoder", "decoder"}),
        ({"critic_lr": 0.1}, {"critic"}),
    ):
        model = model_of(TINY)
        before = {n: p.clone() for n, p in model.named_parameters()}
        one_m_step(model, TINY, make_loop(str(rates)), images, **rates)
        names = {n for n, p in model.named_parameters() if not p.equal(before[n])}
        assert {name.split(".")[0] for name in names} == moved


@pytest.mark.parametrize(
    ("terms", "losses"),
    [
        (("rec",), {"rec"}),
        (("rec", "gac"), {"rec", "gac"}),
        (("rec", "gac", "inter"), {"rec", "gac", "inter"}),
    ],
)
def test_the_ablations_of_table_6_5_leave_terms_out(bank, make_loop, terms, losses):
    config = replace(TINY, terms=terms)
    model, loop = model_of(config), make_loop()
    before = copy_of(model.critic)
    igd.fit(model, bank, config, loop)

    with_critic = {"critic"} if "inter" in terms else set()
    for row in loop.history:
        assert set(row) == losses | with_critic | {"step", "variance", "loss"}
    assert bool(changed(model.critic, before)) == ("inter" in terms)


def test_alpha_is_drawn_from_0_to_a_half_and_zeta_from_0_to_1(
    bank, make_loop, monkeypatch
):
    alphas, zetas = [], []
    interpolate, mix = igd.interpolate, igd.mix
    monkeypatch.setattr(
        igd, "interpolate", lambda z, a: alphas.append(a) or interpolate(z, a)
    )
    monkeypatch.setattr(igd, "mix", lambda x, y, t: zetas.append(t) or mix(x, y, t))
    model, config = model_of(TINY), replace(TINY, batch_size=NUM_IMAGES)
    optimizers = optimizers_of(model)
    for step in make_loop().steps(12, saving={}):
        code = replace(config, zeta=0.8 if step.index >= 10 else None)
        igd.m_step(model, bank.take(range(NUM_IMAGES)), code, step, *optimizers)

    alpha, zeta = torch.stack(alphas), torch.stack(zetas[:10])
    assert alpha.shape == (12, NUM_IMAGES)  # one for each image
    assert 0 <= alpha.min() < 0.02 and 0.48 < alpha.max() < 0.5
    assert zeta.shape == (10, NUM_IMAGES)
    assert 0 <= zeta.min() < 0.05 and 0.95 < zeta.max() < 1
    assert all((late == 0.8).all() for late in zetas[10:])  # the authors' program
    correlation = torch.corrcoef(torch.stack([alpha[:10].flatten(), zeta.flatten()]))
    assert correlation[0, 1].abs() < 0.25  # drawn one by one


class Pooled(nn.Module):
    """Encoder without weights: means of 4 x 4 pixels."""

    def forward(self, images):
        return F.avg_pool2d(images, 4).flatten(1)


class Blown(nn.Module):
    """Decoder of `Pooled`: repeats each mean."""

    def forward(self, z):
        return F.interpolate(z.view(-1, 1, 8, 8), scale_factor=4.0)


def test_the_critic_learns_alpha_and_not_its_mean_alone(make_loop):
    """The authors' global critic could not pay less than alpha's variance, 1/48."""
    config = replace(TINY, critic_width=4, num_features=64)
    model = model_of(config, encoder=Pooled())
    model.decoder = Blown()
    images = torch.zeros(16, 1, SIZE, SIZE)
    images[:8, ..., :16] = 1  # white on the left; partners are white on the right
    images[8:, ..., 16:] = 1
    images.requires_grad_()  # the first update has nothing else to descend to
    nothing = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    critics = torch.optim.Adam(model.critic.parameters(), lr=0.003)
    loop = make_loop(checkpoint_every=1_000)
    for step in loop.steps(80, saving={}):
        igd.m_step(model, images, config, step, nothing, critics)

    losses = [row["critic"] for row in loop.history]
    assert sum(losses[-10:]) / 10 < 0.25 / 48


# --- Whole runs ----------------------------------------------------------------------


def test_rates_fall_to_zero_as_a_power(bank, make_loop, monkeypatch):
    rates = []
    monkeypatch.setattr(
        igd,
        "m_step",
        lambda model, images, config, step, *optimizers: rates.append(
            [group["lr"] for one in optimizers for group in one.param_groups]
        ),
    )
    igd.fit(model_of(TINY), bank, TINY, make_loop())
    expected = [[1e-3 * (1 - step / 10) ** 0.9] * 2 for step in range(10)]

    np.testing.assert_allclose(rates, expected)
    assert [polynomial_lr(s, 4, 8.0, 1.0) for s in range(5)] == [8, 6, 4, 2, 0]
    assert [polynomial_lr(s, 4, 8.0, 0.0) for s in range(4)] == [8] * 4  # as printed


def test_a_short_run_learns_to_reconstruct_and_to_tell_mirrored_images(make_loop):
    generator = torch.Generator().manual_seed(0)
    slopes = torch.rand(48, 2, 1, 1, 1, generator=generator) / 2
    ramp = torch.linspace(0, 1, SIZE)
    images = slopes[:, 0] * ramp + slopes[:, 1] * ramp[:, None]  # brightest lower right
    bank = ImageBank.from_array((images[:32] * 255).to(torch.uint8))
    config = replace(TINY, base_width=4, num_features=8, num_steps=80, lr=5e-3)
    loop = make_loop(checkpoint_every=1_000)
    model = igd.fit(model_of(config), bank, replace(config, batch_size=8), loop)

    rec = [row["rec"] for row in loop.history]
    assert sum(rec[-10:]) < 0.5 * sum(rec[:10])
    normal = images[32:]
    found = igd_scores.score(model, [normal, normal.flip(-1)], config)
    for term in (found.score, found.rec, found.gac):
        above = term[16:] > term[:16, None]  # all pairs: their fraction is the AUROC
        assert above.float().mean() > 0.7


def test_the_gaussian_term_brings_representations_together(bank, make_loop):
    spread = []
    for terms in (("rec",), ("rec", "gac")):
        config = replace(TINY, terms=terms, num_steps=30, lr=5e-3)
        loop = make_loop(str(len(spread)), checkpoint_every=1_000)
        model = igd.fit(model_of(config), bank, config, loop)
        spread.append(model.classifier.variance.item())

    assert spread[1] < 0.5 * spread[0]


def test_the_same_seed_trains_the_same_weights(bank, make_loop):
    states = [
        copy_of(igd.fit(model_of(TINY), bank, TINY, make_loop(str(run), seed)))
        for run, seed in enumerate((0, 0, 1))
    ]

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_frozen_backbone_comes_out_as_it_went_in(bank, make_loop):
    torch.manual_seed(0)
    encoder = BackboneEncoder(ResNet18(base_width=8), TINY.num_features)
    model = model_of(TINY, encoder=encoder)
    before = copy_of(model)
    igd.fit(model, bank, TINY, make_loop())

    moved = set(changed(model, before))
    assert not any(name.startswith("encoder.backbone") for name in moved)
    assert {"encoder.project.weight", "encoder.project.bias"} <= moved


def test_decay_of_weights_is_for_encoder_and_decoder_alone(
    bank, make_loop, monkeypatch
):
    found = []

    def note(model, images, config, step, *optimizers):
        groups = [group for one in optimizers for group in one.param_groups]
        found.append([(group["weight_decay"], group["betas"]) for group in groups])

    monkeypatch.setattr(igd, "m_step", note)
    igd.fit(model_of(TINY), bank, replace(TINY, beta_1=0.0), make_loop())

    assert found == [[(1e-6, (0.0, 0.999)), (0, (0.0, 0.999))]] * 10


def test_batches_are_even_so_that_nobody_is_its_own_partner():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 16, 16)
    bank = ImageBank.from_array(images)
    generator = torch.Generator().manual_seed(0)
    for batch_size, expected in ((64, 4), (3, 2), (2, 2), (1, 1)):
        drawn = igd._draw(bank, replace(TINY, batch_size=batch_size), generator)
        numbers = (drawn[:, 0, 0, 0] * 255).round().tolist()
        assert len(set(numbers)) == len(drawn) == expected


def test_flipped_images_are_mirrored_left_to_right_one_by_one(bank):
    config = replace(TINY, batch_size=NUM_IMAGES, flip=True)
    images = [bank.take([index])[0] for index in range(NUM_IMAGES)]
    drawn = torch.cat(
        [igd._draw(bank, config, torch.Generator().manual_seed(s)) for s in range(8)]
    )
    plain = sum(any(image.equal(i) for i in images) for image in drawn)
    mirrored = sum(any(image.flip(-1).equal(i) for i in images) for image in drawn)

    assert plain + mirrored == 8 * NUM_IMAGES
    assert 40 < plain < 88  # of 128 with p = 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"gaussian": "log-likelihood"},
        {"old_mean": True, "centre_margin": 0.1, "zeta": 0.8, "beta_1": 0.0},
        {"variance_floor": None, "lr_power": 0.0},
        {"pixels": "sum"},
        {"terms": ("rec",), "reconstruction": "mse"},
        {"flip": True, "patch_size": 16, "stride": 16},
        {"batch_size": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_setting_trains_and_scores(bank, make_loop, options):
    config = replace(TINY, num_steps=5, **options)
    model = igd.fit(model_of(config), bank, config, make_loop())
    found = igd_scores.score(model, bank.batches(8), config, maps=True)

    assert all(term.isfinite().all() for term in found)
    assert len(found.score) == NUM_IMAGES


def test_bfloat16_trains_too(bank, make_loop):
    loop = make_loop(precision="bfloat16")
    config = replace(TINY, num_steps=5)
    model = igd.fit(model_of(config), bank, config, loop)

    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.classifier.variance.isfinite() and len(loop.history) == 5


def test_one_step_of_the_paper_s_networks_runs(bank, make_loop):
    config = replace(IGDConfig(), batch_size=2, num_steps=1)
    few = ImageBank.from_array(bank.pixels[:4])
    loop = make_loop(checkpoint_every=10)
    model = igd.fit(IGD(config, SIZE, 1), few, config, loop)

    assert config.base_width == 64 and config.residual
    assert model.encoder.project.in_features == 8192
    assert {"rec", "gac", "inter", "critic"} <= set(loop.history[0])
    assert igd_scores.score(model, few.batches(4), config).score.shape == (4,)


@pytest.mark.parametrize("terms", [("gac",), ("rec", "gan"), ()])
def test_terms_that_it_does_not_have_are_named(terms):
    with pytest.raises(InputError, match="rec has to be among them"):
        replace(TINY, terms=terms)


def test_patches_that_leave_a_border_are_refused_before_training(bank, make_loop):
    config = replace(TINY, patch_size=16, stride=5)

    with pytest.raises(InputError, match="stride"):
        igd.fit(model_of(config), bank, config, make_loop())
