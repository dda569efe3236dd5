"""The search space: an ordered tuple of choices, and operations on matrices of option indices."""

from __future__ import annotations

import hashlib
import importlib
import json
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError, shown
from onepath.space.architecture import Architecture
from onepath.space.choice import Choice, Number, Option, nearest
from onepath.space.conditions import Alternative, BoolMatrix, Conditions, Matrix
from onepath.space.layers import build_layers, num_paths
from onepath.space.notation import Connectedness, Notation, StandaloneForms
from onepath.space.parsing import read_json, read_options

Written = str | Mapping[str, Any] | Sequence[int] | npt.NDArray[Any] | os.PathLike[str] | Architecture

_MOST_ENUMERATED = 5_000_000
_MOST_SAMPLERS = 4


class Sampler(Protocol):
    """Counts and draws the architectures of a space by cost; `onepath.counting.WindowSampler` is a sampler."""

    def count(self, low: float | None = None, high: float | None = None) -> int:
        """Return the number of distinct architectures with `low <= cost <= high`; None leaves a side open."""

    def sample(self, low: float | None, high: float | None, num: int, rng: np.random.Generator) -> Matrix:
        """Draw `num` architectures uniformly from those with `low <= cost <= high`, as (num, num_choices) rows."""

    def extremes(self) -> tuple[Number, Number]:
        """Return the smallest and the largest cost in the space."""

    def quantile(self, fraction: float) -> Number:
        """Return the smallest cost that at least this fraction of the architectures do not exceed."""


@runtime_checkable
class Countable(Protocol):
    """An additive cost that can make a sampler; `onepath.counting.CostTable` is such a cost."""

    @property
    def fingerprint(self) -> str:
        """A text that is equal for equal costs."""

    def sampler(self, space: SearchSpace) -> Sampler:
        """Return a sampler that counts and draws the architectures of this space by this cost."""


Costs = Countable | Sequence[Sequence[Number]] | npt.NDArray[Any]
"""An additive cost, or for every choice the list of its options' costs, in the order of the space."""


