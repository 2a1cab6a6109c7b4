"""Each equation of Section 6.3 in closed form or against a slow version."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from thesislib.detectors import igd
from thesislib.detectors.igd import GaussianClassifier, IGDConfig
from thesislib.nn.msssim import ms_ssim, ms_ssim_map, scales_of

CONFIG = IGDConfig()
Z = 6


@pytest.fixture
def z():
    """Representations of normal images, far from the origin."""
    return 3 + 2 * torch.randn(50, Z, generator=torch.Generator().manual_seed(0))


def classifier_of(mean, variance):
    classifier = GaussianClassifier(len(mean))
    classifier.mean.copy_(torch.as_tensor(mean))
    classifier.variance.fill_(variance)
    return classifier


# --- E-step, Eq. (6.3), and the Gaussian classifier, Eqs. (6.5), (6.6) and (6.8) -----


def test_the_e_step_measures_the_moments_of_numpy(z):
    classifier = GaussianClassifier(Z)
    classifier.fit(z)

    np.testing.assert_allclose(classifier.mean, z.numpy().mean(axis=0), rtol=1e-5)
    expected = z.numpy().var(axis=0).sum()  # E |z - mu|^2 is the sum of the variances
    assert classifier.variance.item() == pytest.approx(expected, rel=1e-5)
    assert classifier.variance.shape == ()


def test_the_e_step_forgets_the_one_before(z):
    once, twice = GaussianClassifier(Z), GaussianClassifier(Z)
    once.fit(z)
    twice.fit(100 - 7 * z)
    twice.fit(z)

    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=0, atol=0)


def test_with_the_old_mean_the_variance_grows_by_how_far_the_mean_moved(z):
    classifier = GaussianClassifier(Z)
    classifier.fit(z)
    moved = z + 1  # by a distance of sqrt(Z)
    classifier.fit(moved, old_mean=True)

    exact = GaussianClassifier(Z)
    exact.fit(moved)
    torch.testing.assert_close(classifier.mean, exact.mean)
    torch.testing.assert_close(classifier.variance, exact.variance + Z)


def test_a_margin_keeps_the_centre_away_from_zero_and_exact_zeros_where_they_are():
    z = torch.tensor([[0.02, -0.02, 0.0, 0.5, -0.5, 0.1]])
    classifier = GaussianClassifier(6)
    classifier.fit(z, margin=0.1)

    expected = torch.tensor([0.1, -0.1, 0.0, 0.5, -0.5, 0.1])
    torch.testing.assert_close(classifier.mean, expected)
    about = (z - expected).square().sum()  # the variance is about the pushed centre
    torch.testing.assert_close(classifier.variance, about)


def test_moments_are_measured_and_not_learnt(z):
    classifier = GaussianClassifier(Z)
    classifier.fit(z.requires_grad_())
    classifier(z).mean().backward()

    assert list(classifier.parameters()) == []
    assert set(classifier.state_dict()) == {"mean", "variance"}  # checkpoints hold them
    assert not classifier.mean.requires_grad and not classifier.variance.requires_grad
    assert z.grad.abs().max() > 0


def test_the_probability_of_being_abnormal_is_one_minus_a_gaussian():
    classifier = classifier_of([1.0, 2.0], variance=4.0)
    z = torch.tensor([[1.0, 2.0], [3.0, 2.0], [1.0, 6.0], [-3.0, 5.0]])
    squared = [0.0, 4.0, 16.0, 25.0]

    expected = torch.tensor([1 - math.exp(-d / 4.0) for d in squared])
    torch.testing.assert_close(classifier(z), expected)
    torch.testing.assert_close(
        classifier.squared_distance(z), torch.tensor(squared) / 4.0
    )


def test_probabilities_lie_in_0_to_1_and_grow_with_the_distance():
    classifier = classifier_of([0.0], variance=2.0)
    distance = torch.linspace(0, 4, 100)[:, None]
    probability = classifier(distance)

    assert probability[0] == 0 and probability[-1] < 1
    assert (probability.diff() > 0).all()
    far = classifier(torch.tensor([[1e4], [1e19]]))
    assert far.tolist() == [1, 1]
    near = torch.tensor([[1e-5]])  # 1 - exp(-5e-11) would be 0 in float32
    assert classifier(near).item() == pytest.approx(5e-11, rel=1e-4, abs=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_after_an_exact_e_step_the_mean_exponent_is_one_whatever_the_scale(z, scale):
    classifier = GaussianClassifier(Z)
    classifier.fit(scale * z)

    mean = classifier.squared_distance(scale * z).mean().item()
    assert mean == pytest.approx(1, rel=1e-4)


def test_the_probability_knows_no_scale_rotation_or_origin(z):
    rotation = torch.linalg.qr(torch.randn(Z, Z)).Q
    found = []
    for change in (z, 5 * z, z @ rotation, z - 9):
        classifier = GaussianClassifier(Z)
        classifier.fit(change)
        found.append(classifier(change))

    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-4)


def test_a_floor_holds_for_small_variances_alone():
    z = torch.tensor([[0.3]])
    small, large = (classifier_of([0.0], variance=v) for v in (0.01, 4.0))

    assert small.squared_distance(z).item() == pytest.approx(9)
    assert small.squared_distance(z, floor=1.0).item() == pytest.approx(0.09)
    assert large.squared_distance(z, floor=1.0).item() == pytest.approx(0.0225)
    assert small(z, 1.0).item() == pytest.approx(1 - math.exp(-0.09))
    assert small.variance.item() == pytest.approx(0.01)  # scores do not know the floor


def test_representations_that_are_all_alike_cost_nothing():
    classifier = GaussianClassifier(Z)
    z = torch.full((4, Z), 2.0)
    classifier.fit(z)

    assert classifier.variance == 0
    assert classifier(z).tolist() == [0, 0, 0, 0]
    assert classifier(z + 1).tolist() == [1, 1, 1, 1]


def test_the_likelihood_of_eq_6_6_pulls_where_the_probability_has_no_slope():
    classifier = classifier_of([0.0], variance=1.0)
    slopes = {}
    for form in ("probability", "log-likelihood"):
        z = torch.tensor([[0.01], [1.0], [10.0]], requires_grad=True)
        config = replace(CONFIG, gaussian=form)
        (3 * igd._gaussian_term(classifier, z, config)).backward()
        slopes[form] = z.grad[:, 0].tolist()

    assert slopes["log-likelihood"] == pytest.approx([0.02, 2.0, 20.0])
    expected = [2 * d * math.exp(-d * d) for d in (0.01, 1.0, 10.0)]
    assert slopes["probability"] == pytest.approx(expected, abs=1e-6)
    assert slopes["probability"][2] == 0  # a far one is left where it is


def test_the_gaussian_term_is_the_mean_with_the_floor():
    classifier = classifier_of([0.0], variance=0.25)
    z = torch.tensor([[0.5], [1.0]])
    term = igd._gaussian_term(classifier, z, CONFIG)
    printed = igd._gaussian_term(classifier, z, replace(CONFIG, variance_floor=None))
    likelihood = igd._gaussian_term(
        classifier, z, replace(CONFIG, gaussian="log-likelihood")
    )

    assert term.item() == pytest.approx(1 - (math.exp(-0.25) + math.exp(-1)) / 2)
    assert printed.item() == pytest.approx(1 - (math.exp(-1) + math.exp(-4)) / 2)
    assert likelihood.item() == pytest.approx((0.25 + 1) / 2)  # -log p


# --- Interpolation and critic, Eqs. (6.9) to (6.11) ----------------------------------


def test_interpolation_is_a_weighted_sum_with_the_partner_from_the_other_end(z):
    z, alpha = z[:4], torch.tensor([0.0, 0.1, 0.25, 0.5])
    between = igd.interpolate(z, alpha)

    for i, (a, partner) in enumerate(zip(alpha, (3, 2, 1, 0), strict=True)):
        torch.testing.assert_close(between[i], a * z[i] + (1 - a) * z[partner])
    torch.testing.assert_close(between[0], z[3])  # nothing of itself


def test_half_way_both_partners_get_the_same(z):
    between = igd.interpolate(z, torch.full((50,), 0.5))

    torch.testing.assert_close(between, between.flip(0))


def test_interpolation_stays_within_the_hull(z):
    alpha = torch.rand(50) / 2
    between = igd.interpolate(z, alpha)

    low, high = torch.minimum(z, z.flip(0)), torch.maximum(z, z.flip(0))
    assert (between >= low - 1e-5).all() and (between <= high + 1e-5).all()


def test_mixed_images_are_weighted_sums_of_image_and_reconstruction():
    images, reconstruction = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    zeta = torch.tensor([0.0, 0.2, 1.0])
    mixed = igd.mix(images, reconstruction, zeta)

    torch.testing.assert_close(mixed, zeta.view(3, 1, 1, 1).expand(3, 1, 2, 2))


def test_the_critic_pays_squared_errors_of_alpha_and_of_zero():
    loss = igd.critic_loss(
        torch.tensor([0.3, 0.1]), torch.tensor([0.1, 0.5]), torch.tensor([0.2, -0.4])
    )

    assert loss.item() == pytest.approx((0.04 + 0.16) / 2 + (0.04 + 0.16) / 2)
    alpha = torch.rand(5) / 2
    assert igd.critic_loss(alpha, alpha, torch.zeros(5)) == 0


@pytest.mark.parametrize(
    "shapes", [((4,), (4, 1), (4,)), ((4, 1), (4,), (4,)), ((4,), (4,), (4, 1))]
)
def test_shapes_that_would_broadcast_are_refused(shapes):
    """The authors' global critic: (B,) minus (B, 1) is (B, B)."""
    with pytest.raises(ValueError, match=r"three tensors of one shape, not \(4,"):
        igd.critic_loss(*(torch.zeros(shape) for shape in shapes))


