from __future__ import annotations

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.search import FeasibleSet, RegularizedEvolution
from onepath.space import Choice, SearchSpace
from onepath.testing import known_score, known_space, search
from onepath.testing.algorithms import check_more_budget_is_not_worse

SPACE = SearchSpace([Choice(f"blocks.{index}", ["a", "b", "c", "d"]) for index in range(10)])


def test_defaults_are_the_papers() -> None:
    algorithm = RegularizedEvolution(SPACE)
    assert (algorithm.population, algorithm.sample) == (100, 25)
    sizes = [len(architectures) for architectures, _ in search(algorithm, FeasibleSet(SPACE))]
    assert sizes == [100] + [1] * 900
    assert algorithm.generation == 900


def test_the_population_does_not_depend_on_the_budget() -> None:
    """A larger budget repeats a smaller one only if both begin alike."""
    algorithm = RegularizedEvolution(SPACE, num=150)
    assert (algorithm.population, algorithm.sample) == (100, 25)
    check_more_budget_is_not_worse(RegularizedEvolution)


def told(algorithm: RegularizedEvolution, score) -> list[tuple[int, ...]]:
    proposed = []
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        architectures = [proposal.architecture for proposal in proposals]
        algorithm.tell(architectures, [score(architecture) for architecture in architectures])
        proposed += [architecture.indices for architecture in architectures]
    return proposed


def distance(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    return int((np.array(first) != second).sum())


def test_the_oldest_dies_and_not_the_worst() -> None:
    """Every child is one mutation from the best of the last 10, though the best of all died long ago."""
    scores = iter([100.0, *np.random.default_rng(0).random(200)])
    score_of = {}

    def score(architecture):
        return score_of.setdefault(architecture.indices, next(scores))

    proposed = told(RegularizedEvolution(SPACE, num=150, population=10, sample=200), score)
    for step in range(10, 150):
        alive = proposed[step - 10 : step]
        best = max(alive, key=score_of.__getitem__)
        assert distance(proposed[step], best) == 1
    assert distance(proposed[-1], proposed[0]) > 1


def test_the_sample_is_the_pressure_of_selection() -> None:
    """With a sample of one, parents are uniform over the population."""
    proposed = told(RegularizedEvolution(SPACE, num=400, population=20, sample=1), known_score)
    with_pressure = told(RegularizedEvolution(SPACE, num=400, population=20, sample=5), known_score)

    def last_mean(rows):
        return np.array(rows[-50:]).sum(axis=1).mean()

    assert last_mean(with_pressure) > last_mean(proposed) + 5


def test_nan_is_worst() -> None:
    """Where all but one member have no number for a score, that one is the parent."""
    fourth = told(RegularizedEvolution(SPACE, num=11, population=11), known_score)[4]

    def score(architecture):
        return 0.0 if architecture.indices == fourth else float("nan")

    proposed = told(RegularizedEvolution(SPACE, num=12, population=11, sample=500), score)
    assert proposed[4] == fourth
    assert distance(proposed[11], fourth) == 1


def test_exhausted_neighbourhoods_are_left_by_random_draws() -> None:
    space, _ = known_space()
    history = search(RegularizedEvolution(space, num=819, population=10), FeasibleSet(space))
    assert sum(len(architectures) for architectures, _ in history) >= 750


def test_numbers_are_positive() -> None:
    with pytest.raises(ConfigurationError, match="`sample` and `batch` must be at least 1"):
        RegularizedEvolution(SPACE, sample=0)
