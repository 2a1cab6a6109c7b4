"""Patches of images and back, against explicit loops."""

import pytest
import torch

from thesislib.errors import InputError
from thesislib.nn import patches


def images_of(size, num_images=2, num_channels=3):
    """Every pixel of every channel of every image has a number of its own."""
    count = num_images * num_channels * size * size
    return torch.arange(count, dtype=torch.float32).view(
        num_images, num_channels, size, size
    )


@pytest.mark.parametrize(("size", "patch", "stride"), [(8, 4, 2), (9, 3, 3), (7, 7, 1)])
def test_the_grid_is_row_by_row(size, patch, stride):
    images = images_of(size)
    starts = range(0, size - patch + 1, stride)
    slow = [
        images[:, :, row : row + patch, column : column + patch]
        for row in starts
        for column in starts
    ]

    cut = patches.grid(images, patch, stride)
    torch.testing.assert_close(cut, torch.stack(slow, dim=1), rtol=0, atol=0)


def test_images_of_256_pixels_have_the_225_patches_of_the_authors_program():
    assert patches.grid(torch.zeros(1, 1, 256, 256), 32, 16).shape[1] == 225


@pytest.mark.parametrize(("size", "patch", "stride"), [(8, 4, 2), (9, 3, 3), (6, 4, 1)])
def test_assembling_the_grid_gives_the_images_back(size, patch, stride):
    images = images_of(size)
    cut = patches.grid(images, patch, stride)

    torch.testing.assert_close(patches.assemble(cut, size, stride), images)


def test_where_patches_overlap_the_mean_counts():
    images = torch.zeros(1, 1, 6, 6)
    maps = patches.grid(images, 4, 2)  # two rows of two patches
    maps = maps + torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1, 1)

    assembled = patches.assemble(maps, 6, 2)[0, 0]
    corners = [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]  # each holds for 2 x 2 pixels
    expected = torch.tensor(corners).repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(assembled, expected)


def test_random_patches_are_windows_of_their_own_image():
    images = images_of(6, num_images=50)
    cut = patches.random_patches(images, 4, torch.Generator().manual_seed(0))

    assert cut.shape == (50, 3, 4, 4)
    for image, patch in zip(images, cut, strict=True):
        number = int(patch[0, 0, 0] - image[0, 0, 0])
        row, column = divmod(number, 6)
        expected = image[:, row : row + 4, column : column + 4]
        torch.testing.assert_close(patch, expected, rtol=0, atol=0)


def test_random_places_are_uniform_and_rows_and_columns_independent():
    images = images_of(6, num_images=1, num_channels=1).expand(9_000, -1, -1, -1)
    cut = patches.random_patches(images, 4, torch.Generator().manual_seed(0))
    places = cut[:, 0, 0, 0].long()
    counts = torch.bincount(places // 6 * 3 + places % 6, minlength=9)

    assert counts.sum() == 9_000 and len(counts) == 9
    chi_squared = ((counts - 1_000).square() / 1_000).sum().item()
    assert chi_squared < 26.1  # 99.9 % of its 8 degrees of freedom


def test_random_patches_follow_their_generator():
    images = images_of(9)
    draws = [
        patches.random_patches(images, 3, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]

    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert not torch.equal(draws[0], draws[2])


def test_a_patch_as_large_as_the_image_is_the_image():
    images = images_of(5)

    drawn = patches.random_patches(images, 5, torch.Generator())
    torch.testing.assert_close(drawn, images, rtol=0, atol=0)


def test_without_a_size_the_images_stay_and_nothing_is_drawn():
    images, generator = images_of(5), torch.Generator().manual_seed(0)
    before = generator.get_state()

    assert patches.random_patches(images, None, generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("patch", "stride"), [(9, 1), (4, 3), (4, 0), (0, 2), (-2, 2), (4, -2)]
)
def test_grids_that_do_not_fit_are_refused(patch, stride):
    named = f"patch_size is {patch} and stride {stride} pixels, but images have 8"
    with pytest.raises(InputError, match=named):
        patches.grid(images_of(8), patch, stride)


@pytest.mark.parametrize("patch", [0, 9])
def test_random_patches_that_do_not_fit_are_refused(patch):
    with pytest.raises(InputError, match=f"patch_size is {patch}; images have 8 pix"):
        patches.random_patches(images_of(8), patch, torch.Generator())
