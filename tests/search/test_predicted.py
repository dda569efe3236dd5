"""A search that goes by predictions to its end, and then evaluates the best."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import ALGORITHMS, Budget, FeasibleSet, Limit, Predicted, RandomSearch
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace([Choice(f"c{place}", [0, 1, 2, 3]) for place in range(4)])


def cost(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix, dtype=float).sum(axis=1)


def value(matrix: np.ndarray) -> np.ndarray:
    """Best where the first choices are large."""
    return np.asarray(matrix, dtype=float) @ [8.0, 4.0, 2.0, 1.0]


def feasible(most: float = 6) -> FeasibleSet:
    return FeasibleSet(SPACE, [Limit("max_cost", "cost", most, cost)])


def test_it_proposes_the_best_of_all_that_meet_the_limit() -> None:
    everything = np.array(list(itertools.product(range(4), repeat=4)))
    legal = everything[cost(everything) <= 6]
    best = legal[np.argsort(-value(legal), kind="stable")][:5]
    search = Predicted(RandomSearch(SPACE, num=256, batch=64), value, 5)
    assert search.generation == -1
    proposals = search.ask(feasible())
    assert sorted(value(SPACE.matrix([p.architecture for p in proposals])).tolist()) == sorted(
        value(best).tolist()
    )
    assert [value(SPACE.matrix([p.architecture]))[0] for p in proposals] == sorted(
        value(best).tolist(), reverse=True
    )
    assert search.generation == 0
    search.tell([p.architecture for p in proposals], [0.0] * 5)
    assert search.ask(feasible()) == []
    assert search.num_predicted > 100


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_it_drives_every_algorithm(name: str) -> None:
    def found(num: int) -> list[str]:
        algorithm = ALGORITHMS[name].for_budget(
            SPACE, 3, Budget(16, 80, [cost] if ALGORITHMS[name].takes_costs else [])
        )
        return [str(p.architecture) for p in Predicted(algorithm, value, num).ask(feasible())]

    assert found(8) == found(8)
    assert found(8)[:3] == found(3)
    assert len(set(found(8))) == 8
    assert all(cost(SPACE.matrix([SPACE.parse(text)]))[0] <= 6 for text in found(8))


def test_nan_comes_last_and_others_than_those_asked_for_are_refused() -> None:
    def partly(matrix: np.ndarray) -> np.ndarray:
        return np.where(matrix[:, 0] == 3, math.nan, value(matrix))

    search = Predicted(RandomSearch(SPACE, num=200), partly, 3)
    proposals = search.ask(feasible(12))
    assert all(p.architecture.indices[0] == 2 for p in proposals)
    with pytest.raises(ConfigurationError, match="the 3 architectures of the last `ask`"):
        search.tell([proposals[0].architecture], [1.0])
