"""Chapter 4 as a reader runs it, with so few images that nothing is learnt."""

import json

import nbformat
import papermill
import pytest

from tests.chapters.notebooks import html_of
from thesislib import paper, paths, runs
from thesislib.chapters.ch04_ccd.settings import QUICK_STUDY
from thesislib.report import text

pytestmark = pytest.mark.xdist_group("chapter04")  # one process runs the chapter
TINY = {
    **{f"{name}.num_steps": 2 for name in ("ccd", "rotnet", "simclr")},
    **{f"{name}.num_steps": 2 for name in ("igd", "local", "ae", "ae_local")},
    **{
        f"{name}.{what}_steps": 2
        for name in ("anogan", "anogan_local")
        for what in ("gan", "encoder")
    },
    "ccd.batch_size": 4,
    "data.num_train": 40,
    "data.num_test_normal": 24,
    "data.num_test_abnormal": 24,
    "study.num_ceiling": 40,
    "study.num_maps": 12,
    "study.num_tsne": 20,
    "study.dae": True,
    "study.loss_terms": True,
    "study.strong": ["rotation"],
    "study.batch_sizes": [8],
}
DETECTORS = ("igd", "f-anogan", "ms-ssim", "padim")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The chapter on Hyper-Kvasir without the data: the phantom stands in."""
    folder = tmp_path_factory.mktemp("chapter04")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THESIS_RESULTS", str(folder / "results"))
        patch.setenv("THESIS_DATA", str(folder / "data"))
        papermill.execute_notebook(
            paths.root() / "chapters" / "04_ccd.ipynb",
            folder / "out.ipynb",
            {"overrides": TINY},
            progress_bar=False,
        )
        findings = runs.verify([folder / "results"])
    (record,) = (folder / "results").glob("*/*/run.json")
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    return notebook, record, findings


@pytest.fixture(scope="module")
def rows(executed):
    return json.loads(executed[1].read_text(encoding="utf-8"))["rows"]


def test_it_seals_a_record_that_verifies(executed):
    _, record, findings = executed

    assert json.loads(record.read_text(encoding="utf-8"))["left_out"] == {}
    assert {finding.kind for finding in findings} <= {"agrees", "absent"}
    assert "agrees" in {finding.kind for finding in findings}


def test_every_detector_stands_on_every_encoder(rows):
    found = {
        row["row"] for row in rows if row["metric"] == "auc" and not row["setting"]
    }

    wanted = {f"{e}-{d}" for e in ("ccd", *QUICK_STUDY.encoders) for d in DETECTORS}
    assert wanted <= found
    floors = {"nn-statistics", "nn-thumbnails-16", "logistic-statistics", "cnn-ceiling"}
    assert floors <= found
    assert "dae-scratch" in found  # the printed DAE starts from ImageNet


def test_rows_of_the_thesis_stand_beside_its_numbers(rows):
    printed = {(r["table"], r["row"], r["metric"]): r["published"] for r in rows}

    for row in ("ccd-igd", "ccd-f-anogan", "ccd-ms-ssim"):
        value = paper.published("4.3", row, {}, "auc@hyperkvasir")
        assert printed["4.3", row, "auc@hyperkvasir"] == value
    assert printed["4.2", "ccd-igd", "iou"] == 0.372
    components = [
        tuple(r["setting"]["components"]) for r in rows if r["table"] == "4.1"
    ]
    assert sorted(components) == sorted(
        tuple(r["setting"]["components"]) for r in paper.table("4.1")["rows"]
    )


def test_each_detector_has_its_declared_contrast(rows):
    pairs = {
        (row["row"], row["setting"]["minus"])
        for row in rows
        if row["metric"] == "auc difference"
    }

    floors = {row["row"] for row in rows} & text.FLOORS.keys()
    others = {"random-{}", *floors}
    assert len(floors) > 5
    assert pairs == {(f"ccd-{d}", m.format(d)) for d in DETECTORS for m in others}


def test_sweeps_carry_the_names_that_the_claims_ask_for(rows):
    settings = [row["setting"] for row in rows if row["row"] == "ccd-igd"]

    strong = {s["strong"] for s in settings if "strong" in s}
    assert strong == {"permutation", "rotation"}
    assert {s["batch_size"] for s in settings if "batch_size" in s} == {4, 8}


def test_what_is_kept_is_the_method_and_none_of_its_variants(executed):
    _, record, _ = executed
    kept = {path.stem for path in (record.parent / "models").iterdir()}

    assert kept >= {f"ccd-{detector}" for detector in DETECTORS}
    files = json.loads(record.read_text(encoding="utf-8"))["files"]
    assert {f"models/{name}.safetensors" for name in kept} <= files.keys()


def test_every_figure_says_phantom_and_what_it_shows(executed):
    notebook, _, _ = executed
    figures = [html for html in html_of(notebook) if "<figure" in html]

    assert len(figures) >= 12
    for html in figures:
        assert "phantom, quick" in html
        assert 'alt="' in html
        assert 'alt=""' not in html


def test_nothing_litters_the_page(executed):
    notebook, _, _ = executed
    text = json.dumps([cell.get("outputs", []) for cell in notebook.cells])

    assert str(paths.root()) not in text  # no path of this machine
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", cell.source
