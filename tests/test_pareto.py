from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onepath.errors import ConfigurationError
from onepath.search import hypervolume, pareto_front


def test_front_keeps_ties_and_leaves_out_nan() -> None:
    points = [[1, 2], [1, 2], [2, 1], [3, 3], [float("nan"), 9]]
    assert pareto_front(points, maximise=False).tolist() == [True, True, True, False, False]
    assert pareto_front(points, maximise=True).tolist() == [False, False, False, True, False]


def test_one_direction_per_objective() -> None:
    accuracy_and_macs = [[0.9, 10], [0.8, 5], [0.8, 6], [0.95, 20], [0.94, 30]]
    assert pareto_front(accuracy_and_macs, maximise=[True, False]).tolist() == [
        True,
        True,
        False,
        True,
        False,
    ]


@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 4).map(float)))
def test_agrees_with_the_definition(points) -> None:
    dominated = [
        any((other >= point).all() and (other > point).any() for other in points) for point in points
    ]
    assert pareto_front(points).tolist() == [not is_dominated for is_dominated in dominated]


EXTREME = st.sampled_from(
    [float("nan"), -np.inf, np.inf, 1e308, -1e308, 1.7e308, 5e-324, 0.0, -0.0, 1.0, 2.0]
)


@given(
    arrays(float, st.tuples(st.integers(1, 10), st.integers(1, 4)), elements=EXTREME),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_no_number_is_too_large_for_the_front(points, maximise) -> None:
    """By the definition on the numbers as they are; a point with a NaN is never on it."""
    directions = maximise[: points.shape[1]]
    gains = np.where(directions, points, -points)
    dominated = [
        np.isnan(point).any() or any((other >= point).all() and (other > point).any() for other in gains)
        for point in gains
    ]
    assert pareto_front(points, maximise=directions).tolist() == [not one for one in dominated]


@given(arrays(float, st.tuples(st.integers(0, 8), st.just(3)), elements=EXTREME))
def test_no_number_is_too_large_for_the_hypervolume(points) -> None:
    """What is not finite adds nothing; the rest has the volume of the same points, smaller by powers of two."""
    finite = points[np.isfinite(points).all(axis=1)]
    for worst in (0.0, -1.7e308):
        found = hypervolume(points, [worst] * 3)
        assert found >= 0
        assert found == hypervolume(finite, [worst] * 3)
    small = hypervolume(np.ldexp(finite, -1000), [0.0] * 3)
    assert hypervolume(finite, [0.0] * 3) >= small


def test_hypervolume_of_large_numbers_worked_out() -> None:
    assert hypervolume([[1e308, 1e-308]], [-1e308, 0.0]) == pytest.approx(2.0)
    assert hypervolume([[8e307, 1.0], [1.0, 8e307]], [0.0, 0.0]) == pytest.approx(1.6e308)
    assert hypervolume([[1e308, 1e308]], [0.0, 0.0]) == np.inf
    assert hypervolume([[np.inf, 1.0], [2.0, 3.0]], [0.0, 0.0]) == 6.0
    assert hypervolume([[-np.inf, 1.0], [2.0, 3.0]], [5.0, 0.0], maximise=[False, True]) == 9.0


def test_malformed_objectives() -> None:
    assert pareto_front(np.zeros((0, 2))).tolist() == []
    assert pareto_front([]).tolist() == pareto_front([], maximise=[True, False]).tolist() == []
    assert pareto_front([[1, 2], [2, 3]], maximise=np.False_).tolist() == [True, False]
    with pytest.raises(ConfigurationError, match="shape"):
        pareto_front([1.0, 2.0])
    with pytest.raises(ConfigurationError, match="2 entries; got 1"):
        pareto_front([[1.0, 2.0]], maximise=[True])


def test_hypervolume_of_rectangles() -> None:
    points = [[3, 1], [2, 2], [1, 3]]
    assert hypervolume(points, [0, 0]) == 6  # 1 x 3, 1 x 2 and 1 x 1 side by side
    assert hypervolume([*points, [1, 1], [2, 2]], [0, 0]) == 6  # dominated and equal points add nothing
    assert hypervolume(np.negative(points), [0, 0], maximise=False) == 6
    assert hypervolume([[0.9, 10], [0.8, 5]], [0.5, 20], maximise=[True, False]) == pytest.approx(
        0.4 * 10 + 0.3 * 5
    )
    assert hypervolume([[2, 3, 4]], [0, 0, 0]) == 24
    assert hypervolume([[5.0], [3.0]], [1.0]) == 4


def test_points_worse_than_the_reference_add_nothing() -> None:
    assert hypervolume([[3, 1], [-1, 9], [float("nan"), 9], [9, 0]], [0, 0]) == 3
    assert hypervolume(np.zeros((0, 2)), [0, 0]) == 0
    assert hypervolume([], [0, 0]) == hypervolume([], [0, 0], maximise=[True, False]) == 0
    assert hypervolume([[1, 1]], [2, 2]) == 0


@given(arrays(float, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 6).map(float)))
def test_hypervolume_counts_the_unit_squares_that_are_dominated(points) -> None:
    squares = [(x, y) for x in range(6) for y in range(6)]
    dominated = sum(any(x < point[0] and y < point[1] for point in points) for x, y in squares)
    assert hypervolume(points, [0, 0]) == dominated
    front = points[pareto_front(points)]
    assert hypervolume(front, [0, 0]) == dominated


def test_malformed_reference() -> None:
    with pytest.raises(ConfigurationError, match="2 finite numbers"):
        hypervolume([[1, 2]], [0])
    with pytest.raises(ConfigurationError, match="2 finite numbers"):
        hypervolume([[1, 2]], [0, float("inf")])
