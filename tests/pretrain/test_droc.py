import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

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
from thesislib.pretrain import droc
from thesislib.pretrain.droc import DROC, DROCConfig
from thesislib.ranges import RangeError

TINY = DROCConfig(base_width=8, batch_size=8, num_steps=4, num_features=16)


def test_loss_is_contrast_across_views():
    z = unit_vectors(2, 4, 5)
    total = 0.0
    for i in range(4):
        others = [z[1, j] for j in range(4) if j != i]
        total += slow_contrastive_loss(z[0, i], z[1, i], others, 0.2)

    expected = pytest.approx(total / 4, rel=1e-5)
    assert droc.instance_loss(z, 0.2).item() == expected


def test_equal_features_cost_the_log_of_their_number():
    z = normalize(torch.ones(2, 5, 3), dim=-1)

    assert droc.instance_loss(z, 0.2).item() == pytest.approx(math.log(5), rel=1e-5)


def test_simclr_s_loss_has_more_to_repel():
    """Its sum holds ours, both ways, and what lies in the same view."""
    z = unit_vectors(2, 5, 8)
    both_ways = (droc.instance_loss(z, 0.2) + droc.instance_loss(z.flip(0), 0.2)) / 2
    assert both_ways < contrastive_loss(z, 0.2)

    one, other = z.flatten(0, 1), z.flip(0).flatten(0, 1)
    own = torch.block_diag(torch.ones(5, 5), torch.ones(5, 5)).bool()
    itself = torch.eye(10, dtype=torch.bool)
    across = (one @ other.T / 0.2).masked_fill(~own, -math.inf)
    along = (one @ one.T / 0.2).masked_fill(~own | itself, -math.inf)
    more = torch.cat([across, along], dim=1).logsumexp(dim=1) - across.logsumexp(dim=1)
    torch.testing.assert_close(contrastive_loss(z, 0.2), both_ways + more.mean())


def test_an_instance_is_an_image_in_a_class():
    which, classes = droc.draw_instances(5, 4, 20, seeded())

    pairs = set(zip(which.tolist(), classes.tolist(), strict=True))
    assert pairs == {(image, turn) for image in range(5) for turn in range(4)}


def test_batches_larger_than_the_set_hold_all_equally_often():
    which, classes = droc.draw_instances(2, 2, 10, seeded())

    counts = torch.bincount(which + 2 * classes)
    assert sorted(counts.tolist()) == [2, 2, 3, 3]


def test_views_are_turned_images(bank):
    config = replace(TINY, weak=STILL, batch_size=12)
    which, classes = droc.draw_instances(len(bank), 4, 12, seeded())
    views = droc.augmented_views(bank, config, seeded())

    assert views.shape == (2, 12, 3, 32, 32)
    for view in views:
        for image, turn, seen in zip(bank.take(which), classes, view, strict=True):
            expected = torch.rot90(image, int(turn), dims=(1, 2))
            torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)


def test_the_head_has_eight_hidden_layers_as_wide_as_the_encoder():
    model = model_of(DROCConfig(), DROC)
    linear = [m for m in model.head.modules() if isinstance(m, torch.nn.Linear)]

    assert [layer.in_features for layer in linear] == [512] * 9
    assert [layer.out_features for layer in linear] == [512] * 8 + [128]


def test_depth_and_width_of_the_head_are_settings():
    model = model_of(replace(TINY, num_hidden=2, hidden_width=24), DROC)
    linear = [m for m in model.head.modules() if isinstance(m, torch.nn.Linear)]

    assert [(m.in_features, m.out_features) for m in linear] == [
        (64, 24),
        (24, 24),
        (24, 16),
    ]


@pytest.mark.parametrize("strong", ["rotation", "medmix"])
@pytest.mark.parametrize("patch_size", [None, 16])
def test_gradients_reach_every_parameter(bank, make_loop, strong, patch_size):
    config = replace(TINY, num_steps=1, strong=strong, patch_size=patch_size)
    model = model_of(config, DROC)
    seen = sizes_seen(model)
    droc.pretrain(model, bank, config, make_loop("droc"))

    size = patch_size or 32
    assert seen == [(2 * 8, 3, size, size)]
    assert without_gradient(model) == []


def test_an_epoch_is_a_pass_over_the_augmented_set(bank, make_loop):
    config = replace(TINY, num_steps=None, epochs=1, batch_size=24)
    loop = make_loop("droc")
    droc.pretrain(model_of(config, DROC), bank, config, loop)

    assert len(loop.history) == 4 * 48 / 24


def test_a_short_run_tells_instances_apart(bank, make_loop):
    config = replace(TINY, batch_size=16, num_steps=80, lr=0.1, weak=COLOURS)
    loop = make_loop("droc")
    droc.pretrain(model_of(config, DROC), bank, config, loop)

    assert fall_of(loop, "con") > 0.5


def test_a_killed_run_resumes_to_the_same_weights(bank, tmp_path):
    assert same(*weights_killed_and_resumed(droc, DROC, TINY, bank, tmp_path))


def test_settings_out_of_range_are_refused():
    with pytest.raises(RangeError, match="batch_size is 1; it must be 2 or more"):
        DROCConfig(batch_size=1)
    with pytest.raises(RangeError, match="hidden_width is 0; it must be 1 or more"):
        DROCConfig(hidden_width=0)
