"""Rows of tiny runs of chapters 5 and 6, seed 0, as they were before both chapters were
moved onto the shared study; `frozen_rows.json` holds table, row, setting, metric, value
and number of images.

Where a part draws in another order since then, its rows were frozen anew, and the
commit says so.
"""

import json
from pathlib import Path

import pytest

PLACE = ("table", "row", "setting", "metric")
SAME = 0.02  # another processor rounds otherwise, and an image or two change places
PRETRAINED = ("pmsacl", "class", "simclr")  # first words of row keys
# Four steps at a high learning rate turn a difference of 1e-6 in a view into hundredths
# of an AUROC, and lesions that are just visible into others: of pre-trained encoders
# only AUROCs are compared, and only roughly.
ROUGHLY = 0.1


def same_rows(record, name):
    """Assert that a record has every frozen row, with its value."""
    path = Path(__file__).with_name("frozen_rows.json")
    frozen = json.loads(path.read_text(encoding="utf-8"))[name]
    found = {address(row): (row["value"], row["n"]) for row in record["rows"]}
    for *place, value, n in frozen:
        where = address(dict(zip(PLACE, place, strict=True)))
        assert where in found
        assert found[where][1] == n, where
        _, row, setting, metric = where
        same = SAME
        if row.split("-")[0] in PRETRAINED:
            if metric != "auc" or setting != "{}":
                continue
            same = ROUGHLY
        assert found[where][0] == pytest.approx(value, abs=same, rel=same), where


def address(row):
    setting = json.dumps(row["setting"], sort_keys=True)
    return row["table"], row["row"], setting, row["metric"]
