import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.errors import ExtensionError

from thesislib.book import extension
from thesislib.runs import recorded

ROOT = Path(__file__).resolve().parents[2]


def put(path, notebook):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def keep(root, run):
    """Put the recorded form of a run into a checkout; its file and content."""
    record = recorded.compact(run, {0: 0.01})
    path = root / "book/records" / recorded.file_name(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recorded.text(record), encoding="utf-8")
    return path, record


@pytest.fixture
def root(tmp_path, notebooks, monkeypatch):
    """A checkout with one small chapter and nothing run."""
    monkeypatch.delenv("THESIS_RESULTS", raising=False)
    put(tmp_path / "chapters" / "05_pmsacl.ipynb", notebooks.chapter)
    (tmp_path / "book" / "runs").mkdir(parents=True)
    return tmp_path


def chapter_pages(root):
    texts, _ = extension.render(root)
    return {
        name.removeprefix("chapters/"): text
        for name, text in texts.items()
        if name.startswith("chapters/")
    }


def test_before_any_run_the_chapter_shows_its_source(root):
    (page,) = chapter_pages(root).values()

    assert "Not run yet" in page


def test_the_newest_complete_run_is_the_chapters_page(root, notebooks):
    put(root / "book/runs/a.ipynb", notebooks.run(1))
    put(root / "book/runs/b.ipynb", notebooks.run(2))
    put(root / "book/runs/c.ipynb", notebooks.failed())

    pages = chapter_pages(root)

    assert set(pages) == {
        "05_pmsacl.ipynb",
        "runs/05_pmsacl--a.ipynb",
        "runs/05_pmsacl--c.ipynb",
    }
    assert "book/runs/b.ipynb" in pages["05_pmsacl.ipynb"]
    assert "runs/05_pmsacl--a.ipynb" in pages["05_pmsacl.ipynb"]


def test_a_stronger_run_is_the_chapters_page_before_a_newer_one(root, notebooks):
    put(root / "book/runs/a.ipynb", notebooks.run(1, preset="standard"))
    put(root / "book/runs/b.ipynb", notebooks.run(2, preset="quick"))

    assert "book/runs/a.ipynb" in chapter_pages(root)["05_pmsacl.ipynb"]


def test_a_chapters_page_says_what_the_strongest_evidence_says(root, notebooks):
    """A recorded run stands above a quick one, whose page says its own below."""
    rows = [notebooks.records.make_row(value=0.7)]
    put(root / "out.ipynb", notebooks.run(1, rows=rows, preset="quick"))
    keep(root, notebooks.records.make_record(seed=8, preset="standard"))

    pages = chapter_pages(root)

    first, _, second = pages["05_pmsacl.ipynb"].partition("What this run says")
    assert "What this chapter says so far" in first
    assert "preset standard" in first and "[recorded](../recorded.md)" in first
    assert "AUROC of 0.990" in first and "AUROC of 0.700" in second
    assert "Not run yet" not in first


def test_what_a_record_holds_is_not_said_to_be_not_run(root, notebooks):
    keep(root, notebooks.records.make_record(seed=8))

    page = chapter_pages(root)["05_pmsacl.ipynb"]

    assert "Not run yet" not in page and "No run to look at" in page


def test_runs_of_one_design_are_pooled_when_the_book_is_built(root, notebooks):
    """Whatever each of them said when it ended."""
    for seed, value in ((0, 0.7), (1, 0.8)):
        rows = [notebooks.records.make_row(value=value)]
        put(root / f"book/runs/{seed}.ipynb", notebooks.run(seed, rows=rows))

    said = chapter_pages(root)["05_pmsacl.ipynb"].partition("What this run says")[0]

    assert "seeds 0, 1" in said and "AUROC of 0.750" in said


