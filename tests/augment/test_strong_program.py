"""Strong augmentations of CCD's program: holes without a bias, kinds of noise."""

import pytest
import torch

from thesislib.augment.strong import HOLE
from thesislib.augment.strong_program import (
    NOISE_VARIANCE,
    PROGRAM,
    SALT_AND_PEPPER,
    noise_kinds,
)
from thesislib.errors import InputError

CLASSES = torch.arange(8) % 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(side: int = 32) -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(8, 3, side, side, generator=seeded())


def holes(num_images: int, num_holes: int, side: int = 20) -> torch.Tensor:
    """Masks of white images with so many holes, (B, side, side)."""
    images = torch.ones(num_images, 3, side, side)
    classes = torch.full((num_images,), num_holes)
    _, mask = PROGRAM["cutout-anywhere"].with_mask(images, classes, seeded())
    return mask[:, 0]


@pytest.mark.parametrize("name", PROGRAM)
def test_class_zero_is_the_image_and_the_others_are_not(name):
    images = noise()

    result = PROGRAM[name](images, CLASSES, seeded())

    same = (result == images).flatten(1).all(dim=1)
    assert torch.equal(same, CLASSES == 0)
    assert result.min() >= 0 and result.max() <= 1
    assert result.shape == images.shape and result.dtype == torch.float32


@pytest.mark.parametrize("name", PROGRAM)
def test_one_seed_one_result_also_within_half_precision(name):
    first = PROGRAM[name](noise(), CLASSES, seeded(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = PROGRAM[name](noise(), CLASSES, seeded(2))

    assert torch.equal(first, again)


@pytest.mark.parametrize("name", PROGRAM)
def test_rounds_of_images_are_their_repetition(name):
    rounds = PROGRAM[name](noise()[:4], CLASSES, seeded())

    repeated = noise()[:4].repeat(2, 1, 1, 1)
    assert torch.equal(rounds, PROGRAM[name](repeated, CLASSES, seeded()))


@pytest.mark.parametrize("name", PROGRAM)
def test_classes_outside_are_refused(name):
    with pytest.raises(InputError, match=r"classes must lie in 0\.\.3, got 1\.\.4"):
        PROGRAM[name](noise(), CLASSES + 1, seeded())


def test_holes_are_black_and_nothing_else_changes():
    images = noise()

    result, mask = PROGRAM["cutout-anywhere"].with_mask(images, CLASSES, seeded())

    assert torch.equal(result, torch.where(mask, 0.0, images))
    assert torch.equal(mask.flatten(1).any(dim=1), CLASSES > 0)


def test_a_hole_away_from_the_borders_is_a_square_of_the_declared_side():
    side = 5  # a fifth of 20 px, made odd
    assert round(HOLE * 20) == 4
    rows, columns = (holes(200, 1).any(dim=dim) for dim in (2, 1))
    inner = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])

    assert inner.sum() > 50
    assert (rows[inner].sum(dim=1) == side).all()
    assert (columns[inner].sum(dim=1) == side).all()
    assert (holes(200, 1)[inner].flatten(1).sum(dim=1) == side**2).all()


def test_holes_reach_every_border_as_often_and_are_symmetric():
    """The program's stop short of the right and the lower border."""
    share = holes(20_000, 1).float().mean(dim=0)  # how often a pixel is black

    torch.testing.assert_close(share, share.flip(0), atol=0.01, rtol=0)
    torch.testing.assert_close(share, share.flip(1), atol=0.01, rtol=0)
    torch.testing.assert_close(share, share.mT, atol=0.01, rtol=0)
    corner, middle = (3 / 20) ** 2, (5 / 20) ** 2  # middles that reach a pixel
    assert share[-1, -1].item() == pytest.approx(corner, abs=0.005)
    assert share[10, 10].item() == pytest.approx(middle, abs=0.01)


def test_holes_fall_independently():
    once, thrice = (holes(20_000, number)[:, 10, 10] for number in (1, 3))

    expected = 1 - (1 - once.float().mean()) ** 3
    assert thrice.float().mean().item() == pytest.approx(expected.item(), abs=0.01)


def test_kinds_of_noise_have_the_strength_declared():
    images = torch.full((4, 3, 64, 64), 0.5)
    images[:, 0] += 0.01  # not grey, so that channels have noise of their own

    noisy = noise_kinds(images, torch.arange(4), seeded())
    _, gaussian, speckle, pepper = (noisy - images).flatten(1)

    clamped = 0.94  # of the deviation is left where values end at 0 and 1
    deviation = NOISE_VARIANCE**0.5
    assert gaussian.std().item() == pytest.approx(clamped * deviation, rel=0.05)
    assert speckle.std().item() == pytest.approx(0.5 * deviation, rel=0.05)
    assert (pepper != 0).float().mean().item() == pytest.approx(
        SALT_AND_PEPPER, rel=0.1
    )
    black, white = ((noisy[3] == value).sum().item() for value in (0, 1))
    assert black == pytest.approx(white, rel=0.2)
    assert black + white == (pepper != 0).sum()


def test_speckle_leaves_black_black():
    black = torch.zeros(1, 3, 8, 8)

    assert torch.equal(noise_kinds(black, torch.tensor([2]), seeded()), black)


def test_noise_on_grey_images_is_grey():
    images = noise()[:, :1].expand(-1, 3, -1, -1).contiguous()

    noisy = noise_kinds(images, CLASSES, seeded())

    assert torch.equal(noisy[:, 0], noisy[:, 2])
