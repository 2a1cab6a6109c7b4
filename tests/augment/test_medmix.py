"""MedMix: as many lesions as the label says, apart, in the field, to be seen."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from thesislib.augment.fov import coarse_field, field_of_view
from thesislib.augment.layout import Field, place
from thesislib.augment.lesions import Lesions, pixels, sample
from thesislib.augment.medmix import CUTMIX, MedMixConfig, make_visible, medmix
from thesislib.errors import InputError

SIX = MedMixConfig(max_lesions=6)
EIGHT = torch.ones(3, 3)  # neighbourhood of a pixel


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(side: int, radius: float) -> torch.Tensor:
    step = torch.arange(side) - (side - 1) / 2
    return step[:, None].square() + step.square() <= radius**2


def batch_of(kind: str, num: int, side: int, seed: int) -> torch.Tensor:
    """Ordinary and adversarial batches."""
    generator = seeded(seed)
    noise = torch.rand(num, 3, side, side, generator=generator)
    flat = torch.ones(num, 3, side, side)
    coarse = torch.rand(num, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return {
        "noise": noise,
        "smooth": smooth,
        "black": 0.0 * flat,
        "grey": 0.5 * flat,
        "white": flat,
        "alike": smooth[:1].expand_as(smooth).contiguous(),
        "binary": (noise > 0.5).float(),
        "checks": ((torch.arange(side)[:, None] + torch.arange(side)) % 2) * flat,
        "tiny field": smooth.clamp(min=0.2) * disc(side, side / 10),
        "sliver": flat * 0.5 * (torch.arange(side) < 3),
        "point": flat * (torch.arange(side * side).view(side, side) == side),
    }[kind]


KINDS = (
    *("noise", "smooth", "black", "grey", "white", "alike", "binary", "checks"),
    *("tiny field", "sliver", "point"),
)


def check_lesions(images, counts, mixed, mask, visible):
    """All that MedMix promises of its result."""
    assert mixed.shape == images.shape and mixed.dtype == torch.float32
    assert mask.shape == (len(images), 1, *images.shape[2:])
    assert mixed.isfinite().all() and mixed.min() >= 0 and mixed.max() <= 1
    assert torch.equal(mixed.where(~mask, 0.0), images.where(~mask, 0.0))
    for image, result, lesions, count in zip(images, mixed, mask, counts, strict=True):
        components, found = ndimage.label(lesions[0], structure=EIGHT)
        assert found == count
        for lesion in range(1, found + 1):
            change = (result - image)[:, torch.from_numpy(components == lesion)]
            assert change.mean(dim=1).abs().mean() >= visible  # of the mean colour
            assert change.abs().mean() >= visible


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    side=st.sampled_from([28, 32, 45, 64, 96]),
    num=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    six=st.booleans(),
)
def test_each_image_has_as_many_visible_lesions_as_its_label(
    kind, side, num, seed, six
):
    config = SIX if six else MedMixConfig()
    images = batch_of(kind, num, side, seed)
    counts = torch.randint(config.max_lesions + 1, (num,), generator=seeded(seed))

    mixed, mask = medmix(images, counts, seeded(seed), config)

    check_lesions(images, counts, mixed, mask, config.visible)


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_are_seen_on_every_kind_of_image(kind):
    images = batch_of(kind, 16, 64, seed=0)
    counts = torch.full((16,), 3)

    mixed, mask = medmix(images, counts, seeded())

    check_lesions(images, counts, mixed, mask, 0.05)


@pytest.mark.parametrize("side", [256, 300, 512])
def test_large_images(side):
    images = batch_of("smooth", 2, side, seed=0)
    counts = torch.tensor([3, 6])

    mixed, mask = medmix(images, counts, seeded(), SIX)

    check_lesions(images, counts, mixed, mask, SIX.visible)


def test_large_lesions_shrink_until_all_have_room():
    images = batch_of("smooth", 12, 28, seed=0)
    counts = torch.full((12,), 6)
    large = replace(SIX, size=(0.4, 0.5))

    mixed, mask = medmix(images, counts, seeded(), large)

    check_lesions(images, counts, mixed, mask, large.visible)


def test_no_lesion_is_the_image_itself():
    images = batch_of("noise", 4, 32, seed=0)

    mixed, mask = medmix(images, torch.zeros(4).long(), seeded())

    assert torch.equal(mixed, images) and not mask.any()


def test_images_given_are_not_written_to():
    images = batch_of("smooth", 4, 32, seed=0)
    before = images.clone()

    medmix(images, torch.full((4,), 3), seeded())

    assert torch.equal(images, before)


def test_one_seed_one_result():
    images, counts = batch_of("smooth", 6, 48, seed=0), torch.arange(6) % 4

    first, again = (medmix(images, counts, seeded(5)) for _ in range(2))
    other = medmix(images, counts, seeded(6))

    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_rounds_of_images_are_their_repetition():
    # A field that is no whole image, and so crowded that lattices are needed, too.
    images = 0.2 + 0.8 * batch_of("noise", 4, 64, seed=0)
    images = images * disc(64, 24)
    counts, config = torch.arange(12) % 4, MedMixConfig(size=(0.3, 0.4))

    rounds = medmix(images, counts, seeded(), config)
    repeated = medmix(images.repeat(3, 1, 1, 1), counts, seeded(), config)

    assert torch.equal(rounds[0], repeated[0]) and torch.equal(rounds[1], repeated[1])


def test_where_lesions_lie_does_not_depend_on_other_images():
    images = batch_of("smooth", 6, 48, seed=0)
    others = batch_of("smooth", 6, 48, seed=1)
    counts = torch.full((6,), 2)

    # Full-frame images, so that the fields of view are equal.
    _, mask = medmix(0.2 + 0.8 * images, counts, seeded())
    _, other = medmix(0.2 + 0.8 * others, counts, seeded())

    assert torch.equal(mask, other)


def test_lesions_stay_inside_the_field_of_view():
    images = batch_of("smooth", 40, 64, seed=0).clamp(min=0.2) * disc(64, 26)

    _, mask = medmix(images, torch.full((40,), 3), seeded())

    assert not (mask & ~field_of_view(images)).any()


def test_a_field_with_room_for_small_lesions_holds_them_all():
    # A square of 14 pixels has room for three lesions of 4 pixels, not of 13.
    images = torch.zeros(50, 3, 64, 64)
    images[:, :, 20:34, 20:34] = 0.5

    _, mask = medmix(images, torch.full((50,), 3), seeded())

    assert not (mask & ~field_of_view(images)).any()


def test_tissue_comes_from_inside_other_images():
    # Each image has one value of its own: what is pasted tells where it came from.
    values = torch.linspace(0.2, 0.9, 8).view(8, 1, 1, 1)
    images = values.expand(8, 3, 64, 64) * disc(64, 30)

    mixed, mask = medmix(images, torch.full((8,), 3), seeded(), CUTMIX)

    for index in range(8):
        pasted = mixed[index][:, mask[index, 0]].unique()
        matches = torch.isclose(pasted[:, None], values.flatten(), atol=1e-5)
        assert matches.any(dim=1).all() and not matches[:, index].any()


def test_a_batch_of_one_cuts_from_its_own_image():
    images = batch_of("smooth", 1, 32, seed=0)

    mixed, mask = medmix(images, torch.tensor([2]), seeded())

    check_lesions(images, [2], mixed, mask, 0.05)


def test_own_tissue_is_used_as_often_as_said():
    values = torch.linspace(0.2, 0.9, 8).view(8, 1, 1, 1)
    images = values.expand(8, 3, 32, 32).repeat(250, 1, 1, 1)
    own = replace(CUTMIX, same_image=0.2)

    mixed, mask = medmix(images, torch.ones(2000).long(), seeded(), own)

    unchanged = ((mixed - images) * mask).abs().amax(dim=(1, 2, 3)) < 1e-5
    expected = 0.2 + 0.8 * 249 / 1999  # others of the same value
    assert unchanged.float().mean() == pytest.approx(expected, abs=0.05)


def test_an_undeformed_patch_is_a_piece_of_its_source():
    # A ramp in x in one channel and in y in another: each pasted pixel names the
    # place it came from, so that neighbours in the lesion are neighbours there.
    ramp = torch.linspace(0.2, 0.9, 64)
    images = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)] * 2)[:3]
    images = images.expand(4, 3, 64, 64).contiguous()

    mixed, mask = medmix(images, torch.ones(4).long(), seeded(), CUTMIX)

    for result, lesion in zip(mixed, mask[:, 0], strict=True):
        rows, columns = lesion.any(1).nonzero()[:, 0], lesion.any(0).nonzero()[:, 0]
        piece = result[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        step = ramp[1] - ramp[0]
        torch.testing.assert_close(
            piece[0].diff(dim=1),
            step.expand_as(piece[0].diff(dim=1)),
            rtol=1e-3,
            atol=1e-5,
        )
        torch.testing.assert_close(
            piece[1].diff(dim=0),
            step.expand_as(piece[1].diff(dim=0)),
            rtol=1e-3,
            atol=1e-5,
        )


ALONE = replace(CUTMIX, enforce=True, size=(0.3, 0.3), aspect=(1.0, 1.0))


@pytest.mark.parametrize(
    "only", ["fisheye", "wave", "noise"], ids=["fisheye", "wave", "noise"]
)
def test_each_deformation_changes_what_is_pasted(only):
    images = batch_of("smooth", 8, 64, seed=0)
    counts = torch.ones(8).long()
    plain, mask = medmix(images, counts, seeded(), replace(ALONE, enforce=False))

    deformed, same_mask = medmix(
        images, counts, seeded(), replace(ALONE, enforce=False, **{only: 1.0})
    )

    assert torch.equal(mask, same_mask)
    inside = (deformed - plain).abs().sum(dim=1, keepdim=True)[mask]
    assert (inside > 1e-4).float().mean() > 0.5


def test_fisheye_magnifies_the_middle():
    # On a ramp, r -> r^(1 + k) flattens the middle of the patch.
    ramp = torch.linspace(0.2, 0.9, 64).expand(2, 3, 64, 64)
    config = replace(
        ALONE, size=(0.4, 0.4), fisheye=1.0, fisheye_k=(0.6, 0.6), enforce=False
    )

    mixed, mask = medmix(ramp, torch.ones(2).long(), seeded(), config)

    lesion = mask[0, 0]
    rows, columns = lesion.any(1).nonzero()[:, 0], lesion.any(0).nonzero()[:, 0]
    line = mixed[0, 0, rows[len(rows) // 2], columns[0] : columns[-1] + 1].diff()
    middle = len(line) // 2
    assert line[middle] < 0.5 * line[1]


def test_one_deformation_at_least_is_enforced():
    # With all chances at zero, one of the four is still applied to each lesion.
    images = batch_of("noise", 64, 64, seed=0)
    counts = torch.ones(64).long()

    plain, mask = medmix(images, counts, seeded(), replace(ALONE, enforce=False))
    forced, _ = medmix(images, counts, seeded(), ALONE)

    change = ((forced - plain).abs() * mask).amax(dim=(1, 2, 3))
    assert (change > 1e-3).all()


def test_lesions_in_grey_images_are_grey():
    images = batch_of("smooth", 16, 64, seed=0)[:, :1].expand(-1, 3, -1, -1)

    mixed, _ = medmix(images.contiguous(), torch.full((16,), 3), seeded())

    torch.testing.assert_close(mixed, mixed[:, :1].expand_as(mixed))


def test_feathered_rims_are_softer_than_hard_ones():
    images = torch.full((8, 3, 256, 256), 0.3)
    images[1::2] = 0.8
    counts, plain = torch.ones(8).long(), replace(CUTMIX, visible=0.05, same_image=0.0)
    plain = replace(plain, size=(0.2, 0.2))

    def largest_step(ellipse):
        mixed, _ = medmix(images, counts, seeded(), replace(plain, ellipse=ellipse))
        change = (mixed - images).abs().mean(dim=1)
        return change.diff(dim=1).abs().amax(dim=(1, 2)) / change.amax(dim=(1, 2))

    assert (largest_step(0.0) > 0.99).all() and (largest_step(1.0) < 0.5).all()


def pixels_of(dense: torch.Tensor) -> tuple[Lesions, torch.Tensor]:
    """One lesion an image, as large as the image, and its pixels: (N, C, P, P)."""
    side = dense.shape[-1]
    boxes = torch.tensor([0, 0, side, side]).expand(len(dense), 1, 4)
    pixels = dense.transpose(0, 1).flatten(1)  # (C, M)
    return Lesions(boxes, torch.ones(len(dense)).long()), pixels


def opaque(pixels: torch.Tensor) -> torch.Tensor:
    return torch.ones(pixels.shape[1])


def test_a_visible_patch_is_left_as_it_is():
    lesions, patch = pixels_of(torch.full((1, 3, 4, 4), 0.2))

    shifted = make_visible(patch, 0 * patch, opaque(patch), lesions, 0.05, 0.5)

    assert torch.equal(shifted, patch)


def test_an_invisible_patch_moves_by_just_the_bound():
    lesions, same = pixels_of(torch.full((1, 3, 4, 4), 0.3))

    shifted = make_visible(same, same, opaque(same), lesions, 0.05, 0.0)

    torch.testing.assert_close(shifted - same, torch.full_like(same, 0.051))


def test_a_patch_of_the_same_texture_is_not_visible_enough():
    # Two pieces of one texture differ pixel by pixel, not to the eye.
    texture = torch.rand(2, 1, 3, 12, 12, generator=seeded())
    (lesions, patches), (_, covered) = (pixels_of(0.3 + 0.4 * x) for x in texture)

    shifted = make_visible(patches, covered, opaque(patches), lesions, 0.05, 0.5)

    assert (patches - covered).abs().mean() > 0.05
    bound = 0.05 + 0.5 * covered.std(dim=1, correction=0).mean()
    assert (shifted - covered).mean().abs() == pytest.approx(bound.item(), abs=2e-3)


@given(seed=st.integers(0, 2**31), visible=st.floats(0.01, 0.15))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_patches_are_made_visible_whatever_they_cover(seed, visible):
    generator = seeded(seed)
    power = torch.rand(2, 10, 1, 1, 1, generator=generator) * 8
    draw = torch.rand(2, 10, 3, 6, 6, generator=generator) ** power
    draw = torch.where(power > 4, 1 - draw, draw)
    (lesions, patches), (_, covered) = (pixels_of(x) for x in draw)
    alpha = torch.rand(360, generator=generator).clamp(min=0.7)

    shifted = make_visible(patches, covered, alpha, lesions, visible, texture=0.5)

    change = (alpha * (shifted - covered)).view(3, 10, 36).mean(dim=2)
    assert (change.abs().mean(dim=0) >= visible).all()
    assert shifted.min() >= 0 and shifted.max() <= 1


def test_pixels_of_lesions_are_those_of_their_boxes():
    boxes = torch.tensor([[[1, 2, 2, 3], [5, 5, 1, 1]], [[0, 4, 3, 2], [4, 0, 2, 2]]])
    images = torch.rand(2, 3, 7, 8, generator=seeded())

    lesions = Lesions(boxes, torch.tensor([1, 2]))

    cuts = [(0, 1, 2, 2, 3), (1, 0, 4, 3, 2), (1, 4, 0, 2, 2)]
    expected = [images[b, :, y : y + h, x : x + w] for b, y, x, h, w in cuts]
    found = pixels(images, lesions.index(images.shape))
    assert torch.equal(found, torch.cat([cut.flatten(1) for cut in expected], dim=1))
    torch.testing.assert_close(
        lesions.total(found),
        torch.stack([cut.sum(dim=(1, 2)) for cut in expected], dim=1),
    )
    assert torch.equal(
        lesions.largest(found[0]), torch.stack([cut[0].max() for cut in expected])
    )
    u, v = lesions.square
    assert u[:6].tolist() == [-0.5] * 3 + [0.5] * 3  # two rows
    torch.testing.assert_close(v[:3], torch.tensor([-2 / 3, 0.0, 2 / 3]))


def test_samples_between_pixels_are_those_of_torch():
    images = torch.rand(3, 2, 5, 7, generator=seeded())
    image = torch.arange(3).repeat_interleave(40)
    y, x = torch.rand(2, 120, generator=seeded(1)) * 10 - 2  # also outside

    found = sample(images, image, y, x)

    grid = torch.stack([(2 * x + 1) / 7 - 1, (2 * y + 1) / 5 - 1], dim=-1)
    expected = torch.nn.functional.grid_sample(
        images, grid.view(3, 1, 40, 2), padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(
        found.view(2, 3, 40), expected[:, :, 0].transpose(0, 1), atol=1e-5, rtol=0
    )


def test_boxes_of_a_layout_are_inside_apart_and_of_the_size_asked():
    field = Field(torch.ones(200, 64, 64, dtype=torch.bool), 1, (64, 64))
    sizes = torch.tensor([[12, 8], [6, 6], [5, 13]]).expand(200, 3, 2)

    boxes = place(field, sizes, torch.full((200,), 3), 4, seeded())

    assert torch.equal(boxes[..., 2:], sizes)
    painted = torch.zeros(200, 64, 64)
    for image, tuples in zip(painted, boxes.tolist(), strict=True):
        for top, left, height, width in tuples:
            image[top : top + height, left : left + width] += 1
    assert painted.max() == 1 and (painted.sum(dim=(1, 2)) == 96 + 36 + 65).all()


def test_boxes_are_spread_over_the_whole_field():
    field = Field(torch.ones(4000, 64, 64, dtype=torch.bool), 1, (64, 64))
    sizes = torch.full((4000, 1, 2), 8)

    boxes = place(field, sizes, torch.ones(4000).long(), 4, seeded())

    start = boxes[:, 0, :2]  # uniform over 0 .. 56
    assert start.amin() == 0 and start.amax() == 56
    torch.testing.assert_close(
        start.float().mean(dim=0), torch.full((2,), 28.0), atol=1.5, rtol=0
    )


def test_box_counts_agree_with_a_slow_search():
    images = batch_of("smooth", 3, 130, seed=0).clamp(min=0.2) * disc(130, 50)
    inside, cell = coarse_field(images)
    assert cell == 2
    start = torch.randint(0, 100, (3, 300, 2), generator=seeded())
    boxes = torch.cat(
        [start, torch.randint(1, 30, (3, 300, 2), generator=seeded(1))], 2
    )

    held = Field(inside, cell, (130, 130)).holds(boxes)

    field = field_of_view(images)[:, 0]
    for index in range(3):
        for box, answer in zip(boxes[index].tolist(), held[index], strict=True):
            top, left, height, width = box
            cut = field[index, top : top + height, left : left + width]
            if (top % 2, left % 2, height % 2, width % 2) == (0, 0, 0, 0):
                assert cut.all() == answer
            assert cut.all() or not answer  # cells only make it stricter
    assert held.any() and not held.all()


def test_too_small_an_image_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="8 x 8 pixels has room for 1 lesions"):
        medmix(torch.rand(2, 3, 8, 8), torch.ones(2).long(), seeded())


@pytest.mark.parametrize(
    "counts", [torch.tensor([0, 4]), torch.tensor([-1, 0]), torch.ones(3).long()]
)
def test_impossible_counts_are_refused_in_one_sentence(counts):
    with pytest.raises(InputError, match="classes must"):
        medmix(torch.rand(2, 3, 32, 32), counts, seeded())
