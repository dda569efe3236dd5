"""Hard limits on what an architecture may cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onepath.cost.additive_costs import sweep, table
from onepath.cost.architecture import Refuse, refuse_uncounted, shape_twin
from onepath.cost.costs import LAYERS, MACS, MEMORY, PARAMS, SIZE, Cost, cost_of
from onepath.counting import CostTable
from onepath.errors import SpaceError
from onepath.nn import Supernet

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


class CostLimit(Constraint):
    """A limit on a cost that is counted without running data.

    Args:
        cost: for example `COSTS["memory"]`, or one of the user's own.
        maximum: a number, or a text such as "30M"; of bytes also "256KiB".

    Raises:
        ConfigurationError: the maximum is no positive number.
    """

    def __init__(self, cost: Cost, maximum: object) -> None:
        self.cost = cost
        self.name = f"max_{cost.name}"
        self.maximum = cost.parsed(maximum)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.maximum:_})"

    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """A limit by an additive table; architecture by architecture where the space has none."""
        costs, additive = counter(supernet, input_shape, self.cost)
        return BoundConstraint(self.name, self.cost.unit, self.maximum, costs, additive)


def counter(
    supernet: Supernet,
    input_shape: tuple[int, ...],
    kind: str | Cost,
    *,
    on_uncounted: Refuse = refuse_uncounted,
) -> tuple[Costs, CostTable | None]:
    """A function that counts many architectures, and the additive table behind it where the space has one.

    Without a table each distinct architecture is counted by itself, once.

    Args:
        supernet: not changed; no data is run.
        input_shape: of one example, without the batch.
        kind: a cost, or its name; see `COSTS`.
        on_uncounted: see `table`; called here at once, also where there is no table.

    Raises:
        ConfigurationError: some operation cannot be counted.
    """
    cost = cost_of(kind)
    try:
        additive = table(supernet, input_shape, cost, on_uncounted=on_uncounted)
    except SpaceError:
        each = _Each(supernet, input_shape, cost)
        if cost.is_additive:  # what it runs has counters, or has none
            for indices, _ in sweep(supernet.space, [(name,) for name in supernet.space.names]):
                each.count(indices)
        if each.uncounted:
            on_uncounted(each.uncounted)
        return lambda matrix: np.array([each.count(row) for row in matrix.tolist()], dtype=np.int64), None
    return lambda matrix: additive.costs(supernet.space, matrix), additive


class _Each:
    """Counts architecture by architecture, each once."""

    def __init__(self, supernet: Supernet, input_shape: tuple[int, ...], cost: Cost) -> None:
        self.supernet, self.input_shape, self.cost = supernet, input_shape, cost
        self.uncounted: dict[str, str] = {}
        self._known: dict[tuple[int, ...], int] = {}

    def count(self, indices: Sequence[int]) -> int:
        """The cost of the architecture of these option indices."""
        architecture = self.supernet.space.architecture(indices)
        if architecture.indices not in self._known:
            model, _ = shape_twin(self.supernet).extract_with_origins(architecture, inherit=False)
            counted = self.cost.count(model, self.input_shape)
            self.uncounted.update(counted.uncounted)
            self._known[architecture.indices] = counted.total
        return self._known[architecture.indices]


class MaxMacs(CostLimit):
    """At most this many multiply-accumulates for one example."""

    def __init__(self, maximum: object) -> None:
        super().__init__(MACS, maximum)


class MaxParams(CostLimit):
    """At most this many learned parameters in the stand-alone network."""

    def __init__(self, maximum: object) -> None:
        super().__init__(PARAMS, maximum)


class MaxLayers(CostLimit):
    """At most this many convolutions and linear layers in the stand-alone network: a limit on its depth."""

    def __init__(self, maximum: object) -> None:
        super().__init__(LAYERS, maximum)


class MaxMemory(CostLimit):
    """At most this many bytes of activations alive at once in one inference, as in "256KiB".

    `peak_memory_bytes` says what is alive when. It does not add up over choices: each architecture is counted by
    itself, once, and legal ones are drawn by rejection.
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(MEMORY, maximum)


class MaxSize(CostLimit):
    """At most this many bytes of weights and buffers as stored, as in "1MB"; a tensor that layers share counts once."""

    def __init__(self, maximum: object) -> None:
        super().__init__(SIZE, maximum)
