"""Each equation of Section 5.3.1 in closed form or against a slow loop."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from thesislib.nn import pretext
from thesislib.pretrain import pmsacl

A, V, N, D = 3, 2, 4, 5


@pytest.fixture
def z():
    return torch.randn(A, V, N, D, generator=torch.Generator().manual_seed(0))


def slow_pmsacl_loss(f, tau, alpha, positive):
    """Eqs. (5.4), (5.5) and (5.7) as printed: one sample, one sum at a time."""
    samples = [(n, v, i) for n in range(A) for v in range(V) for i in range(N)]
    total = 0.0
    for n, v, i in samples:
        numerator = math.exp(f[n, v, i] @ f[n, 1 - v, i] / tau)
        denominator = 0.0
        for m, k, j in samples:
            if (m, k, j) == (n, v, i):
                continue
            kappa = 1 / (alpha * tau) if n == m else 1 / tau
            if positive == "probability" and (m, k, j) == (n, 1 - v, i):
                kappa = 1 / tau
            denominator += math.exp(kappa * (f[n, v, i] @ f[m, k, j]))
        total -= math.log(numerator / denominator)
    return total / len(samples)


def test_centres_are_the_means_of_their_classes(z):
    centres = pmsacl.class_centres(z)

    slow = [z[n].reshape(-1, D).sum(dim=0) / (V * N) for n in range(A)]
    torch.testing.assert_close(centres, torch.stack(slow))


def test_centring_costs_the_squared_distance():
    z = torch.zeros(A, V, N, D)
    centres = torch.full((A, D), 2.0)

    assert pmsacl.multi_centring_loss(z, centres).item() == 4 * D
    assert pmsacl.multi_centring_loss(z + 2, centres).item() == 0


def test_centring_uses_each_class_s_own_centre():
    centres = torch.arange(A * D, dtype=torch.float32).view(A, D)
    z = centres[:, None, None].expand(A, V, N, D)

    assert pmsacl.multi_centring_loss(z, centres).item() == 0
    assert pmsacl.multi_centring_loss(z, centres.flip(0)).item() > 0


def test_centres_are_frozen(z):
    centres = torch.randn(A, D, requires_grad=True)
    z.requires_grad_()
    f = pmsacl.centred_features(z, centres)
    (pmsacl.multi_centring_loss(z, centres) + f.sum()).backward()

    assert centres.grad is None
    assert z.grad is not None


def test_centred_features_are_unit_vectors_from_their_centre(z):
    centres = torch.randn(A, D)
    f = pmsacl.centred_features(z, centres)

    torch.testing.assert_close(f.norm(dim=-1), torch.ones(A, V, N))
    expected = (z[1, 0, 2] - centres[1]) / (z[1, 0, 2] - centres[1]).norm()
    torch.testing.assert_close(f[1, 0, 2], expected)


def test_kappa_repels_less_within_a_class():
    kappa = pmsacl.inverse_temperatures(3, temperature=0.2, alpha=10)

    torch.testing.assert_close(kappa.diagonal(), torch.full((3,), 0.5))
    torch.testing.assert_close(kappa[0, 1:], torch.full((2,), 5.0))


@pytest.mark.parametrize("positive", ["probability", "printed"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 10.0])
def test_contrastive_loss_equals_the_printed_sums(z, alpha, positive):
    f = normalize(z, dim=-1)
    kappa = pmsacl.inverse_temperatures(A, 0.2, alpha)
    loss = pmsacl.pmsacl_loss(f, kappa, 0.2, positive)

    expected = slow_pmsacl_loss(f, 0.2, alpha, positive)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_equal_features_cost_the_log_of_their_number():
    f = normalize(torch.ones(A, V, N, D), dim=-1)
    kappa = pmsacl.inverse_temperatures(A, 0.2, alpha=1)
    loss = pmsacl.pmsacl_loss(f, kappa, 0.2)

    assert loss.item() == pytest.approx(math.log(A * V * N - 1), rel=1e-5)


def test_a_probability_never_costs_less_than_nothing_but_the_printed_ratio_does():
    f = torch.zeros(1, V, 2, 2)
    f[:, :, 0, 0] = 1  # both views of an image agree, two images are opposite
    f[:, :, 1, 0] = -1
    kappa = pmsacl.inverse_temperatures(1, 0.2, alpha=10)

    assert pmsacl.pmsacl_loss(f, kappa, 0.2, "probability") >= 0
    assert pmsacl.pmsacl_loss(f, kappa, 0.2, "printed") < 0


def test_repulsion_within_a_class_falls_as_alpha_grows():
    gradients = []
    for alpha in (1.0, 2.0, 10.0):
        z = torch.randn(1, V, N, D, generator=torch.Generator().manual_seed(1))
        z.requires_grad_()
        f = normalize(z, dim=-1)
        kappa = pmsacl.inverse_temperatures(1, 0.2, alpha)
        loss = pmsacl.pmsacl_loss(f, kappa, 0.2)
        attraction = torch.einsum("avnd,avnd->", f[:, :1], f[:, 1:]) / 0.2 / N
        (loss + attraction).backward()  # what is left repels
        gradients.append(z.grad.norm().item())

    assert gradients[0] > gradients[1] > gradients[2]


def test_swapping_views_or_images_or_rotating_features_changes_nothing(z):
    f = normalize(z, dim=-1)
    kappa = pmsacl.inverse_temperatures(A, 0.2, 10)
    loss = pmsacl.pmsacl_loss(f, kappa, 0.2)
    rotation = torch.linalg.qr(torch.randn(D, D)).Q

    torch.testing.assert_close(loss, pmsacl.pmsacl_loss(f.flip(1), kappa, 0.2))
    torch.testing.assert_close(loss, pmsacl.pmsacl_loss(f.flip(2), kappa, 0.2))
    torch.testing.assert_close(loss, pmsacl.pmsacl_loss(f @ rotation, kappa, 0.2))


def test_blind_classifier_costs_the_log_of_the_classes():
    loss = pretext.augmentation_loss(torch.zeros(A, V, N, A))

    assert loss.item() == pytest.approx(math.log(A))


def test_augmentation_loss_expects_class_n_in_row_n():
    logits = 50 * torch.eye(A)[:, None, None].expand(A, V, N, A)

    assert pretext.augmentation_loss(logits).item() == pytest.approx(0, abs=1e-6)
    assert pretext.augmentation_loss(logits.flip(0)).item() > 10


def test_augmentation_loss_is_cross_entropy(z):
    logits = torch.randn(A, V, N, A)
    classes = torch.arange(A).repeat_interleave(V * N)
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, A), classes)

    torch.testing.assert_close(pretext.augmentation_loss(logits), expected)


def test_blind_position_classifier_costs_the_log_of_eight():
    loss = pretext.position_loss(torch.zeros(6, 8), torch.arange(6))

    assert loss.item() == pytest.approx(math.log(8))


def test_total_is_the_plain_sum_unless_weighted():
    terms = {name: torch.tensor(1.0) for name in ("ctr", "pmsacl", "aug", "pos")}

    assert pmsacl.total_loss(terms, pmsacl.PMSACLConfig()) == 4
    weighted = pmsacl.PMSACLConfig(weight_ctr=0.1, weight_pmsacl=0.3)
    assert pmsacl.total_loss(terms, weighted).item() == pytest.approx(2.4)
