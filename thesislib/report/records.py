"""Run records: finding them, and telling sealed ones from the rest.

Records lie in results folders (`run.json`), in executed notebooks (a MIME bundle
that the last cell displays) and in `book/records/` (*recorded*: a run that was too
long for a reader's machine; its scores are not at hand). The same run found in two
places counts once, by the place that has more of it. Only sealed records count at all.
"""

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from thesislib import paths
from thesislib.report import intervals
from thesislib.runs import recorded
from thesislib.runs.record import MIME, Key, behind, canonical, is_sealed, read

COLUMNS = ("row", "setting", "id", "label", "patient", "score")  # as the store has


class Lines(NamedTuple):
    """Scores of one row as `scores.csv` has them, in its order."""

    ids: list[str]
    labels: list[int]
    scores: list[float]
    patients: list[str] | None  # None unless every image has one

    @property
    def names(self) -> list[str]:
        """What varies independently: patients, else images."""
        return self.patients or self.ids


class Influence(NamedTuple):
    """An AUROC, or a mean of several, and what each image adds to its error."""

    value: float
    shares: intervals.Influences


@dataclass(frozen=True, kw_only=True)
class Run:
    """One sealed record and where it was found."""

    record: dict[str, Any]
    where: str  # as shown to readers, relative to the repository
    folder: Path | None = None  # results folder, where scores.csv lies
    recorded: bool = False  # from book/records/

    @property
    def chapter(self) -> str:
        return self.record["chapter"]

    @property
    def dataset(self) -> str:
        return self.record["dataset"]["name"]

    @property
    def source(self) -> str:
        return self.record["dataset"]["source"]

    @property
    def partial(self) -> bool:
        return bool(self.record["dataset"].get("partial"))

    @property
    def seed(self) -> int:
        return self.record["seed"]

    @property
    def preset(self) -> str:
        return self.resolved["preset"]

    @property
    def reading(self) -> str:
        return self.resolved["reading"]

    @property
    def resolved(self) -> dict[str, Any]:
        return self.record["parameters"]["resolved"]

    @property
    def overrides(self) -> dict[str, Any]:
        return self.resolved.get("overrides") or {}

    @property
    def finished(self) -> str:
        return self.record.get("finished") or ""

    @property
    def identities(self) -> set[str]:
        """Seals by which a run is known: its own, and the one it was recorded from."""
        return {self.record["seal"], self.record.get("run_seal", self.record["seal"])}

    @property
    def design(self) -> str:
        """All that makes runs siblings: everything that matters but the seed.

        Real splits do not depend on the seed, so fingerprints agree. Phantoms are
        redrawn for every seed; there the generator and its settings agree.
        """
        ignored = {"seed", "device", "data_root", "source", "overwrite"}
        parameters = {k: v for k, v in self.resolved.items() if k not in ignored}
        data = self.record["dataset"]
        same_data = data["fingerprint"]
        if self.source == "phantom":
            same_data = _without_seeds(data.get("provenance"))
        key = (
            self.chapter,
            self.dataset,
            self.source,
            parameters,
            _without_seeds(self.record.get("configs") or {}),
            data.get("counts"),
            same_data,
        )
        return json.dumps(key, sort_keys=True)

    def scores(self, row: str, setting: dict[str, Any]) -> Lines | None:
        """Scores of a row; None if they are not at hand."""
        return self._scores.get((row, canonical(setting)))

    def influence(self, row: dict[str, Any]) -> Influence | None:
        """AUROC of a row and the influence of each test image on it.

        A mean over classes is one over all classes whose scores were kept (see
        `store.behind`). None if no scores are at hand.
        """
        keys = behind(row, self._scores.keys())
        if not keys:
            return None
        aucs, shares = [], {}
        for key in keys:
            lines = self._scores[key]
            auc, found = intervals.influences(lines.labels, lines.scores, lines.names)
            aucs.append(auc)
            for name, share in found.items():
                shares[name] = shares.get(name, 0.0) + share / len(keys)
        return Influence(sum(aucs) / len(aucs), shares)

    def error(self, row: dict[str, Any]) -> float | None:
        """DeLong standard error of an AUROC row: as recorded, else from the scores."""
        if row.get("error") is not None:
            return row["error"]
        found = self.influence(row)
        return math.sqrt(intervals.dot(found.shares, found.shares)) if found else None

    def accuracy(self, row: dict[str, Any], threshold: float) -> float | None:
        """Share of a row's images that lie on their own side of a fixed threshold.

        The mean over classes of a benchmark, as in `influence`. None if no scores are
        at hand.
        """
        shares = []
        for key in behind(row, self._scores.keys()):
            lines = self._scores[key]
            called = [score >= threshold for score in lines.scores]
            right = [a == bool(b) for a, b in zip(called, lines.labels, strict=True)]
            shares.append(sum(right) / len(right))
        return sum(shares) / len(shares) if shares else None

    @cached_property
    def _scores(self) -> dict[Key, Lines]:
        """All of scores.csv, read once; without pandas or numpy, as the book is."""
        found: dict[Key, Lines] = {}
        if self.folder is None or not (path := self.folder / "scores.csv").is_file():
            return found
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            places = {name: i for i, name in enumerate(next(reader, ()))}
            row, setting, image, label, patient, score = map(places.get, COLUMNS)
            for line in reader:
                lines = found.setdefault(
                    (line[row], line[setting]), Lines([], [], [], [])
                )
                lines.ids.append(sys.intern(line[image]))
                lines.labels.append(int(line[label]))
                lines.patients.append(sys.intern(line[patient]))
                lines.scores.append(float(line[score]))
        return {
            key: lines if all(lines.patients) else lines._replace(patients=None)
            for key, lines in found.items()
        }


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_seeds(v) for k, v in value.items() if k != "seed"}
    if isinstance(value, list):
        return [_without_seeds(v) for v in value]
    return value


