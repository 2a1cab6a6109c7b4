import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from tests.runs.toy import CHAPTER, Toy, chapter
from tests.training.toy import in_a_child
from thesislib import runs, sources
from thesislib.errors import InputError
from thesislib.runs import folder as folders
from thesislib.runs import record
from thesislib.runs.run import Run
from thesislib.training import status
from thesislib.training.loop import TrainingError


def results(home):
    return home / "results" / CHAPTER


def only_run(home):
    (path,) = (p for p in results(home).iterdir() if p.is_dir())
    return path


def contents(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read(folder) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def test_a_finished_run_is_sealed_and_holds_what_the_design_lists(home):
    run, _ = chapter({"overrides": '{"method.num_steps": 6}', "data_root": ""})

    assert run.folder == only_run(home)
    assert run.folder.name.startswith("covidx-phantom-quick-thesis-s0-")
    found = read(run.folder)
    assert record.is_sealed(found)
    assert found.keys() == record.FIELDS.keys() | {"seal"}
    assert found["status"] == "sealed" and found["chapter"] == CHAPTER
    assert found["parameters"]["given"]["overrides"] == {"method.num_steps": 6}
    assert found["parameters"]["resolved"]["source"] == "phantom"
    assert found["parameters"]["resolved"]["device"] == "cpu"
    assert found["configs"]["method"]["num_steps"] == 6
    assert found["dataset"]["provenance"]["folder"] == "data"  # its last part
    assert found["threads"] == torch.get_num_threads() == 1
    assert found["modules"]["thesislib.training.loop"] == sources.sha256_file(
        sources.path_of("thesislib.training.loop")
    )
    (stage,) = found["stages"]
    assert stage["name"] == "training" and stage["wall_seconds"] > 0
    assert stage["cpu_seconds"] > 0 and stage["peak_memory_bytes"] > 1e6
    assert [row["metric"] for row in found["rows"]][:2] == ["auc", "ap"]
    auc, ap, *_ = found["rows"]
    assert auc["published"] == 0.658 and auc["table"] == "5.4"
    assert ap["published"] is None and ap["table"] is None  # not printed there
    losses = (run.folder / "losses.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in losses] == list(range(6))


def test_a_run_that_is_watched_tells_when_its_stages_begin_and_end(home, monkeypatch):
    file = home / "run.jsonl"
    monkeypatch.setenv(status.VARIABLE, str(file))

    run, _ = chapter()
    with pytest.raises(ValueError), run.stage("figures"):
        raise ValueError

    events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for event in events:
        del event["at"]
    assert events == [
        {"stage": "training"},
        {"stage_ended": "training"},
        {"stage": "figures"},
        {"stage_ended": "figures"},
    ]


def test_private_paths_stay_out_of_the_record(home):
    text = json.dumps(read(chapter()[0].folder)) + json.dumps(
        read(chapter({"seed": 1, "data_root": "/private/reader/covid"})[0].folder)
    )

    assert str(home) not in text and "reader" not in text
    assert '"data_root": "covid"' in text


def test_two_empty_results_folders_get_identical_rows(home, monkeypatch):
    first, net = chapter()
    monkeypatch.setenv("THESIS_RESULTS", str(home / "elsewhere"))
    second, other = chapter()

    assert first.folder != second.folder
    assert first.rows == second.rows and len(first.rows) == 7
    assert torch.equal(net.weight, other.weight)
    for name in ("scores.csv", "histograms.npz", "losses.jsonl"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_a_sealed_run_is_reused_says_so_and_stays_as_it_is(home, capsys):
    first, net = chapter()
    before = contents(first.folder)
    capsys.readouterr()

    second, again = chapter()

    said = capsys.readouterr().out
    assert second.sealed and "sealed" in said and "reused" in said
    assert contents(first.folder) == before
    assert torch.equal(net.weight, again.weight)


def test_other_settings_are_another_run_device_and_paths_are_not(home):
    names = {
        chapter(given)[0].folder.name
        for given in (
            {},
            {"device": "cpu"},
            {"data_root": "elsewhere"},
            {"seed": 1},
            {"shots": 5},
            {"reading": "code"},
            {"overrides": {"method.lr": 0.2}},
        )
    }

    assert len(names) == 5


def test_a_file_of_weights_is_a_setting_by_its_content_not_its_path(home, monkeypatch):
    class WithFile(Toy):
        files = ("weights",)
        weights: str = ""

    def name(path: str) -> str:
        run = runs.start(WithFile, {"weights": path})
        run.close()
        return run.folder.name

    for file, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (home / file).write_bytes(content)
    assert name("a.pt") == name(str(home / "b.pt")) != name("c.pt")
    assert name("") != name("c.pt")
    with pytest.raises(InputError, match=r"weights is 'd\.pt', which is no file"):
        name("d.pt")


def test_overrides_that_change_nothing_are_the_same_run(home):
    first = chapter()[0].folder.name
    assert chapter({"overrides": {"method.lr": 0.1}})[0].folder.name == first


def test_a_run_that_stopped_is_running_and_is_resumed(home, capsys):
    run = runs.start(Toy, {})
    assert read(run.folder)["status"] == "running"
    assert not record.is_sealed(read(run.folder))
    run.close()
    capsys.readouterr()

    again, _ = chapter()

    assert "resumed where it stopped" in capsys.readouterr().out
    assert read(again.folder)["sessions"] == 2
    assert record.is_sealed(read(again.folder))


def test_rows_that_differ_from_the_sealed_ones_are_refused(home):
    sealed = contents(chapter()[0].folder)

    with pytest.raises(InputError, match=r"not those that .* was sealed with"):
        chapter(value=0.5)
    assert contents(only_run(home)) == sealed


def test_overwrite_computes_anew_and_keeps_the_sealed_run_until_then(home, monkeypatch):
    first = chapter()[0].folder
    before = contents(first)

    run = runs.start(Toy, {}, overwrite=True)
    assert run.folder.name.endswith(".new") and contents(first) == before
    run.close()
    monkeypatch.setenv("THESIS_OVERWRITE", "1")
    again = chapter()[0]

    assert again.folder == first == only_run(home)
    assert read(first)["rows"] == json.loads(before["run.json"])["rows"]
    assert read(first)["started"] >= json.loads(before["run.json"])["finished"]


def test_a_changed_notebook_is_computed_anew_from_the_same_weights(home, edit, capsys):
    first, _ = chapter()
    before = read(first.folder)
    edit("runs.start(Toy, globals())  # another row")
    capsys.readouterr()

    chapter(value=0.5)

    assert "anew, because the notebook changed" in capsys.readouterr().out
    after = read(only_run(home))
    assert len(after["rows"]) == len(before["rows"]) + 1
    assert [row for row in after["rows"] if row["row"] != "extra"] == before["rows"]
    assert after["stages"][0]["wall_seconds"] >= before["stages"][0]["wall_seconds"]


def test_changed_sources_train_anew_beside_the_sealed_run(home, monkeypatch, capsys):
    first, _ = chapter()
    before = contents(first.folder)
    changed = sources.imported() | {"thesislib.training.loop": "0" * 64}
    monkeypatch.setattr(sources, "imported", lambda: changed)
    capsys.readouterr()

    run = runs.start(Toy, {})

    assert "because thesislib.training.loop changed" in capsys.readouterr().out
    assert run.folder.name.endswith(".new")
    assert not list(run.folder.glob("checkpoints/*"))
    assert contents(first.folder) == before
    run.close()


@pytest.mark.parametrize("module", ["figures.style", "book.pages", "report.text"])
def test_changed_figures_and_pages_leave_a_sealed_run_as_it_is(
    home, monkeypatch, module
):
    chapter()
    changed = sources.imported() | {f"thesislib.{module}": "0" * 64}
    monkeypatch.setattr(sources, "imported", lambda: changed)

    assert chapter()[0].sealed


def test_arrays_of_other_sources_are_computed_again(home, monkeypatch):
    run = runs.start(Toy, {})
    assert run.once("a", lambda: {"x": np.ones(2)})["x"].sum() == 2
    assert run.once("a", lambda: {"x": np.zeros(2)})["x"].sum() == 2
    changed = sources.imported() | {"thesislib.training.seeding": "0" * 64}
    monkeypatch.setattr(sources, "imported", lambda: changed)
    assert run.once("a", lambda: {"x": np.zeros(2)})["x"].sum() == 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half of a file"])
def test_damaged_arrays_are_computed_again(home, damage):
    run = runs.start(Toy, {})
    run.once("a", lambda: {"x": np.ones(2)})
    (run.folder / "arrays" / "a.npz").write_bytes(damage)

    assert run.once("a", lambda: {"x": np.full(2, 3)})["x"].sum() == 6


def test_what_arrays_are_drawn_from_does_not_depend_on_what_came_before(home):
    run = runs.start(Toy, {})

    def draw(name, seed):
        torch.manual_seed(seed)
        drawn = run.once(name, lambda: {"x": torch.rand(3).numpy()})["x"]
        return drawn.tolist(), torch.rand(3).tolist()

    first = draw("a", 1)
    assert draw("a", 2) == first  # read back
    (run.folder / "arrays" / "a.npz").unlink()
    assert draw("a", 3) == first  # computed again
    assert draw("b", 3) != first


def test_arrays_are_never_pickles(home):
    run = runs.start(Toy, {})
    with pytest.raises(InputError, match="'x', which is no array of numbers or text"):
        run.once("a", lambda: {"x": np.array([{}], dtype=object)})


def test_a_tampered_record_is_refused_not_continued(home):
    path = chapter()[0].folder / "run.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["rows"][0]["value"] = 0.99
    path.write_text(json.dumps(found), encoding="utf-8")

    with pytest.raises(InputError, match="its seal is wrong"):
        chapter()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("5.4", "pmsacl", {}, "auc", 0.9), "Table 5.4 has no row 'pmsacl'"),
        ((None, "x", {}, "auc", float("nan")), "The value of x auc is nan"),
        ((None, "x", {}, "auc", 0.5, float("inf")), "The ci_low of x auc is inf"),
        ((None, "x", {}, "auc", None), "The value of x auc is None"),
    ],
)
def test_rows_that_could_not_be_trusted_are_refused(home, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        runs.start(Toy, {}).add_row(*arguments)


def test_scores_that_could_not_be_trusted_are_refused(home):
    run = runs.start(Toy, {})
    good = {"ids": ["a", "b"], "labels": [0, 1], "scores": [0.1, 0.2]}
    for wrong, sentence in (
        ({"scores": [0.1]}, "must be as many"),
        ({"labels": [0, 2]}, "must be 0"),
        ({"scores": [0.1, float("nan")]}, "for b is not finite"),
        ({"ids": ["a", "a"]}, "must differ"),
    ):
        with pytest.raises(InputError, match=sentence):
            run.add_scores("row", {}, **(good | wrong))


def test_a_run_without_all_its_rows_is_not_sealed(home):
    run = runs.start(Toy, {})
    with pytest.raises(InputError, match="no rows for it"):
        run.finish()
    run.add_row(None, "x", {}, "auc", 0.5)
    with pytest.raises(InputError, match=r"no rows for pmsacl-padim of table 5\.4"):
        run.finish([("5.4", "pmsacl-padim")])
    next(run.loop("method", progress=None).steps(3, saving={}))
    with pytest.raises(InputError, match="method did not end"):
        run.finish()
    assert read(run.folder)["status"] == "running"


def test_a_stage_that_broke_off_keeps_the_run_open(home):
    run = runs.start(Toy, {})
    run.add_row(None, "x", {}, "auc", 0.5)
    with pytest.raises(KeyboardInterrupt), run.stage("scoring"):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="scoring did not end"):
        run.finish()
    with run.stage("scoring"):
        pass
    run.finish()
    assert run.sealed


