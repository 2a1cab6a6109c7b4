import json

import pytest

from thesislib.report.records import MIME, collect, records_of
from thesislib.runs.recorded import compact


def notebook(record):
    output = {"output_type": "display_data", "metadata": {}, "data": {MIME: record}}
    code = {"cell_type": "code", "source": "", "outputs": [output]}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [code]}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def found(root):
    return collect(root, root / "results")


def test_records_are_found_in_all_three_places(made, tmp_path):
    made.write(tmp_path, made.record(seed=0))
    write(tmp_path / "book/records/long.json", compact(made.record(seed=1), {}))
    write(tmp_path / "book/runs/a.ipynb", notebook(made.record(seed=2)))
    write(tmp_path / "out.ipynb", notebook(made.record(seed=3)))

    runs = found(tmp_path).runs

    assert [run.seed for run in runs] == [0, 1, 2, 3]
    assert [run.recorded for run in runs] == [False, True, False, False]


def test_a_run_and_its_notebook_count_once_with_the_scores(made, tmp_path):
    record = made.record()
    folder = made.write(tmp_path, record)
    write(tmp_path / "book/runs/a.ipynb", notebook(record))

    (run,) = found(tmp_path).runs

    assert run.folder == folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"status": "running"}, "its status is 'running'"), ({"seed": 9}, "broken")],
)
def test_what_is_not_sealed_does_not_count_and_is_named(
    made, tmp_path, changes, reason
):
    made.write(tmp_path, made.record() | changes, "early")

    collection = found(tmp_path)

    assert collection.runs == []
    (line,) = collection.passed_over
    assert line.startswith("results/05_pmsacl/early: not sealed")
    assert reason in line


def test_a_tampered_row_breaks_the_seal(made, tmp_path):
    record = made.record()
    record["rows"][0]["value"] = 1.0
    write(tmp_path / "book/runs/a.ipynb", notebook(record))

    assert found(tmp_path).runs == []


def test_damaged_files_are_passed_over(tmp_path):
    for name in ("results/05_pmsacl/a/run.json", "out.ipynb", "book/runs/b.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"nbformat": 4, "cells', encoding="utf-8")

    collection = found(tmp_path)

    assert collection.runs == []
    assert len(collection.passed_over) == 1  # a notebook without record is no run


def test_a_notebook_without_outputs_has_no_record():
    code = {"cell_type": "code", "source": "1", "outputs": []}

    assert list(records_of({"cells": [{"cell_type": "markdown"}, code]})) == []


def test_scores_are_those_of_row_and_setting(made, tmp_path):
    folder = made.write(tmp_path, made.record())
    text = "row,setting,id,label,patient,score\n"
    text += "a,{},i0,0,,0.5\n" + 'a,"{""k"":1}",i0,0,,0.7\n' + "b,{},i0,0,,0.9\n"
    (folder / "scores.csv").write_text(text, encoding="utf-8")

    (run,) = found(tmp_path).runs

    assert run.scores("a", {"k": 1}).scores == [0.7]
    assert run.scores("b", {}) == (["i0"], [0], [0.9], None)
    assert run.scores("c", {}) is None
