import numpy as np
import pytest

from tests.report.test_ledger import entry, of
from thesislib import paths
from thesislib.report import intervals, ledger
from thesislib.runs import record as records
from thesislib.runs import recorded
from thesislib.runs.store import Scores


def keep(root, record, errors=None):
    """Put the recorded form of a run into a repository; its file."""
    path = root / "book" / "records" / recorded.file_name(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recorded.text(recorded.compact(record, errors or {})), "utf-8")
    return path


def collected(root):
    return ledger.build(ledger.collect(root, root / "results"))


def test_recorded_runs_count_beside_those_of_this_checkout(made, tmp_path):
    for seed in range(3):
        record = made.record([made.row(value=0.99 + 0.001 * seed)], seed=seed)
        if seed == 0:
            made.write(tmp_path, record)
        else:
            keep(tmp_path, record, {0: 0.002})

    (result,) = entry(collected(tmp_path)).results

    assert result.seeds == (0, 1, 2)
    assert result.value == pytest.approx(0.991)
    assert result.recorded
    assert entry(collected(tmp_path)).verdict in ledger.VERDICTS


def test_a_run_of_this_checkout_replaces_the_recorded_one(made, tmp_path):
    """The very run by its seal, another run of the same seed though it is older."""
    record = made.record([made.row(value=0.9)])
    keep(tmp_path, record)
    made.write(tmp_path, record)

    assert [run.recorded for run in collected(tmp_path).runs] == [False]

    newer = made.record([made.row(value=0.8)], finished="2027-01-01T00:00:00+00:00")
    keep(tmp_path, newer)

    (result,) = entry(collected(tmp_path)).results
    assert result.values == (0.9,) and not result.recorded


def test_recorded_seeds_take_delongs_errors(made, tmp_path):
    for seed in range(3):
        record = made.record([made.row(value=0.95 + 0.001 * seed)], seed=seed)
        keep(tmp_path, record, {0: 0.004})

    (result,) = entry(collected(tmp_path)).results

    expected = intervals.seeds_and_errors(result.values, [0.004] * 3)[1]
    assert (result.ci_low, result.ci_high) == pytest.approx(expected)
    assert (
        result.interval == "t over seeds and DeLong errors within runs, in quadrature"
    )


def differences(made, tmp_path, rows, errors):
    for seed in range(3):
        keep(tmp_path, made.record(rows, seed=seed), errors)
    (design,) = collected(tmp_path).designs
    better, worse, *_ = design.rows
    return design.difference(better, worse)


def test_a_difference_of_recorded_rows_adds_their_errors(made, tmp_path):
    rows = [made.row(value=0.9), made.row(row="padim", value=0.7)]

    found = differences(made, tmp_path, rows, {0: 0.01, 1: 0.02})

    assert found.ci_high - found.value == pytest.approx(1.959964 * 0.03)


def test_a_difference_takes_the_runs_own_contrast_where_it_states_one(made, tmp_path):
    contrast = made.row(
        "auc difference", 0.2, table=None, setting={"minus": "padim"}
    ) | {"ci_low": 0.19, "ci_high": 0.21}
    rows = [made.row(value=0.9), made.row(row="padim", value=0.7), contrast]

    found = differences(made, tmp_path, rows, {0: 0.01, 1: 0.02})

    assert (found.ci_low, found.ci_high) == pytest.approx((0.19, 0.21), abs=1e-6)


def test_a_difference_on_real_data_counts_the_images_though_no_score_is_there(made):
    rows = [made.row("accuracy", 0.9), made.row("accuracy", 0.7, row="padim")]
    built = of(made, [made.record(rows, seed=s) for s in range(3)])
    (design,) = built.designs

    found = design.difference(*design.rows)

    assert (found.ci_low, found.ci_high) == pytest.approx((0.192, 0.208))
    assert "within runs" in found.interval


def test_the_records_of_the_book_are_intact():
    """Also those that were made before a record had all the fields of today."""
    found = [records.read(path) for path in paths.root().glob("book/records/*.json")]

    assert found and [recorded.problem(record) for record in found] == [""] * len(found)


def test_a_damaged_record_is_left_out_and_named(made, tmp_path):
    path = keep(tmp_path, made.record())
    path.write_text(path.read_text("utf-8").replace("0.99", "0.98"), "utf-8")

    built = collected(tmp_path)

    assert built.runs == []
    (problem,) = built.problems
    assert problem == (
        f"book/records/{path.name}: the seal does not fit, so the record was changed, "
        "so it is left out"
    )


def one_class(made, tmp_path, num_seeds=3):
    """Runs of a benchmark of three classes on shared images; scores by class."""
    setting = {"pretrain": "scratch"}
    digit = np.repeat([0, 1, 2], 30)
    for seed in range(num_seeds):
        generator = np.random.default_rng(seed)
        rows = [
            made.row("auc@fmnist", 0.9, table="6.1", row=row, setting=setting)
            for row in ("igd", "dsvdd")
        ]
        record = made.record(rows, seed=seed, dataset="fmnist", chapter="06_igd")
        folder = made.write(tmp_path, record, f"s{seed}")
        store = Scores()
        for row, gain in (("igd", 2.0), ("dsvdd", 1.0)):
            for c in range(3):
                scores = gain * (digit != c) + generator.normal(0, 0.3, 90)
                scores = scores + np.random.default_rng(9).normal(0, 1, 90)
                names = [f"i{i}" for i in range(90)]
                store.add(row, setting | {"class": str(c)}, names, digit != c, scores)
        (folder / "scores.csv").write_text(store.text(), encoding="utf-8")
    return collected(tmp_path)


def test_a_mean_over_classes_has_an_interval_over_seeds_and_images(made, tmp_path):
    built = one_class(made, tmp_path)

    (result,) = entry(
        built, table="6.1", row="igd", metric="auc@fmnist", pretrain="scratch"
    ).results

    assert result.interval == "Obuchowski-Rockette over seeds and images"
    (design,) = built.designs
    (igd, dsvdd) = design.rows
    difference = design.difference(igd, dsvdd)
    assert 0 < difference.ci_low < difference.value < 0.4
    assert difference.interval == result.interval
