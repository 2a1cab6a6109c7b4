"""Field of view: what is black outside is found, what is dark inside stays."""

import torch

from thesislib.augment.fov import field_of_view


def octagon(side: int) -> torch.Tensor:
    step = torch.arange(side) - (side - 1) / 2
    return step[:, None].abs() + step.abs() <= 0.7 * side


def test_full_frame_images_are_field_everywhere():
    assert field_of_view(0.2 + 0.8 * torch.rand(4, 3, 50, 50)).all()


def test_black_images_are_field_everywhere():
    assert field_of_view(torch.zeros(2, 3, 64, 64)).all()


def test_a_dark_image_with_one_bright_point_is_field_everywhere():
    images = torch.zeros(1, 3, 64, 64)
    images[0, :, 5, 5] = 1.0

    assert field_of_view(images).all()


def test_black_corners_lie_outside_and_nothing_else():
    shape = octagon(64)
    images = 0.5 * shape * torch.ones(1, 3, 64, 64)

    assert torch.equal(field_of_view(images)[0, 0], shape)


def test_the_corners_are_found_at_any_size_within_a_cell():
    for side in (28, 100, 256, 300):
        shape = octagon(side)
        field = field_of_view(0.5 * shape * torch.ones(1, 3, side, side))
        assert field.shape == (1, 1, side, side)
        cell = max(1, side // 64)
        wrong = (field[0, 0] != shape).float().mean()
        assert wrong <= 4 * cell / side  # rims of four corners


def test_a_dark_lumen_stays_in_the_field():
    images = 0.5 * octagon(64) * torch.ones(1, 3, 64, 64)
    images[:, :, 25:40, 25:40] = 0.0

    assert torch.equal(field_of_view(images)[0, 0], octagon(64))


def test_text_in_a_corner_adds_no_more_than_itself():
    images = 0.5 * octagon(64) * torch.ones(1, 3, 64, 64)
    images[:, :, 2:4, 2:8] = 1.0

    added = field_of_view(images)[0, 0] & ~octagon(64)

    assert added[2:4, 2:8].all() and added.sum() == 12


def test_images_of_a_batch_do_not_mix():
    images = torch.stack([torch.zeros(3, 64, 64), 0.5 * octagon(64).expand(3, -1, -1)])

    field = field_of_view(images)

    assert field[0].all() and torch.equal(field[1, 0], octagon(64))
