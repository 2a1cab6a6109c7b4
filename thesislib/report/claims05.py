"""Claims of chapter 5 that its own rows can settle."""

from dataclasses import replace

from thesislib.report import text
from thesislib.report.claims import (
    FAILS,
    HOLDS,
    IGD,
    PADIM,
    PMSACL,
    PMSACL_IGD,
    SIMCLR,
    UNDECIDED,
    Finding,
    View,
    cell,
    claim,
    gains,
    merged,
    values,
)
from thesislib.report.designs import Result

STRONG = ("medmix", "rotation", "permutation", "cutout", "gaussian-noise", "cutmix")
ONE_TERM = ["l_pmsacl"]
WITH_CTR = [*ONE_TERM, "l_ctr"]
WITH_KAPPA = [*WITH_CTR, "kappa"]
ALL_TERMS = [*WITH_KAPPA, "l_aug", "l_pos"]


OVER = {PMSACL: PADIM, PMSACL_IGD: IGD}  # a detector on PMSACL -> on ImageNet


def _over_imagenet(view: View, table: str, row: str, **sizes: float) -> Finding | None:
    """Gains of a detector on PMSACL over the same one on ImageNet, in one table."""
    return gains(
        view,
        *(
            (cell(table, row, metric), cell(table, OVER[row], metric), size)
            for metric, size in sizes.items()
        ),
    )


def _values(view: View, table: str, row: str, *metrics: str) -> Finding | None:
    return values(view, *(cell(table, row, metric) for metric in metrics))


AT_THRESHOLD = ("specificity", "sensitivity", "accuracy")


@claim("C5-01", "CM-04")
def hyperkvasir_gain(view: View) -> Finding | None:
    return merged(
        view,
        _over_imagenet(view, "5.1", PMSACL, auc=0.05),
        _over_imagenet(view, "5.1", PMSACL_IGD, auc=0.06),
        _values(view, "5.1", PMSACL, "auc"),
        _values(view, "5.1", PMSACL_IGD, "auc"),
    )


@claim("C5-04")
def hyperkvasir_at_the_threshold(view: View) -> Finding | None:
    return _values(view, "5.1", PMSACL, *AT_THRESHOLD)


@claim("C5-06")
def hyperkvasir_gain_at_the_threshold(view: View) -> Finding | None:
    return _over_imagenet(
        view, "5.1", PMSACL, specificity=0.12, sensitivity=0.052, accuracy=0.085
    )


@claim("C5-07")
def lag_gain(view: View) -> Finding | None:
    return merged(
        view,
        _over_imagenet(view, "5.2", PMSACL, auc=0.073),
        _over_imagenet(view, "5.2", PMSACL_IGD, auc=0.112),
    )


@claim("C5-08")
def lag_by_igd(view: View) -> Finding | None:
    return _values(view, "5.2", PMSACL_IGD, "auc", "sensitivity", "accuracy")


@claim("C5-11", part="on ImageNet and on PMSACL, not on CCD")
def lag_prefers_igd(view: View) -> Finding | None:
    pairs = ((IGD, PADIM), (PMSACL_IGD, PMSACL))
    return gains(
        view, *((cell("5.2", a, "auc"), cell("5.2", b, "auc"), None) for a, b in pairs)
    )


@claim("C5-12", part="over ImageNet PaDiM")
def liu_gain(view: View) -> Finding | None:
    return _over_imagenet(view, "5.3", PMSACL, auc=0.073)


@claim("C5-13", part="the value, and over ImageNet IGD")
def liu_by_igd(view: View) -> Finding | None:
    return merged(
        view,
        _values(view, "5.3", PMSACL_IGD, "auc"),
        _over_imagenet(view, "5.3", PMSACL_IGD, auc=0.064),
    )


@claim("C5-15")
def liu_at_the_threshold(view: View) -> Finding | None:
    return _values(view, "5.3", PMSACL_IGD, *AT_THRESHOLD)


@claim("C5-16", part="the values, and over ImageNet")
def covidx_gain(view: View) -> Finding | None:
    return merged(
        view,
        _values(view, "5.4", PMSACL, "auc"),
        _values(view, "5.4", PMSACL_IGD, "auc"),
        _over_imagenet(view, "5.4", PMSACL, auc=0.044),
        _over_imagenet(view, "5.4", PMSACL_IGD, auc=0.172),
    )


@claim("C5-18", part="the values")
def covidx_at_the_threshold(view: View) -> Finding | None:
    return _values(view, "5.4", PMSACL_IGD, *AT_THRESHOLD)


@claim("C5-19")
def covidx_gain_in_sensitivity(view: View) -> Finding | None:
    return merged(
        view,
        _over_imagenet(view, "5.4", PMSACL, sensitivity=0.149),
        _over_imagenet(view, "5.4", PMSACL_IGD, sensitivity=0.285),
    )


@claim("C5-20")
def spread_over_five_trainings(view: View) -> Finding | None:
    """Standard deviations between 0.005 and 0.015, on the datasets at hand."""
    low, high = 0.005, 0.015
    states: list[str] = []
    found: list[Result] = []
    details = []
    for dataset in ("hyperkvasir", "lag", "covidx"):
        for metric in ("auc", "specificity", "sensitivity", "accuracy"):
            result = view.value(cell("5.5", PMSACL, metric, dataset=dataset))
            if result is None:
                continue
            inside = low <= result.ci_low and result.ci_high <= high
            outside = result.ci_high < low or result.ci_low > high
            states.append(HOLDS if inside else FAILS if outside else UNDECIDED)
            found.append(result)
            details.append(
                f"{text.metric(metric)} on {text.DATASETS[dataset]} "
                f"{text.number(result.value, 4)} {text.interval(result, 4)}"
            )
    if not found:
        return None
    state = min(states, key=(FAILS, UNDECIDED, HOLDS).index)
    return Finding(state, "; ".join(details), tuple(found))


