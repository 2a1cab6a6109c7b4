"""Sphinx extension: put chapters, their runs and the results pages into `book/`.

`jupyter-book build book` reads only what lies below `book/`, while chapters lie
beside it and runs come and go. So before Sphinx looks for sources this extension
writes `book/chapters/` and `book/results/`, which git ignores: only files whose text
changed, so that a second build has nothing to do. It also points Sphinx to the table
of contents at the top of the repository, less the chapters that are not there. Needs
the standard library and Sphinx only; nothing is executed.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError
from sphinx.util import logging

from thesislib.book import notebooks, pages
from thesislib.book.notebooks import COMPLETE, Notebook, NotebookRun
from thesislib.report import ledger
from thesislib.report.claims import judge_all
from thesislib.report.designs import Design
from thesislib.report.records import collect, read_notebook

log = logging.getLogger(__name__)

CONTENTS = "results/contents.yml"  # _toc.yml for this checkout, below book/
GENERATED = ("chapters", "results")  # below book/, they belong to this extension


def setup(app: Any) -> dict[str, Any]:
    app.connect("config-inited", prepare, priority=100)  # the toc is read at 900
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def prepare(app: Any, config: Any) -> None:
    """Stage all generated pages; called before Sphinx reads the table of contents.

    Raises:
        ExtensionError: If the book is not built as `jupyter-book build book`.
    """
    book = Path(app.srcdir)
    root = book.parent
    is_book = book.name == "book" and (root / "_toc.yml").is_file()
    if not is_book or not (root / "chapters").is_dir():
        raise ExtensionError(
            "This is not the book's folder; build it with: jupyter-book build book"
        )
    config.external_toc_path = (book / CONTENTS).as_posix()
    _without_thebe(app)
    texts, problems = render(root)
    changed, gone = write(book, texts, Path(app.outdir))
    for problem in problems:
        log.info("[thesis] %s", problem)
    log.info("[thesis] %d pages, %d changed, %d removed", len(texts), changed, gone)


def render(root: Path) -> tuple[dict[str, str], list[str]]:
    """All generated files, path below `book/` -> text, and what was passed over."""
    chapters = {path.stem: _chapter(path) for path in _notebooks(root / "chapters")}
    runs, problems = find_runs(root, chapters)
    found = ledger.build(collect(root, _results(root)))
    texts: dict[str, str] = {}
    links: dict[str, str] = {}  # seal of a run -> its page, relative to results/
    for chapter, source in chapters.items():
        own = [run for run in runs if run.chapter == chapter]
        evidence = [one for one in found.designs if one.chapter == chapter]
        for path, page, run in chapter_pages(chapter, source, own, evidence):
            texts[path] = json.dumps(page, indent=1, ensure_ascii=False) + "\n"
            if run is not None and run.state == COMPLETE:
                html = Path(path).with_suffix(".html").as_posix()
                links[run.record["seal"]] = f"../{html}"
    found.problems += problems
    links |= {
        run.record["seal"]: "../recorded.html" for run in found.runs if run.recorded
    }
    for name, page in pages.ledger_pages(found, links).items():
        texts[f"results/{name}.md"] = page
    judged = judge_all(found)
    texts["results/claims.md"] = pages.claims_page(judged)
    texts["results/standing.txt"] = pages.standing(found, judged, set(chapters))
    if (toc := root / "_toc.yml").is_file():
        texts[CONTENTS] = contents(toc.read_text(encoding="utf-8"), set(chapters))
    texts["results/recorded.txt"] = pages.recorded_table(found)
    texts["results/inconsistencies.txt"] = pages.inconsistencies_table()
    return texts, problems


def contents(toc: str, chapters: set[str]) -> str:
    """The table of contents without the entries of chapters that are not there.

    An entry is its line `- file: chapters/<name>` and the lines indented below it.
    """
    kept, below = [], None
    for line in toc.splitlines():
        indent = len(line) - len(line.lstrip())
        if below is not None and (indent > below or not line.strip()):
            continue
        named = re.match(r"\s*- file: chapters/([^/\s]+)\s*$", line)
        absent = named is not None and named.group(1) not in chapters
        below = indent if absent else None
        if not absent:
            kept.append(line)
    return "\n".join(kept) + "\n"


def find_runs(
    root: Path, chapters: dict[str, Notebook]
) -> tuple[list[NotebookRun], list[str]]:
    """Executed notebooks at the top level and in `book/runs/`, the oldest first."""
    found, problems, taken = [], [], set()
    for path in [*_notebooks(root), *_notebooks(root / "book" / "runs")]:
        where = path.relative_to(root).as_posix()
        notebook = read_notebook(path)
        if notebook is None:
            problems.append(f"{where}: cannot be read as a notebook, so it is left out")
            continue
        chapter = notebooks.chapter_of(notebook)
        if chapter not in chapters:
            problems.append(f"{where}: is a run of no chapter, so it is left out")
            continue
        name = path.stem.removeprefix(f"{chapter}--")
        slug = _unused(re.sub(r"[^\w.-]+", "-", name), taken)
        stale = not notebooks.same_cells(notebook, chapters[chapter])
        found.append(NotebookRun(notebook, where, chapter, slug, stale))
    return sorted(found, key=lambda run: (run.finished, run.where)), problems


def chapter_pages(
    chapter: str,
    source: Notebook,
    runs: list[NotebookRun],
    evidence: Sequence[Design] = (),
) -> Iterable[tuple[str, Notebook, NotebookRun | None]]:
    """Pages of a chapter: path below `book/`, notebook, and the run it shows.

    The chapter's own page is the strongest complete run, of equal ones the newest, else
    the source; above it stands what the strongest evidence says, which may be recorded.
    All other runs are pages of their own, the newest first.
    """
    complete = [run for run in runs if run.state == COMPLETE]
    top = min(complete, key=lambda run: run.design.order(), default=None)
    says = notebooks.evidence_box(evidence)
    rest = [run for run in runs[::-1] if run is not top]
    others = notebooks.run_list(rest, "runs/")
    if top is None:
        box = notebooks.not_run_box(chapter, others, says)
        yield f"chapters/{chapter}.ipynb", notebooks.source_page(source, box), None
    else:
        first = [one.record["seal"] for design in evidence[:1] for one in design.runs]
        if first != [top.record["seal"]]:
            says += notebooks.says_box(top)
        page = notebooks.run_page(top, f"{says}\n{notebooks.run_box(top, others)}")
        yield f"chapters/{chapter}.ipynb", page, top
    for run in rest:
        box = f"{notebooks.says_box(run)}\n{notebooks.run_box(run)}"
        page = notebooks.run_page(run, box, title=run.title, suffix=f"--{run.slug}")
        yield f"chapters/runs/{chapter}--{run.slug}.ipynb", page, run


def write(book: Path, texts: dict[str, str], outdir: Path) -> tuple[int, int]:
    """Write the files whose text changed, remove those that are no longer made.

    Pages of removed files are removed, too, which Sphinx would leave behind.

    Returns:
        Numbers of files changed and removed.
    """
    changed = 0
    for name, text in texts.items():
        path = book / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            changed += 1
    made = {book / name for name in texts}
    there = (path for folder in GENERATED for path in (book / folder).rglob("*"))
    gone = [path for path in there if path.is_file() and path not in made]
    for path in gone:
        path.unlink()
        name = path.relative_to(book)
        (outdir / name).with_suffix(".html").unlink(missing_ok=True)
        (outdir / "_sources" / name).unlink(missing_ok=True)
    return changed, len(gone)


def _without_thebe(app: Any) -> None:
    """Silence the live-code extension that Jupyter Book always loads.

    Nothing here uses it, its script comes from the network, and it defines its
    constants twice, which is an error in the browser's console of every page.
    """
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def _chapter(path: Path) -> Notebook:
    if (notebook := read_notebook(path)) is None:
        raise ExtensionError(f"chapters/{path.name} cannot be read as a notebook.")
    return notebook


def _notebooks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ipynb"))


def _results(root: Path) -> Path:
    """The results folder of this repository, wherever the package was imported from."""
    return root / Path(os.environ.get("THESIS_RESULTS") or "results").expanduser()


def _unused(slug: str, taken: set[str]) -> str:
    name, number = slug, 2
    while name in taken:
        name, number = f"{slug}-{number}", number + 1
    taken.add(name)
    return name