def test_out_of_memory_in_a_stage_names_the_override(home):
    run = runs.start(Toy, {})
    with (
        pytest.raises(TrainingError, match=r"lower method\.batch_size through overr"),
        run.stage("training"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_device_that_is_not_here_is_one_sentence(home):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(InputError, match="'cuda:7', but torch finds no CUDA device"):
        runs.start(Toy, {"device": "cuda:7"})


def test_threads_come_from_the_environment(home, monkeypatch):
    monkeypatch.setenv("THESIS_THREADS", "two")
    with pytest.raises(InputError, match="THESIS_THREADS is 'two'"):
        runs.start(Toy, {})


def test_an_unwritable_results_folder_is_one_sentence(home, monkeypatch):
    (home / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("THESIS_RESULTS", str(home / "file"))

    with pytest.raises(InputError, match=r"could not be written .* set THESIS_RESULTS"):
        runs.start(Toy, {})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["__init__", "stage", "loop", "once", "finish"])
def test_a_full_disk_leaves_the_sealed_run_and_no_half_one(home, monkeypatch, moment):
    """From `moment` on, the system refuses files of more than 100 bytes."""
    import resource

    sealed = contents(chapter()[0].folder)
    method = getattr(Run, moment)

    def work():
        def full(*arguments, **options):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            return method(*arguments, **options)

        monkeypatch.setattr(Run, moment, full)
        try:
            chapter(overwrite=True)
        except InputError as error:
            os._exit(7 if "free some space" in str(error) else 8)

    assert in_a_child(work) == 7
    (final,) = (
        p for p in results(home).iterdir() if p.name.endswith(tuple("0123456789abcdef"))
    )
    assert contents(final) == sealed
    assert not list(results(home).rglob("*.tmp"))
    assert chapter()[0].folder == final


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_one_process_at_a_time_and_a_killed_one_blocks_nobody(home):
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        runs.start(Toy, {})
        os.write(ready_write, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready_read, 1)

    try:
        with pytest.raises(InputError, match=f"Process {pid} is working on this run"):
            runs.start(Toy, {})
        runs.start(Toy, {"seed": 1}).close()  # another run is free
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    runs.start(Toy, {}).close()


def test_a_cell_that_is_run_again_takes_its_lock_over(home):
    runs.start(Toy, {})
    assert chapter()[0].sealed


@pytest.mark.parametrize("new_is_sealed", [True, False])
def test_a_change_of_places_that_was_cut_short_is_completed(home, new_is_sealed):
    final = chapter()[0].folder
    rows = read(final)["rows"]
    new, old = folders._beside(final)
    if new_is_sealed:
        shutil.copytree(final, new)
    os.rename(final, old)

    assert chapter()[0].folder == final
    assert read(final)["rows"] == rows
    assert not new.exists() and not old.exists()
