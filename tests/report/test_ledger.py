import json
from statistics import fmean

import pytest

from thesislib import paper, paths
from thesislib.report import ledger, listing, text
from thesislib.report.implemented import counterpart


def entry(built, table="5.1", row="pmsacl-padim", metric="auc", **setting):
    (found,) = (
        e
        for e in built.entries
        if (e.cell.table, e.cell.row, e.cell.metric) == (table, row, metric)
        and all(e.cell.setting.get(k) == v for k, v in setting.items())
    )
    return found


def five(made, value, step=0.001, source="real", **changes):
    """Records of five seeds whose AUROCs lie `step` apart around `value`."""
    return [
        made.record(
            [made.row(value=value + step * (seed - 2))],
            seed=seed,
            source=source,
            **changes,
        )
        for seed in range(5)
    ]


def of(made, records):
    return ledger.build(made.runs(records))


def test_every_published_cell_stands_in_the_ledger_once(made):
    built = of(made, [])

    assert [e.cell for e in built.entries] == list(paper.cells())
    assert sum(built.counts().values()) == 1922
    assert built.counts()["not implemented"] == 1319


def test_what_was_never_run_names_its_command(made):
    found = entry(of(made, []), table="5.4", row="padim")

    assert found.verdict == "not run"
    assert found.counterpart.command == (
        "papermill chapters/05_pmsacl.ipynb book/runs/05_pmsacl-covidx-paper-s0.ipynb"
        " -p dataset covidx -p source real -p preset paper -p seed 0"
    )


def test_a_command_of_chapter_6_names_the_start(made):
    found = entry(of(made, []), "6.1", "igd", "auc@fmnist", pretrain="ssl")

    assert found.verdict == "not run"
    assert found.counterpart.command == (
        "papermill chapters/06_igd.ipynb book/runs/06_igd-fmnist-simclr-paper-s0.ipynb"
        " -p dataset fmnist -p source real -p preset paper -p seed 0 -p start simclr"
    )
    found = entry(of(made, []), "6.7", "dsvdd", "auc@mvtec", contamination=0.1)
    assert found.counterpart.command.endswith("-p start imagenet -p part robustness")


def test_chapter_6_is_implemented_where_its_chapter_computes_the_row():
    def rows(table):
        return {c.row for c in paper.cells(table) if counterpart(c)}

    assert rows("6.1") == {"igd", "dae", "vae", "kde", "ocsvm", "dsvdd"}
    assert rows("6.6") == rows("6.7") == {"igd", "dsvdd", "dsvdd-rec"}
    assert rows("6.2") == rows("6.5") == rows("A.3") == {"igd"}


def of_chapter_6(made, rows, dataset, **changes):
    rows = [made.row(metric, value, **more) for metric, value, more in rows]
    records = [
        made.record(rows, seed=s, dataset=dataset, chapter="06_igd", **changes)
        for s in range(3)
    ]
    return of(made, records)


def test_a_mean_over_classes_meets_both_its_printings(made):
    imagenet = {"row": "igd", "setting": {"pretrain": "imagenet"}}
    rows = [("auc@fmnist/mean", 0.93, {"table": "A.3"} | imagenet)]
    rows += [("auc@fmnist/0", 0.91, {"table": "A.3"} | imagenet)]
    built = of_chapter_6(made, rows, "fmnist")

    def value(table, metric):
        found = entry(built, table, "igd", metric, pretrain="imagenet")
        return [result.value for result in found.results]

    assert value("6.1", "auc@fmnist") == value("A.3", "auc@fmnist/mean") == [0.93]
    assert value("A.3", "auc@fmnist/0") == pytest.approx([0.91])
    assert value("6.1", "auc@cifar10") == []


def test_the_full_method_meets_its_ablations(made):
    more = {"table": "6.6", "row": "igd", "setting": {"train_fraction": 0.2}}
    built = of_chapter_6(made, [("auc@cifar10", 0.82, more)], "cifar10")

    hits = {
        (e.cell.table, e.cell.metric)
        for e in built.entries
        if e.cell.chapter == 6 and e.results
    }
    assert hits == {("6.6", "auc@cifar10"), ("6.5", "auc_small20")}


HOMES = {  # appendix table: where chapter 6 states the mean over its classes
    "A.1": {"auc": ("6.2", "auc"), "accuracy": ("6.2", "accuracy")},
    "A.2": {"auc": ("6.1", "auc@mnist")},
    "A.3": {"auc": ("6.1", "auc@fmnist")},
    "A.4": {"auc": ("6.1", "auc@cifar10")},
    "A.5": {"pixel_auc": ("6.3", "pixel_auc")},
}
MEANS = [
    cell
    for table in HOMES
    for cell in paper.cells(table)
    if cell.part == "mean" and counterpart(cell)
]


