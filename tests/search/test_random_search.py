from __future__ import annotations

import pytest

from onepath.errors import ConfigurationError
from onepath.search import FeasibleSet, RandomSearch
from onepath.testing.algorithms import known_space, search


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


def test_numbers_are_positive() -> None:
    space, _ = known_space()
    with pytest.raises(ConfigurationError, match="num >= 1"):
        RandomSearch(space, num=0)
