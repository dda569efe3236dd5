"""What every search algorithm does: ask for architectures, and be told their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture

Score = float | tuple[float, ...]
Origin = Literal["random", "mutation", "crossover", "derived"]


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and how it came about.

    Attributes:
        architecture: to evaluate.
        origin: how it came about.
        parent: the architecture that it was changed from, the first of two; None for a random one.
    """

    architecture: Architecture
    origin: Origin
    parent: Architecture | None = None


class Algorithm(Protocol):
    """A search: `while proposals := algorithm.ask(feasible): algorithm.tell(architectures, scores)`.

    Every implementation keeps the contract that `onepath.testing` checks:

    - what is proposed meets every limit of the feasible set, and no architecture is proposed twice;
    - what is proposed depends on the seed and the told scores alone, so that a search is resumed by asking
      and telling again;
    - the number of tries per `ask` is bounded: where the feasible architectures run out, `ask` proposes fewer
      and then none;
    - a larger budget with all else equal repeats the smaller one first, so that it is never worse.
    """

    @property
    def generation(self) -> int:
        """The generation that the last `ask` proposed, from 0."""

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The next architectures to evaluate; empty when the search is finished.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Take the scores of all architectures of the last `ask`, in its order.

        A score is a number or a tuple of numbers, compared from the first on; higher is better, NaN ranks
        last.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """


def rank(score: Score) -> tuple[float, ...]:
    """A score as a key for sorting: higher is better, NaN is worst."""
    values = score if isinstance(score, tuple) else (score,)
    return tuple(-math.inf if math.isnan(value) else float(value) for value in values)
