"""Chapter 5 as a reader runs it, with so few images that nothing is learnt."""

import json
import re

import nbformat
import papermill
import pytest

from tests.chapters.frozen import same_rows
from tests.chapters.notebooks import html_of
from thesislib import paths, runs
from thesislib.report import text
from thesislib.study.floors import FOLLOWED
from thesislib.training import progress

pytestmark = pytest.mark.xdist_group("chapter05")  # one process runs the chapter
CHAPTER = "chapters/05_pmsacl.ipynb"
TINY = {
    "pmsacl.num_steps": 4,  # on patches half as many
    "pmsacl.num_centre_images": 16,
    "simclr.num_steps": 2,
    "igd.num_steps": 2,
    "local.num_steps": 2,
    "data.num_train": 40,
    "data.num_test_normal": 24,
    "data.num_test_abnormal": 24,
    "study.num_ceiling": 40,
    "study.num_maps": 12,
}


IGD_PAIRS = ("random-igd", "pmsacl-padim")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The chapter on Covid-X without the data: the chest phantom stands in."""
    folder = tmp_path_factory.mktemp("chapter05")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THESIS_RESULTS", str(folder / "results"))
        patch.setenv("THESIS_DATA", str(folder / "data"))
        papermill.execute_notebook(
            paths.root() / CHAPTER,
            folder / "out.ipynb",
            {"dataset": "covidx", "overrides": TINY},
            progress_bar=False,
        )
        findings = runs.verify([folder / "results"])
    (record,) = (folder / "results").glob("*/*/run.json")
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    return notebook, json.loads(record.read_text(encoding="utf-8")), findings


def test_it_seals_a_record_that_verifies(executed):
    _, record, findings = executed

    assert record["status"] == "sealed"
    assert record["left_out"] == {}
    assert {finding.kind for finding in findings} <= {"agrees", "absent"}
    assert "agrees" in {finding.kind for finding in findings}


def test_its_rows_are_those_of_before(executed):
    _, record, _ = executed

    same_rows(record, "05 covidx")


def test_what_scores_follow_is_recomputed(executed):
    """Of every detector and of every variant of the diagnosis, with every floor."""
    _, record, findings = executed
    rows = [row for row in record["rows"] if row["metric"] == "rank correlation"]

    followed = {(row["row"], row["setting"].get("variant")) for row in rows}
    assert ("pmsacl-padim", "the-text-to-the-letter") in followed
    assert len(rows) == len(followed) * len(FOLLOWED)
    assert all(-1 <= row["value"] <= 1 and row["n"] == 24 for row in rows)
    assert not any("rank correlation" in finding.text for finding in findings)


def test_every_row_says_phantom_and_names_its_table(executed):
    _, record, _ = executed
    rows = record["rows"]

    assert {row["source"] for row in rows} == {"phantom"}
    aurocs = {
        (row["table"], row["row"])
        for row in rows
        if row["metric"] == "auc" and row["setting"] == {}
    }
    assert {("5.4", "pmsacl-padim"), ("5.4", "pmsacl-igd")} <= aurocs
    assert {(None, "random-padim"), (None, "class-padim")} <= aurocs
    floors = {"nn-statistics", "nn-thumbnails-16", "logistic-statistics", "cnn-ceiling"}
    assert floors <= {row["row"] for row in rows}
    differences = {r["setting"]["minus"] for r in rows if "difference" in r["metric"]}
    named = {"random-padim", "class-padim", "simclr-padim", *IGD_PAIRS}
    assert differences - text.FLOORS.keys() == named
    assert differences & text.FLOORS.keys() == {r["row"] for r in rows} & set(
        text.FLOORS
    )


def test_progress_is_marked_for_the_book_to_leave_out(executed):
    notebook, _, _ = executed
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    shown = [(o, o.get("data", {}).get("text/plain", "")) for o in outputs]
    lines = [o for o, words in shown if re.match(r"[a-z/-]+ \d+/\d+ \d+ s", words)]

    assert lines
    assert all(line["metadata"] == progress.METADATA for line in lines)


def test_every_figure_says_phantom_and_what_it_shows(executed):
    notebook, _, _ = executed
    figures = [html for html in html_of(notebook) if "<figure" in html]

    assert len(figures) >= 10
    assert any("on patches of 32 px, 2 steps" in html for html in figures)
    for html in figures:
        assert "phantom, quick" in html
        assert 'alt="' in html
        assert 'alt=""' not in html


def test_decisions_of_both_detectors_are_shown(executed):
    notebook, _, _ = executed
    captions = re.findall(r"Decisions of (.+?)</", " ".join(html_of(notebook)))

    assert captions == [
        "PMSACL + PaDiM with scores; Figure 5.5 is with IGD.",
        "PMSACL + IGD with scores, as Figure 5.5.",
    ]


def test_nothing_litters_the_page(executed):
    notebook, _, _ = executed
    text = json.dumps([cell.get("outputs", []) for cell in notebook.cells])

    assert "it/s" not in text  # no progress bars
    assert str(paths.root()) not in text  # no path of this machine
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", cell.source