def test_a_critic_that_knows_alpha_beats_one_that_knows_its_mean():
    """Broadcast to (B, B), both would be told to say the mean to everyone."""
    alpha = torch.linspace(0, 0.5, 11)
    zero = torch.zeros(11)
    knows = igd.critic_loss(alpha, alpha, zero)
    constant = igd.critic_loss(torch.full((11,), 0.25), alpha, zero)

    assert knows == 0
    assert constant.item() == pytest.approx(0.025)  # the variance of alpha

    answers = torch.full((11,), 0.25, requires_grad=True)  # the mean
    igd.critic_loss(answers, alpha, zero).backward()
    expected = 2 * (0.25 - alpha) / 11  # each is told of its own alpha
    torch.testing.assert_close(answers.grad, expected)
    broadcast = torch.full((11,), 0.25, requires_grad=True)
    (broadcast - alpha[:, None]).square().mean().backward()
    assert broadcast.grad.abs().max() < 1e-8  # the bug has nothing left to tell


def test_fooling_costs_the_squared_answer():
    assert igd.fooling_loss(torch.tensor([0.0, 0.0])) == 0
    assert igd.fooling_loss(torch.tensor([0.3, -0.1])).item() == pytest.approx(0.05)


def test_the_total_weighs_its_terms_as_eqs_6_7_and_6_11():
    config = replace(CONFIG, lambda_1=100.0, lambda_2=10.0, lambda_3=0.5)
    terms = {"gac": torch.tensor(1), "rec": torch.tensor(2), "inter": torch.tensor(3)}

    assert igd.total_loss(terms, config) == 1 + 10 * (2 + 0.5 * 3)  # no critic's share
    assert igd.total_loss({"rec": torch.tensor(2)}, config) == 20
    thesis = igd.total_loss(terms, CONFIG)
    assert thesis.item() == pytest.approx(1 + 2 + 0.1 * 3)


