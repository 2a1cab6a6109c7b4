"""Chapter 5 killed at random moments ends as if nobody had touched it (bar 4)."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from thesislib import paths

OVERRIDES = {
    "pmsacl.num_steps": 24,
    "pmsacl.num_centre_images": 16,
    "simclr.num_steps": 8,
    "igd.num_steps": 8,
    "local.num_steps": 8,
    "data.num_train": 60,
    "data.num_test_normal": 24,
    "data.num_test_abnormal": 24,
    "study.num_ceiling": 40,
    "study.num_classes": [2],  # a short ablation, so that kills fall into it too
}
NUM_KILLS = 10


def start(folder):
    """The command a reader would type, in a process group of its own."""
    command = [sys.executable, "-m", "papermill", "chapters/05_pmsacl.ipynb"]
    command += [
        str(folder / "out.ipynb"),
        "--no-progress-bar",
        "-p",
        "source",
        "phantom",
    ]
    command += ["-y", json.dumps({"overrides": OVERRIDES})]
    return subprocess.Popen(
        command,
        cwd=paths.root(),
        env={
            **os.environ,
            "THESIS_RESULTS": str(folder / "results"),
            "THESIS_CACHE": str(folder / "cache"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def outcome(folder):
    """Rows of the one sealed record, and hashes of all final weights."""
    (path,) = (folder / "results").glob("*/*/run.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["status"] == "sealed"
    weights = {
        str(file.relative_to(path.parent)): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(path.parent.rglob("*.safetensors"))
    }
    assert weights
    return record["rows"], weights


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    assert start(folder).wait() == 0
    return outcome(folder), time.monotonic() - began


def test_ten_kills_change_no_row_and_no_weight(undisturbed, tmp_path):
    expected, seconds = undisturbed
    moments = random.Random(0)
    for _ in range(NUM_KILLS):
        process = start(tmp_path)
        try:
            process.wait(timeout=moments.uniform(0.05, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert start(tmp_path).wait() == 0

    assert outcome(tmp_path) == expected


def test_the_same_command_into_two_folders_gives_the_same_rows(undisturbed, tmp_path):
    assert start(tmp_path).wait() == 0

    assert outcome(tmp_path) == undisturbed[0]
