import numpy as np
import pytest

from thesislib.errors import InputError
from thesislib.figures import comparisons, style

NAN = float("nan")


@pytest.fixture
def ax():
    return style.subplots()[1]


def line(ax, label):
    (found,) = [found for found in ax.lines if found.get_label() == label]
    return found


def test_published_values_are_hollow_and_ours_are_filled(ax):
    comparisons.dots(ax, ["a", "b"], [0.7, 0.8], published=[0.9, 0.95])

    ours, theirs = line(ax, "ours"), line(ax, "published")
    assert ours.get_xdata().tolist() == [0.7, 0.8]
    assert theirs.get_xdata().tolist() == [0.9, 0.95]
    assert theirs.get_markerfacecolor() == "white"
    assert ours.get_markerfacecolor() != "white"
    assert ours.get_marker() != theirs.get_marker()


def test_rows_that_were_not_run_say_so(ax):
    comparisons.dots(ax, ["a", "b"], [0.7, None], published=[None, 0.95])

    assert [t.get_text() for t in ax.texts] == ["not run"]


def test_a_table_of_nothing_run_is_still_drawn(ax):
    comparisons.dots(ax, ["a"], [NAN])

    assert [t.get_text() for t in ax.texts] == ["not run"]


def test_intervals_span_what_they_say(ax):
    comparisons.dots(ax, ["a", "b"], [0.7, 0.8], [[0.6, 0.75], [NAN, NAN]])

    (segments,) = [c.get_segments() for c in ax.collections]
    assert [s[:, 0].tolist() for s in segments] == [[0.6, 0.75]]
    assert line(ax, "ours, 95 % interval") is not None


def test_small_differences_are_not_blown_up(ax):
    comparisons.dots(ax, ["a", "b"], [0.990, 0.992])

    assert np.diff(ax.get_xlim())[0] == pytest.approx(0.1)


def test_chance_is_drawn_only_where_it_falls_in_the_range(ax):
    comparisons.dots(ax, ["a", "b"], [0.4, 0.9])
    assert line(ax, "chance").get_xdata() == [0.5, 0.5]

    other = style.subplots()[1]
    comparisons.dots(other, ["a", "b"], [0.8, 0.9])
    assert "chance" not in [found.get_label() for found in other.lines]


def test_the_ablation_shows_which_terms_were_on():
    used = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)

    figure = comparisons.ablation(["ctr", "aug"], used, [0.6, 0.7, 0.65])

    off, on = figure.axes[0].collections
    assert sorted(map(tuple, on.get_offsets()[:, ::-1])) == list(
        zip(*np.nonzero(used), strict=True)
    )
    assert len(off.get_offsets()) == 2


def test_an_ablation_table_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"\(3, 2\), is needed"):
        comparisons.ablation(["ctr", "aug"], np.ones((2, 2)), [0.6, 0.7, 0.65])


def test_numbers_of_classes_are_whole(ax):
    comparisons.num_classes(ax, [2, 3, 4], [0.6, NAN, 0.7], published={4: 0.99})

    assert line(ax, "ours").get_xdata().tolist() == [2, 4]
    assert line(ax, "published").get_xdata() == [4]
    assert all(tick == round(tick) for tick in ax.get_xticks())


def test_every_seed_and_their_mean_are_shown(ax):
    comparisons.seed_spread(
        ax,
        {"PMSACL": [0.7, 0.8, 0.75], "untrained": [0.6]},
        {"PMSACL": (0.65, 0.85)},
        {"PMSACL": (0.996, 0.0084)},
    )

    assert line(ax, "one seed").get_xdata().tolist() == [0.7, 0.8, 0.75]
    assert line(ax, "mean, 95 % interval").get_xdata() == pytest.approx([0.75])
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["one seed", "mean, 95 % interval", "published mean ± std"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: comparisons.dots(ax, [], []), "no rows"),
        (lambda ax: comparisons.dots(ax, ["a"], [1, 2]), "values holds 2 numbers"),
        (lambda ax: comparisons.seed_spread(ax, {}), "values is empty"),
    ],
)
def test_missing_rows_are_refused(ax, call, message):
    with pytest.raises(InputError, match=message):
        call(ax)
