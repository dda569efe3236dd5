"""Counting by distinct sums of costs: exact and ready for every window, if few sums are distinct."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.bounds import Level
from onepath.counting.sums import Ints, SortedSums
from onepath.space.layers import Layer, num_paths, write_options

MOST_SUMS = 2**16  # distinct sums per layer; keeps the tables in cache

_MOST_MERGED = 2**20  # sums per layer before equal ones are merged; keeps the preparation under a second
_DENSE = 2**18  # up to this many pairs of a state and a sum are looked up in an array, not by binary search
_CHUNK = 2**13


class _Level:
    """Distinct sums from the states of one layer to the end, with the number of paths of each sum."""

    def __init__(self, states: Ints, sums: Ints, counts: npt.NDArray[Any]) -> None:
        self.sums = SortedSums(states, sums, counts)
        self.sums.merge()
        self.counts = self.sums.values
        self._weights = self.counts.astype(np.float64)
        lowest, highest = int(sums.min()), int(sums.max())
        self._direct: Level | None = None
        if self.sums.num_states * (highest - lowest + 3) <= _DENSE:
            self._direct = Level(lowest, 0, np.zeros((self.sums.num_states, highest - lowest + 3)))
            states, sums = self.sums.entries()
            self._direct.bound[states, sums - (lowest - 1)] = self._weights

    def at(self, states: Ints | None, sums: Ints) -> npt.NDArray[np.float64]:
        """Return how many paths to the end have exactly this sum, from each state; None stands for the only state."""
        if self._direct is not None:
            return self._direct.at(states, sums)
        states = np.zeros(1, dtype=np.int64) if states is None else states
        position = np.maximum(self.sums.position(states, sums) - 1, 0)
        found_states, found_sums = self.sums.entries(position)
        found = (found_sums == sums) & (found_states == states)
        return np.where(found, self._weights[position], 0)


class Merged:
    """Counts and draws by the distinct sums from every layer to the end.

    A draw first takes a sum inside the window, weighted by its number of paths. It then takes a path with this sum edge
    by edge, each edge weighted by the number of ways to go on.
    """

    is_exact = True

    def __init__(self, layers: Sequence[Layer], levels: list[_Level]) -> None:
        self._layers = layers
        self._levels = levels
        self._sums = levels[0].sums.entries()[1]
        self._cumulative: list[int] = [0, *np.cumsum(levels[0].counts).tolist()]

    @classmethod
    def build(cls, layers: Sequence[Layer]) -> Merged | None:
        """Prepare the tables; return None if some layer has more than MOST_SUMS distinct sums.

        It also returns None if some layer has more than 2^20 sums before equal ones are merged.
        """
        total = num_paths(layers)[0][0]
        ones = np.ones(1, dtype=np.int64 if total < 2**62 else object)
        levels = [_Level(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), ones)]
        for layer in reversed(layers):
            after_states, after_sums = levels[-1].sums.entries()
            starts = np.searchsorted(after_states, np.arange(layer.following.max() + 2))
            states, sums, counts = [], [], []
            for state, edge in np.argwhere(layer.is_edge):
                target = layer.following[state, edge]
                part = slice(starts[target], starts[target + 1])
                sums.append(after_sums[part] + layer.costs[state, edge])
                states.append(np.full(len(sums[-1]), state))
                counts.append(levels[-1].counts[part])
            if sum(map(len, sums)) > _MOST_MERGED:
                return None
            levels.append(_Level(np.concatenate(states), np.concatenate(sums), np.concatenate(counts)))
            if len(levels[-1].counts) > MOST_SUMS:
                return None
        return cls(layers, levels[::-1])

    def count(self, low: int, high: int) -> int:
        """Return the exact number of paths with `low <= sum <= high`."""
        first, last = self._inside(low, high)
        return self._cumulative[last] - self._cumulative[first]

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Return the exact count twice, as the lower and as the upper bound."""
        return self.count(low, high), self.count(low, high)

    def acceptance(self, low: int, high: int) -> float:
        """Return 1 if the window holds a path, because no draw is rejected, and 0 if the window is empty."""
        return float(self.count(low, high) > 0)

    def sample(self, low: int, high: int, out: npt.NDArray[Any], rng: np.random.Generator) -> bool:
        """Fill the rows of `out` with independent uniform paths inside the window; return False if it is empty."""
        first, last = self._inside(low, high)
        if first >= last:
            return False
        cumulative = self._levels[0].counts[first:last].astype(np.float64).cumsum()
        for start in range(0, len(out), _CHUNK):
            part = out[start : start + _CHUNK]
            rank = np.searchsorted(cumulative, (1 - rng.random(len(part))) * cumulative[-1])
            self._fill(self._sums[first + rank], part, rng)
        return True

    def _inside(self, low: int, high: int) -> tuple[int, int]:
        """Return the first position, and the position after the last, of the sums of whole paths inside the window."""
        return int(np.searchsorted(self._sums, low)), int(np.searchsorted(self._sums, high, side="right"))

    def _fill(self, sums: Ints, out: npt.NDArray[Any], rng: np.random.Generator) -> None:
        """Fill each row of `out` with a uniform path whose sum is exactly the entry of `sums`."""
        states, row = np.zeros(len(out), dtype=np.int64), np.arange(len(out))
        edges_taken = []
        for layer, after in zip(self._layers, self._levels[1:], strict=True):
            if layer.is_single:
                left = sums[:, None] - layer.costs
                weights = after.at(None, left)
            else:
                following, left = layer.following[states], sums[:, None] - layer.costs[states]
                weights = after.at(following, left) * layer.is_edge[states]
            cumulative = weights.cumsum(axis=1)
            threshold = (1 - rng.random(len(out))) * cumulative[:, -1]  # above 0 and at most the total
            edges = (cumulative < threshold[:, None]).sum(axis=1)
            sums = left[row, edges]
            if not layer.is_single:
                states = following[row, edges]
            edges_taken.append(edges)
        write_options(self._layers, edges_taken, out)

    def quantile(self, fraction: float) -> int:
        """Return the smallest sum that at least this fraction of the paths do not exceed."""
        rank = max(1, math.ceil(Fraction(fraction) * self._cumulative[-1]))
        return int(self._sums[bisect_left(self._cumulative, rank) - 1])
