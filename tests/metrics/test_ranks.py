import numpy as np
import pytest
from scipy import stats

from thesislib.errors import InputError
from thesislib.metrics.ranks import rank_correlation


def test_it_is_spearmans_ties_included():
    random = np.random.default_rng(0)
    first = random.integers(0, 9, 50)
    second = first + random.normal(size=50)

    found = rank_correlation(first, second)

    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.n == 50


def test_any_increasing_map_changes_nothing_and_a_decreasing_one_the_sign():
    first, second = np.random.default_rng(1).normal(size=(2, 30))
    found = rank_correlation(first, second)

    assert rank_correlation(np.exp(first), second) == pytest.approx(found)
    turned = rank_correlation(-first, second)
    assert (-turned.value, -turned.ci_high, -turned.ci_low) == pytest.approx(found[:3])


def test_the_same_order_is_one_without_doubt():
    assert rank_correlation([1, 2, 3, 4], [1, 4, 9, 16]) == (1, 1, 1, 4)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Of normal pairs with correlation r Spearman's rho is 6 / pi asin(r / 2)."""
    random, r, held = np.random.default_rng(2), 0.6, 0
    truth = 6 / np.pi * np.arcsin(r / 2)
    for _ in range(1_000):
        first, other = random.normal(size=(2, 100))
        found = rank_correlation(first, r * first + np.sqrt(1 - r**2) * other)
        held += found.ci_low <= truth <= found.ci_high

    assert 0.93 < held / 1_000 < 0.97


def test_equal_scores_rank_nothing():
    assert rank_correlation(np.ones(5), np.arange(5)) is None


@pytest.mark.parametrize(("first", "second"), [([1, 2, 3], [1, 2, 3]), ([1] * 5, [1])])
def test_too_few_or_unlike_scores_are_refused(first, second):
    with pytest.raises(InputError, match="one length of both, at least 4"):
        rank_correlation(first, second)
