"""The page *Add a method* does what it says, with its own example."""

import json
import re

import numpy as np
import papermill
import pytest
from nbformat import read

import thesislib
from tests.chapters.notebooks import html_of
from thesislib import paths, runs
from thesislib.chapters.ch05_pmsacl import methods as chapter05
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.errors import InputError
from thesislib.report import ledger, records
from thesislib.study import detection, method
from thesislib.study.method import add_method, detect
from thesislib.study.task import data_of

pytestmark = pytest.mark.xdist_group("added")  # one process runs the chapter
EXAMPLE = paths.root() / "book" / "examples" / "pixel_gaussian.py"
KEY, LABEL = "pixel-gaussian", "Gaussian of every pixel"
TINY = {
    "pmsacl.num_steps": 2,
    "pmsacl.num_centre_images": 8,
    "simclr.num_steps": 1,
    "igd.num_steps": 1,
    "local.num_steps": 1,
    "data.num_train": 24,
    "data.num_test_normal": 16,
    "data.num_test_abnormal": 16,
    "study.baselines": ["random"],
    "study.igd": [],
    "study.diagnosis": [],
    "study.num_ceiling": 16,
    "study.num_maps": 8,
    "study.num_tsne": 20,
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The chapter with the example, as the page says; results folder and notebook."""
    folder = tmp_path_factory.mktemp("added")
    with pytest.MonkeyPatch.context() as patch:
        for what in ("RESULTS", "DATA"):
            patch.setenv(f"THESIS_{what}", str(folder / what.lower()))
        papermill.execute_notebook(
            paths.root() / "chapters" / "05_pmsacl.ipynb",
            folder / "out.ipynb",
            {"dataset": "hyperkvasir", "overrides": TINY, "methods": [str(EXAMPLE)]},
            progress_bar=False,
        )
    (path,) = (folder / "results").glob("*/*/run.json")
    return path, read(folder / "out.ipynb", as_version=4)


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    monkeypatch.setattr(method, "_ADDED", {})


def test_the_example_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


def test_it_stands_in_every_table_and_figure(ran):
    _, notebook = ran
    tables = [html for html in html_of(notebook) if "<table" in html]
    figures = " ".join(html for html in html_of(notebook) if "<figure" in html)

    lines = [t for t in tables if f">{LABEL}</th>" in t]
    assert any("sensitivity" in t for t in lines)  # detection
    assert any("each kind of abnormality" in t for t in lines)
    contrast = f"{LABEL} minus PMSACL + PaDiM (exploratory)"
    assert any(contrast in t for t in tables)
    assert f"Anomaly maps of {LABEL}" in figures


def test_its_rows_verify_and_reach_the_ledger(ran):
    path, _ = ran
    findings = runs.verify([path.parent])
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in record["rows"] if row["row"] == KEY]

    assert {finding.kind for finding in findings} <= {"agrees", "absent"}
    absent = " ".join(f.text for f in findings if f.kind == "absent")
    assert not re.search(rf"{KEY} (auc|ap|sens|spec|acc)", absent)
    assert {"auc", "ap", "sensitivity", "auc difference"} <= {r["metric"] for r in rows}
    collection = records.Collection(runs=[records.Run(record=record, where="here")])
    others = ledger.build(collection).others
    assert any(row["row"] == KEY and row["metric"] == "auc" for row, _ in others)
    assert record["parameters"]["resolved"]["methods"] == [EXAMPLE.name]


def test_what_was_trained_scores_its_own_test_images_to_the_last_bit(ran, monkeypatch):
    path, _ = ran
    monkeypatch.setenv("THESIS_RESULTS", str(path.parents[2]))
    given = {"dataset": "hyperkvasir", "source": "phantom", "overrides": TINY}
    run = runs.start(Chapter05, given | {"methods": (str(EXAMPLE),)})
    assert run.sealed
    pixels = np.array(run.data.test.pixels)
    for key in (KEY, "pmsacl-padim", "random-padim"):
        loaded = thesislib.load(path.parent, key, methods=[str(EXAMPLE)])
        expected = run.once(
            {KEY: KEY, "pmsacl-padim": "padim-pmsacl"}.get(key, "padim-untrained"), dict
        )
        assert np.array_equal(loaded.score(pixels), expected["scores"])
        maps = loaded.maps(pixels)[expected["shown"]].astype(np.float16)
        assert np.array_equal(maps, list_of_maps(expected))
    run.close()


def list_of_maps(arrays):
    (maps,) = (a for name, a in arrays.items() if name.startswith("maps/"))
    return maps


def test_a_wrong_key_or_answer_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'My Method' must be made of small letters"):
        add_method("My Method", "mine", object)
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))

    class Wrong:
        def fit(self, batches):
            assert sum(map(len, batches)) == sum(map(len, batches)) == 24

        def score(self, images):
            return images.mean(dim=(2, 3))  # (B, C)

    add_method("wrong", "wrong", Wrong)
    run = runs.start(Chapter05, {"source": "phantom", "overrides": TINY})
    assert len(data_of(run).train) == 24
    with pytest.raises(InputError, match=r"Wrong.score gave shape \(32, 3\) for 32"):
        detect(run, method.added()[0])
    run.close()


def test_a_key_that_is_there_already_and_a_file_that_fails_are_named(
    tmp_path, monkeypatch
):
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))
    add_method("pmsacl-padim", "mine", object)
    given = {"source": "phantom", "overrides": TINY}
    run = runs.start(Chapter05, given)
    with pytest.raises(InputError, match="Two methods have the row key pmsacl-padim"):
        detection.rows(run, chapter05.methods(run))
    run.close()
    file = tmp_path / "mine.py"
    file.write_text("1 / 0", encoding="utf-8")

    with pytest.raises(InputError, match=r"mine.py, which fails: ZeroDivisionError"):
        runs.start(Chapter05, given | {"methods": (str(file),)})
    with pytest.raises(InputError, match=r"methods is '.*nowhere.py', which is no"):
        runs.start(Chapter05, given | {"methods": (str(tmp_path / "nowhere.py"),)})
