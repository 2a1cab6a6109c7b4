"""Make the recorded runs of `book/records/` again, all by one command: `make records`.

`book/records/runs.toml` lists them. A run that is sealed already is taken as it is, and
one that was interrupted goes on, so the command can be given again. Preset `standard`,
real data. An older record of the same run gives way to the new one; the others stay.

    python benchmarks/records.py [--chapter 06_igd] [--dataset mnist]
"""

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thesislib import paths
from thesislib.report.records import read_notebook, records_of
from thesislib.runs import recorded

RECORDS = paths.root() / "book" / "records"


def wanted() -> Iterator[dict[str, Any]]:
    """Parameters of every run, its chapter among them."""
    listed = tomllib.loads((RECORDS / "runs.toml").read_text(encoding="utf-8"))
    for entry in listed["runs"]:
        seeds = entry.pop("seeds")
        if "data_root" in entry:
            entry["data_root"] = str(paths.data_dir() / entry["data_root"])
        yield from ({**entry, "seed": seed} for seed in seeds)


def run(given: dict[str, Any]) -> Path | None:
    """Execute one; its folder, or None if it failed."""
    parameters = dict(given)
    chapter = parameters.pop("chapter")
    parameters |= {"source": "real", "preset": "standard"}
    words = [chapter, *(Path(str(v)).name for v in given.values() if v != chapter)]
    notebook = paths.root() / "book" / "runs" / f"record-{'-'.join(words)}.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    command += [str(paths.root() / "chapters" / f"{chapter}.ipynb"), str(notebook)]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    if subprocess.run(command, cwd=paths.root()).returncode:
        return None
    (record, *_) = records_of(read_notebook(notebook))
    return paths.results_dir() / record["folder"]


def keep(folder: Path) -> Path:
    """Record a sealed run in the place of what was recorded of it before."""
    from thesislib.report import recording

    path, _ = recording.write(folder)
    new = recorded.expanded(recording.records.read(path))
    for other in RECORDS.glob("*.json"):
        old = recording.records.read(other)
        if other != path and old is not None and same_run(old, new):
            other.unlink()
    return path


def same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records are of one run: chapter, data, seed and parameters."""
    keys = ("chapter", "seed")
    data = [(r["dataset"]["name"], r["dataset"]["source"]) for r in (one, other)]
    ignored = {"device", "data_root", "weights"}
    given = [
        {k: v for k, v in r["parameters"]["resolved"].items() if k not in ignored}
        for r in (one, other)
    ]
    return (
        all(one[key] == other[key] for key in keys)
        and data[0] == data[1]
        and given[0] == given[1]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapter", help="only this one's runs")
    parser.add_argument("--dataset", help="only those on this dataset")
    asked = parser.parse_args()
    failed = []
    for given in wanted():
        if asked.chapter not in (None, given["chapter"]):
            continue
        if asked.dataset not in (None, given["dataset"]):
            continue
        folder = run(given)
        if folder is None:
            failed.append(" ".join(map(str, given.values())))
        else:
            print(f"recorded: {keep(folder).name}", flush=True)
    if failed:
        sys.exit(f"These were not recorded: {'; '.join(failed)}.")


if __name__ == "__main__":
    main()
