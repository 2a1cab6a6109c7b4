"""Shapes, refusals and symmetries of the networks of chapter 6."""

import pytest
import torch
from torch import nn

from thesislib.errors import InputError
from thesislib.nn import autoencoder
from thesislib.nn.autoencoder import BackboneEncoder, Critic, Decoder, Encoder
from thesislib.nn.resnet import ResNet18

WIDTH, Z = 2, 5
BOTH = pytest.mark.parametrize("residual", [False, True])


def images_of(size, num_channels=1, num_images=2):
    generator = torch.Generator().manual_seed(size)
    return torch.rand(num_images, num_channels, size, size, generator=generator)


def networks(size, num_channels=1, *, residual=False, width=WIDTH):
    torch.manual_seed(0)
    sizes = (size, num_channels, width)
    return (
        Encoder(*sizes, Z, residual=residual),
        Decoder(*sizes, Z, residual=residual),
        Critic(*sizes, residual=residual),
    )


@BOTH
@pytest.mark.parametrize("size", [28, 32, 64, 96, 256])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_images_become_features_become_images_become_one_number_each(
    size, num_channels, residual
):
    images = images_of(size, num_channels)
    encoder, decoder, critic = networks(size, num_channels, residual=residual)
    z = encoder(images)
    reconstruction = decoder(z)

    assert z.shape == (2, Z)
    assert reconstruction.shape == images.shape
    assert critic(images).shape == (2,)
    assert critic(images[:1]).shape == (1,)


@pytest.mark.parametrize(
    ("size", "num_blocks", "last"),
    [(16, 2, 4), (20, 2, 5), (28, 2, 7), (32, 3, 4), (60, 2, 15), (64, 4, 4)],
)
def test_sides_are_halved_to_between_4_and_15_pixels(size, num_blocks, last):
    widths, remaining = autoencoder.widths_of(size, 64)

    assert (len(widths), remaining) == (num_blocks, last)
    assert remaining * 2**num_blocks == size


def test_the_paper_s_networks_are_as_wide_as_the_authors():
    assert autoencoder.widths_of(32, 64) == ([128, 256, 512], 4)
    assert autoencoder.widths_of(256, 64) == ([128, 256, 512, 512, 512, 512], 4)
    encoder = Encoder(32, 3, 64, 128, residual=True)
    assert encoder.project.in_features == 8192  # methods: flatten 8192


def test_the_paper_s_encoder_has_as_many_weights_as_the_authors():
    """Each block of their program widens in its last convolution only."""
    blocks = Encoder(32, 3, 64, 128, residual=True).blocks
    number = 3 * 3 * 3 * 64 + 64
    for num_in, num_out in ((64, 128), (128, 256), (256, 512)):
        number += 2 * 2 * num_in  # two batch norms
        number += 9 * num_in * num_in  # no bias
        number += 9 * num_in * num_out + num_out
        number += num_in * num_out + num_out  # shortcut

    assert sum(parameter.numel() for parameter in blocks.parameters()) == number


@pytest.mark.parametrize("size", [-32, 0, 4, 12, 14, 17, 30, 34, 68, 225])
def test_sizes_that_do_not_halve_are_refused(size):
    named = f"image_size is {size} pixels; .* halves twice or more, down to 4 to 15"
    for make in (
        lambda: Encoder(size, 1, WIDTH, Z),
        lambda: Decoder(size, 1, WIDTH, Z),
        lambda: Critic(size, 1, WIDTH),
    ):
        with pytest.raises(InputError, match=named):
            make()


@BOTH
def test_every_size_that_is_accepted_works(residual):
    works = []
    for size in range(1, 70):
        try:
            encoder, decoder, _ = networks(size, residual=residual)
        except InputError:
            continue
        assert decoder(encoder(images_of(size))).shape[-1] == size
        works.append(size)

    expected = [16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64]
    assert works == expected


@BOTH
def test_the_critic_s_answer_does_not_depend_on_the_rest_of_the_batch(residual):
    critic = networks(32, residual=residual)[2].train()
    images = images_of(32, num_images=6)
    alone = torch.cat([critic(image[None]) for image in images])

    torch.testing.assert_close(critic(images), alone)
    assert alone.std() > 0  # images were told apart


