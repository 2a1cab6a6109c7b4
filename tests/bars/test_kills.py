"""Chapters killed at random moments end as if nobody had touched them."""

import hashlib
import os
import random
import signal
import subprocess
import time

import pytest

from tests.bars import chapters

GIVEN = {  # short runs, each with an ablation, so that kills fall into it too
    "05_pmsacl": {
        "overrides": {
            "pmsacl.num_steps": 24,
            "pmsacl.num_centre_images": 16,
            "simclr.num_steps": 8,
            "igd.num_steps": 8,
            "local.num_steps": 8,
            "data.num_train": 60,
            "data.num_test_normal": 24,
            "data.num_test_abnormal": 24,
            "study.num_ceiling": 40,
            "study.num_classes": [2],
        }
    },
    "06_igd": {
        "part": "all",
        "classes": ["0", "6"],
        "overrides": {
            "igd.num_steps": 24,
            "data.num_train": 60,
            "data.num_test_normal": 10,
            "data.num_test_abnormal": 20,
            "study.ablation": ["rec"],
        },
    },
}
NUM_KILLS = 10


def start(chapter, folder):
    return chapters.start(chapter, folder, source="phantom", **GIVEN[chapter])


def outcome(folder):
    """Rows of the one sealed record, and hashes of all final weights."""
    (record,) = chapters.sealed(folder)
    top = folder / "results"
    weights = {
        str(file.relative_to(top)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(top.rglob("*.safetensors"))
    }
    assert weights
    return record["rows"], weights


@pytest.fixture(scope="module", params=GIVEN)
def undisturbed(request, tmp_path_factory):
    """Chapter, outcome, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    assert start(request.param, folder).wait() == 0
    return request.param, outcome(folder), time.monotonic() - began


def test_ten_kills_change_no_row_and_no_weight(undisturbed, tmp_path):
    chapter, expected, seconds = undisturbed
    moments = random.Random(0)
    for _ in range(NUM_KILLS):
        process = start(chapter, tmp_path)
        try:
            process.wait(timeout=moments.uniform(0.05, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert start(chapter, tmp_path).wait() == 0

    assert outcome(tmp_path) == expected


def test_the_same_command_into_two_folders_gives_the_same_rows(undisturbed, tmp_path):
    chapter, expected, _ = undisturbed
    assert start(chapter, tmp_path).wait() == 0

    assert outcome(tmp_path) == expected
