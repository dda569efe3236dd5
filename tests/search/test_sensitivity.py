"""The least threshold on the drop of every choice that meets the limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onepath.errors import ConfigurationError, InfeasibleError
from onepath.search import FeasibleSet, Limit, Sensitivity
from onepath.search.sensitivity import monotone
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace(
    [
        Choice("a", [8, 16, 32]),
        Choice("b", [32, 8, 16]),
        Choice("c", [1, 2], role="depth"),
        Choice("d", ["x", "y"]),
    ]
)
DROPS = {"a": {8: 0.5, 16: 0.1, 32: 0.0}, "b": {8: 0.2, 16: 0.3, 32: 0.0}, "c": {1: 0.05, 2: 0.0}}


def size(matrix: np.ndarray) -> np.ndarray:
    return np.array(
        [sum(v for v in one.options.values() if isinstance(v, int)) for one in SPACE.architectures(matrix)]
    )


def feasible(most: float) -> FeasibleSet:
    return FeasibleSet(SPACE, [Limit("max_size", "size", most, size)])


def test_a_smaller_option_never_drops_less() -> None:
    assert monotone({8: 0.2, 16: 0.3, 32: 0.0}) == {32: 0.0, 16: 0.3, 8: 0.3}
    assert monotone({1: -0.1, 2: 0.4}) == {2: 0.0, 1: 0.0}


@pytest.mark.parametrize(
    ("threshold", "options"),
    [
        (-1, (32, 32, 2)),
        (0, (32, 32, 2)),
        (0.05, (32, 32, 1)),
        (0.1, (16, 32, 1)),
        (0.3, (16, 8, 1)),
        (1, (8, 8, 1)),
    ],
)
def test_each_choice_takes_its_least_option_within_the_threshold(
    threshold: float, options: tuple[int, int, int]
) -> None:
    found = Sensitivity(SPACE, DROPS).at(threshold).options
    assert tuple(found[name] for name in "abc") == options
    assert found["d"] == "x"


def test_bisection_finds_what_trying_every_threshold_does() -> None:
    for most in range(17, 67):
        search = Sensitivity(SPACE, DROPS)
        thresholds = sorted({0.0, *itertools.chain(*(monotone(found).values() for found in DROPS.values()))})
        expected = next(one for t in thresholds if size(SPACE.matrix([one := search.at(t)]))[0] <= most)
        (proposal,) = search.ask(feasible(most))
        assert proposal.architecture == expected
        assert search.ask(feasible(most)) == []


def test_what_cannot_be_met_and_what_was_not_asked_for_is_refused() -> None:
    search = Sensitivity(SPACE, DROPS)
    with pytest.raises(InfeasibleError, match="must meet the limits, but got max_size=16, which it does not"):
        search.ask(feasible(16))
    (proposal,) = search.ask(feasible(40))
    assert search.generation == 0
    with pytest.raises(ConfigurationError, match="last `ask`"):
        search.tell([], [])
    search.tell([proposal.architecture], [1.0])