def test_runs_without_a_result_never_become_the_chapters_page(root, notebooks):
    for name, notebook in {
        "failed": notebooks.failed(),
        "killed": notebooks.killed(),
        "unsealed": notebooks.run(record=None),
    }.items():
        put(root / f"book/runs/{name}.ipynb", notebook)

    pages = chapter_pages(root)

    assert len(pages) == 4
    assert "Not run yet" in pages["05_pmsacl.ipynb"]
    assert "Sealed." not in pages["05_pmsacl.ipynb"]


def test_a_notebook_at_the_top_level_is_found(root, notebooks):
    put(root / "out.ipynb", notebooks.run())

    assert "`out.ipynb`" in chapter_pages(root)["05_pmsacl.ipynb"]


def test_a_stale_run_is_marked(root, notebooks):
    put(root / "out.ipynb", notebooks.stale())

    assert "**Stale**" in chapter_pages(root)["05_pmsacl.ipynb"]


def test_two_runs_of_one_name_keep_two_pages(root, notebooks):
    put(root / "out.ipynb", notebooks.failed())
    put(root / "book/runs/out.ipynb", notebooks.failed())
    put(root / "book/runs/05_pmsacl--out.ipynb", notebooks.failed())

    assert len(chapter_pages(root)) == 4


def test_damaged_and_foreign_notebooks_are_left_out_and_named(root, notebooks):
    (root / "book/runs/half.ipynb").write_text('{"nbformat": 4, "ce', "utf-8")
    foreign = notebooks.run()
    foreign["metadata"]["papermill"]["input_path"] = "mine.ipynb"
    put(root / "book/runs/foreign.ipynb", foreign)

    texts, problems = extension.render(root)

    assert len(problems) == 2
    assert all(problem in texts["results/ledger.md"] for problem in problems)


def test_records_of_notebooks_reach_the_ledger(root, notebooks):
    put(root / "out.ipynb", notebooks.run())

    texts, _ = extension.render(root)

    assert "../chapters/05_pmsacl.html" in texts["results/ledger_chapter_05.md"]


def test_recorded_runs_reach_the_ledger_and_their_page(root, notebooks):
    made = notebooks.records
    rows = [made.make_row(value=0.9123)]
    for seed in range(2):
        path, record = keep(root, made.make_record(rows, seed=seed))
    path.write_text(recorded.text(record).replace("0.9123", "0.9124"), "utf-8")

    texts, _ = extension.render(root)

    page = texts["results/recorded.txt"]
    assert "1.5" in page and record["command"].split(" -p ")[1] in page
    assert f"book/records/{path.name}: the seal does not fit" in page
    chapter = texts["results/ledger_chapter_05.md"]
    assert ">recorded</span>" in chapter
    assert '<a href="../recorded.html">0</a>' in chapter
    assert f"{path.name}: the seal does not fit" in texts["results/ledger.md"]


def test_without_records_their_page_says_so(root):
    texts, _ = extension.render(root)

    assert "No run is recorded" in texts["results/recorded.txt"]


def test_the_contents_pass_over_chapters_that_are_not_there():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")

    without = extension.contents(toc, {"05_pmsacl"})

    assert "06_igd" in toc and "06_igd" not in without
    assert "04_ccd" in toc and "04_ccd" not in without
    assert extension.contents(toc, {"04_ccd", "05_pmsacl", "06_igd"}) == toc
    gone = extension.contents(toc, {"06_igd"})
    assert "05_pmsacl" not in gone
    assert gone.count("- file: results/ledger\n") == 1
    assert "glob: chapters/runs/06_igd--*" in gone


def test_only_changed_files_are_written(tmp_path):
    texts = {"chapters/a.ipynb": "1", "results/b.md": "2"}

    assert extension.write(tmp_path, texts, tmp_path / "html") == (2, 0)
    before = (tmp_path / "results/b.md").stat().st_mtime_ns
    assert extension.write(tmp_path, texts | {"chapters/a.ipynb": "3"}, tmp_path) == (
        1,
        0,
    )
    assert (tmp_path / "results/b.md").stat().st_mtime_ns == before


