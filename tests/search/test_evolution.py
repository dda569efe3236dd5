from __future__ import annotations

import hashlib

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import Evolution, FeasibleSet, Limit
from onepath.space import Choice, SearchSpace
from onepath.testing.algorithms import known_score, known_space, limited, search


def spos_space() -> SearchSpace:
    return SearchSpace([Choice(f"blocks.{index}", ["3x3", "5x5", "7x7", "xception"]) for index in range(20)])


def told(algorithm: Evolution, feasible: FeasibleSet) -> list[list]:
    generations = []
    while proposals := algorithm.ask(feasible):
        architectures = [proposal.architecture for proposal in proposals]
        algorithm.tell(architectures, [known_score(architecture) for architecture in architectures])
        generations.append(proposals)
    return generations


def test_defaults_are_the_papers() -> None:
    space = spos_space()
    evolution = Evolution(space)
    generations = told(evolution, FeasibleSet(space))
    assert [len(generation) for generation in generations] == [50] * 21
    assert evolution.generation == 20
    assert {proposal.origin for proposal in generations[0]} == {"random"}
    assert [proposal.origin for proposal in generations[1]] == ["mutation"] * 25 + ["crossover"] * 25
    order = ["mutation", "crossover", "random"]
    for generation in generations[1:]:
        stages = [order.index(proposal.origin) for proposal in generation]
        assert stages == sorted(stages)
        assert max(stages.count(0), stages.count(1)) <= 25


def test_parents_are_the_best_ten_of_all_seen() -> None:
    space = spos_space()
    seen = {}
    evolution = Evolution(space, seed=1)
    for generation in told(evolution, FeasibleSet(space)):
        if seen:
            parents = sorted(seen, key=seen.get, reverse=True)[:10]
            for proposal in generation:
                genes = np.array(proposal.architecture.indices)
                if proposal.origin == "crossover":
                    assert any(
                        ((genes == first.indices) | (genes == second.indices)).all()
                        for first in parents
                        for second in parents
                    )
                elif proposal.origin == "mutation":
                    assert 1 <= min((genes != parent.indices).sum() for parent in parents) <= 10
        seen |= {proposal.architecture: known_score(proposal.architecture) for proposal in generation}
    best = sorted(seen.values(), reverse=True)[:50]
    assert [score for _, score in evolution.best] == best


def test_finds_the_best_of_a_known_space_under_a_limit() -> None:
    space, table = known_space()
    rows = space.enumerate_matrix()
    for maximum in (40, 60, 90):
        legal = space.architectures(rows[table.costs(space, rows) <= maximum])
        evolution = Evolution(
            space, population=20, generations=12, parents=5, num_mutation=10, num_crossover=10
        )
        search(evolution, limited(space, table, maximum))
        assert evolution.best[0][1] == max(map(known_score, legal))


def test_beats_random_search_of_the_same_budget() -> None:
    space = spos_space()
    evolution = Evolution(space, population=20, generations=9, parents=5, num_mutation=10, num_crossover=10)
    search(evolution, FeasibleSet(space))
    rows = space.sample(20_000, np.random.default_rng(0))
    assert evolution.best[0][1] > max(map(known_score, space.architectures(rows)))


def test_random_candidates_fill_what_children_leave() -> None:
    space = spos_space()
    evolution = Evolution(space, population=20, generations=3, parents=1, num_mutation=10, num_crossover=5)
    for generation in told(evolution, FeasibleSet(space))[1:]:
        origins = [proposal.origin for proposal in generation]
        # One parent crossed with itself is itself, which was visited.
        assert origins == ["mutation"] * 10 + ["random"] * 10


def test_mutation_rate_is_per_choice() -> None:
    space = spos_space()
    evolution = Evolution(
        space, population=400, generations=1, parents=1, num_mutation=400, num_crossover=0, mutation_rate=0.2
    )
    first, second = told(evolution, FeasibleSet(space))
    parent = max((proposal.architecture for proposal in first), key=known_score)
    changed = np.array([proposal.architecture.indices for proposal in second]) != np.array(parent.indices)
    assert changed.mean() == pytest.approx(0.2 * 3 / 4, abs=0.02)


def test_illegal_children_are_not_marked_as_visited() -> None:
    space, table = known_space()
    evolution = Evolution(space, population=20, generations=5, parents=5, num_mutation=10, num_crossover=10)
    tight = search(evolution, limited(space, table, 45))
    assert {
        architecture for architectures, _ in tight for architecture in architectures
    } == evolution._visited


def test_ends_where_the_legal_architectures_run_out() -> None:
    space, table = known_space()
    evolution = Evolution(space)
    history = search(evolution, limited(space, table, 25))
    assert sum(len(architectures) for architectures, _ in history) == space.count_within(table, None, 25) == 8
    assert evolution.ask(limited(space, table, 25)) == []


def test_scores_may_be_tuples_and_nan_is_worst() -> None:
    space = spos_space()
    evolution = Evolution(space, population=4, generations=1, parents=2, num_mutation=0, num_crossover=0)
    a, b, c, d = (proposal.architecture for proposal in evolution.ask(FeasibleSet(space)))
    evolution.tell([a, b, c, d], [(0.5, -2.0), (0.5, -1.0), (float("nan"), 0.0), (0.4, 0.0)])
    assert [architecture for architecture, _ in evolution.best] == [b, a, d, c]


def test_ties_keep_the_first() -> None:
    space = spos_space()
    evolution = Evolution(space, population=4, generations=1, parents=2, num_mutation=0, num_crossover=0)
    asked = [proposal.architecture for proposal in evolution.ask(FeasibleSet(space))]
    evolution.tell(asked, [1.0] * 4)
    assert [architecture for architecture, _ in evolution.best] == asked


def test_fingerprint_of_a_seeded_run() -> None:
    space, table = known_space()
    evolution = Evolution(
        space, seed=11, population=20, generations=4, parents=5, num_mutation=10, num_crossover=5
    )
    text = ";".join(
        str(item) for generation in search(evolution, limited(space, table, 70)) for item in generation[0]
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "7d03f184696c5af3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 0}, "population >= 1"),
        ({"parents": 0}, "parents >= 1"),
        ({"generations": -1}, "no negative"),
        ({"num_mutation": 30, "num_crossover": 30}, "num_mutation \\+ num_crossover <= population"),
        ({"mutation_rate": 2}, "0 <= mutation_rate <= 1"),
    ],
)
def test_numbers_must_fit_together(options, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Evolution(spos_space(), **options)


def test_slow_costs_are_asked_only_for_what_is_tried() -> None:
    space, table = known_space()
    rows_asked = []

    def costs(rows):
        rows_asked.append(len(rows))
        return table.costs(space, rows)

    feasible = FeasibleSet(space, [Limit("max_macs", "MACs", 70, costs, table)])
    Evolution(space, population=20, generations=1, parents=5, num_mutation=10, num_crossover=10).ask(feasible)
    assert sum(rows_asked) <= 40
