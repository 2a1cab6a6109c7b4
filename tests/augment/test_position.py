"""Position pairs: the label is where the second patch lies."""

import pytest
import torch

from thesislib.augment.position import DIRECTIONS, position_pairs
from thesislib.errors import InputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(num: int, side: int) -> torch.Tensor:
    """Images whose pixels name their row and column, in units of 1 / side."""
    step = torch.arange(side) / side
    rows, columns = torch.meshgrid(step, step, indexing="ij")
    image = torch.stack([rows, columns, torch.zeros_like(rows)])
    return image.expand(num, -1, -1, -1)


@pytest.mark.parametrize(("side", "patch"), [(64, 16), (64, 32), (256, 32), (63, 32)])
def test_the_second_patch_lies_where_the_label_says(side, patch):
    first, second, labels = position_pairs(coordinates(500, side), patch, seeded())

    assert first.shape == second.shape == (500, 3, patch, patch)
    step = ((second - first)[:, :2, 0, 0] * side).round()
    signs = torch.tensor(DIRECTIONS)[labels]
    assert torch.equal(step.sign().long(), signs)
    moved = step.abs()[signs != 0]
    assert moved.min() >= 3 * patch // 4 and moved.max() < patch


@pytest.mark.parametrize(("side", "patch"), [(64, 32), (256, 32), (40, 8)])
def test_every_offset_comes_equally_often_and_stays_in_the_image(side, patch):
    """Clipped pairs would pile up at the border, where the label is not true."""
    first, second, _ = position_pairs(coordinates(8000, side), patch, seeded())
    corners = (torch.stack([first, second])[:, :, :2, 0, 0] * side).round().long()
    step = (corners[1] - corners[0]).abs()
    counts = step[step > 0].bincount()

    assert corners.min() == 0 and corners.max() == side - patch
    assert len(counts) == patch and counts[: 3 * patch // 4].sum() == 0
    counts = counts[3 * patch // 4 :].float()
    expected = counts.mean()  # of 12,000 moves over K / 4 offsets
    assert ((counts - expected).abs() < 5 * expected.sqrt()).all()


def test_patches_are_whole_pieces_of_the_image():
    first, _, _ = position_pairs(coordinates(50, 64), 16, seeded())

    ramp = torch.arange(16) / 64
    torch.testing.assert_close(
        first[:, 0] - first[:, 0, :1, :1], ramp[:, None].expand(50, 16, 16)
    )


def test_all_eight_directions_come_equally_often():
    _, _, labels = position_pairs(coordinates(8000, 31), 8, seeded())

    assert labels.bincount(minlength=8).sub(1000).abs().max() < 150  # 5 sigma


def test_first_patches_reach_every_border():
    first, second, _ = position_pairs(coordinates(3000, 40), 8, seeded())

    corners = (torch.cat([first, second])[:, :2, 0, 0] * 40).round()
    assert corners.amin() == 0 and corners.amax() == 32


def test_one_seed_one_draw():
    images = torch.rand(5, 3, 40, 40, generator=seeded())

    again = [position_pairs(images, 16, seeded(3)) for _ in range(2)]

    assert all(torch.equal(a, b) for a, b in zip(*again, strict=True))


@pytest.mark.parametrize("patch", [3, 33])
def test_patches_that_do_not_fit_are_refused(patch):
    named = rf"must lie in 4\.\.32 for pairs .* 64 x 64 pixels, got {patch}"
    with pytest.raises(InputError, match=named):
        position_pairs(torch.rand(2, 3, 64, 64), patch, seeded())
