"""Designs: runs that differ in the seed alone, and their numbers over seeds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from thesislib import paper, sources
from thesislib.report import intervals, text
from thesislib.report.implemented import Address, address
from thesislib.report.records import Run
from thesislib.runs import recorded
from thesislib.runs.record import quantity

MIN_SEEDS = {"real": 3, "phantom": 5}
CLASSES = {"mnist": 10, "fmnist": 10, "cifar10": 10, "mvtec": 15}  # one-class problems
OVER_ERRORS = "t over seeds and DeLong errors within runs, in quadrature"
Stated = list[tuple[Run, dict[str, Any]]]  # one run and its row a seed


@dataclass(frozen=True, kw_only=True)
class Result:
    """Our number for one quantity under one design, over its seeds."""

    value: float
    std: float | None  # over seeds, ddof 1; None for one seed
    ci_low: float | None
    ci_high: float | None
    interval: str  # how the interval came about, for readers
    seeds: tuple[int, ...]
    values: tuple[float, ...]  # one a seed, in the order of `seeds`
    num_images: int | None  # test images of the first run
    chapter: str
    dataset: str
    source: str  # "real" or "phantom"
    partial: bool
    preset: str
    reading: str
    settings: str  # "thesis" or "ours"
    classes: str  # "3 of 10 classes" where a mean leaves some out, else ""
    part: str  # of the chapter, "robustness"; "" for its main part
    recorded: bool
    finished: str
    how: str  # data, preset, part, reading, in words
    runs: tuple[str, ...]  # where they were found
    seals: tuple[str, ...]  # of their records

    @property
    def reasons(self) -> list[str]:
        """Why this result carries no verdict; empty if it does."""
        reasons = []
        if self.source == "phantom":
            reasons.append("phantom")
        if self.partial:
            reasons.append("partial data")
        if self.settings != "thesis":
            reasons.append(f"own protocol ({self.preset})")
        if self.classes:
            reasons.append(self.classes)
        count, needed = len(self.seeds), MIN_SEEDS[self.source]
        if count < needed:
            reasons.append(f"{count} seed{'s' * (count > 1)} of {needed}")
        return reasons

    @property
    def mark(self) -> str:
        """What must stand beside the number wherever it is shown."""
        words = [r for r in self.reasons if r in ("phantom", "partial data")]
        words += [self.classes] if self.classes else []
        return ", ".join(words + ([f"part {self.part}"] if self.part else []))


PRESETS = {"paper": 0, "standard": 1}  # all others after them


def reading_rank(reading: str) -> int:
    """Which reading of a chapter counts first: its default, the text, the program."""
    return {"thesis": 1, "code": 2}.get(reading, 0)


def designs(runs: Iterable[Run]) -> list["Design"]:
    """Sibling runs together, the strongest evidence first (see `Design.order`).

    Of two runs of one seed the newer counts. A run of this checkout counts before a
    recorded one, because its scores are here.
    """
    found: dict[str, dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (not run.recorded, run.finished)):
        found.setdefault(run.design, {})[run.seed] = run
    made = [Design([seeds[s] for s in sorted(seeds)]) for seeds in found.values()]
    return sorted(made, key=Design.order)


class Design:
    """Runs that differ in the seed alone, their rows by address.

    Attributes:
        rows: What the runs state: printed address, or JSON of (row, setting,
            metric, dataset) for rows without a published counterpart.
        problems: Rows that their table does not have, and sources that changed
            between the runs, in words. A row of the table with a metric that is not
            printed (AP in Table 5.1) is no problem, just ours alone.
    """

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self.rows: dict[Address | str, Stated] = {}
        self.problems: list[str] = []
        for run in runs:
            rows = {self._key(run, row): row for row in run.record["rows"]}
            for key, row in rows.items():  # each once a run, the last that it states
                self.rows.setdefault(key, []).append((run, row))
        if changed := _changed_between(runs):
            where = ", ".join(run.where for run in runs)
            self.problems.append(
                f"{where}: pooled over seeds, though {', '.join(changed)} changed "
                "between the runs"
            )

    @property
    def chapter(self) -> str:
        return self.runs[0].chapter

    @property
    def dataset(self) -> str:
        return self.runs[0].dataset

    @property
    def part(self) -> str:
        """Part of the chapter that was run, "" for its main part or all of it."""
        part = str(self.runs[0].resolved.get("part", "main"))
        return "" if part in ("main", "all") else part

    @property
    def few_classes(self) -> str:
        """How many of a benchmark's classes it took, "3 of 10 classes", if not all."""
        return _few_classes(self.runs[0])

    @property
    def data(self) -> str:
        return text.data(self.dataset, self.runs[0].resolved.get("data_root", ""))

    @property
    def how(self) -> str:
        """`Fashion-MNIST, real data, preset standard, reading steady`."""
        first, start = self.runs[0], self.runs[0].resolved.get("start", "scratch")
        what = "a phantom" if first.source == "phantom" else "real data"
        words = [self.data, what]
        words += [
            word for word in (first.partial and "partial", self.few_classes) if word
        ]
        words.append(f"preset {first.preset}")
        words += [f"part {self.part}"] if self.part else []
        words += [f"start {start}"] if start != "scratch" else []
        words.append(f"reading {first.reading}")
        changed = ", ".join(f"{k} {v}" for k, v in first.overrides.items())
        return ", ".join(words) + (f", but {changed}" if changed else "")

    @property
    def name(self) -> str:
        """`how`, and the seeds."""
        seeds = [str(run.seed) for run in self.runs]
        return f"{self.how}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"

    def order(self) -> tuple:
        """Sort key, the strongest evidence first: the one choice of all pages.

        Real before phantom, whole before part of the data or of the classes, the
        thesis's settings, then the larger preset, the reading, seeds, the newest.
        """
        first = self.runs[0]
        newest = max(run.finished for run in self.runs)
        return (
            first.source == "phantom",
            first.partial or bool(self.few_classes),
            bool(first.overrides),
            PRESETS.get(first.preset, len(PRESETS)),
            reading_rank(first.reading),
            bool(self.part),
            -len(self.runs),
            [-ord(character) for character in newest],
        )

    def _key(self, run: Run, row: dict[str, Any]) -> Address | str:
        if row["table"] is not None:
            found = address(row["table"], row["row"], row["setting"], row["metric"])
            if found is not None:
                return found
            if paper.find_row(row["table"], row["row"], row["setting"]) is None:
                self.problems.append(
                    f"{run.where}: Table {row['table']} has no row {row['row']} with "
                    f"the setting {json.dumps(row['setting'])}"
                )
        return own_key(row["row"], row["setting"], row["metric"], row["dataset"])

    def unpublished(self) -> list[tuple[dict[str, Any], Result]]:
        """Rows of ours that no publication has, each with its result."""
        keys = [key for key in self.rows if isinstance(key, str)]
        return [(self.rows[key][0][1], self.result(key)) for key in keys]

    def result(self, key: Address | str, of_spread: bool = False) -> Result | None:
        """Our number over the seeds.

        Args:
            key: A key of `rows`.
            of_spread: The standard deviation over seeds instead of the mean, with
                its chi-square interval; None for fewer than two seeds.
        """
        stated = self.rows[key]
        values = [float(row["value"]) for _, row in stated]
        std = stdev(values) if len(values) > 1 else None
        if not of_spread:
            return self._result(stated, values, std, *_interval(stated, values))
        if std is None:
            return None
        interval = intervals.spread(values)
        return self._result(
            stated, values, None, std, interval, "chi-square over seeds"
        )

    def difference(self, key: Address | str, minus: Address | str) -> Result | None:
        """One row minus another, paired by seed; None without common seeds."""
        return self.contrast([key], [minus])

    def contrast(
        self, plus: Sequence[Address | str], minus: Sequence[Address | str]
    ) -> Result | None:
        """Some rows minus others, paired by seed; None without common seeds.

        `contrast([a, d], [b, c])` is (a - b) - (c - d), how much more a falls to b
        than c falls to d.
        """
        keys = (*plus, *minus)
        seeds = [{run.seed for run, _ in self.rows[key]} for key in keys]
        if not (common := set.intersection(*seeds)):
            return None
        terms = [
            [pair for pair in self.rows[key] if pair[0].seed in common] for key in keys
        ]
        signs = [1] * len(plus) + [-1] * len(minus)
        values = [
            sum(sign * float(row["value"]) for sign, (_, row) in _signed(signs, pairs))
            for pairs in zip(*terms, strict=True)
        ]
        std = stdev(values) if len(values) > 1 else None
        kind = "Student's t over seeds"
        found = (fmean(values), intervals.student(values), kind)
        if self.runs[0].source != "phantom":
            found = _contrast(terms, signs, values) or found
        return self._result(terms[0], values, std, *found)

    def _result(
        self,
        stated: Stated,
        values: list[float],
        std: float | None,
        value: float,
        interval: intervals.Interval | None,
        kind: str,
    ) -> Result:
        low, high = interval or (None, None)
        runs = [run for run, _ in stated]
        first = runs[0]
        thesis = first.preset == "paper" and not first.overrides
        return Result(
            value=value,
            std=std,
            ci_low=low,
            ci_high=high,
            interval=kind,
            seeds=tuple(run.seed for run in runs),
            values=tuple(values),
            num_images=stated[0][1].get("n"),
            chapter=first.chapter,
            dataset=first.dataset,
            source=first.source,
            partial=first.partial,
            preset=first.preset,
            reading=first.reading,
            settings="thesis" if thesis else "ours",
            classes=self.few_classes if _is_mean(stated[0][1]["metric"]) else "",
            part=self.part,
            recorded=any(run.recorded for run in runs),
            finished=max(run.finished for run in runs),
            how=self.how,
            runs=tuple(run.where for run in runs),
            seals=tuple(run.record["seal"] for run in runs),
        )


