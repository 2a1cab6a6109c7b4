"""Each pre-training as a whole: gradients everywhere, and a short run learns."""

from dataclasses import replace

import pytest
import torch

from thesislib.augment.colour import JitterConfig
from thesislib.augment.medmix import MedMixConfig
from thesislib.augment.weak import WeakConfig
from thesislib.datasets.bank import ImageBank
from thesislib.pretrain import pmsacl, simclr
from thesislib.pretrain.pmsacl import PMSACL, PMSACLConfig
from thesislib.pretrain.simclr import SimCLR, SimCLRConfig

TINY = PMSACLConfig(
    base_width=8, batch_size=6, num_steps=4, num_centre_images=12, num_features=16
)


def model_of(config, kind=PMSACL):
    torch.manual_seed(0)
    return kind(config)


def without_gradient(model):
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 1e-6
    ]


@pytest.mark.parametrize("classify", ["z", "backbone"])
def test_gradients_reach_every_parameter(bank, classify):
    config = replace(TINY, classify=classify)
    model = model_of(config).train()
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
    model = model_of(config).train()
    generator = torch.Generator().manual_seed(0)
    terms, _ = pmsacl.losses(model, bank.sample(8, generator), config, generator)
    pmsacl.total_loss(terms, config).backward()

    assert without_gradient(model) == []


def test_each_term_can_be_left_out(bank):
    generator = torch.Generator().manual_seed(0)
    images = bank.sample(4, generator)
    for name in ("ctr", "pmsacl", "aug", "pos"):
        config = replace(TINY, terms=(name,))
        terms, _ = pmsacl.losses(model_of(config), images, config, generator)
        assert set(terms) == {name}


def test_warm_up_takes_the_class_term_alone_then_measures_the_centres(bank, make_loop):
    config = replace(TINY, warm_up=0.5)
    model = model_of(config)
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
    pmsacl.pretrain(model_of(config), bank, config, loop)

    distances = [row["centres"] for row in loop.history]
    assert len(set(distances)) == len(distances)


def test_views_carry_their_class_first():
    images = torch.full((5, 3, 32, 32), 0.5)
    images += 0.2 * torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    still = replace(
        TINY.weak,
        crop_scale=(1.0, 1.0),
        crop_ratio=(1.0, 1.0),
        flip=0.0,
        grey=0.0,
        blur=0.0,
        jitter=replace(TINY.weak.jitter, probability=0.0),
    )
    views = pmsacl.strong_views(images, replace(TINY, weak=still), generator)

    assert views.shape == (4, 2, 5, 3, 32, 32)
    torch.testing.assert_close(views[0, 0], images, atol=1e-5, rtol=0)
    changed = (views - images).abs().flatten(3).max(dim=-1).values > 0.01
    assert not changed[0].any()
    assert changed[1:].all()


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
        warm_up=1.0,
        medmix=MedMixConfig(size=(0.3, 0.5), visible=0.15),
        weak=WeakConfig(jitter=JitterConfig(probability=0.0), grey=0.0),
    )
    loop = make_loop("pmsacl")
    pmsacl.pretrain(model_of(config), bank, config, loop)

    first = sum(row["aug"] for row in loop.history[:5]) / 5
    last = sum(row["aug"] for row in loop.history[-5:]) / 5
    assert last < 0.2 * first


def test_the_same_seed_trains_the_same_weights(bank, make_loop):
    models = []
    for seed in (0, 0, 1):
        model = model_of(TINY)
        loop = make_loop(f"pmsacl{len(models)}", seed)
        loop.stage = "pmsacl"
        models.append(pmsacl.pretrain(model, bank, TINY, loop).state_dict())

    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])


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
