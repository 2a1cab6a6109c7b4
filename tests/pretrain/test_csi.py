import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from tests.pretrain.toy import (
    COLOURS,
    STILL,
    fall_of,
    model_of,
    same,
    seeded,
    sizes_seen,
    slow_contrastive_loss,
    unit_vectors,
    weights_killed_and_resumed,
    without_gradient,
)
from thesislib.nn.contrastive import contrastive_loss
from thesislib.pretrain import csi
from thesislib.pretrain.csi import CSI, CSIConfig
from thesislib.ranges import RangeError

TINY = CSIConfig(base_width=8, batch_size=4, num_steps=4, num_features=16)


def test_loss_is_tack_s_equation():
    """The same image under another shift is one of the others."""
    z = unit_vectors(2, 3, 2, 5)  # V, S, N, D
    total, each = 0.0, [(v, s, i) for v in range(2) for s in range(3) for i in range(2)]
    for v, s, i in each:
        others = [z[at] for at in each if at not in ((v, s, i), (1 - v, s, i))]
        total += slow_contrastive_loss(z[v, s, i], z[1 - v, s, i], others, 0.5)

    expected = pytest.approx(total / len(each), rel=1e-5)
    assert csi.shifted_contrastive_loss(z, 0.5).item() == expected


def test_equal_features_cost_the_log_of_all_shifted_views():
    z = normalize(torch.ones(2, 4, 3, 5), dim=-1)

    loss = csi.shifted_contrastive_loss(z, 0.5).item()
    assert loss == pytest.approx(math.log(2 * 4 * 3 - 1), rel=1e-5)


def test_one_shift_is_simclr():
    z = unit_vectors(2, 5, 8)

    torch.testing.assert_close(
        csi.shifted_contrastive_loss(z[:, None], 0.5), contrastive_loss(z, 0.5)
    )
    assert csi.shift_loss(torch.randn(2, 1, 5, 1)).item() == 0


def test_an_image_that_a_shift_leaves_alone_costs_at_least_log_2_more():
    """Two equal positives can't both be the likeliest: what repels them costs."""
    z = unit_vectors(2, 1, 4, 8)
    twice = z.expand(-1, 2, -1, -1)

    more = csi.shifted_contrastive_loss(twice, 0.5)
    assert more > csi.shifted_contrastive_loss(z, 0.5) + math.log(2)


def test_a_blind_classifier_costs_the_log_of_the_number_of_shifts():
    assert csi.shift_loss(torch.ones(2, 4, 3, 4)).item() == pytest.approx(math.log(4))


def test_shift_loss_is_the_cross_entropy_of_the_shift_s_axis():
    logits = torch.randn(2, 4, 3, 4, generator=seeded())
    shifts = torch.arange(4).repeat_interleave(3).repeat(2)

    torch.testing.assert_close(
        csi.shift_loss(logits), cross_entropy(logits.flatten(0, 2), shifts)
    )


def test_lambda_weighs_the_classifier():
    terms = {"con": torch.tensor(2.0), "shift": torch.tensor(3.0)}

    assert csi.total_loss(terms, TINY) == 5
    assert csi.total_loss(terms, replace(TINY, weight_shift=0.5)) == 3.5


def test_views_are_shifted_by_their_place():
    images = torch.rand(3, 3, 16, 16, generator=seeded())
    views = csi.shifted_views(images, replace(TINY, weak=STILL), seeded())

    assert views.shape == (2, 4, 3, 3, 16, 16)
    for view in views:
        for turns, turned in enumerate(view):
            expected = torch.rot90(images, turns, dims=(2, 3))
            torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


def test_flips_come_before_the_shift_and_are_each_view_s_own():
    images = torch.rand(8, 3, 16, 16, generator=seeded())
    config = replace(TINY, weak=replace(STILL, flip=0.5))
    views = csi.shifted_views(images, config, seeded())

    flipped = []
    for view in views:
        upright = torch.stack(
            [torch.rot90(turned, -k, dims=(2, 3)) for k, turned in enumerate(view)]
        )
        torch.testing.assert_close(  # the same in all shifts
            upright, upright[:1].expand_as(upright), atol=1e-5, rtol=0
        )
        away = (upright[0] - images).abs().amax(dim=(1, 2, 3)) > 1e-3
        expected = torch.where(away[:, None, None, None], images.flip(3), images)
        torch.testing.assert_close(upright[0], expected, atol=1e-5, rtol=0)
        flipped.append(away.tolist())
    assert flipped[0] != flipped[1]


@pytest.mark.parametrize("strong", ["rotation", "medmix", "gaussian-noise"])
@pytest.mark.parametrize("patch_size", [None, 16])
def test_gradients_reach_every_parameter(bank, make_loop, strong, patch_size):
    config = replace(TINY, num_steps=1, strong=strong, patch_size=patch_size)
    model = model_of(config, CSI)
    seen = sizes_seen(model)
    csi.pretrain(model, bank, config, make_loop("csi"))

    size = patch_size or 32
    assert seen == [(2 * 4 * 4, 3, size, size)]
    assert without_gradient(model) == ["head.first.bias"]  # batch norm takes it away


def test_the_shift_classifier_teaches_the_encoder(bank):
    model = model_of(TINY, CSI)
    views = csi.shifted_views(bank.sample(2, seeded()), TINY, seeded())
    _, logits, _ = model(views.flatten(0, 2))
    csi.shift_loss(logits.view(2, 4, 2, 4)).backward()

    missing = without_gradient(model)
    assert missing and all(name.startswith("head.") for name in missing)


def test_a_short_run_learns_both_terms(shaded_bank, make_loop):
    config = replace(TINY, batch_size=6, num_steps=50, lr=0.1, weak=COLOURS)
    loop = make_loop("csi")
    csi.pretrain(model_of(config, CSI), shaded_bank, config, loop)

    assert fall_of(loop, "con") > 0.5
    assert fall_of(loop, "shift") > 0.5


def test_a_killed_run_resumes_to_the_same_weights(bank, tmp_path):
    assert same(*weights_killed_and_resumed(csi, CSI, TINY, bank, tmp_path))


def test_settings_out_of_range_are_refused():
    with pytest.raises(RangeError, match="strong is 'blur'; allowed are rotation"):
        CSIConfig(strong="blur")
    with pytest.raises(RangeError, match=r"weight_shift is -1\.0; it must be 0"):
        CSIConfig(weight_shift=-1.0)
