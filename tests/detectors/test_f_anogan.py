"""f-AnoGAN: Eq. (4.7), what each step moves, that it learns and resumes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.detectors.trained import (
    as_bank,
    blobs,
    check_resuming,
    loop_in,
    stripes,
)
from thesislib.detectors import f_anogan
from thesislib.detectors.f_anogan import FAnoGAN, FAnoGANConfig, Scores
from thesislib.errors import InputError
from thesislib.nn import wgan
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18
from thesislib.ranges import RangeError

SIZE, PATCH, STRIDE = 32, 16, 8  # pixels; nine patches an image
TINY = FAnoGANConfig(
    num_features=4,
    base_width=2,
    critic_width=2,
    residual=False,
    batch_size=4,
    gan_steps=3,
    num_critic=2,
    lr=1e-3,
    encoder_steps=3,
    encoder_lr=1e-3,
)
LOCAL = replace(TINY, patch_size=PATCH, stride=STRIDE)
MAPPINGS = ("izif", "izi", "ziz")
both_scales = pytest.mark.parametrize("config", [TINY, LOCAL], ids=["global", "local"])


def model_of(config=TINY, num_channels=1, seed=0, encoder=None):
    torch.manual_seed(seed)
    return FAnoGAN(config, config.patch_size or SIZE, num_channels, encoder)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """First names of what is not as before, bit for bit."""
    return {
        name.split(".")[0]
        for name, value in module.state_dict().items()
        if not torch.equal(value, before[name])
    }


class Watched(torch.optim.SGD):
    """An optimiser that keeps the gradients it is asked to follow, and follows none."""

    def __init__(self, module):
        super().__init__(module.parameters(), lr=0.0)
        self.module, self.seen = module, []

    def step(self, closure=None):
        self.seen.append([p.grad.clone() for p in self.module.parameters()])


# --- Equations -----------------------------------------------------------------------


def test_residuals_are_means_of_squares():
    x, y = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    y[1, 0, 0, 0] = 6.0

    assert f_anogan.image_residual(x, y).tolist() == [0, 36 / 48]
    found = f_anogan.feature_residual(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    assert found.tolist() == [2.5]
    found = f_anogan.anomaly_score(torch.tensor([1.0]), torch.tensor([2.0]), kappa=0.5)
    assert found.tolist() == [2]


def test_the_map_is_the_absolute_residual_in_which_channels_do_not_cancel():
    x, y = torch.full((1, 2, 2, 2), 0.5), torch.full((1, 2, 2, 2), 0.5)
    y[0, :, 0, 1] = torch.tensor([0.1, 0.9])

    expected = torch.tensor([[[[0.0, 0.4], [0.0, 0.0]]]])
    torch.testing.assert_close(f_anogan.residual_map(x, y), expected)


def test_what_the_encoder_minimises_is_the_score_of_normal_images():
    model, images = model_of().eval(), blobs(4)
    with torch.no_grad():
        reconstruction = model.decoder(model.encoder(images))
        features = [model.critic.features(x) for x in (images, reconstruction)]
    terms = {
        "izi": f_anogan.izi_loss(images, reconstruction),
        "feature": f_anogan.feature_residual(*features).mean(),
    }
    scores = f_anogan.score(model, [images], replace(TINY, kappa=0.3)).score

    torch.testing.assert_close(f_anogan.total_loss(terms, 0.3), scores.mean())


def test_ziz_costs_nothing_where_codes_are_found_again():
    z = torch.randn(3, 4)

    assert f_anogan.ziz_loss(z, z).item() == 0
    assert f_anogan.ziz_loss(z, z + 2).item() == pytest.approx(4)


def test_codes_have_the_prior_s_moments():
    generator = torch.Generator().manual_seed(0)
    for prior, std, largest in (("normal", 1.0, 6.0), ("uniform", 3**-0.5, 1.0)):
        config = replace(TINY, prior=prior)
        z = f_anogan.draw_codes(5_000, config, generator)
        assert z.shape == (5_000, TINY.num_features)
        assert z.mean().abs() < 0.03 and z.std() == pytest.approx(std, abs=0.02)
        assert z.abs().max() <= largest
        assert z.abs().max() > 0.99 * min(largest, 3)


# --- Training ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [TINY, LOCAL, replace(TINY, residual=True)],
    ids=["global", "local", "residual"],
)
def test_gradients_reach_every_parameter(tmp_path, config):
    config = replace(config, base_width=4, critic_width=4)
    model, bank = model_of(config), as_bank(blobs(8))
    of_decoder, of_critic = Watched(model.decoder), Watched(model.critic)
    of_encoder = Watched(model.encoder)
    for step in loop_in(tmp_path, "gan").steps(1, saving={}):
        f_anogan.gan_step(model, bank, config, step, of_decoder, of_critic)
        f_anogan.encoder_step(model, bank, config, step, of_encoder)

    assert len(of_critic.seen) == config.num_critic
    assert len(of_decoder.seen) == len(of_encoder.seen) == 1
    bias_of_judge = [n for n, _ in model.critic.named_parameters()].index("judge.bias")
    for watched in (of_decoder, of_critic, of_encoder):
        for i, gradient in enumerate(watched.seen[0]):
            if watched is of_critic and i == bias_of_judge:
                assert gradient.abs().max() < 1e-6  # only differences matter
            else:
                assert gradient.abs().max() > 1e-9


def test_each_stage_moves_its_own_networks_alone(tmp_path):
    model, bank = model_of(), as_bank(blobs(8))
    before, after_gan = state_of(model), {}
    encoder_step = f_anogan.encoder_step

    def watched(*arguments):
        if not after_gan:
            after_gan.update(state_of(model))
            assert changed(model, before) == {"decoder", "critic"}
        encoder_step(*arguments)

    with pytest.MonkeyPatch.context() as context:
        context.setattr(f_anogan, "encoder_step", watched)
        f_anogan.fit(model, bank, TINY, loop_in(tmp_path, "f"))
    assert changed(model, after_gan) == {"encoder"}
    assert all(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.modules())


def test_the_critic_parts_real_from_generated_and_the_generator_joins_them(tmp_path):
    """One side trains while the other stands still; a wrong sign goes the other way."""
    bank, real = as_bank(stripes(16)), stripes(16)
    z = f_anogan.draw_codes(64, TINY, torch.Generator().manual_seed(0))

    def distance(model):
        with torch.no_grad():
            answers = [model.critic(x).mean() for x in (real, model.generate(z))]
        return (answers[0] - answers[1]).item()

    def train(model, stage, lr_decoder, lr_critic):
        of_decoder = torch.optim.Adam(model.decoder.parameters(), lr=lr_decoder)
        of_critic = torch.optim.Adam(model.critic.parameters(), lr=lr_critic)
        for step in loop_in(tmp_path / stage, stage).steps(15, saving={}):
            f_anogan.gan_step(model, bank, TINY, step, of_decoder, of_critic)

    model = model_of()
    start = distance(model)
    train(model, "critic", 0.0, 1e-2)
    parted = distance(model)
    train(model, "generator", 1e-2, 0.0)
    joined = distance(model)
    assert parted > start + 5
    assert joined < parted - 5


@pytest.mark.parametrize(
    ("mapping", "logged"),
    [("izif", {"izi", "feature"}), ("izi", {"izi"}), ("ziz", {"ziz"})],
)
def test_each_mapping_has_its_terms(tmp_path, mapping, logged):
    loop = loop_in(tmp_path, "f")
    config = replace(TINY, mapping=mapping)
    f_anogan.fit(model_of(), as_bank(blobs(8)), config, loop)

    of_gan = {"step", "critic", "generator", "penalty", "diversity"}
    assert [set(row) for row in loop.history[:3]] == [of_gan] * 3
    assert [set(row) for row in loop.history[3:]] == [{"step", "loss"} | logged] * 3


def test_kappa_weighs_the_features_in_training(tmp_path):
    for kappa in (0.0, 3.0):
        loop = loop_in(tmp_path / str(kappa), "f")
        config = replace(TINY, kappa=kappa)
        f_anogan.fit(model_of(), as_bank(blobs(8)), config, loop)
        for row in loop.history[3:]:
            total = row["izi"] + kappa * row["feature"]
            assert row["loss"] == pytest.approx(total, rel=1e-5)


def ramps(num_images, seed):
    """Images of 16 pixels that rise to the lower right, more or less steeply."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.rand(num_images, 2, 1, 1, 1, generator=generator) / 2
    ramp = torch.linspace(0, 1, 16)
    return slope[:, 0] * ramp + slope[:, 1] * ramp[:, None]


