import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from sklearn.metrics import roc_auc_score

from thesislib.errors import InputError
from thesislib.figures import one_class, style
from thesislib.metrics.image import Estimate

NAN = float("nan")


def estimate(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, value - half, value + half, 100)


@pytest.fixture
def curves() -> dict:
    return {
        "IGD": {
            "contamination": {0.1: estimate(0.81), 0.0: estimate(0.84)},
            "train_fraction": {0.2: estimate(0.82), 1.0: estimate(0.84)},
        },
        "Deep SVDD": {"contamination": {0.0: estimate(0.76), 0.1: estimate(0.67)}},
    }


@pytest.fixture
def grey(rng) -> np.ndarray:
    return rng.random((4, 1, 28, 28), dtype=np.float32)


@pytest.fixture
def scales(rng) -> dict:
    local = rng.random((4, 28, 28))
    return {"global": 100 * rng.random((4, 7, 7)), "local": local}


ENDS = {"global": (0.0, 90.0), "local": (0.0, 2.0)}


def bars(ax) -> list[np.ndarray]:
    """Ends of the error bars of each method on an axes."""
    return [
        np.array([segment[:, 1] for segment in container[2][0].get_segments()])
        for container in ax.containers
    ]


def texts(figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def named(ax) -> dict:
    return {line.get_label(): line for line in ax.lines}


def shown(ax) -> np.ndarray:
    return ax.images[0].get_array()


# ---- robustness


def test_robustness_has_a_panel_a_kind_and_a_line_a_method(curves):
    figure = one_class.robustness(curves)

    left, right = figure.axes
    assert "anomalous" in left.get_xlabel()
    assert "training images used" in right.get_xlabel()
    assert [len(ax.containers) for ax in (left, right)] == [2, 1]
    assert texts(figure) == ["IGD", "Deep SVDD"]


def test_robustness_is_drawn_over_percent_in_increasing_order(curves):
    left, right = one_class.robustness(curves).axes

    line = left.containers[0][0]
    assert line.get_xdata() == pytest.approx([0, 10])
    assert line.get_ydata() == pytest.approx([0.84, 0.81])
    assert left.get_xticks() == pytest.approx([0, 10])
    assert right.get_xticks() == pytest.approx([20, 100])


def test_error_bars_are_the_intervals(curves):
    left, _ = one_class.robustness(curves).axes

    np.testing.assert_allclose(bars(left)[0], [[0.82, 0.86], [0.79, 0.83]])


def test_every_interval_lies_inside_the_axes(curves):
    figure = one_class.robustness(curves)
    figure.draw_without_rendering()

    for ax in figure.axes:
        low, high = ax.get_ylim()
        assert low < 0.65
        assert high > 0.86


def test_methods_at_one_place_stand_beside_each_other(curves):
    figure = one_class.robustness(curves)
    figure.draw_without_rendering()

    first, second = (container[0] for container in figure.axes[0].containers)
    at_zero = [line.get_transform().transform((0, 0.8))[0] for line in (first, second)]
    assert at_zero[1] - at_zero[0] == pytest.approx(2.5 / 72 * figure.dpi)


def test_one_kind_with_one_point_without_interval_is_one_panel():
    point = {0.0: Estimate(0.8, NAN, NAN, 1)}

    figure = one_class.robustness({"KDE": {"contamination": point}})

    (ax,) = figure.axes
    assert ax.get_xticks().tolist() == [0]
    assert np.diff(ax.get_ylim())[0] >= 0.1
    figure.draw_without_rendering()


def test_values_that_are_missing_are_left_out(curves):
    curves["IGD"]["contamination"][0.05] = Estimate(NAN, NAN, NAN, 0)

    left, _ = one_class.robustness(curves).axes

    assert left.containers[0][0].get_xdata() == pytest.approx([0, 10])


def test_chance_is_drawn_where_a_method_falls_to_it(curves):
    above = one_class.robustness(curves)
    curves["Deep SVDD"]["contamination"][0.1] = estimate(0.45)
    below = one_class.robustness(curves)

    assert "chance" not in texts(above)
    assert "chance" in texts(below)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "curves is empty"),
        ({"IGD": {"size": {}}}, r"\['size'\]; \['contamination', 'train_fraction'\]"),
        ({"IGD": {"contamination": {10: estimate(0.8)}}}, r"\[10\]; they must lie in"),
        ({"IGD": {"contamination": {}}}, "no finite value"),
    ],
)
def test_curves_that_do_not_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        one_class.robustness(given)


