"""Regularized evolution: the oldest member leaves the population, not the worst.

Follows Algorithm 1 of "Regularized Evolution for Image Classifier Architecture Search", Real et al., AAAI 2019
(arXiv 1802.01548), and its population of 100 and sample of 25. Differs from it in these points:

- No architecture is evaluated twice: a child that was evaluated before is drawn again from another sample, and
  after a bounded number of tries a random legal architecture takes its place.
- Under hard limits only legal children are evaluated.
- A mutation gives one choice another option; the paper's space has two kinds of choices and also an identity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.search.algorithm import Score, rank
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Matrix
from onepath.space import Architecture, SearchSpace

_FEWEST_DRAWS = 32  # smallest number of draws at a time, so that a single child is tried often enough


class RegularizedEvolution(SearchAlgorithm):
    """Mutates tournament winners; every child takes the place of the oldest member of the population.

    The first `ask` proposes the random population, every later one `batch` children.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        num: number of architectures in all.
        population: number of members. If `num` is not larger, the search is a random search; with a tenth of `num`,
            most architectures are children.
        sample: number of members in a tournament, drawn with replacement; the best becomes a parent. The default is a
            quarter of the population.
        batch: number of children per `ask`, all from the same population; 1 is the paper's algorithm on one worker.

    Attributes:
        generation: 0 for the random population, then one more for every `ask`.

    Raises:
        ConfigurationError: a number is below 1.
    """

    name = "regularized evolution"

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        num: int = 1000,
        population: int = 100,
        sample: int | None = None,
        batch: int = 1,
    ) -> None:
        check_most(POPULATION, population=population, sample=sample or 0, batch=batch)
        check_most(EVALUATED, num=num)
        sample = max(1, population // 4) if sample is None else sample
        if min(num, population, sample, batch) < 1:
            raise ConfigurationError(
                "`num`, `population`, `sample` and `batch` must be at least 1; got"
                f" {num}, {population}, {sample} and {batch}; raise the one that is too small"
            )
        super().__init__(space, seed, fewest_tries=max(batch, _FEWEST_DRAWS))
        self.num, self.population, self.sample, self.batch = num, population, sample, batch
        self._members: deque[tuple[Architecture, Score]] = deque(maxlen=population)  # the oldest first

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`; the random population is at most a tenth of the evaluations."""
        return cls(space, seed, budget.num, population=max(1, min(budget.population, budget.num // 10)))

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield the random population at first, then mutations of tournament winners."""
        num_left = self.num - self.num_proposed
        if not self._members:
            yield Draw("random", min(self.population, num_left))
            return
        best_first = sorted(self._members, key=lambda member: rank(member[1]), reverse=True)
        members = self.space.matrix([architecture for architecture, _ in best_first])

        def mutated(num: int) -> tuple[Matrix, Matrix]:
            parents = members[rng.integers(len(members), size=(num, self.sample)).min(axis=1)]
            return self.space.mutate_one(parents, rng), parents

        yield Draw("mutation", min(self.batch, num_left), mutated, max(self.batch, _FEWEST_DRAWS))

    def observe(self, evaluated: Evaluated) -> None:
        """Add the children to the population; the oldest members leave it."""
        self._members.extend(evaluated)
