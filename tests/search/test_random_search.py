from __future__ import annotations

from math import comb

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import FeasibleSet, RandomSearch
from onepath.space import Choice, SearchSpace
from onepath.testing.algorithms import known_space, limited, search


def test_proposes_batches_up_to_its_number() -> None:
    space, _ = known_space()
    algorithm = RandomSearch(space, num=110, batch=50)
    assert [len(architectures) for architectures, _ in search(algorithm, FeasibleSet(space))] == [50, 50, 10]
    assert algorithm.generation == 2


def test_covers_a_small_space() -> None:
    space, _ = known_space()
    algorithm = RandomSearch(space, num=5000, batch=819)
    proposed = {item for architectures, _ in search(algorithm, FeasibleSet(space)) for item in architectures}
    assert len(proposed) > 810


def test_best_of_many_is_what_drawing_without_repetition_gives() -> None:
    """The mean best of 30 of 729, over 400 seeds, against `sum of x_(i) C(i - 1, n - 1) / C(N, n)`."""
    space = SearchSpace([Choice(name, [0, 1, 2]) for name in "abcdef"])
    values = np.random.default_rng(0).random(space.size)
    score_of = dict(zip(space.enumerate(), values, strict=True))
    weights = [comb(place, 29) / comb(space.size, 30) for place in range(space.size)]
    assert sum(weights) == pytest.approx(1)
    best = []
    for seed in range(400):
        history = search(RandomSearch(space, seed, num=30), FeasibleSet(space))
        best.append(max(score_of[item] for architectures, _ in history for item in architectures))
    expected = float(np.sort(values) @ weights)
    assert np.mean(best) == pytest.approx(expected, abs=3 * np.std(best) / 20)


@pytest.mark.parametrize("limit", [None, 70])
def test_a_larger_number_begins_with_what_the_smaller_one_proposes(limit: int | None) -> None:
    """Also where the last batch of the smaller one is not full."""
    space, table = known_space()
    feasible = FeasibleSet(space) if limit is None else limited(space, table, limit)
    small, large = (
        [
            item
            for architectures, _ in search(RandomSearch(space, 5, num=num), feasible)
            for item in architectures
        ]
        for num in (70, 120)
    )
    assert large[:70] == small


def test_numbers_are_positive() -> None:
    space, _ = known_space()
    with pytest.raises(ConfigurationError, match="num >= 1"):
        RandomSearch(space, num=0)
