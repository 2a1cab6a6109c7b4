"""Notebooks on their way into the book: what state they are in, and how they show.

Everything here works on notebooks as dicts (nbformat 4), so that the book build
needs neither nbformat nor a kernel.
"""

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath
from typing import Any

from thesislib.report import says, text
from thesislib.report.designs import Design
from thesislib.report.records import MIME, Run, records_of
from thesislib.runs.record import is_sealed
from thesislib.training import progress

Notebook = dict[str, Any]

COMPLETE, UNSEALED, UNFINISHED, FAILED = "complete", "unsealed", "unfinished", "failed"
MEANING = {
    COMPLETE: "finished and sealed",
    UNSEALED: "ran through, but its record is missing or not sealed: no result",
    UNFINISHED: "interrupted, killed or still running: no result",
    FAILED: "stopped by an error: no result",
}
WIDGETS = "application/vnd.jupyter.widget-view+json"
_ADDED = {"injected-parameters", "papermill-error-cell-tag"}  # by Papermill


@dataclass(frozen=True)
class NotebookRun:
    """An executed notebook that was found, and what it is a run of."""

    notebook: Notebook
    where: str  # path below the repository
    chapter: str
    slug: str  # unique among the chapter's runs, fit for a file name
    stale: bool  # other cells than the chapter has now

    @property
    def state(self) -> str:
        return state(self.notebook)

    @property
    def record(self) -> dict[str, Any] | None:
        """The record it displays, sealed or not; the last one if there are more."""
        found = list(records_of(self.notebook))
        return found[-1] if found else None

    @property
    def design(self) -> Design:
        """What it says by itself, without its siblings; only of a complete run."""
        return Design([Run(record=self.record, where=self.where)])

    @property
    def finished(self) -> str:
        """When it ended, in UTC; "" if it did not."""
        papermill = self.notebook["metadata"].get("papermill", {})
        return papermill.get("end_time") or (self.record or {}).get("finished") or ""

    @property
    def parameters(self) -> dict[str, Any]:
        """As resolved by the run, else as given on the command line."""
        if self.record is not None:
            return self.record["parameters"]["resolved"]
        return self.notebook["metadata"].get("papermill", {}).get("parameters") or {}

    @property
    def title(self) -> str:
        """`Hyper-Kvasir (phantom), quick, seed 0`, or the file's name."""
        found = self.parameters
        if self.record is None or "dataset" not in found:
            title = f"Run {PurePosixPath(self.where).stem}"
        else:
            source = self.record["dataset"]["source"]
            data = text.data(found["dataset"], found.get("data_root", ""))
            mark = " (phantom)" if source == "phantom" else ""
            others = {"part": "main", "start": "scratch"}  # said unless it is this
            told = [
                found[k] for k, usual in others.items() if found.get(k, usual) != usual
            ]
            words = [f"{data}{mark}", found["preset"], *told, f"seed {found['seed']}"]
            title = ", ".join(words)
        notes = [] if self.state == COMPLETE else [self.state]
        notes += ["stale"] if self.stale else []
        return " – ".join([title, ", ".join(notes)]) if notes else title


def state(notebook: Notebook) -> str:
    """Whether a notebook holds a result; computed, as Papermill's own notes mislead.

    After Ctrl-C, Papermill calls every cell completed. What tells is an error among
    the outputs, a cell without a number, and the seal of the record.
    """
    code = [c for c in notebook["cells"] if c["cell_type"] == "code" and source(c)]
    outputs = [output for cell in code for output in cell.get("outputs", [])]
    if any(output["output_type"] == "error" for output in outputs):
        return FAILED
    papermill = notebook["metadata"].get("papermill")
    if papermill is not None and not papermill.get("end_time"):
        return UNFINISHED
    if not code or any(cell.get("execution_count") is None for cell in code):
        return UNFINISHED
    records = list(records_of(notebook))
    return COMPLETE if records and is_sealed(records[-1]) else UNSEALED


def chapter_of(notebook: Notebook) -> str | None:
    """Name of the chapter that a notebook is a run of; None if it is none."""
    papermill = notebook["metadata"].get("papermill") or {}
    if papermill.get("input_path"):
        return PurePosixPath(papermill["input_path"].replace("\\", "/")).stem
    return next((record["chapter"] for record in records_of(notebook)), None)


def source(cell: dict[str, Any]) -> str:
    """Text of a cell, without blanks around it."""
    return "".join(cell["source"]).strip()


def same_cells(run: Notebook, chapter: Notebook) -> bool:
    """Whether a run was made from the chapter as it is now."""

    def cells(notebook: Notebook) -> list[tuple[str, str]]:
        return [
            (cell["cell_type"], source(cell))
            for cell in notebook["cells"]
            if not _ADDED & set(cell["metadata"].get("tags", []))
        ]

    return cells(run) == cells(chapter)


