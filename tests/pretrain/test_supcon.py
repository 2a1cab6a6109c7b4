import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from tests.pretrain.toy import (
    COLOURS,
    fall_of,
    model_of,
    same,
    seeded,
    sizes_seen,
    unit_vectors,
    weights_killed_and_resumed,
    without_gradient,
)
from thesislib.nn.contrastive import contrastive_loss
from thesislib.pretrain import pmsacl, supcon
from thesislib.pretrain.supcon import SupCon, SupConConfig
from thesislib.ranges import RangeError

TINY = SupConConfig(base_width=8, batch_size=4, num_steps=4, num_features=16)
CLASSES = torch.tensor([0, 1, 0, 2, 1, 0, 2])
loss_of = supcon.supervised_contrastive_loss


def slow_loss(z, classes, tau):
    """Khosla et al. Eq. (2), one pair at a time, averaged over the samples."""
    size, total = len(z), 0.0
    for i in range(size):
        others = sum(math.exp(z[i] @ z[a] / tau) for a in range(size) if a != i)
        positive = [p for p in range(size) if p != i and classes[p] == classes[i]]
        for p in positive:
            total -= math.log(math.exp(z[i] @ z[p] / tau) / others) / len(positive)
    return total / size


def test_loss_is_khosla_s_equation():
    z = unit_vectors(7, 3)

    expected = pytest.approx(slow_loss(z, CLASSES, 0.3), rel=1e-5)
    assert loss_of(z, CLASSES, 0.3).item() == expected


def test_equal_features_cost_the_log_of_their_number():
    z = normalize(torch.ones(7, 3), dim=-1)

    assert loss_of(z, CLASSES, 0.1).item() == pytest.approx(math.log(6), rel=1e-5)


def test_two_classes_at_opposite_poles():
    n, tau = 5, 0.5
    pole = torch.tensor([1.0, 0.0])
    z = torch.cat([pole.expand(n, 2), -pole.expand(n, 2)])
    classes = torch.arange(2).repeat_interleave(n)

    expected = math.log(n - 1 + n * math.exp(-2 / tau))
    assert loss_of(z, classes, tau).item() == pytest.approx(expected, rel=1e-5)


def test_where_every_image_is_a_class_it_is_simclr_s_loss():
    z = unit_vectors(2, 5, 8)

    images = torch.arange(5).repeat(2)
    torch.testing.assert_close(
        loss_of(z.flatten(0, 1), images, 0.2), contrastive_loss(z, 0.2)
    )


def test_where_every_image_is_a_class_it_is_pmsacl_s_loss_with_one_temperature():
    f = unit_vectors(3, 2, 4, 8)  # A, V, N, D
    kappa = pmsacl.inverse_temperatures(3, 0.2, alpha=1)

    images = torch.arange(12).view(3, 1, 4).expand(-1, 2, -1).flatten()
    torch.testing.assert_close(
        loss_of(f.flatten(0, 2), images, 0.2), pmsacl.pmsacl_loss(f, kappa, 0.2)
    )


def test_samples_of_one_class_are_not_told_apart():
    """What the thesis holds against SupCon; SimCLR's loss does tell them apart."""
    z = unit_vectors(2, 6, 8)
    exchanged = z.clone()
    exchanged[1] = z[1, [1, 2, 0, 4, 5, 3]]  # second views, among the same three
    classes = torch.tensor([0, 0, 0, 1, 1, 1]).repeat(2)

    torch.testing.assert_close(
        loss_of(z.flatten(0, 1), classes, 0.2),
        loss_of(exchanged.flatten(0, 1), classes, 0.2),
    )
    assert abs(contrastive_loss(z, 0.2) - contrastive_loss(exchanged, 0.2)) > 0.01


def test_names_of_classes_and_a_turn_of_the_sphere_do_not_matter():
    z = unit_vectors(7, 5)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=seeded(1)))

    torch.testing.assert_close(
        loss_of(z @ turn, 7 - CLASSES, 0.2), loss_of(z, CLASSES, 0.2)
    )


@pytest.mark.parametrize("patch_size", [None, 16])
def test_gradients_reach_every_parameter(bank, make_loop, patch_size):
    config = replace(TINY, num_steps=1, patch_size=patch_size)
    model = model_of(config, SupCon)
    seen = sizes_seen(model)
    supcon.pretrain(model, bank, config, make_loop("supcon"))

    size = patch_size or 32
    assert seen == [(4 * 2 * 4, 3, size, size)]  # A, V, N
    assert without_gradient(model) == ["head.first.bias"]  # batch norm takes it away


def test_classes_are_the_pseudo_classes(bank, make_loop, monkeypatch):
    """As many samples of each, in the order of the views."""
    seen = []
    monkeypatch.setattr(
        supcon,
        "supervised_contrastive_loss",
        lambda z, classes, tau: seen.append(classes) or loss_of(z, classes, tau),
    )
    config = replace(TINY, num_steps=1, num_classes=3)
    supcon.pretrain(model_of(config, SupCon), bank, config, make_loop("supcon"))

    assert seen[0].tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_a_short_run_gathers_the_classes(shaded_bank, make_loop):
    config = replace(
        TINY,
        strong="rotation",
        weak=replace(COLOURS, flip=0.0),
        batch_size=6,
        num_steps=50,
        lr=0.1,
    )
    loop = make_loop("supcon")
    supcon.pretrain(model_of(config, SupCon), shaded_bank, config, loop)

    assert fall_of(loop, "con") > 0.7
    blind = math.log(4 * 2 * 6 - 1)  # all alike: nothing is learnt
    gathered = math.log(2 * 6 - 1)  # each class alike, and no other near it
    assert loop.history[-1]["con"] < (blind + gathered) / 2


def test_a_killed_run_resumes_to_the_same_weights(bank, tmp_path):
    assert same(*weights_killed_and_resumed(supcon, SupCon, TINY, bank, tmp_path))


def test_settings_out_of_range_are_refused():
    with pytest.raises(RangeError, match="num_classes is 3, but rotation has 4"):
        SupConConfig(strong="rotation", num_classes=3)
    with pytest.raises(RangeError, match="num_classes is 1; it must be 2 or more"):
        SupConConfig(num_classes=1)
