from html.parser import HTMLParser

import pytest

from thesislib.errors import InputError
from thesislib.report.tables import beside


class Cells(HTMLParser):
    """Texts of a table's cells, line by line."""

    def __init__(self, html):
        super().__init__()
        self.lines, self.open, self.scopes = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")
        if tag == "th":
            self.scopes.append(dict(attributes).get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.lines[-1][-1] += data


def test_ours_stands_beside_the_published_number(made):
    html = beside([made.row(value=0.9871), made.row("accuracy", 0.9)], "5.1")

    head, pairs, line = Cells(html).lines
    assert head == ["method", "AUROC", "accuracy", "images"]
    assert pairs == ["published", "ours", "published", "ours"]
    assert line == [
        *("PMSACL - PaDiM", "0.996", "0.987[0.983, 0.991]"),
        *("0.983", "0.900[0.896, 0.904]", "1500"),
    ]


def test_every_number_from_a_phantom_says_so(made):
    rows = [made.row(value=0.7, source="phantom"), made.row("accuracy", 0.6)]
    rows[1]["source"] = "phantom"

    (line,) = Cells(beside(rows, "5.1")).lines[2:]

    assert [cell.count("phantom") for cell in line] == [0, 0, 1, 0, 1, 0]


def test_partial_data_are_marked(made):
    assert "partial" in Cells(beside([made.row()], "5.1", partial=True)).lines[2][2]


def test_rows_that_no_table_prints_come_last_if_named(made):
    floor = made.row(value=0.6, table=None, row="nearest")
    rows = [floor, made.row()]

    named = Cells(beside(rows, "5.1", names={"nearest": "nearest neighbour"})).lines
    unnamed = Cells(beside(rows, "5.1")).lines

    assert [line[0] for line in named[2:]] == ["PMSACL - PaDiM", "nearest neighbour"]
    assert named[3][1] == "–"
    assert [line[0] for line in unnamed[2:]] == ["PMSACL - PaDiM"]


def test_a_metric_that_is_not_printed_joins_the_printed_line(made):
    rows = [made.row(table="5.6", metric="iou", value=0.4)]
    rows += [made.row(table=None, metric="iou oracle", value=0.5)]

    names = {"pmsacl-padim": "ours"}
    (line,) = Cells(beside(rows, "5.6", names=names)).lines[2:]

    assert line[0] == "PMSACL - PaDiM"
    assert [cell[:5] for cell in line[1:5]] == ["0.406", "0.400", "–", "0.500"]


def test_rows_with_a_setting_of_their_own_need_their_own_table(made):
    kind = made.row(table=None, setting={"kind": "polyp"}, value=0.5)

    html = beside([made.row(), kind], "5.1", names={"pmsacl-padim": "ours"})

    assert len(Cells(html).lines) == 3


def test_all_published_rows_on_request(made):
    lines = Cells(beside([made.row()], "5.1", every=True)).lines

    assert len(lines) == 2 + 13
    assert ["DAE", "0.705", "–", "–"] in lines


def test_ablation_rows_meet_their_own_setting(made):
    setting = {"components": ["l_pmsacl", "l_ctr"]}
    row = made.row("auc@lag", 0.7, table="5.8", setting=setting)

    (line,) = Cells(beside([row], "5.8")).lines[2:]

    assert line[:2] == ["contrast (5.4) + centring (5.3)", "0.738"]


def test_a_table_of_ours_alone_has_no_published_column(made):
    row = made.row(value=0.6, table=None, row="nearest-neighbour")

    lines = Cells(beside([row], None, title="Naive baselines.")).lines

    assert lines[0] == ["method", "AUROC", "images"]
    assert lines[1][0] == "nearest neighbour"


def test_caption_and_headers_serve_screen_readers(made):
    html = beside([made.row(source="phantom", preset="quick")], "5.1")

    caption = html.partition("<caption>")[2].partition("</caption>")[0]
    for fact in ("phantom in place of Hyper-Kvasir", "preset quick", "seed 0"):
        assert fact in caption
    assert None not in Cells(html).scopes


def test_rows_of_two_runs_are_refused(made):
    with pytest.raises(InputError, match="differ in seed"):
        beside([made.row(), made.row("accuracy", seed=1)], "5.1")


def test_a_table_without_rows_is_refused(made):
    with pytest.raises(InputError, match=r"no rows for Table 5\.2"):
        beside([made.row()], "5.2")


def test_names_are_escaped(made):
    row = made.row(table=None, row="a<b>", value=0.5)

    assert "a&lt;b&gt;" in beside([row], None, title="x & y")
