"""Hard limits, and the set of the architectures of a space that meet them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onepath.counting import CostTable
from onepath.errors import InfeasibleError
from onepath.space import SearchSpace

Matrix = npt.NDArray[Any]
Costs = Callable[[Matrix], npt.NDArray[Any]]

_FEWEST_DRAWS = 256
_MOST_FRUITLESS = 2**14  # draws in a row without a legal one
_NUM_MEDIAN = 1000


class Constraint(Protocol):
    """A hard limit on a cost; `Limit` is its plain implementation."""

    @property
    def name(self) -> str:
        """Name that users write, for example "max_macs"."""

    @property
    def unit(self) -> str:
        """Unit of the cost, for example "MACs"."""

    @property
    def maximum(self) -> float:
        """The largest cost that is legal."""

    @property
    def costs(self) -> Costs:
        """Function from a matrix of architectures, (rows, choices), to a vector of costs, (rows,)."""

    @property
    def table(self) -> CostTable | None:
        """The cost as an additive table; None if it is not additive."""


@dataclass(frozen=True)
class Limit:
    """A hard limit: `costs(matrix) <= maximum`.

    Attributes:
        name: name that users write, for example "max_macs".
        unit: unit of the cost, for example "MACs".
        maximum: the largest cost that is legal, in `unit`.
        costs: function from a matrix of architectures, (rows, choices), to a vector of costs, (rows,), in `unit`.
        table: the same costs as an additive table, from which legal architectures can be drawn exactly uniformly; None
            if the costs are not additive.
        members: matrix of the distinct architectures that meet the limit, if they are few enough to be listed; legal
            architectures are then drawn from this list. None if they are not listed.
    """

    name: str
    unit: str
    maximum: float
    costs: Costs
    table: CostTable | None = None
    members: Matrix | None = None


class FeasibleSet:
    """The distinct architectures of a space that meet every limit; these are called legal.

    Args:
        space: the space of the architectures.
        limits: the limits; without any, all architectures are legal.
    """

    def __init__(self, space: SearchSpace, limits: Sequence[Constraint] = ()) -> None:
        self.space = space
        self.limits = tuple(limits)

    def is_legal(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows of `matrix` that meet every limit.

        Args:
            matrix: architectures as option indices, (rows, choices).

        Returns:
            (rows,) True for a legal architecture.
        """
        legal = np.ones(len(matrix), dtype=np.bool_)
        for limit in self.limits:
            # A later limit, which may be slower, is asked only about rows that meet the earlier ones.
            left = np.flatnonzero(legal)
            legal[left] = limit.costs(matrix[left]) <= limit.maximum
        return legal

    def sample(self, num: int, rng: np.random.Generator) -> Matrix:
        """Draw `num` legal architectures; the same one may be drawn more than once.

        - If a limit lists its members, rows are drawn uniformly from those that meet the other limits too.
        - With one limit that has a table, rows are drawn uniformly from the legal architectures, without rejection.
        - With more limits, rows are drawn in the same way under the tightest table and rejected by the other limits.
        - Without a table, rows are drawn by `SearchSpace.sample` and rejected by the limits.

        Rejection stops with an error after 16,384 draws in a row without a legal architecture.

        Args:
            num: number of rows to draw.
            rng: generator of the draws.

        Returns:
            (num, choices) option indices of the architectures.

        Raises:
            InfeasibleError: no architecture, or too few, meet the limits; the message names the limit, the smallest and
                the median cost of the space, and what to do.
        """
        if self._members is not None:
            return self._members[rng.integers(len(self._members), size=num)]
        if not self.limits or self._is_drawn_exactly:
            return self._draw(num, rng)
        found = [np.zeros((0, self.space.num_choices), dtype=self.space.dtype)]
        missing, fruitless, size = num, 0, max(num, _FEWEST_DRAWS)
        while missing > 0:
            rows = self._draw(size, rng)
            legal = rows[self.is_legal(rows)][:missing]
            found.append(legal)
            missing -= len(legal)
            fruitless = 0 if len(legal) else fruitless + size
            if fruitless >= _MOST_FRUITLESS:
                raise InfeasibleError(self._not_met(fruitless))
            size = min(2 * size, _MOST_FRUITLESS // 4)
        return np.concatenate(found)

    @cached_property
    def _members(self) -> Matrix | None:
        """All legal architectures, if some limit lists its members; None otherwise."""
        lists = [limit.members for limit in self.limits if isinstance(limit, Limit)]
        listed = [members for members in lists if members is not None]
        if not listed:
            return None
        members: Matrix = min(listed, key=len)
        legal: Matrix = members[self.is_legal(members)]
        if not len(legal):
            asked = ", ".join(f"{limit.name}={_number(limit.maximum, limit.unit)}" for limit in self.limits)
            raise InfeasibleError(
                f"some architecture must meet all limits; got {asked}, met by none of the {len(members)} that are "
                "listed; raise one of them, or list more"
            )
        return legal

    @property
    def _is_drawn_exactly(self) -> bool:
        return len(self.limits) == 1 and self._tightest is not None

    @cached_property
    def _tightest(self) -> tuple[CostTable, float] | None:
        """The table and maximum of the limit that the fewest architectures meet."""
        shares: list[tuple[int, CostTable, float]] = []
        for limit in self.limits:
            if limit.table is not None:
                num = self.space.count_within(limit.table, None, limit.maximum)
                if limit.maximum < limit.table.extremes(self.space)[0]:
                    raise InfeasibleError(self._too_low(limit))
                shares.append((num, limit.table, limit.maximum))
        return min(shares, key=lambda share: share[0])[1:] if shares else None

    def _draw(self, num: int, rng: np.random.Generator) -> Matrix:
        if self._tightest is None:
            return self.space.sample(num, rng)
        table, maximum = self._tightest
        return self.space.sample_within(table, None, maximum, num, rng)

    def _typical(self, limit: Constraint) -> tuple[str, str]:
        """Return the smallest and the median cost of the space as text; without a table they come from a sample."""
        if limit.table is not None:
            sampler = self.space.window_sampler(limit.table)
            lowest, median = sampler.extremes()[0], sampler.quantile(0.5)
        else:
            costs = limit.costs(self.space.sample(_NUM_MEDIAN, np.random.default_rng(0)))
            lowest, median = costs.min().item(), np.quantile(costs, 0.5, method="inverted_cdf").item()
        about = "" if limit.table is not None else "about "
        return about + _number(lowest, limit.unit), about + _number(median, limit.unit)

    def _too_low(self, limit: Constraint) -> str:
        lowest, median = self._typical(limit)
        return (
            f"{limit.name} must be at least the smallest cost of the space, {lowest}; got"
            f" {_number(limit.maximum, limit.unit)};"
            f" raise {limit.name} (the median cost is {median})"
        )

    def _not_met(self, draws: int) -> str:
        if len(self.limits) == 1:
            return self._too_low(self.limits[0])
        asked = ", ".join(f"{limit.name}={_number(limit.maximum, limit.unit)}" for limit in self.limits)
        typical = [(limit.name, *self._typical(limit)) for limit in self.limits]
        costs = "; ".join(f"{name}: smallest {lowest}, median {median}" for name, lowest, median in typical)
        return (
            f"some architecture must meet all limits; got {asked}, met by none of {draws} draws; raise"
            " one of them"
            f" (costs of the space: {costs})"
        )


def _number(cost: float, unit: str) -> str:
    return f"{cost:,.0f} {unit}".rstrip() if float(cost).is_integer() else f"{cost:,.6g} {unit}".rstrip()
