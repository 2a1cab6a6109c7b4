"""Recomputing what sealed runs say.

Of each run: the seal, the hashes of its files, the published numbers beside its
rows, the image metrics from `scores.csv`, the metrics of pixels and of the frames of
videos from `histograms.npz`; and which modules have changed since. Of a recorded run
the seal, the published numbers and the modules only: its scores and histograms did not
come along.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thesislib import atomic, paper, sources
from thesislib.errors import InputError
from thesislib.runs import record as records
from thesislib.runs import recorded
from thesislib.runs.record import Key
from thesislib.runs.store import DAMAGE, Histograms, Scores

TOLERANCE = 1e-9  # of a recomputed metric: the same formula in another NumPy
IMAGE = ("auc", "ap", "sensitivity", "specificity", "accuracy")
BY_CLASS = ("auc", "accuracy")  # of a benchmark, the accuracy at a fixed threshold
PIXEL = {  # metric of a row: method of `PixelHistogram`
    "pixel_auc": "auroc",
    "pixel_ap": "ap",
    "fpr95": "fpr95",
    "pro": "pro",
}
VIDEO = (  # of frames, from the scores of snippets
    *("auc", "ap", "ap_trapezoid", "auc_abnormal"),
    *("false_alarms_per_hour", "latency"),
)
DIFFERENCE = " difference"  # of a row of frames minus another one
CONTRAST = "auc difference"  # of a row minus the row that its setting names
FOLLOWED = "rank correlation"  # of a row's scores with the floor its setting names


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that verifying a record showed.

    Attributes:
        record: Where the record lies, as shown to readers.
        kind: "wrong" (no longer agrees), "unsealed", "absent" (cannot be checked
            with what is kept), "changed" (sources changed since) or "agrees".
        text: What was found, a phrase.
    """

    record: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.record}: {self.kind}: {self.text}"


def verify(chosen: Iterable[str | Path] = ()) -> list[Finding]:
    """Check records.

    Args:
        chosen: Run folders, records (`.json`) or folders that hold some; none means
            all in the results folder and in `book/records/`.

    Raises:
        InputError: If a path holds no record.
    """
    found = [hit for path in chosen for hit in _records_at(Path(path))]
    findings = []
    for path, record in found if chosen else records.find():
        findings += list(_check(path, record))
    return findings


def _records_at(path: Path) -> list[tuple[Path, dict[str, Any] | None]]:
    if path.is_dir():
        files = [path / "run.json"]
        if not files[0].is_file():
            files = sorted([*path.rglob("run.json"), *path.glob("*.json")])
    else:
        files = [path]
    if not files or not files[0].is_file():
        raise InputError(
            f"{path} holds no record; give a run's folder, its run.json, a file of "
            "book/records, or nothing for all."
        )
    return [(file, records.read(file)) for file in files]


def _check(path: Path, record: dict[str, Any] | None) -> Iterator[Finding]:
    if path.name != "run.json":
        yield from _check_recorded(path, record)
        return
    folder = path.parent
    where = atomic.shown(folder)

    def say(kind: str, text: str) -> Finding:
        return Finding(record=where, kind=kind, text=text)

    if record is None:
        yield say("wrong", "not a readable record")
        return
    if record["status"] != "sealed":
        yield say("unsealed", f"status {record['status']}, so it is no result")
        return
    if not records.is_sealed(record):
        yield say("wrong", "the seal does not fit, so the record was changed")
        return
    wrong = list(_published(record))
    num_again = 0
    if files := list(_files(folder, record)):
        wrong += files
    else:
        disagreeing, absent = _metrics(folder, record)
        wrong += disagreeing
        num_again = len(record["rows"]) - len(absent)
        if absent:
            text = "; ".join(absent)
            yield say("absent", f"no scores or histograms that give {text}")
    yield from (say("wrong", text) for text in wrong)
    if changed := sources.changed(record["modules"], on_disk=True):
        yield say("changed", f"since it was sealed: {', '.join(changed)}")
    if not wrong:
        rows = f"{num_again} of {len(record['rows'])} rows recomputed"
        yield say("agrees", f"seal and files, {rows}")


