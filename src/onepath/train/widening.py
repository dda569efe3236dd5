"""Training sizes in an order that lets them converge: the largest first, then more and more of them."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError
from onepath.train.phases import path_phases
from onepath.train.training import num_updates

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture, Choice, SearchSpace
    from onepath.train.phase import Phase
    from onepath.train.recipe import Recipe


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
        self._sizes = OpenSizes(space, 1.0)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """One architecture."""
        return self._sizes.drawn(self.opened(update), rng)

    def num_open(self, num_options: int, update: int) -> int:
        """How many options of a size are drawn at an update, at least 1."""
        return num_open(num_options, self.opened(update))

    def opened(self, update: int) -> float:
        """Share of the way from the first added option to all, below 0 before it."""
        done = update / self._num_updates
        if done >= self._end:
            return 1.0
        return -1.0 if done < self._begin else (done - self._begin) / (self._end - self._begin)


class OpenSizes:
    """One path per update, uniform and independent over the sizes that are open; other choices are all open.

    Args:
        space: whose architectures are drawn.
        opened: how far the sizes are open: below 0 the largest alone, from 0 to 1 more and more of them, at 1 all.
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
        return self.drawn(self._opened, rng)

    def drawn(self, opened: float, rng: np.random.Generator) -> Sequence[Architecture]:
        """One architecture, of sizes that are open so far."""
        matrix = self.space.sample(1, rng)
        for column, by_size in self._sizes:
            matrix[0, column] = by_size[rng.integers(num_open(len(by_size), opened))]
        return self.space.architectures(matrix)


def num_open(num_options: int, opened: float) -> int:
    """How many of a size's options are drawn, the largest first, at least 1; see `OpenSizes`."""
    return 1 if opened < 0 else min(num_options, 2 + math.floor(opened * (num_options - 1)))


def widening_phases(
    supernet: Supernet, task: Task, recipe: Recipe, *, begin: float = 0.5, end: float = 0.8
) -> list[Phase]:
    """The phases of a training that opens sizes from the largest down: the same paths as those of `WideningSampler`.

    Args:
        supernet: whose space has sizes.
        task: says how many updates the recipe has.
        recipe: of the weights; its start from one path comes first.
        begin: share of the updates before the first option is added.
        end: share of the updates from which all options are open.

    Returns:
        The start, where there is one, and a phase for each set of open sizes: "sizes 1 of 4" and so on.

    Raises:
        ConfigurationError: see `WideningSampler`.
    """
    space, num = supernet.space, num_updates(task, recipe)
    sampler = WideningSampler(space, num, begin=begin, end=end)
    nums_options = sorted({choice.num_options for choice in space.choices if is_size(choice)})

    def nums_open(update: int) -> list[int]:
        return [sampler.num_open(num_options, update) for num_options in nums_options]

    begins = [recipe.num_one_path(num)]
    while (later := bisect.bisect_right(range(num), nums_open(begins[-1]), key=nums_open)) < num:
        begins.append(later)
    *start, first = path_phases(supernet, task, recipe, sampler)
    return start + [
        dataclasses.replace(
            first,
            name=f"sizes {index + 1} of {len(begins)}",
            sampler=OpenSizes(space, sampler.opened(update)),
            enter=None if index else first.enter,
            until=until / num,
        )
        for index, (update, until) in enumerate(itertools.pairwise([*begins, num]))
    ]


def is_size(choice: Choice) -> bool:
    """Whether a choice's options are sizes, two or more, and so have an order."""
    return choice.is_ordered and len(choice.options) > 1
