"""Updates that train the largest network, the smallest and some between: the sandwich rule."""

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
    """The largest architecture, then random ones, then the smallest.

    Args:
        space: with sizes or depths.
        num_random: architectures between the largest and the smallest.

    Source: Yu and Huang, "Universally Slimmable Networks" (arXiv 1903.05134); BigNAS (arXiv 2003.11142), section 3.1.
    """

    def __init__(self, space: SearchSpace, num_random: int = 2) -> None:
        self.space, self.num_random = space, num_random
        self._ends = end_of(space, max), end_of(space, min)

    @property
    def num_paths(self) -> int:
        """Of an update."""
        return self.num_random + 2

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """The paths in this order."""
        largest, smallest = self._ends
        return [largest, *(self.space.random(rng) for _ in range(self.num_random)), smallest]


class AttentiveSampler(SandwichSampler):
    """A sandwich whose random architectures are the best, or the worst, of a few by their loss on the batch.

    Args:
        space, num_random: as of a sandwich.
        task: whose loss is asked.
        attention: "best-up" keeps those of the least loss, "worst-up" those of the greatest.
        num_drawn: from how many each is chosen.
        costs: matrix of architectures -> multiply-accumulates; those that are compared then cost about the same, so
            that the best is not just the largest. None compares any.

    Source: Wang et al., "AttentiveNAS" (arXiv 2011.09011), section 3.2: a cost is drawn as random architectures have
    it, then architectures of that cost. Differs from it: these are the nearest to the first one among 64.
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
        """Choose the architectures of the update whose batch this is."""
        sign = 1 if self.attention == "best-up" else -1

        @torch.no_grad()
        def loss(architecture: Architecture) -> float:
            return sign * float(self.task.loss(forward(inputs, architecture), targets))

        self._chosen = [min(self._compared(rng), key=loss) for _ in range(self.num_random)]

    def _compared(self, rng: np.random.Generator) -> list[Architecture]:
        """Random architectures, of one cost where costs are known."""
        if self.costs is None:
            return self.space.architectures(self.space.sample(self.num_drawn, rng))
        rows = self.space.sample(max(_POOL, self.num_drawn), rng)
        costs = np.asarray(self.costs(rows), dtype=np.float64)
        nearest = np.argsort(np.abs(costs - costs[0]), kind="stable")[: self.num_drawn]
        return self.space.architectures(rows[nearest])

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """The chosen ones between the largest and the smallest; random ones where no batch was shown."""
        if not self._chosen:
            return super().paths(update, rng)
        largest, smallest = self._ends
        return [largest, *self._chosen, smallest]


class OpenSampler:
    """Random architectures of the choices that are open; all others keep their largest option.

    Args:
        space: whose architectures are drawn.
        opened: choice -> the options that are drawn from.
        num_paths: of an update.

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
        """As many architectures as an update has."""
        return [
            self.space.architecture([int(rng.choice(indices)) for indices in self._indices])
            for _ in range(self.num_paths)
        ]
