"""NSGA-II: evolution towards a front of trade-offs.

Follows "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", Deb et al., IEEE Transactions on Evolutionary
Computation 6(2), 2002: the ranking of section III.A (by moocore), the crowding distance of section III.B, the loop of
section III.C. Differs from it in these points:

- Limits are hard: illegal children are never evaluated, so the constrained domination of section VI is not needed.
- No architecture is evaluated twice; where too few new children are found, random ones take their places.
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
    """The least dominated, least crowded candidates seen so far have children.

    The score is the first objective, higher is better, compared as everywhere; each of `costs` is another,
    lower is better. Without costs it is a genetic algorithm whose population is the best of all seen.

    Args:
        space: where to search.
        seed: of all draws.
        population: candidates per generation.
        generations: generations after the first, random one; at most `population * (generations + 1)` are
            evaluated.
        costs: matrix of architectures -> vector of costs, for example the `costs` of a `Limit`.
        mutation_rate: probability that a choice of a child is drawn anew; one over the number of choices by
            default.

    Attributes:
        generation: what the last `ask` proposed; 0 is the random population.
        best: the population with its scores, first front first, then by falling crowding distance.
        front: those of `best` that no other one dominates.

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
        """The random population, then children of winners of binary tournaments."""
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
        """Keep, of population and children together, the first fronts and of the last one the least crowded."""
        candidates = [*self.best, *evaluated]
        if not candidates:
            return
        matrix = self.space.matrix([architecture for architecture, _ in candidates])
        # A cost that is none is the worst.
        costs = [
            -np.nan_to_num(
                np.asarray(cost(matrix), dtype=np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf
            )
            for cost in self.costs
        ]
        # What has no finite score is worse than all that have one, whatever it costs.
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
    """(points,) how far apart the neighbours of each point of one front are, summed over (points, objectives).

    In each objective the distance is in units of the front's range, and infinite at both ends of it. An infinite range
    tells none of the others apart. There is no NaN in them.

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
    """Each score's place among the distinct ones, worst 0, and its first number, made finite."""
    keys = [rank(score) for score in scores]
    place = {key: float(index) for index, key in enumerate(sorted(set(keys)))}
    values = np.array([key[0] for key in keys])
    finite = values[np.isfinite(values)]
    values = np.clip(values, finite.min(), finite.max()) if len(finite) else np.zeros(len(values))
    return np.array([place[key] for key in keys]), values
