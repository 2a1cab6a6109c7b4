"""Strong augmentations of Figure 5.7: exact inverses, true classes."""

import pytest
import torch
from scipy import ndimage

from thesislib.augment.strong import (
    NOISE_SIGMA,
    STRONG,
    cutmix,
    cutout,
    gaussian_noise,
    medmix_with,
    permutation,
    rotation,
)
from thesislib.errors import InputError

CLASSES = torch.arange(8) % 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(side: int = 32) -> torch.Tensor:
    return 0.2 + 0.8 * torch.rand(8, 3, side, side, generator=seeded())


@pytest.mark.parametrize("name", STRONG)
def test_every_augmentation_keeps_shape_type_and_range(name):
    images = torch.rand(8, 3, 32, 32, generator=seeded())

    result = STRONG[name](images, CLASSES, seeded())

    assert result.shape == images.shape and result.dtype == torch.float32
    assert result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize("name", STRONG)
def test_class_zero_is_the_image_and_the_others_are_not(name):
    images = noise()

    result = STRONG[name](images, CLASSES, seeded())

    same = (result == images).flatten(1).all(dim=1)
    assert torch.equal(same, CLASSES == 0)


@pytest.mark.parametrize("name", STRONG)
def test_one_seed_one_result(name):
    first, again = (STRONG[name](noise(), CLASSES, seeded(2)) for _ in range(2))

    assert torch.equal(first, again)


@pytest.mark.parametrize("name", STRONG)
def test_half_precision_around_it_changes_nothing(name):
    plain = STRONG[name](noise(), CLASSES, seeded())

    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = STRONG[name](noise(), CLASSES, seeded())

    assert torch.equal(plain, within)


@pytest.mark.parametrize("name", STRONG)
def test_classes_outside_are_refused(name):
    with pytest.raises(InputError, match=r"classes must lie in 0\.\.3, got 0\.\.4"):
        STRONG[name](noise(), CLASSES + (CLASSES == 3).long(), seeded())


@pytest.mark.parametrize("name", STRONG)
def test_constant_images_stay_finite(name):
    for value in (0.0, 0.5, 1.0):
        images = torch.full((8, 3, 32, 32), value)
        assert STRONG[name](images, CLASSES, seeded()).isfinite().all()


@pytest.mark.parametrize("name", STRONG)
def test_rounds_of_images_are_their_repetition(name):
    rounds, mask = STRONG[name].with_mask(noise()[:4], CLASSES, seeded())

    repeated = noise()[:4].repeat(2, 1, 1, 1)
    expected, same_mask = STRONG[name].with_mask(repeated, CLASSES, seeded())
    assert torch.equal(rounds, expected)
    assert mask is same_mask is None or torch.equal(mask, same_mask)


@pytest.mark.parametrize("name", STRONG)
def test_the_mask_covers_all_that_was_pasted(name):
    images = noise()

    result, mask = STRONG[name].with_mask(images, CLASSES, seeded())

    assert torch.equal(result, STRONG[name](images, CLASSES, seeded()))
    if name in ("rotation", "permutation", "gaussian-noise"):
        assert mask is None
    else:
        assert not ((result != images) & ~mask).any()


def test_rotation_is_rot90():
    images = noise()

    turned = rotation(images, CLASSES, seeded())

    for image, result, k in zip(images, turned, CLASSES.tolist(), strict=True):
        assert torch.equal(result, image.rot90(k, dims=(1, 2)))


def test_rotation_back_is_the_image():
    turned = rotation(noise(), CLASSES, seeded())

    assert torch.equal(rotation(turned, (4 - CLASSES) % 4, seeded()), noise())


def test_permutation_swaps_the_halves_its_class_names():
    image = torch.arange(4.0).view(1, 1, 2, 2).expand(4, 3, 2, 2) / 4

    swapped = permutation(image.contiguous(), torch.arange(4), seeded())[:, 0] * 4

    quarters = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]
    assert swapped.flatten(1).tolist() == quarters


def test_permutation_twice_is_the_image():
    once = permutation(noise(), CLASSES, seeded())

    assert torch.equal(permutation(once, CLASSES, seeded()), noise())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_cutout_leaves_as_many_holes_as_the_class_says(value):
    images = torch.full((8, 3, 64, 64), value)

    change = (cutout(images, CLASSES, seeded()) - images).abs().mean(dim=1)

    for picture, count in zip(change, CLASSES.tolist(), strict=True):
        components, found = ndimage.label(picture > 0, structure=torch.ones(3, 3))
        assert found == count
        for hole in range(1, found + 1):
            assert picture[torch.from_numpy(components == hole)].mean() >= 0.05


def test_noise_classes_have_the_deviations_declared():
    images = torch.full((8, 3, 64, 64), 0.5)
    images[:, 0] += 0.01  # not grey, so that channels have noise of their own

    noisy = gaussian_noise(images, CLASSES, seeded())

    expected = torch.tensor(NOISE_SIGMA)[CLASSES]
    torch.testing.assert_close(
        (noisy - images).flatten(1).std(dim=1), expected, rtol=0.05, atol=1e-6
    )


def test_noise_on_grey_images_is_grey():
    images = noise()[:, :1].expand(-1, 3, -1, -1).contiguous()

    noisy = gaussian_noise(images, CLASSES, seeded())

    assert torch.equal(noisy[:, 0], noisy[:, 2])


def test_cutmix_pastes_rectangles_of_other_images():
    values = torch.linspace(0.2, 0.9, 8).view(8, 1, 1, 1)
    images = values.expand(8, 3, 64, 64).contiguous()

    mixed, mask = STRONG["cutmix"].with_mask(images, CLASSES, seeded())

    assert torch.equal(mixed, cutmix(images, CLASSES, seeded()))
    for picture, pasted, count in zip(mixed, mask[:, 0], CLASSES, strict=True):
        components, found = ndimage.label(pasted, structure=torch.ones(3, 3))
        assert found == count
        for place in ndimage.find_objects(components):
            patch = picture[:, place[0], place[1]]
            assert pasted[place].all() and patch.std() < 1e-5


@pytest.mark.parametrize("num_classes", [2, 3, 5, 7])
def test_medmix_with_other_numbers_of_classes(num_classes):
    augmentation = medmix_with(num_classes)
    classes = torch.arange(8) % num_classes

    _, mask = augmentation.with_mask(noise(64), classes, seeded())

    found = [ndimage.label(m[0], structure=torch.ones(3, 3))[1] for m in mask]
    assert found == classes.tolist() and augmentation.num_classes == num_classes


def test_shapes_that_cannot_be_augmented_are_refused():
    with pytest.raises(InputError, match="square images, got 4 x 6"):
        rotation(torch.rand(8, 3, 4, 6), CLASSES, seeded())
    with pytest.raises(InputError, match="even sides, got 5 x 6"):
        permutation(torch.rand(8, 3, 5, 6), CLASSES, seeded())
