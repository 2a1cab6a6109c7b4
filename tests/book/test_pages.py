import re
from pathlib import Path

import pytest

from thesislib import paper
from thesislib.book import pages as book_pages
from thesislib.report import findings, ledger
from thesislib.report.claims import judge_all
from thesislib.report.implemented import counterpart

ROOT = Path(__file__).resolve().parents[2]


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


# --- right numbers first -----------------------------------------------------------


def everything(made, chapter="06_igd"):
    """A run that states every cell of ours that is printed, twice over."""
    found = {}
    for cell in paper.cells():
        ours = counterpart(cell)
        if ours and ours.chapter == chapter and cell.value is not None:
            more = {"table": cell.table, "row": cell.row, "setting": cell.setting}
            row = made.row(cell.metric, 0.7, **more)
            found.setdefault(ours.dataset, []).append(row)
    return [
        made.record(rows, seed=seed, dataset=dataset, chapter=chapter, preset=preset)
        for dataset, rows in found.items()
        for preset in ("quick", "standard")
        for seed in range(2)
    ]


def tables(page):
    """Lines below the head of every table of a page."""
    for table in re.findall(r"<table.*?</table>", page):
        head, _, body = table.partition("</thead>")
        columns = [" ".join(cell) for line in lines(head) for cell in line]
        yield columns, lines(body)


@pytest.mark.parametrize("filled", [False, True])
def test_no_two_lines_of_a_ledger_table_bear_the_same_words(made, filled):
    """What a line is of stands in its words: name, setting, metric."""
    chapters = ("04_ccd", "05_pmsacl", "06_igd")
    records = [one for name in chapters for one in everything(made, name)]
    found = pages(made, records if filled else [])
    seen = 0
    for name, page in found.items():
        for columns, body in tables(page):
            if columns[0] == "method":
                words = [
                    tuple(
                        " ".join(cell) for cell in line[: 1 + (columns[1] == "metric")]
                    )
                    for line in body
                ]
                assert all(one[0] for one in words), (name, columns)
                twice = {one for one in words if words.count(one) > 1}
                assert not twice, (name, twice)
                seen += len(words)
    assert seen > 800


def test_settings_of_chapter_6_are_said_in_words(made):
    page = pages(made, [])["ledger_chapter_06"]

    for words in (
        "IGD (Ours) (20 % of the training images)",
        "DSVDD (10 % of the training set abnormal)",
        "REC + GAC + INTER",
        "AUROC, 20 % of the training images",
        "KDE (Scratch)",
        "Student-Teacher (ImageNet)",
        "Rot-Net (SSL)",
    ):
        assert words in page, words
    words = " ".join(str(body) for _, body in tables(page))
    assert not re.search(r"train.fraction|small20|contaminated10", words)


def of_classes(made, preset, classes, value, **changes):
    """A run of chapter 6 over some classes of Fashion-MNIST."""
    start = {"pretrain": "imagenet"}
    rows = [
        made.row(f"auc@fmnist/{name}", value, table="A.3", row="igd", setting=start)
        for name in (*classes, "mean")
    ]
    record = made.record(
        rows, dataset="fmnist", chapter="06_igd", preset=preset, **changes
    )
    return record


def test_the_whole_comes_before_a_part_and_a_part_says_so(made):
    part = of_classes(made, "standard", "012", 0.81, finished="2026-05-01T00:00:00")
    part["parameters"]["resolved"]["part"] = "robustness"
    whole = of_classes(made, "standard", "0123456789", 0.92)

    page = pages(made, [part, whole])["ledger_chapter_06"]

    (found,) = (
        body
        for columns, body in tables(page)
        if any("0.920" in " ".join(map(str, line)) for line in body)
        and "Table 6.1" in page.partition("0.920")[0].rpartition("## ")[2]
        and columns[0] == "method"
        and "A.3" not in str(body)
        and any("Fashion-MNIST" in " ".join(line[1]) for line in body)
        and not any("mean" in line[1] for line in body)
    )
    ours = [line[3] for line in found if line[3] != ["–"]]
    assert ours[0][0] == "0.920" and "classes" not in ours[0]
    assert ours[1][0] == "0.810"
    assert " ".join(ours[1]).endswith("3 of 10 classes, part robustness")


def test_the_ledger_and_the_claims_judge_one_number(made):
    start = {"pretrain": "scratch"}
    rows = [made.row("auc@fmnist", 0.93, table="6.1", row="igd", setting=start)]
    whole = made.record(rows, dataset="fmnist", chapter="06_igd", preset="quick")
    rows = [rows[0] | {"value": 0.85}]
    rows += [made.row("auc@fmnist/0", 0.85, table=None, row="igd", setting=start)]
    part = made.record(rows, dataset="fmnist", chapter="06_igd", preset="paper")

    built = ledger.build(made.runs([part, whole]))

    entry = next(e for e in built.entries if e.results and e.cell.table == "6.1")
    claim = next(j for j in judge_all(built) if j.claim["id"] == "C6-01")
    (judged,) = claim.finding.results
    assert entry.results[0].value == 0.93
    assert judged.runs == entry.results[0].runs
    assert claim.state.endswith("in 1 of 8")


def test_the_index_says_where_each_chapter_stands(made):
    lost = made.row(
        "auc difference", -0.1, table=None, setting={"minus": "class-padim"}
    )
    rows = [made.row("auc@hyperkvasir", 0.5, table="4.3", row="ccd-igd")]
    fails = [made.record(rows, seed=seed, chapter="04_ccd") for seed in range(3)]
    rows = [made.row(value=0.7), lost]
    phantom = made.record(rows, source="phantom", preset="quick")

    built = ledger.build(made.runs([*fails, phantom]))
    found = book_pages.standing(built, judge_all(built), {"05_pmsacl"})

    of = {part.partition("\n")[0]: part for part in found.split("\n\n")}
    assert len(of) == 10
    assert ">fails</span>" in of["Chapter 4: CCD"]
    link = '<a href="chapters/05_pmsacl.html">Chapter 5: PMSACL</a>'
    assert ">indicative on phantoms</span>" in of[link]
    assert "a phantom" in of[link] and "loses to class term only" in of[link]
    assert ">not run</span>" in of["Chapter 6: IGD"]
    assert ">not implemented</span>" in of["Chapter 7: MemMC-MAE"]


def test_how_to_read_defines_every_state():
    page = (ROOT / "book" / "how_to_read.md").read_text(encoding="utf-8")

    for state in (*ledger.VERDICTS, *ledger.OTHERS, *findings.WORST_FIRST):
        assert f"*{state}*" in page, state
    assert "*holds in 1 of 8*" in page
