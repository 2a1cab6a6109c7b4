"""SIGKILL at any moment: the next start ends in the same weights, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.training.toy import KillAt, in_a_child, same, train

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_killed_at_every_change_of_the_disk(tmp_path, monkeypatch):
    num_steps = 4  # two checkpoints: half-way and finished
    straight, _ = train(tmp_path / "straight", num_steps=num_steps)
    with monkeypatch.context() as patch:
        counter = KillAt(patch)
        train(tmp_path / "counted", num_steps=num_steps)

    kills = 0
    for number in range(counter.count):
        for how in ("before", "half", "after"):
            folder = tmp_path / f"{number}-{how}"

            def work(folder=folder, number=number, how=how):
                with monkeypatch.context() as patch:
                    KillAt(patch, number, how)
                    train(folder, num_steps=num_steps)

            assert in_a_child(work) == -signal.SIGKILL
            kills += 1
            resumed, loop = train(folder, num_steps=num_steps)
            assert same(straight, resumed), (number, how)
            assert [row["step"] for row in loop.history] == list(range(4))
            assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    assert kills >= 3 * 2 * 3 * 2  # ways, checkpoints, files, written and moved


@needs_fork
def test_killed_at_ten_random_moments(tmp_path):
    options = {"num_steps": 200, "checkpoint_every": 7}
    began = time.monotonic()
    straight, _ = train(tmp_path / "straight", **options)
    seconds = time.monotonic() - began
    moments = random.Random(0)

    killed = 0
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            train(tmp_path / "run", **options)
            os._exit(0)
        time.sleep(moments.uniform(0.05, 0.2) * seconds)
        os.kill(pid, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert killed >= 5  # else the stage is too short for this test

    resumed, _ = train(tmp_path / "run", **options)
    assert same(straight, resumed)


def test_another_process_goes_on_bit_for_bit(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.training.toy import train\n"
        "train(Path(sys.argv[1]), stop=7)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)

    resumed, _ = train(tmp_path / "run")

    straight, _ = train(tmp_path / "straight")
    assert same(straight, resumed)
