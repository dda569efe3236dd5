"""Evolutionary search over a trained supernet.

Follows the evolutionary architecture search of "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", Guo et al., arXiv 1904.00420, and its defaults. Differs from it in these points:

- If the cost is additive, random candidates are drawn inside the limit by counting, not by rejection: the first
  population of a tight limit costs no more than that of a loose one, and an impossible limit is an error.
- The random stage also stops after ten times as many tries as candidates are wanted, and a search that finds nothing
  new ends.
- Candidates that differ only in choices that are not active are the same candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import GENERATIONS, POPULATION, check_most
from onepath.search.algorithm import Score, rank
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Matrix
from onepath.space import Architecture, SearchSpace


class Evolution(SearchAlgorithm):
    """Mutates and crosses the best candidates of all evaluated so far.

    The first `ask` proposes a random population, each of the next `generations` calls a population of children.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        population: number of candidates per generation.
        generations: number of generations after the first population; at most `population * (generations + 1)`
            candidates are evaluated.
        parents: number of parents: the best of all candidates evaluated so far. The default is a fifth of the
            population.
        num_mutation: number of children of one parent per generation; half of the population by default.
        num_crossover: number of children of two parents per generation; half of the population by default. The rest of
            the population is random.
        mutation_rate: probability that a choice is drawn anew, from all of its options.

    Attributes:
        generation: 0 for the random population, then one more for every `ask`.
        best: the `population` best candidates of all evaluated so far, with their scores, best first.

    Raises:
        ConfigurationError: the numbers do not fit together.
    """

    name = "evolution"

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        population: int = 50,
        generations: int = 20,
        parents: int | None = None,
        num_mutation: int | None = None,
        num_crossover: int | None = None,
        mutation_rate: float = 0.1,
    ) -> None:
        check_most(POPULATION, population=population, parents=parents or 0)
        check_most(GENERATIONS, generations=generations)
        # The paper's shares of its population of 50: 10 parents, 25 mutations, 25 crossovers.
        parents = max(1, population // 5) if parents is None else parents
        num_mutation = population // 2 if num_mutation is None else num_mutation
        num_crossover = population // 2 if num_crossover is None else num_crossover
        if min(population, parents) < 1 or min(generations, num_mutation, num_crossover) < 0:
            raise ConfigurationError(
                "`population >= 1`, `parents >= 1` and no negative number must hold; got"
                f" population={population}, generations={generations}, parents={parents},"
                f" num_mutation={num_mutation}, num_crossover={num_crossover}; raise the one that is too"
                " small"
            )
        if num_mutation + num_crossover > population:
            raise ConfigurationError(
                f"`num_mutation + num_crossover <= population` must hold; got {num_mutation} +"
                f" {num_crossover} and"
                f" {population}; raise population or lower one of them"
            )
        if not 0 <= mutation_rate <= 1:
            raise ConfigurationError(
                f"`0 <= mutation_rate <= 1` must hold; got {mutation_rate}; it is a probability"
            )
        super().__init__(space, seed)
        self.population, self.generations, self.parents = population, generations, parents
        self.num_mutation, self.num_crossover, self.mutation_rate = num_mutation, num_crossover, mutation_rate
        self.best: list[tuple[Architecture, Score]] = []
        self._parents: list[tuple[Architecture, Score]] = []

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`."""
        return cls(space, seed, budget.population, budget.generations)

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield children of one parent, children of two parents, and random candidates for the rest."""
        if self.generation == self.generations:
            return
        num_left = self.population
        if self._parents:
            parents = self.space.matrix([architecture for architecture, _ in self._parents])

            def pick(num: int) -> Matrix:
                return parents[rng.integers(len(parents), size=num)]

            def mutated(num: int) -> tuple[Matrix, Matrix]:
                picked = pick(num)
                return self.space.mutate(picked, self.mutation_rate, rng), picked

            def crossed(num: int) -> tuple[Matrix, Matrix]:
                first = pick(num)
                return self.space.crossover(first, pick(num), rng), first

            yield Draw("mutation", self.num_mutation, mutated)
            yield Draw("crossover", self.num_crossover, crossed)
            num_left -= self.num_mutation + self.num_crossover
        yield Draw("random", num_left)

    def observe(self, evaluated: Evaluated) -> None:
        """Keep the best of all candidates evaluated so far: a few as parents, and a population as `best`."""
        self._parents = _top([*self._parents, *evaluated], self.parents)
        self.best = _top([*self.best, *evaluated], self.population)


def _top(candidates: list[tuple[Architecture, Score]], num: int) -> list[tuple[Architecture, Score]]:
    """Return the `num` best candidates, best first; of equal ones, the one evaluated first."""
    return sorted(candidates, key=lambda candidate: rank(candidate[1]), reverse=True)[:num]
