"""Search by reinforcement learning: a controller proposes architectures, and their scores train it.

Source: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017 (arXiv 1611.01578). The
controller and its gradient are those of `onepath.policy`. Differs from the paper in these points:

- The reward is the score itself, from whatever estimator; in the paper, each proposal is trained for it.
- Under hard limits, what the controller draws is rejected until it is legal. The gradient with a baseline is then, but
  for the baseline's lag, that of the expected score of legal architectures: the probability of being legal is a factor
  whose gradient has the weight of the mean advantage, which is zero.
- A step updates the controller once, on a whole batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Self

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.policy import Controller, PolicyGradient
from onepath.search.algorithm import rank
from onepath.search.driver import Budget, Draw, Evaluated, SearchAlgorithm
from onepath.space import SearchSpace

_MOST_TRIES = (
    512  # drawn at a time after the first time, so that legal architectures are found under a tight limit
)
_MOST_STALE = 20  # steps in a row without a new architecture


class Reinforce(SearchAlgorithm):
    """An LSTM controller, trained by REINFORCE on the scores of its proposals.

    An architecture may be proposed again; its score is known then and costs nothing, but the controller learns from it
    again. Once the controller has proposed nothing new for 20 steps, random legal architectures take its place.

    Args:
        space: the space to search.
        seed: seed of the controller's weights and of every random draw.
        num: number of distinct architectures in all.
        batch: number of proposals per `ask`, from which the controller makes one update.
        hidden: width of the LSTM.
        learning_rate: rate of Adam.
        entropy: weight of the policy's entropy in what is maximised.
        temperature: divides the logits of the controller; see `Controller`.
        tanh_bound: bound of the logits; see `Controller`.
        baseline_decay: share of the old baseline that is kept at each update.

    Attributes:
        controller: the controller.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    name = "reinforce"
    repeats = True

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        num: int = 1000,
        batch: int = 10,
        *,
        hidden: int = 64,
        learning_rate: float = 0.0035,
        entropy: float = 1e-4,
        temperature: float = 1.0,
        tanh_bound: float | None = None,
        baseline_decay: float = 0.95,
    ) -> None:
        check_most(POPULATION, batch=batch)
        check_most(EVALUATED, num=num)
        if min(num, batch) < 1:
            raise ConfigurationError(
                f"`num` and `batch` must be at least 1; got {num} and {batch}; raise the one that is too small"
            )
        super().__init__(space, seed)
        self.num, self.batch = num, batch
        self.controller = Controller(
            space, hidden=hidden, temperature=temperature, tanh_bound=tanh_bound, seed=seed
        )
        self._gradient = PolicyGradient(
            self.controller, learning_rate=learning_rate, entropy=entropy, baseline_decay=baseline_decay
        )
        self._worst = 0.0
        self._num_known = self._num_stale = 0

    @classmethod
    def for_budget(cls, space: SearchSpace, seed: int, budget: Budget) -> Self:
        """See `SearchAlgorithm.for_budget`; the size of a batch does not depend on the budget."""
        return cls(space, seed, budget.num)

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield architectures that the controller draws; random ones once it draws nothing new."""
        num_left = self.num - self.num_proposed
        if num_left <= 0:
            return
        if self._num_stale >= _MOST_STALE:
            yield Draw("random", min(self.batch, num_left))
        else:
            sizes = itertools.chain([self.batch], itertools.repeat(max(self.batch, _MOST_TRIES)))
            rows = lambda _: self.controller.sample(next(sizes), rng)  # noqa: E731
            yield Draw("policy", self.batch, rows, num_new=num_left)

    def observe(self, evaluated: Evaluated) -> None:
        """Update the controller once; a score that is not finite counts as the lowest so far."""
        scores = [rank(score)[0] for _, score in evaluated]
        finite = [score for score in scores if math.isfinite(score)]
        if finite:
            self._worst = min(finite) if self._gradient.baseline.value is None else min(self._worst, *finite)
        rewards = [score if math.isfinite(score) else self._worst for score in scores]
        self._gradient.step(self.space.matrix([architecture for architecture, _ in evaluated]), rewards)
        self._num_stale = 0 if self.num_proposed > self._num_known else self._num_stale + 1
        self._num_known = self.num_proposed
