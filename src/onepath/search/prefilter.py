"""A cheap score before an expensive one: only the best of what an algorithm proposes are evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onepath.errors import ConfigurationError
from onepath.search.algorithm import Algorithm, Proposal, Score
from onepath.search.driver import check_told
from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture


class Prefilter:
    """Any search algorithm, of whose proposals a share is evaluated.

    Of the n proposals of an `ask` the `ceil(share * n)` of highest score are passed on, best first; the algorithm is
    told minus infinity for the others, ordered by the score, so that none of them becomes a parent before one that was
    evaluated. With `first_only` this holds for the first population alone: draw a large one, and the score ranks it.
    What is proposed depends on the algorithm's seed, the told scores and the cheap score alone, so that a search is
    resumed as one without a filter.

    Args:
        algorithm: proposes; it counts the proposals that are left out, so that its population is to be larger.
        score: architecture -> cheap score, higher is better, NaN last, for example `estimate.ScoreEstimator.value`;
            the same at every call.
        share: of the proposals that is evaluated, above 0 and at most 1.
        first_only: filter the first `ask` alone.

    Attributes:
        num_left_out: proposals that were not evaluated so far.

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
    def generation(self) -> int:
        """The algorithm's."""
        return self._algorithm.generation

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The best proposals of the algorithm's next ones; empty when it is finished."""
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
        """Pass the scores on, and minus infinity for what was left out."""
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
