"""A whole search on predictions, and the best that it finds to evaluate."""

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
    """Any search algorithm, driven to its end by a predictor in place of evaluations; the best are then evaluated.

    The one `ask` proposes what was predicted best under the limits, best first, of equals what came first; after it the
    search is finished. A predictor answers in microseconds, so that thousands of architectures are looked at, and a
    further limit costs seconds.

    Args:
        algorithm: proposes; its scores are predictions.
        predict: matrix of architectures -> predicted scores, higher is better; the same at every call.
        num: architectures to evaluate.

    Attributes:
        num_predicted: architectures that the algorithm asked for.

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
        """0 for what is evaluated; -1 before it is asked for."""
        return -1 if self._asked is None else 0

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The best of the whole search at first, then nothing."""
        if self._asked is not None:
            return []
        best: list[tuple[tuple[float, ...], Proposal]] = []
        while proposals := self._algorithm.ask(feasible):
            architectures = [proposal.architecture for proposal in proposals]
            scores = np.asarray(self._predict(feasible.space.matrix(architectures))).tolist()
            self._algorithm.tell(architectures, scores)
            self.num_predicted += len(proposals)
            found = [*best, *zip(map(rank, scores), proposals, strict=True)]
            best = sorted(found, key=lambda pair: pair[0], reverse=True)[: self._num]
        self._asked = [proposal.architecture for _, proposal in best]
        return [proposal for _, proposal in best]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Take the scores; nothing follows from them."""
        check_told(self._asked or [], architectures, scores)
