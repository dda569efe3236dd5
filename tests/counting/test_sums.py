"""Lists of sums and of paths, against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table

from onepath.counting.sums import PathList, SortedSums
from onepath.errors import SpaceError
from onepath.space.layers import build_layers, num_paths


def test_positions_equal_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    states, sums = rng.integers(0, 4, 500), rng.integers(-50, 50, 500)
    sorted_sums = SortedSums(states, sums, np.arange(500))
    found_states, found_sums = sorted_sums.entries()
    assert (np.lexsort((found_sums, found_states)) == np.arange(500)).all()
    assert (states[sorted_sums.values] == found_states).all()
    assert (sums[sorted_sums.values] == found_sums).all()
    for bound in (-1000, -51, -50, -1, 0, 17, 49, 50, 1000):  # far outside of the sums, too
        found = sorted_sums.position(np.arange(4), np.full(4, bound))
        before = [(states < state).sum() + ((states == state) & (sums <= bound)).sum() for state in range(4)]
        assert found.tolist() == before


def test_merging_adds_the_values_of_equal_entries() -> None:
    states, sums = np.array([1, 0, 1, 0, 1]), np.array([7, 7, -2, 7, 7])
    merged = SortedSums(states, sums, np.array([1, 10, 100, 1000, 10_000], dtype=object))
    merged.merge()
    assert [part.tolist() for part in merged.entries()] == [[0, 1, 1], [7, -2, 7]]
    assert merged.values.tolist() == [1010, 100, 10_001]
    assert len(merged) == 3


def test_keys_that_would_overflow_are_an_error() -> None:
    with pytest.raises(SpaceError, match=r"states \* range of costs < 2\^62.*got 16384 joint options"):
        SortedSums(np.array([0, 2**14 - 1]), np.array([0, 2**48]), np.zeros(2))


@pytest.mark.parametrize("to_end", [True, False])
def test_a_list_of_all_paths_holds_every_architecture_with_its_cost(to_end: bool) -> None:
    space, table = conditional_space(), conditional_table("int")
    listed = PathList(build_layers(space, table), to_end=to_end)
    rows = np.zeros((space.size, space.num_choices), dtype=np.int16)
    listed.decode(np.arange(space.size), None, rows)
    assert len(np.unique(rows, axis=0)) == space.size
    assert (space.canonical(rows) == rows).all()
    assert (listed.sums.entries()[1] + table.constant_ticks == table.ticks(space, rows)).all()


def test_paths_from_the_middle_fit_to_paths_to_the_middle() -> None:
    space, table = conditional_space(), conditional_table("int")
    layers = build_layers(space, table)
    for middle in range(1, len(layers)):
        before, after = (
            PathList(layers[:middle], to_end=False),
            PathList(layers[middle:], to_end=True),
        )
        assert len(after.sums) == sum(num_paths(layers)[middle])
        states, sums = before.sums.entries()
        costs = []
        for position, (state, cost) in enumerate(zip(states, sums, strict=True)):
            first = after.sums.position(np.array([state]), np.array([-(2**40)]))[0]
            last = after.sums.position(np.array([state]), np.array([2**40]))[0]
            rows = np.zeros((last - first, space.num_choices), dtype=np.int16)
            before.decode(np.full(len(rows), position), None, rows)
            after.decode(np.arange(first, last), np.full(len(rows), state), rows)
            own = table.ticks(space, rows) - table.constant_ticks
            assert (own == cost + after.sums.entries()[1][first:last]).all()
            costs += own.tolist()
        assert sorted(costs) == sorted(
            (table.ticks(space, space.enumerate_matrix()) - table.constant_ticks).tolist()
        )
