import math
from dataclasses import replace

import pytest
import torch

from tests.pretrain.toy import (
    COLOURS,
    STILL,
    fall_of,
    model_of,
    same,
    seeded,
    sizes_seen,
    weights_killed_and_resumed,
    without_gradient,
)
from thesislib.pretrain import rotnet
from thesislib.pretrain.rotnet import RotNet, RotNetConfig
from thesislib.ranges import RangeError

TINY = RotNetConfig(base_width=8, batch_size=8, num_steps=4)
GEOMETRIC = replace(TINY, transformations="geometric", weak_views=False)


def images_of(num, size=16):
    return torch.rand(num, 3, size, size, generator=seeded())


def slow_transform(image, flip, rows, columns, turns):
    """Golan and El-Yaniv's transformation, a pixel at a time."""
    size = image.shape[-1]

    def mirrored(index):
        while not 0 <= index < size:
            index = -index if index < 0 else 2 * (size - 1) - index
        return index

    if flip:
        image = image.flip(2)
    moved = torch.empty_like(image)
    for row in range(size):
        for column in range(size):
            source = (
                mirrored(row - rows * size // 4),
                mirrored(column - columns * size // 4),
            )
            moved[:, row, column] = image[:, source[0], source[1]]
    return torch.rot90(moved, turns, dims=(1, 2))


@pytest.mark.parametrize("num_classes", [4, 72])
def test_a_blind_classifier_costs_the_log_of_the_number_of_transformations(num_classes):
    classes = rotnet.draw_classes(5, 4, num_classes, seeded())

    loss = rotnet.rotation_loss(torch.ones(5, 4, num_classes), classes)
    assert loss.item() == pytest.approx(math.log(num_classes))


def test_loss_is_gidaris_s_equation():
    logits = torch.randn(3, 4, 4, generator=seeded())
    classes = rotnet.draw_classes(3, 4, 4, seeded())

    total = 0.0
    for image in range(3):
        for copy in range(4):
            values = logits[image, copy].tolist()
            right = values[classes[image, copy]]
            total -= math.log(math.exp(right) / sum(map(math.exp, values))) / 4
    expected = pytest.approx(total / 3, rel=1e-5)
    assert rotnet.rotation_loss(logits, classes).item() == expected


def test_four_copies_are_the_four_rotations():
    images = images_of(3)
    config = replace(TINY, weak=STILL)
    turned, classes = rotnet.copies(images, config, seeded())

    assert classes.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 3
    for image, copies, turns in zip(images, turned, classes, strict=True):
        for copy, turn in zip(copies, turns.tolist(), strict=True):
            rotated = torch.rot90(image, turn, dims=(1, 2))
            torch.testing.assert_close(copy, rotated, atol=1e-5, rtol=0)


def test_copies_of_an_image_differ_and_all_transformations_come():
    classes = rotnet.draw_classes(500, 4, 72, seeded())

    assert all(len(set(row)) == 4 for row in classes.tolist())
    assert len(classes.unique()) == 72


def test_72_transformations_are_flip_shift_and_turn():
    images = images_of(1, size=8).expand(72, -1, -1, -1)
    result = rotnet.transform(images, torch.arange(72), seeded())

    offsets = (0, 1, -1)
    orders = [
        (flip, rows, columns, turns)
        for flip in (False, True)
        for rows in offsets
        for columns in offsets
        for turns in range(4)
    ]
    for image, order in zip(result, orders, strict=True):
        torch.testing.assert_close(image, slow_transform(images[0], *order))
    assert len(result.flatten(1).unique(dim=0)) == 72


def test_a_flip_before_the_turn_leaves_left_and_right_turns_apart():
    """Of an image whose flip is itself, copies tell their class exactly."""
    half = images_of(1)[:, :, :, :8]
    image = torch.cat([half, half.flip(3)], dim=3)
    config = replace(TINY, weak=replace(STILL, flip=0.5), batch_size=1)
    for seed in range(8):
        turned, classes = rotnet.copies(image, config, seeded(seed))
        for copy, turn in zip(turned[0], classes[0].tolist(), strict=True):
            rotated = torch.rot90(image[0], turn, dims=(1, 2))
            torch.testing.assert_close(copy, rotated, atol=1e-5, rtol=0)


def test_copies_are_turns_of_one_weak_view():
    images = images_of(3)
    turned, classes = rotnet.copies(images, TINY, seeded())
    for image, copies, turns in zip(images, turned, classes, strict=True):
        back = torch.stack(
            [
                torch.rot90(copy, -turn, dims=(1, 2))
                for copy, turn in zip(copies, turns.tolist(), strict=True)
            ]
        )
        assert torch.equal(back, back[:1].expand_as(back))
        assert (back[0] - image).abs().max() > 0.01

    plain, _ = rotnet.copies(images, replace(TINY, weak_views=False), seeded())
    alike = (plain == images[:, None]).flatten(2).all(dim=2)
    assert alike.sum(dim=1).tolist() == [1] * 3  # the one that is not turned


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (TINY, (32, 3, 32, 32)),
        (replace(TINY, patch_size=16), (32, 3, 16, 16)),
        (replace(GEOMETRIC, num_copies=2), (16, 3, 32, 32)),
    ],
    ids=["images", "patches", "geometric"],
)
def test_gradients_reach_every_parameter(bank, make_loop, config, shape):
    config = replace(config, num_steps=1)
    model = model_of(config, RotNet)
    seen = sizes_seen(model)
    rotnet.pretrain(model, bank, config, make_loop("rotnet"))

    assert seen == [shape]
    assert without_gradient(model) == []


def test_a_short_run_learns_which_way_is_up(shaded_bank, make_loop):
    config = replace(TINY, num_steps=50, lr=0.05, weak=COLOURS)
    loop = make_loop("rotnet")
    rotnet.pretrain(model_of(config, RotNet), shaded_bank, config, loop)

    assert loop.history[-1]["rot"] < 0.5 * math.log(4)
    assert loop.history[-1]["accuracy"] > 0.6
    assert fall_of(loop, "rot") > 0.5


def test_a_killed_run_resumes_to_the_same_weights(bank, tmp_path):
    assert same(*weights_killed_and_resumed(rotnet, RotNet, TINY, bank, tmp_path))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"transformations": "all"}, "transformations is 'all'; allowed are rotations"),
        ({"num_copies": 5}, r"num_copies is 5; it must lie in \[1, 4\]"),
        ({"transformations": "geometric"}, "weak_views is True, but weak views flip"),
    ],
)
def test_settings_out_of_range_are_refused(changes, says):
    with pytest.raises(RangeError, match=says):
        RotNetConfig(**changes)
