"""Bounds, by state and bucket of the cost so far, on the number of ways to finish inside a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.space.layers import Layer
from onepath.space.sums import Ints, SortedSums

Floats = npt.NDArray[Any]

_BLOCK = 2**15  # buckets added at a time, so that the sum stays in cache
_FEWEST = 2**12  # no coarser than this
_MOVED = 1.003  # factor by which one layer may move the mean bound in exchange for fewer buckets


@dataclass(frozen=True)
class Level:
    """Bounds of one layer: of a path that arrives in `state` with a sum in bucket `(sum - origin) // width`.

    The first and the last column of `bound`, (states, 2 + number of buckets), stand for all sums outside and
    hold 0.
    """

    origin: int
    width: int
    bound: Floats

    def at(self, states: Ints | None, sums: Ints) -> Floats:
        """Bounds for arrivals in `states` with these sums; None for the one state there is."""
        bucket = sums - (self.origin - self.width)
        if self.width > 1:
            bucket //= self.width
        if states is None:
            found: Floats = self.bound[0].take(bucket, mode="clip")
            return found
        return np.asarray(self.bound[states, np.minimum(np.maximum(bucket, 0), self.bound.shape[1] - 1)])


def list_level(
    paths: SortedSums, reach: tuple[int, int], window: tuple[int, int], width: int, *, upper: bool
) -> Level:
    """Bounds at the listed paths: the most (or fewest) of them that any sum of a bucket can complete.

    Args:
        paths: the listed paths, by state and sum.
        reach: smallest and largest sum to have a bucket.
        window: smallest and largest total.
        width: of a bucket.
        upper: whether to bound from above.
    """
    num = max(0, -(-(reach[1] - reach[0] + 1) // width))
    starts = reach[0] + width * np.arange(num)
    bound = np.zeros((paths.num_states, num + 2), dtype=np.float32)
    for state in range(paths.num_states):
        states = np.full(num, state)
        low = window[0] - starts - (width - 1 if upper else 0)
        high = window[1] - starts - (0 if upper else width - 1)
        bound[state, 1:-1] = np.maximum(paths.position(states, high) - paths.position(states, low - 1), 0)
    return Level(reach[0], width, bound)


def level_before(layer: Layer, reach: tuple[int, int], after: Level, *, upper: bool) -> Level:
    """Bounds one layer earlier: the sum of the bounds behind the edges, in buckets of the same width.

    An edge moves a bucket onto parts of two neighbours; the larger bound counts (for lower bounds the
    smaller).
    """
    num = max(0, -(-(reach[1] - reach[0] + 1) // after.width))
    extreme = np.maximum if upper else np.minimum
    pairs = extreme(after.bound[:, :-1], after.bound[:, 1:])
    # Counts below 2^24 are exact in single precision, and the long arrays near the list are small counts.
    largest = float(after.bound.max()) * layer.costs.shape[1]
    bound = np.zeros((len(layer.num_edges), num + 2), dtype=np.float32 if largest < 2**24 else np.float64)
    for start in range(0, num, _BLOCK):
        for state, edge in np.argwhere(layer.is_edge).tolist():
            shift, rest = divmod(reach[0] + int(layer.costs[state, edge]) - after.origin, after.width)
            source = (pairs if rest else after.bound)[layer.following[state, edge]]
            first = max(start, -shift - 1)
            last = min(start + _BLOCK, num, len(source) - shift - 1)
            if first < last:
                bound[state, first + 1 : last + 1] += source[first + shift + 1 : last + shift + 1]
    return Level(reach[0], after.width, bound)


def coarser(level: Level, *, upper: bool) -> Level:
    """The same bounds in the widest buckets that hardly move their mean."""
    extreme = np.maximum if upper else np.minimum
    most, width = level.bound.sum(dtype=np.float64), level.width
    bound = level.bound[:, 1:-1]
    while bound.shape[1] >= 2 * _FEWEST:
        if bound.shape[1] % 2:
            bound = np.pad(bound, ((0, 0), (0, 1)))
        wider = extreme(bound[:, ::2], bound[:, 1::2])
        total = wider.sum(dtype=np.float64) * (2 * width // level.width)
        if max(total, most) > min(total, most) * _MOVED:
            break
        bound, width = wider, 2 * width
    return Level(level.origin, width, np.pad(bound, ((0, 0), (1, 1))))
