"""Chapter 5's parameters resolve, and the thesis's own settings take steps."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.pretrain import pmsacl, simclr
from thesislib.pretrain.patches import on_patches
from thesislib.pretrain.presets import read_pmsacl as read
from thesislib.runs import parameters
from thesislib.training.loop import Loop

DATASETS = get_args(Chapter05.model_fields["dataset"].annotation)
READINGS = get_args(Chapter05.model_fields["reading"].annotation)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_every_configuration_resolves(dataset, preset):
    for reading in READINGS:
        chosen = Chapter05(dataset=dataset, preset=preset, reading=reading)
        assert set(chosen.resolved_configs()) == {
            "data",
            "pmsacl",
            "simclr",
            "rotnet",
            "csi",
            "droc",
            "supcon",
            "ccd",
            "padim",
            "igd",
            "local",
            "patches",
            "study",
        }


def test_paper_is_what_the_thesis_prints():
    configs = Chapter05(preset="paper").configs()

    assert configs["data"].image_size == 256
    assert configs["pmsacl"].batch_size == 32
    assert configs["pmsacl"].lr == 0.01
    assert configs["pmsacl"].num_features == 128
    assert configs["pmsacl"].num_classes == 4
    assert configs["pmsacl"].base_width == 64
    patches = on_patches(configs["pmsacl"], configs)
    assert (patches.patch_size, patches.epochs, patches.lr) == (32, 2_000, 0.01)
    liu = Chapter05(preset="paper", dataset="liu-colonoscopy").configs()
    assert liu["data"].image_size == 64


@pytest.mark.parametrize(
    ("image_size", "reading", "patches"),
    [
        (256, "staged", False),
        (256, "staged", True),
        (64, "staged", False),
        (64, "thesis", False),
        (64, "code", False),
    ],
)
def test_paper_takes_two_steps_at_full_network_and_size(
    tmp_path, image_size, reading, patches
):
    """The batch alone is smaller, because 256 views of 256 px need 20 GB."""
    configs = Chapter05(preset="paper", reading=reading).configs()
    few = {"batch_size": 2, "num_steps": 2}
    config = replace(configs["pmsacl"], **few, num_centre_images=2)
    config = on_patches(config, configs) if patches else config
    pixels = torch.randint(0, 256, (4, 3, image_size, image_size), dtype=torch.uint8)
    bank = ImageBank.from_array(pixels)
    loop = Loop("pmsacl", seed=0, folder=tmp_path / "pmsacl", progress=None)
    pmsacl.pretrain(pmsacl.PMSACL(config), bank, config, loop)

    assert len(loop.history) == 2
    assert {"ctr", "pmsacl", "aug", "pos"} <= set(loop.history[-1])
    if (image_size, reading) == (64, "staged"):
        config = replace(configs["simclr"], **few)
        loop = Loop("simclr", seed=0, folder=tmp_path / "simclr", progress=None)
        simclr.pretrain(simclr.SimCLR(config), bank, config, loop)
        assert len(loop.history) == 2


def test_readings_differ_where_they_say():
    staged = Chapter05().configs()["pmsacl"]
    literal, code = read(staged, "thesis"), read(staged, "code")

    assert (staged.warm_up, staged.head_norm, staged.positive) == (
        0.5,
        True,
        "probability",
    )
    assert (literal.warm_up, literal.head_norm, literal.positive) == (
        0.0,
        False,
        "printed",
    )
    assert (code.classify, code.weak.blur) == ("backbone", 0.0)
    configs = Chapter05(reading="code").configs()
    assert not configs["padim"].relative
    assert on_patches(configs["pmsacl"], configs).lr == 0.1
    assert on_patches(staged, Chapter05().configs()).lr == staged.lr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"datset": "covidx"}, "datset"),
        ({"preset": "fast"}, "quick, standard"),
        ({"dataset": "mnist"}, "hyperkvasir"),
        ({"seed": -1}, "seed"),
        ({"overrides": {"pmsacl.epoch": 3}}, "pmsacl.epochs"),
        ({"overrides": {"pmsacl.lr": "fast"}}, "pmsacl.lr"),
    ],
)
def test_a_wrong_parameter_is_named(given, says):
    with pytest.raises(InputError, match=says):
        parameters.read(Chapter05, given).resolved_configs()


def test_absent_imagenet_weights_are_an_error_not_a_random_start(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(InputError, match="weights are absent"):
        Chapter05(start="imagenet").configs()
    with pytest.raises(InputError, match="no file"):
        Chapter05(start="imagenet", weights="nowhere.pth").configs()
