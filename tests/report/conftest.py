import json
from types import SimpleNamespace

import pytest

from thesislib.report.records import Collection, Run
from thesislib.runs.record import sealed


def make_row(metric="auc", value=0.99, **changes):
    row = {
        "table": "5.1",
        "row": "pmsacl-padim",
        "setting": {},
        "dataset": "hyperkvasir",
        "metric": metric,
        "value": value,
        "ci_low": value - 0.004,
        "ci_high": value + 0.004,
        "n": 1500,
        "published": 0.996,
        "seed": 0,
        "source": "real",
        "preset": "paper",
        "reading": "thesis",
    }
    return row | changes


def make_record(rows=None, *, seed=0, dataset="hyperkvasir", source="real", **changes):
    """A sealed record with the thesis's settings on real data; changes win."""
    preset = changes.pop("preset", "paper")
    partial = changes.pop("partial", False)
    overrides = changes.pop("overrides", {})
    resolved = {
        "dataset": dataset,
        "preset": preset,
        "reading": "thesis",
        "seed": seed,
        "overrides": overrides,
    }
    rows = [make_row()] if rows is None else rows
    rows = [
        row | {"seed": seed, "dataset": dataset, "source": source, "preset": preset}
        for row in rows
    ]
    data = {
        "name": dataset,
        "source": source,
        "partial": partial,
        "fingerprint": "f" * 64 if source == "real" else f"{seed:064d}",
        "counts": {"test normal": 500, "test abnormal": 1000},
        "provenance": {"seed": seed, "generator_sha256": "b" * 64},
    }
    record = {
        "schema": 1,
        "status": "running",
        "chapter": "05_pmsacl",
        "folder": f"05_pmsacl/{dataset}-s{seed}",
        "parameters": {"given": {}, "resolved": resolved},
        "configs": {"pmsacl": {"lr": 0.01}},
        "seed": seed,
        "dataset": data,
        "selection": "last",
        "packages": {},
        "git": {"commit": None, "dirty": None},
        "modules": {"thesislib.pretrain.pmsacl": "a" * 64},
        "notebook": None,
        "hardware": {},
        "device": "cpu",
        "threads": 1,
        "stages": [{"name": "train", "wall_seconds": 90.0}],
        "started": "2026-01-01T00:00:00+00:00",
        "finished": f"2026-01-{1 + seed % 28:02d}T01:00:00+00:00",
        "sessions": 1,
        "rows": rows,
        "left_out": {},
        "files": {},
    }
    return sealed(record | changes)


def make_runs(records):
    runs = [Run(record=r, where=f"results/{i}") for i, r in enumerate(records)]
    return Collection(runs=runs)


def write_run(root, record, name="run"):
    folder = root / "results" / record["chapter"] / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def made():
    """Functions that make rows, sealed records and collections of runs."""
    return SimpleNamespace(
        row=make_row, record=make_record, runs=make_runs, write=write_run
    )
