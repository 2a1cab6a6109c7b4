import pytest

from thesislib import paper
from thesislib.report import ledger, records
from thesislib.report.claims import judge_all

THRESHOLD = ("specificity", "sensitivity", "accuracy")
LAG_IGD = ("auc", "sensitivity", "accuracy")
ROWS = {  # claim: rows on which it holds, (row, metric, value, more)
    "C5-01": [
        ("padim", "auc", 0.943, {}),
        ("pmsacl-padim", "auc", 0.994, {}),
        ("igd", "auc", 0.935, {}),
        ("pmsacl-igd", "auc", 0.995, {}),
    ],
    "C5-04": [
        ("pmsacl-padim", "specificity", 0.966, {}),
        ("pmsacl-padim", "sensitivity", 0.981, {}),
        ("pmsacl-padim", "accuracy", 0.983, {}),
    ],
    "C5-06": [
        (row, metric, value, {})
        for row, found in {
            "padim": (0.846, 0.929, 0.898),
            "pmsacl-padim": (0.966, 0.981, 0.983),
        }.items()
        for metric, value in zip(THRESHOLD, found, strict=True)
    ],
    "C5-07": [
        ("padim", "auc", 0.688, {"table": "5.2"}),
        ("pmsacl-padim", "auc", 0.761, {"table": "5.2"}),
        ("igd", "auc", 0.796, {"table": "5.2"}),
        ("pmsacl-igd", "auc", 0.908, {"table": "5.2"}),
    ],
    "C5-08": [
        ("pmsacl-igd", metric, value, {"table": "5.2"})
        for metric, value in (
            ("auc", 0.908),
            ("sensitivity", 0.979),
            ("accuracy", 0.884),
        )
    ],
    "C5-11": [
        ("padim", "auc", 0.688, {"table": "5.2"}),
        ("igd", "auc", 0.796, {"table": "5.2"}),
        ("pmsacl-padim", "auc", 0.761, {"table": "5.2"}),
        ("pmsacl-igd", "auc", 0.908, {"table": "5.2"}),
    ],
    "C5-12": [
        ("padim", "auc", 0.741, {"table": "5.3"}),
        ("pmsacl-padim", "auc", 0.814, {"table": "5.3"}),
    ],
    "C5-13": [
        ("igd", "auc", 0.787, {"table": "5.3"}),
        ("pmsacl-igd", "auc", 0.851, {"table": "5.3"}),
    ],
    "C5-15": [
        ("pmsacl-igd", metric, value, {"table": "5.3"})
        for metric, value in zip(THRESHOLD, (0.986, 0.792, 0.829), strict=True)
    ],
    "C5-16": [
        ("padim", "auc", 0.614, {"table": "5.4"}),
        ("pmsacl-padim", "auc", 0.658, {"table": "5.4"}),
        ("igd", "auc", 0.699, {"table": "5.4"}),
        ("pmsacl-igd", "auc", 0.872, {"table": "5.4"}),
    ],
    "C5-18": [
        ("pmsacl-igd", metric, value, {"table": "5.4"})
        for metric, value in zip(THRESHOLD, (0.863, 0.775, 0.813), strict=True)
    ],
    "C5-19": [
        ("padim", "sensitivity", 0.318, {"table": "5.4"}),
        ("pmsacl-padim", "sensitivity", 0.467, {"table": "5.4"}),
        ("igd", "sensitivity", 0.49, {"table": "5.4"}),
        ("pmsacl-igd", "sensitivity", 0.775, {"table": "5.4"}),
    ],
    "C5-21": [
        ("padim", "iou", 0.341, {"table": "5.6"}),
        ("pmsacl-padim", "iou", 0.406, {"table": "5.6"}),
        ("igd", "iou", 0.303, {"table": "5.6"}),
        ("pmsacl-igd", "iou", 0.384, {"table": "5.6"}),
    ],
    "C5-22": [
        (row, metric, value, {"table": "5.6"})
        for row, found in {
            "padim": (0.341, 0.475),
            "igd": (0.303, 0.417),
            "pmsacl-igd": (0.384, 0.521),
            "pmsacl-padim": (0.406, 0.554),
        }.items()
        for metric, value in zip(("iou", "dice"), found, strict=True)
    ],
    "C5-23": [
        ("pmsacl-igd", metric, value, {"table": "5.7"})
        for metric, value in (("iou", 0.516), ("dice", 0.667), ("pro", 0.693))
    ],
    "C5-24": [
        ("padim", "iou", 0.427, {"table": "5.7"}),
        ("pmsacl-padim", "iou", 0.475, {"table": "5.7"}),
        ("pmsacl-padim", "dice", 0.643, {"table": "5.7"}),
        ("pmsacl-padim", "pro", 0.628, {"table": "5.7"}),
    ],
    "C5-26": [
        ("pmsacl-padim", "auc@hyperkvasir", 0.949, ["l_pmsacl"]),
        ("pmsacl-padim", "auc@hyperkvasir", 0.971, ["l_pmsacl", "l_ctr"]),
    ],
    "C5-27": [
        ("pmsacl-padim", "auc@hyperkvasir", 0.971, ["l_pmsacl", "l_ctr"]),
        ("pmsacl-padim", "auc@hyperkvasir", 0.979, ["l_pmsacl", "l_ctr", "kappa"]),
    ],
    "C5-29": [
        ("pmsacl-padim", "auc", 0.9, {"table": None, "setting": {"strong": "medmix"}}),
        ("pmsacl-padim", "auc", 0.8, {"table": None, "setting": {"strong": "cutout"}}),
        ("pmsacl-padim", "auc", 0.7, {"table": None, "setting": {"strong": "cutmix"}}),
    ],
    "C5-32": [
        ("pmsacl-padim", "auc", 0.9, {"table": None, "setting": {"num_classes": 4}}),
        ("pmsacl-padim", "auc", 0.8, {"table": None, "setting": {"num_classes": 2}}),
        ("pmsacl-padim", "auc", 0.7, {"table": None, "setting": {"num_classes": 7}}),
    ],
    "C5-35": [
        ("pmsacl-padim", "auc", 0.996, {}),
        ("simclr-padim", "auc", 0.945, {"table": "5.9"}),
        ("padim", "auc", 0.943, {}),
    ],
    "C5-37": [
        ("pmsacl-padim", "distance ratio", 1.4, {"table": None}),
        ("simclr-padim", "distance ratio", 1.2, {"table": None}),
        ("random-padim", "distance ratio", 1.1, {"table": None}),
    ],
}
DATASETS = {"5.2": "lag", "5.3": "liu-colonoscopy", "5.4": "covidx", "5.7": "lag"}


