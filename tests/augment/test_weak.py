"""Weak views: identity at zero strength, agreement with torchvision, true labels."""

import math

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from thesislib.augment import weak
from thesislib.augment.colour import (
    LUMA,
    JitterConfig,
    apply_colour,
    colour_map,
    jitter_factors,
)
from thesislib.augment.draws import happens, uniform
from thesislib.augment.geometry import (
    blurred_rows,
    crop_boxes,
    mask_bounds,
    mix,
    mix_rows,
    resized_rows,
)
from thesislib.augment.medmix import medmix
from thesislib.augment.weak import WeakConfig, blur_radius, weak_view
from thesislib.errors import InputError

NOTHING = WeakConfig(
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip=0.0,
    jitter=JitterConfig(probability=0.0),
    grey=0.0,
    blur=0.0,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(num: int = 6, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Smooth colour images in [0.2, 0.8], so that single steps do not clamp."""
    coarse = torch.rand(num, 3, 6, 6, generator=seeded(seed))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return 0.2 + 0.6 * smooth


def unit_factors(num: int) -> dict[str, torch.Tensor]:
    one = torch.ones(num)
    names = ("brightness", "contrast", "saturation")
    return {**{name: one for name in names}, "hue": torch.zeros(num)}


def coloured(images: torch.Tensor, grey: torch.Tensor | None = None, **changed: float):
    factors = unit_factors(len(images))
    for name, value in changed.items():
        factors[name] = torch.full((len(images),), value)
    return apply_colour(images, *colour_map(grey=grey, **factors))


def test_a_view_of_zero_strength_is_the_image():
    images = torch.rand(3, 3, 28, 28, generator=seeded())

    assert torch.equal(weak_view(images, seeded(), NOTHING), images)


def test_blur_of_zero_width_is_the_image():
    images = torch.rand(3, 3, 28, 28, generator=seeded())
    still = WeakConfig(**{**vars(NOTHING), "blur": 1.0, "blur_sigma": (0.0, 0.0)})

    assert torch.equal(weak_view(images, seeded(), still), images)


def slowly(image, box, flipped, factors, grey, sigma):
    """One view step after step, unclamped until the end; sigma 0 is no blur."""
    side = image.shape[-1]
    view = tv.resized_crop(image, *box, size=[side, side])
    view = tv.hflip(view) if flipped else view
    if sigma > 0:
        view = tv.gaussian_blur(view, 2 * blur_radius(side, 0.1) + 1, sigma)
    view = view.double() * factors["brightness"]

    def luma():
        return torch.einsum("c,chw->hw", torch.tensor(LUMA).double(), view)

    view = view + (1 - factors["contrast"]) * (luma().mean() - view)
    view = view + (1 - factors["saturation"]) * (luma() - view)
    yiq = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
    angle = 2 * math.pi * factors["hue"]
    cos, sin = math.cos(angle), math.sin(angle)
    y, i, q = torch.einsum("kc,chw->khw", yiq.double(), view)
    turned = torch.stack([y, cos * i + sin * q, cos * q - sin * i])
    view = torch.einsum("kc,chw->khw", torch.linalg.inv(yiq.double()), turned)
    view = luma().expand(3, -1, -1) if grey else view
    return view.clamp(0, 1).float()


@pytest.mark.parametrize("side", [32, 50])
def test_a_view_is_its_steps_one_after_another(side):
    images, config, num = torch.rand(12, 3, side, side), WeakConfig(), 12
    drawn = seeded(5)  # in the order of `weak_view`
    boxes = crop_boxes(
        num, (side, side), config.crop_scale, config.crop_ratio, drawn
    ).tolist()
    flipped = happens((num,), config.flip, drawn).tolist()
    factors = jitter_factors((num,), config.jitter, drawn)
    grey = happens((num,), config.grey, drawn).tolist()
    blurred = happens((num,), config.blur, drawn)
    sigma = (uniform((num,), config.blur_sigma, drawn) * side / 256 * blurred).tolist()

    views = weak_view(images, seeded(5), config)

    assert 0 < sum(blurred) < num and 0 < sum(flipped) < num and 0 < sum(grey) < num
    for b in range(num):
        own = {name: values[b].item() for name, values in factors.items()}
        slow = slowly(images[b], boxes[b], flipped[b], own, grey[b], sigma[b])
        torch.testing.assert_close(views[b], slow, atol=2e-5, rtol=0)


def test_images_that_are_not_drawn_are_not_blurred():
    images = torch.rand(400, 3, 16, 16, generator=seeded())
    blurring = WeakConfig(**{**vars(NOTHING), "blur": 0.3, "blur_sigma": (16.0, 16.0)})

    changed = (weak_view(images, seeded(), blurring) != images).flatten(1)

    assert (changed.all(dim=1) | ~changed.any(dim=1)).all()  # else bit for bit
    share = changed.any(dim=1).float().mean()
    assert share == pytest.approx(0.3, abs=0.1)  # 4 sigma


def test_how_many_images_are_taken_at_a_time_does_not_matter(monkeypatch):
    images = pictures(7)
    whole = weak_view(images, seeded())
    monkeypatch.setattr(weak, "PORTION", 2 * images[0].numel())

    torch.testing.assert_close(weak_view(images, seeded()), whole)


def test_rows_are_mixed_as_sums_over_an_index():
    images = torch.rand(2, 3, 5, 4)
    rows, weights = torch.randint(5, (2, 6, 3)), torch.rand(2, 6, 3)

    ours = mix_rows(images, [(rows, weights)])

    for b in range(2):
        slow = sum(
            weights[b, :, k, None] * images[b, :, rows[b, :, k]] for k in range(3)
        )
        torch.testing.assert_close(ours[b], slow)


@pytest.mark.parametrize("shape", [(2, 3, 20, 36), (2, 3, 36, 20)])
def test_views_of_oblong_images_keep_their_shape(shape):
    images = torch.rand(shape, generator=seeded())

    assert weak_view(images, seeded()).shape == shape


@pytest.mark.parametrize("side", [28, 33, 64])
def test_views_keep_shape_type_and_range(side):
    images = torch.rand(9, 3, side, side, generator=seeded())

    views = weak_view(images, seeded())

    assert views.shape == images.shape and views.dtype == torch.float32
    assert views.min() >= 0 and views.max() <= 1


def test_one_seed_one_view():
    images = pictures()

    assert torch.equal(weak_view(images, seeded(3)), weak_view(images, seeded(3)))
    assert not torch.equal(weak_view(images, seeded(3)), weak_view(images, seeded(4)))


def test_half_precision_around_it_changes_nothing():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = weak_view(pictures(), seeded())

    assert torch.equal(within, weak_view(pictures(), seeded()))


def test_a_view_depends_on_no_other_image():
    images, others = pictures(seed=0), pictures(seed=1)
    others[2] = images[2]

    view, other = weak_view(images, seeded()), weak_view(others, seeded())

    torch.testing.assert_close(view[2], other[2])
    assert not torch.allclose(view[1], other[1], atol=1e-2)


def test_samples_get_parameters_of_their_own():
    same = pictures(1).expand(16, -1, -1, -1)

    views = weak_view(same, seeded())

    distances = torch.cdist(views.flatten(1), views.flatten(1))
    assert (distances + torch.eye(16) > 1e-3).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_stay_finite(value):
    views = weak_view(torch.full((8, 3, 28, 28), value), seeded())

    assert views.isfinite().all()


def test_strengths_happen_as_often_as_said():
    ramp = torch.linspace(0.2, 0.8, 16).expand(2000, 3, 16, 16)
    flipping = WeakConfig(**{**vars(NOTHING), "flip": 0.3})

    flipped = weak_view(ramp, seeded(), flipping)[:, 0, 0, 0] > 0.5

    assert flipped.float().mean() == pytest.approx(0.3, abs=0.05)  # 5 sigma


def test_crop_and_resize_agree_with_torchvision():
    images = torch.rand(3, 3, 40, 40, generator=seeded())
    boxes = torch.tensor([[0, 0, 40, 40], [3, 11, 25, 29], [20, 0, 7, 40]])
    top, left, height, width = boxes.unbind(dim=1)

    ours = mix(images, [resized_rows(top, height, 40)], [resized_rows(left, width, 40)])

    for view, image, box in zip(ours, images, boxes.tolist(), strict=True):
        theirs = tv.resized_crop(image, *box, size=[40, 40])
        torch.testing.assert_close(view, theirs)


def test_flip_mirrors_the_columns():
    images = torch.rand(2, 3, 12, 12, generator=seeded())
    zero, whole = torch.zeros(2).long(), torch.full((2,), 12)
    columns = resized_rows(zero, whole, 12, flipped=torch.tensor([True, False]))

    ours = mix(images, [], [columns])

    assert torch.equal(ours[0], tv.hflip(images[0])) and torch.equal(ours[1], images[1])


@pytest.mark.parametrize("side", [28, 64])
def test_blur_agrees_with_torchvision(side):
    images = torch.rand(3, 3, side, side, generator=seeded())
    sigma, radius = torch.tensor([0.1, 0.7, 2.0]), blur_radius(side, 0.1)
    blur = [blurred_rows(sigma, side, radius)]

    ours = mix(images, blur, blur)

    for view, image, width in zip(ours, images, sigma.tolist(), strict=True):
        theirs = tv.gaussian_blur(image, 2 * radius + 1, width)
        torch.testing.assert_close(view, theirs, atol=1e-5, rtol=0)


def test_blur_kernels_are_a_tenth_of_the_side_and_odd():
    widths = [2 * blur_radius(side, 0.1) + 1 for side in (28, 32, 64, 224, 256)]

    assert widths == [3, 3, 7, 23, 25]


def test_crops_are_distributed_as_torchvisions():
    scale, ratio, num = (0.2, 1.0), (3 / 4, 4 / 3), 4000
    ours = crop_boxes(num, (64, 64), scale, ratio, seeded()).float()
    blank = torch.zeros(3, 64, 64)
    torch.manual_seed(0)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(blank, scale, ratio) for _ in range(num)]
    ).float()

    # Means of 4,000 draws: standard error below 0.3 pixels, deviations alike.
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), atol=1.2, rtol=0)
    torch.testing.assert_close(ours.std(0), theirs.std(0), atol=1.0, rtol=0)
    assert (ours[:, :2] + ours[:, 2:] <= 64).all() and (ours[:, :2] >= 0).all()


def test_impossible_crops_fall_back_to_the_centre():
    boxes = crop_boxes(3, (20, 40), (1.0, 1.0), (1.0, 1.0), seeded())

    assert boxes.tolist() == [[0, 10, 20, 20]] * 3  # as torchvision


@pytest.mark.parametrize("factor", [0.6, 1.25])
def test_single_colour_steps_agree_with_torchvision(factor):
    images = pictures()

    for name in ("brightness", "contrast", "saturation"):
        theirs = getattr(tv, f"adjust_{name}")(images, factor)
        ours = coloured(images, **{name: factor}).clamp(0, 1)
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_greyscale_agrees_with_torchvision():
    images = pictures()

    ours = coloured(images, grey=torch.ones(len(images), dtype=torch.bool))

    theirs = tv.rgb_to_grayscale(images, num_output_channels=3)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_hue_turns_as_torchvisions_does():
    # In YIQ and HSV a third of a turn takes red to green to blue, up to brightness.
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1)

    assert coloured(red, hue=1 / 3).argmax() == tv.adjust_hue(red, 1 / 3).argmax() == 1
    assert coloured(red, hue=-1 / 3).argmax() == 2


def test_a_whole_turn_of_hue_is_the_image_and_luma_stays():
    images, luma = pictures(), torch.tensor([0.299, 0.587, 0.114])

    torch.testing.assert_close(coloured(images, hue=1.0), images, atol=1e-5, rtol=0)
    turned = torch.einsum("c,bchw->bhw", luma, coloured(images, hue=0.3))
    before = torch.einsum("c,bchw->bhw", luma, images)
    torch.testing.assert_close(turned, before, atol=1e-4, rtol=0)


def test_the_chain_is_its_steps_one_after_another():
    images, grey = pictures(), torch.zeros(6, dtype=torch.bool)
    chain = {"brightness": 0.7, "contrast": 1.3, "saturation": 0.5, "hue": 0.1}

    stepwise = images
    for name, value in chain.items():
        stepwise = coloured(stepwise, **{name: value})
    stepwise = coloured(stepwise, grey=~grey)

    together = coloured(images, grey=~grey, **chain)
    torch.testing.assert_close(together, stepwise, atol=1e-5, rtol=0)


def test_grey_images_stay_grey():
    images = torch.rand(32, 1, 16, 16, generator=seeded()).expand(-1, 3, -1, -1)

    views = weak_view(images, seeded())

    torch.testing.assert_close(views, views[:, :1].expand_as(views))


def test_jitter_factors_lie_in_their_bounds():
    factors = jitter_factors((1000,), JitterConfig(), seeded())

    assert factors["contrast"].min() >= 0.6 and factors["contrast"].max() <= 1.4
    assert factors["hue"].abs().max() <= 0.1
    assert (factors["hue"] == 0).float().mean() == pytest.approx(0.2, abs=0.06)


def test_mask_bounds_of_a_rectangle_and_of_nothing():
    mask = torch.zeros(2, 1, 9, 12, dtype=torch.bool)
    mask[0, 0, 2:5, 7:11] = True

    assert mask_bounds(mask).tolist() == [[2, 7, 5, 11], [9, 12, 0, 0]]


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 1.0)])
def test_crops_contain_what_they_have_to_keep(scale):
    corners = torch.rand(500, 2, 2, generator=seeded()).mul(40).long().sort(1).values
    keep = torch.cat([corners[:, 0], corners[:, 1] + 1], dim=1)  # inclusive to stop

    boxes = crop_boxes(500, (40, 40), scale, (3 / 4, 4 / 3), seeded(), keep)

    stop = boxes[:, :2] + boxes[:, 2:]
    assert (boxes[:, :2] <= keep[:, :2]).all() and (stop >= keep[:, 2:]).all()
    assert (boxes[:, :2] >= 0).all() and (stop <= 40).all()


def test_with_nothing_to_keep_the_crop_is_the_same():
    images = pictures()

    plain = weak_view(images, seeded())
    kept = weak_view(images, seeded(), keep=mask_bounds(torch.zeros(6, 1, 32, 32)))

    assert torch.equal(plain, kept)


@pytest.mark.parametrize("side", [32, 64])
def test_labels_stay_true_after_a_weak_view(side):
    """Each lesion lies in the view with at least as many pixels as it had."""
    images = pictures(60, side)
    counts = torch.arange(60) % 4
    _, mask = medmix(images, counts, seeded())
    geometry = WeakConfig(**{**vars(NOTHING), "crop_scale": (0.2, 1.0), "flip": 0.5})

    marks = mask.float().expand(-1, 3, -1, -1).contiguous()
    seen = weak_view(marks, seeded(), geometry, keep=mask_bounds(mask))[:, 0].sum(
        dim=(1, 2)
    )

    had = mask.sum(dim=(1, 2, 3))
    assert (seen >= 0.9 * had).all() and (seen[counts == 0] == 0).all()
    cropped = weak_view(marks, seeded(), geometry)[:, 0].sum(dim=(1, 2))
    assert (cropped < 0.5 * had).any()  # without `keep` lesions do get lost


def test_lesions_are_still_seen_after_colours_and_blur():
    """Measured on 64 px phantoms: under 1 % of lesions differ by less than 0.02."""
    images = pictures(200, 64)
    mixed, mask = medmix(images, torch.ones(200).long(), seeded())

    before = weak_view(images, seeded(1), keep=mask_bounds(mask))
    after = weak_view(mixed, seeded(1), keep=mask_bounds(mask))

    largest = (after - before).abs().mean(dim=1).flatten(1).amax(dim=1)
    assert (largest < 0.02).float().mean() <= 0.01


@pytest.mark.parametrize(
    "images",
    [torch.rand(3, 28, 28), torch.rand(2, 1, 28, 28), torch.zeros(2, 3, 8, 8).byte()],
)
def test_wrong_images_are_refused_in_one_sentence(images):
    with pytest.raises(InputError, match=r"float32 images of shape \(B, 3, H, W\)"):
        weak_view(images, seeded())
