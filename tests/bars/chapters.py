"""Chapters run as a reader runs them: `papermill` in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from thesislib import paths


def start(
    chapter: str, folder: Path, name: str = "out", **parameters
) -> subprocess.Popen:
    """Papermill on a chapter, in a process group of its own, one thread.

    Args:
        folder: Receives `results/`, `cache/` and the notebook.
        name: Of the executed notebook.
        parameters: Of the chapter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", f"chapters/{chapter}.ipynb"]
    command += [str(folder / f"{name}.ipynb"), "--no-progress-bar"]
    command += ["-y", json.dumps(parameters)]
    places = {
        "THESIS_RESULTS": str(folder / "results"),
        "THESIS_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command,
        cwd=paths.root(),
        env={**os.environ, **places},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def minutes_of(runs: list, at_a_time: int = 2) -> float:
    """Run processes to a good end, a few at a time; the minutes they took together.

    Args:
        runs: Functions without argument that start one each, longest first.
    """
    began, running = time.monotonic(), []
    for run in runs:
        while sum(process.poll() is None for process in running) >= at_a_time:
            time.sleep(0.5)
        running.append(run())
    assert [process.wait() for process in running] == [0] * len(runs)
    return (time.monotonic() - began) / 60


def sealed(folder: Path) -> list[dict]:
    """Records of the runs in `folder/results`, all of them sealed."""
    found = sorted((folder / "results").glob("*/*/run.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    assert records
    assert {record["status"] for record in records} == {"sealed"}
    return records


def show(rows: list[dict], *metrics: str) -> None:
    """Print the rows of some metrics, with intervals."""
    for row in rows:
        if row["metric"] in metrics:
            value, low, high = (row[key] for key in ("value", "ci_low", "ci_high"))
            ends = "" if low is None else f" [{low:.3f}, {high:.3f}]"
            setting = json.dumps(row["setting"])
            print(f"{row['row']:24s} {row['metric']:14s} {value:.3f}{ends} {setting}")
