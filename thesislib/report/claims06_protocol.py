"""Claims of chapter 6 about its protocol and settings."""

from collections.abc import Iterator
from typing import Any

from thesislib.report import text
from thesislib.report.claims import Finding, View, claim
from thesislib.report.claims_protocol import (
    every_row,
    numbers_of_images,
    printed_settings,
    real_runs,
)
from thesislib.runs.record import quantity

CHAPTER, ROW = "06_igd", "igd"
THRESHOLD = 0.5
SAME = 1e-9
COUNTS = {"train normal": 3_629, "test normal": 467, "test abnormal": 1_258}
OF_IGD = {
    "rho": 0.15,
    "lambda_1": 1.0,
    "lambda_2": 1.0,
    "lambda_3": 0.1,
    "lr": 1e-4,
    "batch_size": 64,
    "epochs": 256,
    "num_steps": None,  # they would count instead of epochs
}
SETTINGS: dict[str, dict[str, Any]] = {  # config of a run -> what Section 6.4.2 says
    "igd": OF_IGD,
    "local": OF_IGD,
    "simclr": {"batch_size": 32, "epochs": 2_000, "num_steps": None},  # the SSL
    "distillation": {"batch_size": 64, "num_steps": 50_000},
}
NEEDED = {
    "igd": "IGD",
    "simclr": "the SSL",
    "distillation": "the distillation",
}  # without which the claim is open


@claim("C6-16")
def accuracy_at_one_half(view: View) -> Finding | None:
    """IGD's accuracy rows are what the stored scores give at 0.5."""
    return every_row(_accuracies(view), "are the accuracy at 0.5")


def _accuracies(view: View) -> Iterator[str | None]:
    for design in real_runs(view, CHAPTER, "mvtec"):
        for run, row in (pair for stated in design.rows.values() for pair in stated):
            if row["row"] != ROW or quantity(row["metric"]) != "accuracy":
                continue
            again = run.accuracy(row, THRESHOLD)
            if again is None:
                continue
            fault = f"{text.metric(row['metric'])} has {row['value']:.4f}"
            yield fault if abs(again - row["value"]) > SAME else None


@claim("C6-22", part="IGD, its SSL and the distillation; not the kind of optimiser")
def settings(view: View) -> Finding | None:
    """The configurations of runs with the thesis's settings are the printed ones."""
    return printed_settings(view, CHAPTER, SETTINGS, NEEDED)


@claim("C6-23", part="numbers of images")
def images(view: View) -> Finding | None:
    """What lies in the folder of the runs."""
    return numbers_of_images(view, CHAPTER, "mvtec", COUNTS)
