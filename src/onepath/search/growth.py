"""Search by growth: a small architecture becomes wider and deeper, step by step.

Source: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873), and its
released code: 10 children of a starting network per update of the controller, the reward tan(accuracy * pi / 2), and
at the beginning of each stage the best network so far as the new start. Differs from them: see `GrowthController`; the
advantage is taken before the baseline moves; without a controller, children of good parents are drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.policy import GrowthController, PolicyGradient
from onepath.policy.growth import growing_columns, random_rises
from onepath.search.algorithm import Score, rank
from onepath.search.driver import Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Matrix
from onepath.space import Architecture, SearchSpace

Grower = Literal["controller", "evolution", "random"]

_TRIES = 64
_LARGEST = 0.999  # of an accuracy in the reward, which has a pole at 1


class Growth(SearchAlgorithm):
    """Proposes larger children of architectures that it knows; every proposal but the first has a parent.

    The first proposal is the smallest architecture. When nothing new and legal grows from the present one any more, the
    search ends.

    Args:
        space: a space with sizes or depths.
        seed: seed of the controller's weights and of every random draw.
        num: number of architectures in all.
        batch: number of children per `ask`.
        grower: "controller": a controller makes children of the starting architecture and learns from their scores;
            "evolution": children of the better of two known architectures, by random rises; "random": children of any.
        stage: number of updates of the controller from one starting architecture, before the best one becomes the next.
        most_steps: largest number of options by which a choice rises at once.
        learning_rate: rate of the controller's Adam.
        entropy: weight of the policy's entropy.

    Raises:
        ConfigurationError: a number is out of its range, or nothing in the space can grow.
    """

    name = "growth"

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        num: int = 100,
        batch: int = 10,
        *,
        grower: Grower = "controller",
        stage: int = 2,
        most_steps: int = 2,
        learning_rate: float = 0.002,
        entropy: float = 1e-5,
    ) -> None:
        check_most(POPULATION, batch=batch)
        check_most(EVALUATED, num=num)
        if min(num, batch, stage) < 1:
            raise ConfigurationError(
                f"`num`, `batch` and `stage` must be at least 1; got {num}, {batch} and {stage}; raise the one that is "
                "too small"
            )
        super().__init__(space, seed)
        self.num, self.batch, self.grower, self.stage, self.most_steps = num, batch, grower, stage, most_steps
        growing_columns(space)
        self.controller = GrowthController(space, most_steps=most_steps, seed=seed)
        # The weight of the newest mean is 0.95 in the released code.
        self._gradient = PolicyGradient(
            self.controller, learning_rate=learning_rate, entropy=entropy, baseline_decay=0.05
        )
        self._known: list[tuple[Architecture, Score]] = []
        self._num_updates = 0

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        """Yield the smallest architecture at first, then children of known ones."""
        num = min(self.batch, self.num - self.num_proposed)
        if num <= 0:
            return
        if not self._known:
            smallest = self.space.canonical(np.zeros((1, self.space.num_choices), dtype=self.space.dtype))
            yield Draw("given", 1, lambda _: smallest)
            return

        def grown(tries: int) -> tuple[Matrix, Matrix]:
            if self.grower == "controller":
                parents = np.repeat(self.controller.parent[None], tries, axis=0)
                return self.controller.sample(tries, rng), parents
            parents = self._parents(tries, rng)
            return random_rises(self.space, parents, self.most_steps, rng), parents

        yield Draw("mutation", num, grown, _TRIES)

    def observe(self, evaluated: Evaluated) -> None:
        """Let the controller learn; at the end of a stage, the best architecture so far is the next to grow."""
        is_first = not self._known
        self._known += evaluated
        if is_first or self.grower != "controller":
            return
        rewards = [_reward(score) for _, score in evaluated]
        self._gradient.step(self.space.matrix([architecture for architecture, _ in evaluated]), rewards)
        self._num_updates += 1
        if self._num_updates % self.stage == 0:
            best, _ = max(self._known, key=lambda known: rank(known[1]))
            self.controller.parent = self.space.matrix([best])[0]

    def _parents(self, num: int, rng: np.random.Generator) -> Matrix:
        """Return (num, num_choices) known architectures: any, or the better of two."""
        best_first = sorted(self._known, key=lambda known: rank(known[1]), reverse=True)
        members = self.space.matrix([architecture for architecture, _ in best_first])
        rounds = 2 if self.grower == "evolution" else 1
        chosen: Matrix = members[rng.integers(len(members), size=(num, rounds)).min(axis=1)]
        return chosen


def _reward(score: Score) -> float:
    accuracy = rank(score)[0]
    return math.tan(math.pi / 2 * min(max(accuracy, 0.0), _LARGEST)) if math.isfinite(accuracy) else 0.0
