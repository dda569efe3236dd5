"""Samplers: they draw the paths that each update of a supernet trains."""

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
    """Draws the paths of each update, whose gradients are accumulated on one batch before the optimizer steps.

    A sampler may guarantee something, such as fairness, that does not hold if the first updates train one path alone.
    It then has an attribute `needs_every_update = True`, and `train_supernet` uses the sampler from the first update
    unless a recipe is given that asks for a start from one path.
    """

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Path]:
        """Return the paths of one update: architectures, or other paths that a supernet can run.

        Args:
            update: number of the update, counted from 0.
            rng: generator of this update; every random draw comes from it, which `onepath.testing` checks.

        Returns:
            One path or more; each costs one pass over the batch.
        """
        ...


class UniformSampler:
    """A sampler of one path per update, in which each choice is drawn uniformly and independently.

    It is fair in expectation: on average over many updates the candidates of a block are trained equally often. At any
    one time their counts differ; see `StrictFairnessSampler`.

    Args:
        space: the space from which architectures are drawn.

    Source: SPOS, arXiv 1904.00420, section 3.2.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """Return one architecture."""
        return [self.space.random(rng)]


class ConstrainedSampler:
    """A sampler of one path per update whose cost lies in a window.

    Without bins, the path is drawn uniformly from the distinct architectures with `low <= cost <= high`. With bins, as
    in the paper, a bin is drawn uniformly and then an architecture uniformly inside it. This flattens the distribution
    of the cost, but the options of a choice are drawn less equally often than without a window.

    Args:
        space: the space from which architectures are drawn.
        table: additive cost of the architectures.
        low: smallest cost allowed, in the table's unit; None sets no lower end.
        high: largest cost allowed, in the table's unit; None sets no upper end.
        bins: edges of the bins in rising order, such as `[290, 300, 310]` for two bins; None uses no bins. Each bin
            includes its lower edge, and the last bin its upper edge too. All edges must lie in [low, high].

    Raises:
        ConfigurationError: the edges do not rise, or lie outside of the window.
        InfeasibleError: the window or a bin holds no architecture.

    Source: SPOS, arXiv 1904.00420, section 3.4. Differs from it: architectures are drawn without rejection, and none
    from outside of the window after too many tries.
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
        """Return one architecture inside the window."""
        low, high = self._windows[rng.integers(len(self._windows))]
        return self.space.architectures(self._sampler.sample(low, high, 1, rng))
