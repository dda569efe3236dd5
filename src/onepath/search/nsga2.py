"""NSGA-II: evolution towards a front of trade-offs.

Follows "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", Deb et al., IEEE Transactions on Evolutionary
Computation 6(2), 2002: the ranking of section III.A (by moocore), the crowding distance of section III.B, the loop of
section III.C. Differs from it in these points:

- Limits are hard: illegal children are never evaluated, so the constrained domination of section VI is not needed.
- No architecture is evaluated twice; if too few new children are found, random architectures take their places.
- Choices are discrete: crossover takes each choice from one of the two parents, and mutation draws each choice
  anew with probability one over the number of choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError
from onepath.most import GENERATIONS, POPULATION, check_most
from onepath.pareto import nondomination_ranks
from onepath.search.algorithm import Score, rank
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Costs, Matrix
from onepath.space import Architecture, SearchSpace

Floats = npt.NDArray[np.float64]


class NSGA2(SearchAlgorithm):
    """Crosses and mutates the least dominated and least crowded candidates evaluated so far.

    The score is the first objective: higher is better, compared by `rank`. Each of `costs` is a further objective:
    lower is better. Without costs this is a genetic algorithm whose population is the best of all candidates.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        population: number of candidates per generation.
        generations: number of generations after the first, random one; at most `population * (generations + 1)`
            candidates are evaluated.
        costs: functions from a matrix of architectures, (rows, choices), to a vector of costs, (rows,), for example the
            `costs` of a `Limit`; NaN counts as the worst cost.
        mutation_rate: probability that a choice of a child is drawn anew; one over the number of choices by
            default.

    Attributes:
        generation: 0 for the random population, then one more for every `ask`.
        best: the population with its scores, sorted by front, and within a front by falling crowding distance.
        front: the candidates of `best` that no other candidate dominates.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    name = "nsga2"
    takes_costs = True

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        population: int = 50,
        generations: int = 20,
        costs: Sequence[Costs] = (),
        mutation_rate: float | None = None,
    ) -> None:
        check_most(POPULATION, population=population)
        check_most(GENERATIONS, generations=generations)
        mutation_rate = 1 / space.num_choices if mutation_rate is None else mutation_rate
        if population < 1 or generations < 0 or not 0 <= mutation_rate <= 1:
            raise ConfigurationError(
                "`population >= 1`, `generations >= 0` and `0 <= mutation_rate <= 1` must hold; got"
                f" {population}, {generations} and {mutation_rate}; change the one that is out of range"
            )
        super().__init__(space, seed)
        self.population, self.generations = population, generations
        self.costs, self.mutation_rate = tuple(costs), mutation_rate
        self.best: list[tuple[Architecture, Score]] = []
        self.front: list[tuple[Architecture, Score]] = []

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`."""
        return cls(space, seed, budget.population, budget.generations, budget.costs)

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield the random population at first, then children of winners of binary tournaments."""
        if self.generation == self.generations:
            return
        if not self.best:
            yield Draw("random", self.population)
            return
        members = self.space.matrix([architecture for architecture, _ in self.best])

        def winners(num: int) -> Matrix:  # members are in crowded-comparison order
            picked: Matrix = members[rng.integers(len(members), size=(num, 2)).min(axis=1)]
            return picked

        def children(num: int) -> tuple[Matrix, Matrix]:
            first = winners(num)
            crossed = self.space.crossover(first, winners(num), rng)
            return self.space.mutate(crossed, self.mutation_rate, rng), first

        yield Draw("crossover", self.population, children)

    def observe(self, evaluated: Evaluated) -> None:
        """Select the next population from the old one and its children.

        The first fronts are kept whole; from the last front that has a place, the least crowded candidates are kept.
        """
        candidates = [*self.best, *evaluated]
        if not candidates:
            return
        matrix = self.space.matrix([architecture for architecture, _ in candidates])
        # NaN counts as the worst cost.
        costs = [
            -np.nan_to_num(
                np.asarray(cost(matrix), dtype=np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf
            )
            for cost in self.costs
        ]
        # A candidate whose score is NaN or minus infinity is dominated by all others, whatever it costs.
        failed = np.array([rank(score)[0] == -math.inf for _, score in candidates])
        if not failed.all():
            costs = [np.where(failed, column.min(), column) for column in costs]
        places, values = _places_and_values([score for _, score in candidates])
        ranks = nondomination_ranks(np.column_stack([places, *costs]))
        distances = np.zeros(len(candidates))
        for front in range(ranks.max() + 1):
            inside = ranks == front
            distances[inside] = crowding_distances(np.column_stack([values, *costs])[inside])
        order = np.lexsort((-distances, ranks))[: self.population].tolist()
        self.best = [candidates[index] for index in order]
        self.front = [candidates[index] for index in order if ranks[index] == 0]


def crowding_distances(objectives: Floats) -> Floats:
    """Return the crowding distance of each point of a front: the distance of its neighbours, summed over objectives.

    In each objective the distance is in units of the front's range, and infinite at both ends of the range. If the
    range is infinite, the objective adds nothing for the other points.

    Args:
        objectives: values of the points of one front, (points, objectives), without NaN.

    Returns:
        (points,) distances; higher is less crowded.

    Source: section III.B.
    """
    distances = np.zeros(len(objectives))
    for values in objectives.T / 2:  # so that a range of two finite numbers is finite
        order = np.argsort(values, kind="stable")
        if values[order[0]] < values[order[-1]]:
            distances[order[[0, -1]]] = np.inf
            if np.isfinite(values).all() and (width := values[order[-1]] - values[order[0]]) > 0:
                distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / width
    return distances


def _places_and_values(scores: Sequence[Score]) -> tuple[Floats, Floats]:
    """Return the rank of each score among the distinct ones, 0 for the worst, and its first number, made finite."""
    keys = [rank(score) for score in scores]
    place = {key: float(index) for index, key in enumerate(sorted(set(keys)))}
    values = np.array([key[0] for key in keys])
    finite = values[np.isfinite(values)]
    values = np.clip(values, finite.min(), finite.max()) if len(finite) else np.zeros(len(values))
    return np.array([place[key] for key in keys]), values
