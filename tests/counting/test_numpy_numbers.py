"""Numbers of numpy are exact numbers wherever a space takes one: limits, costs, options, indices."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from onepath.cost import MaxMacs
from onepath.counting import CostTable, CostTerm, WindowSampler, most_probable
from onepath.errors import ConfigurationError, SpaceError
from onepath.search import FeasibleSet
from onepath.search.feasible import Limit
from onepath.space import Choice, SearchSpace, round_to
from onepath.train import ConstrainedSampler

SMALL = SearchSpace([Choice(f"c{i}", ["a", "b", "c"]) for i in range(4)])
LARGE = SearchSpace([Choice(f"c{i}", ["a", "b", "c", "d", "e", "f", "g", "h"]) for i in range(22)])
NUMBERS = (np.int64, np.int32, np.uint64, np.float64, np.float32, np.array)


def costs_of(space: SearchSpace, dtype: Any) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(1, 2**20, (space.num_choices, space.choices[0].num_options)).astype(dtype)


@cache
def plain_sampler(space: SearchSpace) -> WindowSampler:
    return WindowSampler(space, costs_of(space, np.int64).tolist())


@pytest.mark.parametrize(
    ("space", "dtype", "convert"),
    [
        *((SMALL, dtype, convert) for dtype in (np.int64, np.float32, object) for convert in NUMBERS),
        (LARGE, np.int64, np.int64),
        (LARGE, np.float32, np.int64),
        (LARGE, np.int64, np.int32),
    ],
)
def test_a_window_is_the_same_with_numbers_of_numpy(
    space: SearchSpace, dtype: Any, convert: Callable[[int], Any]
) -> None:
    """The large space has more architectures than int64 can count, and so has its window."""
    costs = costs_of(space, dtype)
    plain = plain_sampler(space)
    limit = 2**19 * space.num_choices  # exact in float32
    sampler = space.window_sampler(costs)
    assert sampler.count(None, convert(limit)) == plain.count(None, limit)
    assert sampler.bounds(convert(limit), None) == plain.bounds(limit, None)
    assert sampler.quantile(np.float32(0.5)) == plain.quantile(0.5)
    table = sampler.table
    constrained = ConstrainedSampler(
        space, table, convert(0), convert(limit), bins=[convert(0), convert(limit)]
    )
    (path,) = constrained.paths(0, np.random.default_rng(0))
    assert table.cost(path) <= limit
    feasible = FeasibleSet(
        space, [Limit("max_macs", "", convert(limit), lambda m: table.costs(space, m), table)]
    )
    rows = feasible.sample(5, np.random.default_rng(0))
    assert feasible.is_legal(rows).all()
    scores = {name: [0.0, 1.0, 2.0, *[0.0] * (space.choices[0].num_options - 3)] for name in space.names}
    if space is SMALL:
        best = most_probable(space, scores, table, convert(limit))
        assert best == most_probable(space, scores, table, limit)


def test_a_table_takes_numbers_of_numpy_and_refuses_what_overflows() -> None:
    terms = [CostTerm("c0", [np.int32(2**31 - 1)] * 3), CostTerm("c1", np.array([1, 2, 3], dtype=np.uint8))]
    table = CostTable(np.int32(2**31 - 1), terms)
    assert table.is_integer
    assert table.cost(SMALL.architecture([0, 2, 0, 0])) == 2 * (2**31 - 1) + 3
    for wrong in ([2**62, 0, 0], np.array([2**63, 0, 0], dtype=np.uint64), [10**30, 0, 0]):
        with pytest.raises(SpaceError, match=r"stay below 2\^48"):
            CostTable(0, [CostTerm("c0", wrong)])
    for constant in (True, "1", None, np.array([1, 2])):
        with pytest.raises(SpaceError, match="must be a number"):
            CostTable(constant, [])
    with pytest.raises(SpaceError, match="finite numbers; got object"):
        CostTerm("c0", np.array([1, None, 2]))


@pytest.mark.parametrize("edge", ["5", True, np.float32("nan"), [1], {}])
def test_an_edge_that_is_no_number_is_one_line(edge: Any) -> None:
    sampler = SMALL.window_sampler(costs_of(SMALL, np.int64))
    for ask in (sampler.count, sampler.bounds, sampler.acceptance):
        with pytest.raises(SpaceError, match="the edges of a window must be numbers"):
            ask(edge, None)
    with pytest.raises(SpaceError, match="the edges of a window must be numbers"):
        ConstrainedSampler(SMALL, sampler.table, 0, edge)


@pytest.mark.parametrize("maximum", ["five", True, np.float32("nan"), [1], None, np.int64(0), -1])
def test_a_limit_that_is_no_positive_number_is_one_line(maximum: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"max_macs (> 0 must hold|must be a whole number such as 30M)"
    ):
        MaxMacs(maximum)


def test_limits_of_numpy_are_pythons() -> None:
    assert repr(MaxMacs(np.int64(2_000_000))) == "MaxMacs(2_000_000)"
    assert type(MaxMacs(np.int32(5)).maximum) is int


def test_options_and_sizes_of_numpy_are_pythons() -> None:
    width = Choice("width", np.array([16, 24]))
    ratio = Choice("ratio", [np.float32(0.5), np.float64(2.0), np.int16(1)])
    assert [type(option) for option in (*width.options, *ratio.options)] == [int, int, float, float, int]
    assert (width * np.int64(2)).values() == (32, 48)
    assert (np.int64(2) * width).values() == (32, 48)
    assert round_to(np.int64(33), np.int64(8)) == 32
    space = SearchSpace([width, ratio])
    assert space.architecture({"width": np.int64(24), "ratio": np.float64(2)}).indices == (1, 1)
    assert space.architecture(np.array([1, 2], dtype=np.uint8)).to_json() == '{"width": 24, "ratio": 1}'
    for wrong in ([1.0, 0], [True, 0], np.array([0.5, 1.0]), [[0, 1]], 5, None, ["0", "1"]):
        with pytest.raises(SpaceError, match="must be a sequence of 2 integers"):
            space.architecture(wrong)
