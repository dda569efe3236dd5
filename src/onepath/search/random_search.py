"""Random search: the baseline that every other algorithm must beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.space import SearchSpace


class RandomSearch(SearchAlgorithm):
    """Proposes distinct random legal architectures, in batches.

    It ends after `num` architectures, or when ten batches of draws in a row hold nothing new.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        num: number of architectures in all.
        batch: number of architectures per `ask`.

    Raises:
        ConfigurationError: `num` or `batch` is below 1.
    """

    name = "random search"

    def __init__(self, space: SearchSpace, seed: int = 0, num: int = 1000, batch: int = 50) -> None:
        check_most(POPULATION, batch=batch)
        check_most(EVALUATED, num=num)
        if min(num, batch) < 1:
            raise ConfigurationError(
                f"`num >= 1` and `batch >= 1` must hold; got {num} and {batch}; raise them"
            )
        # Whole batches are drawn, so that the last batch of a small budget begins as the same batch of a larger one.
        super().__init__(space, seed, fewest_tries=batch)
        self.num, self.batch = num, batch

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`."""
        return cls(space, seed, budget.num, batch=budget.population)

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:  # noqa: ARG002
        """Yield the next batch."""
        yield Draw("random", min(self.batch, self.num - self.num_proposed))

    def observe(self, evaluated: Evaluated) -> None:
        """Ignore the scores: random search does not use them."""
