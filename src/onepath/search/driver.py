"""The one driver of every search: what is proposed is legal, new, bounded, and scored before more is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.search.algorithm import Algorithm, Origin, Proposal, Score
from onepath.search.feasible import Costs, FeasibleSet, Matrix
from onepath.space import Architecture, SearchSpace

_ROUNDS = 10  # of as many tries as architectures are wanted
Evaluated = Sequence[tuple[Architecture, Score]]


@dataclass(frozen=True)
class Draw:
    """A part of what an algorithm proposes.

    Attributes:
        origin: how it comes about.
        num: architectures wanted.
        rows: number of tries -> that many random rows, or these and the rows of their parents; what is illegal or known
            among them is tried again, ten times in all. None for random legal architectures, which also fill up what
            other parts leave.
        size: tries at a time; `num` by default.
    """

    origin: Origin
    num: int
    rows: Callable[[int], Matrix | tuple[Matrix, Matrix]] | None = None
    size: int | None = None


@dataclass(frozen=True)
class Budget:
    """How much a search may evaluate, as a run says it.

    Args:
        population: architectures per generation.
        num: architectures evaluated at most.
        costs: further objectives, lower is better, for an algorithm that takes some.
    """

    population: int
    num: int
    costs: Sequence[Costs] = ()

    @property
    def generations(self) -> int:
        """Generations after the first, of whole populations, within `num`."""
        return max(0, self.num // self.population - 1)


class SearchAlgorithm(ABC):
    """A search algorithm says what it proposes and what it makes of scores; the rest is done here.

    `ask` and `tell` keep the contract of `Algorithm`: nothing illegal and nothing twice is proposed, what is missing is
    filled up with random legal architectures, tries are bounded, and only what was asked for may be told.

    Args:
        space: where to search.
        seed: of all draws.
        fewest_tries: rows drawn at a time, at least; it must not depend on a budget, so that a small one begins as a
            larger one does.
        generations_per_step: of an algorithm that proposes a generation in several steps.

    Attributes:
        name: of the algorithm; its draws depend on it.
        takes_costs: whether `for_budget` is given costs as further objectives.
        feasible: what the last `ask` was given.

    Example:
        A search for neighbours of the best architecture so far::

            class HillClimbing(SearchAlgorithm):
                name = "hill climbing"

                def propose(self, rng):
                    rows = self.space.matrix([self.best]) if self.best else None
                    yield Draw("mutation", 8, lambda num: self.space.mutate_one(rows.repeat(num, axis=0), rng))
    """

    name: ClassVar[str]
    takes_costs: ClassVar[bool] = False

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        fewest_tries: int = 1,
        generations_per_step: Fraction = Fraction(1),
    ) -> None:
        self.space, self.seed = space, seed
        self.feasible = FeasibleSet(space)
        self._fewest_tries, self._generations_per_step = fewest_tries, generations_per_step
        self._step = -1
        self._visited: set[Architecture] = set()
        self._asked: list[Architecture] = []

    @abstractmethod
    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """The parts of the next proposals, in order; none ends the search.

        Args:
            rng: of this step; everything drawn comes from it.
        """

    @abstractmethod
    def observe(self, evaluated: Evaluated) -> None:
        """Take the scores of what was proposed, in its order; see `rank` for how scores compare."""

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:  # noqa: ARG003
        """The algorithm for a number of evaluations.

        Raises:
            ConfigurationError: the algorithm has no budget of this kind.
        """
        raise ConfigurationError(
            f"{cls.name} has no number of generations; make the algorithm yourself, with the arguments that it takes"
        )

    @property
    def generation(self) -> int:
        """What the last `ask` proposed, from 0; -1 before it."""
        return self._step if self._step < 1 else 1 + int((self._step - 1) * self._generations_per_step)

    @property
    def num_proposed(self) -> int:
        """Architectures proposed so far."""
        return len(self._visited)

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The next architectures to evaluate, distinct, legal and new; empty when the search is finished.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """
        self.feasible = feasible
        rng = generator(self.seed, self.name, self._step + 1)
        proposals: list[Proposal] = []
        num_wanted, size = 0, self._fewest_tries
        for draw in self.propose(rng):
            num_wanted += draw.num
            if draw.rows is None:
                size = max(size, draw.size or draw.num)
            else:
                proposals += self._found(draw, draw.num)
        if not num_wanted:
            return []
        missing = num_wanted - len(proposals)
        filling = Draw("random", missing, lambda num: feasible.sample(num, rng), max(missing, size))
        proposals += self._found(filling, missing)
        self._step += 1
        self._asked = [proposal.architecture for proposal in proposals]
        return proposals

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Take the scores of all architectures of the last `ask`, in its order.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """
        check_told(self._asked, architectures, scores)
        self._asked = []
        self.observe(list(zip(architectures, scores, strict=True)))

    def _found(self, draw: Draw, num: int) -> list[Proposal]:
        """The first `num` drawn that are legal and not visited; they, and only they, are marked as visited."""
        found: list[Proposal] = []
        assert draw.rows is not None, "what is random is drawn by the driver"
        for _ in range(_ROUNDS):
            if len(found) == num:
                break
            drawn = draw.rows(draw.size or draw.num)
            rows, parents = drawn if isinstance(drawn, tuple) else (drawn, None)
            legal = np.flatnonzero(self.feasible.is_legal(rows))
            for index, architecture in zip(legal, self.space.architectures(rows[legal]), strict=True):
                if len(found) < num and architecture not in self._visited:
                    self._visited.add(architecture)
                    parent = (
                        None if parents is None else self.space.architectures(parents[index : index + 1])[0]
                    )
                    found.append(Proposal(architecture, draw.origin, parent))
        return found


def run_search(
    algorithm: Algorithm,
    feasible: FeasibleSet,
    evaluate: Callable[[Proposal], Score],
    *,
    anticipate: Callable[[Sequence[Proposal]], Any] | None = None,
) -> None:
    """Drive a search to its end.

    Args:
        algorithm: asks, and is told.
        feasible: what is legal.
        evaluate: the score of a proposal, higher is better.
        anticipate: told what will be evaluated next, in this order.
    """
    while proposals := algorithm.ask(feasible):
        if anticipate is not None:
            anticipate(proposals)
        scores = [evaluate(proposal) for proposal in proposals]
        algorithm.tell([proposal.architecture for proposal in proposals], scores)


def check_told(
    asked: Sequence[Architecture], architectures: Sequence[Architecture], scores: Sequence[Score]
) -> None:
    """Raise ConfigurationError unless the told architectures are those asked for, each with a score."""
    if list(architectures) != list(asked) or len(scores) != len(asked):
        raise ConfigurationError(
            f"`tell` takes the {len(asked)} architectures of the last `ask` in its order, each with a score; got "
            f"{len(architectures)} with {len(scores)} scores; tell them all at once, once"
        )
