"""Claims of chapter 6 that IGD's and its baselines' rows can settle.

The thesis's ablations and robustness tests are on CIFAR-10 and MVTec AD, from
ImageNet weights. Where rows of that kind are at hand for another benchmark or another
start only, they are judged by the same sizes and stay indicative, with that as the
reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from thesislib import paper
from thesislib.paper import Cell
from thesislib.report import text
from thesislib.report.claims import (
    DIRECTION,
    FAILS,
    HOLDS,
    UNDECIDED,
    Finding,
    View,
    cell,
    claim,
    gain_state,
    together,
    values,
)
from thesislib.report.designs import Design, Result
from thesislib.report.ledger import delta

IGD, DSVDD, DSVDD_REC = "igd", "dsvdd", "dsvdd-rec"
PRINTED = ("cifar10", "mvtec")  # datasets of Tables 6.5 to 6.7, all from ImageNet
START = "imagenet"
TOLERANCE = 0.01  # the ledger's, of Tables 6.5 to 6.7
SMALL, WHOLE = 0.2, 1.0  # fractions of the training set, Table 6.6
RATES = (0.01, 0.05, 0.1)  # of contamination, Table 6.7
MSE, REC, GAC, INTER = (
    ["mse"],
    ["rec"],
    ["rec", "gac"],
    ["rec", "gac", "inter"],
)  # rows of Table 6.5
BESIDE = {"pretrain", "backbone"}  # of a setting, do not tell rows of a run apart

Part = tuple[str, Result, str]  # state, result, the numbers in words


@dataclass(frozen=True)
class Study:
    """One design, and its rows found by what the claims say of them."""

    design: Design

    @property
    def dataset(self) -> str:
        return self.design.dataset

    @property
    def start(self) -> str:
        """What the encoders start from, as the run's parameter says."""
        return str(self.design.runs[0].resolved.get("start", START))

    @property
    def note(self) -> str:
        """In what the study is not the thesis's; "" if it is."""
        if self.dataset in PRINTED and self.start == START:
            return ""
        name = text.DATASETS.get(self.dataset, self.dataset)
        return f"on {name} from {self.start}, not CIFAR-10 or MVTec AD from {START}"

    def key(self, row: str, metric: str, **setting: Any) -> Any:
        """Key of the mean over classes of a row; None if there is none."""
        names = (metric, f"{metric}@{self.dataset}", f"{metric}@{self.dataset}/mean")
        for key, stated in self.design.rows.items():
            found = stated[0][1]
            own = {k: v for k, v in found["setting"].items() if k not in BESIDE}
            if found["row"] == row and found["metric"] in names and own == setting:
                return key
        return None

    def keys(self, row: str, metric: str, name: str, steps: tuple) -> list[Any]:
        """Keys of a row at several values of one setting; [] unless all are there."""
        found = [self.key(row, metric, **{name: step}) for step in steps]
        return [] if None in found else found


def _studied(view: View, judge: Callable[[Study], list[Part] | None]) -> Finding | None:
    """Judge the thesis's own datasets where their rows are there, else any other."""
    studies = [Study(d) for d in view.designs if d.chapter == "06_igd"]
    judged = [(one, parts) for one in studies if (parts := judge(one))]
    own = [pair for pair in judged if not pair[0].note]
    seen: dict[str, tuple[Study, list[Part]]] = {}  # one design a dataset
    for study, parts in own or judged[:1]:
        seen.setdefault(study.dataset, (study, parts))
    found = [part for _, parts in seen.values() for part in parts]
    finding = together([(s, r) for s, r, _ in found], [words for *_, words in found])
    notes = tuple(s.note for s, _ in seen.values() if s.note)
    return replace(finding, notes=notes) if finding else None


def _words(study: Study, what: str, result: Result, claimed: str) -> str:
    name = text.DATASETS.get(study.dataset, study.dataset)
    return f"{what} on {name}: {text.signed(result)} (claimed {claimed})"


# --- components, Table 6.5 ----------------------------------------------------------


def _steps(
    study: Study, *steps: tuple[str, list, list, str, float]
) -> list[Part] | None:
    parts = []
    for name, more, fewer, metric, size in steps:
        a = study.key(IGD, metric, components=more)
        b = study.key(IGD, metric, components=fewer)
        result = study.design.difference(a, b) if a and b else None
        if result is None:
            return None
        words = _words(
            study, f"{text.metric(metric)}, {name} added", result, f"{size:+}"
        )
        parts.append((gain_state(result, size, TOLERANCE), result, words))
    return parts


@claim("C6-05")
def each_component_adds(view: View) -> Finding | None:
    steps = [
        ("REC instead of MSE", REC, MSE, "auc_full", 0.116),
        ("GAC", GAC, REC, "auc_full", 0.088),
        ("INTER", INTER, GAC, "auc_full", 0.017),
    ]
    return _studied(view, lambda study: _steps(study, *steps))


