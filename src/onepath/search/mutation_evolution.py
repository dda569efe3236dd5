"""Evolution by single mutations, in which the worst member is dropped.

Follows Algorithm 1 of "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", Lin et al., ICCV 2021 (arXiv
2102.01063), and its population of 512. Differs from it in these points:

- The first population is full and random, drawn inside the limits; the paper's grows from one architecture that the
  user gives.
- No architecture is evaluated twice; a child that exceeds a limit is drawn again and counts as no step.
- A mutation gives one choice another option.
- Several children may be made at a time, for an estimator that estimates them at once; the paper makes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.search.algorithm import Score, rank
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Matrix
from onepath.space import Architecture, SearchSpace

_NUM_DRAWS = 32  # smallest number of draws at a time, so that a single child is tried often enough


class MutationEvolution(SearchAlgorithm):
    """Mutates members picked uniformly; if there are more than `population` members, the worst are dropped.

    The first `ask` proposes the random members, every later one children of the members.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        num: largest number of architectures in all.
        population: number of members that are kept.
        num_random: number of random members at the start; by default `population`.
        num_children: number of children per `ask`; none of them is a parent before all are scored.

    Attributes:
        generation: 0 for the random members, then one more for every `population` children.
        members: members with their scores, best first; of equal ones, the one that came first.

    Raises:
        ConfigurationError: a number is below 1, or there are more random members than the population holds.
    """

    name = "mutation evolution"

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        num: int = 4096,
        population: int = 512,
        num_random: int | None = None,
        num_children: int = 1,
    ) -> None:
        check_most(POPULATION, population=population, num_children=num_children)
        check_most(EVALUATED, num=num)
        num_random = population if num_random is None else num_random
        if min(num, population, num_random, num_children) < 1 or num_random > population:
            raise ConfigurationError(
                "`num >= 1`, `num_children >= 1` and `1 <= num_random <= population` must hold; got "
                f"num={num}, num_children={num_children}, population={population}, num_random={num_random}; change the "
                "one that does not fit"
            )
        super().__init__(
            space,
            seed,
            fewest_tries=max(num_children, _NUM_DRAWS),
            generations_per_step=Fraction(num_children, population),
        )
        self.num, self.population = num, population
        self.num_random, self.num_children = num_random, num_children
        self.members: list[tuple[Architecture, Score]] = []

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`; 32 children at a time, so that several processes have work."""
        return cls(space, seed, budget.num, population=budget.population, num_children=_NUM_DRAWS)

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield the random members at first, then mutations of members picked uniformly."""
        num_left = self.num - self.num_proposed
        if not self.members:
            yield Draw("random", min(self.num_random, num_left), size=self.num_random)
            return
        members = self.space.matrix([architecture for architecture, _ in self.members])

        def mutated(num: int) -> tuple[Matrix, Matrix]:
            parents = members[rng.integers(len(members), size=num)]
            return self.space.mutate_one(parents, rng), parents

        yield Draw("mutation", min(self.num_children, num_left), mutated, max(_NUM_DRAWS, self.num_children))

    def observe(self, evaluated: Evaluated) -> None:
        """Add the new architectures to the members, and keep the best `population` of them."""
        self.members += evaluated
        self.members.sort(key=lambda member: rank(member[1]), reverse=True)
        del self.members[self.population :]