# --- how they show ---------------------------------------------------------------


def source_page(chapter: Notebook, box: str) -> Notebook:
    """The chapter's page while nothing has been run: the source, without outputs."""
    page = copy.deepcopy(chapter)
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    page["metadata"].pop("widgets", None)
    return below_title(page, box)


def run_page(
    run: NotebookRun, box: str, *, title: str | None = None, suffix: str | None = None
) -> Notebook:
    """A run's page: its cells and outputs with a box on what it is.

    Args:
        run: The run.
        box: Markdown below the title.
        title: Another title than the chapter's.
        suffix: Added to the labels that the notebook defines and to its references
            to them, so that several runs of a chapter can stand in one book.
    """
    page = copy.deepcopy(run.notebook)
    page["metadata"].pop("widgets", None)  # would fetch scripts from the network
    page["cells"] = [
        cell
        for cell in page["cells"]
        if "papermill-error-cell-tag" not in cell["metadata"].get("tags", [])
    ]
    for cell in page["cells"]:
        cell["metadata"].pop("papermill", None)
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in cell.get("outputs", []) if _shows(o)]
            for output in cell["outputs"]:
                _without_folders(output)
    if suffix is not None:
        _rename_labels(page, suffix)
    return below_title(page, box, title)


def _shows(output: dict[str, Any]) -> bool:
    """Drop what a page cannot or need not show; False if nothing is left."""
    data = output.get("data")
    if data is None:
        return True
    if output.get("metadata") == progress.METADATA:
        return False
    data.pop(MIME, None)
    if WIDGETS in data:
        data.pop(WIDGETS)
        data.pop("text/plain", None)  # a widget's name in words
    return bool(data)


# What leads to the package or to installed packages in a traceback's file names.
_FOLDERS = re.compile(
    r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s:'\"\x1b]+)*[\\/](?=(?:thesislib|site-packages)[\\/])"
)


def _without_folders(output: dict[str, Any]) -> None:
    """Keep the reader's own folders out of a traceback that may be published."""
    if output["output_type"] == "error":
        output["traceback"] = [_FOLDERS.sub("…/", s) for s in output["traceback"]]


