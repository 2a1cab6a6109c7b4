"""Chapters 4 and 5 on real mucosa, cut from polyp images: `quick`, minutes, floors.

In `$THESIS_TEST_DATA/kvasir_patches_64`, read as anyone's folder. Printed are AUROCs
with intervals; no test asks for one, since an honest low number is a result: mean
brightness alone has .67 there.
"""

from functools import partial

import pytest

from tests.bars import chapters

CHAPTERS = ("04_ccd", "05_pmsacl")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, real_data):
    """Records by chapter, and the minutes that each took by itself."""
    root = real_data("kvasir_patches_64")
    folder = tmp_path_factory.mktemp("mucosa")
    given = {"dataset": "folder", "source": "real", "data_root": str(root)}
    start = partial(chapters.start, folder=folder, **given)
    minutes = {c: chapters.minutes_of([partial(start, c, name=c)]) for c in CHAPTERS}
    found = {record["chapter"]: record for record in chapters.sealed(folder)}
    for name, record in found.items():
        print(f"{name}: {minutes[name]:.1f} minutes")
        chapters.show(record["rows"], "auc", "auc difference")
    return found, minutes


def test_the_floors_and_the_declared_contrasts_are_there(runs):
    for record in runs[0].values():
        rows = {row["row"] for row in record["rows"]}
        assert {"nn-statistics", "edge-strength", "logistic-statistics"} <= rows
        assert any(row["metric"] == "auc difference" for row in record["rows"])


def test_each_takes_less_than_15_minutes(runs):
    assert max(runs[1].values()) < 15