def test_a_short_run_learns_to_draw_and_to_find_images(tmp_path):
    config = replace(
        TINY,
        base_width=4,
        critic_width=4,
        batch_size=16,
        gan_steps=60,
        lr=5e-3,
        encoder_steps=40,
        encoder_lr=3e-3,
    )
    torch.manual_seed(0)
    model, loop = FAnoGAN(config, 16, 1), loop_in(tmp_path, "f")
    unseen = ramps(20, seed=2)
    untrained = f_anogan.score(model, [unseen], config)
    f_anogan.fit(model, as_bank(ramps(40, seed=1)), config, loop)
    trained = f_anogan.score(model, [unseen, unseen.flip(-1)], config)

    found = [row["izi"] for row in loop.history[60:]]
    assert sum(found[-10:]) < 0.7 * sum(found[:10])
    assert trained.image[:20].mean() < 0.25 * untrained.image.mean()
    z = f_anogan.draw_codes(64, config, torch.Generator().manual_seed(0))
    assert wgan.diversity(model.generate(z), unseen) > 0.4
    above = trained.score[20:] > trained.score[:20, None]
    assert above.float().mean() > 0.8  # AUROC of mirrored images


@pytest.mark.parametrize(
    ("mapping", "gan_steps"), [("izif", 3), ("izif", 5), ("ziz", 2)]
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, mapping, gan_steps):
    """Killed at step 3: between the stages, inside the first, inside the second."""
    config = replace(TINY, mapping=mapping, gan_steps=gan_steps, encoder_steps=2)
    bank = as_bank(blobs(20))

    def train(loop):
        return f_anogan.fit(model_of(config), bank, config, loop).state_dict()

    check_resuming(tmp_path, train)


