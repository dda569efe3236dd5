from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onepath.errors import ConfigurationError
from onepath.search import pareto_front


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


def test_malformed_objectives() -> None:
    assert pareto_front(np.zeros((0, 2))).tolist() == []
    with pytest.raises(ConfigurationError, match="shape"):
        pareto_front([1.0, 2.0])
    with pytest.raises(ConfigurationError, match="2 entries; got 1"):
        pareto_front([[1.0, 2.0]], maximise=[True])