def _few_classes(run: Run) -> str:
    """How many classes of a benchmark a run took, if not all.

    A preset can take some of them too, so the classes that have rows count; a record
    may lack their rows, then what was asked for does.
    """
    stated = {row["metric"].partition("/")[2] for row in run.record["rows"]}
    stated -= {"", "mean"}
    taken = max(len(stated), len(run.resolved.get("classes") or ()))
    number = CLASSES.get(run.dataset, 0)
    return f"{taken} of {number} classes" if 0 < taken < number else ""


def _is_mean(metric: str) -> bool:
    return metric.partition("@")[2].partition("/")[2] in ("", "mean")


def _changed_between(runs: list[Run]) -> list[str]:
    """Modules that can change a result and did change from one run to another."""
    hashes: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.record["modules"].items():
            if not sources.beside(name, sources.BESIDE_NUMBERS):
                hashes.setdefault(name, set()).add(value[: recorded.DIGITS])
    return sorted(name for name, found in hashes.items() if len(found) > 1)


def own_key(row: str, setting: dict[str, Any], metric: str, dataset: str) -> str:
    """Key in `Design.rows` of a row without a published counterpart."""
    return json.dumps((row, setting, metric, dataset), sort_keys=True)


def _is_auroc(stated: Stated) -> bool:
    return quantity(stated[0][1]["metric"]) == "auc"