def rows_of(made, claim, reverse=False):
    """Rows on which a claim holds, or with the values in reverse order."""
    wanted = ROWS[claim]
    numbers = [value for *_, value, _ in wanted]
    if reverse:
        numbers = numbers[::-1] if len(numbers) > 1 else [1 / numbers[0]]
    rows = []
    for (row, metric, _, more), value in zip(wanted, numbers, strict=True):
        if isinstance(more, list):
            more = {"table": "5.8", "setting": {"components": more}}
        rows.append(made.row(metric, value, row=row, **more))
    return rows


def judged(made, rows, *, dataset="hyperkvasir", seeds=3, wobble=0.0005, **changes):
    records = []
    for seed in range(seeds):
        shifted = [r | {"value": r["value"] + wobble * (seed - 1)} for r in rows]
        for row in shifted:
            row |= {"ci_low": row["value"] - 1e-4, "ci_high": row["value"] + 1e-4}
        records.append(made.record(shifted, seed=seed, dataset=dataset, **changes))
    found = judge_all(ledger.build(made.runs(records)))
    return {one.claim["id"]: one for one in found}


def dataset_of(claim):
    more = ROWS[claim][0][3]
    table = more.get("table") if isinstance(more, dict) else None
    return DATASETS.get(table, "hyperkvasir")


@pytest.mark.parametrize("claim", ROWS)
def test_a_claim_holds_on_the_numbers_it_is_about(made, claim):
    found = judged(made, rows_of(made, claim), dataset=dataset_of(claim))[claim]

    assert found.finding.state == "holds", found.finding.detail


@pytest.mark.parametrize("claim", ROWS)
def test_a_claim_fails_on_numbers_the_other_way_round(made, claim):
    rows = rows_of(made, claim, reverse=True)
    if claim in ("C5-04", "C5-24"):
        rows = [row | {"value": row["value"] - 0.3} for row in rows]

    found = judged(made, rows, dataset=dataset_of(claim))[claim]

    assert found.finding.state == "fails", found.finding.detail


