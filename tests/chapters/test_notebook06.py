"""Chapter 6 as a reader runs it, with so few images that nothing is learnt."""

import json
import re

import nbformat
import papermill
import pytest

from tests.chapters.frozen import same_rows
from tests.chapters.notebooks import html_of
from thesislib import paths, runs

pytestmark = pytest.mark.xdist_group("chapter06")  # one process runs the chapter
CHAPTER = "chapters/06_igd.ipynb"
DATA = {
    "data.num_train": 24,
    "data.num_test_normal": 8,
    "data.num_test_abnormal": 16,
    "igd.batch_size": 8,
    "igd.num_steps": 6,
    "study.num_maps": 8,
    "study.num_tsne": 20,
}
GIVEN = {
    "fmnist": {"classes": ["0", "6"], "overrides": DATA},
    "hyperkvasir": {
        "dataset": "hyperkvasir",
        "part": "all",
        "overrides": DATA
        | {
            "igd.num_steps": 3,
            "local.num_steps": 3,
            "local.batch_size": 8,
            "study.ablation": ["rec"],
            "study.baselines": ["kde"],
            "study.robust": ["igd"],
        },
    },
}


def execute(name, folder):
    """The chapter on a phantom; results and caches in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        for what in ("RESULTS", "DATA", "CACHE"):
            patch.setenv(f"THESIS_{what}", str(folder / what.lower()))
        papermill.execute_notebook(
            paths.root() / CHAPTER,
            folder / "out.ipynb",
            {"source": "phantom", **GIVEN[name]},
            progress_bar=False,
        )
        findings = runs.verify([folder / "results"])
    (path,) = (folder / "results").glob("*/*/run.json")
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    return notebook, json.loads(path.read_text(encoding="utf-8")), findings


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: tmp_path_factory.mktemp(name) for name in GIVEN}


@pytest.fixture(scope="module", params=GIVEN)
def executed(request, folders):
    return request.param, *execute(request.param, folders[request.param])


def test_it_seals_a_record_of_which_every_row_verifies(executed):
    _, _, record, findings = executed

    assert record["status"] == "sealed"
    assert record["left_out"] == {}
    number = len(record["rows"])
    texts = [one.text for one in findings if one.kind != "changed"]
    assert texts == [f"seal and files, {number} of {number} rows recomputed"]


def test_its_rows_are_those_of_before(executed):
    name, _, record, _ = executed

    same_rows(record, f"06 {name}")


def test_every_row_says_phantom_and_names_its_table(executed):
    name, _, record, _ = executed
    rows = record["rows"]

    assert {row["source"] for row in rows} == {"phantom"}
    aurocs = {(r["table"], r["row"], r["metric"]) for r in rows}
    if name == "fmnist":
        assert ("6.1", "igd", "auc@fmnist") in aurocs
        assert {(None, "igd", f"auc@fmnist/{c}") for c in "06"} <= aurocs
        assert {(None, "dsvdd", "auc@fmnist"), (None, "kde", "auc@fmnist")} <= aurocs
    else:
        assert (None, "igd", "auc") in aurocs
        maps = {r["setting"]["scale"] for r in rows if r["metric"] == "pixel_auc"}
        assert maps == {"igd", "local", "both"}


def test_part_all_has_the_ablation_and_the_robustness(executed):
    name, notebook, record, _ = executed
    settings = [row["setting"] for row in record["rows"]]
    components = {tuple(s.get("components", ())) for s in settings}
    text = " ".join(html_of(notebook))

    if name == "hyperkvasir":
        assert {("rec",), ("rec", "gac", "inter")} <= components
        assert {s["contamination"] for s in settings if "contamination" in s} == {
            0,
            0.1,
        }
        assert "Not in this run" not in text
    else:
        assert components == {()}
        assert "-p part ablation" in text
        assert "-p part robustness" in text


def test_every_figure_says_phantom_and_what_it_shows(executed):
    name, notebook, _, _ = executed
    figures = [html for html in html_of(notebook) if "<figure" in html]

    assert len(figures) == (9 if name == "hyperkvasir" else 8)
    for html in figures:
        assert "phantom, quick" in html
        assert 'alt="' in html
        assert 'alt=""' not in html


def test_nothing_litters_the_page(executed):
    _, notebook, _, _ = executed
    text = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)  # pictures spell anything

    assert "it/s" not in text  # no progress bars
    assert "Warning" not in text
    assert str(paths.root()) not in text  # no path of this machine
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", cell.source


def test_run_again_it_reads_the_sealed_run_back(executed, folders):
    name, _, record, _ = executed
    if name != "fmnist":
        pytest.skip("one of the two is enough")

    notebook, again, _ = execute(name, folders[name])

    assert again == record  # the rows are compared with the sealed ones by `finish`
    assert "sealed before" in json.dumps([c.get("outputs", []) for c in notebook.cells])
