"""Claims of chapter 6 that a run settles by what it states of itself."""

import numpy as np
import pytest

from thesislib.report import ledger
from thesislib.report.claims import entries, judge_all
from thesislib.runs.store import Scores

COUNTS = entries()["C6-23"].judged[0].fields["images"]
SETTINGS = {  # as a run states them
    name: {key: None if value == "none" else value for key, value in found.items()}
    for name, found in entries()["C6-22"].judged[0].fields["configs"].items()
}
PROTOCOL = {"C6-16", "C6-22", "C6-23"}
CHAPTER = "06_igd"
IMAGENET = {"pretrain": "imagenet"}


def judged(collection, claim):
    found = judge_all(ledger.build(collection))
    return next(one for one in found if one.claim["id"] == claim)


# --- accuracy at 0.5 ----------------------------------------------------------------

LABELS = [0, 0, 0, 1, 1]
BOTTLE = [0.48, 0.5, 0.5, 0.5, 0.7]  # 3 of 5 right at 0.5, 4 above, 2 below
GRID = [0.1, 0.2, 0.3, 0.9, 0.8]  # all right


def industrial(made, root, values, *, scores=True, **changes):
    """A run on MVTec AD: accuracy of two classes and their mean, scores kept."""
    names = ("accuracy@mvtec/bottle", "accuracy@mvtec/grid", "accuracy")
    rows = [
        made.row(name, value, row="igd", setting=IMAGENET, table=table)
        for name, value, table in zip(names, values, ("A.1", "A.1", "6.2"), strict=True)
    ]
    floor = {"row": "all-abnormal", "setting": {}, "table": None}
    rows.append(made.row("accuracy@mvtec", 0.4, **floor))
    record = made.record(rows, dataset="mvtec", chapter=CHAPTER, **changes)
    folder = made.write(root, record)
    if scores:
        store = Scores()
        for name, one in (("bottle", BOTTLE), ("grid", GRID)):
            ids = [f"{name}/{number}" for number in range(5)]
            store.add("igd", IMAGENET | {"class": name}, ids, LABELS, one)
            store.add("all-abnormal", {"class": name}, ids, LABELS, [1.0] * 5)
        (folder / "scores.csv").write_text(store.text(), encoding="utf-8")
    return ledger.collect(root, root / "results")


def test_accuracies_at_one_half_hold(made, tmp_path):
    found = judged(industrial(made, tmp_path, (0.6, 1.0, 0.8)), "C6-16")

    assert found.state == "holds"
    assert found.finding.detail == "3 of 3 rows are the accuracy at 0.5"


@pytest.mark.parametrize(
    ("values", "which"),
    [
        ((0.8, 1.0, 0.9), "1 of 3 rows are the accuracy at 0.5; accuracy at score"),
        ((0.6, 1.0, 0.9), "2 of 3 rows are the accuracy at 0.5; accuracy has 0.9000"),
    ],
)
def test_accuracies_at_another_threshold_fail(made, tmp_path, values, which):
    found = judged(industrial(made, tmp_path, values), "C6-16")

    assert found.state == "fails"
    assert found.finding.detail.startswith(which)


def test_without_scores_or_on_phantoms_the_threshold_is_open(made, tmp_path):
    right = (0.6, 1.0, 0.8)
    bare = industrial(made, tmp_path / "bare", right, scores=False)
    drawn = industrial(made, tmp_path / "drawn", right, source="phantom")

    assert judged(bare, "C6-16").state == "not run"
    assert judged(drawn, "C6-16").state == "not run"


def test_a_run_counts_as_the_metrics_do(made, tmp_path):
    from thesislib.metrics import accuracy

    (run,) = industrial(made, tmp_path, (0.6, 1.0, 0.8)).runs
    row = {"row": "igd", "setting": IMAGENET, "metric": "accuracy"}

    for threshold in np.linspace(0, 1, 21):
        _, mean = accuracy.over_classes([LABELS] * 2, [BOTTLE, GRID], threshold)
        assert run.accuracy(row, threshold) == pytest.approx(mean.value)
    assert run.accuracy(row | {"row": "dae"}, 0.5) is None


