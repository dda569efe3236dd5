"""Sampling sizes in an order that lets them converge: one size first, then more and more of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.errors import ConfigurationError

if TYPE_CHECKING:
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
                f"`0 <= begin <= end <= 1` must hold, but got begin={begin} and end={end}. Put them in order."
            )
        if num_updates < 1:
            raise ConfigurationError(
                f"`num_updates` must be at least 1, but got {num_updates}. Train longer."
            )
        self.space = space
        self._num_updates = num_updates
        self._begin, self._end = begin, end
        self._sizes = [
            (column, np.argsort([-float(option) for option in choice.options], kind="stable"))
            for column, choice in enumerate(space.choices)
            if is_size(choice)
        ]

    def num_open(self, num_options: int, update: int) -> int:
        """How many options of a size are drawn at an update, at least 1."""
        done = update / self._num_updates
        if done >= self._end:
            return num_options
        if done < self._begin:
            return 1
        share = (done - self._begin) / (self._end - self._begin)
        return min(num_options, 2 + math.floor(share * (num_options - 1)))

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:
        """One architecture."""
        matrix = self.space.sample(1, rng)
        for column, by_size in self._sizes:
            matrix[0, column] = by_size[rng.integers(self.num_open(len(by_size), update))]
        return self.space.architectures(matrix)


def is_size(choice: Choice) -> bool:
    """Whether a choice's options are numbers, two or more, and so have an order."""
    return len(choice.options) > 1 and all(
        isinstance(option, int | float) and not isinstance(option, bool) for option in choice.options
    )