def _check_recorded(path: Path, record: dict[str, Any] | None) -> Iterator[Finding]:
    where = atomic.shown(path)

    def say(kind: str, text: str) -> Finding:
        return Finding(record=where, kind=kind, text=text)

    if problem := recorded.problem(record) if record else "not a readable record":
        yield say("wrong", problem)
        return
    if path.name != (name := recorded.file_name(record)):
        yield say("wrong", f"its run is called {name}, so the file was renamed")
    rows = recorded.expanded(record)["rows"]
    wrong = list(_published({"rows": rows}))
    yield from (say("wrong", text) for text in wrong)
    yield say("absent", "its scores are not kept here, so no metric is recomputed")
    if left := record["rows_left_out"]:
        yield say("absent", f"{left} rows of the run were left out of the record")
    if changed := recorded.changed_modules(record):
        names = ", ".join(changed)
        yield say("changed", f"the package has changed since: {names}")
    if not wrong:
        yield say("agrees", f"the seal of a recorded run, {len(rows)} rows")


def _published(record: dict[str, Any]) -> Iterator[str]:
    for row in record["rows"]:
        now = paper.published(row["table"], row["row"], row["setting"], row["metric"])
        if now != row["published"]:
            yield f"{name(row)} has {row['published']} as published, printed is {now}"


def _files(folder: Path, record: dict[str, Any]) -> Iterator[str]:
    for file, sha256 in record["files"].items():
        if not (folder / file).is_file():
            yield f"{file} is gone"
        elif sources.sha256_file(folder / file) != sha256:
            yield f"{file} is not the file that was sealed"


