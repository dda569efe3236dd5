from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onepath.errors import ConfigurationError
from onepath.search import NSGA2, FeasibleSet, RandomSearch, hypervolume, pareto_front
from onepath.search.nsga2 import crowding_distances, nondomination_ranks
from onepath.testing import known_score, known_space, search

SPACE, TABLE = known_space()


def costs(rows):
    return TABLE.costs(SPACE, rows)


@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float)))
def test_ranks_are_the_fronts_peeled_off_one_by_one(points) -> None:
    ranks, left, front = np.full(len(points), -1), np.arange(len(points)), 0
    while len(left):
        inside = pareto_front(points[left])
        ranks[left[inside]] = front
        left, front = left[~inside], front + 1
    assert nondomination_ranks(points).tolist() == ranks.tolist()


def test_crowding_distance_worked_out() -> None:
    """By hand: in units of 10 and of 100, the middle points have (4 + 80) and (8 + 50) between their neighbours."""
    points = np.array([[0, 100], [2, 50], [4, 20], [10, 0]], dtype=float)
    assert crowding_distances(points).tolist() == pytest.approx([np.inf, 0.4 + 0.8, 0.8 + 0.5, np.inf])
    shuffled = [2, 0, 3, 1]
    assert crowding_distances(points[shuffled]).tolist() == crowding_distances(points)[shuffled].tolist()


def test_an_objective_that_is_equal_for_all_does_not_crowd() -> None:
    assert crowding_distances(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])).tolist() == [np.inf, 1, np.inf]
    assert crowding_distances(np.array([[1.0], [1.0]])).tolist() == [0, 0]


def test_finds_nearly_the_whole_true_front() -> None:
    """Score against cost, on a space whose front is known: by far more of it than random search."""
    everything = list(SPACE.enumerate())
    points = np.column_stack([[known_score(a) for a in everything], -costs(SPACE.matrix(everything))])
    worst = points.min(axis=0) - 1
    true = hypervolume(points, worst)

    def share(algorithm) -> float:
        history = search(algorithm, FeasibleSet(SPACE))
        proposed = [architecture for architectures, _ in history for architecture in architectures]
        found = [[known_score(a), -TABLE.cost(a)] for a in proposed]
        return hypervolume(found, worst) / true

    found = [share(NSGA2(SPACE, seed, 30, 7, costs=[costs])) for seed in range(5)]
    random = [share(RandomSearch(SPACE, seed, num=240)) for seed in range(5)]
    assert min(found) > 0.98
    assert np.mean(found) > np.mean(random) + 0.01


def test_the_front_is_the_front_of_all_that_was_told() -> None:
    algorithm = NSGA2(SPACE, 0, 80, 5, costs=[costs])
    history = search(algorithm, FeasibleSet(SPACE))
    proposed = [architecture for architectures, _ in history for architecture in architectures]
    points = np.column_stack([[known_score(a) for a in proposed], -costs(SPACE.matrix(proposed))])
    true = {proposed[index] for index in np.flatnonzero(pareto_front(points))}
    assert 20 < len(true) <= 80
    assert {architecture for architecture, _ in algorithm.front} == true


def test_without_costs_the_population_is_the_best_of_all_seen() -> None:
    algorithm = NSGA2(SPACE, 0, 20, 9)
    history = search(algorithm, FeasibleSet(SPACE))
    scores = sorted((score for _, scores in history for score in scores), reverse=True)
    assert [score for _, score in algorithm.best] == scores[:20]
    assert len({score for _, score in algorithm.front}) == 1


def test_scores_of_several_numbers_are_compared_from_the_first_on_and_nan_is_worst() -> None:
    algorithm = NSGA2(SPACE, 0, 4, 0)
    architectures = [proposal.architecture for proposal in algorithm.ask(FeasibleSet(SPACE))]
    scores = [(0.5, -2.0), (float("nan"), 0.0), (0.5, -1.0), (0.4, -0.1)]
    algorithm.tell(architectures, scores)
    assert [architecture for architecture, _ in algorithm.best] == [architectures[i] for i in (2, 0, 3, 1)]
    assert algorithm.front == [(architectures[2], (0.5, -1.0))]