def test_encoders_share_a_generator_and_critic_trained_once(tmp_path, monkeypatch):
    bank, steps = as_bank(blobs(8)), []
    gan_step = f_anogan.gan_step
    monkeypatch.setattr(
        f_anogan, "gan_step", lambda *a: steps.append(a[3].index) or gan_step(*a)
    )
    models = {}
    for seed, mapping in enumerate(MAPPINGS):
        config = replace(TINY, mapping=mapping)
        gan, loop = loop_in(tmp_path / "gan", "gan"), loop_in(tmp_path / mapping, "f")
        models[mapping] = f_anogan.fit(model_of(seed=seed), bank, config, loop, gan)
        assert [row["step"] for row in loop.history] == [3, 4, 5]

    assert steps == [0, 1, 2]  # once, and read back since
    states = [models[mapping].state_dict() for mapping in MAPPINGS]
    for name in states[0]:
        alike = all(torch.equal(states[0][name], state[name]) for state in states)
        counter = name.endswith("num_batches_tracked")
        assert alike == (not name.startswith("encoder.") or counter), name


def test_a_killed_encoder_goes_on_from_the_shared_generator(tmp_path):
    bank = as_bank(blobs(8))

    def train(loop):
        gan = loop_in(loop.folder / "gan", "gan")
        return f_anogan.fit(model_of(), bank, TINY, loop, gan).state_dict()

    check_resuming(tmp_path, train)


def test_a_pre_trained_encoder_is_taken_as_it_is_or_fine_tuned(tmp_path):
    bank = as_bank(blobs(8))
    for fine_tune in (False, True):
        torch.manual_seed(0)
        backbone = ResNet18(base_width=8)
        encoder = BackboneEncoder(backbone, TINY.num_features, fine_tune=fine_tune)
        model = model_of(encoder=encoder)
        before = state_of(model.encoder)
        f_anogan.fit(model, bank, TINY, loop_in(tmp_path / str(fine_tune), "f"))

        expected = {"project", "backbone"} if fine_tune else {"project"}
        assert changed(model.encoder, before) == expected


# --- Scores --------------------------------------------------------------------------


