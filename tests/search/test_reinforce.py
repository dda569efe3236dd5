from __future__ import annotations

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import FeasibleSet, Proposal, RandomSearch, Reinforce, run_search
from onepath.space import Architecture, Choice, SearchSpace
from onepath.testing import known_score, known_space
from onepath.testing.algorithms import limited

ARMS = SearchSpace([Choice("arm", list(range(5)))])


def evaluated(
    algorithm: Reinforce | RandomSearch, feasible: FeasibleSet, score=known_score
) -> list[Architecture]:
    """The architectures that a search evaluates, each with a score in [0, 1] that grows with `score`."""
    found: list[Architecture] = []

    def evaluate(proposal: Proposal) -> float:
        found.append(proposal.architecture)
        return score(proposal.architecture) / 15

    run_search(algorithm, feasible, evaluate)
    return found


def test_repeats_are_told_and_not_evaluated() -> None:
    space, _ = known_space()
    algorithm, told = Reinforce(space, num=300), []
    algorithm.observe = lambda pairs, observe=algorithm.observe: told.extend(pairs) or observe(pairs)  # type: ignore[method-assign]
    found = evaluated(algorithm, FeasibleSet(space))
    assert len(found) == len(set(found)) == 300
    assert len(told) > 400
    assert {architecture for architecture, _ in told} == set(found)
    assert all(score == known_score(architecture) / 15 for architecture, score in told)


def test_the_controller_learns_the_best_architecture() -> None:
    space, _ = known_space()
    algorithm = Reinforce(space, num=300, learning_rate=0.02)
    evaluated(algorithm, FeasibleSet(space))
    every = space.enumerate_matrix()
    likeliest = algorithm.controller(every).log_probabilities.argmax().item()
    scores = np.array([known_score(architecture) for architecture in space.enumerate()])
    assert scores[likeliest] >= np.sort(scores)[-10]


def test_finds_better_than_random_search() -> None:
    """Best of 300 in a space of 4 ** 8, of whose 24 points random search finds about 20."""
    space = SearchSpace([Choice(name, [0, 1, 2, 3]) for name in "abcdefgh"])

    def best(algorithm: Reinforce | RandomSearch) -> int:
        found = evaluated(algorithm, FeasibleSet(space), lambda architecture: sum(architecture.indices))
        return max(sum(architecture.indices) for architecture in found)

    seeds = range(2)
    learned = [best(Reinforce(space, seed, num=300, hidden=16, learning_rate=0.02)) for seed in seeds]
    drawn = [best(RandomSearch(space, seed, num=300)) for seed in seeds]
    assert np.mean(learned) > np.mean(drawn) + 1.5


def test_under_a_limit_that_few_meet_it_still_proposes_what_it_learned() -> None:
    space, table = known_space()
    feasible = limited(space, table, 40)
    assert space.count_within(table, None, 40) < 0.1 * space.size
    algorithm = Reinforce(space, num=50)
    proposals = algorithm.ask(feasible)
    assert [proposal.origin for proposal in proposals] == ["policy"] * 10
    found = evaluated(Reinforce(space, num=50), feasible)
    assert all(table.cost(architecture) <= 40 for architecture in found)
    assert len(found) == 50


def test_a_collapsed_controller_is_replaced_by_random_architectures() -> None:
    space, _ = known_space()
    algorithm = Reinforce(space, num=60, learning_rate=1.0)
    found = evaluated(algorithm, FeasibleSet(space), lambda architecture: float(architecture.indices[0] == 0))
    assert len(found) == 60


def test_scores_that_are_not_finite_count_as_the_lowest() -> None:
    algorithm = Reinforce(ARMS, num=5, batch=5)
    rewards: list[list[float]] = []
    algorithm._gradient.step = lambda rows, told: rewards.append(list(told))  # type: ignore[method-assign]
    algorithm.ask(FeasibleSet(ARMS))
    asked = algorithm._asked
    scores = [float("nan"), float("-inf"), *(0.5 + place for place in range(len(asked) - 2))]
    algorithm.tell(asked, scores)
    assert rewards == [[0.5, 0.5, *scores[2:]]]


@pytest.mark.parametrize("wrong", [{"num": 0}, {"batch": 0}, {"temperature": 0.0}, {"entropy": -1.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Reinforce(ARMS, **wrong)
