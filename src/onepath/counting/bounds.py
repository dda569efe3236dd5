"""Bounds on the number of ways to finish inside a window, by state and by bucket of the cost so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.sums import Ints, SortedSums
from onepath.space.layers import Layer

Floats = npt.NDArray[Any]

_BLOCK = 2**16  # buckets added at a time, so that the sum stays in cache
_FEWEST = 2**12  # smallest number of buckets that `coarser` leaves
_MOVED = 1.01  # factor by which one layer may move the mean bound in exchange for fewer buckets


@dataclass(frozen=True)
class Level:
    """Bounds of one layer, for paths that arrive in `state` with a sum in bucket `(sum - origin) >> shift`.

    Attributes:
        origin: the smallest sum of the first bucket.
        shift: a bucket holds 2^shift sums.
        bound: (states, 2 + number of buckets) the bounds; the first and the last column stand for all sums outside the
            buckets and hold 0.
    """

    origin: int
    shift: int
    bound: Floats

    @property
    def width(self) -> int:
        """Number of sums per bucket, a power of two, because most of a draw's time would go into a division by it."""
        return 1 << self.shift

    def at(self, states: Ints | None, sums: Ints) -> Floats:
        """Return the bounds for arrivals in `states` with these sums; None stands for the only state."""
        bucket = sums - (self.origin - self.width)
        bucket >>= self.shift
        if states is None:
            found: Floats = self.bound[0].take(bucket, mode="clip")
            return found
        return np.asarray(self.bound[states, np.minimum(np.maximum(bucket, 0), self.bound.shape[1] - 1)])


def list_level(
    paths: SortedSums, reach: tuple[int, int], window: tuple[int, int], shift: int, *, upper: bool
) -> Level:
    """Return bounds on the number of listed paths that complete a sum of each bucket inside the window.

    An upper bound is at least, and a lower bound at most, the number of completions of every sum of the bucket.

    Args:
        paths: the listed paths, by state and sum.
        reach: smallest and largest sum that has a bucket.
        window: smallest and largest total of a whole path.
        shift: buckets are 2^shift sums wide.
        upper: True for upper bounds, False for lower bounds.
    """
    width = 1 << shift
    num = max(0, -(-(reach[1] - reach[0] + 1) // width))
    counts = np.zeros((paths.num_states, num + 2), dtype=np.int64)
    states, sums = paths.entries()
    starts = np.searchsorted(states, np.arange(paths.num_states + 1))
    for state in range(paths.num_states):
        own = sums[starts[state] : starts[state + 1]]
        up_to_high = _num_up_to(own, window[1] - reach[0] - (0 if upper else width - 1), width, num)
        below_low = _num_up_to(own, window[0] - 1 - reach[0] - (width - 1 if upper else 0), width, num)
        counts[state, 1:-1] = np.maximum(up_to_high - below_low, 0)
    return Level(reach[0], shift, counts.astype(_smallest(float(counts.max()))))


def _num_up_to(sums: Ints, edge: int, width: int, num: int) -> Ints:
    """Return, for each of `num` buckets b, how many sums are at most `edge - b * width`."""
    last_bucket = np.minimum((edge - sums[sums <= edge]) // width, num - 1)
    return np.cumsum(np.bincount(last_bucket, minlength=num)[::-1])[::-1]


def _smallest(largest: float) -> type[np.generic]:
    """Return the smallest type that holds whole numbers up to `largest` exactly; float64 if no type does.

    The long arrays hold small counts.
    """
    if largest < 2**16:
        return np.uint16
    return np.float32 if largest < 2**24 else np.float64


def level_before(layer: Layer, reach: tuple[int, int], after: Level, *, upper: bool) -> Level:
    """Return the bounds one layer earlier: for each bucket, the sum of the bounds behind the edges.

    The buckets are as wide as those of `after`. An edge shifts a bucket onto parts of two neighbouring buckets, and the
    larger of their bounds counts (for lower bounds the smaller).

    Args:
        layer: layer whose edges lead to `after`.
        reach: smallest and largest sum at `layer` that has a bucket.
        after: bounds at the states that the edges lead to.
        upper: True for upper bounds, False for lower bounds.
    """
    num = max(0, -(-(reach[1] - reach[0] + 1) // after.width))
    extreme = np.maximum if upper else np.minimum
    pairs = extreme(after.bound[:, :-1], after.bound[:, 1:])
    largest = float(after.bound.max()) * layer.costs.shape[1]
    bound = np.zeros((len(layer.num_edges), num + 2), np.promote_types(_smallest(largest), after.bound.dtype))
    for start in range(0, num, _BLOCK):
        for state, edge in np.argwhere(layer.is_edge).tolist():
            shift, rest = divmod(reach[0] + int(layer.costs[state, edge]) - after.origin, after.width)
            source = (pairs if rest else after.bound)[layer.following[state, edge]]
            first = max(start, -shift - 1)
            last = min(start + _BLOCK, num, len(source) - shift - 1)
            if first < last:
                bound[state, first + 1 : last + 1] += source[first + shift + 1 : last + shift + 1]
    return Level(reach[0], after.shift, bound)


def coarser(level: Level, *, upper: bool) -> Level:
    """Return the same bounds in the widest buckets that change their mean by at most one percent."""
    mass = _mass(level)
    while level.bound.shape[1] >= 2 * _FEWEST:
        wider = _doubled(level, upper=upper)
        if max(_mass(wider), mass) > min(_mass(wider), mass) * _MOVED:
            break
        level = wider
    return level


def widened(level: Level, width: float, *, upper: bool) -> Level:
    """Return the same bounds in buckets that are at least `width` sums wide."""
    while level.width < width:
        level = _doubled(level, upper=upper)
    return level


def _doubled(level: Level, *, upper: bool) -> Level:
    bound = level.bound[:, 1:-1]
    if bound.shape[1] % 2:
        bound = np.pad(bound, ((0, 0), (0, 1)))
    bound = (np.maximum if upper else np.minimum)(bound[:, ::2], bound[:, 1::2])
    return Level(level.origin, level.shift + 1, np.pad(bound, ((0, 0), (1, 1))))


def _mass(level: Level) -> float:
    """Return the sum of the bounds times the width of a bucket."""
    return float(level.bound.sum(dtype=np.float64)) * level.width
