"""Additive costs: a constant plus terms over one or more choices."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError, shown
from onepath.space.choice import Number, nearest, plain_number
from onepath.space.layers import build_layers, extremes

if TYPE_CHECKING:
    from onepath.counting.window import WindowSampler
    from onepath.space.architecture import Architecture
    from onepath.space.search_space import SearchSpace

Matrix = npt.NDArray[Any]
Ticks = npt.NDArray[np.int64]

_LARGEST_BITS = 48  # sums of this many bits are exact in int64 and in float64


@dataclass(frozen=True, eq=False)
class CostTerm:
    """Cost of the joint options of one or more choices; it counts only if all of them are active.

    Args:
        choices: names of the choices, each once; a single name may be given as a string.
        costs: array of shape (n_1, ..., n_k) for k choices; `costs[i_1, ..., i_k]` is the cost of these option indices
            in the table's unit. Integers stay exact; floats become float64. The array is copied, and read-only from
            then on.

    Raises:
        SpaceError: there is no name or a name repeats, `costs` does not have one dimension per choice, or a cost is not
            a finite number below 2^63.

    Example:
        ``CostTerm(("block", "width"), [[100, 200], [150, 300]])`` for two blocks and two widths.
    """

    choices: tuple[str, ...]
    costs: npt.NDArray[Any]

    def __init__(self, choices: Sequence[str], costs: npt.ArrayLike) -> None:
        names = (choices,) if isinstance(choices, str) else tuple(choices)
        array = np.array(costs)
        if not names or len(set(names)) < len(names):
            raise SpaceError(f"a cost term names one or more distinct choices; got {names!r}; give each once")
        if array.ndim != len(names):
            raise SpaceError(
                f"costs over {len(names)} choices need {len(names)} dimensions; got shape {array.shape}"
                f" for {names};"
                " give one dimension per choice"
            )
        if array.dtype.kind == "O":
            array = _from_objects(array)
        if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise SpaceError(_too_large(int(array.max())))
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise SpaceError(f"costs must be finite numbers; got {array.dtype} for {names}; check the table")
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
        array.flags.writeable = False
        object.__setattr__(self, "choices", names)
        object.__setattr__(self, "costs", array)


@dataclass(frozen=True, eq=False)
class CostTable:
    """An additive cost: cost(architecture) = constant + the terms whose choices are all active.

    A table is an integer table if its constant and all its terms are integers. A float table is rounded once, to
    multiples of a power of two near 2^-48 of its largest sum. Every sum is then exact, whatever the order of its terms:
    counting, sampling and `costs` agree to the last bit, also at the edges of a window.

    Args:
        constant: cost of everything that no choice changes, in `unit`.
        terms: the terms, over one or more choices each; several terms may name the same choice.
        unit: name of the unit for messages, for example "MACs" or "ms".

    Raises:
        SpaceError: the constant is not a finite number, or an integer table has sums that reach 2^48 or more.

    Example:
        >>> space = SearchSpace([Choice("a", [0, 1]), Choice("b", [0, 1])])
        >>> table = CostTable(5, [CostTerm("a", [1, 2]), CostTerm("b", [10, 20])], "MACs")
        >>> table.cost(space.architecture([1, 0])), table.extremes(space)
        (17, (16, 27))
        >>> space.count_within(table, None, 17)
        2
    """

    constant: Number
    terms: tuple[CostTerm, ...]
    unit: str = ""

    def __init__(self, constant: Number, terms: Sequence[CostTerm], unit: str = "") -> None:
        number = plain_number(constant)
        if number is None:
            raise SpaceError(
                f"the constant of a cost table must be a number; got {shown(constant)}; give an int or a float"
            )
        if not math.isfinite(number):
            raise SpaceError(f"the constant of a cost table must be finite; got {number}; check the table")
        object.__setattr__(self, "constant", number)
        object.__setattr__(self, "terms", tuple(terms))
        object.__setattr__(self, "unit", unit)
        if self.is_integer and self._largest >= 2**_LARGEST_BITS:
            raise SpaceError(_too_large(self._largest))

    @classmethod
    def of(cls, space: SearchSpace, table: CostTable | Sequence[Sequence[Number]]) -> CostTable:
        """Return `table` as a cost table; it may also be a plain list of costs per choice, in the order of the space.

        Raises:
            SpaceError: the list does not have one entry per choice.
        """
        if isinstance(table, CostTable):
            return table
        if len(table) != space.num_choices:
            raise SpaceError(
                f"a list of costs needs one entry per choice, {space.num_choices}; got {len(table)}; add the"
                " missing ones"
            )
        terms = [CostTerm((name,), np.asarray(costs)) for name, costs in zip(space.names, table, strict=True)]
        return cls(0, terms)

    def sampler(self, space: SearchSpace) -> WindowSampler:
        """Return a sampler that counts and draws the architectures of a space by this cost; see `WindowSampler`."""
        from onepath.counting.window import WindowSampler

        return WindowSampler(space, self)

    @cached_property
    def is_integer(self) -> bool:
        """Whether the constant and all costs are integers."""
        return isinstance(self.constant, int) and all(term.costs.dtype.kind == "i" for term in self.terms)

    @cached_property
    def _largest(self) -> Number:
        return abs(self.constant) + sum(
            max((abs(cost) for cost in term.costs.ravel().tolist()), default=0) for term in self.terms
        )

    @cached_property
    def exponent(self) -> int:
        """Exponent of a tick, the smallest step of a cost: a tick is 2^-exponent of the unit; 0 for integer tables."""
        if self.is_integer or self._largest == 0:
            return 0
        return _LARGEST_BITS - 1 - math.frexp(self._largest)[1]

    @cached_property
    def constant_ticks(self) -> int:
        """The constant in ticks."""
        return round(Fraction(self.constant) * Fraction(2) ** self.exponent)

    @cached_property
    def term_ticks(self) -> tuple[Ticks, ...]:
        """The costs of every term in ticks, int64."""
        if self.is_integer:
            return tuple(term.costs for term in self.terms)
        return tuple(
            np.rint(np.ldexp(term.costs.astype(np.float64), self.exponent)).astype(np.int64)
            for term in self.terms
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of the terms and the constant; the unit is not part of it."""
        digest = hashlib.sha256(repr((self.constant_ticks, self.exponent, self.is_integer)).encode())
        for term, ticks in zip(self.terms, self.term_ticks, strict=True):
            digest.update(repr((term.choices, ticks.shape)).encode() + ticks.tobytes())
        return digest.hexdigest()

    def columns(self, space: SearchSpace) -> list[tuple[int, ...]]:
        """Return the columns of every term's choices in the space.

        Raises:
            SpaceError: a term names a choice that the space does not have, or does not have one cost per option of its
                choices.
        """
        columns = []
        for term in self.terms:
            for name in term.choices:
                if name not in space.names:
                    raise SpaceError(
                        f"a cost term names choices of the space; got {name!r}; {nearest(name, space.names)}"
                    )
            found = tuple(space.column(name) for name in term.choices)
            shape = tuple(space.choices[column].num_options for column in found)
            if term.costs.shape != shape:
                raise SpaceError(
                    f"costs of {term.choices} must have shape {shape}; got {term.costs.shape}; give one"
                    " per option"
                )
            columns.append(found)
        return columns

    def ticks(self, space: SearchSpace, matrix: Matrix) -> Ticks:
        """Return the costs of architectures in ticks.

        Args:
            space: space of the architectures.
            matrix: (rows, num_choices) option indices, in range; they need not be canonical.

        Returns:
            (rows,) int64, exact.
        """
        active = space.active(matrix) if space.is_conditional else None
        total = np.full(len(matrix), self.constant_ticks, dtype=np.int64)
        for columns, ticks in zip(self.columns(space), self.term_ticks, strict=True):
            costs = ticks[tuple(matrix[:, column] for column in columns)]
            total += costs if active is None else np.where(active[:, list(columns)].all(axis=1), costs, 0)
        return total

    def costs(self, space: SearchSpace, matrix: Matrix) -> npt.NDArray[Any]:
        """Return the costs of architectures, in `unit`.

        Args:
            space: space of the architectures.
            matrix: (rows, num_choices) option indices; they need not be canonical.

        Returns:
            (rows,) int64 for an integer table, else float64.

        Raises:
            SpaceError: the matrix or a term of the table does not fit the space.
        """
        return self._in_unit(self.ticks(space, space.check(matrix)))

    def cost(self, architecture: Architecture) -> Number:
        """Return the cost of one architecture, in `unit`."""
        costs = self.costs(architecture.space, architecture.space.matrix([architecture]))
        number: Number = costs[0].item()
        return number

    def extremes(self, space: SearchSpace) -> tuple[Number, Number]:
        """Return the smallest and the largest cost in the space, exactly, in `unit`."""
        lowest, highest = extremes(build_layers(space, self))
        return self.in_unit(lowest + self.constant_ticks), self.in_unit(highest + self.constant_ticks)

    def in_unit(self, ticks: int) -> Number:
        """Return a cost given in ticks as a cost in `unit`."""
        return ticks if self.is_integer else math.ldexp(ticks, -self.exponent)

    def _in_unit(self, ticks: Ticks) -> npt.NDArray[Any]:
        return ticks if self.is_integer else np.ldexp(ticks.astype(np.float64), -self.exponent)

    def lowest_tick(self, low: float) -> int:
        """Return the smallest tick whose cost is at least `low`, which must be finite."""
        return math.ceil(Fraction(edge(low)) * Fraction(2) ** self.exponent)

    def highest_tick(self, high: float) -> int:
        """Return the largest tick whose cost is at most `high`, which must be finite."""
        return math.floor(Fraction(edge(high)) * Fraction(2) ** self.exponent)

    def to_json(self) -> str:
        """Return the table as the text of one JSON object."""
        terms = [{"choices": term.choices, "costs": term.costs.tolist()} for term in self.terms]
        return json.dumps({"constant": self.constant, "unit": self.unit, "terms": terms})

    @classmethod
    def from_json(cls, text: str) -> CostTable:
        """Return the table that `to_json` wrote.

        Raises:
            SpaceError: the text is not such a table.
        """
        try:
            data = json.loads(text)
            terms = [CostTerm(tuple(term["choices"]), term["costs"]) for term in data["terms"]]
            return cls(data["constant"], terms, data["unit"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SpaceError(
                f"a cost table must be JSON with constant, terms and unit; got {error!r}; write it anew"
            ) from error


def edge(cost: object) -> Number:
    """Return an edge of a window as a Python int or float.

    Raises:
        SpaceError: it is not a number.
    """
    number = plain_number(cost)
    if number is None or math.isnan(number):
        raise SpaceError(f"the edges of a window must be numbers; got {shown(cost)}; give numbers or None")
    return number


def _from_objects(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of objects as an array of numbers if every object is a number; else return it unchanged."""
    numbers = [plain_number(cost) for cost in array.ravel()]
    found = [number for number in numbers if number is not None]
    largest = max((abs(number) for number in found if isinstance(number, int)), default=0)
    if largest >= 2**_LARGEST_BITS:
        raise SpaceError(_too_large(largest))
    return np.array(found).reshape(array.shape) if len(found) == len(numbers) else array


def _too_large(largest: Number) -> str:
    return f"sums of costs must stay below 2^48; got up to {shown(largest)}; count in a larger unit"
