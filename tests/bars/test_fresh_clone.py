"""The two README commands on a fresh clone, timed; installation is not counted.

Minutes hold for two idle cores without a GPU.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What git tracks, as someone else would get it."""
    path = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, path], check=True)
    return path


def make(clone, target):
    """Seconds and output of a target, in the environment that runs these tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MAKE", "OMP_", "THESIS_", "PYTEST_"))
    }
    start = time.monotonic()
    done = subprocess.run(
        # -o: take the environment for set up
        ["make", target, f"VENV={VENV}", "-o", f"{VENV}/.thesis-setup"],
        cwd=clone,
        env=kept,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.monotonic() - start
    print(done.stdout[-4000:], f"\nmake {target}: {seconds / 60:.1f} minutes")
    assert done.returncode == 0
    return seconds, done.stdout


def test_report_takes_less_than_20_minutes_and_is_not_made_twice(clone):
    seconds, output = make(clone, "report")
    index = clone / "_build" / "html" / "index.html"
    assert f"open {index}" in output
    assert index.is_file()
    assert len(list((clone / "results" / "05_pmsacl").glob("*/run.json"))) == 6
    assert seconds < 20 * 60

    seconds, output = make(clone, "report")
    assert " starts\n" not in output
    assert seconds < 60


def test_tests_take_less_than_12_minutes(clone):
    seconds, _ = make(clone, "test")
    assert seconds < 12 * 60
