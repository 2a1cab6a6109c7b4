"""Snakemake on a stand-in chapter in a copy of the repository: what runs when."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from thesislib.book.notebooks import state
from thesislib.report.records import read_notebook
from thesislib.runs.record import is_sealed

pytestmark = [
    pytest.mark.skipif(
        sys.platform == "win32", reason="Snakemake is for Linux, macOS and WSL2"
    ),
    pytest.mark.xdist_group("workflow"),  # they share one repository
]

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = """\
dataset = "hyperkvasir"
source = "phantom"
preset = "quick"
reading = "thesis"
seed = 0
overrides = {}
"""
# Seed 0 and the others import a module each; files named `fail` and `hold` make a run
# fail and wait.
BODY = """\
import importlib, time
from dataclasses import dataclass
from pathlib import Path
from thesislib import runs
from thesislib.runs.parameters import ChapterParameters

@dataclass(frozen=True)
class Data:
    image_size: int = 32
    num_train: int = 2
    num_test_normal: int = 2
    num_test_abnormal: int = 2

class Chapter(ChapterParameters):
    chapter = "05_pmsacl"
    def configs(self):
        return {"data": Data()}

importlib.import_module("thesislib.first" if seed == 0 else "thesislib.second")
run = runs.start(Chapter, globals())
Path("started").touch()
while Path("hold").exists():
    time.sleep(0.1)
if Path("fail").exists():
    raise RuntimeError("made to fail")
run.add_row(None, "stand-in", {}, "auc", 0.5)
run.finish()
"""


class Repository:
    """A copy of what the workflow needs, with a stand-in for chapter 5."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("thesislib", "profiles"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, root / name, ignore=ignore)
        shutil.copy(ROOT / "Snakefile", root)
        (root / "_toc.yml").touch()
        (root / "chapters").mkdir()
        self.write_chapter("# Stand-in")
        for other in ("04_ccd", "06_igd"):  # the report runs them too
            shutil.copy(ROOT / "chapters" / f"{other}.ipynb", root / "chapters")
        for module in ("first", "second"):
            self.write_module(module, "")

    def write_chapter(self, title: str) -> None:
        parameters = nbformat.v4.new_code_cell(PARAMETERS, id="parameters")
        parameters.metadata["tags"] = ["parameters"]
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_markdown_cell(title, id="title"),
                parameters,
                nbformat.v4.new_code_cell(BODY, id="body"),
            ],
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3"},
                "language_info": {"name": "python"},
            },
        )
        nbformat.write(notebook, self.root / "chapters" / "05_pmsacl.ipynb")

    def write_module(self, name: str, text: str) -> None:
        (self.root / "thesislib" / f"{name}.py").write_text(text, encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        asked = ["--config", "chapter=05_pmsacl", "datasets=hyperkvasir", "seeds=0,1"]
        start = [sys.executable, "-m", "snakemake", "chapter", "--cores", "2"]
        return [*start, *arguments, *asked]

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("THESIS_")}
        return kept | {"OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def started(self) -> list[str]:
        """Seeds that run when Snakemake is started, all of them to a good end."""
        done = self.start()
        assert done.returncode == 0, done.stderr
        return sorted(re.findall(r"seed (\d+) starts$", done.stderr, re.MULTILINE))

    def plan(self) -> list[str]:
        """Why Snakemake would start each run, in its words."""
        done = self.start("--dry-run")
        assert done.returncode == 0, done.stderr
        jobs = done.stdout.split("rule execute:")[1:]
        return [job.split("reason:")[1].splitlines()[0] for job in jobs]

    def notebooks(self) -> dict[str, str]:
        """Executed notebooks by name, what follows the seed: how each ended."""
        found = {}
        for path in (self.root / "book" / "runs").glob("*.ipynb"):
            notebook = read_notebook(path)
            found[path.stem.rpartition("-thesis-")[2]] = state(notebook)
        return found

    def records(self) -> dict[int, str]:
        """Seals of the sealed records, by seed."""
        found = {}
        for path in (self.root / "results").glob("05_pmsacl/*-s?-????????/run.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            if is_sealed(record):
                found[record["seed"]] = record["seal"]
        return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository in which seeds 0 and 1 have been run."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    assert repository.started() == ["0", "1"]
    return repository


def test_nothing_runs_twice_whatever_else_changes(repository):
    before = repository.records()
    repository.write_module("third", "unused = True")
    os.utime(repository.root / "chapters" / "05_pmsacl.ipynb")

    assert repository.started() == []
    assert repository.records() == before
    assert sorted(before) == [0, 1]


def test_a_changed_notebook_runs_all(repository):
    repository.write_chapter("# Another title")
    reasons = repository.plan()
    repository.write_chapter("# Stand-in")

    assert len(reasons) == 2
    assert all("'notebook " in reason for reason in reasons)


def test_a_changed_module_runs_those_that_imported_it_and_a_kill_costs_nothing(
    repository,
):
    before = repository.records()
    sealed = {"s0": "complete", "s1": "complete"}
    repository.write_module("first", "changed = True")

    # a run that fails leaves the sealed one, and is tried again
    (repository.root / "fail").touch()
    failed = repository.start()
    assert failed.returncode != 0
    assert "RuntimeError: made to fail" in failed.stderr
    assert "now: 'thesislib.first " in failed.stderr
    assert "seed 1 starts" not in failed.stderr
    *_, last = failed.stderr.splitlines()
    assert last.startswith("0 of 1 runs done, 1 stopped")
    assert last.endswith(": 05_pmsacl--hyperkvasir-phantom-quick-thesis-s0.")
    assert repository.records() == before
    assert repository.notebooks() == sealed | {"s0--again": "failed"}
    (repository.root / "fail").unlink()

    # so does one that is killed, Snakemake and all
    (repository.root / "hold").touch()
    (repository.root / "started").unlink()
    process = subprocess.Popen(
        repository.command("--quiet", "all"),
        cwd=repository.root,
        env=repository.environment(),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_for((repository.root / "started").exists)
    locked_out = repository.start()
    assert "another one is at work" in locked_out.stderr
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (repository.root / "hold").unlink()
    assert repository.records() == before

    # nothing is left to unlock
    assert repository.started() == ["0"]
    after = repository.records()
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert repository.notebooks() == sealed
    assert repository.plan() == []


def test_a_broken_link_beside_the_data_does_not_matter(repository):
    (repository.root / "data").mkdir()
    (repository.root / "data" / "gone.png").symlink_to(repository.root / "nowhere")

    assert repository.started() == []


def test_one_sentence_for_a_chapter_that_is_not_there(repository):
    command = repository.command()
    command[command.index("chapter=05_pmsacl")] = "chapter=05_pmsac"
    done = subprocess.run(
        command, cwd=repository.root, capture_output=True, text=True, timeout=300
    )

    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "Snakemake did nothing: chapters/05_pmsac.ipynb is no chapter: it needs a cell "
        "tagged 'parameters' with one 'name = literal' a line."
    )


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
