from __future__ import annotations

import pytest

from onepath.search import Algorithm, Evolution, RandomSearch
from onepath.space import SearchSpace
from onepath.testing import ALGORITHM_CHECKS, MakeAlgorithm
from onepath.testing.algorithms import check_nothing_is_proposed_twice, check_replay_resumes


def make_random(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return RandomSearch(space, seed, num=budget, batch=20)


def make_evolution(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return Evolution(
        space, seed, population=20, generations=budget // 20 - 1, parents=5, num_mutation=10, num_crossover=10
    )


@pytest.mark.parametrize("check", ALGORITHM_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", [make_random, make_evolution])
def test_algorithms_keep_the_contract(make: MakeAlgorithm, check) -> None:
    check(make)


class Forgetful(RandomSearch):
    def ask(self, feasible):
        self._visited.clear()
        return super().ask(feasible) if self.generation < 40 else []


class Unseeded(RandomSearch):
    runs = 0

    def __init__(self, space, seed=0, num=1000, batch=50):
        Unseeded.runs += 1
        super().__init__(space, seed + Unseeded.runs, num, batch)


def test_contract_notices_repetition() -> None:
    with pytest.raises(AssertionError, match="twice"):
        check_nothing_is_proposed_twice(lambda space, seed, budget: Forgetful(space, seed, num=budget))


def test_contract_notices_state_outside_the_seed() -> None:
    with pytest.raises(AssertionError, match="not repeated"):
        check_replay_resumes(lambda space, seed, budget: Unseeded(space, seed, num=budget))
