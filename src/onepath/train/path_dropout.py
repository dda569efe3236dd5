"""Training sums of candidates, of which some are left out at random."""

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
    """All candidates of every block, each dropped with a probability that rises over the training.

    In a block of k candidates each is dropped, independently of the others, with probability `rate ** (1 / k)`,
    so that all of them are with probability `rate`. Then one of them, drawn uniformly, stays: a candidate is
    therefore left out with probability `rate ** (1 / k) - rate / k`. Until the share `begin` of the updates
    nothing is dropped; from there to `end` the probability rises linearly to its final value p, which leaves a
    candidate out with probability `p - p ** k / k`. A final rate of 1 keeps one candidate alone, as
    `UniformSampler` does. Choices that are no blocks, such as sizes, are drawn uniformly.

    Args:
        space: its choices of words are choice blocks, its choices of numbers are not.
        num_updates: of the whole training.
        rate: in [0, 1], the final probability that all candidates of a block are dropped.
        begin: share of the updates before the probability rises.
        end: share of the updates from which it is final; `begin <= end <= 1`. With both 0 it is constant.
        num_ghost_batches: parts of each batch that have masks of their own.

    Attributes:
        adds_candidates: that a path adds the outputs of candidates, which must have one shape.
        num_parts: of each batch.

    Raises:
        ConfigurationError: a number is out of its range, or a size depends on a choice block, so that it has
            no value where several candidates run.

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
        """With which each candidate of a block is dropped at an update, before one is kept."""
        final: float = self._rate ** (1 / num_candidates)
        done = update / self._num_updates
        if done >= self._end:
            return final
        if done <= self._begin:
            return 0.0
        return final * (done - self._begin) / (self._end - self._begin)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Path]:
        """One path with a gate for every block, or one for each part of the batch."""
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
