"""The interface of every search algorithm: it proposes architectures, and is told their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture

Score = float | tuple[float, ...]
Origin = Literal["random", "mutation", "crossover", "policy", "derived", "given"]


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and how it came about.

    Attributes:
        architecture: the architecture to evaluate.
        origin: how the architecture came about.
        parent: the architecture from which it was changed, for a crossover the first of two; None without a parent.
    """

    architecture: Architecture
    origin: Origin
    parent: Architecture | None = None


class Algorithm(Protocol):
    """A search: `while proposals := algorithm.ask(feasible): algorithm.tell(architectures, scores)`.

    Every implementation keeps the contract that `onepath.testing` checks:

    - every proposal meets every limit of the feasible set;
    - no architecture is proposed twice, unless the algorithm says so by an attribute `repeats` that is true: the loop
      then answers from the scores that it knows, so that none is evaluated twice;
    - proposals depend on the seed and the told scores alone, so that a search is resumed by asking and telling again;
    - the number of tries per `ask` is bounded: if the feasible architectures run out, `ask` proposes fewer and then
      none;
    - with all else equal, a search with a larger budget first repeats the one with the smaller budget, so that it is
      never worse.
    """

    @property
    def generation(self) -> int:
        """Number of the generation that the last `ask` proposed, from 0."""

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the next architectures to evaluate; empty when the search is finished.

        Args:
            feasible: the architectures that may be proposed.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Take the scores of all architectures of the last `ask`, in its order.

        A score is a number or a tuple of numbers. Tuples are compared by their first numbers, then by the next ones.
        Higher is better, and NaN ranks last.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """


def rank(score: Score) -> tuple[float, ...]:
    """Return a key by which scores can be sorted: higher is better, NaN counts as minus infinity."""
    values = score if isinstance(score, tuple) else (score,)
    return tuple(-math.inf if math.isnan(value) else float(value) for value in values)
