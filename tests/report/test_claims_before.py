"""The judgements of made-up ledgers, frozen when the claims became data.

`claims_before.json` was written by the functions, one a claim, that judged until
then, and again whenever a rule changed on purpose, which the commit says:
`python -m tests.report.test_claims_before`.
"""

import hashlib
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.report.conftest import make_record, make_row
from thesislib import paper
from thesislib.report.claims import judge_all
from thesislib.report.designs import designs
from thesislib.report.ledger import Ledger
from thesislib.report.records import Run

FROZEN = Path(__file__).with_name("claims_before.json")
ONE_HALF = 0.5  # threshold of C6-16

# What runs state: tables -> rows.
CHAPTER_5 = {
    ("5.1", "5.2", "5.3", "5.4", "5.6", "5.7"): (
        "padim",
        "pmsacl-padim",
        "igd",
        "pmsacl-igd",
    ),
    ("5.8",): ("pmsacl-padim",),
    ("5.9",): ("simclr-padim",),
}
CHAPTER_6 = {
    ("6.1", "6.2", "6.3", "6.4", "6.5", "6.6", "6.7", "A.1"): ("igd",),
    ("6.6", "6.7"): ("dsvdd", "dsvdd-rec"),
}
STRONG = ("medmix", "rotation", "permutation", "cutout", "gaussian-noise", "cutmix")
OWN_5 = [
    ("auc", {"strong": name}, 0.95 - 0.01 * place) for place, name in enumerate(STRONG)
]
OWN_5 += [("auc", {"num_classes": n}, 0.95 - 0.01 * abs(n - 4)) for n in range(2, 8)]
RATIOS = {"pmsacl-padim": 1.3, "random-padim": 1.1, "simclr-padim": 1.2}
PMSACL = {"batch_size": 32, "lr": 0.01, "num_features": 128, "momentum": 0.9}
IGD = {
    "rho": 0.15,
    "lambda_1": 1.0,
    "lambda_2": 1.0,
    "lambda_3": 0.1,
    "lr": 1e-4,
    "batch_size": 64,
    "epochs": 256,
    "num_steps": None,
}
CONFIGS = {
    "05_pmsacl": {"pmsacl": PMSACL, "data": {"image_size": 256}},
    "06_igd": {
        "igd": IGD,
        "local": IGD,
        "simclr": {"batch_size": 32, "epochs": 2_000, "num_steps": None},
        "distillation": {"batch_size": 64, "num_steps": 50_000},
    },
}
COUNTS = {
    "covidx": {"train normal": 13_794, "test normal": 200, "test abnormal": 200},
    "mvtec": {"train normal": 3_629, "test normal": 467, "test abnormal": 1_258},
}
OTHER_COUNTS = {"train normal": 1_600, "test normal": 500, "test abnormal": 1_000}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How the numbers of a ledger differ from the printed ones."""

    shift: float = 0.0  # of every number
    mirrored: bool = False  # every gain a loss
    spread: float = 0.0  # of a shift of its own for each number
    width: float = 1e-4  # half of the interval within a run
    wobble: float = 5e-4  # from seed to seed
    dropped: float = 0.0  # share of numbers that are missing
    seeds: int = 3
    source: str = "real"
    preset: str = "paper"
    partial: bool = False
    chapters: tuple[str, ...] = ("05_pmsacl", "06_igd")
    datasets: tuple[str, ...] = ()  # those at hand, all if none is named
    elsewhere: bool = False  # chapter 6's studies on Fashion-MNIST from scratch
    faulty: bool = False  # other settings and numbers of images
    configs: tuple[str, ...] = ()  # those that runs state, all if none is named


SCENARIOS = {
    "as printed": [Scenario()],
    "as printed, hundred steady seeds": [
        Scenario(seeds=100, wobble=0.008, chapters=("05_pmsacl",)),
    ],
    "two seeds": [Scenario(seeds=2)],
    "one seed": [Scenario(seeds=1)],
    "lower": [Scenario(shift=-0.2, faulty=True)],
    "higher": [Scenario(shift=0.04)],
    "mirrored": [Scenario(mirrored=True)],
    "a little apart": [Scenario(spread=0.006)],
    "apart": [Scenario(spread=0.03)],
    "far apart": [Scenario(spread=0.15)],
    "far apart the other way": [Scenario(spread=-0.15)],
    "blurred": [Scenario(spread=0.02, width=0.02)],
    "some missing": [Scenario(dropped=0.1, spread=0.02)],
    "many missing": [Scenario(dropped=0.4)],
    "phantom": [Scenario(source="phantom", seeds=5)],
    "phantom, apart": [Scenario(source="phantom", seeds=5, spread=-0.15)],
    "phantom, some missing": [Scenario(source="phantom", seeds=5, dropped=0.2)],
    "phantom, many missing": [Scenario(source="phantom", seeds=5, dropped=0.4)],
    "some datasets, own protocol": [
        Scenario(preset="quick", datasets=("hyperkvasir", "fmnist", "cifar10")),
    ],
    "partial, some configurations": [
        Scenario(partial=True, configs=("igd", "data"), faulty=True),
    ],
    "studies elsewhere": [
        Scenario(chapters=("06_igd",), elsewhere=True, spread=0.03, seeds=4),
        Scenario(chapters=("06_igd",), datasets=("lag",)),
    ],
    "several ways": [
        Scenario(source="phantom", seeds=5),
        Scenario(preset="quick", spread=0.05, datasets=("hyperkvasir", "mvtec")),
        Scenario(dropped=0.5, spread=0.01, seeds=4),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Scored(Run):
    """A run whose scores would give the accuracies that it states, or others."""

    faulty: bool = False

    def accuracy(self, row, threshold):
        assert threshold == ONE_HALF
        odd = self.faulty and row["metric"] == "accuracy"
        return row["value"] + (0.1 if odd else 0.0)


def rows_of(chapter):
    """All rows of a chapter as printed, by (dataset, start)."""
    found = defaultdict(list)
    for tables, names in (CHAPTER_5 if chapter == "05_pmsacl" else CHAPTER_6).items():
        for cell in (one for table in tables for one in paper.cells(table)):
            if cell.row in names:
                start = cell.setting["pretrain"] if chapter == "06_igd" else "imagenet"
                found[cell.dataset, start].append(
                    (cell.table, cell.row, cell.setting, cell.metric, cell.value)
                )
    if chapter == "05_pmsacl":
        for metric, setting, value in OWN_5:
            row = (None, "pmsacl-padim", setting, metric, value)
            found["hyperkvasir", "imagenet"].append(row)
        for row, value in RATIOS.items():
            row = (None, row, {}, "distance ratio", value)
            found["hyperkvasir", "imagenet"].append(row)
    return found


def moved_to_fashion_mnist(rows):
    """Rows of the studies as they are stated for another benchmark."""
    for table, row, setting, metric, value in rows:
        if table in ("6.5", "6.6", "6.7") and not metric.endswith("@mvtec"):
            name = metric.replace("cifar10", "fmnist")
            yield None, row, setting | {"pretrain": "scratch"}, name, value


def records(scenario):
    drawn = random.Random(1)  # a shift of its own for each (table, row, metric)
    for chapter in scenario.chapters:
        groups = rows_of(chapter)
        if scenario.elsewhere:
            moved = moved_to_fashion_mnist(groups["cifar10", "imagenet"])
            groups = {("fmnist", "scratch"): list(moved)}
        for (dataset, start), rows in groups.items():
            numbers = []
            for table, row, setting, metric, value in rows:
                own, keep = drawn.uniform(-1, 1), drawn.random() >= scenario.dropped
                value = 1.5 - value if scenario.mirrored else value
                value += scenario.shift + scenario.spread * own
                if keep:
                    numbers.append((table, row, setting, metric, value))
            if scenario.datasets and dataset not in scenario.datasets:
                continue
            for seed in range(scenario.seeds):
                yield record(scenario, chapter, dataset, start, numbers, seed)


def record(scenario, chapter, dataset, start, numbers, seed):
    images = {"specificity": 450, "sensitivity": 950}
    if dataset == "covidx":
        images = {"specificity": 150, "sensitivity": 150}
    if scenario.faulty:
        images["sensitivity"] += 50
    rows = []
    for place, (table, row, setting, metric, value) in enumerate(numbers):
        value += scenario.wobble * ((7 * seed + place) % 3 - 1)
        ends = {"ci_low": value - scenario.width, "ci_high": value + scenario.width}
        more = {"table": table, "setting": setting, "n": images.get(metric, 1_500)}
        rows.append(make_row(metric, value, row=row) | more | ends)
    configs = {
        name: dict(found)
        for name, found in CONFIGS[chapter].items()
        if name in (scenario.configs or CONFIGS[chapter])
    }
    if scenario.faulty:
        next(iter(configs.values()))["lr"] = 0.5
    made = make_record(
        rows,
        seed=seed,
        dataset=dataset,
        chapter=chapter,
        source=scenario.source,
        preset=scenario.preset,
        partial=scenario.partial,
        configs=configs,
    )
    made["parameters"]["resolved"]["start"] = start
    made["dataset"]["counts"] = dict(COUNTS.get(dataset, OTHER_COUNTS))
    if scenario.faulty:
        made["dataset"]["counts"]["train normal"] += 1
    return made


def judged(name):
    """What is said of each claim that rows are at hand for."""
    runs = [
        Scored(record=one, where=f"results/{number}", faulty=scenario.faulty)
        for scenario in SCENARIOS[name]
        for number, one in enumerate(records(scenario))
    ]
    found = {}
    for one in judge_all(Ledger([], [], designs(runs), runs)):
        if one.finding is not None:
            said = one.finding
            results = [
                [r.dataset, r.value, r.ci_low, r.ci_high, r.seeds, r.reasons, r.runs]
                for r in said.results
            ]
            digest = hashlib.sha256(json.dumps(results).encode()).hexdigest()[:12]
            found[one.claim["id"]] = [one.state, said.detail, list(said.notes), digest]
    return found


def parts():
    """Which part of each implemented claim is judged."""
    everything = judge_all(Ledger([], [], [], []))
    return {one.claim["id"]: one.part for one in everything if one.implemented}


@pytest.mark.parametrize("name", SCENARIOS)
def test_claims_are_judged_as_the_functions_did(name):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))

    found = judged(name)

    for claim in frozen["parts"]:
        assert found.get(claim) == frozen["judged"][name].get(claim), claim


def test_the_same_parts_are_judged():
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))["parts"]

    assert {claim: part for claim, part in parts().items() if claim in frozen} == frozen


def test_the_frozen_judgements_say_everything_of_every_claim():
    """Each claim holds, or nearly, in some ledgers and fails in others."""
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    states = defaultdict(set)
    for found in frozen["judged"].values():
        for claim, (state, *_) in found.items():
            states[claim].add(state.rpartition(": ")[2].partition(" in ")[0])

    assert set(states) == set(frozen["parts"])
    for claim, found in states.items():
        assert "fails" in found and found & {"holds", "confirmed"}, claim


if __name__ == "__main__":
    of_all = {name: judged(name) for name in SCENARIOS}
    said = {claim for found in of_all.values() for claim in found}
    named = {claim: part for claim, part in parts().items() if claim in said}
    content = {"parts": named, "judged": of_all}
    text = json.dumps(content, ensure_ascii=False, indent=0)
    FROZEN.write_text(text + "\n", encoding="utf-8")
