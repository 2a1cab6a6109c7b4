import sys
from subprocess import run

import pytest

from thesislib import paper
from thesislib.errors import InputError


def test_every_filled_cell_is_listed_once():
    cells = [(c.table, c.row, str(c.setting), c.metric) for c in paper.cells()]

    assert len(cells) == len(set(cells)) == 1922
    assert len(paper.tables()) == 55
    assert len(paper.claims()) == 182
    assert len(paper.inconsistencies()) == 68
    assert len(paper.figures()) == 48


def test_numbers_are_as_printed():
    assert paper.published("5.1", "pmsacl-padim", {}, "auc") == 0.996
    alone, lag = {"components": ["l_pmsacl"]}, {"dataset": "lag"}
    assert paper.published("5.8", "pmsacl-padim", alone, "auc@lag") == 0.717
    deviation = {"mean": None, "std": 0.0163}
    assert paper.published("5.5", "pmsacl-padim", lag, "auc") == deviation


def test_what_is_not_printed_is_none():
    assert paper.published(None, "pmsacl-padim", {}, "auc") is None
    assert paper.published("5.1", "pmsacl-padim", {}, "ap") is None
    assert paper.published("5.1", "untrained-padim", {}, "auc") is None
    assert paper.published("MSACL-1", "adgan", {}, "auc@lag") is None


def test_an_unknown_table_is_an_error():
    with pytest.raises(InputError, match=r"'5\.99'.*5\.1, 5\.2"):
        paper.published("5.99", "pmsacl-padim", {}, "auc")


def test_a_setting_that_fits_two_rows_is_an_error():
    with pytest.raises(InputError, match="5 rows 'pmsacl-padim'"):
        paper.published("5.8", "pmsacl-padim", {"pretrain": "ssl"}, "auc@lag")


def test_a_cell_knows_its_dataset():
    where = {
        (c.table, c.metric, c.row): (c.dataset, c.part, c.quantity)
        for c in paper.cells()
    }

    assert where["5.1", "auc", "padim"] == ("hyperkvasir", "", "auc")
    assert where["MSACL-2", "iou@lag", "padim"] == ("lag", "", "iou")
    assert ("mvtec", "bottle") in {(c.dataset, c.part) for c in paper.cells()}
    deviations = [c for c in paper.cells("5.5") if c.quantity == "auc"]
    assert [c.dataset for c in deviations] == ["hyperkvasir", "lag", "covidx"]
    assert [c.std for c in deviations] == [0.0084, 0.0163, 0.0107]


def test_only_the_standard_library_is_imported():
    heavy = "{'torch', 'numpy', 'pandas', 'pydantic', 'matplotlib', 'scipy'}"
    code = f"import sys, thesislib.paper; assert not {heavy} & set(sys.modules)"

    assert run([sys.executable, "-c", code]).returncode == 0
