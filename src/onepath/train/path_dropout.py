"""A sampler that trains sums of candidates, of which some are left out at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError
from onepath.most import PARTS, check_most
from onepath.nn import Gate, GatedPath, GhostBatches

if TYPE_CHECKING:
    from onepath.nn import Path
    from onepath.space import SearchSpace


class PathDropoutSampler:
    """A sampler that adds all candidates of every block, each dropped with a probability that rises over the training.

    In a block of k candidates each is dropped with a probability p, independently of the others. If all k are dropped,
    one of them, drawn uniformly, is kept. So a candidate is left out with probability `p - p ** k / k`. The final value
    of p is `rate ** (1 / k)`, so that all candidates are dropped with probability `rate` and a candidate is left out
    with probability `rate ** (1 / k) - rate / k`. Up to the share `begin` of the updates nothing is dropped. From
    there to `end`, p rises linearly from 0 to its final value. A final rate of 1 keeps one candidate alone, as
    `UniformSampler` does. Choices that are not blocks, such as sizes, are drawn uniformly.

    Args:
        space: the space from which paths are drawn; its choices of words are choice blocks, its choices of numbers are
            not.
        num_updates: updates of the whole training.
        rate: final probability, in [0, 1], that all candidates of a block are dropped.
        begin: share of the updates before the probability rises.
        end: share of the updates from which the probability is final; `begin <= end <= 1`. If both are 0, it is
            constant.
        num_ghost_batches: number of parts of each batch that have paths of their own.

    Attributes:
        adds_candidates: True: a path adds the outputs of candidates, so that they must have one shape.
        num_parts: number of parts of each batch that have paths of their own.

    Raises:
        ConfigurationError: a number is out of its range, or a size depends on a choice block, so that the size has
            no value while several candidates run.

    Source: Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018. Differs from
    it: a block whose candidates are all dropped keeps one.
    """

    needs_every_update = True
    adds_candidates = True

    def __init__(
        self,
        space: SearchSpace,
        num_updates: int,
        *,
        rate: float = 0.1,
        begin: float = 0.0,
        end: float = 1.0,
        num_ghost_batches: int = 1,
    ) -> None:
        if not 0 <= rate <= 1 or not 0 <= begin <= end <= 1:
            raise ConfigurationError(
                f"`0 <= rate <= 1` and `0 <= begin <= end <= 1` must hold, but got rate={rate}, begin={begin} and "
                f"end={end}; change the one that is out of range"
            )
        if min(num_updates, num_ghost_batches) < 1:
            raise ConfigurationError(
                f"`num_updates` and `num_ghost_batches` must be at least 1, but got {num_updates} and "
                f"{num_ghost_batches}; raise them"
            )
        check_most(PARTS, num_ghost_batches=num_ghost_batches)
        self.space = space
        self.num_parts = num_ghost_batches
        self._num_updates, self._num_ghost_batches = num_updates, num_ghost_batches
        self._rate, self._begin, self._end = rate, begin, end
        self._blocks = {c.name: c.num_options for c in space.choices if not c.is_ordered}
        for column, choice in enumerate(space.choices):
            parents = {space.names[parent] for parent in space.conditions.parents(column)}
            if choice.name not in self._blocks and parents & self._blocks.keys():
                raise ConfigurationError(
                    f"path dropout needs sizes that do not depend on a choice block, but {choice.name!r} depends on "
                    f"{min(parents & self._blocks.keys())!r}; use UniformSampler (method spos)"
                )

    def drop_probability(self, num_candidates: int, update: int) -> float:
        """Return the probability that a candidate is dropped at an update, before one is kept if all are dropped.

        Args:
            num_candidates: number of candidates of the block.
            update: number of the update, counted from 0.
        """
        final: float = self._rate ** (1 / num_candidates)
        done = update / self._num_updates
        if done >= self._end:
            return final
        if done <= self._begin:
            return 0.0
        return final * (done - self._begin) / (self._end - self._begin)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Path]:
        """Return one path, with a gate for every block; with ghost batches it holds one such path per part."""
        parts = [self._gated(update, rng) for _ in range(self._num_ghost_batches)]
        return parts if len(parts) == 1 else [GhostBatches(parts)]

    def _gated(self, update: int, rng: np.random.Generator) -> GatedPath:
        architecture = self.space.random(rng)
        gates = {}
        for name, num_candidates in self._blocks.items():
            probability = self.drop_probability(num_candidates, update)
            kept = np.flatnonzero(rng.random(num_candidates) >= probability)
            last = rng.integers(num_candidates)
            gates[name] = Gate.subset(tuple(kept.tolist()) if len(kept) else (int(last),))
        return GatedPath(architecture, gates)
