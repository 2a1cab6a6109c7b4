"""Tables of chapter 5 on made-up scores: nothing is trained."""

import re

import numpy as np
import pytest

from thesislib import runs
from thesislib.augment.strong import STRONG
from thesislib.chapters.ch05_pmsacl import methods as chapter05
from thesislib.chapters.ch05_pmsacl import settings
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.study import detection
from thesislib.study.method import Detection

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