# --- Reconstruction, Eqs. (6.12) and (6.29) ------------------------------------------


def pair(num_channels=1, size=32):
    generator = torch.Generator().manual_seed(0)
    shape = (3, num_channels, size, size)
    x = torch.rand(shape, generator=generator)
    return x, (x + 0.3 * torch.randn(shape, generator=generator)).clamp(0, 1)


def constant_similarity(a, b):
    """Closed form of MS-SSIM at 32 px: luminance of the coarsest of four scales."""
    luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    return luminance ** (0.2363 / 0.8668)


@pytest.mark.parametrize("rho", [0.0, 0.15, 1.0])
def test_constant_images_cost_what_one_can_calculate(rho):
    a, b = 0.2, 0.7
    x, y = (torch.full((1, 3, 32, 32), value) for value in (a, b))
    config = replace(CONFIG, rho=rho)

    expected = rho * 0.5 + (1 - rho) * (1 - constant_similarity(a, b))
    loss = igd.reconstruction_loss(x, y, config)
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_loss_is_the_weighted_sum_of_mae_and_ms_ssim(num_channels):
    x, y = pair(num_channels)
    loss = igd.reconstruction_loss(x, y, CONFIG)

    absolute = np.abs(x.numpy() - y.numpy()).mean(axis=(1, 2, 3))
    similarity = ms_ssim(x, y, scales_of(32)).numpy()
    expected = 0.15 * absolute + 0.85 * (1 - similarity)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_perfect_reconstructions_cost_nothing():
    x, _ = pair(3)
    for config in (CONFIG, replace(CONFIG, reconstruction="mse")):
        assert igd.reconstruction_loss(x, x, config).abs().max() < 1e-6
    assert igd.reconstruction_map(x, x).abs().max() < 1e-6


