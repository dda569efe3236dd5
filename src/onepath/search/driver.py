"""The base class of search algorithms, and the loop that drives a search.

The base class makes sure that proposals are legal and new and that the number of tries is bounded. The loop scores all
proposals before it asks for more.
"""

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

_ROUNDS = 10  # rounds of tries, each of as many as architectures are wanted
Evaluated = Sequence[tuple[Architecture, Score]]


@dataclass(frozen=True)
class Draw:
    """A part of an algorithm's proposals, all of one origin.

    Attributes:
        origin: how the architectures come about.
        num: number of architectures wanted.
        rows: function from a number of tries to that many random rows (architectures as option indices), or to a pair
            of such rows and the rows of their parents. It is called up to ten times, until `num` of the rows are legal
            and new. None stands for random legal architectures; these also replace what other parts did not find.
        size: number of tries per call; None takes `num`.
        num_new: if given, architectures that were proposed before may come again, and the draw ends with this many new
            ones, even if it has fewer than `num` in all. Only for an algorithm with `repeats`.
    """

    origin: Origin
    num: int
    rows: Callable[[int], Matrix | tuple[Matrix, Matrix]] | None = None
    size: int | None = None
    num_new: int | None = None


@dataclass(frozen=True)
class Budget:
    """How many architectures a search may evaluate.

    Args:
        population: number of architectures per generation.
        num: largest number of architectures evaluated.
        costs: further objectives, lower is better, for an algorithm with `takes_costs`.
    """

    population: int
    num: int
    costs: Sequence[Costs] = ()

    @property
    def generations(self) -> int:
        """Number of whole generations after the first that fit into `num`."""
        return max(0, self.num // self.population - 1)


class SearchAlgorithm(ABC):
    """Base class of search algorithms; a subclass defines `propose` and `observe`, this class does the rest.

    `ask` and `tell` keep the contract of `Algorithm`: every proposal is legal and, without `repeats`, new, missing
    proposals are replaced
    by random legal architectures, the number of tries is bounded, and `tell` takes only the architectures of the last
    `ask`.

    Args:
        space: the space to search.
        seed: seed of every random draw.
        fewest_tries: smallest number of rows drawn at a time. It must not depend on a budget, so that a search with a
            small budget begins as one with a larger budget does.
        generations_per_step: generations per `ask` after the first one; below 1 for an algorithm that proposes a
            generation in several steps.

    Attributes:
        name: name of the algorithm; its random draws depend on it.
        takes_costs: whether the budget of `for_budget` has costs as further objectives.
        repeats: whether an architecture may be proposed more than once.
        feasible: the feasible set of the last `ask`.

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
    repeats: ClassVar[bool] = False

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
        """Yield the parts of the next proposals, in order; to yield none ends the search.

        Args:
            rng: generator of this step; every random draw must come from it.
        """

    @abstractmethod
    def observe(self, evaluated: Evaluated) -> None:
        """Take the scores of the last proposals, in their order.

        Args:
            evaluated: pairs of architecture and score; see `rank` for how scores compare.
        """

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:  # noqa: ARG003
        """Return the algorithm for a number of evaluations.

        Args:
            space: the space to search.
            seed: seed of every random draw.
            budget: number of architectures per generation and in all.

        Raises:
            ConfigurationError: the algorithm cannot be made from a budget.
        """
        raise ConfigurationError(
            f"{cls.name} has no number of generations; make the algorithm yourself, with the arguments that it takes"
        )

    @property
    def generation(self) -> int:
        """Number of the generation that the last `ask` proposed, from 0; -1 before the first `ask`."""
        return self._step if self._step < 1 else 1 + int((self._step - 1) * self._generations_per_step)

    @property
    def num_proposed(self) -> int:
        """Number of distinct architectures proposed so far."""
        return len(self._visited)

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the next architectures to evaluate, all legal; empty when the search is finished.

        Without `repeats`, all are new.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """
        self.feasible = feasible
        rng = generator(self.seed, self.name, self._step + 1)
        proposals: list[Proposal] = []
        num_wanted, size = 0, self._fewest_tries
        num_before, num_new = self.num_proposed, None  # None: the draws limit themselves by their sizes
        for draw in self.propose(rng):
            num_wanted += draw.num
            if draw.rows is None:
                size = max(size, draw.size or draw.num)
            else:
                proposals += self._found(draw, draw.num)
                num_new = draw.num_new
        if not num_wanted:
            return []
        missing = num_wanted - len(proposals)
        if num_new is not None:
            missing = min(missing, num_before + num_new - self.num_proposed)
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
        """Return the first `num` drawn architectures that are legal and new, and mark these as visited; see `Draw`."""
        found: list[Proposal] = []
        most = len(self._visited) + (num if draw.num_new is None else draw.num_new)
        assert draw.rows is not None, "what is random is drawn by the driver"
        for _ in range(_ROUNDS):
            if len(found) == num or len(self._visited) == most:
                break
            drawn = draw.rows(draw.size or draw.num)
            rows, parents = drawn if isinstance(drawn, tuple) else (drawn, None)
            legal = np.flatnonzero(self.feasible.is_legal(rows))
            for index, architecture in zip(legal, self.space.architectures(rows[legal]), strict=True):
                if len(found) == num or len(self._visited) == most:
                    break
                if draw.num_new is not None or architecture not in self._visited:
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
    """Run a search to its end: evaluate all proposals of an `ask`, then tell their scores, until there are none.

    Where an algorithm proposes an architecture again, the score that is known is told.

    Args:
        algorithm: the search algorithm.
        feasible: the architectures that may be proposed.
        evaluate: function from a proposal to its score, higher is better; called once per architecture.
        anticipate: called with the new proposals of each `ask` before they are evaluated in this order; None calls
            nothing.

    Raises:
        InfeasibleError: no architecture meets the limits.
    """
    known: dict[Architecture, Score] = {}
    while proposals := algorithm.ask(feasible):
        architectures = [proposal.architecture for proposal in proposals]
        new: dict[Architecture, Proposal] = {}
        for proposal in proposals:
            if proposal.architecture not in known:
                new.setdefault(proposal.architecture, proposal)
        if anticipate is not None and new:
            anticipate(list(new.values()))
        known |= {architecture: evaluate(proposal) for architecture, proposal in new.items()}
        algorithm.tell(architectures, [known[architecture] for architecture in architectures])


def check_told(
    asked: Sequence[Architecture], architectures: Sequence[Architecture], scores: Sequence[Score]
) -> None:
    """Raise ConfigurationError unless the told architectures are the proposed ones in their order, each with a score.

    Args:
        asked: architectures of the last `ask`.
        architectures: architectures given to `tell`.
        scores: scores given to `tell`.
    """
    if list(architectures) != list(asked) or len(scores) != len(asked):
        raise ConfigurationError(
            f"`tell` takes the {len(asked)} architectures of the last `ask` in its order, each with a score; got "
            f"{len(architectures)} with {len(scores)} scores; tell them all at once, once"
        )
