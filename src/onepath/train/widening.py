"""Samplers that train the largest sizes first and then more and more of them, so that the training converges."""

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
    """A sampler of one path per update in which sizes begin at the largest option and open towards the smallest.

    A size is a choice whose options are all numbers, such as a width. Up to the share `begin` of the updates only its
    largest option is drawn, so that the other choices train as if there were no sizes. From `begin` to `end` the other
    options are added one after another in even steps, the largest first; after `end` all options are drawn. Draws are
    independent and uniform over the open options. Choices that are not sizes are open from the first update.

    Args:
        space: the space from which architectures are drawn.
        num_updates: updates of the whole training.
        begin: share of the updates before the first option is added.
        end: share of the updates from which all options are open; `begin <= end <= 1`.

    Raises:
        ConfigurationError: the shares are out of order, or `num_updates` is below 1.

    Source: SPOS, arXiv 1904.00420, section 3.3 searches channel numbers by slices of one tensor and trains
    them all from the start. Differs from it: ports of the paper found that blocks and channels do not converge when
    trained together in this way. Their remedy is used here: they train blocks alone for half of the training, and then
    slowly widen the range of channels. Here it widens from the largest down, as in Once-for-All (arXiv 1908.09791,
    section 3.3).
    """

    def __init__(self, space: SearchSpace, num_updates: int, *, begin: float = 0.5, end: float = 0.8) -> None:
        if not 0 <= begin <= end <= 1:
            raise ConfigurationError(
                f"`0 <= begin <= end <= 1` must hold, but got begin={begin} and end={end}; put them in order"
            )
        if num_updates < 1:
            raise ConfigurationError(f"`num_updates` must be at least 1, but got {num_updates}; train longer")
        self.space = space
        self._num_updates = num_updates
        self._begin, self._end = begin, end
        self._sizes = OpenSizes(space, 1.0)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """Return one architecture."""
        return self._sizes.drawn(self.opened(update), rng)

    def num_open(self, num_options: int, update: int) -> int:
        """Return how many options of a size are open at an update, at least 1.

        Args:
            num_options: options of the size in all.
            update: number of the update, counted from 0.
        """
        return num_open(num_options, self.opened(update))

    def opened(self, update: int) -> float:
        """Return how far the sizes are open at an update: the value of `opened` of `OpenSizes`."""
        done = update / self._num_updates
        if done >= self._end:
            return 1.0
        return -1.0 if done < self._begin else (done - self._begin) / (self._end - self._begin)


class OpenSizes:
    """A sampler of one path per update, uniform and independent over the open options of every choice.

    Choices that are not sizes have all their options open.

    Args:
        space: the space from which architectures are drawn.
        opened: how far the sizes are open: below 0 only the largest option is, from 0 to 1 more and more options are,
            at 1 all are.
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
        """Return one architecture."""
        return self.drawn(self._opened, rng)

    def drawn(self, opened: float, rng: np.random.Generator) -> Sequence[Architecture]:
        """Return one architecture whose sizes are drawn from the open options.

        Args:
            opened: how far the sizes are open, as for `OpenSizes`.
            rng: generator of the draws.
        """
        matrix = self.space.sample(1, rng)
        for column, by_size in self._sizes:
            matrix[0, column] = by_size[rng.integers(num_open(len(by_size), opened))]
        return self.space.architectures(matrix)


def num_open(num_options: int, opened: float) -> int:
    """Return how many of a size's options are open, the largest first, at least 1.

    Args:
        num_options: options of the size in all.
        opened: how far the sizes are open, as for `OpenSizes`.
    """
    return 1 if opened < 0 else min(num_options, 2 + math.floor(opened * (num_options - 1)))


def widening_phases(
    supernet: Supernet, task: Task, recipe: Recipe, *, begin: float = 0.5, end: float = 0.8
) -> list[Phase]:
    """Return the phases of a training that opens sizes from the largest down, with the paths of `WideningSampler`.

    Args:
        supernet: the supernet to train; its space has sizes.
        task: the data; with the recipe it gives the number of updates.
        recipe: optimizer, schedule and length; its start from one path comes first.
        begin: share of the updates before the first option is added.
        end: share of the updates from which all options are open; `begin <= end <= 1`.

    Returns:
        The start from one path, if the recipe has one, and a phase for each set of open sizes: "sizes 1 of 4" and so
        on.

    Raises:
        ConfigurationError: `begin` and `end` are out of order.
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
    """Whether a choice's options are sizes, which have an order, and there are two or more of them."""
    return choice.is_ordered and len(choice.options) > 1
