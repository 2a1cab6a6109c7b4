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


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("5.1 pmsacl-padim auc", [0.996]),
        ("6.2 igd auc pretrain=ssl", [0.934]),
        ("6.2 igd auc", [0.926, 0.934]),
        ("4.1 ccd-igd auc components=l_con+l_pre", [0.964]),
        ("4.3 f-anogan auc@*", [0.907, 0.691, 0.778]),
        ("4.3 dae auc@*", [0.705, 0.629]),  # one is not printed
        ("5.1 pmsacl-padim", []),
        ("5.1 pmsacl-padim auc pretrain=scratch", []),
        ("99 pmsacl-padim auc", []),
    ],
)
def test_cells_are_found_by_their_address(address, values):
    assert [cell.value for cell in paper.find_cells(address)] == values


def test_all_classes_are_those_without_their_mean():
    found = paper.find_cells("A.1 igd auc@mvtec/* pretrain=ssl")

    assert len(found) == 15 and "mean" not in {cell.part for cell in found}


def test_only_the_standard_library_is_imported():
    heavy = "{'torch', 'numpy', 'pandas', 'pydantic', 'matplotlib', 'scipy'}"
    code = f"import sys, thesislib.paper; assert not {heavy} & set(sys.modules)"

    assert run([sys.executable, "-c", code]).returncode == 0
