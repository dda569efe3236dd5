from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from onepath.errors import InfeasibleError
from onepath.search import FeasibleSet, Limit
from onepath.testing.algorithms import known_space, limited

SPACE, TABLE = known_space()
ROWS = SPACE.enumerate_matrix()
COSTS = TABLE.costs(SPACE, ROWS)


def by_table(maximum: float) -> Limit:
    return Limit("max_macs", "MACs", maximum, lambda rows: TABLE.costs(SPACE, rows), TABLE)


def latency(rows):
    return rows.sum(axis=1) / 4


def by_function(maximum: float) -> Limit:
    return Limit("max_latency_ms", "ms", maximum, latency)


def counts_of(drawn, inside):
    number = {row.tobytes(): index for index, row in enumerate(inside)}
    return np.bincount([number[row.tobytes()] for row in drawn], minlength=len(inside))


def test_without_limits_all_is_legal() -> None:
    feasible = FeasibleSet(SPACE)
    rows = feasible.sample(50, np.random.default_rng(0))
    assert (rows == SPACE.sample(50, np.random.default_rng(0))).all()
    assert feasible.is_legal(rows).all()


def test_one_table_is_drawn_uniformly() -> None:
    feasible = limited(SPACE, TABLE, 50)
    drawn = feasible.sample(50_000, np.random.default_rng(0))
    assert chisquare(counts_of(drawn, ROWS[COSTS <= 50])).pvalue > 1e-3


def test_a_second_limit_rejects() -> None:
    feasible = FeasibleSet(SPACE, [by_function(1.5), by_table(60)])
    legal = (COSTS <= 60) & (latency(ROWS) <= 1.5)
    assert (feasible.is_legal(ROWS) == legal).all()
    drawn = feasible.sample(20_000, np.random.default_rng(0))
    assert chisquare(counts_of(drawn, ROWS[legal])).pvalue > 1e-3


def test_the_tightest_table_is_drawn_from() -> None:
    for limits in ([by_table(30), by_table(100)], [by_table(100), by_table(30)]):
        drawn = FeasibleSet(SPACE, limits).sample(1000, np.random.default_rng(0))
        assert TABLE.costs(SPACE, drawn).max() <= 30


def test_a_limit_without_a_table_rejects() -> None:
    feasible = FeasibleSet(SPACE, [by_function(0.5)])
    drawn = feasible.sample(200, np.random.default_rng(0))
    assert drawn.shape == (200, 7)
    assert latency(drawn).max() <= 0.5


def test_the_limit_itself_is_legal() -> None:
    lowest = int(COSTS.min())
    drawn = limited(SPACE, TABLE, lowest).sample(3, np.random.default_rng(0))
    assert (TABLE.costs(SPACE, drawn) == lowest).all()


def test_an_impossible_limit_names_smallest_and_median_cost() -> None:
    lowest, median = COSTS.min(), int(np.quantile(COSTS, 0.5, method="inverted_cdf"))
    with pytest.raises(InfeasibleError) as caught:
        limited(SPACE, TABLE, 11).sample(1, np.random.default_rng(0))
    assert str(caught.value) == (
        f"max_macs must be at least the smallest cost of the space, {lowest} MACs; got 11 MACs; raise"
        " max_macs"
        f" (the median cost is {median} MACs)"
    )


def test_an_impossible_limit_without_a_table_is_found_in_bounded_tries() -> None:
    num_rows = []

    def costs(rows):
        num_rows.append(len(rows))
        return latency(rows) + 1

    feasible = FeasibleSet(SPACE, [Limit("max_latency_ms", "ms", 0.9, costs)])
    with pytest.raises(InfeasibleError, match=r"max_latency_ms must be at least .* about 1.* ms; got 0.9 ms"):
        feasible.sample(1, np.random.default_rng(0))
    assert sum(num_rows) < 30_000


def test_limits_that_exclude_each_other() -> None:
    contrary = Limit("max_unused", "", 0, lambda rows: 100 - TABLE.costs(SPACE, rows))
    with pytest.raises(InfeasibleError) as caught:
        FeasibleSet(SPACE, [by_table(30), contrary]).sample(1, np.random.default_rng(0))
    message = str(caught.value)
    assert "\n" not in message
    assert "got max_macs=30 MACs, max_unused=0, met by none of" in message
    assert f"max_macs: smallest {COSTS.min()} MACs, median" in message
