import json
import math
import shutil

import numpy as np
import pytest

from tests.runs.conftest import home  # noqa: F401  an empty repository, for each test
from tests.runs.toy import chapter
from thesislib import cli
from thesislib.errors import InputError
from thesislib.metrics.delong import delong
from thesislib.report import recording
from thesislib.report.records import collect
from thesislib.runs import record as records
from thesislib.runs import recorded, verify
from thesislib.runs.store import Scores


@pytest.fixture
def run():
    return chapter()[0].folder


def kinds(path):
    found = {}
    for finding in verify([path]):
        found.setdefault(finding.kind, []).append(finding.text)
    return found


def test_a_record_has_the_rows_of_its_run_and_their_errors(run):
    path, _ = recording.write(run)

    kept = recorded.expanded(records.read(path))
    original = records.read(run / "run.json")
    assert len(kept["rows"]) == len(original["rows"]) == 7
    for row, expected in zip(kept["rows"], original["rows"], strict=True):
        rounded = {name: row.pop(name) for name in ("ci_low", "ci_high")}
        row.pop("error")
        assert row == {k: v for k, v in expected.items() if k not in rounded}
        for name, value in rounded.items():
            assert (value is None) == (expected[name] is None)
            assert value is None or abs(value - expected[name]) < 1e-6
    scores = Scores.read(run / "scores.csv")["pmsacl-padim", "{}"]
    _, ((variance,),) = delong(scores["labels"], scores["scores"])
    again = recorded.expanded(records.read(path))["rows"]
    errors = {row["metric"]: row["error"] for row in again}
    assert errors["auc"] == pytest.approx(math.sqrt(variance), rel=1e-5)
    assert errors["ap"] is None and errors["auc difference"] is None


def test_the_file_is_named_after_the_run_small_and_the_same_each_time(run, tmp_path):
    path, text = recording.write(run)
    again, _ = recording.write(run, tmp_path / "other")

    assert path == tmp_path / "book" / "records" / f"05_toy--{run.name}.json"
    assert again.name == path.name and again.read_bytes() == path.read_bytes()
    assert not list(path.parent.glob(".*"))
    kept = json.loads(text)
    del kept["package"]  # modules of this process: those of other tests among them
    assert len(json.dumps(kept)) < 6_000
    assert "/private/reader" not in text