# ---- rows of images


def test_rows_hold_their_images_from_left_to_right(grey, rng):
    colour = rng.random((2, 3, 28, 28), dtype=np.float32)

    figure = one_class.image_rows({"image": grey, "colour": colour})

    axes = np.array(figure.axes).reshape(2, 4)
    for ax, image in zip(axes[0], grey, strict=True):
        np.testing.assert_array_equal(shown(ax), np.repeat(image[0, ..., None], 3, -1))
    for ax, image in zip(axes[1], colour, strict=False):
        np.testing.assert_array_equal(shown(ax), np.moveaxis(image, 0, -1))
    assert [len(ax.images) for ax in axes[1]] == [1, 1, 0, 0]
    assert [row[0].texts[0].get_text() for row in axes] == ["image", "colour"]


def test_a_long_label_does_not_push_the_images_apart(grey):
    figure = one_class.image_rows({"a label far longer than an image is wide": grey})
    figure.draw_without_rendering()

    left = [ax.get_position().x0 for ax in figure.axes]
    assert np.diff(left) == pytest.approx(np.diff(left)[0], abs=1e-3)


def test_titles_stand_below_the_columns(grey):
    titles = ["0", "⅓", "⅔", "1"]

    figure = one_class.image_rows({"pair 1": grey, "pair 2": grey[:1]}, titles)

    last = figure.axes[4:]
    assert [ax.texts[-1].get_text() for ax in last] == titles


def test_small_images_are_shown_large(grey):
    figure = one_class.image_rows({"image": grey})
    figure.draw_without_rendering()

    box = figure.axes[0].get_window_extent().size / figure.dpi
    assert box.min() > 1  # inch


@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        ({}, None, "rows is empty"),
        ({"a": np.zeros((0, 1, 8, 8))}, None, r"\['a'\] hold no image"),
        ({"a": np.zeros((8, 8))}, None, r"rows\['a'\] has shape \(8, 8\)"),
        ({"a": np.full((1, 1, 8, 8), -1.0)}, None, r"rows\['a'\] ranges over \[-1"),
        ({"a": np.zeros((2, 1, 8, 8))}, ["x"], "1 titles are given for 2 columns"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, titles, message):
    with pytest.raises(InputError, match=message):
        one_class.image_rows(rows, titles)


# ---- maps of the scales


def test_each_scale_has_one_colour_scale_for_all_images(grey, scales):
    figure = one_class.scale_heatmaps(grey, scales, ENDS)

    axes = np.array(figure.axes[:12]).reshape(4, 3)
    for column, (name, ends) in enumerate(ENDS.items(), start=1):
        for ax, values in zip(axes[:, column], scales[name], strict=True):
            np.testing.assert_allclose(shown(ax), values, rtol=1e-6)
            assert ax.images[0].get_clim() == ends
    assert [ax.get_title() for ax in axes[0]] == ["image", "global", "local"]


def test_each_scale_has_a_colour_bar_with_its_ends(grey, scales):
    figure = one_class.scale_heatmaps(grey, scales, ENDS)

    found = [
        bar.get_xlim() for ax in figure.axes[13:15] for bar in ax.child_axes if bar
    ]
    assert found == list(ENDS.values())


def test_normal_images_come_first_with_their_own_maps_and_scores(grey, scales):
    figure = one_class.scale_heatmaps(
        grey, scales, ENDS, labels=[1, 0, 1, 0], scores=[0.4, 0.1, 0.3, 0.2]
    )

    rows = np.array(figure.axes[:12]).reshape(4, 3)
    assert [row[0].get_ylabel() for row in rows] == [
        "normal\n0.100",
        "normal\n0.200",
        "abnormal\n0.400",
        "abnormal\n0.300",
    ]
    for row, i in zip(rows, (1, 3, 0, 2), strict=True):
        np.testing.assert_array_equal(shown(row[0])[..., 0], grey[i, 0])
        np.testing.assert_allclose(shown(row[2]), scales["local"][i], rtol=1e-6)


