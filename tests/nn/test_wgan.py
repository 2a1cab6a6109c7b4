"""Losses of the Wasserstein GAN with gradient penalty, thesis Eq. (3.5)."""

import pytest
import torch
from torch import nn

from thesislib.nn import wgan
from thesislib.nn.autoencoder import Critic

SHAPE = (2, 3, 3)  # C, H, W


def linear(length):
    """A critic whose slope is the same everywhere, of the given length."""
    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    weight *= length / weight.norm()
    return lambda images: (images * weight).sum(dim=(1, 2, 3))


def pair(num_images=5):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, num_images, *SHAPE, generator=generator)


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0, 4.0])
def test_a_linear_critic_pays_for_the_length_of_its_weight(length):
    penalty = wgan.gradient_penalty(linear(length), *pair(), torch.rand(5))

    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-6)


def test_the_slope_is_taken_between_real_and_generated_image():
    """Of D(x) = |x|^2 / 2 the slope at x is x, so its length tells the place."""
    real, generated = pair()
    share = torch.tensor([0.0, 1.0, 0.25, 0.5, 0.9])

    def half_square(images):
        return images.square().sum(dim=(1, 2, 3)) / 2

    expected = torch.stack(
        [
            ((s * x + (1 - s) * y).norm() - 1) ** 2
            for s, x, y in zip(share, real, generated, strict=True)
        ]
    ).mean()
    torch.testing.assert_close(
        wgan.gradient_penalty(half_square, real, generated, share), expected
    )


def test_the_penalty_pulls_the_slope_of_a_linear_critic_to_1():
    """d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(18, 1), nn.Flatten(0))
    weight = critic[1].weight
    wgan.gradient_penalty(critic, *pair(), torch.rand(5)).backward()

    length = weight.detach().norm()
    torch.testing.assert_close(weight.grad, 2 * (length - 1) * weight / length)


def test_a_flat_critic_pays_1_and_has_finite_gradients():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(18, 1), nn.Flatten(0))
    nn.init.zeros_(critic[1].weight)
    penalty = wgan.gradient_penalty(critic, *pair(), torch.rand(5))
    penalty.backward()

    assert penalty.item() == 1
    assert critic[1].weight.grad.isfinite().all()


def test_no_gradient_of_the_penalty_reaches_the_generator():
    real, generated = pair()
    generated.requires_grad_()
    weight = torch.ones(SHAPE, requires_grad=True)
    wgan.gradient_penalty(
        lambda x: (x * weight).sum(dim=(1, 2, 3)), real, generated, torch.rand(5)
    ).backward()

    assert generated.grad is None
    assert weight.grad.abs().min() > 0


def test_critic_loss_is_generated_minus_real():
    of_real, of_generated = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0])

    assert wgan.critic_loss(of_real, of_generated).item() == -3.5
    assert wgan.generator_loss(of_generated).item() == -0.5


def test_the_critic_learns_to_prefer_real_and_the_generator_to_be_preferred():
    """On a line, with D(x) = w x and G = c: signs decide which way they go."""
    w = torch.tensor(0.0, requires_grad=True)
    c = torch.tensor(-1.0, requires_grad=True)
    wgan.critic_loss(w * torch.ones(4), w * c.detach() * torch.ones(4)).backward()
    assert w.grad < 0  # descent raises w: real ones, above, are given more

    wgan.generator_loss(torch.tensor(0.7) * c * torch.ones(4)).backward()
    assert c.grad < 0  # and moves c up, to where real ones are


def test_a_linear_critic_estimates_the_distance_of_two_places():
    """Places d apart, D(x) = w x: -w d + lambda (w - 1)^2 is least at 1 + d / 2 lambda.

    The critic's loss is then minus the distance d, but for what a soft penalty allows.
    """
    d, penalty_weight, w = 3.0, 10.0, torch.zeros((), requires_grad=True)
    generated = torch.rand(8, 1, 1, 1)

    def critic(images):
        return w * images.flatten()

    optimizer = torch.optim.SGD([w], lr=0.04)
    for _ in range(20):
        loss = wgan.critic_loss(critic(generated + d), critic(generated))
        penalty = wgan.gradient_penalty(critic, generated + d, generated, torch.rand(8))
        optimizer.zero_grad()
        (loss + penalty_weight * penalty).backward()
        optimizer.step()

    assert w.item() == pytest.approx(1 + d / (2 * penalty_weight), abs=1e-4)
    assert -loss.item() == pytest.approx(d * 1.15, abs=1e-3)


@pytest.mark.parametrize("residual", [False, True])
def test_the_critic_s_answer_for_an_image_does_not_depend_on_the_batch(residual):
    torch.manual_seed(0)
    critic = Critic(16, 1, 2, residual=residual).train()
    images = torch.rand(6, 1, 16, 16)
    together = critic(images)

    alone = torch.cat([critic(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(critic(images[:2]), together[:2], rtol=1e-4, atol=1e-6)


def test_the_critic_judges_by_its_features_linearly():
    torch.manual_seed(0)
    critic = Critic(16, 1, 2)
    images = torch.rand(3, 1, 16, 16)

    torch.testing.assert_close(
        critic.judge(critic.features(images))[:, 0], critic(images), rtol=0, atol=0
    )


def test_diversity_of_a_collapsed_generator_is_0():
    real, _ = pair()

    assert wgan.diversity(real[:1].expand(4, *SHAPE), real).item() == 0


def test_diversity_of_the_real_images_is_1_and_of_half_the_contrast_a_half():
    real, _ = pair()

    assert wgan.diversity(real.flip(0), real).item() == pytest.approx(1)
    assert wgan.diversity(real / 2 + 0.3, real).item() == pytest.approx(0.5)


def test_diversity_of_two_modes_counts_pairs_within_as_nothing():
    """Of 4 images in two places a apart, 4 of 6 pairs differ: by a."""
    real = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    generated = torch.tensor([0.0, 0.0, 0.9, 0.9]).view(4, 1, 1, 1)

    assert wgan.diversity(generated, real).item() == pytest.approx(0.9 * 4 / 6)


def test_diversity_is_finite_where_there_is_nothing_to_compare_with():
    real, generated = pair()

    for few in (real[:1], real[:1].expand(4, *SHAPE)):
        assert wgan.diversity(few, few).item() == 0
        assert wgan.diversity(generated, few).isfinite()


def test_frozen_weights_take_no_gradient_and_inputs_do():
    layer, already = nn.Linear(2, 1), nn.Linear(2, 1).requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with wgan.frozen(layer, already):
        answer = layer(x) + already(x)
    answer.sum().backward()

    assert layer.weight.grad is None
    assert x.grad is not None
    assert layer.weight.requires_grad and not already.weight.requires_grad


@pytest.mark.parametrize("residual", [False, True])
def test_a_critic_without_a_norm_first_sees_contrast(residual):
    torch.manual_seed(0)
    images = torch.rand(4, 1, 16, 16)
    for norm_first in (True, False):
        critic = Critic(16, 1, 4, residual=residual, norm_first=norm_first)
        change = (critic(images / 2) - critic(images)).abs().min().item()
        assert (change > 1e-3) == (residual or not norm_first)
