"""Rows and variants of chapters 8 and 9 stand where the thesis prints them."""

from types import SimpleNamespace

import pytest

from thesislib import paper
from thesislib.chapters.ch08_rtfm import methods as ch08
from thesislib.chapters.ch08_rtfm.settings import Chapter08
from thesislib.chapters.ch09_ctmil import methods as ch09
from thesislib.chapters.ch09_ctmil.settings import Chapter09
from thesislib.errors import InputError


def stub(chapter, source="phantom", described=False, **given):
    """What rows need of a run: parameters, settings, where the features come from."""
    chosen = chapter(**given)
    provenance = {"describe": {}} if described else {}
    return SimpleNamespace(
        parameters=chosen,
        configs=chosen.resolved_configs(),
        data=SimpleNamespace(source=source, provenance=provenance),
    )


CHAPTERS = ((ch08, Chapter08), (ch09, Chapter09))


def everything(methods, run):
    """Lists of methods that a run may train, by the name of what makes them."""
    names = ("methods", "components", "readings", "ks", "margins", "causal", "variants")
    return {n: getattr(methods, n)(run) for n in names if hasattr(methods, n)}


@pytest.mark.parametrize(("methods", "chapter"), CHAPTERS)
@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_a_stage_is_one_training(methods, chapter, preset):
    for reading in ("thesis", "code"):
        run, configs = stub(chapter, preset=preset, reading=reading), {}
        for found in everything(methods, run).values():
            keys = [(m.key, str(m.setting)) for m in found]
            assert len(set(keys)) == len(keys)
            for method in found:
                if method.config is not None:
                    known = configs.setdefault(method.stage, method.config)
                    assert known == method.config, method.stage


def test_rows_of_chapter_8_are_printed():
    run = stub(Chapter08)
    first, second, *_ = ch08.methods(run)

    for table in ("8.1", "8.2", "8.3"):
        assert paper.find_row(table, first.key, dict(first.setting))["ours"]
    for table in ("8.1", "8.2", "8.3"):
        row = paper.find_row(table, second.key, dict(second.setting))
        assert row is not None and not row["ours"]
    rows = [paper.find_row("8.5", m.key, dict(m.setting)) for m in ch08.components(run)]
    assert len(rows) == 8 and None not in rows
    assert rows[-1]["ours"]


def test_rows_of_chapter_9_are_printed():
    run = stub(Chapter09)
    methods = ch09.methods(run)[:3]
    rows = [paper.find_row("9.1", m.key, dict(m.setting)) for m in methods]
    parts = [
        paper.find_row("9.2", m.key, dict(m.setting)) for m in ch09.components(run)
    ]

    assert [row["values"]["auc"] for row in rows] == [98.41, 96.3, 89.41]
    assert [row["values"]["auc"] for row in parts] == [92.88, 94.92, 96.74, 98.41]


def test_own_features_are_not_those_of_the_tables():
    frames = stub(Chapter08, "real", described=True, dataset="ucsdped2")
    folder = stub(Chapter08, "real", dataset="video-folder")

    assert ch08.main(frames).setting["features"] == "motion"
    assert ch08.main(folder).setting["features"] == "own"
    assert ch08.main(stub(Chapter08, "real")).setting["features"] == "i3d-rgb"


def test_a_sweep_has_the_methods_own_value_in_its_place():
    found = ch08.ks(stub(Chapter08, preset="standard"))

    assert [m.setting["k"] for m in found] == [1, 3, 6, 10, 16]
    assert [m.stage for m in found if m.setting["k"] == 3] == ["rtfm"]
    assert ch08.margins(stub(Chapter08)) == []


def test_readings_keep_overrides_and_the_number_of_steps():
    given = {"overrides": {"rtfm.num_steps": 7, "rtfm.k": 2}}
    run = stub(Chapter08, preset="standard", **given)
    found = {m.setting["reading"]: m for m in ch08.readings(run)}

    assert {m.config.num_steps for m in found.values()} == {7}
    assert {m.config.k for m in found.values()} == {2}
    assert found["scaled"].stage == "rtfm"
    assert found["thesis"].config.network == "print"


def test_with_channels_for_tokens_there_is_no_causal_variant():
    for reading, there in (("fixed", True), ("code", False)):
        run = stub(Chapter09, preset="standard", reading=reading)
        names = [m.setting["variant"] for m in ch09.variants(run)]
        assert names[0] == "none" and ("causal" in names) == there


@pytest.mark.parametrize(
    ("methods", "chapter", "field"),
    [
        (ch08.components, Chapter08, "components"),
        (ch08.readings, Chapter08, "readings"),
        (ch09.components, Chapter09, "components"),
        (ch09.variants, Chapter09, "variants"),
        (ch09.readings, Chapter09, "readings"),
    ],
)
def test_what_the_study_names_has_to_be_there(methods, chapter, field):
    run = stub(chapter, overrides={f"study.{field}": ["moco"]})

    with pytest.raises(InputError, match=rf"study.{field} has moco; allowed are"):
        methods(run)
