import numpy as np
import pytest
from matplotlib.contour import QuadContourSet

from thesislib.errors import InputError
from thesislib.figures import panels


def outlines(ax) -> list:
    return [c for c in ax.collections if isinstance(c, QuadContourSet)]


def pictures(figure) -> list:
    return [picture for ax in figure.axes for picture in ax.images]


def heat(figure) -> list:
    """Pictures of one channel: the maps, without the colour bar."""
    return [p for p in pictures(figure) if p.get_array().ndim == 2]


def test_normal_and_abnormal_maps_share_one_colour_scale(images, maps, masks, labels):
    maps[labels == 1] *= 10

    figure = panels.heatmaps(images, maps, masks, labels=labels)

    limits = {picture.get_clim() for picture in heat(figure)}
    assert limits == {(maps.min(), maps.max())}
    assert len(heat(figure)) == 6


def test_a_declared_scale_holds_for_maps_and_colour_bar(images, maps, labels):
    figure = panels.heatmaps(images, maps, labels=labels, scale=(-1.0, 0.5))

    assert {picture.get_clim() for picture in heat(figure)} == {(-1.0, 0.5)}
    bar = figure.axes[-1]
    assert bar.get_ylim() == (-1.0, 0.5)


def test_lesions_are_outlined_on_image_and_map_and_nothing_else_is(
    images, maps, masks, labels, scores
):
    figure = panels.heatmaps(images, maps, masks, scores, labels)

    top, bottom = figure.axes[:6], figure.axes[6:12]
    assert [len(outlines(ax)) for ax in top] == [0, 0, 0, 1, 1, 1]  # normal first
    assert [len(outlines(ax)) for ax in bottom] == [0, 0, 0, 1, 1, 1]


def test_an_outline_runs_along_the_border_of_the_mask(masks):
    from thesislib.figures import style

    _, ax = style.subplots()
    panels.outline(ax, masks[0])

    (path,) = outlines(ax)[0].get_paths()
    assert path.vertices.min(axis=0).tolist() == [4.5, 3.5]  # x, y
    assert path.vertices.max(axis=0).tolist() == [10.5, 8.5]


def test_a_lesion_at_the_image_border_is_outlined_all_round():
    from thesislib.figures import style

    _, ax = style.subplots()
    panels.outline(ax, np.ones((4, 4), dtype=bool))

    (path,) = outlines(ax)[0].get_paths()
    assert (path.vertices[0] == path.vertices[-1]).all()


def test_scores_stand_above_their_own_image(images, maps, labels, scores):
    figure = panels.heatmaps(images, maps, scores=scores, labels=labels)

    titles = [ax.get_title() for ax in figure.axes[:6]]
    assert titles == [
        *("normal\n0.100", "normal\n0.800", "normal\n0.300"),
        *("abnormal\n0.900", "abnormal\n0.200", "abnormal\n0.700"),
    ]


def test_constant_maps_without_masks_and_labels_are_drawn(images):
    figure = panels.heatmaps(images[:1], np.full((1, 4, 4), 2.0))

    assert {p.get_clim() for p in heat(figure)} == {(2.0, 3.0)}
    figure.draw_without_rendering()


def test_channels_may_come_first_or_last(images, maps):
    last = panels.heatmaps(images / 255, maps)
    first = panels.heatmaps(np.moveaxis(images, -1, 1), maps)

    for a, b in zip(pictures(last), pictures(first), strict=True):
        np.testing.assert_allclose(a.get_array(), b.get_array(), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maps": np.zeros((2, 4, 4))}, r"maps has shape \(2, 4, 4\); \(6, H, W\)"),
        ({"maps": np.full((6, 4, 4), np.nan)}, "maps holds values that are not finite"),
        ({"masks": np.zeros((6, 4))}, r"masks has shape \(6, 4\)"),
        ({"scale": (1.0, 1.0)}, "its ends must increase"),
    ],
)
def test_arrays_that_do_not_fit_are_named(images, maps, arguments, message):
    with pytest.raises(InputError, match=message):
        panels.heatmaps(images, **{"maps": maps, **arguments})


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((6, 5, 5, 2)), np.zeros((5, 5, 3)), np.full((6, 5, 5, 3), 255.0)],
    ids=["two channels", "no batch", "floats beyond 1"],
)
def test_images_that_do_not_fit_are_refused(wrong):
    with pytest.raises(InputError, match="images"):
        panels.heatmaps(wrong, np.zeros((6, 5, 5)))


