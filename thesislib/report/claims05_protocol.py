"""Claims of chapter 5 about its protocol and settings."""

from collections.abc import Iterator
from typing import Any

from thesislib.report import text
from thesislib.report.claims import Finding, View, claim, merged
from thesislib.report.claims_protocol import (
    every_row,
    numbers_of_images,
    printed_settings,
    real_runs,
)
from thesislib.report.implemented import DETECTION

CHAPTER = "05_pmsacl"
DRAWN = 50  # images of each class that choose the threshold, Section 5.4.3
LEFT = {"specificity": "test normal", "sensitivity": "test abnormal"}
COVIDX = {"train normal": 13_794, "test normal": 200, "test abnormal": 200}
SETTINGS: dict[str, dict[str, Any]] = {  # config of a run -> what Section 5.4.2 says
    "pmsacl": {"batch_size": 32, "lr": 0.01, "num_features": 128, "momentum": 0.9}
}


@claim("C5-38")
def threshold_from_the_test_set(view: View) -> Finding | None:
    """Rows at the threshold count all test images of a class but 50."""
    return every_row(_draws(view), f"leave {DRAWN} images out")


def _draws(view: View) -> Iterator[str | None]:
    for dataset, table in DETECTION.items():
        for design in real_runs(view, CHAPTER, dataset):
            for run, row in (pair for rows in design.rows.values() for pair in rows):
                if row["table"] != table or row["metric"] not in LEFT:
                    continue
                part = LEFT[row["metric"]]
                drawn = run.record["dataset"]["counts"][part] - row["n"]
                fault = f"{drawn} of {part} are drawn on {text.DATASETS[dataset]}"
                yield fault if drawn != DRAWN else None


@claim("C5-39", part="numbers of images and the size they are brought to")
def covidx_images(view: View) -> Finding | None:
    return merged(
        view,
        numbers_of_images(view, CHAPTER, "covidx", COVIDX),
        printed_settings(view, CHAPTER, {"data": {"image_size": 256}}, {}),
    )


@claim("C5-40", part="the momentum is chapter 4's 0.9; not the kind of optimiser")
def settings(view: View) -> Finding | None:
    return printed_settings(view, CHAPTER, SETTINGS, {})