def test_errors_of_opposite_sign_do_not_cancel():
    """The authors' local score took the signed mean, 0 here."""
    x = torch.full((1, 1, 32, 32), 0.5)
    error = torch.full_like(x, 0.25)
    error[..., :16] = -0.25
    config = replace(CONFIG, rho=1.0)  # MAE alone

    assert (x - (x + error)).mean() == 0
    assert igd.reconstruction_loss(x, x + error, config).item() == pytest.approx(0.25)
    drawn = igd.reconstruction_map(x, x + error, rho=1.0)
    torch.testing.assert_close(drawn, torch.full_like(x, 0.25))


def test_the_sum_over_the_lattice_is_the_mean_times_its_pixels():
    x, y = pair(3)
    mean = igd.reconstruction_loss(x, y, CONFIG)
    total = igd.reconstruction_loss(x, y, replace(CONFIG, pixels="sum"))

    torch.testing.assert_close(total, 32 * 32 * mean)  # pixels; channels are averaged


def test_the_autoencoder_baseline_costs_the_mean_squared_error():
    x, y = pair(3)
    loss = igd.reconstruction_loss(x, y, replace(CONFIG, reconstruction="mse"))

    expected = ((x.numpy() - y.numpy()) ** 2).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_images_of_a_batch_do_not_meet():
    x, y = pair(3)
    for loss in (
        lambda x, y: igd.reconstruction_loss(x, y, CONFIG),
        igd.reconstruction_map,
    ):
        alone = torch.cat([loss(x[[i]], y[[i]]) for i in range(3)])
        torch.testing.assert_close(loss(x, y), alone)


def test_the_map_is_the_loss_of_every_pixel():
    x, y = pair(3)
    drawn = igd.reconstruction_map(x, y, rho=0.4)

    absolute = (x - y).abs().mean(dim=1)
    similarity = ms_ssim_map(x, y, scales_of(32))[:, 0]
    torch.testing.assert_close(drawn[:, 0], 0.4 * absolute + 0.6 * (1 - similarity))
    assert drawn.shape == (3, 1, 32, 32)


def test_the_map_is_higher_where_the_reconstruction_is_wrong():
    x, _ = pair()
    y = x.clone()
    y[..., 8:16, 16:24] = 1 - y[..., 8:16, 16:24]
    drawn = igd.reconstruction_map(x, y)[:, 0]

    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:16, 16:24] = True
    assert drawn[:, inside].min() > 2 * drawn[:, ~inside].mean()


def test_the_map_of_constant_images_is_constant_and_their_loss():
    x, y = (torch.full((1, 1, 32, 32), value) for value in (0.2, 0.7))
    drawn, loss = igd.reconstruction_map(x, y), igd.reconstruction_loss(x, y, CONFIG)

    torch.testing.assert_close(drawn, loss.expand_as(drawn), atol=1e-3, rtol=0)


def test_bfloat16_reconstructions_are_compared_in_float32():
    x, y = pair()
    loss = igd.reconstruction_loss(x, y.bfloat16(), CONFIG)

    assert loss.dtype == torch.float32
    expected = igd.reconstruction_loss(x, y.bfloat16().float(), CONFIG)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
