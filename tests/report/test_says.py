"""What a run says, on made-up rows."""

import pytest

from thesislib.report import says
from thesislib.report.designs import Design
from thesislib.report.records import Run

OURS, UNTRAINED, TERM = "pmsacl-padim", "random-padim", "class-padim"
FLOOR, WEAK, TOLD = "nn-thumbnails-16", "nn-statistics", "logistic-statistics"


def auroc(made, row, value, **changes):
    return made.row(value=value, row=row, table=None, n=200, **changes)


def minus(made, row, other, value, width=0.01):
    ends = {"ci_low": value - width, "ci_high": value + width}
    given = {"row": row, "table": None, "setting": {"minus": other}} | ends
    return made.row("auc difference", value, **given)


def said(made, rows, seeds=1, chapter="05_pmsacl", **changes):
    records = [
        made.record(rows, seed=seed, chapter=chapter, preset="quick", **changes)
        for seed in range(seeds)
    ]
    runs = [Run(record=r, where=f"results/{i}") for i, r in enumerate(records)]
    return [one.words for one in says.say(Design(runs))]


@pytest.fixture
def loses(made):
    """It leads what it is compared with and loses to thumbnails."""
    return [
        auroc(made, OURS, 0.80),
        auroc(made, UNTRAINED, 0.70),
        auroc(made, FLOOR, 0.90),
        auroc(made, WEAK, 0.60),
        minus(made, OURS, UNTRAINED, 0.10),
        minus(made, OURS, FLOOR, -0.10),
        minus(made, OURS, WEAK, 0.20),
    ]


def test_a_loss_to_a_floor_is_the_first_sentence(made, loses):
    first, second, *others = said(made, loses)

    assert first == (
        "**PMSACL + PaDiM loses to the best naive floor (nearest normal image, 16 px "
        "thumbnails)**: AUROC 0.800 and 0.900, difference -0.100 [-0.110, -0.090]."
    )
    assert second.startswith("**No method here** reaches the best naive floor")
    assert others == [
        "PMSACL + PaDiM leads untrained encoder + PaDiM: AUROC 0.800 and 0.700, "
        "difference +0.100 [0.090, 0.110]."
    ]


def test_the_order_of_rows_does_not_matter(made, loses):
    assert said(made, loses[::-1]) == said(made, loses)


def test_the_best_floor_counts_and_labels_are_another_matter(made, loses):
    rows = [row for row in loses if row["row"] != FLOOR and FLOOR not in str(row)]
    rows += [auroc(made, TOLD, 0.95), minus(made, OURS, TOLD, -0.15)]

    first, *others = said(made, rows)

    assert first.startswith("**PMSACL + PaDiM loses to a floor with labels (logistic")
    assert any(
        "leads the best naive floor (nearest normal image, int" in o for o in others
    )
    assert not any("No method" in one for one in others)


def test_a_difference_alone_is_enough(made):
    (one,) = said(made, [minus(made, OURS, FLOOR, -0.1)])

    assert one.startswith("**PMSACL + PaDiM loses to the best naive floor (nearest")


def test_a_declared_contrast_that_is_lost_comes_before_one_that_is_won(made):
    rows = [
        auroc(made, OURS, 0.80),
        auroc(made, UNTRAINED, 0.70),
        auroc(made, TERM, 0.823),
        minus(made, OURS, UNTRAINED, 0.10),
        minus(made, OURS, TERM, -0.023, 0.02),
    ]

    first, second = said(made, rows)

    assert first.startswith("**PMSACL + PaDiM loses to class term only + PaDiM**")
    assert "-0.023 [-0.043, -0.003]" in first
    assert "leads untrained" in second


def test_an_interval_around_zero_decides_nothing(made):
    rows = [minus(made, OURS, UNTRAINED, 0.005), minus(made, OURS, TERM, -0.005)]

    behind, ahead = said(made, rows)

    assert "is behind class term only + PaDiM, not for certain" in behind
    assert "is ahead of untrained encoder + PaDiM, not for certain" in ahead


