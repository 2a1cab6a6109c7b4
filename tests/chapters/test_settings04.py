"""Chapter 4's parameters resolve, and lie where the thesis prints them."""

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from thesislib.chapters.ch04_ccd import methods, settings
from thesislib.chapters.ch04_ccd.settings import Chapter04
from thesislib.datasets.bank import ImageBank
from thesislib.errors import InputError
from thesislib.pretrain import ccd
from thesislib.pretrain.patches import on_patches
from thesislib.report import text
from thesislib.report.implemented import contrasts
from thesislib.runs import parameters
from thesislib.training.loop import Loop

DATASETS = get_args(Chapter04.model_fields["dataset"].annotation)
CONFIGS = {
    *("data", "ccd", "rotnet", "simclr", "padim", "igd", "local", "patches", "study"),
    *("ae", "ae_local", "anogan", "anogan_local"),
}


def stub(size=64, masks=None, **given):
    """What the chapter's rows need of a run: parameters, settings, a size."""
    chosen = Chapter04(**given)
    train = SimpleNamespace(image_size=size, channels=3)
    return SimpleNamespace(
        parameters=chosen,
        configs=chosen.resolved_configs(),
        data=SimpleNamespace(train=train, test_masks=masks),
        left_out={},
    )


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_every_configuration_resolves(dataset, preset):
    for reading in ("thesis", "code"):
        chosen = Chapter04(dataset=dataset, preset=preset, reading=reading)
        assert set(chosen.resolved_configs()) == CONFIGS


def test_paper_is_what_the_thesis_prints():
    """Section 4.3.2."""
    configs = Chapter04(preset="paper").configs()
    config = configs["ccd"]

    assert configs["data"].image_size == 256
    assert (config.batch_size, config.lr, config.temperature) == (32, 0.01, 0.2)
    assert (config.num_features, config.epochs, config.num_steps) == (128, 2_000, None)
    assert (config.base_width, config.strong) == (64, "permutation")
    patches = on_patches(config, configs)
    assert (patches.patch_size, patches.epochs) == (32, 2_000)
    assert configs["anogan_local"].patch_size == configs["ae_local"].patch_size == 32
    fundus = Chapter04(preset="paper", dataset="lag").configs()
    assert fundus["ccd"].strong == "rotation"
    liu = Chapter04(preset="paper", dataset="liu-colonoscopy").configs()
    assert liu["data"].image_size == 64


def test_readings_differ_where_they_say_and_nowhere_else():
    thesis, code = (Chapter04(reading=r).configs() for r in ("thesis", "code"))
    changed = {name for name in thesis if thesis[name] != code[name]}

    assert changed == {"ccd", "patches"}
    before, after = asdict(thesis["ccd"]), asdict(code["ccd"])
    assert {key for key in before if before[key] != after[key]} >= {
        *("negatives", "anchors", "classify", "pair", "each", "pairs_on_images"),
    }
    assert on_patches(code["ccd"], code).lr == 0.1


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("reading", ["thesis", "code"])
def test_paper_takes_two_steps_at_full_network_and_size(tmp_path, reading, patches):
    configs = Chapter04(preset="paper", reading=reading).configs()
    config = replace(configs["ccd"], batch_size=8, num_steps=2)
    config = on_patches(config, configs) if patches else config
    size = configs["data"].image_size if patches else 64
    pixels = torch.randint(0, 256, (8, 3, size, size), dtype=torch.uint8)
    loop = Loop("ccd", seed=0, folder=tmp_path, progress=None)
    ccd.pretrain(ccd.CCD(config), ImageBank.from_array(pixels), config, loop)

    assert len(loop.history) == 2
    assert {"con", "cla"} <= set(loop.history[-1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": "covidx"}, "hyperkvasir"),
        ({"reading": "staged"}, "thesis, code"),
        ({"overrides": {"ccd.epoch": 3}}, "ccd.epochs"),
        ({"overrides": {"ccd.strong": "blur"}}, "rotation"),
        ({"overrides": {"anogan.steps": 3}}, "anogan.gan_steps"),
        ({"overrides": {"study.batch_sizes": [1]}}, "batch_sizes"),
    ],
)
def test_a_wrong_parameter_is_named(given, says):
    with pytest.raises(InputError, match=says) as caught:
        parameters.read(Chapter04, given).resolved_configs()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["encoders", "strong"])
def test_what_the_study_names_has_to_be_there(name):
    run = stub(overrides={f"study.{name}": ["moco"]})

    with pytest.raises(InputError, match=rf"study.{name} has moco; allowed are"):
        methods.encoders(run)
        methods.strong(run)


def test_small_images_and_liu_s_frames_have_a_global_model_alone():
    for run, scales in (
        (stub(), ("anogan", "anogan_local")),
        (stub(size=32), ("anogan",)),
        (stub(dataset="liu-colonoscopy"), ("anogan",)),
    ):
        main = methods.encoders(run)["ccd"]
        assert tuple(methods.network(run, main, "f-anogan").configs) == scales


def test_the_contrasts_are_of_one_detector_each():
    found = contrasts("04_ccd")
    keys = {one.key for one in methods.methods(stub(preset="standard"))}

    for row, minus in found:
        assert minus.endswith(row.removeprefix("ccd-"))
        assert row in keys and (minus in keys or minus in text.DETECTORS)
    assert {minus for (_, minus), declared in found.items() if declared} == {
        f"random-{detector}" for detector in settings.DETECTORS
    }


def test_methods_have_a_key_and_a_stage_of_their_own():
    for preset in ("quick", "standard"):
        found = methods.methods(stub(preset=preset))
        assert len({one.key for one in found}) == len(found)
        assert len({one.stage for one in found}) == len(found)


def test_a_run_says_what_it_leaves_out():
    quick = " ".join(settings.left_out(stub()))

    for words in ("Table 4.1", "rotnet", "Figure 4.2, left", "OCGAN", "ImageNet"):
        assert words in quick
    standard = " ".join(settings.left_out(stub(preset="standard", masks=[])))
    assert "Table 4.1" not in standard
    assert "localisation" not in standard