def test_medmix_columns_are_the_classes(rng):
    images = rng.random((2, 4, 3, 12, 12), dtype=np.float32)
    masks = np.zeros((2, 4, 1, 12, 12), dtype=bool)
    masks[:, 1:, :, 3:6, 3:6] = True

    figure = panels.medmix_examples(images, masks)

    assert [ax.get_title() for ax in figure.axes[:4]] == [
        r"$\mathcal{A}_0$: none",
        *(rf"$\mathcal{{A}}_{n}$: {n} pasted" for n in (1, 2, 3)),
    ]
    assert [len(outlines(ax)) for ax in figure.axes] == [0, 1, 1, 1] * 2


def test_strong_augmentations_may_have_different_numbers_of_classes(images):
    figure = panels.strong_examples({"rotation": images[:4], "cutmix": images[:2]})

    assert len(figure.axes) == 6
    figure.draw_without_rendering()


def test_examples_stand_in_rows_by_class_under_their_names(images, labels, masks):
    figure = panels.examples(images, labels, masks)
    named = panels.examples(images[:3], labels[:3], kinds=("polyp", "normal", "tumour"))

    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["normal"] * 3 + ["abnormal"] * 3
    assert [len(outlines(ax)) for ax in figure.axes] == [0, 0, 0, 1, 1, 1]
    assert [ax.get_title() for ax in named.axes] == ["normal", "polyp", "tumour"]


def test_names_of_kinds_are_no_formulas_and_stay_above_their_image(images, labels):
    kinds = ["$x$", "a_{", "_c", "d" * 50, "\n", "$e^"][: len(labels)]
    figure = panels.examples(images, labels, kinds=kinds)
    figure.canvas.draw()

    shown = {ax.get_title() for ax in figure.axes}
    assert {r"\$x\$", "a_{", " _c", "[U+000A]"} <= shown
    assert max(map(len, shown)) <= panels.TITLE + 2


def test_examples_need_a_label_each(images):
    with pytest.raises(InputError, match=r"6 images come with labels \(1,\)"):
        panels.examples(images, [1])


def test_the_gallery_counts_and_frames_every_kind_of_decision(images, labels, scores):
    figure = panels.gallery(images, labels, scores, threshold=0.5)

    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == [
        "✓ normal, called normal: 2 of 3",
        "✗ normal, called abnormal: 1 of 3",
        "✗ abnormal, called normal: 1 of 3",
        "✓ abnormal, called abnormal: 2 of 3",
    ]
    frames = [ax.patches[0] for ax in figure.axes if ax.patches]
    solid = [frame.get_linestyle() == "-" for frame in frames]
    assert solid == [True, True, False, False, True, True]


def test_an_image_at_the_threshold_is_called_abnormal(images, labels, scores):
    figure = panels.gallery(images, labels, scores, threshold=0.8)

    assert "0.800 ≥ 0.800" in [ax.get_title() for ax in figure.axes]


@pytest.mark.parametrize(("end", "sign"), [(-np.inf, "≥ −∞"), (np.inf, "< ∞")])
def test_the_gallery_shows_an_infinite_threshold(images, labels, scores, end, sign):
    figure = panels.gallery(images, labels, scores, end)
    figure.canvas.draw()

    titles = [ax.get_title() for part in figure.subfigs for ax in part.axes]
    assert all(title.endswith(sign) for title in titles if title)
    assert sum(map(bool, titles)) == len(images)


def test_the_gallery_of_one_class_has_its_two_rows(images, scores):
    figure = panels.gallery(images, np.zeros(6, dtype=int), scores, threshold=2.0)

    assert [part.get_suptitle() for part in figure.subfigs] == [
        "✓ normal, called normal: 6 of 6",
        "✗ normal, called abnormal: 0 of 6",
    ]
    figure.draw_without_rendering()


def test_examples_are_spread_over_the_ranks_with_both_ends():
    scores = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 0.0])

    chosen = panels.spread_over_ranks(np.arange(1, 6), scores, 3)

    assert scores[chosen].tolist() == [0.0, 2.0, 4.0]


def test_map_scale_of_constant_maps_has_width_one():
    assert panels.map_scale(np.full((2, 3, 3), 4.0)) == (4.0, 5.0)


def test_grey_images_of_one_channel_are_shown_as_they_are(rng, labels, scores, maps):
    grey = rng.integers(0, 256, (6, 1, 28, 28), dtype=np.uint8)

    for figure in (
        panels.examples(grey, labels),
        panels.gallery(grey, labels, scores, threshold=0.5),
        panels.heatmaps(grey, maps),
    ):
        shown = [p.get_array() for p in pictures(figure) if p.get_array().ndim == 3]
        assert len(shown) == 6
        found = {np.round(255 * picture).astype(int).tobytes() for picture in shown}
        expected = np.repeat(grey[:, 0, ..., None], 3, axis=-1).astype(int)
        assert found == {image.tobytes() for image in expected}
