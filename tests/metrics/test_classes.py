"""AUROCs over classes: scikit-learn, DeLong and a bootstrap as oracles."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thesislib.errors import InputError
from thesislib.metrics.classes import apart, compare, over_classes
from thesislib.metrics.delong import compare as delongs_test
from thesislib.metrics.delong import delong


def _benchmark(num_images: int = 600, num_classes: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    kind = random.integers(num_classes, size=num_images)
    labels = (kind != np.arange(num_classes)[:, None]).astype(int)
    common = random.normal(size=num_images)  # hard for all classes: correlation
    scores = labels + common + 0.5 * random.normal(size=labels.shape)
    return labels, scores


def test_each_class_has_scikit_learns_auroc_and_delongs_variance():
    labels, scores = _benchmark()

    classes, mean = over_classes(labels, scores)

    aucs = [roc_auc_score(*pair) for pair in zip(labels, scores, strict=True)]
    assert [c.value for c in classes] == pytest.approx(aucs)
    assert mean.value == pytest.approx(np.mean(aucs))
    for estimate, label, score in zip(classes, labels, scores, strict=True):
        variance = delong(label, score)[1][0, 0]
        half = (estimate.ci_high - estimate.ci_low) / 2
        assert half == pytest.approx(1.959964 * variance**0.5, rel=5e-3)


def test_the_means_interval_is_a_bootstraps_over_images():
    labels, scores = _benchmark()
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(1_000):
        chosen = random.integers(labels.shape[1], size=labels.shape[1])
        pairs = zip(labels[:, chosen], scores[:, chosen], strict=True)
        drawn.append(np.mean([roc_auc_score(*pair) for pair in pairs]))

    _, mean = over_classes(labels, scores)

    half = (mean.ci_high - mean.ci_low) / 2
    assert half == pytest.approx(1.96 * np.std(drawn), rel=0.1)
    alone = np.mean([c.ci_high - c.ci_low for c in over_classes(labels, scores)[0]])
    assert 2 * half != pytest.approx(alone / 3**0.5, rel=0.1)  # not independent


def test_one_class_twice_has_the_interval_of_one():
    labels, scores = _benchmark(num_classes=2)
    once, _ = over_classes(labels[:1], scores[:1])

    _, twice = over_classes(labels[[0, 0]], scores[[0, 0]])

    assert twice == once[0]


def test_shapes_and_missing_classes_are_refused():
    labels, scores = _benchmark()
    with pytest.raises(InputError, match="shape"):
        over_classes(labels, scores[:, :-1])
    with pytest.raises(InputError):
        over_classes(np.ones_like(labels), scores)


def test_classes_with_images_of_their_own_are_independent():
    first, second = _benchmark(seed=0), _benchmark(num_images=300, seed=1)
    labels, scores = [first[0][0], second[0][1]], [first[1][0], second[1][1]]

    classes, mean = apart(labels, scores)

    halves = [(c.ci_high - c.ci_low) / 2 for c in classes]
    assert (mean.ci_high - mean.ci_low) / 2 == pytest.approx(np.hypot(*halves) / 2)
    assert mean.value == pytest.approx(np.mean([c.value for c in classes]))
    assert mean.n == 900
    with pytest.raises(InputError, match="apart"):
        over_classes(labels, scores)


@pytest.mark.parametrize("shared", [True, False])
def test_a_method_against_chance_has_the_means_own_interval(shared):
    """Constant scores have an AUROC of 0.5 that no image moves."""
    labels, scores = _benchmark()
    measure = over_classes if shared else apart

    of_classes, mean = compare(labels, scores, 0 * scores, shared=shared)

    estimates, whole = measure(labels, scores)
    pairs = zip([*of_classes, mean], [*estimates, whole], strict=True)
    for contrast, estimate in pairs:
        ends = (contrast.difference, contrast.ci_low, contrast.ci_high)
        assert ends == pytest.approx(np.array(estimate[:3]) - 0.5)


def test_the_difference_of_one_class_is_delongs():
    labels, scores = _benchmark()
    other = scores + np.random.default_rng(1).normal(size=scores.shape)

    of_classes, mean = compare(labels, scores, other, shared=True)

    for contrast, *rest in zip(of_classes, labels, scores, other, strict=True):
        expected = delongs_test(*rest)
        assert contrast.difference == pytest.approx(expected.difference)
        assert contrast.ci_low == pytest.approx(expected.ci_low, abs=2e-4)
        assert contrast.p == pytest.approx(expected.p, abs=1e-3)
    differences = [contrast.difference for contrast in of_classes]
    assert mean.difference == pytest.approx(np.mean(differences))


def test_a_difference_of_means_has_a_bootstraps_interval_over_images():
    labels, scores = _benchmark()
    other = scores + np.random.default_rng(1).normal(size=scores.shape)
    random = np.random.default_rng(2)
    drawn = []
    for _ in range(1_000):
        chosen = random.integers(labels.shape[1], size=labels.shape[1])
        parts = zip(labels[:, chosen], scores[:, chosen], other[:, chosen], strict=True)
        drawn.append(
            np.mean([roc_auc_score(a, b) - roc_auc_score(a, c) for a, b, c in parts])
        )

    _, mean = compare(labels, scores, other, shared=True)

    half = (mean.ci_high - mean.ci_low) / 2
    assert half == pytest.approx(1.96 * np.std(drawn), rel=0.1)
