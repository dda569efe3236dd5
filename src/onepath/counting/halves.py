"""Counting by meeting in the middle: exact where each half of the choices can be listed path by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.sums import Ints, PathList
from onepath.space.layers import Layer, num_paths

MOST_PATHS = 2**21  # per half; two lists of 2^21 take 64 MB

_MOST_WINDOWS = 8


def num_prefixes(layers: Sequence[Layer]) -> list[int]:
    """Number of paths from the start to each layer (and to the end), over all its states."""
    arrived = [1]
    totals = [1]
    for layer in layers:
        following = [0] * (int(layer.following.max()) + 1)
        for state, edge in np.argwhere(layer.is_edge).tolist():
            following[layer.following[state, edge]] += arrived[state]
        arrived = following
        totals.append(sum(arrived))
    return totals


class Halves:
    """All paths to the middle and all from there, sorted by sum.

    The number of completions of a first half is the distance between two positions among the second halves;
    one rank drawn below the sum of these numbers is one path.
    """

    is_exact = True

    def __init__(self, layers: Sequence[Layer], middle: int) -> None:
        self._before = PathList(layers[:middle], to_end=False)
        self._after = PathList(layers[middle:], to_end=True)
        self._windows: dict[tuple[int, int], Ints] = {}

    @classmethod
    def build(cls, layers: Sequence[Layer]) -> Halves | None:
        """Prepare the lists, or None where one half would have more than MOST_PATHS paths."""
        sizes = zip(num_prefixes(layers), map(sum, num_paths(layers)), strict=True)
        largest = [max(pair) for pair in sizes]
        middle = largest.index(min(largest))
        return cls(layers, middle) if largest[middle] <= MOST_PATHS else None

    def count(self, low: int, high: int) -> int:
        """Exact number of paths with `low <= sum <= high`."""
        return int(self._cumulative(low, high)[-1])

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """The exact count, twice."""
        count = self.count(low, high)
        return count, count

    def acceptance(self, low: int, high: int) -> float:
        """1 where the window holds something: nothing is rejected."""
        return float(self.count(low, high) > 0)

    def sample(self, low: int, high: int, out: npt.NDArray[Any], rng: np.random.Generator) -> bool:
        """Fill the rows of `out` with independent uniform paths inside the window; False if it is empty."""
        cumulative = self._cumulative(low, high)
        if not cumulative[-1]:
            return False
        rank = rng.integers(0, cumulative[-1], len(out))
        first = np.searchsorted(cumulative, rank, side="right")
        states, sums = self._before.sums.entries(first)
        behind = cumulative[first] - rank  # counts down from the last completion of this first half
        second = self._after.sums.position(states, high - sums) - behind
        self._before.decode(first, None, out)
        self._after.decode(second, states, out)
        return True

    def _cumulative(self, low: int, high: int) -> Ints:
        if (low, high) not in self._windows:
            if len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._windows[low, high] = np.cumsum(self._num_completions(low, high))
        return self._windows[low, high]

    def _num_completions(self, low: int, high: int) -> Ints:
        states, sums = self._before.sums.entries()
        after = self._after.sums
        return after.position(states, high - sums) - after.position(states, low - 1 - sums)