@dataclass
class Collection:
    """Sealed runs, and what was passed over and why."""

    runs: list[Run] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def collect(root: Path | None = None, results: Path | None = None) -> Collection:
    """All sealed runs below a repository; unsealed ones are listed, not counted."""
    root = root or paths.root()
    results = results or paths.results_dir()
    found = Collection()
    seen: set[str] = set()
    for run, problem in _candidates(root, results):
        if problem:
            found.passed_over.append(problem)
        elif not seen & run.identities:
            seen |= run.identities
            found.runs.append(run)
    found.runs.sort(key=lambda run: (run.chapter, run.dataset, run.seed, run.finished))
    return found


def _candidates(root: Path, results: Path) -> Iterator[tuple[Run | None, str]]:
    for path in sorted(results.glob("*/*/run.json")):
        where = f"results/{path.parent.parent.name}/{path.parent.name}"
        yield _checked(read(path), where, folder=path.parent)
    notebooks = (root.glob("*.ipynb"), (root / "book" / "runs").glob("*.ipynb"))
    for path in sorted(path for group in notebooks for path in group):
        for record in records_of(read_notebook(path)):
            yield _checked(record, path.relative_to(root).as_posix())
    for path in sorted((root / "book" / "records").glob("*.json")):
        where = f"book/records/{path.name}"
        if problem := recorded.problem(record := read(path)):
            yield None, f"{where}: {problem}, so it is left out"
        else:
            record = recorded.expanded(record)
            yield Run(record=record, where=where, recorded=True), ""


def records_of(notebook: dict[str, Any] | None) -> Iterable[dict[str, Any]]:
    """Records displayed in an executed notebook (nbformat 4, as a dict)."""
    for cell in notebook["cells"] if notebook else ():
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(MIME)
            if isinstance(record, dict) and "status" in record:
                yield record


def read_notebook(path: Path) -> dict[str, Any] | None:
    """A notebook of nbformat 4 as a dict; None for anything else."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(notebook, dict) and notebook.get("nbformat") == 4
    return notebook if fits and isinstance(notebook.get("cells"), list) else None


def _checked(
    record: dict[str, Any] | None, where: str, **place: Any
) -> tuple[Run | None, str]:
    if record is None:
        return None, f"{where}: not a readable record, so it does not count"
    if is_sealed(record):
        return Run(record=record, where=where, **place), ""
    reason = "its seal is broken"
    if record["status"] != "sealed":
        reason = f"its status is {record['status']!r}"
    return None, f"{where}: not sealed ({reason}), so it does not count"
