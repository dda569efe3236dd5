"""Counting and exact uniform sampling of architectures inside a window of an additive cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onepath.errors import InfeasibleError
from onepath.space.choice import Number
from onepath.space.cost_table import CostTable, as_table

if TYPE_CHECKING:
    from onepath.space.search_space import SearchSpace


class WindowSampler:
    """Counts and draws the architectures of a space by one cost table (simple form for small spaces)."""

    def __init__(self, space: SearchSpace, table: CostTable | Sequence[Sequence[Number]]) -> None:
        self.space = space
        self.table = as_table(space, table)
        self.table.columns(space)

    def count(self, low: float | None = None, high: float | None = None) -> int:
        return len(self._inside(low, high))

    def sample(
        self, low: float | None, high: float | None, num: int, rng: np.random.Generator
    ) -> npt.NDArray[Any]:
        rows = self._inside(low, high)
        if not len(rows):
            raise InfeasibleError("empty window")
        return rows[rng.integers(0, len(rows), num)]

    def _inside(self, low: float | None, high: float | None) -> npt.NDArray[Any]:
        rows = self.space.enumerate_matrix()
        costs = self.table.costs(self.space, rows)
        return rows[
            (costs >= (-np.inf if low is None else low)) & (costs <= (np.inf if high is None else high))
        ]