def slow_parts(model, images, config):
    """Both residuals of every patch of every image, (M, P) each, one at a time."""
    size = config.patch_size or SIZE
    starts = range(0, SIZE - size + 1, config.stride)
    found = []
    with torch.no_grad():
        for image in images:
            for row in starts:
                for column in starts:
                    x = image[None, :, row : row + size, column : column + size]
                    z = model.encoder(x)
                    y = model.decoder(z)
                    if config.features == "critic":
                        f = [model.critic.blocks(one).flatten() for one in (x, y)]
                    else:
                        f = [z.flatten(), model.encoder(y).flatten()]
                    pixels = zip(x.flatten(), y.flatten(), strict=True)
                    of_image = sum((a - b) ** 2 for a, b in pixels)
                    of_feature = (f[0] - f[1]).square().sum() / len(f[0])
                    found.append((of_image / x.numel(), of_feature))
    return torch.tensor(found).view(len(images), -1, 2).unbind(-1)


@pytest.mark.parametrize("features", ["critic", "encoder"])
@both_scales
def test_the_score_is_that_of_a_slow_reference(config, features):
    config = replace(config, features=features, kappa=0.7)
    model, images = model_of(config, num_channels=3).eval(), blobs(2, channels=3)
    scores = f_anogan.score(model, [images], config)

    image, feature = slow_parts(model, images, config)
    torch.testing.assert_close(scores.score, (image + 0.7 * feature).amax(dim=1))
    torch.testing.assert_close(scores.image, image.amax(dim=1))
    torch.testing.assert_close(scores.feature, feature.amax(dim=1))
    assert scores.maps is None


@both_scales
def test_maps_are_means_over_the_patches_that_cover_a_pixel(config):
    model, images = model_of(config).eval(), stripes(3)
    maps = f_anogan.score(model, images.split(2), config, maps=True).maps

    size = config.patch_size or SIZE
    total, cover = torch.zeros(3, SIZE, SIZE), torch.zeros(SIZE, SIZE)
    with torch.no_grad():
        for row in range(0, SIZE - size + 1, config.stride):
            for column in range(0, SIZE - size + 1, config.stride):
                window = (..., slice(row, row + size), slice(column, column + size))
                x = images[window]
                total[window] += (x - model.decoder(model.encoder(x))).abs()[:, 0]
                cover[window] += 1
    torch.testing.assert_close(maps, total / cover)


@both_scales
def test_batches_do_not_matter_and_scoring_changes_nothing(config):
    model, images = model_of(config).train(), stripes(5)
    before = state_of(model)
    whole = f_anogan.score(model, [images], config, maps=True)
    apart = f_anogan.score(model, images.split([1, 3, 1]), config, maps=True)

    for one, other in zip(whole, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert changed(model, before) == set()


def test_a_lesion_that_the_generator_cannot_draw_is_found_where_it_is():
    class Grey(nn.Module):
        def forward(self, z):
            return torch.full((len(z), 1, SIZE, SIZE), 0.5)

    model = model_of()
    model.decoder = Grey()
    images = torch.full((4, 1, SIZE, SIZE), 0.5)
    images[2:, :, 20:26, 4:10] = 0.9
    scores = f_anogan.score(model, [images], TINY, maps=True)

    assert scores.score[2:].min() > scores.score[:2].max()
    expected = torch.zeros(SIZE, SIZE)
    expected[20:26, 4:10] = 0.4
    torch.testing.assert_close(scores.maps[2], expected)


def test_both_scales_add_up():
    parts = [
        Scores(*(torch.full((2,), value + i) for i in range(3)), torch.ones(2, 4, 4))
        for value in (1.0, 10.0)
    ]
    both = f_anogan.combine(*parts)

    assert [column[0].item() for column in both[:3]] == [11, 13, 15]
    assert both.maps.eq(2).all()
    assert f_anogan.combine(parts[0], parts[1]._replace(maps=None)).maps is None


# --- Bad input -----------------------------------------------------------------------


def test_patches_that_miss_a_border_are_refused(tmp_path):
    config = replace(LOCAL, stride=5)
    with pytest.raises(InputError, match="patch_size is 16 and stride 5"):
        f_anogan.fit(model_of(LOCAL), as_bank(blobs(8)), config, loop_in(tmp_path, "f"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 1), ("penalty", -1.0), ("lr", 0.0), ("beta_2", 1.0)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(RangeError, match=rf"^{name} is {value}"):
        replace(TINY, **{name: value})
