from __future__ import annotations

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import FeasibleSet, MutationEvolution
from onepath.space import Architecture, Choice, SearchSpace
from onepath.testing import known_score, known_space, search
from onepath.testing.algorithms import check_more_budget_is_not_worse, limited

SPACE = SearchSpace([Choice(f"blocks.{index}", ["a", "b", "c", "d"]) for index in range(10)])


def distance(first: Architecture, second: Architecture) -> int:
    return int((np.array(first.indices) != np.array(second.indices)).sum())


def test_defaults_are_the_papers_population_and_single_children() -> None:
    algorithm = MutationEvolution(SPACE, num=600)
    assert algorithm.population == 512
    sizes = [len(architectures) for architectures, _ in search(algorithm, FeasibleSet(SPACE))]
    assert sizes == [512] + [1] * 88
    assert algorithm.generation == 1


def test_every_child_is_one_mutation_from_a_member_and_the_worst_leaves() -> None:
    algorithm = MutationEvolution(SPACE, seed=1, num=200, population=20)
    members: list[tuple[Architecture, float]] = []
    best = -1.0
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        children = [proposal.architecture for proposal in proposals]
        if members:
            assert [proposal.origin for proposal in proposals] == ["mutation"]
            assert min(distance(children[0], member) for member, _ in members) == 1
        scores = [known_score(child) for child in children]
        algorithm.tell(children, scores)
        members = sorted([*members, *zip(children, scores, strict=True)], key=lambda m: -m[1])[:20]
        assert algorithm.members == members
        assert members[0][1] >= best, "the best score fell"
        best = members[0][1]


def test_limits_hold_and_the_known_best_is_found() -> None:
    space, table = known_space()
    feasible = limited(space, table, 70)
    legal = [architecture for architecture in space.enumerate() if table.cost(architecture) <= 70]
    history = search(MutationEvolution(space, seed=0, num=250, population=30), feasible)
    seen = [architecture for architectures, _ in history for architecture in architectures]
    assert all(table.cost(architecture) <= 70 for architecture in seen)
    assert len(seen) == 250 < len(legal)
    assert max(seen, key=known_score) == max(legal, key=known_score)


def test_degenerate_networks_leave_first() -> None:
    algorithm = MutationEvolution(SPACE, num=12, population=6)
    first = [proposal.architecture for proposal in algorithm.ask(FeasibleSet(SPACE))]
    algorithm.tell(first, [float("nan"), 0.0, float("-inf"), 1.0, 2.0, 3.0])
    for score in (4.0, 5.0):
        [proposal] = algorithm.ask(FeasibleSet(SPACE))
        algorithm.tell([proposal.architecture], [score])
    assert [score for _, score in algorithm.members] == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]


def test_generations_count_populations() -> None:
    algorithm = MutationEvolution(SPACE, num=30, population=10)
    seen = []
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        seen += [algorithm.generation] * len(proposals)
        algorithm.tell([p.architecture for p in proposals], [0.0] * len(proposals))
    assert seen == [0] * 10 + [1] * 10 + [2] * 10


def test_several_children_are_of_the_same_members() -> None:
    algorithm = MutationEvolution(SPACE, seed=1, num=100, population=20, num_children=7)
    sizes, generations, members = [], [], list[Architecture]()
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        children = [proposal.architecture for proposal in proposals]
        for child in children if members else []:
            assert min(distance(child, member) for member in members) == 1
        sizes.append(len(children))
        generations.append(algorithm.generation)
        algorithm.tell(children, [known_score(child) for child in children])
        members = [architecture for architecture, _ in algorithm.members]
    assert sizes == [20, *[7] * 11, 3]
    assert generations == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


@pytest.mark.parametrize(
    "options",
    [{"num": 0}, {"population": 0}, {"population": 5, "num_random": 6}, {"num_children": 0}],
)
def test_numbers_must_fit(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="1 <= num_random <= population") as error:
        MutationEvolution(SPACE, **options)
    assert "\n" not in str(error.value)


def test_a_larger_number_begins_with_what_the_smaller_one_proposes() -> None:
    """Also where the smaller one ends within the random members."""
    check_more_budget_is_not_worse(MutationEvolution)
    check_more_budget_is_not_worse(
        lambda space, seed, num: MutationEvolution(space, seed, num, num_children=7)
    )
