"""Random search: the baseline that every other algorithm must beat."""

from __future__ import annotations

from collections.abc import Sequence

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.randomness import generator
from onepath.search.algorithm import Proposal, Score, check_told, first_new
from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture, SearchSpace


class RandomSearch:
    """Distinct random legal architectures, in batches.

    Ends after `num` architectures, or where ten times a batch of draws hold nothing new.

    Args:
        space: where to search.
        seed: of all draws.
        num: architectures in all.
        batch: architectures per `ask`.

    Raises:
        ConfigurationError: `num` or `batch` is below 1.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, num: int = 1000, batch: int = 50) -> None:
        check_most(POPULATION, batch=batch)
        check_most(EVALUATED, num=num)
        if min(num, batch) < 1:
            raise ConfigurationError(
                f"`num >= 1` and `batch >= 1` must hold; got {num} and {batch}; raise them"
            )
        self.space, self.seed, self.num, self.batch = space, seed, num, batch
        self.generation = -1
        self._asked: list[Architecture] = []
        self._visited: set[Architecture] = set()

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The next batch; empty after `num` architectures or when nothing new is found."""
        missing = min(self.batch, self.num - len(self._visited))
        if not missing:
            return []
        self.generation += 1
        rng = generator(self.seed, "random search", self.generation)
        # Whole batches, so that the last one of a small budget begins as that of a larger one does.
        self._asked = first_new(feasible, lambda _: feasible.sample(self.batch, rng), missing, self._visited)
        return [Proposal(architecture, "random") for architecture in self._asked]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Check the scores; random search does not use them."""
        check_told(self._asked, architectures, scores)
