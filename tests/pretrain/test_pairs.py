"""The position term that chapters 4 and 5 share, in their trainings."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.pretrain.toy import model_of, seeded, sizes_seen
from thesislib.nn import pretext
from thesislib.pretrain import ccd, pmsacl
from thesislib.pretrain.ccd import CCD, CCDConfig
from thesislib.pretrain.pmsacl import PMSACL, PMSACLConfig

CCD_TINY = CCDConfig(base_width=8, batch_size=4, num_features=16)
PMSACL_TINY = PMSACLConfig(base_width=8, batch_size=4, num_features=16)
both_methods = pytest.mark.parametrize(
    ("method", "kind", "config"),
    [(ccd, CCD, CCD_TINY), (pmsacl, PMSACL, PMSACL_TINY)],
    ids=["ccd", "pmsacl"],
)


@pytest.mark.parametrize(
    ("patch_size", "instance", "pair"), [(None, 32, 4), (16, 16, 16)]
)
@both_methods
def test_pairs_are_cut_from_whole_images(
    monkeypatch, bank, method, kind, config, patch_size, instance, pair
):
    cuts, position_pairs = [], pretext.position_pairs

    def spy(images, patch_size, generator):
        cuts.append((images, patch_size))
        return position_pairs(images, patch_size, generator)

    monkeypatch.setattr(pretext, "position_pairs", spy)
    config = replace(config, patch_size=patch_size)
    model, generator = model_of(config, kind), seeded()
    seen, images = sizes_seen(model), bank.sample(5, generator)
    method.losses(model, images, config, generator)

    ((cut, size),) = cuts
    assert torch.equal(cut, images) and size == pair
    assert seen == [(40, 3, instance, instance), (10, 3, pair, pair)]


@both_methods
def test_pairs_leave_the_statistics_of_batch_norm_to_the_views(
    bank, method, kind, config
):
    """8 px patches have others than the images that detectors will show."""
    images, states = bank.sample(8, seeded()), []
    for terms in (tuple(t for t in method.TERMS if t != "pos"), method.TERMS):
        config = replace(config, terms=terms)
        model = model_of(config, kind).train()
        found, _ = method.losses(model, images, config, seeded())
        assert set(found) == set(terms)
        states.append(dict(model.backbone.named_buffers()))
        assert all(
            norm.momentum == 0.1
            for norm in model.modules()
            if isinstance(norm, nn.BatchNorm2d)
        )

    without, with_pairs = states
    names = [name for name in without if name.endswith(("_mean", "_var"))]
    assert len(names) == 40
    assert all(torch.equal(without[name], with_pairs[name]) for name in names)
    assert not torch.equal(without[names[0]], torch.zeros_like(without[names[0]]))
