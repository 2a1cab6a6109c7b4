import json

import pytest

from tests.runs.toy import CHAPTER


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty repository with one chapter; results go into it."""
    (tmp_path / "_toc.yml").write_text("root: index\n", encoding="utf-8")
    (tmp_path / "chapters").mkdir()
    write_notebook(tmp_path, "runs.start(Toy, globals())")
    monkeypatch.setenv("THESIS_HOME", str(tmp_path))
    for name in ("RESULTS", "DATA", "CACHE", "OVERWRITE", "THREADS"):
        monkeypatch.delenv(f"THESIS_{name}", raising=False)
    return tmp_path


def write_notebook(home, source: str) -> None:
    cells = [{"cell_type": "code", "source": [source]}]
    path = home / "chapters" / f"{CHAPTER}.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")


@pytest.fixture
def edit(home):
    """Change the chapter's notebook."""
    return lambda source: write_notebook(home, source)
