"""Counting by meeting in the middle: exact where each half of the choices can be listed path by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.sums import Ints, PathList
from onepath.space.layers import Layer, num_paths

MOST_PATHS = 2**21  # largest number of paths in one half; two lists of 2^21 take 64 MB

_MOST_WINDOWS = 8


def num_prefixes(layers: Sequence[Layer]) -> list[int]:
    """Return the number of paths from the start to each layer and to the end, summed over the states of the layer."""
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
    """All paths up to a middle layer and all paths from there to the end, both lists sorted by sum.

    The number of completions of a first half is the distance between two positions in the list of second halves. A rank
    drawn below the total number of completions identifies one path.
    """

    is_exact = True

    def __init__(self, layers: Sequence[Layer], middle: int) -> None:
        self._before = PathList(layers[:middle], to_end=False)
        self._after = PathList(layers[middle:], to_end=True)
        self._windows: dict[tuple[int, int], Ints] = {}

    @classmethod
    def build(cls, layers: Sequence[Layer]) -> Halves | None:
        """Prepare the lists; return None if one half would have more than MOST_PATHS paths."""
        sizes = zip(num_prefixes(layers), map(sum, num_paths(layers)), strict=True)
        largest = [max(pair) for pair in sizes]
        middle = largest.index(min(largest))
        return cls(layers, middle) if largest[middle] <= MOST_PATHS else None

    def count(self, low: int, high: int) -> int:
        """Return the exact number of paths with `low <= sum <= high`."""
        return int(self._cumulative(low, high)[-1])

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Return the exact count twice, as the lower and as the upper bound."""
        count = self.count(low, high)
        return count, count

    def acceptance(self, low: int, high: int) -> float:
        """Return 1 if the window holds a path, because no draw is rejected, and 0 if the window is empty."""
        return float(self.count(low, high) > 0)

    def sample(self, low: int, high: int, out: npt.NDArray[Any], rng: np.random.Generator) -> bool:
        """Fill the rows of `out` with independent uniform paths inside the window; return False if it is empty."""
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
