import copy
import json

import pytest

from thesislib.book import notebooks as book
from thesislib.book.notebooks import NotebookRun, state
from thesislib.report.records import MIME
from thesislib.runs.record import sealed
from thesislib.training import progress


def run_of(notebook, slug="a", stale=False):
    return NotebookRun(notebook, f"book/runs/{slug}.ipynb", "05_pmsacl", slug, stale)


def words(page):
    return "\n".join("".join(cell["source"]) for cell in page["cells"])


def test_a_sealed_run_that_ended_is_complete(notebooks):
    assert state(notebooks.run()) == "complete"


@pytest.mark.parametrize("error", ["InputError", "KeyboardInterrupt"])
def test_an_error_among_the_outputs_is_a_failure(notebooks, error):
    """Papermill notes no exception after Ctrl-C; the output tells."""
    assert state(notebooks.failed(error)) == "failed"


def test_a_killed_run_is_unfinished(notebooks):
    assert state(notebooks.killed()) == "unfinished"


def test_a_run_that_papermill_has_not_closed_is_unfinished(notebooks):
    notebook = notebooks.run()
    del notebook["metadata"]["papermill"]["end_time"]

    assert state(notebook) == "unfinished"


def test_a_cell_without_a_number_is_unfinished(notebooks):
    notebook = notebooks.run()
    notebooks.code(notebook)[0]["execution_count"] = None

    assert state(notebook) == "unfinished"


def test_an_empty_cell_needs_no_number(notebooks):
    notebook = notebooks.run()
    empty = copy.deepcopy(notebooks.code(notebook)[0])
    notebook["cells"].append(empty | {"source": "\n", "execution_count": None})

    assert state(notebook) == "complete"


def test_without_a_sealed_record_nothing_is_a_result(notebooks, made):
    running = {**made.record(), "status": "running"}
    tampered = made.record()
    tampered["rows"][0]["value"] = 1.0

    assert state(notebooks.run(record=None)) == "unsealed"
    assert state(notebooks.run(record=running)) == "unsealed"
    assert state(notebooks.run(record=tampered)) == "unsealed"


def test_a_run_in_jupyter_counts_by_its_record(notebooks):
    notebook = notebooks.run()
    del notebook["metadata"]["papermill"]

    assert state(notebook) == "complete"
    assert book.chapter_of(notebook) == "05_pmsacl"


def test_the_chapter_is_known_by_papermills_input_not_by_the_file_name(notebooks):
    notebook = notebooks.killed()
    notebook["metadata"]["papermill"]["input_path"] = "..\\chapters\\06_igd.ipynb"

    assert book.chapter_of(notebook) == "06_igd"
    assert book.chapter_of(notebooks.chapter) is None


def test_a_run_of_other_cells_is_stale(notebooks):
    assert book.same_cells(notebooks.run(), notebooks.chapter)
    assert book.same_cells(notebooks.failed(), notebooks.chapter)
    assert not book.same_cells(notebooks.stale(), notebooks.chapter)


def test_the_source_page_has_no_outputs_and_the_command(notebooks):
    executed = notebooks.run()
    page = book.source_page(executed, book.not_run_box("05_pmsacl", ""))

    assert all(not cell["outputs"] for cell in notebooks.code(page))
    text = words(page)
    assert "Not run yet" in text
    assert "papermill chapters/05_pmsacl.ipynb book/runs/05_pmsacl.ipynb" in text
    assert text.index("# Chapter 5") < text.index("Not run yet") < text.index("Is it")
    assert notebooks.code(executed)[-1]["outputs"], "the notebook itself is untouched"


def test_a_page_keeps_outputs_but_not_what_a_static_page_cannot_show(notebooks):
    notebook = notebooks.run()
    widget = {book.WIDGETS: {"model_id": "m"}, "text/plain": "HBox(...)"}
    last = notebooks.code(notebook)[-1]
    last["outputs"].append({"output_type": "display_data", "data": widget})
    notebook["metadata"]["widgets"] = {"state": {}}

    page = book.run_page(run_of(notebook), "BOX")

    text = json.dumps(page)
    assert "trained" in text and "Sealed." in text
    assert MIME not in text and "widget" not in text and "HBox" not in text


def test_a_page_leaves_the_lines_of_progress_out(notebooks):
    notebook = notebooks.run()
    line = {"output_type": "display_data", "data": {"text/plain": "simclr 75/75 8 s"}}
    other = {"output_type": "display_data", "data": {"text/plain": "kept"}}
    outputs = [line | {"metadata": progress.METADATA}, other | {"metadata": {}}]
    notebooks.code(notebook)[0]["outputs"] += outputs

    text = json.dumps(book.run_page(run_of(notebook), "BOX"))

    assert "simclr 75/75" not in text
    assert "kept" in text


def test_papermills_red_headings_give_way_to_a_box(notebooks):
    run = run_of(notebooks.failed())

    page = book.run_page(run, book.run_box(run))

    assert "An Exception was encountered" not in words(page)
    assert "stopped by an error: no result" in words(page).lower()


