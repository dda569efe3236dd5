"""Counting in buckets: sampling stays exactly uniform if the sums are too many to list.

The paths of the last layers are listed with their exact sums. For the earlier layers, a table holds upper bounds by
state and by bucket of the cost so far. A bound is at least the number of completions inside the window, and at least
the sum of the bounds behind the edges. A path is drawn edge by edge, each edge with probability (bound behind it) /
(bound here); with the remaining probability the path is rejected. At the list, the number of completions is exact. So
every path inside the window is accepted with the same probability, 1 / (bound at the start), and no path outside the
window is accepted.

At the list, a bucket is a fraction of a narrow window. Buckets widen towards the start as long as that hardly raises
the bounds: the number of completions of an early choice is smooth in its cost, however narrow the window is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.bounds import Level, coarser, level_before, list_level, widened
from onepath.counting.sums import PathList
from onepath.space.layers import Layer, num_paths, suffix_extremes, write_options

MOST_LISTED = 2**20  # largest number of listed paths of the last layers
WIDTHS_PER_WINDOW = 16  # buckets that a window spans at the list, unless the next two limits demand otherwise
FEWEST_BUCKETS = 2**18  # smallest number of buckets at the list, over all states
MOST_BUCKETS = 2**22  # largest number of buckets at the list, over all states
MOST_BUCKETS_BEFORE = 2**23  # largest number of buckets at any earlier layer, over all states

_CHUNK = 2**12
_NUM_ESTIMATE = 10_000
_MOST_ESTIMATES = 75  # chunks
_MOST_TRIES = 2**20
_MOST_WINDOWS = 8


class _Window:
    """The bounds of every layer for one window."""

    def __init__(self, levels: list[Level], low: int, high: int) -> None:
        self.levels, self.low, self.high = levels, low, high
        self.start = float(levels[0].at(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))[0])
        self.acceptance = 0.0


class Buckets:
    """Counts and draws with upper bounds in buckets for the first layers and an exact list for the last ones.

    A window holds the sums from `low` to `high`, inclusive, and must overlap the range from the smallest to the largest
    sum.

    Args:
        layers: layers whose paths are counted; the last layers are listed as far as they have at most MOST_LISTED paths
            to the end.
    """

    is_exact = False

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        totals = [sum(counts) for counts in num_paths(layers)]
        self._cut = next(index for index, total in enumerate(totals) if total <= MOST_LISTED)
        self._list = PathList(layers[self._cut :], to_end=True)
        self._suffix = [(int(low.min()), int(high.max())) for low, high in suffix_extremes(layers)]
        self._prefix = _prefix_extremes(layers)
        self._num_columns = sum(len(layer.columns) for layer in layers)
        self._windows: dict[tuple[int, int], _Window] = {}

    def count(self, low: int, high: int) -> int:
        """Return an estimate of the number of paths with `low <= sum <= high`, the same at every call.

        The estimate is the bound at the start times the share of the proposals that are accepted. Proposals are made in
        chunks of 2^12 until 10,000 are accepted, in at most 75 chunks. The standard error is under one percent, unless
        the chunks end before 10,000 proposals are accepted.
        """
        window = self._window(low, high)
        if not window.start:
            return 0
        accepted, seed = 0, 0
        while accepted < _NUM_ESTIMATE and seed < _MOST_ESTIMATES:
            accepted += len(self._propose(window, _CHUNK, np.random.default_rng(seed)))
            seed += 1
        return round(window.start * accepted / (seed * _CHUNK))

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Return a lower and an upper bound of the number of paths with `low <= sum <= high`."""
        upper = self._window(low, high).start
        lower = _Window(self._levels(low, high, upper=False), low, high).start
        return int(lower * (1 - 1e-9)), int(upper * (1 + 1e-9))

    def acceptance(self, low: int, high: int) -> float:
        """Return the share of 2^12 proposals that are accepted; 0 if the window is empty."""
        return self._window(low, high).acceptance

    def sample(self, low: int, high: int, out: npt.NDArray[Any], rng: np.random.Generator) -> bool:
        """Fill the rows of `out` with independent uniform paths inside the window.

        Returns:
            False if the window is empty, or so nearly empty that 2^20 proposals in a row found nothing.
        """
        window = self._window(low, high)
        filled = fruitless = 0
        while filled < len(out) and window.start and fruitless < _MOST_TRIES:
            wanted = 4 + int(1.1 * (len(out) - filled) / max(window.acceptance, 1e-3))
            rows = self._propose(window, min(wanted, _CHUNK), rng)[: len(out) - filled]
            out[filled : filled + len(rows)] = rows
            filled += len(rows)
            fruitless = 0 if len(rows) else fruitless + min(wanted, _CHUNK)
        return filled == len(out)

    def _propose(self, window: _Window, num: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Make `num` proposals, and return the option indices of the accepted ones, one row each."""
        row, alive = np.arange(num), np.ones(num, dtype=np.bool_)
        states, sums, bounds = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64), window.start
        edges_taken = []
        for layer, level in zip(self._layers[: self._cut], window.levels[1:], strict=True):
            if layer.is_single:
                after = sums[:, None] + layer.costs
                weights = level.at(None, after)
            else:
                following, after = layer.following[states], sums[:, None] + layer.costs[states]
                weights = level.at(following, after) * layer.is_edge[states]
            threshold = (1 - rng.random(num)) * bounds
            edges = (weights.cumsum(axis=1) < threshold[:, None]).sum(axis=1)
            alive &= edges < weights.shape[1]
            edges = np.minimum(edges, weights.shape[1] - 1)
            sums, bounds = after[row, edges], weights[row, edges]
            if not layer.is_single:
                states = following[row, edges]
            edges_taken.append(edges)
        left = self._list.sums.position(states, window.low - 1 - sums)
        right = self._list.sums.position(states, window.high - sums)
        offset = (rng.random(num) * bounds).astype(np.int64)
        kept = np.flatnonzero(alive & (offset < right - left))
        rows = np.zeros((len(kept), self._num_columns), dtype=np.int16)
        self._list.decode((left + offset)[kept], states[kept], rows)
        write_options(self._layers[: self._cut], [edges[kept] for edges in edges_taken], rows)
        return rows

    def _window(self, low: int, high: int) -> _Window:
        if (low, high) not in self._windows:
            if len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            window = _Window(self._levels(low, high, upper=True), low, high)
            if window.start:
                window.acceptance = len(self._propose(window, _CHUNK, np.random.default_rng(0))) / _CHUNK
            self._windows[low, high] = window
        return self._windows[low, high]

    def _levels(self, low: int, high: int, *, upper: bool) -> list[Level]:
        """Return the bounds of every layer up to the list, for one window."""
        reach = [self._reach(index, low, high) for index in range(self._cut + 1)]
        extent = (reach[-1][1] - reach[-1][0] + 1) * self._list.sums.num_states
        wanted = min((high - low + 1) // WIDTHS_PER_WINDOW, extent // FEWEST_BUCKETS)
        shift = max(wanted.bit_length() - 1, (-(-extent // MOST_BUCKETS) - 1).bit_length(), 0)
        levels = [list_level(self._list.sums, reach[-1], (low, high), shift, upper=upper)]
        for index in reversed(range(self._cut)):
            layer, (first, last) = self._layers[index], reach[index]
            # A layer that moves the cost far more than all later ones would need too many narrow buckets.
            least = (last - first + 1) * len(layer.num_edges) / MOST_BUCKETS_BEFORE
            after = widened(levels[-1], least, upper=upper)
            levels.append(coarser(level_before(layer, (first, last), after, upper=upper), upper=upper))
        return levels[::-1]

    def _reach(self, index: int, low: int, high: int) -> tuple[int, int]:
        """Return the smallest and the largest sum at a layer from which the window can still be reached."""
        prefix, suffix = self._prefix[index], self._suffix[index]
        return max(prefix[0], low - suffix[1]), min(prefix[1], high - suffix[0])


def _prefix_extremes(layers: Sequence[Layer]) -> list[tuple[int, int]]:
    """Return the smallest and the largest sum of costs from the start to each layer."""
    low = high = np.zeros(1, dtype=np.int64)
    extremes = [(0, 0)]
    for layer in layers:
        states, edges = np.nonzero(layer.is_edge)
        targets, costs = layer.following[states, edges], layer.costs[states, edges]
        lows = np.full(int(targets.max()) + 1, np.iinfo(np.int64).max)
        highs = -lows
        np.minimum.at(lows, targets, low[states] + costs)
        np.maximum.at(highs, targets, high[states] + costs)
        low, high = lows, highs
        extremes.append((int(low.min()), int(high.max())))
    return extremes
