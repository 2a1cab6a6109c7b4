"""Only the main path stops a run: what else fails is left out, and said to be."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.runs.toy import Toy
from thesislib import atomic, runs
from thesislib.errors import InputError
from thesislib.runs import record
from thesislib.study import minima, optional, task
from thesislib.study.method import Method, fitted, rows_left_out
from thesislib.training.checkpoint import CheckpointError
from thesislib.training.loop import TrainingError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("THESIS_RESULTS", str(tmp_path / "results"))
    opened = runs.start(Toy, {})
    yield opened
    opened.close()


def failing(error, run=None):
    def make():
        if run is not None:
            run.add_row(None, "half", {}, "auc", 0.5)
            with run.stage("half"):
                raise error
        raise error

    return make


def sealed(run):
    """The record of the run, sealed with one row."""
    run.add_row(None, "main", {}, "auc", 0.5)
    run.finish([(None, "main")])
    (path,) = run.folder.glob("run.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_a_part_gives_is_passed_on(run):
    assert optional.attempt(run, "a part", lambda: 3) == 3
    assert run.left_out == {}
    assert sealed(run)["left_out"] == {}


def test_a_part_that_fails_is_left_out_with_all_it_began(run):
    make = failing(InputError("Too few."), run)
    assert optional.attempt(run, "a part", make) is None

    assert optional.in_place(run, ["a part", "another"]) == (
        "<p><em>Left out</em>: a part. Too few.</p>"
    )
    found = sealed(run)  # the stage that did not end is no matter
    assert record.is_sealed(found)
    assert found["left_out"] == {"a part": "Too few."}
    assert [row["row"] for row in found["rows"]] == ["main"]


def test_a_loss_that_is_not_finite_leaves_its_part_out(run):
    def train():
        weight = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.1)
        loop = run.loop("method", progress=None, read_every=1)
        for step in loop.steps(2, saving={"weight": weight}):
            step.update(weight(torch.full((1, 1), torch.nan)).sum(), optimizer)

    assert optional.attempt(run, "a variant", train) is None
    assert "nan" in sealed(run)["left_out"]["a variant"]


def test_a_fault_of_the_package_is_called_one(run):
    optional.attempt(run, "a part", failing(KeyError("x")))

    assert run.left_out == {"a part": "KeyError('x'), a fault of ours"}


def memory_is_used_up():
    error = TrainingError("Memory is used up.")
    error.__cause__ = torch.OutOfMemoryError()
    return error


def nothing_can_be_written(tmp_path):
    error = OSError(28, "No space left")
    refused = atomic.cannot_write(tmp_path, error)
    refused.__cause__ = error
    return refused


def test_what_has_nothing_to_do_with_the_part_stops_the_run(run, tmp_path):
    for error in (
        memory_is_used_up(),
        nothing_can_be_written(tmp_path),
        CheckpointError("It was made by other sources."),
    ):
        with pytest.raises(InputError) as raised:
            optional.attempt(run, "a part", failing(error))
        assert raised.value is error
    with pytest.raises(KeyboardInterrupt):
        optional.attempt(run, "a part", failing(KeyboardInterrupt()))
    assert run.left_out == {}


def test_a_sealed_run_does_not_try_again_what_it_left_out(run):
    optional.attempt(run, "a part", failing(InputError("No.")))
    sealed(run)

    assert run.sealed
    assert optional.attempt(run, "a part", lambda: 3) is None
    assert optional.attempt(run, "another", lambda: 3) == 3


def test_a_section_says_in_its_place_that_it_is_left_out(run, monkeypatch):
    monkeypatch.setattr(minima, "lacking", lambda data, key: "Few." * (key == "some"))

    @optional.section("maps")
    def maps(run, method, name="maps"):
        raise InputError("No <maps>.")

    @optional.section("groups", "some")
    def groups(run):
        raise AssertionError

    shown = maps(run, SimpleNamespace(label="IGD"))
    assert shown == "<p><em>Left out</em>: maps of IGD. No &lt;maps&gt;.</p>"
    assert shown._repr_html_() == shown.data == shown
    assert "maps (other)" in maps(run, None, name="other")
    assert groups(run) == "<p><em>Left out</em>: groups. Few.</p>"
    assert run.left_out.keys() == {"maps of IGD", "maps (other)", "groups"}


def test_an_error_is_kept_like_a_result(run):
    calls = []

    def make():
        calls.append(1)
        raise InputError("Never.")

    for _ in range(2):
        with pytest.raises(InputError, match="Never"):
            task.kept(run, ("encoder",), make)
    assert len(calls) == 1
    assert not task.known(run, ("encoder",))


def test_memory_that_gave_out_is_asked_again(run):
    with pytest.raises(TrainingError):
        task.kept(run, ("encoder",), failing(memory_is_used_up()))

    assert task.kept(run, ("encoder",), lambda: 3) == 3


# --- Methods -----------------------------------------------------------------------

LABELS = np.repeat([0, 1], 6)


@pytest.fixture
def judged(run, monkeypatch):
    """A run whose methods are only their scores."""
    data = SimpleNamespace(
        train=range(9), test_labels=LABELS, test_masks=None, test_patients=None
    )
    monkeypatch.setattr("thesislib.study.method.data_of", lambda run, task: data)
    asked = []

    def detect(run, method, task, **options):
        asked.append(method.key)
        return method.fit(run, task)

    monkeypatch.setattr("thesislib.study.method.detect", detect)
    return run, data, asked


def method(key, fit=lambda run, task: 1):
    return Method(key=key, label=key.upper(), stage=key, fit=fit)


def test_methods_that_fail_or_that_data_are_too_few_for_are_left_out(judged):
    run, _, asked = judged

    def fail(run, task):
        raise InputError("The scores hold 3 NaN.")

    asked_for = [method(k) for k in ("igd", "kde")] + [method("vae", fail)]
    found = fitted(run, [*asked_for, method("ocsvm")])

    assert [one.key for one in found] == ["igd", "ocsvm"]
    assert asked == ["igd", "vae", "ocsvm"]
    assert rows_left_out(run) == ["KDE", "VAE"]
    assert run.left_out["KDE"] == "It needs at least 10 training images (here 9)."


def test_the_first_method_stops_the_run(judged):
    run, *_ = judged

    def fail(run, task):
        raise InputError("It does not train.")

    with pytest.raises(InputError, match="does not train"):
        fitted(run, [method("igd", fail), method("ocsvm")])


def test_too_few_images_stop_a_run_before_anything_is_trained(judged):
    run, data, asked = judged
    data.test_labels = LABELS[5:]

    with pytest.raises(InputError, match="1 normal test images"):
        fitted(run, [method("igd")])
    assert asked == []