def _metrics(folder: Path, record: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Rows that recompute to something else, and rows that cannot be recomputed."""
    try:
        scores = Scores.read(folder / "scores.csv")
        histograms = Histograms.read(folder / "histograms.npz")
    except DAMAGE as error:
        return [f"scores.csv or histograms.npz cannot be read ({error})"], []
    known: dict[tuple[str, Key], dict[str, Any]] = {}
    wrong, absent = [], []
    for row in record["rows"]:
        metric = records.quantity(row["metric"])
        keys = records.behind(row, scores.keys()) if metric in IMAGE else []
        pixels = (row["row"], records.canonical(row["setting"]))
        if keys and metric in BY_CLASS and "class" in json.loads(keys[0][1]):
            again = _of_classes(row, keys, scores)
        elif len(keys) == 1:
            if ("image", keys[0]) not in known:
                scored = _image_metrics(scores[keys[0]], record["seed"])
                known["image", keys[0]] = scored
            again = known["image", keys[0]][metric]._asdict()
        elif metric == "pixel_auc" and (each := _each_image(row)) in histograms:
            again = _of_images(histograms[each])
        elif metric == "pixel_auc" and (several := _each_class(row, histograms)):
            again = _over_classes(several)
        elif frames := _frame_keys(row, histograms):
            for key in frames:
                if ("video", key) not in known:
                    scored = _video_metrics(histograms[key], record["seed"])
                    known["video", key] = scored
            again = _of_frames(row, [known["video", key] for key in frames])
        elif metric.endswith(DIFFERENCE) and (pairs := _pairs(row, histograms)):
            again = _of_pairs(metric, pairs, record["seed"])
        elif metric in PIXEL and pixels in histograms:
            if ("pixel", pixels) not in known:
                known["pixel", pixels] = _pixel_metrics(histograms[pixels])
            again = {"value": known["pixel", pixels][metric]}
        elif row["row"] == "all-abnormal" and (all_images := _unset(scores)):
            again = _all_abnormal(all_images)
        elif metric == CONTRAST and all(pair := _compared(row, scores.keys())):
            again = _contrast(*pair, scores)
        elif metric == FOLLOWED and all(pair := _ranked(row, scores)):
            again = _rank_correlation(*pair)
        else:
            absent.append(name(row))
            continue
        for field, value in again.items():
            if field != "n" and not _same(row[field], value):
                wrong.append(f"{name(row)} has {field} {row[field]}, now {value}")
    return wrong, absent


def _image_metrics(scores: dict[str, Any], seed: int) -> dict[str, Any]:
    from thesislib.metrics import image

    return image.evaluate(
        scores["labels"], scores["scores"], patients=scores["patients"], seed=seed
    )


def _of_classes(
    row: dict[str, Any], keys: list[Key], scores: dict[Key, Any]
) -> dict[str, Any]:
    """AUROC, or accuracy at the score 0.5, of one class of a benchmark, or the mean."""
    from thesislib.metrics import accuracy, classes

    found = [scores[key] for key in keys]
    measure = classes.apart if _apart(found) else classes.over_classes
    if records.quantity(row["metric"]) == "accuracy":
        measure = accuracy.over_classes
    of_each, mean = measure([f["labels"] for f in found], [f["scores"] for f in found])
    part = row["metric"].partition("@")[2].partition("/")[2]
    return (mean if part in ("", "mean") else of_each[0])._asdict()


def _apart(classes: list[dict[str, Any]]) -> bool:
    """Whether each class has test images of its own."""
    images = [set(one["ids"]) for one in classes]
    return len(images) > 1 and not images[0] & images[1]


def _pixel_metrics(arrays: dict[str, Any]) -> dict[str, float]:
    from thesislib.metrics.pixel import PixelHistogram

    histogram = PixelHistogram.from_arrays(arrays)
    return {name: getattr(histogram, method)().value for name, method in PIXEL.items()}


def _each_image(row: dict[str, Any]) -> Key:
    """Where the AUROCs of single images stand behind a row of Tables 6.3 and A.5."""
    part = row["metric"].partition("@")[2].partition("/")[2]
    return row["row"], records.canonical({**row["setting"], "images": part})


def _each_class(
    row: dict[str, Any], stored: dict[Key, dict[str, Any]]
) -> list[dict[str, Any]]:
    """AUROCs of single images of every class behind a mean over classes."""
    if row["metric"].partition("/")[2] not in ("", "mean"):
        return []
    found = []
    for (name, setting), arrays in stored.items():
        own = json.loads(setting)
        if own.pop("images", "") and (name, own) == (row["row"], row["setting"]):
            found.append(arrays)
    return found


def _over_classes(several: list[dict[str, Any]]) -> dict[str, Any]:
    from thesislib.metrics import per_image

    return per_image.over_classes([one["aurocs"] for one in several])[1]._asdict()


def _of_images(arrays: dict[str, Any]) -> dict[str, Any]:
    from thesislib.metrics.per_image import mean_of_images

    return mean_of_images(arrays["aurocs"])._asdict()


def _frame_keys(row: dict[str, Any], stored: dict[Key, dict[str, Any]]) -> list[Key]:
    """Where the snippet scores behind a row stand: its own, or those of its draws."""
    if row["metric"].partition("@")[0] not in VIDEO:
        return []
    own = (row["row"], records.canonical(row["setting"]))
    if "snippet_scores" in stored.get(own, ()):
        return [own]
    found = []
    for name, setting in stored:
        rest = json.loads(setting)
        if rest.pop("draw", None) is not None and (name, rest) == (
            row["row"],
            row["setting"],
        ):
            found.append((name, setting))
    return found


def _video_metrics(arrays: dict[str, Any], seed: int) -> dict[str, Any]:
    from thesislib.metrics.video import VideoScores

    return VideoScores.from_arrays(arrays).evaluate(seed)


def _of_frames(row: dict[str, Any], draws: list[dict[str, Any]]) -> dict[str, Any]:
    """A metric of the frames of one test set, or its mean over draws."""
    from thesislib.metrics.seeds import over_seeds_phantom

    metric = row["metric"].partition("@")[0]
    if "draw" in row["setting"] or len(draws) == 1:
        return draws[0][metric]._asdict()
    mean = over_seeds_phantom([one[metric].value for one in draws])
    return {"value": mean.value, "ci_low": mean.ci_low, "ci_high": mean.ci_high}


def _pairs(
    row: dict[str, Any], stored: dict[Key, dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Snippet scores of both rows of a contrast, of its test set or of each draw."""
    metric = row["metric"].removesuffix(DIFFERENCE)
    setting = {k: v for k, v in row["setting"].items() if k != "minus"}
    first, second = (
        _frame_keys({"row": name, "setting": setting, "metric": metric}, stored)
        for name in (row["row"], row["setting"].get("minus"))
    )
    if [own for _, own in first] != [own for _, own in second]:
        return []
    return [[stored[a], stored[b]] for a, b in zip(first, second, strict=True)]


def _of_pairs(
    metric: str, pairs: list[list[dict[str, Any]]], seed: int
) -> dict[str, float]:
    """A difference on one test set, or its mean over draws."""
    from thesislib.metrics.seeds import over_seeds_phantom
    from thesislib.metrics.video import VideoScores, compare

    name = metric.removesuffix(DIFFERENCE)
    # Of draws the intervals are over differences, so that no resample is asked for.
    resamples = {} if len(pairs) == 1 else {"num_bootstrap": 1}
    found = [
        compare(*map(VideoScores.from_arrays, pair), seed=seed, **resamples)[name]
        for pair in pairs
    ]
    if len(pairs) == 1:
        one = found[0]
        ends = {"ci_low": one.ci_low, "ci_high": one.ci_high}
        return {"value": one.difference, **ends}
    mean = over_seeds_phantom([one.difference for one in found])
    return {"value": mean.value, "ci_low": mean.ci_low, "ci_high": mean.ci_high}


def _unset(scores: dict[Key, Any]) -> dict[str, Any] | None:
    """Scores of some row without a setting, so of all test images."""
    return next((one for key, one in scores.items() if key[1] == "{}"), None)


def _all_abnormal(scores: dict[str, Any]) -> dict[str, float]:
    from thesislib.metrics import image

    return {"value": image.f1_all_abnormal(scores["labels"])}


def _compared(row: dict[str, Any], stored: Collection[Key]) -> list[list[Key]]:
    """The scores behind both AUROCs of a contrast, class by class in a benchmark."""
    setting = {k: v for k, v in row["setting"].items() if k != "minus"}
    metric = row["metric"].replace(CONTRAST, "auc")

    def scores(key: str | None, setting: dict[str, Any]) -> list[Key]:
        about = {"row": key, "setting": setting, "metric": metric}
        return records.behind(about, stored)

    minus = row["setting"].get("minus")
    # A floor starts from nothing, so its scores may have no setting.
    return [scores(row["row"], setting), scores(minus, setting) or scores(minus, {})]


def _contrast(
    first: list[Key], second: list[Key], scores: dict[Key, Any]
) -> dict[str, float]:
    from thesislib.metrics import classes, delong

    mine, other = ([scores[key] for key in keys] for keys in (first, second))
    if "class" in json.loads(first[0][1]):
        contrast = classes.compare(
            [one["labels"] for one in mine],
            [one["scores"] for one in mine],
            [one["scores"] for one in other],
            shared=not _apart(mine),
        )[1]
    else:
        contrast = delong.compare(
            mine[0]["labels"],
            mine[0]["scores"],
            other[0]["scores"],
            mine[0]["patients"],
        )
    return {
        "value": contrast.difference,
        "ci_low": contrast.ci_low,
        "ci_high": contrast.ci_high,
    }


def _ranked(row: dict[str, Any], scores: dict[Key, Any]) -> list[dict[str, Any]]:
    """Scores of a row and of the floor that it follows."""
    setting = dict(row["setting"])
    floor = (setting.pop("floor"), "{}")
    own = (row["row"], records.canonical(setting))
    return [scores.get(key, {}) for key in (own, floor)]


def _rank_correlation(
    own: dict[str, Any], floor: dict[str, Any]
) -> dict[str, float | None]:
    from thesislib.metrics.ranks import rank_correlation

    normal = own["labels"] == 0
    found = rank_correlation(own["scores"][normal], floor["scores"][normal])
    return found._asdict() if found else {"value": math.nan}


def _same(recorded: float | None, now: float) -> bool:
    if recorded is None or now is None:
        return recorded is None
    return abs(recorded - now) <= TOLERANCE


def name(row: dict[str, Any]) -> str:
    """A row as a reader finds it: table, row key, setting, metric."""
    table = f"table {row['table']} " if row["table"] else ""
    setting = f" {records.canonical(row['setting'])}" if row["setting"] else ""
    return f"{table}{row['row']}{setting} {row['metric']}"
