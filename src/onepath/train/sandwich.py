"""Samplers for spaces of sizes: the sandwich rule, with or without attention, and choices that are opened in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from onepath.space import Architecture, Choice, Option, SearchSpace
from onepath.space.ends import end_of
from onepath.tree import Tree

if TYPE_CHECKING:
    from onepath.data import Task

Matrix = npt.NDArray[Any]
_POOL = 64

Attention = Literal["best-up", "worst-up"]


class SandwichSampler:
    """A sampler of the sandwich rule: the largest architecture, then random ones, then the smallest.

    Args:
        space: a space of sizes or depths, from which architectures are drawn.
        num_random: number of random architectures per update, besides the largest and the smallest.

    Source: Yu and Huang, "Universally Slimmable Networks" (arXiv 1903.05134); BigNAS (arXiv 2003.11142), section 3.1.
    """

    def __init__(self, space: SearchSpace, num_random: int = 2) -> None:
        self.space, self.num_random = space, num_random
        self._ends = end_of(space, max), end_of(space, min)

    @property
    def num_paths(self) -> int:
        """Number of paths per update."""
        return self.num_random + 2

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """Return the largest architecture, the random ones and the smallest, in this order."""
        largest, smallest = self._ends
        return [largest, *(self.space.random(rng) for _ in range(self.num_random)), smallest]


class AttentiveSampler(SandwichSampler):
    """A sandwich whose middle architectures are the best, or the worst, of a few random ones by loss on the batch.

    Args:
        space: a space of sizes or depths, from which architectures are drawn.
        task: gives the loss by which architectures are compared.
        attention: "best-up" keeps the architecture with the lowest loss, "worst-up" the one with the highest.
        num_random: number of architectures per update, besides the largest and the smallest.
        num_drawn: number of random architectures from which each of them is chosen.
        costs: function from a matrix of architectures to a vector of macs. The architectures that are compared then
            have about the same cost, so that the best is not simply the largest. None compares any architectures.

    Source: Wang et al., "AttentiveNAS" (arXiv 2011.09011), section 3.2: a cost is drawn from its distribution over
    random architectures, then architectures of that cost. Differs from it: the architectures compared are, among 64
    random ones, those nearest in cost to the first.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        attention: Attention,
        num_random: int = 2,
        num_drawn: int = 3,
        costs: Callable[[Matrix], Matrix] | None = None,
    ) -> None:
        super().__init__(space, num_random)
        self.task, self.attention, self.num_drawn, self.costs = task, attention, num_drawn, costs
        self._chosen: list[Architecture] = []

    def begin(
        self, forward: Callable[..., Any], inputs: Tree, targets: Tree, rng: np.random.Generator
    ) -> None:
        """Choose the architectures of this update by their loss on its batch; see `SeesBatch`."""
        sign = 1 if self.attention == "best-up" else -1

        @torch.no_grad()
        def loss(architecture: Architecture) -> float:
            return sign * float(self.task.loss(forward(inputs, architecture), targets))

        self._chosen = [min(self._compared(rng), key=loss) for _ in range(self.num_random)]

    def _compared(self, rng: np.random.Generator) -> list[Architecture]:
        """Return `num_drawn` random architectures, of about one cost if `costs` is given."""
        if self.costs is None:
            return self.space.architectures(self.space.sample(self.num_drawn, rng))
        rows = self.space.sample(max(_POOL, self.num_drawn), rng)
        costs = np.asarray(self.costs(rows), dtype=np.float64)
        nearest = np.argsort(np.abs(costs - costs[0]), kind="stable")[: self.num_drawn]
        return self.space.architectures(rows[nearest])

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """Return the largest architecture, the chosen ones and the smallest, in this order.

        Before the first call of `begin`, random architectures take the place of the chosen ones.
        """
        if not self._chosen:
            return super().paths(update, rng)
        largest, smallest = self._ends
        return [largest, *self._chosen, smallest]


class OpenSampler:
    """A sampler of random architectures in which only open choices vary; all others keep their largest option.

    Args:
        space: the space from which architectures are drawn.
        opened: open choice -> the options from which it is drawn, uniformly.
        num_paths: number of paths per update.

    Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.3: elastic sizes are opened one kind after another.
    """

    def __init__(
        self, space: SearchSpace, opened: Mapping[Choice, Sequence[Option]], num_paths: int = 1
    ) -> None:
        self.space, self.num_paths = space, num_paths
        largest = end_of(space, max)
        self._indices = [
            [choice.options.index(option) for option in opened[choice]] if choice in opened else [index]
            for choice, index in zip(space.choices, largest.indices, strict=True)
        ]

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """Return `num_paths` architectures."""
        return [
            self.space.architecture([int(rng.choice(indices)) for indices in self._indices])
            for _ in range(self.num_paths)
        ]