def _interval(
    stated: Stated, values: list[float]
) -> tuple[float, intervals.Interval | None, str]:
    """Mean over seeds, its interval and how that came about."""
    within = [
        (row["ci_low"], row["ci_high"])
        for _, row in stated
        if row["ci_low"] is not None
    ]
    mean = fmean(values)
    if len(stated) == 1:
        return mean, within[0] if within else None, "within the run"
    if stated[0][0].source == "phantom":
        return mean, intervals.student(values), "Student's t over seeds"
    if _is_auroc(stated):
        if found := _on_shared_images([stated], [1]):
            return found
        errors = [run.error(row) for run, row in stated]
        if None not in errors:
            return *intervals.seeds_and_errors(values, errors), OVER_ERRORS
    kind = "t over seeds and intervals within runs, in quadrature"
    return mean, intervals.seeds_and_images(values, within), kind


def _signed(signs: list[int], pairs: Iterable) -> Iterable[tuple[int, Any]]:
    return zip(signs, pairs, strict=True)


def _contrast(
    terms: list[Stated], signs: list[int], values: list[float]
) -> tuple[float, intervals.Interval | None, str] | None:
    """Interval of a signed sum of rows on real data, seeds and images counted.

    Where the rows cannot be compared image by image, their images' shares are added
    in full, the worst case for any correlation between them. None if a run states no
    interval.
    """
    by_seed = list(zip(*terms, strict=True))  # per seed one (run, row) a term
    if all(_is_auroc(stated) for stated in terms):
        if found := _on_shared_images(terms, signs):
            return found
        errors = [_error(pairs) for pairs in by_seed]
        if None not in errors:
            return *intervals.seeds_and_errors(values, errors), OVER_ERRORS
    within = []
    for pairs in by_seed:
        ends = [(row["ci_low"], row["ci_high"]) for _, row in pairs]
        if any(None in pair for pair in ends):
            return None
        low = sum(s * (e[0] if s > 0 else e[1]) for s, e in _signed(signs, ends))
        high = sum(s * (e[1] if s > 0 else e[0]) for s, e in _signed(signs, ends))
        within.append((low, high))
    kind = "t over seeds and all intervals within runs, in quadrature"
    return fmean(values), intervals.seeds_and_images(values, within), kind


def _error(pairs: Sequence[tuple[Run, dict[str, Any]]]) -> float | None:
    """Standard error of a signed sum of rows of one run whose scores are gone.

    Taken from the run's own DeLong contrast if it states just that one, else at most
    the sum of all errors.
    """
    (run, row), *rest = pairs
    if len(rest) == 1 and not row["setting"] and not rest[0][1]["setting"]:
        wanted = (row["row"], {"minus": rest[0][1]["row"]}, "auc difference")
        for one in run.record["rows"]:
            if (one["row"], one["setting"], one["metric"]) == wanted:
                return (one["ci_high"] - one["ci_low"]) / (2 * intervals.NORMAL)
    errors = [run.error(row) for run, row in pairs]
    return None if None in errors else sum(errors)


def _on_shared_images(
    terms: list[Stated], signs: list[int]
) -> tuple[float, intervals.Interval, str] | None:
    """Mean of a signed sum of AUROCs, with its interval over seeds and images.

    None unless the scores of all are at hand. Seeds, and the terms of the sum, may
    have test sets that only overlap, as when contaminating images leave them.
    """
    values, shares = [], []
    for pairs in zip(*terms, strict=True):
        found = [run.influence(row) for run, row in pairs]
        if None in found:
            return None
        values.append(sum(s * one.value for s, one in _signed(signs, found)))
        total: intervals.Influences = {}
        for sign, one in _signed(signs, found):
            for name, share in one.shares.items():
                total[name] = total.get(name, 0.0) + sign * share
        shares.append(total)
    covariance = [[intervals.dot(a, b) for b in shares] for a in shares]
    mean, interval = intervals.crossed(values, covariance)
    kind = "Obuchowski-Rockette over seeds and images"
    return mean, interval, kind if len(values) > 1 else "DeLong within the run"
