"""IGD's training: what each step moves, when, that it learns, and that it resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from thesislib.datasets.bank import ImageBank
from thesislib.detectors import igd
from thesislib.detectors.igd import IGD, IGDConfig
from thesislib.nn import patches
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18
from thesislib.training.loop import Loop, Step
from thesislib.training.schedule import polynomial_lr

SIZE, NUM_IMAGES = 32, 16
TINY = IGDConfig(
    num_features=4,
    base_width=2,
    critic_width=2,
    residual=False,
    batch_size=4,  # four steps a pass
    num_steps=10,
    lr=1e-3,
)
LOCAL = replace(TINY, patch_size=16, stride=8)


@pytest.fixture(scope="module")
def bank():
    """Smooth grey images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(NUM_IMAGES, 1, 4, 4, generator=generator)
    images = F.interpolate(coarse, size=SIZE, mode="bilinear")
    return ImageBank.from_array((images * 255).to(torch.uint8))


@pytest.fixture
def make_loop(tmp_path):
    def make(folder="run", seed=0, **options):
        defaults = {
            "checkpoint_every": 1,
            "max_overhead": float("inf"),  # a checkpoint after every step
            "read_every": 1,
            "progress": None,
        }
        return Loop("igd", seed=seed, folder=tmp_path / folder, **(defaults | options))

    return make


def model_of(config, seed=0, encoder=None):
    torch.manual_seed(seed)
    return IGD(config, config.patch_size or SIZE, 1, encoder)


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """Names of weights and statistics that are not as before, bit for bit."""
    return [
        name
        for name, value in module.state_dict().items()
        if not torch.equal(value, before[name])
    ]


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


# --- The E-step ----------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, LOCAL], ids=["global", "local"])
def test_the_e_step_measures_all_images_or_patches_in_eval_mode(
    bank, make_loop, config
):
    model = model_of(config)
    igd.fit(model, bank, replace(config, num_steps=3), make_loop())  # moves batch norm
    model.train()
    before = copy_of(model.encoder)
    igd.e_step(model, bank, config, make_loop())

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
    found = igd.score(model, [normal, normal.flip(-1)], config)
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
    encoder = BackboneEncoder(ResNet18(base_width=2), TINY.num_features)
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
    found = igd.score(model, bank.batches(8), config, maps=True)

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
    assert igd.score(model, few.batches(4), config).score.shape == (4,)


# --- Killed and resumed --------------------------------------------------------------


class Killed(Exception):
    """Stands for a kill: what comes after it does not happen."""


class Life:
    """A training that dies at its n-th event; with None it counts and lives.

    Events: about to measure, measured, about to move encoder and decoder, about to
    move the critic.
    """

    def __init__(self, monkeypatch, last=None):
        self.last, self.count = last, 0
        e_step, update = igd.e_step, Step.update

        def watched_e_step(*arguments):
            self.event()
            e_step(*arguments)
            self.event()

        def watched_update(*arguments, **options):
            self.event()
            return update(*arguments, **options)

        monkeypatch.setattr(igd, "e_step", watched_e_step)
        monkeypatch.setattr(Step, "update", watched_update)

    def event(self):
        if self.count == self.last:
            raise Killed
        self.count += 1


SHORT = replace(TINY, batch_size=8, num_steps=5)  # E MM E MM E M E
NUM_EVENTS = 4 * 2 + 5 * 2
RESUMED = {
    "global": SHORT,
    "local": replace(SHORT, patch_size=16, stride=8, flip=True),
    "code": replace(
        SHORT, residual=True, old_mean=True, centre_margin=0.1, zeta=0.8, beta_1=0.0
    ),
}


def live(config, bank, loop, monkeypatch, seed=0, last=None):
    """Train until killed; the model and the number of events, None if killed."""
    with monkeypatch.context() as context:
        life = Life(context, last)
        try:
            return igd.fit(model_of(config, seed), bank, config, loop), life.count
        except Killed:
            return None, None


@pytest.mark.parametrize("name", RESUMED)
def test_killed_anywhere_it_resumes_to_the_same_bits(
    bank, make_loop, monkeypatch, name
):
    config = RESUMED[name]
    straight_loop = make_loop("straight")
    straight, num_events = live(config, bank, straight_loop, monkeypatch)
    assert num_events == NUM_EVENTS
    expected = straight.state_dict()

    every = 1 if name == "global" else 5
    for last in range(every - 1, NUM_EVENTS, every):
        stopped = make_loop(f"stopped-{last}")
        assert live(config, bank, stopped, monkeypatch, last=last) == (None, None)
        seed = 99 if last >= 4 else 0  # nothing of what was drawn at first is needed
        loop = make_loop(f"stopped-{last}")
        resumed, _ = live(config, bank, loop, monkeypatch, seed=seed)
        assert changed(resumed, expected) == [], f"killed at event {last}"
        assert loop.history == straight_loop.history


def test_killed_again_and_again_it_arrives_at_the_same_bits(
    bank, make_loop, monkeypatch
):
    straight, _ = live(SHORT, bank, make_loop("straight"), monkeypatch)
    deaths = 0
    for last in (5, 2, 6, 4, 1, 6, 6, None):
        model, _ = live(SHORT, bank, make_loop(), monkeypatch, last=last)
        deaths += model is None

    assert deaths >= 5
    assert changed(model, straight.state_dict()) == []


def test_a_finished_training_is_restored_with_its_gaussian(bank, make_loop):
    config = RESUMED["code"]  # the last E-step reads what the one before left
    first = igd.fit(model_of(config), bank, config, make_loop())
    again = igd.fit(model_of(config, seed=99), bank, config, make_loop())

    assert changed(again, first.state_dict()) == []
    assert not any(module.training for module in again.modules())


def test_the_bits_would_show_a_step_that_is_lost(bank, make_loop, monkeypatch):
    straight, _ = live(SHORT, bank, make_loop("a"), monkeypatch)
    shorter = replace(SHORT, num_steps=4, lr_power=0.0)
    lost = igd.fit(model_of(shorter), bank, shorter, make_loop("b"))

    assert len(changed(lost, straight.state_dict())) > 20
