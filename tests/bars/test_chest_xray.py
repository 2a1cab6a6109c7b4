"""Chapters 4 to 6 on the real chest X-rays: `quick`, minutes, naive floors.

In `$THESIS_TEST_DATA/chest_xray_224`. Printed are AUROCs with patient-clustered
intervals; no test asks for one, since an honest low number is a result.
"""

from functools import partial

import pytest

from tests.bars import chapters

FLOORS = {
    *("nn-statistics", "nn-thumbnails-32", "logistic-statistics"),
    *("edge-strength", "edge-oracle"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, real_data):
    """Records by chapter and start, and minutes of each chapter's share."""
    root = real_data("chest_xray_224")
    folder = tmp_path_factory.mktemp("chest")
    given = {"dataset": "chestxray", "source": "real", "data_root": str(root)}
    start = partial(chapters.start, folder=folder, **given)
    four = chapters.minutes_of([partial(start, "04_ccd", name="four")])
    five = chapters.minutes_of([partial(start, "05_pmsacl", name="five")])
    six = chapters.minutes_of(
        [
            partial(start, "06_igd", name="pmsacl", start="pmsacl"),
            partial(start, "06_igd", name="scratch", start="scratch"),
        ]
    )
    found = {}
    for record in chapters.sealed(folder):
        resolved = record["parameters"]["resolved"]
        found[record["chapter"], resolved["start"]] = record
        print(record["chapter"], resolved["start"])
        chapters.show(record["rows"], "auc", "auc difference", "f1")
    print(f"chapter 4: {four:.1f} minutes; chapter 5: {five:.1f}; chapter 6: {six:.1f}")
    return found, five, six, four


def test_all_images_are_there_and_intervals_cluster_patients(runs):
    for record in runs[0].values():
        counts = record["dataset"]["counts"]
        assert counts["test normal"] + counts["test abnormal"] == 234 + 390


def test_the_naive_floors_stand_beside_the_methods(runs):
    for chapter in ("04_ccd", "05_pmsacl"):
        rows = runs[0][chapter, "scratch"]["rows"]
        assert {row["row"] for row in rows} >= FLOORS
    edges = next(r for r in rows if (r["row"], r["metric"]) == ("edge-strength", "auc"))
    assert edges["value"] == pytest.approx(0.841, abs=0.005)
    (f1,) = [
        r["value"] for r in rows if (r["row"], r["metric"]) == ("all-abnormal", "f1")
    ]
    assert f1 == pytest.approx(0.769, abs=5e-4)  # of calling everything abnormal


def test_chapters_4_and_5_take_less_than_15_minutes_each(runs):
    assert max(runs[1], runs[3]) < 15


def test_both_detectors_and_both_starts_take_less_than_25(runs):
    assert runs[1] + runs[2] < 25
