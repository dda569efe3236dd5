"""A search that runs entirely on predicted scores, and whose best architectures are then evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.search.algorithm import Algorithm, Proposal, Score, rank
from onepath.search.driver import check_told
from onepath.search.feasible import FeasibleSet, Matrix
from onepath.space import Architecture


class Predicted:
    """Runs any search algorithm to its end on predicted scores, and proposes the best architectures for evaluation.

    The first `ask` proposes the architectures with the highest predictions under the limits, best first; of equal ones,
    the one that was predicted first. After it the search is finished. A prediction takes microseconds, so that the
    search can look at thousands of architectures, and a search under another limit costs seconds.

    Args:
        algorithm: the search algorithm; it is told predictions as scores.
        predict: function from a matrix of architectures to their predicted scores, higher is better; calls with the
            same architectures return the same scores.
        num: number of architectures to evaluate.

    Attributes:
        num_predicted: number of architectures that the algorithm proposed.

    Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.4, where one architecture is taken as predicted.
    """

    def __init__(
        self, algorithm: Algorithm, predict: Callable[[Matrix], npt.NDArray[Any]], num: int = 1
    ) -> None:
        self._algorithm, self._predict, self._num = algorithm, predict, num
        self._asked: list[Architecture] | None = None
        self.num_predicted = 0

    @property
    def generation(self) -> int:
        """0 for the architectures to evaluate; -1 before the first `ask`."""
        return -1 if self._asked is None else 0

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the best architectures of the whole search at the first call, an empty list at later ones.

        Raises:
            InfeasibleError: no architecture meets the limits.
        """
        if self._asked is not None:
            return []
        best: list[tuple[tuple[float, ...], Proposal]] = []
        while proposals := self._algorithm.ask(feasible):
            architectures = [proposal.architecture for proposal in proposals]
            scores = np.asarray(self._predict(feasible.space.matrix(architectures))).tolist()
            self._algorithm.tell(architectures, scores)
            self.num_predicted += len(proposals)
            kept = {proposal.architecture for _, proposal in best}
            new = {
                proposal.architecture: (rank(score), proposal)
                for proposal, score in zip(proposals, scores, strict=True)
                if proposal.architecture not in kept
            }
            found = [*best, *new.values()]
            best = sorted(found, key=lambda pair: pair[0], reverse=True)[: self._num]
        self._asked = [proposal.architecture for _, proposal in best]
        return [proposal for _, proposal in best]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Check the scores as `Algorithm.tell` does; they are not used.

        Raises:
            ConfigurationError: the architectures are not those of the last `ask`.
        """
        check_told(self._asked or [], architectures, scores)