# --- settings -----------------------------------------------------------------------


def configured(made, *configs, **changes):
    """Runs that state these settings, each a seed."""
    records = [
        made.record(seed=seed, chapter=CHAPTER, configs=one, **changes)
        for seed, one in enumerate(configs)
    ]
    return judged(made.runs(records), "C6-22")


def test_the_presets_of_both_chapters_are_the_printed_settings(made):
    """As a run states them: the package's own configuration, in the record's form."""
    from thesislib.chapters.ch06_igd.settings import Chapter06
    from thesislib.pretrain.distillation import PRESETS as DISTILLATION
    from thesislib.runs.overrides import plain

    given = {"dataset": "mvtec", "preset": "paper", "start": "simclr"}
    ssl = plain(Chapter06(**given).configs())
    distilled = {"distillation": plain(DISTILLATION["paper"])}
    found = configured(made, ssl, distilled)

    assert found.state == "holds", found.finding.detail
    assert found.finding.detail == (
        "compared: distillation, igd, local, simclr; all as printed"
    )


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ("igd", "rho", 0.25),
        ("igd", "num_steps", 600),
        ("local", "lr", 1e-3),
        ("simclr", "batch_size", 64),
        ("distillation", "num_steps", 600),
    ],
)
def test_one_other_setting_refutes_it(made, config, key, value):
    configs = {name: dict(found) for name, found in SETTINGS.items()}
    configs[config][key] = value

    found = configured(made, configs)

    assert found.state == "fails"
    assert f"{config}.{key} is {value} (claimed" in found.finding.detail


def test_a_setting_that_a_run_does_not_state_is_not_the_printed_one(made):
    configs = {name: dict(found) for name, found in SETTINGS.items()}
    del configs["igd"]["num_steps"]

    assert configured(made, configs).state == "fails"


def test_without_the_starts_the_rest_is_indicative(made):
    found = configured(made, {"igd": SETTINGS["igd"]})

    assert found.state == "indicative on real data: holds"
    assert found.finding.reasons == [
        "no run of the SSL",
        "no run of the distillation",
    ]
    both = configured(made, {"igd": SETTINGS["igd"]}, dict(SETTINGS))
    assert both.state == "holds"  # from two runs


@pytest.mark.parametrize(
    "changes", [{"preset": "quick"}, {"overrides": {"igd.epochs": 256}}]
)
def test_settings_of_ours_say_nothing_of_the_theirs(made, changes):
    assert configured(made, dict(SETTINGS), **changes).state == "not run"


# --- numbers of images --------------------------------------------------------------


def counted(made, counts, **changes):
    record = made.record(dataset="mvtec", chapter=CHAPTER, **changes)
    record["dataset"]["counts"] = counts
    return judged(made.runs([record]), "C6-23")


def test_the_published_counts_are_the_adapters(made):
    from thesislib.datasets.mvtec import MvtecAd

    found = counted(made, MvtecAd.published)

    assert found.state == "holds"
    assert "3,629 train normal (claimed 3,629)" in found.finding.detail


@pytest.mark.parametrize(("more", "state"), [(1, "fails"), (-1, "undecided")])
@pytest.mark.parametrize("name", COUNTS)
def test_more_images_refute_the_counts_and_fewer_decide_nothing(
    made, name, more, state
):
    found = counted(made, COUNTS | {name: COUNTS[name] + more}, partial=True)

    assert found.state == f"indicative on real data: {state}"
    assert found.finding.reasons == ["partial data"]


def test_a_whole_copy_counts_before_a_partial_one(made):
    part, whole = (made.record(dataset="mvtec", chapter=CHAPTER) for _ in range(2))
    part["dataset"] |= {"partial": True, "counts": {"train normal": 209}}
    whole["dataset"] |= {"counts": dict(COUNTS), "fingerprint": "e" * 64}

    for records in ([part, whole], [whole, part]):
        assert judged(made.runs(records), "C6-23").state == "holds"
    assert counted(made, dict(COUNTS), source="phantom").state == "not run"