def test_every_printed_mean_of_igd_has_a_counterpart():
    igd = [c for t in HOMES for c in paper.cells(t) if c.row == "igd"]

    assert [c for c in igd if c.part == "mean"] == [c for c in MEANS if c.row == "igd"]
    assert len(MEANS) == 21  # 11 of IGD, 10 of five baselines


@pytest.mark.parametrize("cell", MEANS, ids=lambda c: f"{c.table} {c.row} {c.quantity}")
def test_the_means_of_appendix_a_are_those_of_chapter_6(made, cell):
    table, metric = HOMES[cell.table][cell.quantity]
    more = {"table": table, "row": cell.row, "setting": cell.setting}
    built = of_chapter_6(made, [(metric, 0.8125, more)], cell.dataset)

    for where, name in ((cell.table, cell.metric), (table, metric)):
        (result,) = entry(built, where, cell.row, name, **cell.setting).results
        assert result.value == pytest.approx(0.8125)


def test_accuracies_of_classes_stand_in_table_a_1_alone(made):
    more = {"table": "A.1", "row": "igd", "setting": {"pretrain": "ssl"}}
    built = of_chapter_6(made, [("accuracy@mvtec/screw", 0.7, more)], "mvtec")

    hits = [
        (e.cell.table, e.cell.metric, e.results[0].value)
        for e in built.entries
        if e.results
    ]
    assert hits == [("A.1", "accuracy@mvtec/screw", pytest.approx(0.7))]


def test_an_accuracy_at_a_fixed_score_says_so():
    assert text.metric("accuracy@mvtec/metal_nut") == (
        "accuracy at score 0.5, MVTec AD, metal nut"
    )
    assert text.metric("accuracy@covidx") == "accuracy, Covid-X"
    assert text.metric("auc@mvtec/mean") == "AUROC, MVTec AD, mean"


def test_a_mean_over_some_classes_is_no_verdict_on_all(made):
    setting = {"row": "igd", "setting": {"pretrain": "imagenet"}, "table": "A.3"}
    rows = [(f"auc@fmnist/{part}", 0.93, setting) for part in ("mean", "0")]
    records = [
        made.record([made.row(m, v, **k) for m, v, k in rows], seed=s, dataset="fmnist")
        for s in range(3)
    ]
    for record in records:
        record["parameters"]["resolved"]["classes"] = ["0", "1", "2"]
        record["chapter"] = "06_igd"
    built = of(made, records)

    def reasons(metric):
        (result,) = entry(built, "A.3", "igd", metric, pretrain="imagenet").results
        return result.reasons

    assert reasons("auc@fmnist/mean") == ["3 of 10 classes"]
    assert reasons("auc@fmnist/0") == []

    for record in records:  # a preset chose, nobody asked
        record["parameters"]["resolved"]["classes"] = []
    built = of(made, records)
    assert reasons("auc@fmnist/mean") == ["1 of 10 classes"]


def test_what_nobody_built_is_not_implemented(made):
    assert entry(of(made, []), row="ocgan").verdict == "not implemented"


def test_delta_is_twice_the_printed_deviation_where_there_is_one():
    delta = {(c.table, c.row, c.metric): ledger.delta(c) for c in paper.cells()}

    assert delta["5.1", "pmsacl-padim", "auc"] == pytest.approx(2 * 0.0084)
    assert delta["MSACL-1", "pmsacl-padim", "auc@lag"] == pytest.approx(2 * 0.0163)
    assert delta["5.3", "pmsacl-padim", "auc"] == 0.01  # 5.5 leaves Liu et al. out
    assert delta["5.1", "padim", "auc"] == 0.01
    (one_term, *_) = (c for c in paper.cells("5.8") if not c.ours)
    assert ledger.delta(one_term) == 0.01  # 5.5 speaks of the full method
    assert delta["6.1", "igd", "auc@mnist"] == 0.005
    assert delta["8.1", "rtfm", "auc"] == 1.0  # in percent
    assert delta["SALAD-I", "salad", "auc@oct2017"] == pytest.approx(2 * 0.0111)
    assert delta["SALAD-VI", "salad", "reconstruction_error"] > 0


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (0.990, 0.001, "reproduced"),
        (0.950, 0.001, "falls short"),
        (0.985, 0.020, "undecided"),
    ],
)
def test_verdict_follows_the_interval(made, value, step, expected):
    assert entry(of(made, five(made, value, step))).verdict == expected


