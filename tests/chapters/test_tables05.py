"""Tables of chapter 5 on made-up scores: nothing is trained."""

import re

import numpy as np
import pytest

from thesislib import runs
from thesislib.augment.strong import STRONG
from thesislib.chapters.ch05_pmsacl import figures, settings
from thesislib.chapters.ch05_pmsacl import methods as chapter05
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.metrics import delong
from thesislib.report.tables import beside
from thesislib.study import detection, pictures, units
from thesislib.study.method import Detection, threshold

DATA = {"data.num_train": 16, "data.num_test_normal": 60, "data.num_test_abnormal": 60}


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))
    given = {"dataset": "hyperkvasir", "source": "phantom", "overrides": DATA}
    run = runs.start(Chapter05, given)
    yield run
    run.close()


def detected(run, shift, seed):
    scores = np.random.default_rng(seed).normal(size=len(run.data.test_labels))
    return Detection(
        scores=scores + shift * run.data.test_labels,
    )


def cells(table, name):
    """Text of the cells in the line of that name."""
    line = next(part for part in table.split("<tr") if f">{name}</th>" in part)
    return [re.sub("<[^>]+>", " ", cell).split() for cell in line.split("<td>")[1:]]


def test_an_encoder_of_table_5_9_has_all_its_numbers_in_table_5_1_too(run, monkeypatch):
    """Table 5.9 prints SimCLR and Table 5.1 does not: its rows belong to the former."""
    answers = {"simclr-padim": detected(run, 1, 0), "pmsacl-padim": detected(run, 2, 1)}
    monkeypatch.setattr(detection, "detect", lambda run, m, task: answers[m.key])
    rows = [m for m in chapter05.methods(run) if m.key in answers]
    tables = settings.detection_tables(run)
    found = detection.rows(run, rows, tables=tables)
    stands = {(r["row"], r["table"]) for r in run.rows if r["metric"] == "auc"}

    line = cells(detection.table(run, rows, tables[0], ""), "SimCLR + PaDiM")

    assert ("simclr-padim", "5.9") in stands
    assert ("simclr-padim", "5.1") not in stands
    published, ours = line[:-1:2], line[1:-1:2]  # the last cell counts images
    assert all(cell == ["–"] for cell in published)
    assert all(len(cell) > 2 for cell in ours)
    assert ours[0][0] == f"{found['simclr-padim'][1].value:.3f}"


def test_every_strong_augmentation_has_a_label():
    assert chapter05.STRONG_LABELS.keys() == STRONG.keys()


def test_the_methods_are_compared_with_every_floor_and_the_best_is_shown(
    run, monkeypatch
):
    answers = {
        "pmsacl-padim": detected(run, 0.5, 1),
        "random-padim": detected(run, 0.2, 2),
    }
    monkeypatch.setattr(detection, "detect", lambda run, m, task: answers[m.key])
    rows = [m for m in chapter05.methods(run) if m.key in answers]
    detection.rows(run, rows)
    strong, weak = detected(run, 3, 3).scores, detected(run, 0, 4).scores
    told = detected(run, 5, 5).scores
    units.IMAGE.add(run, run.data, "nn-thumbnails-16", strong)
    units.IMAGE.add(run, run.data, "nn-statistics", weak)
    units.IMAGE.add(run, run.data, "logistic-statistics", told)

    html = detection.contrasts(run, rows)

    found = {
        (r["row"], r["setting"]["minus"]): r
        for r in run.rows
        if r["metric"] == "auc difference"
    }
    mine, labels = answers["pmsacl-padim"].scores, run.data.test_labels
    lost = delong.compare(labels, mine, strong)
    row = found["pmsacl-padim", "nn-thumbnails-16"]
    assert (row["value"], row["ci_high"]) == (lost.difference, lost.ci_high)
    assert row["ci_high"] < 0
    assert {minus for _, minus in found} == {
        *("random-padim", "nn-thumbnails-16", "nn-statistics", "logistic-statistics")
    }
    assert "16 px thumbnails (exploratory)" in html
    assert "intensity statistics (exploratory)" not in html
    assert "with labels (exploratory)" not in html
    assert pictures.says(run).startswith(
        "- **PMSACL + PaDiM loses to the best naive floor (nearest normal image, 16 px"
    )


def test_the_table_and_the_explorer_have_one_threshold(run, monkeypatch):
    answer = detected(run, 1, 0)
    monkeypatch.setattr(detection, "detect", lambda run, m, task: answer)
    rows = [m for m in chapter05.methods(run) if m.key == "pmsacl-padim"]
    detection.rows(run, rows, tables=("5.1",))

    html = detection.table(run, rows, "5.1", "")

    at = threshold(run, answer.scores)  # where `pictures.explore` begins
    called = answer.scores >= at
    shares = called[run.data.test_labels == 1].mean()
    assert f"PMSACL + PaDiM is {at:.4g}:" in html
    assert f"its sensitivity is {shares:.3f}" in html


def test_what_is_said_of_the_letter_has_preset_and_steps_beside_it(run):
    assert figures.schedule(run).startswith("Preset `quick`: ")
    assert "the thesis has 2,000 epochs" in figures.schedule(run)


def test_a_caption_promises_brackets_only_where_there_are_some(run):
    run.add_row(None, "pmsacl-padim", {}, "pixel_auc", 0.7)
    bare = beside(run.rows, None, title="Pixels.")
    run.add_row(None, "pmsacl-padim", {}, "iou", 0.7, 0.6, 0.8)

    assert "Brackets" not in bare
    assert "Brackets" in beside(run.rows, None, title="Pixels.")