@claim("C6-06")
def classifier_adds_on_hard_sets(view: View) -> Finding | None:
    steps = [
        ("GAC", GAC, REC, "auc_small20", 0.13),
        ("GAC", GAC, REC, "auc_contaminated10", 0.104),
    ]
    return _studied(view, lambda study: _steps(study, *steps))


@claim("C6-07")
def interpolation_adds_on_hard_sets(view: View) -> Finding | None:
    steps = [
        ("INTER", INTER, GAC, "auc_small20", 0.037),
        ("INTER", INTER, GAC, "auc_contaminated10", 0.031),
    ]
    return _studied(view, lambda study: _steps(study, *steps))


# --- small and contaminated training sets, Tables 6.6 and 6.7, Figure 6.1 -----------


@claim("C6-08")
def small_sets(view: View) -> Finding | None:
    """IGD's fall is at most the printed one + delta, the others' is larger than its.

    Printed from 100 % to 20 %: 1.46 points on CIFAR-10, 2.17 on MVTec AD.
    """
    return None if view.phantom else _studied(view, _small_sets)


def _small_sets(study: Study) -> list[Part] | None:
    if not (igd := study.keys(IGD, "auc", "train_fraction", (WHOLE, SMALL))):
        return None
    fall = study.design.difference(*igd)
    most = (0.0217 if study.dataset == "mvtec" else 0.0146) + TOLERANCE
    if fall is None:
        return None
    words = _words(study, "IGD falls by", fall, f"comparable: at most {most:.3f}")
    parts = [(_at_most(fall, most), fall, words)]
    for name, row in (("DSVDD", DSVDD), ("DSVDD + REC", DSVDD_REC)):
        other = study.keys(row, "auc", "train_fraction", (WHOLE, SMALL))
        if not other:
            continue
        more = study.design.contrast([other[0], igd[1]], [other[1], igd[0]])
        if more is not None:
            words = _words(study, f"{name} falls by more than IGD", more, "more")
            parts.append((gain_state(more, None, TOLERANCE), more, words))
    return parts if len(parts) > 1 else None


@claim("C6-09")
def contaminated_sets(view: View) -> Finding | None:
    """Between any two rates IGD moves by at most 1.3 points (MVTec AD: 0.44), taken
    literally; DSVDD falls by 7.8 (3.5) from the lowest to the highest."""
    return None if view.phantom else _studied(view, _contaminated_sets)


def _contaminated_sets(study: Study) -> list[Part] | None:
    most, size = (0.0044, 0.035) if study.dataset == "mvtec" else (0.013, 0.078)
    igd = study.keys(IGD, "auc", "contamination", RATES)
    dsvdd = study.keys(DSVDD, "auc", "contamination", RATES)
    if not (igd and dsvdd):
        return None
    pairs = zip(combinations(RATES, 2), combinations(igd, 2), strict=True)
    parts = []
    for (low, high), (a, b) in pairs:
        if (move := study.design.difference(a, b)) is None:
            return None
        what = f"IGD falls from {low:.0%} to {high:.0%} by"
        words = _words(study, what, move, f"at most {most} either way")
        parts.append((_within(move, most), move, words))
    fall = study.design.difference(dsvdd[0], dsvdd[-1])
    if fall is None:
        return None
    words = _words(study, "DSVDD falls from 1% to 10% by", fall, f"{size:+}")
    return [*parts, (gain_state(fall, size, TOLERANCE), fall, words)]


def _at_most(result: Result, most: float) -> str:
    if result.ci_low is None:
        return UNDECIDED
    if result.ci_high <= most:
        return HOLDS
    return FAILS if result.ci_low > most else UNDECIDED


def _within(result: Result, most: float) -> str:
    """Whether a move is at most `most` in either direction."""
    if result.ci_low is None:
        return UNDECIDED
    if -most <= result.ci_low and result.ci_high <= most:
        return HOLDS
    return FAILS if result.ci_low > most or result.ci_high < -most else UNDECIDED


def _at_least(result: Result, size: float, _: float) -> str:
    if result.ci_low is None or not result.ci_low > 0:
        fails = result.ci_high is not None and result.ci_high <= 0
        return FAILS if fails else UNDECIDED
    return HOLDS if result.ci_low >= size else DIRECTION


# --- beside the printed numbers of methods that are not built here -------------------

Judge = Callable[[Result, float, float], str]


def _over_print(
    view: View, *pairs: tuple[Cell, Cell, float], judge: Judge = gain_state
) -> Finding | None:
    """Our IGD minus a printed number of another method, on whatever is at hand."""
    parts, details = [], []
    for mine, other, size in pairs:
        if (result := view.value(mine)) is None:
            continue
        gain = _minus(result, other.value)
        parts.append((judge(gain, size, delta(mine)), gain))
        details.append(
            f"{text.metric(mine.metric)} on {text.DATASETS[mine.dataset]}: "
            f"{mine.method} minus {other.method} as printed {text.signed(gain)} "
            f"(claimed {size:+.3f})"
        )
    return together(parts, details)


