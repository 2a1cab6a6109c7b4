import copy
import importlib.util
from pathlib import Path

import pytest

from thesislib.report.records import MIME

_made = Path(__file__).parents[1] / "report" / "conftest.py"
_spec = importlib.util.spec_from_file_location("made_records", _made)
records = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(records)
made = records.made  # the fixture that makes sealed records


def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source, tags=()):
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


CHAPTER = {
    "nbformat": 4,
    "nbformat_minor": 4,
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "P", "language": "python"}
    },
    "cells": [
        markdown("# Chapter 5: PMSACL\n\nIs it true? {cite}`tian2022thesis`"),
        code("seed = 0", ["parameters"]),
        markdown(
            "(where)=\n## The loss\n\n$$ a = b $$ (loss)\n\n$$\nc\n$$ (other)\n\n"
            "{eq}`loss`, {eq}`other`, {ref}`here <where>`, [below](#the-end)."
        ),
        code("run()"),
        markdown("## The end"),
    ],
}


class Notebooks:
    """Executed notebooks of a small chapter, in every state."""

    chapter = CHAPTER
    chapter_6 = CHAPTER | {"cells": [markdown("# Chapter 6: IGD"), code("run()")]}
    records = records

    def run(self, seed=0, **changes):
        """A complete run; `record` None leaves it out, `stale` changes a cell."""
        if "record" in changes:
            record = changes["record"]
        else:
            record = records.make_record(seed=seed, **changes)
        notebook = copy.deepcopy(CHAPTER)
        parameters = code(f"# Parameters\nseed = {seed}\n", ["injected-parameters"])
        notebook["cells"].insert(2, parameters)
        for number, cell in enumerate(self.code(notebook), start=1):
            cell["execution_count"] = number
        data = {"text/markdown": "Sealed."}
        if record is not None:
            data[MIME] = record
        self.code(notebook)[-1]["outputs"] = [
            {"output_type": "stream", "name": "stdout", "text": "trained\n"},
            {"output_type": "display_data", "metadata": {}, "data": data},
        ]
        notebook["metadata"]["papermill"] = {
            "input_path": "chapters/05_pmsacl.ipynb",
            "parameters": {"seed": seed},
            "end_time": f"2026-01-{1 + seed:02d}T10:00:00.000000",
            "exception": None,
        }
        return notebook

    def failed(self, name="InputError"):
        """Stopped by an error, as Papermill leaves it."""
        notebook = self.run()
        words = {"ename": name, "evalue": "dataset is 'x'"}
        error = {"output_type": "error", "traceback": [f"{name}: dataset is 'x'"]}
        self.code(notebook)[-1]["outputs"] = [error | words]
        marker = markdown("<span style='color:red'>An Exception was encountered</span>")
        marker["metadata"]["tags"] = ["papermill-error-cell-tag"]
        notebook["cells"].insert(0, marker)
        return notebook

    def killed(self):
        """SIGKILL: no end, the last cell without a number."""
        notebook = self.run()
        del notebook["metadata"]["papermill"]["end_time"]
        last = self.code(notebook)[-1]
        last["outputs"], last["execution_count"] = [], None
        return notebook

    def stale(self, seed=0):
        notebook = self.run(seed)
        self.code(notebook)[-1]["source"] = "run_as_it_was()"
        return notebook

    @staticmethod
    def code(notebook):
        return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="session")
def notebooks():
    return Notebooks()
