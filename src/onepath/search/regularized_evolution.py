"""Regularized evolution: the oldest dies, not the worst.

Follows Algorithm 1 of "Regularized Evolution for Image Classifier Architecture Search", Real et al., AAAI 2019
(arXiv 1802.01548), and its population of 100 and sample of 25. Differs from it in these points:

- No architecture is evaluated twice: a child that was evaluated before is drawn again from another sample, and
  after a bounded number of tries a random legal architecture takes its place.
- Only legal children are evaluated, where there are hard limits.
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

_FEWEST_DRAWS = 32  # at a time, so that a single child is tried often enough


class RegularizedEvolution(SearchAlgorithm):
    """Mutations of tournament winners; every child takes the place of the oldest member of the population.

    The first `ask` proposes the random population, every other one `batch` children.

    Args:
        space: where to search.
        seed: of all draws.
        num: architectures in all.
        population: members. A `num` up to it is random search alone; a tenth of `num` leaves most of it to children.
        sample: members, drawn with replacement, of which the best one becomes a parent; a quarter of the population by
            default.
        batch: children per `ask`, of one and the same population; 1 is the paper's algorithm on one worker.

    Attributes:
        generation: what the last `ask` proposed; 0 is the random population.

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
        """See `SearchAlgorithm.for_budget`; a tenth of the evaluations are the random population."""
        return cls(space, seed, budget.num, population=max(1, min(budget.population, budget.num // 10)))

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """The random population, then mutations of the best of a sample."""
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
        """Let the children in; the oldest members die."""
        self._members.extend(evaluated)
