"""What every search algorithm does: ask for architectures, and be told their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from onepath.errors import ConfigurationError
from onepath.search.feasible import FeasibleSet, Matrix
from onepath.space import Architecture

Score = float | tuple[float, ...]
Origin = Literal["random", "mutation", "crossover", "derived"]

_ROUNDS = 10  # of as many tries as architectures are wanted


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and how it came about."""

    architecture: Architecture
    origin: Origin


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


def first_new(
    feasible: FeasibleSet, draw: Callable[[int], Matrix], num: int, visited: set[Architecture]
) -> list[Architecture]:
    """The first `num` architectures drawn that are legal and not visited, of at most ten times `num` tries.

    Marks them, and only them, as visited; an illegal one is none.

    Args:
        feasible: what is legal.
        draw: gives a matrix of so many random rows.
        num: how many to find.
        visited: what was proposed before; changed.
    """
    found: list[Architecture] = []
    for _ in range(_ROUNDS):
        if len(found) == num:
            break
        rows = draw(num)
        for architecture in feasible.space.architectures(rows[feasible.is_legal(rows)]):
            if len(found) < num and architecture not in visited:
                visited.add(architecture)
                found.append(architecture)
    return found


def check_told(
    asked: Sequence[Architecture], architectures: Sequence[Architecture], scores: Sequence[Score]
) -> None:
    """Raise ConfigurationError unless the told architectures are those asked for, each with a score."""
    if list(architectures) != list(asked) or len(scores) != len(asked):
        raise ConfigurationError(
            f"`tell` takes the {len(asked)} architectures of the last `ask` in its order, each with a"
            " score; got"
            f" {len(architectures)} with {len(scores)} scores; tell them all at once, once"
        )


def rank(score: Score) -> tuple[float, ...]:
    """A score as a key for sorting: higher is better, NaN is worst."""
    values = score if isinstance(score, tuple) else (score,)
    return tuple(-math.inf if math.isnan(value) else float(value) for value in values)
