"""Each pre-training as a whole: gradients everywhere, and a short run learns."""

import math
from dataclasses import replace

import pytest
import torch

from tests.pretrain.toy import STILL, model_of, sizes_seen, without_gradient
from thesislib.augment.colour import JitterConfig
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.weak import WeakConfig
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.pretrain import pmsacl, simclr
from thesislib.pretrain.pmsacl import PMSACL, PMSACLConfig
from thesislib.pretrain.simclr import SimCLR, SimCLRConfig

TINY = PMSACLConfig(
    base_width=8, batch_size=6, num_steps=4, num_centre_images=12, num_features=16
)


PATCHES = replace(TINY, patch_size=16)  # of 32 px


def ramps(num):
    """Images of 32 px whose pixels name their row and column, (num, 3, 32, 32)."""
    step = torch.arange(32) / 64 + 0.2
    rows, columns = torch.meshgrid(step, step, indexing="ij")
    return torch.stack([rows, columns, rows]).repeat(num, 1, 1, 1)


@pytest.mark.parametrize("classify", ["z", "backbone"])
@pytest.mark.parametrize("config", [TINY, PATCHES], ids=["images", "patches"])
def test_gradients_reach_every_parameter(bank, classify, config):
    config = replace(config, classify=classify)
    model = model_of(config, PMSACL).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.centres.normal_(generator=generator)
    images = bank.sample(8, generator)
    terms, _ = pmsacl.losses(model, images, config, generator)
    pmsacl.total_loss(terms, config).backward()

    assert set(terms) == {"ctr", "pmsacl", "aug", "pos"}
    assert without_gradient(model) == ["head.first.bias"]  # batch norm takes it away


def test_literal_head_has_no_dead_parameter_at_the_start(bank):
    config = replace(TINY, head_norm=False)
    model = model_of(config, PMSACL).train()
    generator = torch.Generator().manual_seed(0)
    terms, _ = pmsacl.losses(model, bank.sample(8, generator), config, generator)
    pmsacl.total_loss(terms, config).backward()

    assert without_gradient(model) == []


def test_each_term_can_be_left_out(bank):
    generator = torch.Generator().manual_seed(0)
    images = bank.sample(4, generator)
    for name in ("ctr", "pmsacl", "aug", "pos"):
        config = replace(TINY, terms=(name,), warm_up=0.0)
        terms, _ = pmsacl.losses(model_of(config, PMSACL), images, config, generator)
        assert set(terms) == {name}


def test_warm_up_takes_the_class_term_alone_then_measures_the_centres(bank, make_loop):
    config = replace(TINY, warm_up=0.5)
    model = model_of(config, PMSACL)
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model, bank, config, loop)

    named = [set(row) & {"ctr", "pmsacl", "aug", "pos"} for row in loop.history]
    assert named == [{"aug"}] * 2 + [{"ctr", "pmsacl", "aug", "pos"}] * 2
    distances = [row["centres"] for row in loop.history]
    assert distances[:2] == [0, 0]
    assert distances[2] == distances[3] > 0  # measured once, then frozen


def test_moving_centres_move(bank, make_loop):
    config = replace(TINY, warm_up=0.0, centre_momentum=0.5)
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model_of(config, PMSACL), bank, config, loop)

    distances = [row["centres"] for row in loop.history]
    assert len(set(distances)) == len(distances)


def test_views_carry_their_class_first():
    images = torch.full((5, 3, 32, 32), 0.5)
    images += 0.2 * torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    views = pmsacl.strong_views(images, replace(TINY, weak=STILL), generator)

    assert views.shape == (4, 2, 5, 3, 32, 32)
    torch.testing.assert_close(views[0, 0], images, atol=1e-5, rtol=0)
    changed = (views - images).abs().flatten(3).max(dim=-1).values > 0.01
    assert not changed[0].any()
    assert changed[1:].all()


def test_an_instance_is_a_patch_and_its_lesions_are_as_large_as_it_allows():
    config = replace(PATCHES, weak=STILL, medmix=MedMixConfig(size=(0.25, 0.5)))
    generator = torch.Generator().manual_seed(0)
    views = pmsacl.strong_views(ramps(64), config, generator)

    assert views.shape == (4, 2, 64, 3, 16, 16)
    plain = views[0, 0]
    from_corner = plain - plain[:, :, :1, :1]
    expected = (ramps(64) - 0.2)[:, :, :16, :16]
    torch.testing.assert_close(from_corner, expected, atol=1e-5, rtol=0)
    corners = ((plain[:, :2, 0, 0] - 0.2) * 64).round()
    assert corners.min() == 0 and corners.max() == 16  # anywhere in the image
    changed = (views[1, 0] - plain).abs().amax(dim=1) > 0.01
    sides = torch.cat([changed.any(dim=dim).sum(dim=-1) for dim in (1, 2)])
    assert 4 <= sides.max() <= 8  # of 16 px; of 32 they would reach 16