def _minus(result: Result, printed: float) -> Result:
    """A result less a printed number, which is taken as exact."""
    low, high = result.ci_low, result.ci_high
    return replace(
        result,
        value=result.value - printed,
        ci_low=None if low is None else low - printed,
        ci_high=None if high is None else high - printed,
        values=tuple(value - printed for value in result.values),
    )


def _blocks() -> Iterator[tuple[Cell, Cell]]:
    """IGD's cells of Table 6.1, each with the best other method of its block."""
    cells = list(paper.cells("6.1"))
    for mine in cells:
        if mine.row == IGD:
            block = [
                one
                for one in cells
                if one.row != IGD
                and one.metric == mine.metric
                and one.setting == mine.setting
            ]
            if block:
                yield mine, max(block, key=lambda one: one.value)


@claim("C6-01", part="IGD against the other methods' printed numbers")
def better_for_most_starts(view: View) -> Finding | None:
    """Most of the blocks of Table 6.1 at hand: above the best other method."""
    parts, details = [], []
    for mine, other in _blocks():
        if (result := view.value(mine)) is None:
            continue
        gain = _minus(result, other.value)
        parts.append((gain_state(gain, None, delta(mine)), gain))
        details.append(
            f"{text.DATASETS[mine.dataset]} from {mine.setting['pretrain']}: "
            f"{text.signed(gain)} over {other.method}"
        )
    if not parts:
        return None
    states = [state for state, _ in parts]
    if 2 * states.count(HOLDS) > len(states):
        state = HOLDS
    elif 2 * states.count(FAILS) >= len(states):
        state = FAILS
    else:
        state = UNDECIDED
    return Finding(state, "; ".join(details), tuple(result for _, result in parts))


def _igd(table: str, metric: str, start: str) -> Cell:
    return cell(table, IGD, metric, pretrain=start)


@claim("C6-02", part="IGD against the other methods' printed numbers")
def industrial_detection(view: View) -> Finding | None:
    best = {
        "accuracy": cell("6.2", "cavga-ru", "accuracy"),
        "auc": cell("6.2", "dagan", "auc"),
    }
    sizes = {"accuracy": 0.02, "auc": 0.05}
    return _over_print(
        view,
        *(
            (_igd("6.2", metric, start), best[metric], size)
            for metric, size in sizes.items()
            for start in ("imagenet", "ssl")
        ),
        judge=_at_least,
    )


@claim("C6-03", part="IGD against CAVGA's printed number")
def industrial_localisation(view: View) -> Finding | None:
    other = cell("6.3", "cavga-ru", "pixel_auc")
    sizes = {"imagenet": 0.02, "ssl": 0.04}
    return _over_print(
        view, *((_igd("6.3", "pixel_auc", s), other, size) for s, size in sizes.items())
    )


@claim("C6-04", part="IGD against CAVGA's printed numbers")
def medical_detection(view: View) -> Finding | None:
    """At least 0.9 points, whatever the dataset and the start."""
    return _over_print(
        view,
        *(
            (_igd("6.4", metric, start), cell("6.4", "cavga-ru", metric), 0.009)
            for metric in ("auc@hyperkvasir", "auc@lag")
            for start in ("imagenet", "ssl")
        ),
        judge=_at_least,
    )


@claim("C6-12", part="IGD's own number")
def industrial_auc(view: View) -> Finding | None:
    return values(view, _igd("6.2", "auc", "ssl"))


@claim("C6-13", part="IGD's own number")
def industrial_pixel_auc(view: View) -> Finding | None:
    return values(view, _igd("6.3", "pixel_auc", "ssl"))


@claim("C6-14", part="IGD's own number")
def polyps(view: View) -> Finding | None:
    return values(view, _igd("6.4", "auc@hyperkvasir", "ssl"))


@claim("C6-17", part="IGD against CAVGA's printed numbers")
def industrial_accuracy(view: View) -> Finding | None:
    sizes = {"imagenet": (0.06, 0.02), "ssl": (0.07, 0.03)}
    others = [cell("6.2", row, "accuracy") for row in ("cavga-du", "cavga-ru")]
    return _over_print(
        view,
        *(
            (_igd("6.2", "accuracy", start), other, size)
            for start, found in sizes.items()
            for other, size in zip(others, found, strict=True)
        ),
    )


@claim("C6-21", part="IGD from SSL against Student-Teacher's printed number")
def natural_images(view: View) -> Finding | None:
    other = cell("6.1", "student-teacher", "auc@cifar10")
    return _over_print(view, (_igd("6.1", "auc@cifar10", "ssl"), other, 0.1))
