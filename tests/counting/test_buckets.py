"""Counting in buckets, where the paths are too many to list: here on lists so short that all can be enumerated."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, plain_space, plain_table

from onepath.counting import CostTable, CostTerm, buckets
from onepath.counting.buckets import Buckets, _prefix_extremes
from onepath.space import SearchSpace
from onepath.space.layers import build_layers

SPACES = {
    "conditional": (conditional_space(), conditional_table("int")),
    "plain": (plain_space(6), plain_table(6, largest=1000)),
}


@pytest.fixture(autouse=True)
def short_list():
    """All but the last few paths go through buckets."""
    with patch.multiple(buckets, MOST_LISTED=20, MOST_BUCKETS=256, FEWEST_BUCKETS=64):
        yield


def made(space: SearchSpace, table: CostTable) -> tuple[Buckets, np.ndarray]:
    """The counter, and the costs of all architectures as sums of its layers."""
    costs = table.ticks(space, space.enumerate_matrix()) - table.constant_ticks
    return Buckets(build_layers(space, table)), costs


@pytest.mark.parametrize("name", SPACES)
def test_bounds_enclose_every_window_and_the_estimate_is_near(name: str) -> None:
    counter, costs = made(*SPACES[name])
    for low, high in itertools.combinations(
        np.quantile(costs, [0, 0.2, 0.5, 0.6, 1]).astype(int).tolist(), 2
    ):
        inside = int(((costs >= low) & (costs <= high)).sum())
        least, most = counter.bounds(low, high)
        assert least <= inside <= most
        assert counter.count(low, high) == pytest.approx(inside, rel=0.1)
        assert counter.acceptance(low, high) == pytest.approx(inside / most, abs=0.05)
        assert counter.count(low, high) == counter.count(low, high)


@pytest.mark.parametrize("name", SPACES)
def test_rows_lie_inside_and_reach_every_architecture(name: str) -> None:
    space, table = SPACES[name]
    counter, costs = made(space, table)
    low, high = np.quantile(costs, [0.3, 0.4]).astype(int).tolist()
    rows = np.zeros((20_000, space.num_choices), dtype=space.dtype)
    assert counter.sample(low, high, rows, np.random.default_rng(0))
    drawn = table.ticks(space, rows) - table.constant_ticks
    assert low <= drawn.min() <= drawn.max() <= high
    assert len(np.unique(rows, axis=0)) == ((costs >= low) & (costs <= high)).sum()


def test_a_hole_between_the_sums_ends_without_a_draw() -> None:
    space = plain_space(8, 3)
    table = CostTable(0, [CostTerm(name, [0, 1000, 2000]) for name in space.names])
    counter, costs = made(space, table)
    rows = np.zeros((2, 8), dtype=np.uint8)
    assert costs.min() < 1300 < costs.max()
    with patch.object(buckets, "_MOST_TRIES", 2**13):
        assert not counter.sample(1300, 1400, rows, np.random.default_rng(0))
    assert not rows.any()
    assert counter.count(1300, 1400) == counter.bounds(1300, 1400)[0] == counter.acceptance(1300, 1400) == 0


def test_a_long_window_history_is_forgotten_and_prepared_anew() -> None:
    counter, costs = made(*SPACES["plain"])
    low = int(costs.min())
    first = counter.count(low, low + 1000)
    for width in range(buckets._MOST_WINDOWS):
        counter.count(low, low + width)
    assert (low, low + 1000) not in counter._windows
    assert counter.count(low, low + 1000) == first


@pytest.mark.parametrize("name", SPACES)
def test_extremes_of_the_way_to_each_layer(name: str) -> None:
    space, table = SPACES[name]
    layers = build_layers(space, table)
    _, costs = made(space, table)
    extremes = _prefix_extremes(layers)
    assert extremes[0] == (0, 0)
    assert extremes[-1] == (costs.min(), costs.max())
