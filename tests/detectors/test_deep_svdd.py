from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.detectors.trained import (
    as_bank,
    blobs,
    check_resuming,
    loop_in,
    separates,
    without_gradient,
)
from thesislib.detectors import deep_svdd, igd
from thesislib.detectors.deep_svdd import DeepSVDD, DeepSVDDConfig
from thesislib.detectors.igd import IGDConfig
from thesislib.errors import InputError
from thesislib.nn.autoencoder import BackboneEncoder
from thesislib.nn.resnet import ResNet18

TINY = DeepSVDDConfig(
    base_width=4,
    residual=False,
    num_features=8,
    batch_size=8,
    lr=3e-3,
    num_steps=6,
)
WITH_REC = replace(TINY, with_reconstruction=True)


def model_of(config=TINY):
    torch.manual_seed(0)
    return DeepSVDD(config, 32, 1)


@pytest.mark.parametrize("residual", [False, True])
def test_without_biases_black_goes_to_zero(residual):
    model = model_of(replace(TINY, residual=residual)).eval()
    black, grey = torch.zeros(2, 1, 32, 32), torch.full((2, 1, 32, 32), 0.5)

    assert model.encoder(black).abs().max() == 0
    assert model.encoder(grey).abs().max() > 0
    assert not [n for n, _ in model.encoder.named_parameters() if "bias" in n]


def test_a_frozen_backbone_keeps_its_biases_and_loses_the_one_that_trains():
    encoder = BackboneEncoder(ResNet18(base_width=8), 8)
    before = encoder.backbone.state_dict()
    model = DeepSVDD(TINY, 32, 3, encoder)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]

    assert trained == ["encoder.project.weight"]
    after = model.encoder.backbone.state_dict()
    assert before.keys() == after.keys()
    assert model.encoder(torch.rand(2, 3, 64, 64)).shape == (2, 8)


def test_a_backbone_that_trains_is_refused():
    encoder = BackboneEncoder(ResNet18(base_width=8), 8, fine_tune=True)

    with pytest.raises(InputError, match="BatchNorm2d with a bias"):
        DeepSVDD(TINY, 32, 3, encoder)


def test_distance_is_the_squared_norm_of_the_difference():
    z, centre = torch.randn(4, 3), torch.randn(3)
    expected = torch.cdist(z, centre[None]).squeeze(1) ** 2

    torch.testing.assert_close(deep_svdd.squared_distance(z, centre), expected)


class Fixed(nn.Module):
    """Encoder whose features are the first pixels, times a weight that trains."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.weight * images.flatten(1)[:, :8]


def test_centre_is_the_mean_kept_from_zero():
    images = torch.zeros(2, 1, 32, 32)
    images[0, 0, 0, :8] = torch.tensor([0, 0.2, 0.02, 0.4, 0.8, 1, 1, 1])
    images[1, 0, 0, :8] = torch.tensor([0, 0.0, 0.02, 0.4, 0.8, 1, 1, 0])
    model = DeepSVDD(TINY, 32, 1, Fixed())

    class Exact:
        device = torch.device("cpu")

        def batches(self, _):
            return [images[:1], images[1:]]

    class Float32:
        precision, device = "float32", torch.device("cpu")

    deep_svdd.set_centre(model, Exact(), TINY, Float32)
    expected = torch.tensor([0, 0.1, 0.1, 0.4, 0.8, 1, 1, 0.5])
    torch.testing.assert_close(model.centre, expected)


def test_centre_does_not_move_in_training(tmp_path):
    bank = as_bank(blobs(20))
    short, long = (
        deep_svdd.fit(
            model_of(),
            bank,
            replace(TINY, num_steps=n),
            loop_in(tmp_path / str(n), "s"),
        )
        for n in (1, 6)
    )

    assert (short.centre.abs() >= 0.0999).all()
    assert torch.equal(short.centre, long.centre)
    moved = (short.encoder.project.weight - long.encoder.project.weight).abs()
    assert moved.max() > 1e-3


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("config", [TINY, WITH_REC])
def test_gradients_reach_every_parameter(config, residual):
    config = replace(config, residual=residual)
    model = model_of(config).train()
    model.centre.fill_(0.3)
    terms = deep_svdd.losses(model, blobs(8), config)
    sum(terms.values()).backward()

    expected = {"distance", "rec"} if config.with_reconstruction else {"distance"}
    assert set(terms) == expected
    assert without_gradient(model) == []


def test_scores_are_the_terms_of_the_loss():
    images = blobs(6)
    plain, both = model_of().eval(), model_of(WITH_REC).eval()
    for model in (plain, both):
        model.centre.fill_(0.3)
    alone = deep_svdd.score(plain, images.split(4), TINY)
    summed = deep_svdd.score(both, images.split(4), WITH_REC)
    with torch.no_grad():
        z = both.encoder(images)
        rec = igd.reconstruction_loss(images, both.decoder(z), IGDConfig())

    assert alone.rec is None
    torch.testing.assert_close(
        alone.score, (plain.encoder(images) - 0.3).square().sum(1)
    )
    torch.testing.assert_close(summed.rec, rec)
    torch.testing.assert_close(summed.score, rec + (z - 0.3).square().sum(1))


@pytest.mark.parametrize("config", [TINY, WITH_REC])
def test_a_short_run_learns(tmp_path, config):
    config = replace(config, num_steps=70)
    model = model_of(config)
    loop = loop_in(tmp_path, "dsvdd")
    deep_svdd.fit(model, as_bank(blobs(40)), config, loop)

    for term in set(loop.history[0]) - {"step"}:
        assert loop.history[-1][term] < loop.history[0][term] / 2, term
    assert separates(deep_svdd, model, config) > 0.9


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    bank = as_bank(blobs(20))

    def train(loop):
        return deep_svdd.fit(model_of(WITH_REC), bank, WITH_REC, loop).state_dict()

    check_resuming(tmp_path, train)
