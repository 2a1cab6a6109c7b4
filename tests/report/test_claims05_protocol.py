"""Claims of chapter 5 that a run settles by what it states of itself."""

import pytest

from thesislib.report import ledger
from thesislib.report.claims import entries, judge_all

COVIDX = entries()["C5-39"].judged[0].fields["images"]
SETTINGS = entries()["C5-40"].judged[0].fields["configs"]
PROTOCOL = {"C5-38", "C5-39", "C5-40"}
COUNTS = {"train normal": 1_600, "test normal": 500, "test abnormal": 1_000}


def judged(made, record, claim):
    found = judge_all(ledger.build(made.runs([record])))
    return next(one for one in found if one.claim["id"] == claim)


def thresholded(made, normal, abnormal, **changes):
    """A run on Hyper-Kvasir whose rows count so many images of either class."""
    rows = [
        made.row(metric, 0.9, table="5.1") | {"n": n}
        for metric, n in (("specificity", normal), ("sensitivity", abnormal))
    ]
    record = made.record(rows, **changes)
    record["dataset"]["counts"] = COUNTS
    return judged(made, record, "C5-38")


def test_fifty_images_of_each_class_choose_the_threshold(made):
    found = thresholded(made, 450, 950)

    assert found.state == "holds"
    assert found.finding.detail == "2 of 2 rows leave 50 images out"


def test_another_draw_refutes_it(made):
    found = thresholded(made, 450, 1_000)

    assert found.state == "fails"
    assert "0 of test abnormal are drawn on Hyper-Kvasir" in found.finding.detail
    assert thresholded(made, 450, 950, source="phantom").state == "not run"


def test_our_own_runs_draw_as_the_claim_says():
    """The rows' numbers of images come from the protocol itself."""
    from thesislib.metrics import image

    labels = [0] * COUNTS["test normal"] + [1] * COUNTS["test abnormal"]
    found = image.evaluate(labels, range(len(labels)), num_bootstrap=10, repeats=2)

    assert (found["specificity"].n, found["sensitivity"].n) == (450, 950)


def covidx(made, counts=COVIDX, size=256, **changes):
    configs = {"data": {"image_size": size}}
    record = made.record(dataset="covidx", preset="paper", configs=configs, **changes)
    record["dataset"]["counts"] = counts
    return judged(made, record, "C5-39")


def test_the_published_images_of_covidx_are_the_adapters(made):
    from thesislib.datasets.covidx import Covidx
    from thesislib.study.task import DataConfig

    found = covidx(made, Covidx.published, DataConfig().image_size)

    assert found.state == "holds", found.finding.detail


@pytest.mark.parametrize("name", COVIDX)
def test_more_images_or_another_size_refute_it(made, name):
    assert covidx(made, COVIDX | {name: COVIDX[name] + 1}).state == "fails"
    assert covidx(made, size=224).state == "fails"


def configured(made, **changes):
    configs = {"pmsacl": SETTINGS["pmsacl"] | changes}
    return judged(made, made.record(preset="paper", configs=configs), "C5-40")


def test_the_paper_preset_has_the_printed_settings(made):
    from thesislib.chapters.ch05_pmsacl.settings import Chapter05
    from thesislib.runs.overrides import plain

    configs = plain(Chapter05(preset="paper").configs())
    record = made.record(preset="paper", configs=configs)

    assert judged(made, record, "C5-40").state == "holds"
    assert configured(made).state == "holds"


@pytest.mark.parametrize(
    ("key", "value"),
    [("batch_size", 16), ("lr", 0.05), ("num_features", 64), ("momentum", 0.0)],
)
def test_one_other_setting_refutes_it(made, key, value):
    found = configured(made, **{key: value})

    assert found.state == "fails"
    assert f"pmsacl.{key} is {value} (claimed" in found.finding.detail
