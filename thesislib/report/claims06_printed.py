"""Claims of chapter 6 that lay IGD beside printed numbers of other methods.

Those methods are not built here. Their numbers are taken as exact, so the intervals
are ours alone, and phantoms say nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

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
    merged,
    together,
    values,
)
from thesislib.report.designs import Result
from thesislib.report.ledger import delta

IGD = "igd"
CLASSES = 15  # of MVTec AD
STARTS = ("imagenet", "ssl")

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
            f"{text.metric(mine.quantity)} on {text.DATASETS[mine.dataset]}: "
            f"{mine.method} minus {other.method} as printed {text.signed(gain)} "
            f"(claimed {size:+.3f})"
        )
    return together(parts, details)


def _at_least(result: Result, size: float, _: float) -> str:
    if result.ci_low is None or not result.ci_low > 0:
        fails = result.ci_high is not None and result.ci_high <= 0
        return FAILS if fails else UNDECIDED
    return HOLDS if result.ci_low >= size else DIRECTION


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


@claim("C6-18", part="IGD against the other methods' printed numbers")
def best_accuracies(view: View) -> Finding | None:
    return _best_classes(view, "accuracy", ("imagenet",), 10)


@claim("C6-19", part="IGD against the other methods' printed numbers")
def best_aurocs(view: View) -> Finding | None:
    """At least 5.3 points on the mean; best in eleven classes, from either start."""
    best = _best_other("auc", "mean")
    pairs = ((_by_class("auc", "mean", start), best, 0.053) for start in STARTS)
    return merged(
        view,
        _over_print(view, *pairs, judge=_at_least),
        _best_classes(view, "auc", STARTS, 11),
    )


@claim("C6-20", part="IGD against the other methods' printed numbers")
def above_recent_methods(view: View) -> Finding | None:
    """More than 7 points, whatever the start."""
    return _over_print(
        view,
        *(
            (
                _by_class("accuracy", "mean", start),
                cell("A.1", other, "accuracy@mvtec/mean"),
                0.07,
            )
            for start in STARTS
            for other in ("lsa", "lambda-vae-u")
        ),
        judge=_at_least,
    )


def _by_class(quantity: str, part: str, start: str) -> Cell:
    return _igd("A.1", f"{quantity}@mvtec/{part}", start)


def _best_other(quantity: str, part: str) -> Cell:
    """The best printed number of another method in a column of Table A.1."""
    found = [
        one
        for one in paper.cells("A.1")
        if one.row != IGD and (one.quantity, one.part) == (quantity, part)
    ]
    return max(found, key=lambda one: one.value)


def _best_classes(
    view: View, quantity: str, starts: tuple[str, ...], claimed: int
) -> Finding | None:
    """In how many classes of Table A.1 IGD is best or shares the first place.

    A class is won if our interval lies at or above every other method's printed
    number, lost if it lies below the best of them; one start that wins is enough. The
    claim is read as *in so many or more*. Only where all 15 classes are at hand.
    """
    parts = [
        one.part
        for one in paper.cells("A.1")
        if one.quantity == quantity and one.row == IGD and one.part != "mean"
    ]
    results, states, by_value = [], [], 0
    for part in dict.fromkeys(parts):
        best = _best_other(quantity, part).value
        found = [view.value(_by_class(quantity, part, start)) for start in starts]
        gains = [_minus(result, best) for result in found if result is not None]
        if not gains:
            return None
        results += gains
        states.append(_won(gains))
        by_value += any(gain.value >= 0 for gain in gains)
    won, lost = states.count(HOLDS), states.count(FAILS)
    state = HOLDS if won >= claimed else UNDECIDED
    if CLASSES - lost < claimed:
        state = FAILS
    detail = (
        f"best {text.metric(quantity)} in {by_value} of {CLASSES} classes by value, "
        f"{won} for certain, {CLASSES - lost} at most (claimed {claimed})"
    )
    return Finding(state, detail, tuple(results))


def _won(gains: list[Result]) -> str:
    """Whether IGD is best in a class, from the starts at hand."""
    if any(gain.ci_low is not None and gain.ci_low >= 0 for gain in gains):
        return HOLDS
    behind = [gain.ci_high is not None and gain.ci_high < 0 for gain in gains]
    return FAILS if all(behind) else UNDECIDED


@claim("C6-21", part="IGD from SSL against Student-Teacher's printed number")
def natural_images(view: View) -> Finding | None:
    other = cell("6.1", "student-teacher", "auc@cifar10")
    return _over_print(view, (_igd("6.1", "auc@cifar10", "ssl"), other, 0.1))