@pytest.mark.parametrize("claim", ["C5-25", "C5-28"])
def test_claims_on_both_datasets_of_the_ablation_need_both(made, claim):
    terms = ["l_pmsacl"]
    if claim == "C5-28":
        terms += ["l_ctr", "kappa", "l_aug", "l_pos"]
    claimed = {"C5-25": (0.949, 0.725), "C5-28": (0.996, 0.761)}[claim]

    def state(shift):
        records = [
            made.record(
                [
                    made.row(
                        f"auc@{dataset}",
                        value + shift + seed * 1e-4,
                        table="5.8",
                        setting={"components": terms},
                    )
                ],
                seed=seed,
                dataset=dataset,
            )
            for dataset, value in zip(("hyperkvasir", "lag"), claimed, strict=True)
            for seed in range(3)
        ]
        return {
            keep: next(
                one.state
                for one in judge_all(ledger.build(made.runs(records[:keep])))
                if one.claim["id"] == claim
            )
            for keep in (3, 6)
        }

    assert state(0.0) == {3: "not run", 6: "holds"}
    assert state(-0.1)[6] == "fails"


def test_the_spread_is_judged_by_its_interval(made):
    def state(step, seeds):
        rows = [made.row(value=0.9)]
        return judged(made, rows, seeds=seeds, wobble=step)["C5-20"].finding.state

    assert state(0.00001, 5) == "fails"  # far below 0.5 points
    assert state(0.05, 5) == "fails"  # far above 1.5 points
    assert state(0.005, 5) == "undecided"  # five seeds leave a wide interval
    assert state(0.00035, 100) == "holds"
    assert judged(made, [made.row()], seeds=1)["C5-20"].state == "not run"


def test_a_gain_of_another_size_is_confirmed_in_direction(made):
    rows = rows_of(made, "C5-12")
    rows[1]["value"] += 0.1

    found = judged(made, rows, dataset="liu-colonoscopy")["C5-12"]

    assert found.state == "confirmed in direction"


def test_normal_features_are_tight_only_beside_other_encoders(made):
    """A ratio above 1 alone says that abnormal images lie farther out, no more."""
    alone = [made.row("distance ratio", 1.4, table=None)]

    assert judged(made, alone)["C5-37"].state == "not run"
    three = judged(made, rows_of(made, "C5-37"))["C5-37"]
    assert three.state == "holds in 3 of 10"


def test_rows_of_several_designs_are_not_compared(made):
    """Of the best of several settings, all are trained with the same others."""
    rows = rows_of(made, "C5-32")
    records = [
        made.record([row], seed=seed, preset=preset)
        for preset, row in zip(("paper", "standard", "quick"), rows, strict=True)
        for seed in range(3)
    ]

    found = {j.claim["id"]: j for j in judge_all(ledger.build(made.runs(records)))}

    assert found["C5-32"].state == "not run"


def test_one_run_decides_no_gain(made):
    found = judged(made, rows_of(made, "C5-12"), dataset="liu-colonoscopy", seeds=1)

    assert found["C5-12"].state == "indicative on real data: undecided"


@pytest.mark.parametrize(
    "changes", [{"source": "phantom"}, {"preset": "quick"}, {"partial": True}]
)
def test_what_carries_no_verdict_is_only_indicative(made, changes):
    found = judged(made, rows_of(made, "C5-35"), **changes)["C5-35"]

    data = "phantoms" if "source" in changes else "real data"
    assert found.state == f"indicative on {data}: holds"


def test_phantoms_confirm_directions_and_say_nothing_about_values(made):
    rows = rows_of(made, "C5-01") + rows_of(made, "C5-04")

    found = judged(made, rows, source="phantom", seeds=5)

    assert found["C5-01"].state == (
        "indicative on phantoms: confirmed in direction in 2 of 4"
    )
    assert "claimed 0.996" not in found["C5-01"].finding.detail
    assert found["C5-04"].state == "not run"
    assert found["C5-20"].state == "not run"


def test_every_claim_is_listed_and_the_rest_is_not_implemented(made):
    found = judge_all(ledger.build(made.runs([])))

    assert [one.claim for one in found] == paper.claims()
    states = [one.state for one in found]
    assert states.count("not run") == 29 + 20 + 20
    assert states.count("not implemented") == 182 - 29 - 20 - 20


def test_every_implemented_claim_is_tested():
    from tests.report.test_claims05_protocol import PROTOCOL as PROTOCOL_5
    from tests.report.test_claims06 import TESTED
    from tests.report.test_claims06_protocol import PROTOCOL

    found = judge_all(ledger.build(records.Collection()))
    here = {*ROWS, "C5-20", "C5-25", "C5-28", "CM-04"}  # CM-04 is C5-01
    implemented = {one.claim["id"] for one in found if one.implemented}
    of_ccd = {f"C4-{number:02}" for number in range(1, 16)}  # test_claims_toml
    of_ccd |= {"C5-02", "C5-05", "C5-09", "C5-33", "CM-05"}  # PMSACL against it
    assert implemented == here | TESTED | PROTOCOL_5 | PROTOCOL | of_ccd