@pytest.mark.parametrize("number", range(12))
def test_any_edited_digit_is_found(run, number):
    path, text = recording.write(run)
    digits = [i for i, character in enumerate(text) if character.isdigit()]
    place = digits[(number * len(digits)) // 12]
    edited = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    path.write_text(edited, encoding="utf-8")

    assert "wrong" in kinds(path)
    assert collect().runs[0].recorded is False  # only the run itself counts
    assert "so it is left out" in collect().passed_over[0]


def test_an_intact_record_agrees_and_says_what_it_lacks(run):
    path, _ = recording.write(run)

    found = kinds(path)

    assert found["agrees"] == ["the seal of a recorded run, 7 rows"]
    assert found["absent"] == [
        "its scores are not kept here, so no metric is recomputed"
    ]
    assert "wrong" not in found and "changed" not in found


def reseal(path, change):
    """Change a record and seal it again, as nobody should."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    content["seal"] = records.seal_of(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_modules_that_changed_since_are_named_and_are_no_failure(run):
    path, _ = recording.write(run)

    def age(content):
        content["package"]["sha256"] = "0" * 64
        content["package"]["modules"]["training"]["loop"] = "0" * 12

    reseal(path, age)

    assert kinds(path)["changed"] == [
        "the package has changed since: thesislib.training.loop"
    ]
    assert "wrong" not in kinds(path)


def test_a_hash_of_all_modules_finds_what_the_digits_miss(run):
    path, _ = recording.write(run)
    reseal(path, lambda content: content["package"].update(sha256="0" * 64))

    assert "thesislib.training.loop" in kinds(path)["changed"][0]


def test_a_published_number_that_is_not_printed_is_found(run):
    path, _ = recording.write(run)

    def forge(content):
        content["rows"][0][2][0][recorded.NUMBERS.index("published")] = 0.5

    reseal(path, forge)

    assert "has 0.5 as published, printed is 0.658" in kinds(path)["wrong"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(schema=2), "its form is 2"),
        (lambda c: c.pop("command"), "missing or unknown: command"),
        (lambda c: c.update(rows=[["padim"]]), "not the form of a recorded run"),
        (lambda c: c.update(status="sealed"), "it is no recorded run"),
    ],
)
def test_what_is_out_of_form_does_not_count_though_sealed(run, change, reason):
    path, _ = recording.write(run)
    reseal(path, change)
    shutil.rmtree(run)

    assert reason in kinds(path)["wrong"][0]
    assert collect().runs == []


def test_a_runs_own_record_put_there_by_hand_does_not_count(run, tmp_path):
    path = tmp_path / "book" / "records" / "by-hand.json"
    path.parent.mkdir(parents=True)
    shutil.copy(run / "run.json", path)
    shutil.rmtree(run)

    assert collect().runs == []
    assert "thesislib runs record" in collect().passed_over[0]


def test_a_renamed_record_is_found(run):
    path, _ = recording.write(run)
    path = path.rename(path.with_name("better.json"))

    assert "the file was renamed" in kinds(path)["wrong"][0]


def test_an_unsealed_run_is_refused_and_nothing_written(tmp_path):
    from tests.runs.toy import Toy
    from thesislib import runs

    open_run = runs.start(Toy, {})
    open_run.close()

    with pytest.raises(InputError, match=r"not sealed \(status running\)"):
        recording.write(open_run.folder)
    with pytest.raises(InputError, match="holds no run"):
        recording.write(tmp_path)
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize("what", ["row", "scores"])
def test_an_altered_run_is_refused(run, tmp_path, what):
    if what == "row":
        path = run / "run.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["rows"][0]["value"] += 1e-6
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        path = run / "scores.csv"
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    with pytest.raises(InputError, match="was altered, so it is not recorded"):
        recording.write(run)
    assert not (tmp_path / "book").exists()


def test_rows_without_a_published_counterpart_can_be_left_out(run):
    path, _ = recording.write(run, published_only=True)

    kept = records.read(path)
    assert kept["rows_left_out"] == 3  # ap, the difference and the pixel metric
    assert all(row["published"] for row in recorded.expanded(kept)["rows"])
    assert "3 rows of the run were left out of the record" in kinds(path)["absent"]


def test_the_command_repeats_the_run():
    folder = chapter({"dataset": "lag", "seed": 3, "shots": 2}, table=None)[0].folder
    path, _ = recording.write(folder)

    assert records.read(path)["command"] == (
        f"papermill chapters/05_toy.ipynb book/runs/05_toy--{folder.name}.ipynb "
        "-p dataset lag -p source phantom -p preset quick -p reading thesis -p seed 3 "
        "-p shots 2 -p live false -p classes '[1, 2]'"
    )


def test_the_command_quotes_overrides_and_hides_folders():
    run = {
        "chapter": "05_toy",
        "folder": "05_toy/x",
        "dataset": {"source": "real"},
        "parameters": {
            "given": {"data_root": "lag", "overrides": {"method.lr": 0.2}},
            "resolved": {"data_root": "lag", "device": "cuda"},
        },
    }

    words = recorded.command(run)

    assert "-p data_root path/to/lag" in words
    assert """-p overrides '{"method.lr": 0.2}'""" in words


def test_the_command_line_records_lists_and_verifies(run, capsys):
    assert cli.main(["runs", "record", str(run)]) == 0
    assert f"book/records/05_toy--{run.name}.json: " in capsys.readouterr().out

    assert cli.main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["status", "sealed", "recorded"]
    assert "7  book/records/" in lines[2]

    assert cli.main(["runs", "verify"]) == 0
    assert "the seal of a recorded run, 7 rows" in capsys.readouterr().out

    assert cli.main(["runs", "record", "nowhere"]) == 1
    assert "holds no run" in capsys.readouterr().err


# --- one-class benchmarks: scores by class -----------------------------------------


def test_scores_behind_a_row_are_those_of_its_class_or_of_all():
    setting = {"pretrain": "scratch"}

    def key(**more):
        return ("igd", records.canonical(setting | more))

    stored = {key(**{"class": c}): None for c in ("0", "1")}
    stored[key(training="small20", **{"class": "0"})] = None
    stored["dsvdd", records.canonical({"class": "0"})] = None

    def behind(metric):
        row = {"row": "igd", "setting": setting, "metric": metric}
        return records.behind(row, stored)

    assert behind("auc@fmnist/1") == [key(**{"class": "1"})]
    assert behind("auc@fmnist/2") == []
    both = [key(**{"class": "0"}), key(**{"class": "1"})]
    assert behind("auc@fmnist") == behind("auc@fmnist/mean") == both
    assert behind("auc_small20") == [key(training="small20", **{"class": "0"})]
    stored[key()] = None
    assert behind("auc@fmnist") == [key()]


def test_a_mean_over_classes_varies_as_the_bootstrap_says(made, tmp_path):
    """Classes share their test images: each is normal once and abnormal twice."""
    generator = np.random.default_rng(0)
    digit = np.repeat([0, 1, 2], 100)
    hard = generator.normal(0, 1, 300)  # of an image, in every class's problem
    scores = [(digit != c) * 1.0 + hard for c in range(3)]
    rows = [
        made.row(
            "auc@fmnist",
            0.9,
            table="6.1",
            row="igd",
            setting={"pretrain": "scratch"},
        )
    ]
    folder = made.write(tmp_path, made.record(rows, dataset="fmnist"))
    store = Scores()
    names = [f"i{i}" for i in range(300)]
    for c in range(3):
        setting = {"pretrain": "scratch", "class": str(c)}
        store.add("igd", setting, names, digit != c, scores[c])
    (folder / "scores.csv").write_text(store.text(), encoding="utf-8")
    (run,) = collect(tmp_path, tmp_path / "results").runs

    error = run.error(rows[0])

    draws = []
    for _ in range(2000):
        pick = np.concatenate(
            [generator.integers(0, 100, 100) + 100 * d for d in range(3)]
        )
        aucs = []
        for c in range(3):
            low = np.sort(scores[c][pick][digit == c])
            place = np.searchsorted(low, scores[c][pick][digit != c]) / 100
            aucs.append(place.mean())
        draws.append(np.mean(aucs))
    assert error == pytest.approx(np.std(draws), rel=0.1)
