"""Hard limits on the cost of an architecture."""

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
        name: name of the limit, for example "max_macs".
        unit: unit of the cost, for example "macs".
        maximum: the largest cost allowed, inclusive, in `unit`.
        costs: function from a matrix of option indices, (num, num_choices), to a vector of costs, (num,), in `unit`.
        table: the additive table behind `costs`, or None if there is none; with a table, architectures under the limit
            can be drawn exactly uniformly.
    """

    name: str
    unit: str
    maximum: float
    costs: Costs = field(repr=False)
    table: CostTable | None = field(repr=False, default=None)


class Constraint(ABC):
    """A hard limit `cost <= maximum` that is not yet bound to a search space.

    A search never evaluates an architecture that violates the limit.

    Attributes:
        name: name of the limit, for example "max_macs": the option of the command line, with underscores.
        maximum: the largest cost allowed, inclusive, in the unit of the cost.
    """

    name: str
    maximum: float

    @abstractmethod
    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """Return the limit on the architectures of this supernet.

        Args:
            supernet: the supernet whose architectures are limited; not changed.
            input_shape: shape of one example, without the batch.
        """


class CostLimit(Constraint):
    """A limit on a cost that is counted without running data.

    Args:
        cost: the cost that is limited, for example `COSTS["memory"]` or a `Cost` of your own.
        maximum: the largest cost allowed, inclusive: a number, or a text such as "30M"; for a cost in bytes also a text
            such as "256KiB".

    Raises:
        ConfigurationError: `maximum` is not a positive number.
    """

    def __init__(self, cost: Cost, maximum: object) -> None:
        self.cost = cost
        self.name = f"max_{cost.name}"
        self.maximum = cost.parsed(maximum)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.maximum:_})"

    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """Return the limit, with an additive table if the space has one for this cost.

        Without a table each distinct architecture is counted by itself, once.

        Args:
            supernet: the supernet whose architectures are limited; not changed, and no data runs through it.
            input_shape: shape of one example, without the batch.

        Raises:
            ConfigurationError: some operation cannot be counted.
            ShapeError: the network rejects `input_shape`.
        """
        costs, additive = counter(supernet, input_shape, self.cost)
        return BoundConstraint(self.name, self.cost.unit, self.maximum, costs, additive)


def counter(
    supernet: Supernet,
    input_shape: tuple[int, ...],
    kind: str | Cost,
    *,
    on_uncounted: Refuse = refuse_uncounted,
) -> tuple[Costs, CostTable | None]:
    """Return a function that counts many architectures, and the additive table behind it if the space has one.

    Without a table each distinct architecture is counted by itself, once.

    Args:
        supernet: the supernet whose architectures are counted; not changed, and no data runs through it.
        input_shape: shape of one example, without the batch.
        kind: a cost, or its name; see `COSTS`.
        on_uncounted: called at once, with or without a table, if operations have no counter; see `table`.

    Returns:
        (costs, table): a function from a matrix of option indices, (num, num_choices), to a vector of costs, (num,),
        int64; and the table, or None.

    Raises:
        ConfigurationError: there is no cost named `kind`, or some operation cannot be counted.
        ShapeError: the network rejects `input_shape`.
    """
    cost = cost_of(kind)
    try:
        additive = table(supernet, input_shape, cost, on_uncounted=on_uncounted)
    except SpaceError:
        each = _Each(supernet, input_shape, cost)
        if cost.is_additive:  # try every option once, to find operations without a counter now
            for indices, _ in sweep(supernet.space, [(name,) for name in supernet.space.names]):
                each.count(indices)
        if each.uncounted:
            on_uncounted(each.uncounted)
        return lambda matrix: np.array([each.count(row) for row in matrix.tolist()], dtype=np.int64), None
    return lambda matrix: additive.costs(supernet.space, matrix), additive


class _Each:
    """Counts each architecture by itself, once."""

    def __init__(self, supernet: Supernet, input_shape: tuple[int, ...], cost: Cost) -> None:
        self.supernet, self.input_shape, self.cost = supernet, input_shape, cost
        self.uncounted: dict[str, str] = {}
        self._known: dict[tuple[int, ...], int] = {}

    def count(self, indices: Sequence[int]) -> int:
        """Return the cost of the architecture with these option indices."""
        architecture = self.supernet.space.architecture(indices)
        if architecture.indices not in self._known:
            model, _ = shape_twin(self.supernet).extract_with_origins(architecture, inherit=False)
            counted = self.cost.count(model, self.input_shape)
            self.uncounted.update(counted.uncounted)
            self._known[architecture.indices] = counted.total
        return self._known[architecture.indices]


class MaxMacs(CostLimit):
    """A limit on the multiply-accumulates (macs) of one forward pass of one example.

    Args:
        maximum: the largest number allowed, inclusive: a number, or a text such as "30M".
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(MACS, maximum)


class MaxParams(CostLimit):
    """A limit on the learned parameters of the stand-alone network.

    Args:
        maximum: the largest number allowed, inclusive: a number, or a text such as "1.5M".
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(PARAMS, maximum)


class MaxLayers(CostLimit):
    """A limit on the convolutions and linear layers of the stand-alone network, and so on its depth.

    Args:
        maximum: the largest number allowed, inclusive.
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(LAYERS, maximum)


class MaxMemory(CostLimit):
    """A limit on the bytes of activations that are alive at once in one inference of one example.

    `peak_memory_bytes` defines which activations are alive. This cost is not additive over choices: each architecture
    is counted by itself, once, and architectures within the limit are drawn by rejection.

    Args:
        maximum: the largest number of bytes allowed, inclusive: a number, or a text such as "256KiB".
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(MEMORY, maximum)


class MaxSize(CostLimit):
    """A limit on the bytes of weights and buffers as stored; a tensor that layers share counts once.

    Args:
        maximum: the largest number of bytes allowed, inclusive: a number, or a text such as "1MB".
    """

    def __init__(self, maximum: object) -> None:
        super().__init__(SIZE, maximum)