def test_centres_are_measured_on_patches(bank):
    model, generator = model_of(PATCHES, PMSACL), torch.Generator().manual_seed(0)
    seen = sizes_seen(model)
    pmsacl.measure_centres(model, bank, PATCHES, generator)

    assert seen == [(48, 3, 16, 16)] * 2


def test_an_epoch_of_patches_has_as_many_as_there_are_images(bank, make_loop):
    config = replace(PATCHES, num_steps=None, epochs=1, batch_size=12)
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model_of(config, PMSACL), bank, config, loop)

    assert len(loop.history) == 48 / 12


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"patch_size": 17}, r"4\.\.16 for pairs of patches .* 32 x 32 pixels, got 17"),
        (
            {"patch_size": 33, "terms": ("aug",)},
            "patch_size is 33; images have 32 pixels",
        ),
    ],
)
def test_patches_that_do_not_fit_are_refused_before_a_step(
    bank, make_loop, changes, says
):
    config = replace(TINY, **changes)
    model = model_of(config, PMSACL)
    with pytest.raises(InputError, match=says):
        pmsacl.pretrain(model, bank, config, make_loop("pmsacl"))

    for after, before in zip(
        model.parameters(), model_of(config, PMSACL).parameters(), strict=True
    ):
        assert torch.equal(after, before)


def test_a_short_run_tells_neighbours_apart(make_loop):
    bank = ImageBank.from_array((ramps(24) * 255).to(torch.uint8).numpy())
    config = replace(
        PATCHES, terms=("pos",), warm_up=0.0, batch_size=16, num_steps=40, lr=0.05
    )
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model_of(config, PMSACL), bank, config, loop)

    last = sum(row["pos"] for row in loop.history[-5:]) / 5
    assert last < 0.7 * math.log(8)


def test_a_short_run_tells_lesions_from_none(make_loop):
    generator = torch.Generator().manual_seed(0)
    coarse = 0.35 + 0.3 * torch.rand(48, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic")
    bank = ImageBank.from_array((images * 255).to(torch.uint8).numpy())
    config = PMSACLConfig(
        base_width=8,
        batch_size=12,
        num_steps=60,
        lr=0.05,
        num_classes=2,
        terms=("aug",),
        medmix=MedMixConfig(size=(0.3, 0.5), visible=0.15),
        weak=WeakConfig(jitter=JitterConfig(probability=0.0), grey=0.0),
    )
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model_of(config, PMSACL), bank, config, loop)

    first = sum(row["aug"] for row in loop.history[:5]) / 5
    last = sum(row["aug"] for row in loop.history[-5:]) / 5
    assert last < 0.2 * first


def test_the_same_seed_trains_the_same_weights(bank, make_loop):
    models = []
    for seed in (0, 0, 1):
        model = model_of(TINY, PMSACL)
        loop = make_loop(f"pmsacl{len(models)}", seed)
        loop.stage = "pmsacl"
        models.append(pmsacl.pretrain(model, bank, TINY, loop).state_dict())

    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])


def test_simclr_takes_patches_and_reaches_every_parameter(bank, make_loop):
    config = SimCLRConfig(base_width=8, batch_size=16, num_steps=2, patch_size=16)
    model = model_of(config, SimCLR)
    seen = sizes_seen(model)
    simclr.pretrain(model, bank, config, make_loop("simclr"))

    assert seen == [(32, 3, 16, 16)] * 2
    assert set(without_gradient(model)) <= {"head.first.bias"}


def test_simclr_learns_and_reaches_every_parameter(bank, make_loop):
    config = SimCLRConfig(
        base_width=8,
        batch_size=16,
        num_steps=60,
        lr=0.2,
        weak=WeakConfig(jitter=JitterConfig(probability=0.0), grey=0.0),
    )
    model = model_of(config, SimCLR)
    loop = make_loop("simclr")
    simclr.pretrain(model, bank, config, loop)

    losses = [row["con"] for row in loop.history]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.5
    assert set(without_gradient(model)) <= {"head.first.bias"}
