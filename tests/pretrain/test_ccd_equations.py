"""Each equation of Section 4.2.1 in closed form or against a slow loop."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from thesislib.nn import pretext
from thesislib.pretrain import ccd, simclr
from thesislib.pretrain.ccd import CCD, CCDConfig

J, V, N, D = 3, 2, 5, 4
TAU = 0.2
LOSSES = (ccd.contrastive_distribution_loss, ccd.distribution_augmentation_loss)
TINY = CCDConfig(base_width=8, batch_size=8, num_steps=4, num_features=16)


@pytest.fixture
def z():
    return torch.randn(J, V, N, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def views(z):
    """Unit vectors of the two weak views, (J, N, D) each."""
    return normalize(z, dim=-1).unbind(dim=1)


def slow_contrastive_distribution_loss(z, z_prime):
    """Eq. (2) of the conference paper as printed: one anchor, one sum at a time."""
    total = 0.0
    for j in range(J):
        for n in range(N):
            positive = math.exp(z[j, n] @ z_prime[j, n] / TAU)
            negatives = sum(
                math.exp(z[j, n] @ z_prime[j, i] / TAU) for i in range(N) if i != n
            )
            total -= math.log(positive / (positive + negatives))
    return total / (J * N)


def slow_distribution_augmentation_loss(z, z_prime):
    """As the program: all other items of both views, whatever their augmentation."""
    items = [(j, n) for j in range(J) for n in range(N)]
    total = 0.0
    for b in items:
        positive = math.exp(z[b] @ z_prime[b] / TAU)
        others = sum(math.exp(z[b] @ z_prime[c] / TAU) for c in items)
        others += sum(math.exp(z[b] @ z[c] / TAU) for c in items if c != b)
        total -= math.log(positive / others)
    return total / len(items)


# --- Eq. (4.2) -------------------------------------------------------------------


def test_contrastive_distributions_equal_the_printed_sums(views):
    loss = ccd.contrastive_distribution_loss(*views, TAU).item()

    assert loss == pytest.approx(slow_contrastive_distribution_loss(*views), rel=1e-5)


def test_distribution_augmentation_equals_the_program_s_sums(views):
    loss = ccd.distribution_augmentation_loss(*views, TAU).item()

    assert loss == pytest.approx(slow_distribution_augmentation_loss(*views), rel=1e-5)


def test_five_equal_images_cost_the_log_of_five():
    z = normalize(torch.ones(J, 5, D), dim=-1)

    loss = ccd.contrastive_distribution_loss(z, z, TAU).item()
    assert loss == pytest.approx(math.log(5))


def test_equal_items_of_the_program_cost_the_log_of_all_others():
    z = normalize(torch.ones(J, 5, D), dim=-1)

    loss = ccd.distribution_augmentation_loss(z, z, TAU).item()
    assert loss == pytest.approx(math.log(2 * 5 * J - 1))


def test_the_thesis_s_negatives_without_their_index_would_teach_nothing(views):
    """Every anchor would cost log(M + 1), whatever its features."""
    positive = torch.einsum("jnd,jnd->jn", *views) / TAU
    printed = torch.stack([positive] * N).logsumexp(dim=0) - positive

    torch.testing.assert_close(printed, torch.full((J, N), math.log(N)))


def test_strong_augmentations_do_not_meet_in_the_denominator(views):
    z, z_prime = views

    apart = [
        ccd.contrastive_distribution_loss(z[[j]], z_prime[[j]], TAU) for j in range(J)
    ]
    together = ccd.contrastive_distribution_loss(z, z_prime, TAU)

    torch.testing.assert_close(together, sum(apart) / J)


def test_in_the_program_they_do(views):
    z, z_prime = views

    apart = [
        ccd.distribution_augmentation_loss(z[[j]], z_prime[[j]], TAU) for j in range(J)
    ]

    assert ccd.distribution_augmentation_loss(z, z_prime, TAU) > sum(apart) / J + 0.5


def test_moving_one_augmentation_s_features_leaves_the_others_loss_alone(z):
    z.requires_grad_()
    first, second = normalize(z, dim=-1).unbind(dim=1)
    ccd.contrastive_distribution_loss(first[:1], second[:1], TAU).backward()
    alone = z.grad[0].clone()
    z.grad = None
    first, second = normalize(z, dim=-1).unbind(dim=1)
    ccd.contrastive_distribution_loss(first, second, TAU).backward()

    torch.testing.assert_close(z.grad[0], alone / J)


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_images_and_of_augmentations_does_not_matter(views, loss):
    z, z_prime = views
    expected = loss(z, z_prime, TAU)
    images, augmentations = torch.randperm(N), torch.randperm(J)
    rotation = torch.linalg.qr(torch.randn(D, D)).Q

    torch.testing.assert_close(loss(z[:, images], z_prime[:, images], TAU), expected)
    torch.testing.assert_close(
        loss(z[augmentations], z_prime[augmentations], TAU), expected
    )
    torch.testing.assert_close(loss(z @ rotation, z_prime @ rotation, TAU), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_image_alone_with_its_views_alike_and_the_others_far_costs_nothing(loss):
    z = torch.eye(J * N).view(J, N, J * N)

    assert loss(z, z, 0.01).item() == pytest.approx(0, abs=1e-6)
    assert loss(z, z.roll(1, dims=1), 0.01).item() > 50


def test_anchors_of_both_views_cost_the_mean_of_either(z):
    config = CCDConfig(anchors="both")
    first = replace(config, anchors="first")

    forth, back = (ccd.contrastive_term(view, first) for view in (z, z.flip(1)))
    assert forth != back
    torch.testing.assert_close(ccd.contrastive_term(z, config), (forth + back) / 2)
    torch.testing.assert_close(
        ccd.contrastive_term(z, config), ccd.contrastive_term(z.flip(1), config)
    )


def test_the_program_with_anchors_of_both_views_is_simclr_over_all_items(z):
    config = CCDConfig(negatives="all", anchors="both", temperature=TAU)
    items = normalize(z, dim=-1).transpose(0, 1).flatten(1, 2)  # (V, J N, D)

    torch.testing.assert_close(
        ccd.contrastive_term(z, config), simclr.contrastive_loss(items, TAU)
    )


def test_length_of_features_does_not_matter(z):
    scaled = z * torch.rand(J, V, N, 1).add(0.1)

    torch.testing.assert_close(
        ccd.contrastive_term(scaled, CCDConfig()), ccd.contrastive_term(z, CCDConfig())
    )


# --- Eqs. (4.3) and (4.4) --------------------------------------------------------


def test_blind_classifiers_cost_the_log_of_their_classes():
    cla = pretext.augmentation_loss(torch.zeros(J, V, N, J))
    pos = pretext.position_loss(torch.zeros(6, 8), torch.arange(6))

    assert cla.item() == pytest.approx(math.log(J))
    assert pos.item() == pytest.approx(math.log(8))


def test_class_term_is_cross_entropy_with_the_label_of_the_row():
    logits = torch.randn(J, V, N, J)
    labels = torch.arange(J).repeat_interleave(V * N)

    torch.testing.assert_close(
        pretext.augmentation_loss(logits), cross_entropy(logits.view(-1, J), labels)
    )


def test_class_term_does_not_mind_the_order_of_augmentations_with_their_labels():
    logits = torch.randn(J, V, N, J)
    order = torch.randperm(J)

    torch.testing.assert_close(
        pretext.augmentation_loss(logits[order][..., order]),
        pretext.augmentation_loss(logits),
    )


@pytest.mark.parametrize("classify", ["z", "backbone"])
def test_classifiers_learn_weight_and_bias(classify):
    """The program's normalise their weights out of the gradient's sight."""
    torch.manual_seed(0)
    model = CCD(replace(TINY, classify=classify))
    for classifier in (model.augmentation_classifier, model.position_classifier[-1]):
        seen = torch.randn(24, classifier.in_features)
        labels = torch.arange(24) % classifier.out_features
        before = cross_entropy(classifier(seen), labels)
        before.backward()

        assert classifier.weight.grad.abs().min() > 0
        assert classifier.bias.grad.abs().min() > 0
        with torch.no_grad():
            for parameter in classifier.parameters():
                parameter -= 0.01 * parameter.grad
        assert cross_entropy(classifier(seen), labels) < before


# --- Eq. (4.1) -------------------------------------------------------------------


def test_total_is_the_plain_sum():
    terms = {"con": torch.tensor(1.0), "cla": torch.tensor(2.0), "pos": torch.tensor(4)}

    assert ccd.total_loss(terms) == 7
