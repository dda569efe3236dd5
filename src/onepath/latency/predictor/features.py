"""The features of an architecture that a latency predictor uses: its encoding, and its costs if they are additive."""

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
    """Describes each architecture by the same number of numbers.

    Attributes:
        kind: name of the class in a file, by which `features_from_data` finds it.
        names: names of the features, in their order.
        norms: number that each feature is divided by before it enters the multilayer perceptron; None: its largest
            magnitude in the training pairs.
        products: pairs of columns whose products the ridge regression may use as well.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]
    norms: tuple[float, ...] | None = None
    products: tuple[tuple[int, int], ...] = ()

    @abstractmethod
    def values(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """Return (rows, len(names)) features of the architectures in the rows of `matrix`.

        Args:
            space: space of the architectures.
            matrix: (rows, num_choices) option indices.

        Raises:
            SpaceError: the features do not belong to this space.
        """

    @abstractmethod
    def to_data(self) -> dict[str, Any]:
        """Return plain JSON values from which `features_from_data` makes the same features."""

    def additive_table(self, weights: Floats, intercept: float) -> CostTable | None:
        """Return `intercept + values @ weights` as an additive table in ms; None if it is not additive."""
        del weights, intercept
        return None


class EncodedFeatures(Features):
    """The space's one-hot or ordinal encoding, followed by additive costs such as macs.

    Args:
        choices: name and number of options of every choice of the space.
        encoding: "one_hot" for `SearchSpace.one_hot`, or "ordinal" for `SearchSpace.ordinal`, if the options have an
            order.
        costs: additive tables; each adds one feature, which is named by the unit of the table.
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
        """Return the features of a space; see the class for the arguments."""
        options = [(choice.name, choice.num_options) for choice in space.choices]
        return cls(options, encoding, costs)

    def values(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> Floats:
        """Return the encoding and the costs; see `Features.values`."""
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
        """Return plain JSON values; see `Features.to_data`."""
        return {
            "kind": self.kind,
            "encoding": self.encoding,
            "choices": [list(choice) for choice in self.choices],
            "costs": [json.loads(cost.to_json()) for cost in self.costs],
        }

    def additive_table(self, weights: Floats, intercept: float) -> CostTable:
        """Return the prediction as an additive table, which an encoding choice by choice always allows.

        See `Features.additive_table`.
        """
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
    """Whether an array has this shape and holds floating-point numbers of at most 1e30, so that sums stay finite."""
    return (
        values.dtype.kind == "f"
        and values.shape == shape
        and bool((np.abs(values.astype(np.float64)) <= _LARGEST).all())
    )


def supernet_features(supernet: Supernet, input_shape: tuple[int, ...]) -> EncodedFeatures:
    """Return the one-hot encoding of a supernet's space, with its macs and parameters if they are additive.

    Args:
        supernet: the supernet; not changed.
        input_shape: shape of one example, without the batch.
    """
    costs = []
    for kind in ("macs", "params"):
        try:
            costs.append(table(supernet, input_shape, kind, on_uncounted=lambda _: None))
        except SpaceError:
            continue
    return EncodedFeatures.of_space(supernet.space, "one_hot", costs)


class EncodedNode(Node):
    """The fields of `EncodedFeatures` in a file."""

    encoding: Encoding
    choices: list[tuple[Text, Count]]
    costs: list[dict[str, Any]]
