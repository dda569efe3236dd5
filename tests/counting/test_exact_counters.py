"""The two exact ways to count, against closed forms and each other."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, pair_space, pair_table, plain_space
from scipy.stats import chisquare

from onepath.counting import CostTable, CostTerm, halves, merged
from onepath.counting.halves import Halves, num_prefixes
from onepath.counting.merged import Merged
from onepath.space.layers import Layer, build_layers, num_paths

COUNTERS = {"merged": Merged, "halves": Halves}


def coins(num: int) -> list[Layer]:
    """Choices between 0 and 1: a sum of k has (num over k) paths."""
    table = CostTable(0, [CostTerm(f"c{index}", [0, 1]) for index in range(num)])
    return build_layers(plain_space(num, 2), table)


@pytest.mark.parametrize("name", COUNTERS)
def test_sums_of_coins_are_binomial(name: str) -> None:
    counter = COUNTERS[name].build(coins(12))
    for low, high in itertools.combinations_with_replacement(range(-1, 14), 2):
        expected = sum(math.comb(12, k) for k in range(max(low, 0), min(high, 12) + 1))
        assert counter.count(low, high) == expected
        assert counter.bounds(low, high) == (expected, expected)
        assert counter.acceptance(low, high) == (expected > 0)


@pytest.mark.parametrize("name", COUNTERS)
def test_draws_of_coins_are_uniform_over_sums_and_places(name: str) -> None:
    counter = COUNTERS[name].build(coins(10))
    rows = np.zeros((50_000, 10), dtype=np.uint8)
    assert counter.sample(2, 4, rows, np.random.default_rng(0))
    ones = np.bincount(rows.sum(axis=1), minlength=5)
    assert ones[:2].sum() == 0
    weights = np.array([math.comb(10, k) for k in (2, 3, 4)])
    assert chisquare(ones[2:], weights / weights.sum() * len(rows)).pvalue > 1e-3
    assert chisquare(rows.sum(axis=0)).pvalue > 1e-3


@pytest.mark.parametrize("name", COUNTERS)
def test_an_empty_window_fills_nothing(name: str) -> None:
    counter = COUNTERS[name].build(coins(4))
    rows = np.full((3, 4), 9, dtype=np.uint8)
    assert not counter.sample(5, 9, rows, np.random.default_rng(0))
    assert (rows == 9).all()


def test_both_agree_on_a_conditional_space() -> None:
    layers = build_layers(conditional_space(), conditional_table("int"))
    first, second = Merged.build(layers), Halves.build(layers)
    for low in range(-80, 200, 7):
        for high in (low, low + 3, low + 90):
            assert first.count(low, high) == second.count(low, high)


def test_numbers_of_prefixes_and_of_paths_meet() -> None:
    layers = build_layers(conditional_space(), conditional_table("int"))
    prefixes, suffixes = num_prefixes(layers), num_paths(layers)
    assert prefixes[0] == suffixes[-1][0] == 1
    assert prefixes[-1] == suffixes[0][0] == conditional_space().size
    decided = itertools.accumulate((len(layer.columns) for layer in coins(5)), initial=0)
    assert num_prefixes(coins(5)) == [2**num for num in decided]


def test_a_space_that_is_too_large_has_no_such_counter() -> None:
    layers = build_layers(pair_space(10), pair_table(10))
    assert Merged.build(layers) is None
    assert Halves.build(layers) is None
    small = coins(8)
    with patch.object(merged, "MOST_SUMS", 8):
        assert Merged.build(small) is None
    with patch.object(merged, "MOST_SUMS", 9):
        assert Merged.build(small) is not None
    with patch.object(halves, "MOST_PATHS", 15):
        assert Halves.build(small) is None
    with patch.object(halves, "MOST_PATHS", 16):
        assert Halves.build(small) is not None


def test_a_long_window_history_is_forgotten_and_counted_anew() -> None:
    counter = Halves.build(coins(12))
    for _ in range(2):
        assert [counter.count(k, k) for k in range(13)] == [math.comb(12, k) for k in range(13)]
    assert len(counter._windows) == halves._MOST_WINDOWS


def test_quantiles_of_merged_sums() -> None:
    counter = Merged.build(coins(4))  # 1, 4, 6, 4, 1 of 16
    steps = [(0, 0), (1, 0), (2, 1), (5, 1), (6, 2), (11, 2), (12, 3), (15, 3), (16, 4)]
    for sixteenths, expected in steps:
        assert counter.quantile(Fraction(sixteenths, 16)) == expected


def test_sums_far_apart_are_found_by_search() -> None:
    """Beyond 2^18 ticks a level has no direct table; a sum that no path has weighs nothing."""
    table = CostTable(0, [CostTerm(f"c{index}", [0, 10 ** (index + 3)]) for index in range(6)])
    counter = Merged.build(build_layers(plain_space(6, 2), table))
    assert counter._levels[0]._direct is None
    rows = np.zeros((200, 6), dtype=np.uint8)
    assert counter.sample(10**5 + 1, 10**6 + 10**3, rows, np.random.default_rng(0))
    costs = table.costs(plain_space(6, 2), rows)
    inside = [10**5 + 10**3, 10**5 + 10**4, 10**5 + 10**4 + 10**3, 10**6, 10**6 + 10**3]
    assert sorted(set(costs.tolist())) == inside
