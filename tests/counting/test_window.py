from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from counting.tables import (
    conditional_space,
    conditional_table,
    pair_space,
    pair_table,
    plain_space,
    plain_table,
    window_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from onepath.counting import CostTable, CostTerm, WindowSampler, bounds, buckets
from onepath.errors import InfeasibleError, SpaceError
from onepath.space import Choice, SearchSpace

METHODS = ("merged", "halves", "buckets")


def few_buckets():
    """Bucket tables so small that even tiny spaces have wide buckets and a long way to the list."""
    return patch.multiple(buckets, MOST_LISTED=9, MOST_BUCKETS=32, FEWEST_BUCKETS=16)


def coarse_buckets():
    return patch.multiple(bounds, _FEWEST=4, _MOVED=1.5)


@st.composite
def spaces_and_tables(draw):
    num = draw(st.integers(1, 6))
    choices = [Choice(f"c{index}", list(range(draw(st.integers(1, 3))))) for index in range(num)]
    conditions = {}
    for index in range(1, num):
        if draw(st.booleans()):
            alternatives = []
            for _ in range(draw(st.integers(1, 2))):
                parents = draw(st.lists(st.integers(0, index - 1), min_size=1, max_size=2, unique=True))
                alternatives.append(
                    {
                        f"c{parent}": draw(
                            st.lists(st.sampled_from(choices[parent].options), min_size=1, unique=True)
                        )
                        for parent in parents
                    }
                )
            conditions[f"c{index}"] = alternatives
    cost = draw(st.sampled_from([st.integers(-30, 30), st.floats(-5, 5)]))
    terms = []
    for _ in range(draw(st.integers(0, 5))):
        columns = draw(st.lists(st.integers(0, num - 1), min_size=1, max_size=min(3, num), unique=True))
        shape = tuple(choices[column].num_options for column in columns)
        values = draw(st.lists(cost, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        terms.append(CostTerm([f"c{column}" for column in columns], np.array(values).reshape(shape)))
    return SearchSpace(choices, conditions), CostTable(draw(cost), terms)


@settings(max_examples=150, deadline=None)
@given(spaces_and_tables(), st.randoms(use_true_random=False))
def test_count_and_draws_agree_with_enumeration(space_and_table, random) -> None:
    space, table = space_and_table
    costs = table.costs(space, space.enumerate_matrix())
    low, high = sorted(random.choices(costs.tolist(), k=2))
    expected = int(((costs >= low) & (costs <= high)).sum())
    with few_buckets(), coarse_buckets():
        for method in METHODS:
            sampler = WindowSampler(space, table, method)
            assert sampler.num_total == space.size == len(costs)
            assert sampler.extremes() == table.extremes(space) == (costs.min(), costs.max())
            rows = sampler.sample(low, high, 20, np.random.default_rng(0))
            drawn = table.costs(space, rows)
            assert ((drawn >= low) & (drawn <= high)).all()
            assert (space.canonical(rows) == rows).all()
            least, most = sampler.bounds(low, high)
            assert least <= expected <= most
            if sampler.is_exact:
                assert sampler.count(low, high) == least == most == expected
                below = np.nextafter(low, -np.inf), np.nextafter(high, -np.inf)
                assert sampler.count(*below) == int(((costs >= below[0]) & (costs <= below[1])).sum())


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("method", METHODS)
def test_draws_are_uniform_over_distinct_architectures(method: str, kind: str) -> None:
    space, table = conditional_space(), conditional_table(kind)
    rows = space.enumerate_matrix()
    costs = table.costs(space, rows)
    low, high = np.quantile(costs, [0.2, 0.6])
    inside = rows[(costs >= low) & (costs <= high)]
    number = {row.tobytes(): index for index, row in enumerate(inside)}
    with few_buckets(), coarse_buckets():
        sampler = WindowSampler(space, table, method)
        if method == "buckets":
            assert sampler.acceptance(low, high) < 0.9  # else the test would not see a wrong rejection
        drawn = sampler.sample(low, high, 100_000, np.random.default_rng(1))
    counts = np.bincount([number[row.tobytes()] for row in drawn], minlength=len(inside))
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_draws_without_a_cost_are_uniform_over_distinct_architectures(method: str) -> None:
    space = conditional_space()
    number = {row.tobytes(): index for index, row in enumerate(space.enumerate_matrix())}
    with few_buckets():
        drawn = WindowSampler(space, CostTable(5, []), method).sample(5, 5, 100_000, np.random.default_rng(1))
    assert chisquare(np.bincount([number[row.tobytes()] for row in drawn], minlength=819)).pvalue > 1e-3


def test_bucket_estimate_is_close() -> None:
    space, table = conditional_space(), conditional_table("int")
    costs = table.costs(space, space.enumerate_matrix())
    with few_buckets(), coarse_buckets():
        sampler = WindowSampler(space, table, "buckets")
        for low, high in np.quantile(costs, [[0.1, 0.3], [0.5, 0.9]]):
            expected = ((costs >= low) & (costs <= high)).sum()
            assert sampler.count(low, high) == pytest.approx(expected, rel=0.1)


def test_methods_by_size() -> None:
    assert WindowSampler(plain_space(), plain_table(largest=100)).method == "merged"
    assert WindowSampler(plain_space(12), plain_table(12)).method == "halves"
    assert WindowSampler(pair_space(10), pair_table(10)).method == "buckets"
    with pytest.raises(SpaceError, match="small enough"):
        WindowSampler(pair_space(10), pair_table(10), "halves")


def test_merged_counts_are_exact_beyond_int64() -> None:
    space = plain_space(50)
    table = CostTable(0, [CostTerm((f"c{index}",), [0, 1, 1, 3]) for index in range(50)])
    sampler = WindowSampler(space, table)
    assert sampler.method == "merged"
    assert sampler.count() == 4**50
    assert sampler.count(0, 0) == sampler.count(150, 150) == 1
    assert sampler.count(1, 1) == 100  # one choice at cost 1, in two ways
    assert sampler.count(2, 2) == 50 * 49 // 2 * 4
    assert sum(sampler.count(cost, cost) for cost in range(151)) == 4**50
    rows = sampler.sample(1, 1, 1000, np.random.default_rng(0))
    assert (table.costs(space, rows) == 1).all()
    assert len(np.unique(rows, axis=0)) > 95


def test_twenty_choices_of_four_arbitrary_costs_are_counted_exactly() -> None:
    space, table = plain_space(), plain_table()
    sampler = WindowSampler(space, table)
    assert sampler.method == "halves"
    cuts = [*window_of(space, table, 1e-6), *window_of(space, table, 0.3)]
    edges = [None, *sorted(cuts), None]
    parts = [sampler.count(low if low is None else low + 1, high) for low, high in itertools.pairwise(edges)]
    assert sum(parts) == 4**20
    low, high = window_of(space, table, 1e-6)
    assert sampler.count(low, high) / 4**20 == pytest.approx(1e-6, rel=0.2)
    rows = sampler.sample(low, high, 10_000, np.random.default_rng(0))
    costs = table.costs(space, rows)
    assert low <= costs.min() <= costs.max() <= high


@pytest.mark.parametrize(
    ("space", "table"),
    [(plain_space(), plain_table()), (pair_space(), pair_table())],
    ids=["halves", "buckets"],
)
def test_draws_from_a_large_space_match_rejection(space: SearchSpace, table: CostTable) -> None:
    low, high = window_of(space, table, 0.1)
    exact = space.sample_within(table, low, high, 20_000, np.random.default_rng(0))
    free = space.sample(200_000, np.random.default_rng(1))
    costs = table.costs(space, free)
    rejected = free[(costs >= low) & (costs <= high)]
    pvalues = []
    for column, num in enumerate(space.num_options):
        histograms = [np.bincount(rows[:, column], minlength=num) for rows in (exact, rejected)]
        pvalues.append(chi2_contingency(histograms).pvalue)
    assert min(pvalues) > 1e-3 / len(pvalues)
    share = space.count_within(table, low, high) / space.size
    assert share == pytest.approx(len(rejected) / len(free), abs=0.005)


def test_narrow_window_keeps_two_proposals_of_three() -> None:
    space, table = pair_space(), pair_table()
    sampler = WindowSampler(space, table)
    low, high = window_of(space, table, 1e-6)
    assert sampler.acceptance(low, high) > 0.7
    assert sampler.acceptance(*window_of(space, table, 0.5)) > 0.97
    assert sampler.count(low, high) / sampler.num_total == pytest.approx(1e-6, rel=0.2)
    costs = table.costs(space, sampler.sample(low, high, 2000, np.random.default_rng(0)))
    assert low <= costs.min() <= costs.max() <= high


def test_costs_of_very_different_scales() -> None:
    space = pair_space()
    rng = np.random.default_rng(0)
    terms = [
        CostTerm((f"op{index}", f"scale{index}"), rng.integers(0, 10 ** (3 + index // 2), (4, 8)))
        for index in range(20)
    ]
    table = CostTable(0, terms)
    sampler = WindowSampler(space, table)
    low, high = window_of(space, table, 1e-4)
    assert sampler.method == "buckets"
    assert sampler.acceptance(low, high) > 0.6
    costs = table.costs(space, sampler.sample(low, high, 1000, np.random.default_rng(0)))
    assert low <= costs.min() <= costs.max() <= high


def test_bounds_of_a_large_space_enclose_the_estimate() -> None:
    space, table = pair_space(), pair_table()
    sampler = WindowSampler(space, table)
    low, high = window_of(space, table, 1e-3)
    least, most = sampler.bounds(low, high)
    assert 0.9 * most < least <= sampler.count(low, high) <= most


@pytest.mark.parametrize("method", METHODS)
def test_edges_of_windows(method: str) -> None:
    space, table = conditional_space(), conditional_table("float")
    costs = np.sort(table.costs(space, space.enumerate_matrix()))
    sampler = WindowSampler(space, table, method)
    rng = np.random.default_rng(0)
    lowest, highest = float(costs[0]), float(costs[-1])
    assert sampler.count() == sampler.count(-np.inf, np.inf) == sampler.count(lowest, highest) == 819
    assert sampler.count(None, lowest) == (costs == lowest).sum()
    assert sampler.count(highest, None) == (costs == highest).sum()
    assert sampler.count(highest, lowest) == 0
    assert sampler.count(None, np.nextafter(lowest, -np.inf)) == 0
    assert sampler.count(np.inf, None) == sampler.count(None, -np.inf) == 0
    assert (table.costs(space, sampler.sample(None, lowest, 5, rng)) == lowest).all()
    assert sampler.sample(None, None, 0, rng).shape == (0, 7)
    with pytest.raises(SpaceError, match="must be numbers"):
        sampler.count(float("nan"), None)


@pytest.mark.parametrize("method", METHODS)
def test_empty_window_names_smallest_and_median_cost(method: str) -> None:
    space = plain_space(5, 3)
    table = CostTable(1000, [CostTerm((f"c{index}",), [0, 10, 30]) for index in range(5)], "MACs")
    sampler = WindowSampler(space, table, method)
    costs = table.costs(space, space.enumerate_matrix())
    assert np.quantile(costs, 0.5, method="inverted_cdf") == 1070
    with pytest.raises(InfeasibleError) as caught:
        sampler.sample(None, 999, 1, np.random.default_rng(0))
    assert str(caught.value) == (
        "some architecture must cost between any cost and 999 MACs; found none: the smallest cost of the"
        " space is"
        " 1,000 MACs, the median 1,070 MACs; widen the window"
    )
    with pytest.raises(InfeasibleError, match="between 1,001 MACs and 1,009 MACs"):
        sampler.sample(1001, 1009, 1, np.random.default_rng(0))
    assert sampler.count(1001, 1009) == 0


def test_hopeless_window_of_a_large_space_ends() -> None:
    # All costs but one are even, so that an odd cost near the top is impossible, which buckets cannot see.
    space = pair_space(9)
    rng = np.random.default_rng(0)
    terms = [
        CostTerm((f"op{index}", f"scale{index}"), 2 * rng.integers(0, 10**8, (4, 8))) for index in range(9)
    ]
    odd = terms[0].costs.copy()
    odd[0, 0] = 1
    table = CostTable(0, [CostTerm(terms[0].choices, odd), *terms[1:]])
    sampler = WindowSampler(space, table)
    top = 1 + sum(int(term.costs.max()) for term in terms[1:])
    with patch.object(buckets, "_MOST_TRIES", 2**13), pytest.raises(InfeasibleError):
        sampler.sample(top + 2, top + 2, 1, np.random.default_rng(0))
    assert sampler.bounds(top + 2, top + 2)[0] == 0


def test_quantiles() -> None:
    space, table = conditional_space(), conditional_table("int")
    costs = table.costs(space, space.enumerate_matrix())
    exact = WindowSampler(space, table)
    for fraction in (0.0, 0.1, 0.5, 0.93, 1.0):
        assert exact.quantile(fraction) == np.quantile(costs, fraction, method="inverted_cdf")
    drawn = WindowSampler(space, table, "halves").quantile(0.5)
    assert np.mean(costs <= drawn) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(SpaceError, match="0 <= fraction <= 1"):
        exact.quantile(1.5)


def test_same_seed_same_draws_whatever_was_drawn_before() -> None:
    space, table = pair_space(), pair_table()
    window = window_of(space, table, 0.01)
    fresh = WindowSampler(space, table).sample(*window, 50, np.random.default_rng(3))
    used = WindowSampler(space, table)
    used.count(*window)
    used.sample(*window_of(space, table, 0.2), 500, np.random.default_rng(4))
    assert (used.sample(*window, 50, np.random.default_rng(3)) == fresh).all()


def test_order_of_choices_does_not_matter_for_pairs() -> None:
    space, table = pair_space(6), pair_table(6)
    apart = SearchSpace(sorted(space.choices, key=lambda choice: choice.name))
    low, high = window_of(space, table, 0.2)
    assert WindowSampler(apart, table).count(low, high) == WindowSampler(space, table).count(low, high)


def test_a_choice_shared_by_all_terms() -> None:
    width = Choice("width", [8, 16, 24])
    space = SearchSpace([*(Choice(f"c{index}", list("abcd")) for index in range(8)), width])
    rng = np.random.default_rng(0)
    table = CostTable(
        0, [CostTerm((f"c{index}", "width"), rng.integers(0, 1000, (4, 3))) for index in range(8)]
    )
    costs = table.costs(space, space.enumerate_matrix())
    low, high = np.quantile(costs, [0.3, 0.4])
    for method in METHODS:
        with patch.multiple(buckets, MOST_LISTED=2**10, MOST_BUCKETS=2**10, FEWEST_BUCKETS=2**9):
            sampler = WindowSampler(space, table, method)
            least, most = sampler.bounds(low, high)
            assert least <= ((costs >= low) & (costs <= high)).sum() <= most
            drawn = sampler.sample(low, high, 20_000, np.random.default_rng(0))
        widths = space.enumerate_matrix()[(costs >= low) & (costs <= high), -1]
        expected = np.bincount(widths, minlength=3) / len(widths) * len(drawn)
        assert chisquare(np.bincount(drawn[:, -1], minlength=3), expected).pvalue > 1e-3


def test_more_joint_options_than_can_be_listed_is_an_error() -> None:
    """Costs that differ, so that no two of them can be joined."""
    space, costs = plain_space(12), np.random.default_rng(0)
    terms = [
        CostTerm((f"c{first}", f"c{second}"), costs.integers(1, 10**6, (4, 4)))
        for first in range(12)
        for second in range(first)
    ]
    with pytest.raises(SpaceError, match="joint options"):
        WindowSampler(space, CostTable(0, terms))
