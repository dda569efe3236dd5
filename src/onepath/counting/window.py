"""Counting and exact uniform sampling of architectures inside a window of an additive cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from onepath.counting.buckets import Buckets
from onepath.counting.cost_table import CostTable, edge
from onepath.counting.halves import Halves
from onepath.counting.merged import Merged
from onepath.errors import InfeasibleError, SpaceError, shown
from onepath.space.choice import Number, plain_number
from onepath.space.layers import Layer, build_layers, extremes, num_paths

if TYPE_CHECKING:
    from onepath.space.search_space import SearchSpace

_NUM_DRAWS = 2**16


class WindowSampler:
    """Counts the distinct architectures of a space whose cost lies in a window, and draws them uniformly.

    A sampler is prepared once for a space and a table. What a window needs is prepared when the window is first used,
    and is kept for the last 8 windows, so that one draw per training step takes well under a millisecond. There are
    three methods, and the first one that fits is used:

    - "merged": the distinct sums of every layer, if there are at most 2^16. The count is exact.
    - "halves": both halves of the choices path by path, if each half has at most 2^21 paths; 4^20 architectures have
      2^20 per half. The count is exact.
    - "buckets": everything larger. The count is an estimate, with bounds. Draws stay exactly uniform, because proposals
      are rejected: one in a hundred for wide windows, one in ten to two in five if a window holds 10^-6 of the space.

    No method walks over the architectures outside the window, so a narrow window costs about as much as a wide one.
    Uniform means equal probabilities up to the rounding of double precision.

    Args:
        space: search space with fewer than 2^1000 architectures.
        table: a cost table, or for every choice the costs of its options, in the order of the space.
        method: one of the three methods; None takes the first one that fits.

    Attributes:
        space: the search space.
        table: the costs as a `CostTable`.
        num_total: exact number of distinct architectures of the space.

    Raises:
        SpaceError: the space has 2^1000 architectures or more, or `method` or `table` does not fit the space.

    Example:
        >>> space = SearchSpace([Choice(f"c{index}", [0, 1, 2]) for index in range(20)])
        >>> sampler = WindowSampler(space, [[0, 1, 2]] * 20)  # the cost is the sum of the options
        >>> sampler.method, sampler.count(None, 1), sampler.count(20, 20)
        ('merged', 21, 377379369)
        >>> sampler.sample(3, 3, 100, np.random.default_rng(0)).sum(axis=1).tolist() == [3] * 100
        True
    """

    def __init__(
        self,
        space: SearchSpace,
        table: CostTable | Sequence[Sequence[Number]],
        method: Literal["merged", "halves", "buckets"] | None = None,
    ) -> None:
        self.space = space
        self.table = CostTable.of(space, table)
        layers, self._offset, self._step = _normalised(
            build_layers(space, self.table), self.table.constant_ticks
        )
        self.num_total = num_paths(layers)[0][0]
        if self.num_total >= 2**1000:
            raise SpaceError(
                "`size < 2^1000` must hold to count by cost; the space has more; use fewer choices"
            )
        self._lowest, self._highest = extremes(layers)
        self._counter = _counter(layers, method)

    @property
    def method(self) -> str:
        """Name of the counting method in use: "merged", "halves" or "buckets"."""
        return type(self._counter).__name__.lower()

    @property
    def is_exact(self) -> bool:
        """Whether `count` is exact."""
        return self._counter.is_exact

    def count(self, low: float | None = None, high: float | None = None) -> int:
        """Return the number of distinct architectures with `low <= cost <= high`; None leaves a side open.

        The number is exact if `is_exact`. Otherwise it is an estimate with a standard error of at most about one
        percent (more if fewer than about one proposal in 30 is kept, see `acceptance`). The estimate is the same at
        every call, and exact for a window that holds all architectures. `bounds` encloses the exact number.

        Raises:
            SpaceError: `low` or `high` is not a number.
        """
        window = self._window(low, high)
        if window == (self._lowest, self._highest):
            return self.num_total
        return self._counter.count(*window) if window else 0

    def bounds(self, low: float | None = None, high: float | None = None) -> tuple[int, int]:
        """Return a lower and an upper bound of the number of architectures in the window; equal if `is_exact`.

        Arguments and errors are those of `count`.
        """
        window = self._window(low, high)
        return self._counter.bounds(*window) if window else (0, 0)

    def acceptance(self, low: float | None = None, high: float | None = None) -> float:
        """Return the share of the proposals for this window that `sample` keeps.

        Returns:
            1 for the methods that reject no proposal ("merged", "halves"); for "buckets" the share in 4,096 proposals;
            0 if the window holds no architecture.
        """
        window = self._window(low, high)
        return self._counter.acceptance(*window) if window else 0.0

    def sample(
        self, low: float | None, high: float | None, num: int, rng: np.random.Generator
    ) -> npt.NDArray[Any]:
        """Draw architectures with `low <= cost <= high`, independently and uniformly; None leaves a side open.

        Args:
            low: smallest cost, inclusive, in the table's unit.
            high: largest cost, inclusive, in the table's unit.
            num: number of rows to draw; the same architecture may be drawn more than once.
            rng: the only source of chance; equal generators give equal rows, whatever was drawn before.

        Returns:
            (num, num_choices) canonical rows of option indices, in the dtype of the space.

        Raises:
            InfeasibleError: the window is empty, or with the method "buckets" so nearly empty that 2^20 proposals found
                nothing; the message states the smallest and the median cost of the space.
            SpaceError: `low` or `high` is not a number.
        """
        rows = np.zeros((num, self.space.num_choices), dtype=self.space.dtype)
        window = self._window(low, high)
        if window and self._counter.sample(*window, rows, rng):
            return rows
        lowest, median = self._show(self.extremes()[0]), self._show(self.quantile(0.5))
        raise InfeasibleError(
            f"some architecture must cost between {self._show(low)} and {self._show(high)}; found none:"
            " the smallest"
            f" cost of the space is {lowest}, the median {median}; widen the window"
        )

    def extremes(self) -> tuple[Number, Number]:
        """Return the smallest and the largest cost in the space, exactly."""
        return self._cost(self._lowest), self._cost(self._highest)

    def quantile(self, fraction: float) -> Number:
        """Return the smallest cost that at least this fraction of the distinct architectures do not exceed.

        The cost is exact if `method` is "merged". Otherwise it is the quantile of 2^16 uniform draws, the same at every
        call.

        Raises:
            SpaceError: the fraction is not in [0, 1].
        """
        number = plain_number(fraction)
        if number is None or not 0 <= number <= 1:
            raise SpaceError(f"`0 <= fraction <= 1` must hold; got {shown(fraction)}; 0.5 is the median")
        if isinstance(self._counter, Merged):
            return self._cost(self._counter.quantile(number))
        rows = np.zeros((_NUM_DRAWS, self.space.num_choices), dtype=self.space.dtype)
        self._counter.sample(self._lowest, self._highest, rows, np.random.default_rng(0))
        ticks = self.table.ticks(self.space, rows)
        return self.table.in_unit(int(np.quantile(ticks, number, method="inverted_cdf")))

    def _window(self, low: float | None, high: float | None) -> tuple[int, int] | None:
        """Return the window in steps, cut to the costs that the space has; None if nothing is left."""
        low, high = (None if given is None else edge(given) for given in (low, high))
        if low == math.inf or high == -math.inf:
            return None
        first, last = self._lowest, self._highest
        if low is not None and low > -math.inf:
            first = max(first, -((self._offset - self.table.lowest_tick(low)) // self._step))
        if high is not None and high < math.inf:
            last = min(last, (self.table.highest_tick(high) - self._offset) // self._step)
        return (first, last) if first <= last else None

    def _cost(self, steps: int) -> Number:
        return self.table.in_unit(self._offset + steps * self._step)

    def _show(self, cost: Number | None) -> str:
        cost = plain_number(cost)
        if cost is None:
            return "any cost"
        text = f"{cost:,}" if isinstance(cost, int) else f"{cost:,.7g}"
        return f"{text} {self.table.unit}".rstrip()


def _counter(layers: Sequence[Layer], method: str | None) -> Merged | Halves | Buckets:
    counter: Merged | Halves | Buckets | None = None
    if method in (None, "merged"):
        counter = Merged.build(layers)
    if counter is None and method in (None, "halves"):
        counter = Halves.build(layers)
    if counter is None and method in (None, "buckets"):
        counter = Buckets(layers)
    if counter is None:
        raise SpaceError(
            f"the space must be small enough to count by {method!r}; it is not; leave method=None"
        )
    return counter


def _normalised(layers: Sequence[Layer], constant: int) -> tuple[list[Layer], int, int]:
    """Return the layers without the smallest cost of each, in steps of the greatest common divisor.

    Every path takes one edge of every layer, so a layer's smallest cost can be subtracted from all its edges.

    Returns:
        The layers; the cost that was subtracted plus the constant, in ticks; and the step, in ticks.
    """
    lowest = [int(layer.costs[layer.is_edge].min()) for layer in layers]
    above = [np.where(layer.is_edge, layer.costs - low, 0) for layer, low in zip(layers, lowest, strict=True)]
    step = int(np.gcd.reduce([np.gcd.reduce(costs, axis=None) for costs in above])) or 1
    normalised = [replace(layer, costs=costs // step) for layer, costs in zip(layers, above, strict=True)]
    return normalised, constant + sum(lowest), step
