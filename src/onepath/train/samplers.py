"""Which paths a supernet's update trains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onepath.counting.cost_table import edge
from onepath.errors import ConfigurationError, InfeasibleError

if TYPE_CHECKING:
    from onepath.counting import CostTable
    from onepath.nn import Path
    from onepath.space import Architecture, SearchSpace


class Sampler(Protocol):
    """Answers, for each update, the paths whose gradients are accumulated on one batch before the optimizer
    steps.

    A sampler whose promise is broken when the first updates train one path alone says so by an attribute
    `needs_every_update = True`; `train_supernet` then starts with it unless a recipe asks otherwise.
    """

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Path]:
        """The paths of update `update` (from 0): whatever a supernet can run, architectures or gates.

        All randomness comes from `rng`, which belongs to this update. `onepath.testing` checks that.
        """
        ...


class UniformSampler:
    """One path per update, each choice uniform and independent.

    Expectation fair: in the mean over updates the candidates of a block are trained equally often. At any one time they
    are not (see `StrictFairnessSampler`).

    Source: SPOS, arXiv 1904.00420, section 3.2.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """One architecture."""
        return [self.space.random(rng)]


class ConstrainedSampler:
    """One path per update, with its cost in a window.

    Without bins: uniform over the distinct architectures with `low <= cost <= high`. With bins, as the paper
    does: a bin is drawn uniformly, then an architecture uniformly inside it, which flattens the distribution
    of the cost and makes a choice's options less equal than without a window.

    Args:
        space: whose architectures are drawn.
        table: their additive cost.
        low: smallest cost, in the table's unit; None leaves the side open.
        high: largest cost; None likewise.
        bins: None, or the rising edges of the bins; `[290, 300, 310]` is two. Bins are half-open, the last
            one closed. They must lie in [low, high].

    Raises:
        ConfigurationError: the edges do not rise or leave the window.
        InfeasibleError: a window or a bin holds no architecture.

    Source: SPOS, arXiv 1904.00420, section 3.4. Differs from it: no rejection, and no path outside the window
    after too many tries.
    """

    def __init__(
        self,
        space: SearchSpace,
        table: CostTable,
        low: float | None,
        high: float | None,
        bins: Sequence[float] | None = None,
    ) -> None:
        low = -math.inf if low is None else edge(low)
        high = math.inf if high is None else edge(high)
        edges = [low, high] if bins is None else [edge(given) for given in bins]
        if bins is not None and (len(edges) < 2 or any(a >= b for a, b in itertools.pairwise(edges))):
            raise ConfigurationError(f"`bins` must be two or more rising edges, but got {edges}; sort them")
        if edges[0] < low or edges[-1] > high:
            raise ConfigurationError(
                f"`low <= bins <= high` must hold, but got bins from {edges[0]} to {edges[-1]} and the "
                f"window [{low}, {high}]; widen the window or drop the bins outside"
            )
        self.space = space
        self._sampler = space.window_sampler(table)
        below = [np.nextafter(edge, -np.inf) for edge in edges[1:-1]]
        self._windows = list(zip(edges[:-1], [*below, edges[-1]], strict=True))
        for window in self._windows:
            if self._sampler.count(*window) == 0:
                raise InfeasibleError(
                    f"every bin must hold an architecture, but none costs between {window[0]} and "
                    f"{window[1]} {table.unit}; move the window"
                )

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """One architecture inside the window."""
        low, high = self._windows[rng.integers(len(self._windows))]
        return self.space.architectures(self._sampler.sample(low, high, 1, rng))