@BOTH
def test_encoder_and_decoder_have_batch_norm_and_the_critic_has_none(residual):
    encoder, decoder, critic = networks(32, residual=residual)
    has = [
        any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        for network in (encoder, decoder, critic)
    ]

    assert has == [True, True, False]


@BOTH
def test_gradients_reach_every_parameter(residual):
    images = images_of(32, 3, num_images=4)
    encoder, decoder, critic = networks(32, 3, residual=residual, width=4)
    target = images_of(32, 3, num_images=4).flip(0)
    reconstruction = decoder(encoder(images))
    loss = (reconstruction - target).square().mean() + critic(images).square().mean()
    loss.backward()

    for network in (encoder, decoder, critic):
        for name, parameter in network.named_parameters():
            assert parameter.grad.abs().max() > 1e-7, name


@BOTH
def test_without_biases_nothing_is_added_and_a_black_image_maps_to_zero(residual):
    torch.manual_seed(0)
    encoder = Encoder(32, 1, WIDTH, Z, residual=residual, bias=False)
    names = [name for name, _ in encoder.named_parameters()]

    assert names and all(name.endswith("weight") for name in names)
    for mode in (True, False):
        z = encoder.train(mode)(torch.zeros(2, 1, 32, 32))
        torch.testing.assert_close(z, torch.zeros(2, Z), rtol=0, atol=0)
        assert encoder(images_of(32)).abs().max() > 1e-4
        encoder.apply(lambda m: getattr(m, "reset_running_stats", int)())
    with_biases = Encoder(32, 1, WIDTH, Z, residual=residual)
    assert with_biases(torch.zeros(2, 1, 32, 32)).abs().max() > 0.01


@BOTH
def test_eval_mode_reads_the_running_statistics_and_does_not_move_them(residual):
    images = images_of(32, num_images=8)
    encoder = networks(32, residual=residual)[0]
    encoder.train()(images)
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    whole = encoder.eval()(images)

    torch.testing.assert_close(encoder(images[:1]), whole[:1])
    for name, value in encoder.named_buffers():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_doubling_is_the_reverse_of_halving():
    down = autoencoder.DownBlock(2, 3, nn.BatchNorm2d, bias=True)
    up = autoencoder.UpBlock(3, 2)
    x = torch.randn(2, 2, 8, 8)

    assert down(x).shape == (2, 3, 4, 4)
    assert up(down(x)).shape == x.shape


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return ResNet18(base_width=8)


def test_a_frozen_backbone_stays_as_it_is_while_its_last_layer_learns(backbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    encoder = BackboneEncoder(backbone, Z).train()
    assert encoder.training and encoder.project.training
    assert not any(module.training for module in backbone.modules())

    encoder(images_of(64, 3)).square().sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert all(p.grad.abs().max() > 0 for p in encoder.project.parameters())
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_within_a_larger_model_the_frozen_backbone_stays_frozen(backbone):
    model = nn.Sequential(BackboneEncoder(backbone, Z), nn.BatchNorm1d(Z))
    model.eval()
    model.train()

    assert model[1].training
    assert not any(module.training for module in backbone.modules())


def test_a_fine_tuned_backbone_learns_in_train_mode(backbone):
    encoder = BackboneEncoder(backbone, Z, fine_tune=True).train()
    moved = backbone.bn1.running_mean.clone()
    encoder(images_of(64, 3)).square().sum().backward()

    assert all(module.training for module in backbone.modules())
    assert all(p.grad is not None for p in backbone.parameters())
    assert not torch.equal(backbone.bn1.running_mean, moved)
    with torch.no_grad():
        assert not encoder(images_of(64, 3)).requires_grad


def test_a_backbone_takes_grey_images_as_colour_ones(backbone):
    encoder = BackboneEncoder(backbone, Z).eval()
    grey = images_of(64)

    torch.testing.assert_close(encoder(grey), encoder(grey.expand(-1, 3, -1, -1)))
