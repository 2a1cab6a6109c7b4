"""The record of a run: its form, its seal, and finding records. Standard library only.

A record is JSON with the fields of `FIELDS`. It is *sealed* when its status says so
and its seal is right: the SHA-256 of everything else in it, which includes the
SHA-256 of the files with scores, histograms and losses. Nothing else counts.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thesislib import paths
from thesislib.errors import InputError

SCHEMA = 1
Key = tuple[str, str]  # of scores: row, setting as canonical JSON
MIME = "application/vnd.thesis.run+json"
FIELDS = {
    "schema": "version of this form",
    "status": '"running" or "sealed"',
    "chapter": "name of the notebook",
    "folder": "results folder, chapter/name",
    "parameters": '{"given": as given, "resolved": as used}',
    "configs": "settings with overrides in place",
    "seed": "of the run",
    "dataset": "name, source, counts, partial, fingerprint, provenance",
    "selection": "which checkpoint the results are from",
    "packages": "versions",
    "git": '{"commit", "dirty"}',
    "modules": "SHA-256 of each thesislib module the run had imported",
    "notebook": "SHA-256 of the chapter's cells",
    "hardware": "system, processor, cores",
    "device": "where it computed",
    "threads": "CPU threads",
    "stages": "wall and CPU seconds and peak memory of each",
    "started": "UTC",
    "finished": "UTC, null while running",
    "sessions": "times the run was started until it was sealed",
    "rows": "the results",
    "left_out": "part of the chapter that the run does without -> why",
    "files": "SHA-256 of scores.csv, histograms.npz, losses.jsonl",
}
ROW = (
    *("table", "row", "setting", "dataset", "metric", "value", "ci_low", "ci_high"),
    *("n", "published", "seed", "source", "preset", "reading"),
)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical(value: object) -> str:
    """JSON that is the same for equal values: sorted keys, no blanks, no NaN."""
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def digest(value: object) -> str:
    """SHA-256 of `canonical(value)`, hexadecimal."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def seal_of(record: dict[str, Any]) -> str:
    """The seal that `record` must carry: SHA-256 of all of it but the seal."""
    return digest({key: value for key, value in record.items() if key != "seal"})


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with status "sealed" and its seal.

    Raises:
        InputError: If a field of the form is missing, unknown or out of form.
    """
    record = {**record, "status": "sealed"}
    record.pop("seal", None)
    if wrong := FIELDS.keys() ^ record.keys():
        raise InputError(f"A record with missing or unknown {sorted(wrong)}.")
    for row in record["rows"]:
        if wrong := set(ROW) ^ row.keys():
            raise InputError(f"A row with missing or unknown {sorted(wrong)}.")
    return {**record, "seal": seal_of(record)}


def is_sealed(record: Any) -> bool:
    """Whether `record` is a finished run that nobody has changed since."""
    if not isinstance(record, dict) or record.get("status") != "sealed":
        return False
    try:
        return record.get("seal") == seal_of(record)
    except (TypeError, ValueError):
        return False


def read(path: Path) -> dict[str, Any] | None:
    """The record at `path`, sealed or not; None if it is absent or no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "status" in record else None


def find() -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """Every record in the results folder and in `book/records/`, with its path.

    The record is None where the file cannot be read.
    """
    for path in sorted(paths.results_dir().glob("*/*/run.json")):
        yield path, read(path)
    for path in sorted((paths.root() / "book" / "records").glob("*.json")):
        yield path, read(path)


def quantity(metric: str) -> str:
    """What a row's metric measures: "auc" for `auc`, `auc@lag`, `auc_small20`."""
    name = metric.partition("@")[0]
    return "auc" if name.startswith("auc_") else name


def behind(row: Mapping[str, Any], stored: Collection[Key]) -> list[Key]:
    """The stored scores that an image metric is computed from.

    A row `auc` or `auc@lag` has scores under its own key. In a one-class benchmark
    each class has scores of its own, under the row's setting and `"class"`: a row
    `auc@fmnist/3` is computed from those of class "3", and a row `auc@fmnist` or
    `auc@fmnist/mean` that has none of its own is the mean over all classes stored.
    The scores of a row `auc_small20` (Table 6.5) have `"training": "small20"` in
    their setting besides.

    Returns:
        Keys among `stored`, sorted; none if the scores are not there.
    """
    name, _, where = row["metric"].partition("@")
    part = where.partition("/")[2]
    setting = dict(row["setting"])
    if name.startswith("auc_"):
        setting["training"] = name.removeprefix("auc_")
    if part not in ("", "mean"):
        key = (row["row"], canonical({**setting, "class": part}))
        return [key] if key in stored else []
    own = (row["row"], canonical(setting))
    if own in stored:
        return [own]
    return sorted(key for key in stored if key[0] == own[0] and _of(key) == setting)


def _of(key: Key) -> dict[str, Any] | None:
    """The setting of a class's scores without the class; None without a class."""
    setting = json.loads(key[1]) if '"class":' in key[1] else {}
    return setting if setting.pop("class", None) is not None else None
