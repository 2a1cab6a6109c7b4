import re

import pytest

from thesislib import paper
from thesislib.book import pages as book_pages
from thesislib.report import ledger
from thesislib.report.claims import judge_all


def pages(made, records, links=None):
    return book_pages.ledger_pages(ledger.build(made.runs(records)), links or {})


def lines(html):
    """Cells of every table line, tags and blanks stripped."""
    found = re.findall(r"<tr>(.*?)</tr>", html)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in found)
    return [[re.sub(r"<[^>]+>", " ", c).split() for c in line] for line in cells]


def numbers(made, records):
    """Words in cells of table lines of all chapters."""
    found = pages(made, records)
    return [
        " ".join(cell)
        for name, page in found.items()
        if name != "ledger"
        for line in lines(page)
        for cell in line[1:]
    ]


def test_every_published_number_is_printed(made):
    from thesislib.report.text import published

    shown = numbers(made, [])
    expected = [published(cell) for cell in paper.cells()]

    for number in set(expected):
        assert shown.count(number) >= expected.count(number), number


def test_there_is_a_page_for_every_chapter_and_salad(made):
    chapters = [f"ledger_chapter_{n:02d}" for n in range(3, 12)]

    assert set(pages(made, [])) == {"ledger", "ledger_salad", *chapters}


def test_what_was_not_run_stands_with_its_command(made):
    page = pages(made, [])["ledger_chapter_05"]

    assert "-p dataset covidx -p source real -p preset paper -p seed 0" in page
    assert ["not", "run"] in [line[-1] for line in lines(page) if line]


def test_a_phantoms_number_carries_the_mark_in_its_cell(made):
    records = [
        made.record([made.row(value=0.7654)], seed=s, source="phantom")
        for s in range(5)
    ]

    page = pages(made, records)["ledger_chapter_05"]

    cells = [" ".join(c) for line in lines(page) for c in line if "0.765" in str(c)]
    assert cells
    assert all("phantom" in cell for cell in cells)


def test_numbers_link_to_the_runs_they_come_from(made):
    record = made.record()

    page = pages(made, [record], {record["seal"]: "../chapters/05.html"})

    assert '<a href="../chapters/05.html">0</a>' in page["ledger_chapter_05"]
    assert '<a href="../chapters/05.html">results/0</a>' in page["ledger"]


def test_the_overview_counts_every_number(made):
    page = pages(made, [made.record()])["ledger"]

    (total,) = (line for line in lines(page) if line and line[0] == ["all"])
    assert total[1] == ["1922"]
    assert sum(int(cell[0]) for cell in total[2:]) == 1922


def test_what_was_passed_over_is_named(made):
    collection = made.runs([])
    collection.passed_over.append("results/x: not sealed")

    built = book_pages.ledger_pages(ledger.build(collection), {})

    assert "- results/x: not sealed" in built["ledger"]


def test_rows_of_ours_alone_have_a_table_of_their_own(made):
    rows = [
        made.row(table=None, row="nearest-neighbour", value=0.61),
        made.row("auc difference", 0.12, table=None, setting={"minus": "random"}),
    ]

    page = pages(made, [made.record(rows)])["ledger_chapter_05"]

    extra = page.partition("## Ours without a published counterpart")[2]
    assert [line[0] for line in lines(extra)[1:]] == [
        ["PMSACL", "+", "PaDiM,", "minus", "random"],
        ["nearest", "neighbour"],
    ]


def test_all_claims_stand_on_their_page(made):
    judged = judge_all(ledger.build(made.runs([])))

    page = book_pages.claims_page(judged)

    ids = [line[0][0] for line in lines(page) if line and line[0] != ["claim"]]
    assert ids == [claim["id"] for claim in paper.claims()]
    num_open = sum(one.state == "not implemented" for one in judged)
    assert page.count("not implemented</span>") == num_open > 0


def test_all_inconsistencies_are_listed():
    page = book_pages.inconsistencies_table()

    ids = [line[0][0] for line in lines(page)[1:]]
    assert ids == [item["id"] for item in paper.inconsistencies()]


@pytest.mark.parametrize("state", ["reproduced", "falls short", "undecided"])
def test_a_verdict_is_said_in_words(state):
    assert f">{state}</span>" in book_pages.badge(state)


def test_html_blocks_hold_no_empty_line(made):
    """An empty line would end the block and turn the rest into Markdown."""
    for page in pages(made, [made.record()]).values():
        for block in re.findall(r"<div class=.thesis-scroll.*?</div>", page, re.S):
            assert "\n" not in block