def test_without_a_paired_difference_rows_are_subtracted(made):
    rows = [auroc(made, OURS, 0.80), auroc(made, FLOOR, 0.90)]

    one, *_ = said(made, rows)
    assert one.startswith("PMSACL + PaDiM is behind the best naive floor")
    assert "not for certain: AUROC 0.800 and 0.900, difference -0.100." in one
    several, *_ = said(made, rows, seeds=3)
    assert several.startswith("**PMSACL + PaDiM loses to the best naive floor")
    assert "difference -0.100 [-0.108, -0.092]" in several


def test_lesions_that_an_untrained_encoder_finds_better_are_said(made):
    rows = [
        made.row("iou", value, row=row, table=None)
        for row, value in ((OURS, 0.2), (UNTRAINED, 0.3))
    ]

    (first,) = said(made, rows)

    assert first == (
        "In finding lesions **PMSACL + PaDiM loses to untrained encoder + PaDiM**: "
        "IoU 0.200 [0.196, 0.204] and 0.300 [0.296, 0.304]."
    )
    assert "finding" not in said(made, [*rows[:1], auroc(made, OURS, 0.8)])[0]


def test_classes_in_their_turn_are_judged_by_their_mean(made):
    start = {"pretrain": "scratch"}
    rows = [
        made.row(f"auc@fmnist{part}", value, row=row, table=None, setting=start)
        for row, value in (("igd", 0.93), ("dsvdd", 0.95))
        for part in ("/0", "")
    ]
    lost = minus(made, "igd", "dsvdd", -0.02)
    rows.append(lost | {"metric": "auc difference@fmnist"})
    rows.append(lost | {"metric": "auc difference@fmnist/0", "value": 0.5})
    for row in rows[-2:]:
        row["setting"] = row["setting"] | start

    (first,) = said(made, rows, chapter="06_igd", dataset="fmnist")

    assert first.startswith("**IGD loses to Deep SVDD**: AUROC 0.930 and 0.950")
    assert "-0.020 [-0.030, -0.010]" in first


def test_contaminated_sets_are_said_at_the_highest_rate(made):
    rows = [
        made.row("auc@fmnist", value, row=row, table=None, setting={"contamination": c})
        for row, values in (("igd", (0.9, 0.8, 0.7)), ("dsvdd", (0.9, 0.9, 0.9)))
        for c, value in zip((0.0, 0.01, 0.1), values, strict=True)
    ]

    first, last = said(made, rows, seeds=3, chapter="06_igd", dataset="fmnist")

    assert first.startswith(
        "**IGD loses to Deep SVDD with 10 % of the training set abnormal**: "
        "difference -0.200"
    )
    assert (
        "to 10 % of the training set abnormal, the AUROC of IGD changes by -0.2" in last
    )


def test_seeds_are_pooled_and_each_is_shown(made):
    rows = [minus(made, OURS, UNTRAINED, 0.1)]

    (one,) = said(made, rows, seeds=3)

    assert "(seed by seed +0.100, +0.100, +0.100)" in one


def test_a_run_that_compares_nothing_says_its_number(made):
    assert said(made, [auroc(made, OURS, 0.8)]) == [
        "PMSACL + PaDiM has an AUROC of 0.800 [0.796, 0.804]."
    ]
    assert said(made, [made.row("f1", 0.8, table=None)]) == [
        "No rows that are compared with each other."
    ]


def test_an_ablation_won_by_a_part_is_a_loss(made):
    rows = [
        made.row(
            "auc@hyperkvasir", value, table="5.8", setting={"components": list(terms)}
        )
        for terms, value in (
            (("l_pmsacl",), 0.9),
            (("l_pmsacl", "l_ctr", "kappa", "l_aug", "l_pos"), 0.8),
        )
    ]

    (first,) = said(made, rows, seeds=3)

    assert first.startswith(
        "**PMSACL + PaDiM loses to itself with contrast (5.4) alone**"
    )


def test_a_variant_that_does_better_is_a_loss_and_others_are_left_out(made):
    rows = [auroc(made, OURS, 0.7)] + [
        auroc(made, OURS, value, setting={kind: name})
        for kind, name, value in (
            ("variant", "the-text-to-the-letter", 0.8),
            ("variant", "staged", 0.7),
            ("strong", "cutout", 0.6),
        )
    ]

    (only,) = said(made, rows, seeds=3)

    assert "loses to itself with the-text-to-the-letter**: AUROC 0.700 and 0.8" in only
