"""A chapter under Papermill: exit codes, progress, litter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.toy import CHAPTER
from thesislib.runs import record

nbformat = pytest.importorskip("nbformat.v4")
pytest.importorskip("papermill")

CELLS = (
    'dataset = "covidx"\npreset = "quick"\nseed = 0\nsteps = 4\n',
    "from tests.runs import toy\nfrom thesislib.training import progress\n"
    "progress.NOTEBOOK_SECONDS = progress.LOG_SECONDS = 0.0\n"
    "bar = progress.Progress(3, 'work')\n"
    "for done in range(1, 4):\n    bar.update(done, con=0.5)\nbar.close()",
    "run, net = toy.chapter(globals())",
)


@pytest.fixture
def papermill(home):
    """Run the chapter with parameters: the finished process, and the notebook."""
    cells = [nbformat.new_code_cell(source) for source in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    source = home / "chapters" / f"{CHAPTER}.ipynb"
    source.write_text(json.dumps(notebook), encoding="utf-8")
    top = Path(__file__).parents[2]

    def run(*parameters: str):
        out = home / "out.ipynb"
        # ipykernel leaves stderr alone where it sees pytest
        env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        done = subprocess.run(
            [sys.executable, "-m", "papermill", str(source), str(out), *parameters],
            cwd=home,
            env={**env, "PYTHONPATH": str(top)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads(out.read_text(encoding="utf-8"))

    return run


def test_a_chapter_seals_its_run_shows_progress_and_leaves_no_litter(papermill, home):
    done, notebook = papermill("-p", "seed", "3")

    assert done.returncode == 0, done.stderr
    for line in ("work 1/3 con 0.5", "work 2/3", "work 3/3"):  # on the terminal
        assert line in done.stderr
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    (line,) = cells[-2]["outputs"]  # one line is left in the notebook
    assert "".join(line["data"]["text/plain"]) == "work 3/3 0 s"
    (path,) = home.glob("results/*/*/run.json")
    (shown,) = (
        output["data"]
        for output in cells[-1]["outputs"]
        if record.MIME in output.get("data", {})
    )
    assert shown[record.MIME] == record.read(path)
    assert record.is_sealed(shown[record.MIME])
    assert "7 rows" in "".join(shown["text/markdown"])
    assert str(home) not in json.dumps(cells[-1]["outputs"])


def test_a_wrong_parameter_stops_with_exit_code_1(papermill, home):
    done, _ = papermill("-p", "datset", "covidx")

    assert done.returncode == 1
    assert "InputError: Unknown parameter datset (did you mean dataset?" in done.stderr
    assert not (home / "results").exists()
