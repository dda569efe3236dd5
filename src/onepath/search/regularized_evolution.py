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
from collections.abc import Sequence

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.randomness import generator
from onepath.search.algorithm import Proposal, Score, check_told, first_new, rank
from onepath.search.feasible import FeasibleSet, Matrix
from onepath.space import Architecture, SearchSpace

_FEWEST_DRAWS = 32  # at a time, so that a single child is tried often enough


class RegularizedEvolution:
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
        self.space, self.seed, self.num = space, seed, num
        self.population, self.sample, self.batch = population, sample, batch
        self.generation = -1
        self._members: deque[tuple[Architecture, Score]] = deque(maxlen=population)  # the oldest first
        self._visited: set[Architecture] = set()
        self._asked: list[Architecture] = []

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The next children; empty after `num` architectures or where nothing new is found."""
        wanted = self.batch if self._members else self.population
        num, size = min(wanted, self.num - len(self._visited)), max(wanted, _FEWEST_DRAWS)
        if num == 0:
            return []
        self.generation += 1
        rng = generator(self.seed, "regularized evolution", self.generation)
        children: list[Architecture] = []
        if self._members:
            best_first = sorted(self._members, key=lambda member: rank(member[1]), reverse=True)
            members = self.space.matrix([architecture for architecture, _ in best_first])

            def draw(_: int) -> Matrix:
                sampled = rng.integers(len(members), size=(size, self.sample))
                return self.space.mutate_one(members[sampled.min(axis=1)], rng)

            children = first_new(feasible, draw, num, self._visited)
        missing = num - len(children)
        others = first_new(feasible, lambda _: feasible.sample(size, rng), missing, self._visited)
        self._asked = children + others
        return [Proposal(child, "mutation") for child in children] + [
            Proposal(other, "random") for other in others
        ]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Let the children in; the oldest members die."""
        check_told(self._asked, architectures, scores)
        self._asked = []
        self._members.extend(zip(architectures, scores, strict=True))