class SearchSpace:
    """An ordered tuple of choices; an architecture takes one option of each.

    A matrix of architectures has one architecture per row and one choice per column, and holds option indices (uint8,
    or int16 if a choice has more than 256 options). A matrix is canonical if every inactive choice has index 0; all
    methods return canonical matrices.

    Args:
        choices: at least one choice; their names are distinct.
        conditions: choice name -> alternatives. The choice is active if any alternative holds; an alternative
            `{parent: allowed options}` holds if each parent is active and has one of its allowed options.
            Parents come before children. Choices without a condition are always active.
        notation: the paper's own notation, for `parse` and `format`; see also `standalone_form`.

    Attributes:
        choices: the choices in their order; column i of a matrix belongs to `choices[i]`.
        names: names of the choices in the same order.
        conditions: the conditions by column, see `Conditions`.
        notation: the paper's own notation, or None.
        num_options: (num_choices,) number of options of each choice.
        dtype: NumPy type of the matrices.
        is_conditional: whether any choice has a condition.

    Raises:
        SpaceError: there is no choice, names repeat, or a condition does not fit the choices.

    Example:
        >>> depth, last = Choice("depth", [1, 2]), Choice("last", ["conv", "pool"])
        >>> space = SearchSpace([depth, last], {"last": [{"depth": [2]}]})
        >>> space.size, [str(architecture) for architecture in space.enumerate()]
        (3, ['0,0', '1,0', '1,1'])
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        conditions: Mapping[str, Sequence[Alternative]] | None = None,
        notation: Notation | None = None,
    ) -> None:
        self.choices = tuple(choices)
        if not self.choices:
            raise SpaceError("`len(choices) >= 1` must hold for a search space; got none; add a Choice")
        self.names = tuple(choice.name for choice in self.choices)
        for name in self.names:
            if self.names.count(name) > 1:
                raise SpaceError(
                    f"names of choices must be distinct; got {name!r} {self.names.count(name)} times;"
                    " rename one"
                )
        self.notation = notation
        self.conditions = Conditions(self.choices, conditions or {})
        self.is_conditional = bool(self.conditions.conditional)
        self.num_options = np.array([choice.num_options for choice in self.choices])
        self.dtype = np.dtype(np.uint8 if self.num_options.max() <= 256 else np.int16)
        self._columns = {name: column for column, name in enumerate(self.names)}
        self._samplers: dict[str, Sampler] = {}

    @property
    def num_choices(self) -> int:
        """Number of choices, active or not."""
        return len(self.choices)

    @cached_property
    def size(self) -> int:
        """Exact number of distinct architectures."""
        return num_paths(build_layers(self))[0][0]

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of the names, the options and the conditions; the notation is not part of it."""
        data = [[choice.name, choice.options] for choice in self.choices], self.conditions.to_data()
        return hashlib.sha256(json.dumps(data).encode()).hexdigest()

    def column(self, name: str) -> int:
        """Return the column of the choice with this name.

        Raises:
            SpaceError: there is no such choice; the message names the nearest one.
        """
        if name not in self._columns:
            raise SpaceError(f"a choice of the space is needed; got {name!r}; {nearest(name, self.names)}")
        return self._columns[name]

    # Random architectures

    def sample(self, num: int, rng: np.random.Generator) -> Matrix:
        """Draw (num, num_choices) architectures; every choice is independent and uniform over its options.

        The rows are then made canonical. So if choices are conditional, the distinct architectures are not equally
        likely (with `sample_within` they are).
        """
        return self._canonical(self._draw(num, rng))

    def random(self, rng: np.random.Generator) -> Architecture:
        """Draw one architecture as `sample` does."""
        return self.architectures(self.sample(1, rng))[0]

    def mutate(self, matrix: Matrix, rate: float, rng: np.random.Generator) -> Matrix:
        """Return children in which each choice is, with probability `rate`, drawn anew from all of its options.

        The new option may equal the old one. A choice that becomes active because its parent has mutated is drawn anew.

        Args:
            matrix: (rows, num_choices) parents, canonical; not changed.
            rate: probability per choice, in [0, 1].
            rng: generator that draws the choices to change and their new options.

        Returns:
            (rows, num_choices), canonical; row i is the child of row i of `matrix`.

        Raises:
            SpaceError: `rate` is not in [0, 1].
        """
        if not 0 <= rate <= 1:
            raise SpaceError(f"`0 <= rate <= 1` must hold; got {rate}; it is a probability per choice")
        redrawn = rng.random(matrix.shape, dtype=np.float32) < rate
        if self.is_conditional:
            redrawn |= ~self.active(matrix)
        return self._canonical(np.where(redrawn, self._draw(len(matrix), rng), matrix))

    def mutate_one(self, matrix: Matrix, rng: np.random.Generator) -> Matrix:
        """Return children in which one active choice has another option than in the parent.

        The choice is drawn uniformly from the active choices with at least two options, and its new option uniformly
        from the other options. A choice that thereby becomes active is drawn anew. If no active choice has two options,
        the child equals its parent.

        Args:
            matrix: (rows, num_choices) parents, canonical; not changed.
            rng: generator that draws the choice to change and the new options.

        Returns:
            (rows, num_choices), canonical; row i is the child of row i of `matrix`.
        """
        active = self.active(matrix)
        keys = np.where(active & (self.num_options > 1), rng.random(matrix.shape), -1.0)
        rows, columns = np.arange(len(matrix)), keys.argmax(axis=1)
        num_others = np.where(keys.max(axis=1) < 0, 0, self.num_options[columns] - 1)
        steps = np.minimum(1 + rng.integers(0, np.maximum(num_others, 1)), num_others)
        children = np.where(active, matrix, self._draw(len(matrix), rng))
        children[rows, columns] = (matrix[rows, columns] + steps) % self.num_options[columns]
        return self._canonical(children)

    def crossover(self, first: Matrix, second: Matrix, rng: np.random.Generator) -> Matrix:
        """Return children of two sets of parents, row by row.

        Every choice comes from either parent with equal probability, or from the one parent where it is active.

        Args:
            first: (rows, num_choices) first parents, canonical; not changed.
            second: (rows, num_choices) second parents, canonical; not changed.
            rng: generator that draws the parent of each choice.

        Returns:
            (rows, num_choices), canonical; row i is the child of the rows i of both parents.

        Raises:
            SpaceError: the parents have different shapes.
        """
        if first.shape != second.shape:
            raise SpaceError(
                f"parents must have the same shape; got {first.shape} and {second.shape}; pair the rows"
            )
        bits = np.frombuffer(rng.bytes((first.size + 7) // 8), dtype=np.uint8)
        from_first = np.unpackbits(bits, count=first.size).view(np.bool_).reshape(first.shape)
        if self.is_conditional:
            from_first = (from_first & self.active(first)) | ~self.active(second)
        return self._canonical(np.where(from_first, first, second))

    def _draw(self, num: int, rng: np.random.Generator) -> Matrix:
        counts = np.unique(self.num_options)
        if len(counts) == 1:
            return rng.integers(0, counts[0], (num, self.num_choices), dtype=self.dtype)
        matrix = np.empty((num, self.num_choices), dtype=self.dtype)
        for count in counts:
            columns = np.flatnonzero(self.num_options == count)
            matrix[:, columns] = rng.integers(0, count, (num, len(columns)), dtype=self.dtype)
        return matrix

    # Canonical form and encodings

    def active(self, matrix: Matrix) -> BoolMatrix:
        """Return a boolean matrix of the shape of `matrix`, True for each active choice."""
        return self.conditions.active(matrix)

    def canonical(self, matrix: Matrix) -> Matrix:
        """Return the matrix with index 0 for every inactive choice, so that rows of one architecture are equal.

        The result may be the same object as `matrix`.

        Raises:
            SpaceError: `matrix` is not (rows, num_choices) of option indices.
        """
        return self._canonical(self.check(matrix))

    def _canonical(self, matrix: Matrix) -> Matrix:
        return np.where(self.active(matrix), matrix, 0).astype(self.dtype) if self.is_conditional else matrix

    def one_hot(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """Return the one-hot encoding of the architectures.

        Returns:
            (rows, total number of options) float32; the options of a choice lie side by side, and all of them are 0 if
            the choice is inactive.

        Raises:
            SpaceError: `matrix` is not (rows, num_choices) of option indices.
        """
        matrix = self.check(matrix)
        starts = np.concatenate([[0], np.cumsum(self.num_options)])
        encoded = np.zeros((len(matrix), starts[-1]), dtype=np.float32)
        np.put_along_axis(encoded, starts[:-1] + matrix, self.active(matrix).astype(np.float32), axis=1)
        return encoded

    def ordinal(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """Return the architectures as one number per choice.

        Returns:
            (rows, num_choices) float32: index / (number of options - 1), in [0, 1]; 0 for an inactive choice.

        Raises:
            SpaceError: `matrix` is not (rows, num_choices) of option indices.
        """
        encoded = self.canonical(matrix) / np.maximum(self.num_options - 1, 1)
        return np.asarray(encoded, dtype=np.float32)

    def check(self, matrix: Matrix) -> Matrix:
        """Return the matrix in the dtype of the space; a copy only if the dtype differs.

        Raises:
            SpaceError: `matrix` is not (rows, num_choices) of option indices.
        """
        matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.shape[1] != self.num_choices or matrix.dtype.kind not in "iu":
            raise SpaceError(
                f"architectures must be an integer matrix of shape (rows, {self.num_choices});"
                f" got {matrix.dtype} {matrix.shape}; use space.matrix(...)"
            )
        wrong = (matrix < 0) | (matrix >= self.num_options)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            self._check_index(int(column), int(matrix[row, column]))
        return matrix.astype(self.dtype, copy=False)

    # Single architectures

    def architecture(self, options: Sequence[int] | npt.NDArray[Any] | Mapping[str, Option]) -> Architecture:
        """Return the architecture of option indices, or of a mapping from choice name to option.

        Indices are in the order of the choices. A mapping may leave out inactive choices; entries for inactive choices
        are ignored.

        Raises:
            SpaceError: an index, option or name does not exist, or an active choice has none.
        """
        indices = self._from_mapping(options) if isinstance(options, Mapping) else self._from_indices(options)
        return Architecture(self, indices)

    def architectures(self, matrix: Matrix) -> list[Architecture]:
        """Return one `Architecture` per row of a matrix.

        Raises:
            SpaceError: `matrix` is not (rows, num_choices) of option indices.
        """
        return [Architecture(self, tuple(row)) for row in self.canonical(matrix).tolist()]

    def matrix(self, architectures: Sequence[Architecture]) -> Matrix:
        """Return the (len(architectures), num_choices) matrix of these architectures.

        Raises:
            SpaceError: an architecture is of another space.
        """
        for architecture in architectures:
            if architecture.space is not self and architecture.space.fingerprint != self.fingerprint:
                raise SpaceError(
                    f"architectures must be of this space; got {architecture} of another; parse it with"
                    " this one"
                )
        rows = [architecture.indices for architecture in architectures]
        return np.array(rows, dtype=self.dtype).reshape(len(rows), self.num_choices)

    def active_columns(self, indices: Sequence[int]) -> list[int]:
        """Return the columns of the active choices of one architecture, rising."""
        if not self.is_conditional:
            return list(range(self.num_choices))
        return np.flatnonzero(self.active(np.array([indices]))[0]).tolist()

    def parse(self, written: Written) -> Architecture:
        """Return an architecture that is given in any of the forms below.

        Args:
            written: indices ("2,1,0" or a sequence of integers); a mapping from name to option, or the same as JSON;
                the paper's own notation; or the path of a run's `architecture.json` (also the content of this file, or
                its directory as a `Path`). An architecture of another space is read by its options.

        Raises:
            SpaceError: `written` has none of these forms, or does not fit the space.
        """
        if isinstance(written, Architecture):
            return written if written.space is self else self.architecture(written.options)
        return self.architecture(read_options(self, written))

    def from_json(self, text: str) -> Architecture:
        """Return the architecture in a JSON object of names and options, see `Architecture.to_json`.

        Raises:
            SpaceError: the text is no JSON object, or does not fit the space.
        """
        return self.architecture(read_json(self, text))

    def format(self, architecture: Architecture) -> str:
        """Return the architecture in the space's notation if it has one, else as indices; `parse` reads both."""
        return str(architecture) if self.notation is None else self.notation.format(architecture.options)

    def standalone_form(self, architecture: Architecture) -> Architecture:
        """Return the architecture that stands for all architectures with the same stand-alone network.

        It is `architecture` itself, unless the space's notation knows which different architectures are the same
        network when trained from scratch. A supernet holds different weights for such architectures; a benchmark table
        has one result for them.
        """
        notation: object = self.notation
        if not isinstance(notation, StandaloneForms):
            return architecture
        return self.architecture(notation.standalone_form(architecture.options))

    def is_connected(self, architecture: Architecture) -> bool:
        """Tell whether the output depends on the input; True if the space's notation does not know."""
        notation: object = self.notation
        return not isinstance(notation, Connectedness) or notation.is_connected(architecture.options)

    def enumerate(self) -> Iterator[Architecture]:
        """Iterate over all distinct architectures, in lexicographic order of their indices.

        Raises:
            SpaceError: there are more than 5,000,000.
        """
        return iter(self.architectures(self.enumerate_matrix()))

    def enumerate_matrix(self) -> Matrix:
        """Return all distinct architectures as a (size, num_choices) matrix, in lexicographic order.

        Raises:
            SpaceError: there are more than 5,000,000.
        """
        if self.size > _MOST_ENUMERATED:
            raise SpaceError(
                f"`size <= {_MOST_ENUMERATED}` must hold to enumerate; got {self.size}; use sample(...)"
            )
        rows = np.zeros((1, self.num_choices), dtype=self.dtype)
        for column, count in enumerate(self.num_options.tolist()):
            repeats = np.where(self.active(rows)[:, column], count, 1)
            starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
            rows = np.repeat(rows, repeats, axis=0)
            rows[:, column] = np.arange(len(rows)) - starts
        return rows

    # Cost windows

    def window_sampler(self, table: Costs) -> Sampler:
        """Return a sampler that counts and draws architectures by an additive cost.

        A sampler is prepared once per cost; the samplers of the last four costs are kept. Costs with equal fingerprints
        share one sampler.

        Args:
            table: a cost table, or for every choice the list of its options' costs, in the order of the space.

        Raises:
            SpaceError: the cost does not fit the space.
        """
        if not isinstance(table, Countable):
            # Imported by name, because `counting` is a layer above this one and only a plain list needs it here.
            made: Countable = importlib.import_module("onepath.counting").CostTable.of(self, table)
            return self.window_sampler(made)
        key = table.fingerprint
        if key not in self._samplers:
            if len(self._samplers) >= _MOST_SAMPLERS:
                del self._samplers[next(iter(self._samplers))]
            self._samplers[key] = table.sampler(self)
        return self._samplers[key]

    def count_within(self, table: Costs, low: float | None = None, high: float | None = None) -> int:
        """Return the number of distinct architectures with `low <= cost <= high`; None leaves a side open.

        The number is exact for most spaces and an estimate for the largest ones, see `WindowSampler.count`.

        Args:
            table: the cost, as for `window_sampler`.
            low: smallest cost, inclusive.
            high: largest cost, inclusive.

        Raises:
            SpaceError: the cost does not fit the space.

        Example:
            ``space.count_within(op.cost.table(supernet, (3, 32, 32), "macs"), None, 30_000_000)``
        """
        return self.window_sampler(table).count(low, high)

    def sample_within(
        self, table: Costs, low: float | None, high: float | None, num: int, rng: np.random.Generator
    ) -> Matrix:
        """Draw architectures independently and uniformly from the distinct ones with `low <= cost <= high`.

        Args:
            table: the cost, as for `window_sampler`.
            low: smallest cost, inclusive; None leaves the side open.
            high: largest cost, inclusive; None leaves the side open.
            num: number of rows to draw; the same architecture may come more than once.
            rng: generator of all random draws.

        Returns:
            (num, num_choices) canonical rows.

        Raises:
            InfeasibleError: no architecture is in the window.
            SpaceError: the cost does not fit the space.
        """
        return self.window_sampler(table).sample(low, high, num, rng)

    def _from_indices(self, indices: Sequence[int] | npt.NDArray[Any]) -> tuple[int, ...]:
        try:
            given = list(indices)
            if any(isinstance(index, bool | np.bool_) for index in given):
                raise TypeError
            numbers = [operator.index(index) for index in given]
        except TypeError:
            raise SpaceError(
                f"option indices must be a sequence of {self.num_choices} integers; got {shown(indices)}; give one per"
                " choice"
            ) from None
        if len(numbers) != self.num_choices:
            raise SpaceError(
                f"an architecture needs {self.num_choices} option indices; got {len(numbers)}; give one"
                " per choice"
            )
        for column, index in enumerate(numbers):
            self._check_index(column, index)
        row = np.array([numbers], dtype=self.dtype)
        return tuple(self._canonical(row)[0].tolist())

    def _check_index(self, column: int, index: int) -> None:
        choice = self.choices[column]
        if not 0 <= index < choice.num_options:
            raise SpaceError(
                f"`0 <= index < {choice.num_options}` must hold for choice {choice.name!r} (position"
                f" {column}); got {shown(index)};"
                f" its options are {list(choice.options)!r}"
            )

    def _from_mapping(self, options: Mapping[str, Option]) -> tuple[int, ...]:
        for name in options:
            self.column(name)
        indices: list[int] = []
        active: list[int] = []
        for column, choice in enumerate(self.choices):
            if not self.conditions.is_active(column, active.__getitem__):
                active.append(-1)
            elif choice.name not in options:
                raise SpaceError(f"every active choice needs an option; got none for {choice.name!r}; add it")
            else:
                active.append(choice.index(options[choice.name]))
            indices.append(max(active[-1], 0))
        return tuple(indices)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_samplers": {}}

    def __repr__(self) -> str:
        return f"SearchSpace({self.num_choices} choices, {self.size} architectures)"
