"""SIGKILL while a run is recorded: never a half one, and the same rows in the end."""

import json
import os
import signal

import pytest
import torch

from tests.runs.toy import CHAPTER, Toy, chapter
from tests.training.toy import KillAt, in_a_child
from thesislib import runs
from thesislib.runs import folder as folders
from thesislib.runs import record

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def sealed_runs() -> list[dict]:
    """Records that count."""
    return [found for _, found in record.find() if record.is_sealed(found)]


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_at_every_change_of_the_disk(home, monkeypatch, overwrite):
    """With a file half written, and right after it was moved into its place."""

    def use(name):
        monkeypatch.setenv("THESIS_RESULTS", str(home / name))
        if overwrite:
            chapter()

    use("straight")
    with monkeypatch.context() as patch:
        counter = KillAt(patch)
        straight, net = chapter(overwrite=overwrite)
    assert counter.count > 20

    # Beside a sealed run only the end differs: every change there, some before.
    early = range(0, counter.count - 8, 5 if overwrite else 1)
    for number in (*early, *range(counter.count - 8, counter.count)):
        use(f"killed-{number}")
        before = [run["seal"] for run in sealed_runs()]

        def work(number=number):
            with monkeypatch.context() as patch:
                KillAt(patch, number, "half")
                chapter(overwrite=overwrite)

        assert in_a_child(work) == -signal.SIGKILL, number
        if number < counter.count - 4:
            assert [run["seal"] for run in sealed_runs()] == before
        run, again = chapter()
        assert run.rows == straight.rows
        assert torch.equal(again.weight, net.weight)
        (sealed,) = sealed_runs()
        assert sealed["rows"] == json.loads(json.dumps(run.rows))
        assert sorted(path.name for path in run.folder.parent.iterdir()) == [
            f".{run.folder.name}.lock",
            run.folder.name,
        ]
        assert not list(run.folder.rglob("*.tmp"))
    assert run.folder.parent.name == CHAPTER


def test_killed_while_taking_over_what_a_sealed_run_computed(home, edit, monkeypatch):
    straight, net = chapter()
    edit("runs.start(Toy, globals())  # so it is computed anew")
    with monkeypatch.context() as patch:
        counter = KillAt(patch)
        runs.start(Toy, {}).close()
    links = counter.count - 3  # the folder moved, run.json written and moved
    assert links >= 5  # three files of a checkpoint, its losses, one of arrays

    for number in range(links + 1):
        folders._remove(straight.folder.with_name(f"{straight.folder.name}.new"))

        def work(number=number):
            with monkeypatch.context() as patch:
                KillAt(patch, number, "after")
                runs.start(Toy, {})

        assert in_a_child(work) == -signal.SIGKILL, number
        runs.start(Toy, {}).close()  # goes on from there
    run, again = chapter()

    assert run.rows == straight.rows
    assert torch.equal(again.weight, net.weight)
    assert len(list(run.folder.parent.iterdir())) == 2  # the run and its lock