def test_labels_of_other_runs_get_a_name_of_their_own(notebooks):
    page = words(book.run_page(run_of(notebooks.run()), "BOX", suffix="--s1"))

    for label in ("(where--s1)=", "$$ a = b $$ (loss--s1)", "$$ (other--s1)"):
        assert label in page
    for reference in ("{eq}`loss--s1`", "{eq}`other--s1`", "{ref}`here <where--s1>`"):
        assert reference in page
    assert "{cite}`tian2022thesis`" in page


def test_labels_in_directives_and_figures_are_renamed_too(notebooks):
    notebook = notebooks.run()
    directive = "```{math}\n:label: third\nx\n```\n{eq}`third` {numref}`plot` {eq}`far`"
    notebook["cells"].append(
        {"cell_type": "markdown", "metadata": {}, "source": directive}
    )
    figure = {"mystnb": {"figure": {"name": "plot", "caption": "A plot"}}}
    notebooks.code(notebook)[-1]["metadata"] |= figure

    page = book.run_page(run_of(notebook), "BOX", suffix="--x")

    assert ":label: third--x\n" in words(page)
    assert "{eq}`third--x` {numref}`plot--x` {eq}`far`" in words(page)
    assert notebooks.code(page)[-1]["metadata"]["mystnb"]["figure"]["name"] == "plot--x"


def test_titles_say_data_state_and_age(notebooks, made):
    phantom = notebooks.run(2, source="phantom", preset="quick", dataset="covidx")

    assert run_of(phantom).title == "Covid-X (phantom), quick, seed 2"
    assert run_of(notebooks.killed(), "b").title == "Run b – unfinished"
    stale = run_of(notebooks.stale(), stale=True)
    assert stale.title == "Hyper-Kvasir, paper, seed 0 – stale"


def test_boxes_warn_of_phantom_partial_and_stale(notebooks):
    plain = book.run_box(run_of(notebooks.run()))
    phantom = book.run_box(run_of(notebooks.run(source="phantom")))
    partial = book.run_box(run_of(notebooks.run(partial=True)))
    stale = book.run_box(run_of(notebooks.stale(), stale=True))

    for mark in ("**Phantom**", "**Partial**", "**Stale**"):
        assert mark not in plain
    assert "**Phantom**" in phantom
    assert "**Partial**" in partial
    assert "**Stale**" in stale and ":class: warning" in stale


def test_a_page_without_a_heading_gets_one(notebooks):
    notebook = notebooks.run()
    notebook["cells"] = notebooks.code(notebook)

    page = book.run_page(run_of(notebook), "BOX", title="Run a")

    assert page["cells"][0]["source"].startswith("# Run a\n\nBOX")


def test_tracebacks_do_not_show_the_readers_folders(notebooks):
    notebook = notebooks.failed()
    (error,) = notebooks.code(notebook)[-1]["outputs"]
    error["traceback"] = [
        "File \x1b[32m/home/me/my-code/thesislib/runs/run.py:137\x1b[39m, in once",
        "File C:\\Users\\me\\Lib\\site-packages\\torch\\nn.py:1, in f",
        "ValueError: images/a.png is 3/4 of thesislib",
    ]

    page = book.run_page(run_of(notebook), "BOX")

    (error,) = notebooks.code(page)[-1]["outputs"]
    assert error["traceback"] == [
        "File \x1b[32m…/thesislib/runs/run.py:137\x1b[39m, in once",
        "File …/site-packages\\torch\\nn.py:1, in f",
        "ValueError: images/a.png is 3/4 of thesislib",
    ]


@pytest.mark.parametrize("given", ["", "chest_xray"])
def test_a_folder_of_data_is_shown_only_if_it_was_given(notebooks, given):
    """The record's resolved data_root says "data" where none was given."""
    parameters = {
        "given": {"data_root": given},
        "resolved": {
            "dataset": "lag",
            "preset": "quick",
            "seed": 0,
            "data_root": given or "data",
            "classes": [],
        },
    }
    run = run_of(notebooks.run(parameters=parameters))

    words = book.parameters(run)

    assert ("data root chest_xray" in words) == bool(given)
    assert "data root data" not in words and "classes" not in words


def test_a_title_tells_runs_of_other_parts_and_starts_apart(notebooks, made):
    def title(**changes):
        record = made.record()
        record["parameters"]["resolved"] |= changes
        return run_of(notebooks.run(record=sealed(record))).title

    assert title(part="main", start="scratch") == title()
    assert ", robustness, seed" in title(part="robustness")
    assert ", simclr, seed" in title(start="simclr")


def test_folders_of_ones_own_are_told_apart(notebooks):
    record = notebooks.records.make_record(dataset="folder")
    record["parameters"]["resolved"]["data_root"] = "scans"
    run = run_of(notebooks.run(record=sealed(record)))

    assert run.title == "own images (scans), paper, seed 0"
    assert run.design.name.startswith("own images (scans), real data, preset paper")
