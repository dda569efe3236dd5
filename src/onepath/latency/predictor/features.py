"""What a latency predictor sees of an architecture: its encoding, and its counted costs where they are additive."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from onepath.cost import table
from onepath.counting import CostTable, CostTerm
from onepath.errors import SpaceError
from onepath.latency.checked_files import Count, Node, Text
from onepath.nn import Supernet
from onepath.space import SearchSpace

_LARGEST = 1e30
MOST_OPTIONS = 1_000_000

Encoding = Literal["one_hot", "ordinal"]
Floats = npt.NDArray[np.float64]


class Features(ABC):
    """A fixed number of numbers for each architecture.

    Attributes:
        kind: what `features_from_data` tells the classes apart by.
        names: of the features, in their order.
        norms: what each feature is divided by before it enters the multilayer perceptron; None: its largest
            magnitude in the training pairs.
        products: pairs of columns whose products the ridge regression may use as well.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]
    norms: tuple[float, ...] | None = None
    products: tuple[tuple[int, int], ...] = ()

    @abstractmethod
    def values(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """(rows, len(names)) features of the architectures in the rows of `matrix`.

        Raises:
            SpaceError: the features do not belong to this space.
        """

    @abstractmethod
    def to_data(self) -> dict[str, Any]:
        """Plain JSON values from which `features_from_data` makes the same features."""

    def additive_table(self, weights: Floats, intercept: float) -> CostTable | None:
        """`intercept + values @ weights` as an additive table in ms; None where it is not additive."""
        del weights, intercept
        return None


class EncodedFeatures(Features):
    """The space's one-hot or ordinal encoding, followed by additive costs such as multiply-accumulates.

    Args:
        choices: name and number of options of every choice of the space.
        encoding: "one_hot", as `SearchSpace.one_hot`; "ordinal", as `SearchSpace.ordinal`, for options that are
            in an order.
        costs: additive tables, each one more feature that is named by the table's unit.
    """

    kind = "encoded"

    def __init__(
        self,
        choices: Sequence[tuple[str, int]],
        encoding: Encoding = "one_hot",
        costs: Sequence[CostTable] = (),
    ) -> None:
        self.choices = tuple((name, int(num)) for name, num in choices)
        self.encoding = encoding
        self.costs = tuple(costs)
        encoded = (
            [f"{name}={option}" for name, num in self.choices for option in range(num)]
            if encoding == "one_hot"
            else [name for name, _ in self.choices]
        )
        self.names = (*encoded, *(cost.unit for cost in self.costs))

    @classmethod
    def of_space(
        cls, space: SearchSpace, encoding: Encoding = "one_hot", costs: Sequence[CostTable] = ()
    ) -> EncodedFeatures:
        """The features of a space."""
        options = [(choice.name, choice.num_options) for choice in space.choices]
        return cls(options, encoding, costs)

    def values(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """The encoding and the costs; see `Features.values`."""
        options = tuple((choice.name, choice.num_options) for choice in space.choices)
        if options != self.choices:
            raise SpaceError(
                f"features must be of the space they encode; they have {len(self.choices)} choices, and the space has"
                f" {space.num_choices}, not the same ones; make features of this space"
            )
        encoded = space.one_hot(matrix) if self.encoding == "one_hot" else space.ordinal(matrix)
        costs = [cost.costs(space, matrix) for cost in self.costs]
        return np.column_stack([encoded, *costs]).astype(np.float64)

    def to_data(self) -> dict[str, Any]:
        """See `Features.to_data`."""
        return {
            "kind": self.kind,
            "encoding": self.encoding,
            "choices": [list(choice) for choice in self.choices],
            "costs": [json.loads(cost.to_json()) for cost in self.costs],
        }

    def additive_table(self, weights: Floats, intercept: float) -> CostTable:
        """See `Features.additive_table`; an encoding of the choices one by one is always additive."""
        terms = []
        column = 0
        for name, num in self.choices:
            if self.encoding == "one_hot":
                own = weights[column : column + num]
            else:
                own = weights[column] * np.arange(num, dtype=np.float64) / max(num - 1, 1)
            column += num if self.encoding == "one_hot" else 1
            terms.append(CostTerm((name,), own))
        constant = float(intercept)
        for weight, cost in zip(weights[column:], self.costs, strict=True):
            constant += float(weight * cost.constant)
            terms += [CostTerm(term.choices, weight * term.costs) for term in cost.terms]
        return CostTable(constant, terms, "ms")


def is_finite(values: npt.NDArray[Any], shape: tuple[int, ...]) -> bool:
    """Whether an array is of finite floating-point numbers of a size that sums of them can bear, and of a shape."""
    return (
        values.dtype.kind == "f"
        and values.shape == shape
        and bool((np.abs(values.astype(np.float64)) <= _LARGEST).all())
    )


def supernet_features(supernet: Supernet, input_shape: tuple[int, ...]) -> EncodedFeatures:
    """The one-hot encoding with multiply-accumulates and parameters, as far as the supernet's are additive.

    Args:
        supernet: not changed.
        input_shape: of one example, without the batch.
    """
    costs = []
    for kind in ("macs", "params"):
        try:
            costs.append(table(supernet, input_shape, kind, on_uncounted=lambda _: None))
        except SpaceError:
            continue
    return EncodedFeatures.of_space(supernet.space, "one_hot", costs)


class EncodedNode(Node):
    """See `EncodedFeatures`."""

    encoding: Encoding
    choices: list[tuple[Text, Count]]
    costs: list[dict[str, Any]]
