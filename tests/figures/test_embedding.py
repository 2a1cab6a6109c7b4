import itertools

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from thesislib.errors import InputError
from thesislib.figures import embedding, style


@pytest.fixture
def features(rng) -> np.ndarray:
    return rng.normal(size=(12, 5)) + np.repeat([[0.0], [6.0]], 6, axis=0)


LABELS = np.repeat([0, 1], 6)
GROUPS = ["normal"] * 6 + ["polyp"] * 3 + ["pasted 1", "pasted 2", "pasted 3"]


def test_the_same_seed_gives_the_same_map(features):
    one, two = embedding.tsne(features, seed=3), embedding.tsne(features, seed=3)

    assert (one.points == two.points).all()
    assert one.points.shape == (12, 2)


def test_the_seed_decides_where_no_principal_axes_do(rng):
    line = rng.normal(size=(12, 1))  # one feature: random initialisation

    points = [embedding.tsne(line, seed).points for seed in (3, 3, 4)]

    assert (points[0] == points[1]).all()
    assert (points[0] != points[2]).any()


def test_perplexity_is_capped_at_a_third_of_the_neighbours(features):
    assert embedding.tsne(features).perplexity == pytest.approx(11 / 3)
    assert embedding.tsne(features, perplexity=2).perplexity == 2


def test_collapsed_features_give_equal_points_and_say_so():
    flat = embedding.tsne(np.full((8, 4), 3.0))

    assert (flat.points == 0).all()
    figure = embedding.tsne_panels({"dead": flat}, ["normal"] * 8)
    assert "collapsed" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 2)), "at least 4 images"),
        (np.zeros(5), r"\(N, D\)"),
        (np.full((5, 2), np.inf), "not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        embedding.tsne(wrong)


def test_separation_equals_means_over_pairs(features):
    normal, abnormal = features[:6], features[6:]

    def mean(pairs):
        return np.mean([np.linalg.norm(a - b) for a, b in pairs])

    numbers = embedding.separation(features, LABELS)

    slow = {
        "within_normal": mean(itertools.combinations(normal, 2)),
        "within_abnormal": mean(itertools.combinations(abnormal, 2)),
        "between": mean(itertools.product(normal, abnormal)),
        "silhouette": silhouette_score(features, LABELS),
    }
    slow["tightness"] = slow["within_normal"] / slow["between"]
    assert numbers == pytest.approx(slow)


def test_tightness_and_silhouette_ignore_the_scale(features):
    one = embedding.separation(features, LABELS)
    ten = embedding.separation(10 * features, LABELS)

    assert ten["tightness"] == pytest.approx(one["tightness"])
    assert ten["silhouette"] == pytest.approx(one["silhouette"])
    assert ten["between"] == pytest.approx(10 * one["between"])


def test_separation_of_one_class_is_unknown(features):
    numbers = embedding.separation(features, np.zeros(12, dtype=int))

    assert np.isnan([numbers[k] for k in ("between", "tightness", "silhouette")]).all()
    assert numbers["within_normal"] > 0


def test_groups_differ_by_marker_not_by_colour_alone():
    looks = embedding.group_looks([*GROUPS, "diffuse"])

    assert list(looks) == [
        "normal",
        "diffuse",
        "polyp",
        "pasted 1",
        "pasted 2",
        "pasted 3",
    ]
    assert len({look["marker"] for look in looks.values()}) == 6
    assert looks["pasted 2"]["marker"] == "$2$"


def test_every_kind_stands_in_the_legend_whatever_its_name(rng):
    kinds = ["normal", "_misc", "cost_$100_$200", "cafe\u0301", "a{b}^c"]
    points = embedding.Embedding(rng.normal(size=(10, 2)), 3.0, 0)
    figure = embedding.tsne_panels({"PMSACL": points}, kinds * 2)
    figure.canvas.draw()

    shown = [t.get_text() for t in figure.legends[0].get_texts()]
    assert sorted(shown) == [
        " _misc (2)",
        "a{b}^c (2)",
        "caf\u00e9 (2)",
        r"cost_\$100_\$200 (2)",
        "normal (2)",
    ]


def test_every_point_is_drawn_once(features):
    _, ax = style.subplots()

    embedding.scatter(ax, features[:, :2], GROUPS)

    assert sum(len(c.get_offsets()) for c in ax.collections) == 12


def test_panels_share_one_legend_and_show_their_numbers(features):
    names = ("untrained", "PMSACL")
    figure = embedding.tsne_panels(
        {name: embedding.tsne(features) for name in names},
        GROUPS,
        {name: embedding.separation(features, LABELS) for name in names},
    )

    assert [ax.get_title(loc="left") for ax in figure.axes] == list(names)
    assert len(figure.legends[0].get_texts()) == 5
    assert all("silhouette" in ax.get_xlabel() for ax in figure.axes)