def test_all_scores_nan_leaves_the_costs_to_decide() -> None:
    algorithm = NSGA2(SPACE, 0, 6, 1, costs=[costs])
    architectures = [proposal.architecture for proposal in algorithm.ask(FeasibleSet(SPACE))]
    algorithm.tell(architectures, [float("nan")] * 6)
    cheapest = min(architectures, key=TABLE.cost)
    assert algorithm.best[0][0] == cheapest
    assert len(algorithm.ask(FeasibleSet(SPACE))) == 6


def test_of_one_front_the_least_crowded_stay() -> None:
    """Score and cost are equal, so that no candidate dominates another of another cost."""
    algorithm = NSGA2(SPACE, 0, 20, 1, costs=[costs])
    told = []
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        architectures = [proposal.architecture for proposal in proposals]
        algorithm.tell(architectures, [float(TABLE.cost(architecture)) for architecture in architectures])
        before, told = told, [architecture for architecture, _ in algorithm.best]
    candidates = [*before, *architectures]
    values = np.array([[TABLE.cost(architecture)] * 2 for architecture in candidates], dtype=float)
    distances = dict(zip(candidates, crowding_distances(values * [1, -1]), strict=True))
    kept = [distances[architecture] for architecture in told]
    assert len(candidates) == 40
    assert kept == sorted(distances.values(), reverse=True)[:20]
    assert {TABLE.cost(architecture) for architecture in told} >= {values.min(), values.max()}


def test_numbers_are_in_range() -> None:
    with pytest.raises(ConfigurationError, match="population >= 1"):
        NSGA2(SPACE, population=0)
    with pytest.raises(ConfigurationError, match="mutation_rate <= 1"):
        NSGA2(SPACE, mutation_rate=1.5)


EXTREME = st.sampled_from([-np.inf, np.inf, 1e308, -1e308, 1.7e308, 5e-324, 0.0, 1.0])


@given(arrays(float, st.tuples(st.integers(1, 10), st.integers(1, 3)), elements=EXTREME))
def test_no_number_is_too_large_for_ranks_and_distances(points) -> None:
    test_ranks_are_the_fronts_peeled_off_one_by_one.hypothesis.inner_test(points)
    assert not np.isnan(crowding_distances(points)).any()


def test_a_nan_is_the_worst_rank() -> None:
    points = np.array([[np.nan, 1.0], [0.0, 1.0], [-np.inf, 1.0]])
    assert nondomination_ranks(points).tolist() == [1, 0, 1]
    assert nondomination_ranks(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize("cost", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 1e308, -1e308])
def test_a_search_survives_scores_and_costs_of_any_size(score, cost) -> None:
    algorithm = NSGA2(
        SPACE, population=8, generations=3, costs=[lambda rows: np.where(rows[:, 0] > 0, cost, 1.0)]
    )
    feasible = FeasibleSet(SPACE)
    while proposals := algorithm.ask(feasible):
        asked = [proposal.architecture for proposal in proposals]
        algorithm.tell(asked, [score if index % 2 else known_score(one) for index, one in enumerate(asked)])
    assert len(algorithm.best) == 8
    if np.isnan(score) or score == -np.inf:
        assert all(np.isfinite(found) for _, found in algorithm.best[:4])


def test_an_infinite_cost_is_the_worst_and_crowds_nobody() -> None:
    points = np.array([[0.0, -np.inf], [1.0, -2.0], [2.0, -3.0], [3.0, -np.inf]])
    assert crowding_distances(points)[1:3].tolist() == [np.inf, pytest.approx(2 / 3)]
    space, _ = known_space()

    def cost(rows):
        sums = rows.sum(axis=1, dtype=float)
        return np.where(sums > 8, np.inf, sums)

    algorithm = NSGA2(space, population=20, generations=4, costs=[cost])
    search(algorithm, FeasibleSet(space))
    assert np.isfinite(cost(space.matrix([architecture for architecture, _ in algorithm.front]))).any()
