from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thesislib.errors import InputError
from thesislib.figures import curves, style

HISTORY = [
    {"step": 2 * i, "stage": "pmsacl", "ctr": 5.0 / (i + 1), "aug": 1.4 - 0.05 * i}
    for i in range(10)
]


@pytest.fixture
def ax():
    return style.subplots()[1]


def lines(ax) -> dict[str, np.ndarray]:
    return {
        line.get_label(): line.get_ydata()
        for line in ax.lines
        if not line.get_label().startswith("_")
    }


def test_every_loss_term_is_drawn_and_the_step_is_not(ax):
    curves.losses(ax, HISTORY)

    assert list(lines(ax)) == ["ctr", "aug"]
    assert ax.lines[0].get_xdata().tolist() == list(range(0, 20, 2))


def test_terms_choose_and_name_the_curves(ax):
    curves.losses(ax, HISTORY, {"aug": r"$\ell_{aug}$"}, events={4: "centres frozen"})

    assert list(lines(ax)) == [r"$\ell_{aug}$"]
    assert "centres frozen" in [text.get_text() for text in ax.texts]


def test_an_unlogged_term_is_named_with_those_that_are_logged(ax):
    with pytest.raises(InputError, match=r"\['pos'\]; it logs \['ctr', 'aug'\]"):
        curves.losses(ax, HISTORY, ["pos"])


def test_gaps_and_nan_in_the_history_leave_gaps(ax):
    rows = [
        {"step": 0, "a": 1.0},
        {"step": 1, "b": 2.0},
        {"step": 2, "a": float("nan")},
    ]

    curves.losses(ax, [*rows, {"step": 3, "a": 3.0}], window=1)

    assert lines(ax)["a"].tolist() == [1.0, 3.0]
    assert lines(ax)["b"].tolist() == [2.0]


def test_terms_of_very_different_size_get_a_logarithmic_axis(ax):
    curves.losses(ax, [{"step": i, "a": 1.0, "b": 1000.0} for i in range(5)])

    assert ax.get_yscale() == "log"


def test_terms_that_touch_zero_stay_on_a_linear_axis(ax):
    curves.losses(ax, [{"step": i, "a": 0.0, "b": 1000.0} for i in range(5)])

    assert ax.get_yscale() == "linear"


def test_running_mean_equals_the_slow_one(rng):
    values = rng.normal(size=23)

    slow = [values[max(i - 2, 0) : i + 3].mean() for i in range(23)]

    np.testing.assert_allclose(curves.running_mean(values, 5), slow)


def test_an_empty_history_is_refused(ax):
    with pytest.raises(InputError, match="history is empty"):
        curves.losses(ax, [])


def test_small_multiples_have_one_panel_a_term():
    figure = curves.panels(HISTORY, ncols=2)

    assert [ax.get_title(loc="left") for ax in figure.axes] == ["ctr", "aug"]


def test_diagnostics_start_at_zero_so_that_a_collapse_is_seen():
    rows = [{"step": i, "live": 0.9, "spread": 2.0, "centres": 3.0} for i in range(4)]

    figure = curves.diagnostics(rows)

    assert len(figure.axes) == 3
    assert all(ax.get_ylim()[0] == 0 for ax in figure.axes)


def test_roc_area_in_the_legend_is_scikit_learns(ax, labels, scores):
    curves.roc(ax, {"PaDiM": (labels, scores)})

    (text,) = [t.get_text() for t in ax.get_legend().get_texts()]
    assert text == f"PaDiM  {roc_auc_score(labels, scores):.3f}"


def test_a_given_estimate_shows_its_interval(ax, labels, scores):
    estimate = SimpleNamespace(value=0.8, ci_low=0.7, ci_high=0.9)

    curves.roc(ax, {"PaDiM": (labels, scores)}, {"PaDiM": estimate})

    assert "0.800 [0.700, 0.900]" in ax.get_legend().get_texts()[0].get_text()


def test_the_threshold_dot_lies_on_the_curve(ax, labels, scores):
    curves.roc(ax, {"PaDiM": (labels, scores)}, thresholds={"PaDiM": 0.7})

    dot = ax.lines[-1]
    assert dot.get_xdata() == pytest.approx([1 / 3])  # one normal of three is called
    assert dot.get_ydata() == pytest.approx([2 / 3])


def test_a_roc_curve_needs_both_classes(ax):
    with pytest.raises(InputError, match="'PaDiM' needs normal and abnormal"):
        curves.roc(ax, {"PaDiM": ([1, 1], [0.1, 0.2])})


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [0, 2, 4], [1]])
def test_histogram_holds_every_image_once(ax, labels, scores, chosen):
    curves.score_histogram(ax, labels[chosen], scores[chosen], threshold=0.5, bins=4)

    heights = sum(counts_of(patch) for patch in ax.patches)
    assert heights == len(chosen)


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (-np.inf, "threshold −∞: sensitivity 1.00, specificity 0.00"),
        (np.inf, "threshold ∞: sensitivity 0.00, specificity 1.00"),
    ],
)
def test_an_infinite_threshold_stands_in_the_legend_and_moves_no_axis(
    ax, labels, scores, threshold, words
):
    curves.score_histogram(ax, labels, scores, threshold)

    assert words in [t.get_text() for t in ax.get_legend().get_texts()]
    assert np.isfinite(ax.get_xlim()).all()
    ax.figure.canvas.draw()


def test_names_of_methods_are_no_formulas_and_none_is_missing(ax, labels, scores):
    names = ["_own", "costs $1_000 or $2_000"]
    curves.roc(ax, {name: (labels, scores) for name in names})
    ax.figure.canvas.draw()

    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    assert shown[0].startswith(" _own")
    assert shown[1].startswith(r"costs \$1_000 or \$2_000")


def test_histogram_of_equal_scores_is_drawn(ax):
    curves.score_histogram(ax, [0, 1], [2.0, 2.0])

    assert len(ax.patches) == 2


def counts_of(patch) -> float:
    """Images in a stepped outline: area over bin width."""
    x, y = patch.get_xy().T
    area = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    return round(area / np.diff(np.unique(x)).min())
