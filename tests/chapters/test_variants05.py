"""Figures 5.5, 5.7 and 5.8 on made-up scores: what is published, and of whom."""

import re

import numpy as np
import pytest

from thesislib import paper, runs
from thesislib.augment.strong import STRONG
from thesislib.chapters.ch05_pmsacl import methods as chapter05
from thesislib.chapters.ch05_pmsacl.settings import Chapter05
from thesislib.figures import panels
from thesislib.metrics import image
from thesislib.report import text
from thesislib.study import pictures, variants
from thesislib.study.method import Detection

SETTINGS = {
    "data.num_train": 16,
    "data.num_test_normal": 60,
    "data.num_test_abnormal": 60,
    "study.strong": [name for name in STRONG if name != "medmix"],
    "study.num_classes": [2, 3, 5],
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a run on a phantom; every variant of it is detected by chance."""
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"THESIS_{name}", str(tmp_path / name.lower()))
    for module in (pictures, variants):
        monkeypatch.setattr(
            module, "detect", lambda run, method: detected(run, len(method.label))
        )
    started = []

    def start(dataset):
        given = {"dataset": dataset, "source": "phantom", "overrides": SETTINGS}
        started.append(runs.start(Chapter05, given))
        return started[-1]

    yield start
    for run in started:
        run.close()


def detected(run, seed):
    scores = np.random.default_rng(seed).normal(size=len(run.data.test_labels))
    return Detection(
        scores=scores + run.data.test_labels,
        shown=np.arange(20, 100),
        maps={"padim": np.zeros((80, 2, 2), np.float32)},
        ends={"padim": (0.0, 1.0)},
    )


def drawn(monkeypatch, run, draw):
    """The axes of a comparison, its HTML and its diamonds by legend entry."""
    figures = []
    show = run.figure

    def keep(fig, *args, **kwargs):
        figures.append(fig)
        return show(fig, *args, **kwargs)

    monkeypatch.setattr(run, "figure", keep)
    html = draw(run)
    ax = figures[0].axes[0]
    return ax, html, {line.get_label(): line for line in ax.lines if diamond(line)}


def diamond(line):
    return line.get_marker() == "D"


def known_points(figure_id):
    (found,) = [f for f in paper.figures() if f["id"] == figure_id]
    return found["known_points"]


@pytest.mark.parametrize(
    ("dataset", "number"), [("hyperkvasir", 2), ("covidx", 2), ("lag", 0)]
)
def test_figure_5_7_shows_the_points_of_the_text(start, monkeypatch, dataset, number):
    name = text.DATASETS[dataset]
    points = " ".join(p for p in known_points("5.7") if p.startswith(name))
    expected = re.findall(r"(MedMix|[a-z]+)(?: about)? (0\.\d+)", points)
    assert len(expected) == number

    ax, html, diamonds = drawn(monkeypatch, start(dataset), chapter05.strong_table)

    assert set(diamonds) == ({"published, IGD (real data)"} if number else set())
    rows = [tick.get_text().removeprefix("2×2 ") for tick in ax.get_yticklabels()]
    found = {
        name: x
        for line in diamonds.values()
        for name, x in zip(rows, line.get_xdata(), strict=True)
        if np.isfinite(x)
    }
    assert found == {name: float(value) for name, value in expected}
    assert "PMSACL + PaDiM (Figure 5.7: with IGD)" in html
    assert html.count("<td>0.") == len(STRONG) + number


@pytest.mark.parametrize("dataset", ["hyperkvasir", "covidx"])
def test_figure_5_8_shows_the_point_of_hyper_kvasir(start, monkeypatch, dataset):
    (best,) = [p for p in known_points("5.8") if "best" in p]
    count = int(re.search(r"\|A\|=(\d)", best)[1])
    value = paper.published("5.1", "pmsacl-padim", {}, "auc")
    assert f"Table 5.1 has {value}" in best

    _, html, diamonds = drawn(monkeypatch, start(dataset), chapter05.classes_table)

    points = [(*line.get_xdata(), *line.get_ydata()) for line in diamonds.values()]
    assert points == ([(count, value)] if dataset == "hyperkvasir" else [])
    assert "with PMSACL + PaDiM, as Figure 5.8" in html
    assert ("98 to 99 %" in html) == (dataset == "hyperkvasir")


def test_rows_carry_the_names_that_the_claims_ask_for(start):
    run = start("lag")

    chapter05.strong_table(run)
    chapter05.classes_table(run)

    settings = [row["setting"] for row in run.rows]
    assert {s["strong"] for s in settings if "strong" in s} == set(STRONG)
    assert {s["num_classes"] for s in settings if "num_classes" in s} == {2, 3, 4, 5}


def test_decisions_are_made_at_the_detectors_own_threshold(start, monkeypatch):
    run = start("hyperkvasir")
    method = {m.key: m for m in chapter05.methods(run)}[chapter05.PMSACL_IGD]
    igd, seen = detected(run, len(method.label)), []
    draw = panels.gallery

    def watched(*given, **more):
        seen.append(given)
        return draw(*given, **more)

    monkeypatch.setattr(panels, "gallery", watched)

    html = pictures.gallery(run, method, ", as Figure 5.5", "gallery-igd")

    draws = image.protocol_50_50(run.data.test_labels, igd.scores, run.parameters.seed)
    _, labels, scores, threshold, _ = seen[0]
    assert threshold == draws["threshold"]
    assert labels.tolist() == run.data.test_labels[20:100].tolist()
    assert scores.tolist() == igd.scores[20:100].tolist()
    assert "Decisions of PMSACL + IGD with scores, as Figure 5.5." in html


def test_a_detector_that_was_not_run_has_no_gallery(start):
    html = pictures.gallery(start("lag"), None, "", "gallery-igd")

    assert "Not in this run" in html
    assert "<figure" not in html
