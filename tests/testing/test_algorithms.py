from __future__ import annotations

import pytest

from onepath.search import (
    NSGA2,
    Algorithm,
    Evolution,
    FeasibleSet,
    MutationEvolution,
    RandomSearch,
    RegularizedEvolution,
    Reinforce,
)
from onepath.space import SearchSpace
from onepath.testing import ALGORITHM_CHECKS, MakeAlgorithm, known_score, known_space, search
from onepath.testing.algorithms import check_nothing_is_proposed_twice, check_replay_resumes


def make_random(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return RandomSearch(space, seed, num=budget, batch=20)


def make_evolution(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return Evolution(
        space, seed, population=20, generations=budget // 20 - 1, parents=5, num_mutation=10, num_crossover=10
    )


def make_regularized(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return RegularizedEvolution(space, seed, num=budget, population=20, sample=5)


def make_regularized_in_batches(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return RegularizedEvolution(space, seed, num=budget, population=30, sample=5, batch=40)


def make_mutation(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return MutationEvolution(space, seed, num=budget, population=20)


def make_nsga2(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return NSGA2(space, seed, population=20, generations=budget // 20 - 1)


def make_nsga2_with_cost(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    _, table = known_space()
    costs = [lambda rows: table.costs(space, rows)]
    return NSGA2(space, seed, population=20, generations=budget // 20 - 1, costs=costs)


def make_reinforce(space: SearchSpace, seed: int, budget: int) -> Algorithm:
    return Reinforce(space, seed, num=budget, batch=20, hidden=16)


MAKERS = [
    make_random,
    make_evolution,
    make_regularized,
    make_regularized_in_batches,
    make_nsga2,
    make_nsga2_with_cost,
    make_mutation,
    make_reinforce,
]


@pytest.mark.parametrize("check", ALGORITHM_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", MAKERS)
def test_algorithms_keep_the_contract(make: MakeAlgorithm, check) -> None:
    check(make)


@pytest.mark.parametrize("make", [*MAKERS[1:5], make_mutation])
def test_those_that_use_the_scores_beat_random_search(make: MakeAlgorithm) -> None:
    """Of a search for one objective, over 20 seeds and 120 of 819 architectures."""
    space, _ = known_space()

    def mean_best(make: MakeAlgorithm) -> float:
        runs = [search(make(space, seed, 120), FeasibleSet(space)) for seed in range(20)]
        return sum(max(max(scores) for _, scores in run) for run in runs) / len(runs)

    best = max(map(known_score, space.enumerate()))
    assert mean_best(make_random) + 0.5 < mean_best(make) <= best


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