def test_the_ground_truth_is_outlined_on_image_and_maps(grey, scales):
    masks = np.zeros((4, 28, 28), dtype=bool)
    masks[2, 5:9, 5:9] = True

    figure = one_class.scale_heatmaps(grey, scales, ENDS, masks)

    outlines = [
        sum(isinstance(artist, QuadContourSet) for artist in ax.collections)
        for ax in figure.axes[:12]
    ]
    assert outlines == [0] * 6 + [1] * 3 + [0] * 3
    assert texts(figure) == ["outline: ground truth"]


def test_image_and_maps_of_a_row_are_level(grey, scales):
    figure = one_class.scale_heatmaps(grey, scales, ENDS)
    figure.draw_without_rendering()

    for row in np.array(figure.axes[:12]).reshape(4, 3):
        tops = [ax.get_position().y1 for ax in row]
        assert tops == pytest.approx([tops[0]] * 3, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ends": {"global": (0, 1)}}, "the names must agree"),
        ({"ends": {**ENDS, "local": (1, 1)}}, r"ends\['local'\] is \(1, 1\)"),
        ({"maps": {}, "ends": {}}, "4 images and 0 scales"),
        (
            {"maps": {"local": np.zeros((3, 5, 5))}, "ends": {"local": (0, 1)}},
            r"maps\['local'\] has shape \(3, 5, 5\); \(4, H, W\)",
        ),
        ({"labels": [0, 1]}, r"labels has shape \(2,\); \(4,\)"),
        ({"scores": [0.1, 0.2, NAN, 0.3]}, "scores holds values that are not finite"),
        ({"masks": np.zeros((4, 14, 14))}, r"masks are \(14, 14\), images \(28, 28\)"),
    ],
)
def test_scales_that_do_not_fit_are_refused(grey, scales, change, message):
    with pytest.raises(InputError, match=message):
        one_class.scale_heatmaps(
            **{"images": grey, "maps": scales, "ends": ENDS} | change
        )


# ---- the Gaussian in training

ROWS = [{"step": p, "gac": 0.6 / (p + 1), "variance": 10.0**-p} for p in range(4)]


def test_the_gaussian_has_a_line_a_training_in_both_panels():
    left, right = one_class.gaussian({"floor 1": ROWS, "no floor": ROWS[:2]}, 1.0).axes

    assert list(named(left)) == ["floor 1", "no floor"]
    assert named(left)["floor 1"].get_ydata() == pytest.approx([0.6, 0.3, 0.2, 0.15])
    assert named(right)["no floor"].get_xdata().tolist() == [0, 1]
    assert named(right)["no floor"].get_ydata() == pytest.approx([1, 0.1])
    assert right.get_yscale() == "log"
    assert left.get_ylim()[0] <= 0 < 1 <= left.get_ylim()[1]


def test_the_floor_is_a_level_line_and_only_where_given():
    figure = one_class.gaussian({"IGD": ROWS}, floor=0.5)
    without = one_class.gaussian({"IGD": ROWS})

    assert named(figure.axes[1])["floor of $\\sigma^2$, 0.5"].get_ydata() == [0.5, 0.5]
    assert list(named(without.axes[1])) == ["IGD"]


def test_a_variance_of_zero_is_marked_on_the_edge_of_the_logarithmic_axis():
    rows = [*ROWS, {"step": 4, "gac": 0.0, "variance": 0.0}]

    figure = one_class.gaussian({"IGD": rows})

    right = figure.axes[1]
    marks = named(right)["_zero"]
    assert marks.get_xdata().tolist() == [4]
    assert marks.get_transform() == right.get_xaxis_transform()
    assert r"$\sigma^2 = 0$" in texts(figure)
    figure.draw_without_rendering()


