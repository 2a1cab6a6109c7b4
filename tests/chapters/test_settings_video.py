"""Parameters of chapters 8 and 9 resolve, and lie where the thesis prints them."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from thesislib.chapters.ch08_rtfm import settings as ch08
from thesislib.chapters.ch08_rtfm.settings import Chapter08
from thesislib.chapters.ch09_ctmil import settings as ch09
from thesislib.chapters.ch09_ctmil.settings import Chapter09
from thesislib.datasets import registry
from thesislib.errors import InputError
from thesislib.runs import parameters
from thesislib.video import ctmil, rtfm

CONFIGS = {
    Chapter08: {"data", "rtfm", "deep_mil", "study"},
    Chapter09: {"data", "ctmil", "rtfm", "deep_mil", "study"},
}


def values(chapter, name):
    return get_args(chapter.model_fields[name].annotation)


@pytest.mark.parametrize("chapter", CONFIGS)
@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_every_configuration_resolves(chapter, preset):
    for dataset in values(chapter, "dataset"):
        assert dataset in registry.VIDEO_NAMES
        for reading in values(chapter, "reading"):
            given = {"dataset": dataset, "preset": preset, "reading": reading}
            assert set(chapter(**given).resolved_configs()) == CONFIGS[chapter]


def test_rtfm_of_preset_paper_is_what_the_thesis_prints():
    """Section 8.4.2."""
    config = Chapter08(preset="paper", reading="thesis").configs()["rtfm"]

    assert (config.k, config.margin, config.hidden) == (3, 100, (512, 128))
    assert (config.dropout, config.lr, config.weight_decay) == (0.7, 1e-3, 5e-4)
    assert (config.batch_size, config.epochs, config.num_steps) == (32, 50, None)
    assert (config.network, config.loss) == ("print", "print")
    movies = Chapter08(preset="paper", reading="thesis", dataset="xdviolence")
    assert movies.configs()["rtfm"].lr == 1e-4


def test_ctmil_of_preset_paper_is_what_the_thesis_prints():
    """Section 9.3.2."""
    config = Chapter09(preset="paper", reading="thesis").configs()["ctmil"]

    assert (config.k, config.depth, config.num_heads) == (3, 12, 8)
    assert (config.smooth, config.sparse, config.window) == (5e-4, 5e-4, 32)
    assert (config.lr, config.weight_decay) == (1e-3, 5e-4)
    assert (config.batch_size, config.epochs, config.num_steps) == (32, 200, None)


def test_few_videos_with_few_features_take_smaller_steps():
    config = Chapter08(dataset="ucsdped2").configs()["rtfm"]

    assert (config.batch_size, config.num_steps, config.lr) == (8, 240, 3e-4)
    assert rtfm.at_size(config, 32).dropout == 0.3


def test_with_small_presets_the_number_of_steps_does_not_depend_on_the_reading():
    for chapter, name in ((Chapter08, "rtfm"), (Chapter09, "ctmil")):
        steps = {
            chapter(reading=reading).configs()[name].num_steps
            for reading in values(chapter, "reading")
        }
        assert len(steps) == 1


def test_the_rows_of_table_8_5_are_all_that_there_are():
    assert len(ch08.COMPONENTS) == 7  # and RTFM
    found = [rtfm.row(rtfm.SMALL, **parts) for parts in ch08.COMPONENTS.values()]
    assert len({repr(config) for config in [*found, rtfm.SMALL]}) == 8


@pytest.mark.parametrize("rows", [ch09.COMPONENTS, ch09.VARIANTS])
def test_a_row_of_chapter_9_is_a_network(rows):
    config = Chapter09().configs()["ctmil"]
    for changes in rows.values():
        model = ctmil.CTMIL(replace(config, **changes), 16)
        assert model(torch.randn(2, 1, 32, 16)).scores.shape == (2, 32)


@pytest.mark.parametrize(
    ("chapter", "given", "says"),
    [
        (Chapter08, {"dataset": "polypvideo"}, "shanghaitech"),
        (Chapter08, {"reading": "fixed"}, "scaled, thesis, code"),
        (Chapter08, {"ground_truth": "mine"}, "ur-dmu"),
        (Chapter08, {"overrides": {"rtfm.margins": 3}}, "rtfm.margin"),
        (Chapter08, {"overrides": {"rtfm.hidden": [16, 0]}}, "rtfm.hidden"),
        (Chapter08, {"overrides": {"study.ks": [0]}}, "study.ks"),
        (Chapter09, {"dataset": "xdviolence"}, "polypvideo"),
        (Chapter09, {"reading": "scaled"}, "fixed, thesis, code"),
        (Chapter09, {"overrides": {"ctmil.edges": [0, 2]}}, "ctmil.edges"),
        (Chapter09, {"overrides": {"data.num_segments": 0}}, "data.num_segments"),
    ],
)
def test_a_wrong_parameter_is_named(chapter, given, says):
    with pytest.raises(InputError, match=says) as caught:
        parameters.read(chapter, given).resolved_configs()
    assert "\n" not in str(caught.value)


def test_overrides_of_layers_are_read_from_a_list():
    given = {"overrides": {"rtfm.hidden": [16, 8], "rtfm.dropout": 0.2}}
    config = Chapter08(**given).resolved_configs()["rtfm"]

    assert (config.hidden, config.dropout) == ((16, 8), 0.2)