def test_pages_of_removed_runs_are_removed_and_nothing_else(tmp_path):
    html = tmp_path / "html"
    extension.write(tmp_path, {"chapters/runs/a.ipynb": "1", "results/b.md": "2"}, html)
    kept = [html / "results/b.html", html / "index.html", tmp_path / "index.md"]
    for path in [*kept, html / "chapters/runs/a.html"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert extension.write(tmp_path, {"results/b.md": "2"}, html) == (0, 1)

    assert not (html / "chapters/runs/a.html").exists()
    assert all(path.exists() for path in kept)


def test_building_another_folder_is_refused_and_destroys_nothing(root, notebooks):
    """`jupyter-book build .` takes the repository itself for the book."""
    (root / "_toc.yml").touch()
    app = SimpleNamespace(srcdir=str(root), outdir=str(root / "html"))

    with pytest.raises(ExtensionError, match="jupyter-book build book"):
        extension.prepare(app, SimpleNamespace())

    assert [path.name for path in root.glob("chapters/*")] == ["05_pmsacl.ipynb"]


# --- the real program --------------------------------------------------------------


def build(root):
    """Exit code and output of the command that a reader types, with -W."""
    program = Path(sys.executable).with_name("jupyter-book")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    environment.pop("THESIS_RESULTS", None)
    done = subprocess.run(
        [program, "build", "-W", "--keep-going", "book"],
        cwd=root,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory, notebooks):
    """A clone with the book's own pages and one small chapter."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, root)
    generated = shutil.ignore_patterns("chapters", "results", "*.ipynb")
    shutil.copytree(ROOT / "book", root / "book", ignore=generated)
    put(root / "chapters" / "05_pmsacl.ipynb", notebooks.chapter)
    return root


def test_the_book_builds_before_and_after_runs_and_when_they_are_gone(clone, notebooks):
    html = clone / "_build" / "html"

    code, output = build(clone)
    assert code == 0, output
    assert "Not run yet" in (html / "chapters/05_pmsacl.html").read_text("utf-8")

    put(clone / "book/runs/a.ipynb", notebooks.run(1, source="phantom"))
    put(clone / "book/runs/b.ipynb", notebooks.run(2, source="phantom"))
    put(clone / "book/runs/c.ipynb", notebooks.failed("KeyboardInterrupt"))
    put(clone / "book/runs/d.ipynb", notebooks.killed())
    put(clone / "chapters" / "06_igd.ipynb", notebooks.chapter_6)
    keep(clone, notebooks.records.make_record(seed=8))
    code, output = build(clone)
    assert code == 0, output
    assert len(list(html.glob("chapters/runs/*.html"))) == 3
    chapter_6 = (html / "chapters/06_igd.html").read_text("utf-8")
    assert "No run to look at" in chapter_6 and "Not run yet" not in chapter_6
    assert "Fashion-MNIST, real data, preset standard" in chapter_6  # a record
    shown = (html / "recorded.html").read_text("utf-8")
    assert "processor unknown, 1 thread" in shown and "No run is recorded" not in shown
    _check_pages(html)

    for path in (clone / "book/runs").glob("[bcd].ipynb"):
        path.unlink()
    code, output = build(clone)
    assert code == 0, output
    assert not list(html.glob("chapters/runs/*.html"))


def _check_pages(html):
    pages = [p for p in html.rglob("*.html") if "_static" not in p.parts]
    assert len(pages) > 20
    for page in pages:
        text = page.read_text("utf-8")
        assert len(text) < 3_000_000, page
        assert "not for diagnosis" in text, page
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", text), page
        assert "unpkg.com" not in text and "cdn." not in text, page
        assert all("alt=" in image for image in re.findall(r"<img[^>]*>", text)), page
    assert (html / "_static" / "tex-svg.js").is_file()
    math = (html / "disagreements.html").read_text("utf-8")
    assert "_static/tex-svg.js" in math