@claim("C5-21", part="over ImageNet")
def hyperkvasir_gain_in_iou(view: View) -> Finding | None:
    return merged(
        view,
        _over_imagenet(view, "5.6", PMSACL_IGD, iou=0.081),
        _over_imagenet(view, "5.6", PMSACL, iou=0.064),
    )


@claim("C5-22", part="PMSACL + PaDiM before ImageNet and IGD, not before CCD")
def hyperkvasir_localisation(view: View) -> Finding | None:
    metrics = ("iou", "dice")
    return merged(
        view,
        _values(view, "5.6", PMSACL, *metrics),
        gains(
            view,
            *(
                (cell("5.6", PMSACL, metric), cell("5.6", other, metric), None)
                for metric in metrics
                for other in (PADIM, IGD, PMSACL_IGD)
            ),
        ),
    )


@claim("C5-23")
def lag_localisation_by_igd(view: View) -> Finding | None:
    return _values(view, "5.7", PMSACL_IGD, "iou", "dice", "pro")


@claim("C5-24", part="over ImageNet, Dice and PRO")
def lag_localisation(view: View) -> Finding | None:
    return merged(
        view,
        _over_imagenet(view, "5.7", PMSACL, iou=0.048),
        _values(view, "5.7", PMSACL, "dice", "pro"),
    )


def _terms(dataset: str, components: list[str]):
    return cell("5.8", PMSACL, f"auc@{dataset}", components=components)


def _term_gain(
    view: View, more: list[str], fewer: list[str], size: float
) -> Finding | None:
    """A gain claimed for both datasets of Table 5.8, judged on those at hand."""
    pairs = ((_terms(d, more), _terms(d, fewer), size) for d in ("hyperkvasir", "lag"))
    return gains(view, *pairs, all_of=False)


@claim("C5-25")
def one_term_alone(view: View) -> Finding | None:
    """94.9 and 72.5 as the text says; the table prints 0.717 for LAG."""
    lag = replace(_terms("lag", ONE_TERM), value=0.725)
    return values(view, _terms("hyperkvasir", ONE_TERM), lag)


@claim("C5-26")
def gain_by_centring(view: View) -> Finding | None:
    return _term_gain(view, WITH_CTR, ONE_TERM, 0.02)


@claim("C5-27")
def gain_by_temperature(view: View) -> Finding | None:
    return _term_gain(view, WITH_KAPPA, WITH_CTR, 0.008)


@claim("C5-28")
def all_terms(view: View) -> Finding | None:
    return values(view, _terms("hyperkvasir", ALL_TERMS), _terms("lag", ALL_TERMS))


def _best_of(
    view: View, name: str, candidates: tuple, best: object, at_least: int
) -> Finding | None:
    """Is the AUROC best at one value of a setting? Over rows that no table prints.

    It fails if another value's interval lies above the best's; it holds if the
    best's interval lies above every other's.
    """
    found = {
        value: result
        for value in candidates
        if (result := view.own(PMSACL, "auc", **{name: value})) is not None
    }
    if best not in found or len(found) < at_least:
        return None
    top, others = found[best], [r for value, r in found.items() if value != best]
    detail = ", ".join(
        f"{value} {text.value(result)} {text.interval(result)}"
        for value, result in found.items()
    )
    if any(result.ci_low is None for result in found.values()):
        state = UNDECIDED
    elif any(other.ci_low > top.ci_high for other in others):
        state = FAILS
    elif all(top.ci_low > other.ci_high for other in others):
        state = HOLDS
    else:
        state = UNDECIDED
    return Finding(state, f"AUROC by {name}: {detail}", tuple(found.values()))


@claim("C5-29", part="PaDiM as detector; the thesis shows IGD")
def medmix_is_the_best_augmentation(view: View) -> Finding | None:
    return _best_of(view, "strong", STRONG, "medmix", at_least=3)


@claim("C5-32")
def four_distributions_are_best(view: View) -> Finding | None:
    return _best_of(view, "num_classes", (2, 3, 4, 5, 6, 7), 4, at_least=3)


@claim("C5-35", part="ImageNet and SimCLR below PMSACL")
def better_than_imagenet_and_simclr(view: View) -> Finding | None:
    best = cell("5.9", PMSACL, "auc")
    worse = (cell("5.9", PADIM, "auc"), cell("5.9", SIMCLR, "auc"))
    return gains(view, *((best, one, None) for one in worse))


@claim("C5-37", part="tightness of normal features, not the number of clusters")
def normal_images_lie_tighter(view: View) -> Finding | None:
    """Mean distance to the normal centre, abnormal over normal: above 1 is tighter.

    Judged on encoder features rather than on a t-SNE plot, which keeps neither
    distances nor densities.
    """
    result = view.own(PMSACL, "distance ratio")
    if result is None:
        return None
    state = UNDECIDED
    if result.ci_low is not None:
        state = HOLDS if result.ci_low > 1 else FAILS if result.ci_high < 1 else state
    detail = f"distance ratio {text.value(result)} {text.interval(result)}"
    return Finding(state, detail, (result,))
