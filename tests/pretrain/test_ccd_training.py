"""CCD's pre-training as a whole: what enters, gradients everywhere, a run learns."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.pretrain.toy import (
    STILL,
    killed_within_every_step,
    model_of,
    same,
    seeded,
    without_gradient,
)
from thesislib.augment.strong import STRONG, StrongAugmentation
from thesislib.augment.strong_program import PROGRAM
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.pretrain import ccd
from thesislib.pretrain.ccd import CCD, CCDConfig, read
from thesislib.ranges import RangeError

TINY = CCDConfig(base_width=8, batch_size=8, num_steps=4, num_features=16)
PATCHES = replace(TINY, patch_size=16)  # of 32 px


# --- Views and labels ------------------------------------------------------------


@pytest.mark.parametrize("strong", ["rotation", "permutation"])
def test_row_j_of_the_views_went_through_augmentation_j(bank, strong):
    images = bank.sample(6, seeded())
    config = replace(TINY, strong=strong, weak=STILL)
    views = ccd.strong_views(images, config, seeded())

    assert views.shape == (4, 2, 6, 3, 32, 32)
    for j in range(4):
        expected = STRONG[strong](images, torch.full((6,), j), seeded())
        for view in views[j]:
            torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_two_weak_views_of_an_item_differ(bank):
    views = ccd.strong_views(bank.sample(6, seeded()), TINY, seeded())

    difference = (views[:, 0] - views[:, 1]).abs().flatten(2).amax(dim=-1)
    assert (difference > 0.01).all()


def test_each_instance_goes_through_one_augmentation_if_so_asked(bank):
    images = bank.sample(8, seeded())
    config = replace(TINY, each="one", weak=STILL)
    views = ccd.strong_views(images, config, seeded())

    assert views.shape == (4, 2, 2, 3, 32, 32)
    classes = torch.arange(4).repeat_interleave(2)
    expected = STRONG["permutation"](images, classes, seeded())
    torch.testing.assert_close(views[:, 0].flatten(0, 1), expected, atol=1e-5, rtol=0)


def test_an_instance_is_a_patch_and_the_augmentation_acts_within_it(bank):
    images = bank.sample(6, seeded())
    views = ccd.strong_views(images, replace(PATCHES, weak=STILL), seeded())

    patches = ccd.random_patches(images, 16, seeded())
    expected = STRONG["permutation"](patches, torch.full((6,), 3), seeded())
    torch.testing.assert_close(views[3, 1], expected, atol=1e-5, rtol=0)


class Seeing(nn.Module):
    """Stands for a network that knows the class: each image has its level."""

    augmentation_classifier = nn.Identity()

    def forward(self, images):
        level = (images.mean(dim=(1, 2, 3)) * 10).round().long()
        seen = 50.0 * nn.functional.one_hot(level, 4)
        return torch.randn(len(images), 5), seen, torch.ones(())


@pytest.mark.parametrize("each", ["all", "one"])
def test_labels_are_aligned_with_the_views(monkeypatch, bank, each):
    """In the program half of them are not: views interleaved, labels in blocks."""
    paint = StrongAugmentation(
        lambda images, classes, _: (
            torch.ones_like(images) * classes[:, None, None, None] / 10,
            None,
        ),
        num_classes=4,
    )
    monkeypatch.setitem(STRONG, "paint", paint)
    config = replace(TINY, strong="paint", weak=STILL, terms=("cla",), each=each)
    images = bank.sample(8, seeded())
    terms, diagnostics = ccd.losses(Seeing(), images, config, seeded())

    assert terms["cla"].item() == pytest.approx(0, abs=1e-6)
    assert diagnostics["accuracy"] == 1


def test_equal_patches_have_no_difference(bank):
    config = replace(PATCHES, pair="difference")
    model = model_of(config, CCD)
    seen = []
    model.position_classifier.register_forward_pre_hook(
        lambda _, entering: seen.append(entering[0])
    )
    with torch.no_grad():
        same = torch.full((4, 3, 32, 32), 0.5)
        ccd.losses(model, same, config, seeded())

    assert seen[0].shape == (4, 16) and seen[0].abs().max() < 1e-5


# --- Gradients -------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["thesis", "code"])
@pytest.mark.parametrize("config", [TINY, PATCHES], ids=["images", "patches"])
def test_gradients_reach_every_parameter(bank, config, reading):
    config = read(config, reading)
    model, generator = model_of(config, CCD).train(), seeded()
    terms, _ = ccd.losses(model, bank.sample(8, generator), config, generator)
    ccd.total_loss(terms).backward()

    if "pos" in terms:
        assert without_gradient(model, above=1e-7) == []
    else:
        names = without_gradient(model, above=1e-7)
        assert names and all(name.startswith("position_") for name in names)
    assert ("pos" in terms) == (reading == "thesis" or config.patch_size is not None)


def test_each_term_can_be_left_out(bank):
    images = bank.sample(4, seeded())
    for name in ccd.TERMS:
        config = replace(TINY, terms=(name,))
        terms, _ = ccd.losses(model_of(config, CCD), images, config, seeded())
        assert set(terms) == {name}


# --- Training --------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, PATCHES], ids=["images", "patches"])
@pytest.mark.parametrize("negatives", ["same", "all"])
def test_a_run_records_its_terms_and_changes_the_encoder(
    bank, make_loop, config, negatives
):
    config = replace(config, negatives=negatives)
    model, loop = model_of(config, CCD), make_loop("ccd")
    ccd.pretrain(model, bank, config, loop)

    assert len(loop.history) == 4 and not model.training
    for row in loop.history:
        assert row["loss"] == pytest.approx(row["con"] + row["cla"] + row["pos"])
    start = model_of(config, CCD).backbone.conv1.weight
    assert not torch.equal(model.backbone.conv1.weight, start)


def test_an_epoch_sees_each_image_under_every_augmentation(bank, make_loop):
    config = replace(TINY, num_steps=None, epochs=1, batch_size=12, terms=("con",))
    for each, expected in (("all", 48 / 12), ("one", 4 * 48 / 12)):
        loop = make_loop(f"ccd-{each}")
        chosen = replace(config, each=each)
        ccd.pretrain(model_of(chosen, CCD), bank, chosen, loop)
        assert len(loop.history) == expected


def two_halves(num_images):
    """Dark above, bright below, red on the left: halves that cannot be confused."""
    images = 0.3 + 0.1 * torch.rand(num_images, 3, 32, 32, generator=seeded())
    images[:, :, 16:] += 0.3
    images[:, 0, :, :16] += 0.3
    return (images.clamp(0, 1) * 255).to(torch.uint8)


def test_a_short_run_learns_which_halves_were_swapped(make_loop):
    bank = ImageBank.from_array(two_halves(24).numpy())
    config = replace(
        TINY,
        terms=("con", "cla"),
        num_steps=60,
        lr=0.1,
        weak=replace(STILL, crop_scale=(0.7, 1.0)),
    )
    loop = make_loop("ccd")
    ccd.pretrain(model_of(config, CCD), bank, config, loop)

    first, last = loop.history[0], loop.history[-5:]
    assert first["cla"] > 0.8 * math.log(4)
    assert sum(row["cla"] for row in last) / 5 < 0.2
    assert sum(row["accuracy"] for row in last) / 5 > 0.95


@pytest.mark.parametrize("reading", ["thesis", "code"])
def test_killed_at_any_step_it_resumes_to_the_same_bits(
    bank, tmp_path, monkeypatch, reading
):
    config = read(replace(PATCHES, strong="cutout"), reading)

    def train(seed, loop):
        return ccd.pretrain(model_of(config, CCD, seed), bank, config, loop)

    straight, resumed = killed_within_every_step(
        train, config.num_steps, tmp_path, monkeypatch
    )
    assert len(resumed) == config.num_steps
    assert all(same(straight, end) for end in resumed)


def test_another_seed_trains_other_weights(bank, make_loop):
    states = []
    for seed in (0, 0, 1):
        loop = make_loop(f"ccd{len(states)}", seed)
        loop.stage = "ccd"
        states.append(ccd.pretrain(model_of(TINY, CCD), bank, TINY, loop).state_dict())

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


# --- What is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strong": "blur"}, "strong is 'blur'; it must be one of .*cutout-anywhere"),
        ({"terms": ()}, "terms is empty; it must be one or more of con, cla, pos"),
        ({"terms": ("con", "aug")}, "terms is con, aug; it must be one or more"),
        ({"each": "one", "batch_size": 10}, "must be a multiple of 4 above it"),
        ({"each": "one", "batch_size": 4}, "must be a multiple of 4 above it"),
        ({"batch_size": 1}, "batch_size is 1; it must be 2 or more"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, says):
    with pytest.raises(RangeError, match=says):
        replace(TINY, **changes)


def test_patches_that_do_not_fit_are_refused_before_a_step(bank, make_loop):
    config = replace(TINY, patch_size=17)
    with pytest.raises(InputError, match=r"4\.\.16 for pairs of patches"):
        ccd.pretrain(model_of(config, CCD), bank, config, make_loop("ccd"))


# --- Readings --------------------------------------------------------------------


def test_the_program_s_forms_of_cutout_and_noise_are_its_own():
    for name, own in (("cutout", "cutout-anywhere"), ("gaussian-noise", "noise-kinds")):
        config = replace(TINY, strong=name)
        assert read(config, "code").strong == own and own in PROGRAM
        assert read(config, "thesis").strong == name


def test_the_program_has_its_own_rate_on_patches_alone():
    assert read(PATCHES, "code").lr == 0.1
    assert read(replace(TINY, lr=0.05), "code").lr == 0.05
    assert read(replace(PATCHES, lr=0.05), "thesis").lr == 0.05


def test_the_settings_as_they_stand_are_the_thesis_s():
    assert read(CCDConfig(), "thesis") == CCDConfig()
    assert read(read(TINY, "code"), "thesis").negatives == "same"


def test_other_readings_are_refused():
    with pytest.raises(InputError, match="reading is 'staged'; allowed are thesis, co"):
        read(TINY, "staged")
