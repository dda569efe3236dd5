"""Hard limits on what an architecture may cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onepath.cost.architecture import Refuse, architecture_cost, layers, params, refuse_uncounted
from onepath.cost.table import Kind, sweep, table
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import Supernet
from onepath.space import CostTable

Costs = Callable[[npt.NDArray[np.integer]], npt.NDArray[np.generic]]


@dataclass(frozen=True)
class BoundConstraint:
    """A limit on the architectures of one space, in the form that a search algorithm takes.

    Attributes:
        name: for example "max_macs".
        unit: of the cost, for example "macs".
        maximum: the largest cost allowed, inclusive.
        costs: matrix of architectures (num, num_choices) -> vector of costs (num,).
        table: the additive table behind `costs`, if there is one; it allows exact sampling under the limit.
    """

    name: str
    unit: str
    maximum: float
    costs: Costs = field(repr=False)
    table: CostTable | None = field(repr=False, default=None)


class Constraint(ABC):
    """A hard limit, before it knows the space: `cost <= maximum`.

    A search never evaluates an architecture that violates it.

    Attributes:
        name: as on the command line, with underscores.
        maximum: the largest cost allowed, inclusive, in the unit that ends the name.
    """

    name: str
    maximum: float

    @abstractmethod
    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """The limit on the architectures of this supernet for inputs of this shape (without the batch)."""


class _CountedConstraint(Constraint):
    """A limit on a cost that is counted without running data."""

    kind: Kind

    def __init__(self, maximum: float) -> None:
        if not maximum > 0:
            raise ConfigurationError(f"{self.name} > 0 must hold, but got {maximum}. Raise it.")
        self.maximum = maximum

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.maximum:_})"

    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """A limit by an additive table; architecture by architecture where the space has none."""
        costs, additive = counter(supernet, input_shape, self.kind)
        return BoundConstraint(self.name, self.kind, self.maximum, costs, additive)


def counter(
    supernet: Supernet,
    input_shape: tuple[int, ...],
    kind: Kind,
    *,
    on_uncounted: Refuse = refuse_uncounted,
) -> tuple[Costs, CostTable | None]:
    """A function that counts many architectures, and the additive table behind it where the space has one.

    Without a table each distinct architecture is counted by itself, once.

    Args:
        supernet: not changed; no data is run.
        input_shape: of one example, without the batch.
        kind: "macs", "params" or "layers".
        on_uncounted: see `table`; called here at once, also where there is no table.

    Raises:
        ConfigurationError: some operation cannot be counted.
    """
    try:
        additive = table(supernet, input_shape, kind, on_uncounted=on_uncounted)
    except SpaceError:
        each = _Each(supernet, input_shape, kind)
        if kind == "macs":
            for indices, _ in sweep(supernet.space, [(name,) for name in supernet.space.names]):
                each.count(indices)
            if each.uncounted:
                on_uncounted(each.uncounted)
        return lambda matrix: np.array([each.count(row) for row in matrix.tolist()], dtype=np.int64), None
    return lambda matrix: additive.costs(supernet.space, matrix), additive


class _Each:
    """Counts architecture by architecture, each once."""

    def __init__(self, supernet: Supernet, input_shape: tuple[int, ...], kind: Kind) -> None:
        self.supernet, self.input_shape, self.kind = supernet, input_shape, kind
        self.uncounted: dict[str, str] = {}
        self._known: dict[tuple[int, ...], int] = {}

    def count(self, indices: Sequence[int]) -> int:
        """The cost of the architecture of these option indices."""
        architecture = self.supernet.space.architecture(indices)
        if architecture.indices not in self._known:
            if self.kind == "macs":
                cost = architecture_cost(self.supernet, architecture, self.input_shape)
                self.uncounted.update(cost.uncounted)
                number = cost.macs
            else:
                number = {"params": params, "layers": layers}[self.kind](self.supernet, architecture)
            self._known[architecture.indices] = number
        return self._known[architecture.indices]


class MaxMacs(_CountedConstraint):
    """At most this many multiply-accumulates for one example."""

    name, kind = "max_macs", "macs"


class MaxParams(_CountedConstraint):
    """At most this many learned parameters in the stand-alone network."""

    name, kind = "max_params", "params"


class MaxLayers(_CountedConstraint):
    """At most this many convolutions and linear layers in the stand-alone network: a limit on its depth."""

    name, kind = "max_layers", "layers"
