"""A cheap score before an expensive one: only the best of an algorithm's proposals are evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onepath.errors import ConfigurationError
from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.driver import check_told
from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture


class Prefilter:
    """Wraps any search algorithm, and passes on only a share of its proposals: the best by a cheap score.

    Of the n proposals of an `ask`, the `ceil(share * n)` with the highest cheap score are passed on, best first. For
    the others the algorithm is told minus infinity, so that none of them becomes a parent before an evaluated one; if
    scores are tuples, their last number is the cheap score, which orders them. With `first_only` only the first
    population is filtered: give the algorithm a large one, and the cheap score selects from it. Proposals depend on the
    algorithm's seed, the told scores and the cheap score alone, so that a search is resumed as one without a filter.

    Args:
        algorithm: the search algorithm. Its budget counts the proposals that are left out, so that its population
            should be larger.
        score: function from an architecture to its cheap score, for example `estimate.ScoreEstimator.value`; higher is
            better, and NaN is worst. Calls with the same architecture return the same score.
        share: share of the proposals that is evaluated, above 0 and at most 1.
        first_only: whether only the first `ask` is filtered.

    Attributes:
        num_left_out: number of proposals left out so far.

    Raises:
        ConfigurationError: the share is out of its range.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        score: Callable[[Architecture], float],
        share: float,
        *,
        first_only: bool = False,
    ) -> None:
        if not 0 < share <= 1:
            raise ConfigurationError(
                f"`0 < share <= 1` must hold; got {share}; it is the part that is evaluated"
            )
        self._algorithm, self._score, self._share, self._first_only = algorithm, score, share, first_only
        self.num_left_out = 0
        self._asked: list[Architecture] = []
        self._kept: list[Architecture] = []
        self._cheap: dict[Architecture, float] = {}

    @property
    def repeats(self) -> bool:
        """Whether the algorithm may propose an architecture more than once."""
        return bool(getattr(self._algorithm, "repeats", False))

    @property
    def generation(self) -> int:
        """Number of the generation that the algorithm proposed last."""
        return self._algorithm.generation

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the best of the algorithm's next proposals; empty when the search is finished.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """
        proposals = self._algorithm.ask(feasible)
        self._asked = [proposal.architecture for proposal in proposals]
        self._cheap = {}
        if not self._first_only or self.generation == 0:
            self._cheap = {architecture: self._number(architecture) for architecture in self._asked}
            num = math.ceil(self._share * len(proposals) - 1e-9)
            proposals = sorted(proposals, key=lambda p: -self._cheap[p.architecture])[:num]
        self._kept = [proposal.architecture for proposal in proposals]
        self.num_left_out += len(self._asked) - len(self._kept)
        return proposals

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Tell the algorithm these scores, and minus infinity for the proposals that were left out.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """
        check_told(self._kept, architectures, scores)
        told = dict(zip(architectures, scores, strict=True))
        length = next((len(score) for score in scores if isinstance(score, tuple)), 1)

        def passed_on(architecture: Architecture) -> Score:
            if architecture in told:
                return told[architecture]
            return -math.inf if length == 1 else (*[-math.inf] * (length - 1), self._cheap[architecture])

        self._algorithm.tell(self._asked, [passed_on(architecture) for architecture in self._asked])

    def _number(self, architecture: Architecture) -> float:
        value = self._score(architecture)
        return -math.inf if math.isnan(value) else value