def test_an_interval_above_the_band_exceeds(made):
    rows = [made.row(value=0.97, row="padim")]
    records = [made.record(rows, seed=s) for s in range(3)]

    found = entry(of(made, records), row="padim")

    assert found.results[0].ci_low > 0.953
    assert found.verdict == "exceeds"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "phantom"}, "phantom"),
        ({"partial": True}, "partial data"),
        ({"preset": "quick"}, "own protocol (quick)"),
        ({"overrides": {"pmsacl.epochs": 3}}, "own protocol (paper)"),
    ],
)
def test_what_does_not_qualify_is_indicative_and_says_why(made, changes, reason):
    found = entry(of(made, five(made, 0.99, **changes)))

    data = "phantoms" if reason == "phantom" else "real data"
    assert found.verdict == f"indicative on {data}"
    assert reason in found.results[0].reasons


def test_two_seeds_are_too_few(made):
    found = entry(of(made, five(made, 0.99)[:2]))

    assert found.verdict == "indicative on real data"
    assert found.results[0].reasons == ["2 seeds of 3"]


def test_phantoms_need_five_seeds(made):
    records = five(made, 0.7, source="phantom", preset="quick")

    def reasons(records):
        return entry(of(made, records)).results[0].reasons

    assert reasons(records) == ["phantom", "own protocol (quick)"]
    assert reasons(records[:4])[-1] == "4 seeds of 5"


def test_seeds_are_pooled_with_their_deviation(made):
    result = entry(of(made, five(made, 0.9, 0.01))).results[0]

    assert result.seeds == (0, 1, 2, 3, 4)
    assert result.value == pytest.approx(0.9)
    assert result.std == pytest.approx(0.0158, abs=1e-4)


def test_differences_are_paired_by_seed(made):
    both = [made.row(value=0.9), made.row(row="padim", value=0.7)]
    records = [made.record(both, seed=0), made.record(both[:1], seed=1)]
    records.append(made.record([both[0], both[1] | {"value": 0.6}], seed=2))
    (design,) = of(made, records).designs
    better, worse = list(design.rows)

    difference = design.difference(better, worse)

    assert difference.seeds == (0, 2)
    assert difference.values == pytest.approx((0.2, 0.3))


def test_runs_with_other_settings_are_not_siblings(made):
    records = [
        made.record(seed=s, configs={"pmsacl": {"lr": 0.01 * (1 + s)}})
        for s in range(3)
    ]

    results = entry(of(made, records)).results

    assert [result.seeds for result in results] == [(2,), (1,), (0,)]  # newest first


def test_real_runs_on_other_files_are_not_siblings(made):
    first, second = made.record(seed=0), made.record(seed=1)
    second["dataset"]["fingerprint"] = "0" * 64

    assert len(entry(of(made, [first, second])).results) == 2


def test_phantoms_are_redrawn_and_still_siblings(made):
    result = entry(of(made, five(made, 0.7, 0.02, source="phantom"))).results[0]

    assert result.seeds == (0, 1, 2, 3, 4)
    assert result.interval == "Student's t over seeds"
    assert result.mark == "phantom"


def test_real_data_come_before_phantoms(made):
    records = [
        *five(made, 0.7, source="phantom"),
        made.record([made.row(value=0.95)], seed=7),
    ]

    results = entry(of(made, records)).results

    assert [result.source for result in results] == ["real", "phantom"]


def test_a_rerun_of_a_seed_replaces_the_older_run(made):
    old = made.record([made.row(value=0.5)], finished="2026-01-01T00:00:00")
    new = made.record([made.row(value=0.9)], finished="2026-02-01T00:00:00")

    (result,) = entry(of(made, [new, old])).results

    assert result.values == (0.9,)


def test_every_printing_of_a_number_meets_the_same_row(made):
    built = of(made, [made.record([made.row(row="padim", value=0.93)])])

    for table, metric in [("5.1", "auc"), ("5.9", "auc"), ("7.1", "auc@hyperkvasir")]:
        (result,) = entry(built, table=table, row="padim", metric=metric).results
        assert result.value == 0.93


def test_a_row_stated_for_the_very_cell_wins_over_the_home_table(made):
    rows = [
        made.row(value=0.9),
        made.row(value=0.8, table="5.9", setting={"ssl": "pmsacl"}),
    ]
    built = of(made, [made.record(rows)])

    assert entry(built, table="5.1").results[0].value == 0.9
    assert entry(built, table="5.9").results[0].value == 0.8


def test_the_printed_spread_meets_the_spread_over_seeds(made):
    built = of(made, five(made, 0.9, 0.01))

    (result,) = entry(built, table="5.5", dataset="hyperkvasir").results

    assert result.value == pytest.approx(0.0158, abs=1e-4)
    assert result.ci_low < result.value < result.ci_high
    assert not entry(of(made, [made.record()]), table="5.5", dataset="lag").results


