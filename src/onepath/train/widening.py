"""Training sizes in an order that lets them converge: the largest first, then more and more of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError
from onepath.train.phases import Phase, path_phases
from onepath.train.recipe import Recipe

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.space import Architecture, Choice, SearchSpace


class WideningSampler:
    """One path per update; choices of a size begin with the largest and open towards the smallest.

    A size is a choice whose options are all numbers, such as a width. Until `begin` of the updates its
    largest option alone is drawn, so that the other choices train as without it. From there to `end` one
    option after another is added, the largest first, in even steps; after `end` all are drawn. Every draw is
    uniform over what is open, and independent; choices that are no sizes are open from the first update.

    Args:
        space: whose architectures are drawn.
        num_updates: of the whole training.
        begin: share of the updates before the first option is added.
        end: share of the updates from which all options are open; `begin <= end <= 1`.

    Raises:
        ConfigurationError: the shares are out of order, or there are no updates.

    Source: SPOS, arXiv 1904.00420, section 3.3 searches channel numbers by slices of one tensor and trains
    them all from the start. Differs from it: trained so, blocks and channels together do not converge in ports
    of the paper; their remedy, blocks alone for half of the training and then a slowly widening range of
    channels, is what is done here, from the largest down as in Once-for-All (arXiv 1908.09791, section 3.3).
    """

    def __init__(self, space: SearchSpace, num_updates: int, *, begin: float = 0.5, end: float = 0.8) -> None:
        if not 0 <= begin <= end <= 1:
            raise ConfigurationError(
                f"`0 <= begin <= end <= 1` must hold, but got begin={begin} and end={end}; put them in order"
            )
        if num_updates < 1:
            raise ConfigurationError(
                f"`num_updates` must be at least 1, but got {num_updates}; train longer"
            )
        self.space = space
        self._num_updates = num_updates
        self._begin, self._end = begin, end

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """One architecture."""
        return OpenSizes(self.space, self._opened(update / self._num_updates)).paths(update, rng)

    def num_open(self, num_options: int, update: int) -> int:
        """How many options of a size are drawn at an update, at least 1."""
        return num_open(num_options, self._opened(update / self._num_updates))

    def _opened(self, done: float) -> float:
        """Share of the way from the first added option to all, below 0 before it."""
        if done >= self._end:
            return 1.0
        return -1.0 if done < self._begin else (done - self._begin) / (self._end - self._begin)


class OpenSizes:
    """One path per update, uniform and independent over the sizes that are open; other choices are all open.

    Args:
        space: whose architectures are drawn.
        opened: how far the sizes are open: below 0 the largest alone, from 0 to 1 more and more of the largest, at 1 all.
    """

    def __init__(self, space: SearchSpace, opened: float) -> None:
        self.space = space
        self._sizes = [
            (column, np.argsort([-float(option) for option in choice.options], kind="stable"))
            for column, choice in enumerate(space.choices)
            if is_size(choice)
        ]
        self._opened = opened

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """One architecture."""
        matrix = self.space.sample(1, rng)
        for column, by_size in self._sizes:
            matrix[0, column] = by_size[rng.integers(num_open(len(by_size), self._opened))]
        return self.space.architectures(matrix)


def num_open(num_options: int, opened: float) -> int:
    """How many of a size's options are drawn, the largest first, at least 1; see `OpenSizes`."""
    return 1 if opened < 0 else min(num_options, 2 + math.floor(opened * (num_options - 1)))


def widening_phases(
    supernet: Supernet, recipe: Recipe, *, begin: float = 0.5, end: float = 0.8
) -> list[Phase]:
    """The phases of a training that opens sizes from the largest down, as `WideningSampler` does.

    Args:
        supernet: whose space has sizes.
        recipe: of the weights; its start from one path comes first.
        begin: share of the updates before the first option is added.
        end: share of the updates from which all options are open.
    """
    space = supernet.space
    most = max((len(choice.options) for choice in space.choices if is_size(choice)), default=2)
    # The steps of a size of n options are at k / (n - 1) of the way.
    steps = sorted({k / (n - 1) for n in range(2, most + 1) for k in range(n - 1)})
    opened = [-1.0, *steps, 1.0]
    until = [begin, *(begin + step * (end - begin) for step in steps[1:]), end, 1.0]
    phases = path_phases(supernet, recipe, OpenSizes(space, -1.0))
    first = phases[-1]
    later = [
        dataclasses.replace(
            first, name=f"sizes open {share:.2f}", sampler=OpenSizes(space, share), enter=None, until=at
        )
        for share, at in zip(opened, until, strict=True)
        if at > recipe.one_path
    ]
    return [*phases[:-1], dataclasses.replace(later[0], enter=first.enter), *later[1:]]


def is_size(choice: Choice) -> bool:
    """Whether a choice's options are sizes, two or more, and so have an order."""
    return choice.is_ordered and len(choice.options) > 1