def test_rows_without_a_term_leave_gaps():
    rows = [{"step": 0, "variance": 2.0}, {"step": 1, "gac": 0.4, "variance": NAN}]

    left, right = one_class.gaussian({"IGD": rows}).axes

    assert named(left)["IGD"].get_xdata().tolist() == [1]
    assert named(right)["IGD"].get_xdata().tolist() == [0]
    assert named(left)["IGD"].get_marker() == "o"  # a single point is seen


@pytest.mark.parametrize(
    ("histories", "floor", "message"),
    [
        ({}, None, "histories is empty"),
        ({"IGD": [{"step": 0, "rec": 1.0}]}, None, "logs neither 'gac' nor"),
        ({"IGD": [{"gac": 1.5}]}, None, r"'gac' over \[1.5, 1.5\]"),
        ({"IGD": [{"variance": -1.0}]}, None, "negative 'variance'"),
        ({"IGD": ROWS}, 0.0, "floor is 0.0; it must be positive"),
    ],
)
def test_histories_that_do_not_fit_are_refused(histories, floor, message):
    with pytest.raises(InputError, match=message):
        one_class.gaussian(histories, floor)


# ---- terms of the score


@pytest.fixture
def terms(rng) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    labels = np.r_[np.zeros(100), np.ones(900)].astype(int)
    return labels, {"rec": rng.random(1000), "gac": rng.random(1000) + labels / 2}


def test_every_test_image_is_a_dot_at_its_two_terms(terms):
    labels, values = terms

    joint = one_class.score_terms(labels, values).axes[1]

    for dots in joint.collections:
        chosen = labels == (dots.get_label() == "abnormal")
        expected = np.stack([values["rec"][chosen], values["gac"][chosen]], axis=1)
        np.testing.assert_allclose(dots.get_offsets(), expected)
    assert [d.get_label() for d in joint.collections] == ["abnormal", "normal"]


def test_the_histogram_of_each_class_sums_to_one(terms):
    above, _, right = one_class.score_terms(*terms, bins=10).axes

    for patch in above.patches:
        assert area(*patch.get_xy().T, bins=10) == pytest.approx(1)
    for patch in right.patches:
        assert area(*patch.get_xy().T[::-1], bins=10) == pytest.approx(1)
    assert len(above.patches) == len(right.patches) == 2


def area(along: np.ndarray, height: np.ndarray, bins: int) -> float:
    """Sum of the heights of a stepped outline with bins of equal width."""
    shoelace = np.dot(along[:-1], height[1:]) - np.dot(along[1:], height[:-1])
    return abs(shoelace) / 2 / (np.ptp(along) / bins)


def test_the_axes_name_the_auroc_of_each_term_alone(terms):
    labels, values = terms

    joint = one_class.score_terms(labels, values).axes[1]

    area = roc_auc_score(labels, values["gac"])
    assert joint.get_ylabel() == f"gac (alone: AUROC {area:.3f})"
    assert joint.get_xlabel().startswith("rec (alone: AUROC ")


def test_one_class_and_a_constant_term_are_drawn():
    figure = one_class.score_terms([1, 1], {"rec": [0.1, 0.2], "gac": [1.0, 1.0]})

    assert figure.axes[1].get_xlabel() == "rec"
    assert texts(figure) == ["abnormal (2 images)"]
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rec": [0.1, 0.2]}, "exactly two are needed"),
        ({"rec": [0.1, 0.2], "gac": [0.1]}, r"labels \(2,\) and scores \(1,\)"),
        ({"rec": [0.1, 0.2], "gac": [0.1, NAN]}, "not finite"),
    ],
)
def test_terms_that_do_not_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        one_class.score_terms([0, 1], given)


def test_the_mark_lies_above_every_legend(curves, terms):
    for figure in (
        one_class.robustness(curves),
        one_class.gaussian({"IGD": ROWS}, 1.0),
        one_class.score_terms(*terms),
    ):
        style.mark(figure, "phantom · quick")
        figure.draw_without_rendering()

        (mark,) = [t for t in figure.texts if t.get_text() == "phantom · quick"]
        (legend,) = figure.legends
        assert legend.get_window_extent().y1 < mark.get_window_extent().y0