def test_ablation_rows_are_told_apart_by_their_terms(made):
    terms = ["l_pmsacl", "l_ctr"]
    rows = [
        made.row("auc@hyperkvasir", 0.8, table="5.8", setting={"components": terms})
    ]
    built = of(made, [made.record(rows)])

    hits = [
        e for e in built.entries if e.cell.table == "5.8" and e.verdict != "not run"
    ]
    assert [e.cell.setting["components"] for e in hits] == [terms]


def test_rows_without_a_published_counterpart_are_kept_apart(made):
    rows = [made.row(table=None, row="nearest-neighbour", value=0.7)]
    built = of(made, [made.record(rows)])

    ((row, result),) = built.others
    assert (row["row"], result.value) == ("nearest-neighbour", 0.7)


def test_a_row_that_its_table_does_not_have_is_reported(made):
    built = of(made, [made.record([made.row(row="pmsacl-padmi")])])

    (problem,) = built.problems
    assert problem.startswith("results/0: Table 5.1 has no row pmsacl-padmi")


def test_a_metric_that_is_not_printed_is_ours_alone(made):
    rows = [made.row("ap", 0.9), made.row("ap", 0.9, table="5.9")]
    built = of(made, [made.record(rows, seed=s) for s in range(2)])

    assert built.problems == []
    ((row, result),) = built.others
    assert (row["metric"], result.seeds) == ("ap", (0, 1))


def test_sources_that_changed_between_seeds_are_reported(made):
    names = ("pretrain.pmsacl", "figures.style", "book.pages", "report.text")
    modules = [f"thesislib.{name}" for name in names]
    records = [
        made.record(seed=s, modules=dict.fromkeys(modules, f"{s}")) for s in range(2)
    ]

    (problem,) = of(made, records).problems

    assert "thesislib.pretrain.pmsacl changed between the runs" in problem
    assert not any(room in problem for room in ("figures", "book", "report"))


def test_auroc_over_seeds_on_shared_images_is_obuchowski_rockette(made, tmp_path):
    records = []
    for seed in range(3):
        record = made.record(seed=seed)
        folder = made.write(tmp_path, record, f"s{seed}")
        lines = ["row,setting,id,label,score,patient"]
        lines += [
            f"pmsacl-padim,{{}},i{i},{i % 2},{(i * 7 + seed * (i % 5)) % 11},"
            for i in range(30)
        ]
        (folder / "scores.csv").write_text("\n".join(lines), encoding="utf-8")
        records.append(record)
    collected = ledger.collect(tmp_path, tmp_path / "results")

    (result,) = entry(ledger.build(collected)).results

    assert result.interval == "Obuchowski-Rockette over seeds and images"
    assert result.value != fmean(result.values)  # recomputed from the scores


def test_text_and_json_agree(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("THESIS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(paths, "root", lambda: tmp_path)  # not what was run here
    made.write(tmp_path, made.record([made.row(value=0.987)]))

    listing.show("5.1", as_json=True)
    content = json.loads(capsys.readouterr().out)
    listing.show("5.1")
    printed = capsys.readouterr().out

    hits = [e for e in content["entries"] if e["results"]]
    assert [e["results"][0]["value"] for e in hits] == [0.987]
    assert "0.987" in printed
    assert "indicative on real data: 1 seed of 3" in printed
    assert "1922 published numbers" in printed


def test_implemented_cells_are_cells_of_the_datasets_tables():
    for cell in paper.cells():
        found = counterpart(cell)
        for place in found.addresses if found else ():
            datasets = paper.table(place.table)["dataset"]
            assert found.dataset in datasets


def test_the_commands_of_chapter_6_are_ones_that_it_takes():
    """Parameters have the names and values of the chapter's own class."""
    from thesislib.chapters.ch06_igd.settings import Chapter06

    for cell in paper.cells():
        found = counterpart(cell)
        if found is not None and found.chapter == "06_igd":
            given = {"dataset": found.dataset, "preset": "paper", "source": "real"}
            Chapter06(**given, **dict(found.parameters))


def test_the_terminal_names_settings_and_parts_too(made):
    start = {"pretrain": "imagenet"}
    row = {"table": "6.1", "row": "igd", "setting": start}
    rows = [("auc@fmnist", 0.93, row), ("auc@fmnist/0", 0.9, row | {"table": "A.3"})]
    built = of_chapter_6(made, rows, "fmnist")

    shown = "\n".join(listing.lines(built, built.entries, every=False))

    assert "(1 of 10 classes)" in shown
    assert "DSVDD (10 % of the training set abnormal)" in shown