def below_title(page: Notebook, box: str, title: str | None = None) -> Notebook:
    """Put a box right below the first heading; a page without one gets one."""
    for cell in page["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        words = "".join(cell["source"])
        if heading := re.search(r"^# .*$", words, re.M):
            top = f"# {title}" if title else heading.group()
            rest = words[heading.end() :]
            cell["source"] = f"{words[: heading.start()]}{top}\n\n{box}\n{rest}"
            return page
    words = f"# {title or 'Untitled'}\n\n{box}\n"
    first = {"cell_type": "markdown", "metadata": {}, "source": words}
    if page.get("nbformat_minor", 0) >= 5:
        first["id"] = "page-title"
    page["cells"].insert(0, first)
    return page


_DEFINED = (
    re.compile(r"^\(([^)\n]+)\)=[ \t]*$", re.M),  # (label)=
    re.compile(r"\$\$[ \t]*\(([\w.:-]+)\)[ \t]*$", re.M),  # $$ (label)
    re.compile(r"^:(?:name|label):[ \t]*(\S+)[ \t]*$", re.M),  # :name: label
)


def _rename_labels(page: Notebook, suffix: str) -> None:
    markdown = [cell for cell in page["cells"] if cell["cell_type"] == "markdown"]
    words = "\n".join("".join(cell["source"]) for cell in markdown)
    labels = {match for pattern in _DEFINED for match in pattern.findall(words)}
    for cell in page["cells"]:
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        if "name" in figure:
            labels.add(figure["name"])
            figure["name"] += suffix
    if not labels:
        return
    names = "|".join(re.escape(label) for label in sorted(labels, key=len)[::-1])
    anywhere = re.compile(
        rf"(?P<before>^\(|\$\$[ \t]*\(|^:(?:name|label):[ \t]*"
        rf"|\{{(?:eq|ref|numref)\}}`(?:[^`<]*<)?|\]\(#?)(?P<label>{names})"
        rf"(?=[)>`\s])",
        re.M,
    )
    for cell in markdown:
        cell["source"] = anywhere.sub(
            rf"\g<before>\g<label>{suffix}", "".join(cell["source"])
        )


# --- boxes -----------------------------------------------------------------------


def box(kind: str, title: str, body: str) -> str:
    """A MyST admonition; `kind` is note, tip, warning or danger."""
    return f"::::{{admonition}} {title}\n:class: {kind}\n{body}\n::::\n"


def not_run_box(chapter: str, others: str, evidence: str = "") -> str:
    """What stands below the title where no complete run can be shown."""
    why = "The runs that count are recorded, so only" if evidence else "Only"
    body = (
        f"{why} the source is shown. Run it from the repository's folder, then build "
        "the book again:\n\n```bash\n"
        f"papermill chapters/{chapter}.ipynb book/runs/{chapter}.ipynb\n"
        "jupyter-book build book\n```\n"
        f"`make report` does both for all chapters.\n{others}"
    )
    title = "No run to look at" if evidence else "Not run yet"
    return f"{evidence}\n{box('warning', title, body)}"


def evidence_box(designs: Sequence[Design]) -> str:
    """What the strongest runs of a chapter say; nothing where there are none.

    Args:
        designs: The strongest first. All that the first says is shown, and of further
            ones on other data, or of other parts, the first sentence.
    """
    if not designs:
        return ""
    first, lines, seen = designs[0], [], set()
    for design in designs:
        if (place := (design.data, design.part)) not in seen and design is not first:
            lines.append(f"- {described(design)}: {says.say(design)[0].words}")
        seen.add(place)
    more = "\n\nOn other data, or of other parts:\n\n" + "\n".join(lines)
    body = f"{described(first)}.\n\n{says.markdown(first)}{more if lines else ''}"
    return box("note", "What this chapter says so far", body)


def says_box(run: NotebookRun) -> str:
    """What a run says by itself; nothing if it is no result."""
    if run.state != COMPLETE:
        return ""
    body = f"{described(run.design)}.\n\n{says.markdown(run.design)}"
    return box("note", "What this run says", body)


def described(design: Design) -> str:
    """A design's name, with the mark of recorded runs."""
    recorded = any(run.recorded for run in design.runs)
    return f"*{design.name}*" + (" ([recorded](../recorded.md))" if recorded else "")


def run_box(run: NotebookRun, others: str = "") -> str:
    """What run a page shows, with what, and how far to trust it."""
    meaning = MEANING[run.state]
    lines = [f"{meaning[0].upper()}{meaning[1:]}. {parameters(run)}"]
    if run.record is not None and run.record["dataset"]["source"] == "phantom":
        lines.append(
            "**Phantom**: the images are procedural stand-ins; numbers and figures "
            "say something about the mechanism, nothing about patients."
        )
    if run.record is not None and run.record["dataset"].get("partial"):
        lines.append("**Partial**: the data's counts differ from the publication's.")
    if run.stale:
        lines.append(
            "**Stale**: the chapter has changed since; its present source may compute "
            "something else."
        )
    kinds = {COMPLETE: "note", FAILED: "danger"}
    kind = "warning" if run.stale else kinds.get(run.state, "warning")
    body = "\n\n".join([*lines, f"Notebook: `{run.where}`"])
    return box(kind, f"This page shows a run: {run.title}", f"{body}\n{others}")


def parameters(run: NotebookRun) -> str:
    """Parameters, time and hardware of a run in a sentence."""
    words = [
        f"{name.replace('_', ' ')} `{json.dumps(value)}`"
        if isinstance(value, dict | list)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in run.parameters.items()
        if value not in ("", "auto", None, {}, []) and _was_chosen(run, name)
    ]
    if run.finished:
        words.append(f"finished {run.finished[:16].replace('T', ' ')} UTC")
    if (record := run.record) is not None:
        words.append(cost(record))
    sentence = ", ".join(words)
    return f"{sentence[0].upper()}{sentence[1:]}." if words else ""


def _was_chosen(run: NotebookRun, name: str) -> bool:
    """Whether a parameter says something: a folder of data only if it was given."""
    if name != "data_root" or run.record is None:
        return True
    return bool(run.record["parameters"]["given"].get(name))


def seconds(record: dict[str, Any]) -> float:
    """Wall time of all stages of a run."""
    return sum(stage["wall_seconds"] for stage in record["stages"])


def cost(record: dict[str, Any]) -> str:
    """`3.2 minutes on cpu, 1 thread`."""
    threads = record["threads"]
    place = f"{record['device']}, {threads} thread{'s' * (threads != 1)}"
    return f"{seconds(record) / 60:.1f} minutes on {place}"


def run_list(runs: list[NotebookRun], folder: str) -> str:
    """Links to other runs of a chapter; `folder` is relative to the page."""
    if not runs:
        return ""
    lines = [
        f"- [{escape(run.title)}]({folder}{run.chapter}--{run.slug}.ipynb)"
        for run in runs
    ]
    return "\nOther runs of this chapter:\n\n" + "\n".join(lines) + "\n"
