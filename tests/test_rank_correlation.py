"""Rank correlations against scipy, of one sample and of resamples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from onepath.errors import ConfigurationError
from onepath.rank_correlation import kendall_tau, num_better, ordinal, rank_correlation, spearman


def test_closed_forms() -> None:
    up = [1.0, 2.0, 3.0, 4.0]
    assert rank_correlation(up, up) == (1.0, 1.0)
    assert rank_correlation(up, up[::-1]) == (-1.0, -1.0)
    # Of 6 pairs 5 are concordant and one is discordant: tau 4/6. Ranks differ by 1 twice: rho 1 - 6 * 2 / 60.
    assert rank_correlation(up, [1.0, 2.0, 4.0, 3.0]) == pytest.approx((4 / 6, 0.8))
    # One tie on one side: 5 concordant pairs of 6, tau-b 5 / sqrt(6 * 5), where tau-a would be 5 / 6.
    assert rank_correlation(up, [1.0, 2.0, 3.0, 3.0]).kendall_tau == pytest.approx(5 / np.sqrt(30))


@pytest.mark.parametrize("num", [3, 40, 1500])
def test_agrees_with_scipy_with_many_ties(num: int) -> None:
    rng = np.random.default_rng(num)
    first, second = rng.integers(0, 12, num).astype(float), rng.integers(0, 40, num).astype(float)
    first[0], second[0] = 12, 40  # not constant
    found = rank_correlation(first, second)
    assert found.kendall_tau == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_a_resample_is_as_the_sample_written_out() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 8, 50).astype(float), rng.normal(size=50)
    counts = rng.multinomial(50, np.full(50, 0.02), size=7).astype(float)
    taus = kendall_tau(ordinal(first), ordinal(second), counts)
    rhos = spearman(ordinal(first), ordinal(second), counts)
    for row, tau, rho in zip(counts, taus, rhos, strict=True):
        drawn = np.repeat(np.arange(50), row.astype(int))
        assert tau == pytest.approx(kendalltau(first[drawn], second[drawn]).statistic, abs=1e-12)
        assert rho == pytest.approx(spearmanr(first[drawn], second[drawn]).statistic, abs=1e-12)


def test_what_is_not_finite_ties_below_the_rest() -> None:
    assert ordinal([2.0, float("nan"), -5.0, float("-inf"), 2.0, float("inf")]).tolist() == [2, 0, 1, 0, 2, 0]


def test_how_many_are_better() -> None:
    counts = np.array([[1.0, 2.0, 0.0, 3.0]])
    assert num_better(ordinal([5.0, 7.0, 9.0, 5.0]), counts).tolist() == [[2.0, 0.0, 0.0, 2.0]]


@pytest.mark.parametrize("pair", [([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([], [])])
def test_undefined_is_none(pair: tuple[list[float], list[float]]) -> None:
    assert rank_correlation(*pair) == (None, None)


def test_other_lengths_are_one_line() -> None:
    with pytest.raises(ConfigurationError, match="3 and 2 values"):
        rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0])
