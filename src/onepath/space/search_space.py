"""The search space: an ordered tuple of choices, and vectorised operations on integer matrices."""

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
    """Counts and draws the architectures of a space by their costs; `onepath.counting.WindowSampler` is one."""

    def count(self, low: float | None = None, high: float | None = None) -> int:
        """Number of distinct architectures with `low <= cost <= high`."""

    def sample(self, low: float | None, high: float | None, num: int, rng: np.random.Generator) -> Matrix:
        """Uniform draws of them."""

    def extremes(self) -> tuple[Number, Number]:
        """Smallest and largest cost."""

    def quantile(self, fraction: float) -> Number:
        """The cost that this share of the space does not exceed."""


@runtime_checkable
class Countable(Protocol):
    """An additive cost; `onepath.counting.CostTable` is one."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal costs."""

    def sampler(self, space: SearchSpace) -> Sampler:
        """The counting and exact sampling of this space's architectures by this cost."""


Costs = Countable | Sequence[Sequence[Number]] | npt.NDArray[Any]
"""An additive cost, or a plain list of the costs of every choice's options, in the order of the space."""


class SearchSpace:
    """An ordered tuple of choices; an architecture takes one option of each.

    Matrices have one architecture per row and one choice per column and hold option indices (uint8, or int16
    where a choice has more than 256 options). They are canonical where an inactive choice has index 0; all
    methods return canonical ones.

    Args:
        choices: at least one, with distinct names.
        conditions: name -> alternatives; the choice is active if any alternative holds, an alternative
            `{parent: allowed options}` holds if each parent is active and has one of its allowed options.
            Parents come before children. Choices without a condition are always active.
        notation: the paper's own notation, for `parse` and `format`; see also `standalone_form`.

    Raises:
        SpaceError: names repeat, or a condition does not fit.

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
        """Hex digest of the names, the options and the conditions; the notation does not matter."""
        data = [[choice.name, choice.options] for choice in self.choices], self.conditions.to_data()
        return hashlib.sha256(json.dumps(data).encode()).hexdigest()

    def column(self, name: str) -> int:
        """The column of the choice of this name; SpaceError with the nearest name where there is none."""
        if name not in self._columns:
            raise SpaceError(f"a choice of the space is needed; got {name!r}; {nearest(name, self.names)}")
        return self._columns[name]

    # Random architectures

    def sample(self, num: int, rng: np.random.Generator) -> Matrix:
        """Draw (num, num_choices) architectures, every choice independent and uniform over its options.

        Then made canonical; so where choices are conditional the distinct architectures are not equally
        likely (they are with `sample_within`).
        """
        return self._canonical(self._draw(num, rng))

    def random(self, rng: np.random.Generator) -> Architecture:
        """One architecture drawn as by `sample`."""
        return self.architectures(self.sample(1, rng))[0]

    def mutate(self, matrix: Matrix, rate: float, rng: np.random.Generator) -> Matrix:
        """Children in which each choice is, with probability `rate`, drawn anew from all of its options.

        The new option may be the old one. A choice that becomes active by the mutation of its parent is
        drawn anew.

        Args:
            matrix: (rows, num_choices), canonical; not changed.
            rate: in [0, 1].
            rng: draws the places and the options.
        """
        if not 0 <= rate <= 1:
            raise SpaceError(f"`0 <= rate <= 1` must hold; got {rate}; it is a probability per choice")
        redrawn = rng.random(matrix.shape, dtype=np.float32) < rate
        if self.is_conditional:
            redrawn |= ~self.active(matrix)
        return self._canonical(np.where(redrawn, self._draw(len(matrix), rng), matrix))

    def mutate_one(self, matrix: Matrix, rng: np.random.Generator) -> Matrix:
        """Children in which one active choice, uniform over them, has another option, uniform over the others.

        A choice that becomes active by that is drawn anew. Choices of one option cannot change; where no
        active choice has more, the child is its parent.

        Args:
            matrix: (rows, num_choices), canonical; not changed.
            rng: draws the places and the options.
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
        """Children of the rows of `first` with the same rows of `second`, both canonical.

        Every choice comes from one of the two with equal probability, or from the one where it is active.
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
        """True where a choice is active, shape of `matrix`."""
        return self.conditions.active(matrix)

    def canonical(self, matrix: Matrix) -> Matrix:
        """The matrix with index 0 for every inactive choice, so that rows of one architecture are equal.

        May be the same object.
        """
        return self._canonical(self.check(matrix))

    def _canonical(self, matrix: Matrix) -> Matrix:
        return np.where(self.active(matrix), matrix, 0).astype(self.dtype) if self.is_conditional else matrix

    def one_hot(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """(rows, sum of numbers of options) float32, options of a choice side by side; 0 where it is
        inactive.
        """
        matrix = self.check(matrix)
        starts = np.concatenate([[0], np.cumsum(self.num_options)])
        encoded = np.zeros((len(matrix), starts[-1]), dtype=np.float32)
        np.put_along_axis(encoded, starts[:-1] + matrix, self.active(matrix).astype(np.float32), axis=1)
        return encoded

    def ordinal(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """(rows, num_choices) float32: index / (number of options - 1), in [0, 1]; 0 where inactive."""
        encoded = self.canonical(matrix) / np.maximum(self.num_options - 1, 1)
        return np.asarray(encoded, dtype=np.float32)

    def check(self, matrix: Matrix) -> Matrix:
        """The matrix in the dtype of the space.

        Raises:
            SpaceError: it is not (rows, num_choices) of option indices.
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
        """The architecture of option indices, or of a mapping from name to option.

        Indices are in the order of the choices. A mapping may leave out inactive choices; those it gives are
        ignored.

        Raises:
            SpaceError: an index, option or name does not exist, or an active choice has none.
        """
        indices = self._from_mapping(options) if isinstance(options, Mapping) else self._from_indices(options)
        return Architecture(self, indices)

    def architectures(self, matrix: Matrix) -> list[Architecture]:
        """One architecture per row."""
        return [Architecture(self, tuple(row)) for row in self.canonical(matrix).tolist()]

    def matrix(self, architectures: Sequence[Architecture]) -> Matrix:
        """(len(architectures), num_choices) matrix of architectures of this space."""
        for architecture in architectures:
            if architecture.space is not self and architecture.space.fingerprint != self.fingerprint:
                raise SpaceError(
                    f"architectures must be of this space; got {architecture} of another; parse it with"
                    " this one"
                )
        rows = [architecture.indices for architecture in architectures]
        return np.array(rows, dtype=self.dtype).reshape(len(rows), self.num_choices)

    def active_columns(self, indices: Sequence[int]) -> list[int]:
        """Columns of the active choices of one architecture."""
        if not self.is_conditional:
            return list(range(self.num_choices))
        return np.flatnonzero(self.active(np.array([indices]))[0]).tolist()

    def parse(self, written: Written) -> Architecture:
        """The architecture that is written in one of these ways.

        Args:
            written: indices ("2,1,0" or a sequence of integers), a mapping from name to option or the same as JSON,
                the paper's own notation, or the path of a run's `architecture.json` (or its content, or the directory
                as a `Path`). An architecture of another space is taken by its options.

        Raises:
            SpaceError: it is none of these, or does not fit the space.
        """
        if isinstance(written, Architecture):
            return written if written.space is self else self.architecture(written.options)
        return self.architecture(read_options(self, written))

    def from_json(self, text: str) -> Architecture:
        """The architecture of a JSON object of names and options; see `Architecture.to_json`."""
        return self.architecture(read_json(self, text))

    def format(self, architecture: Architecture) -> str:
        """The paper's notation where the space has one, else the indices; `parse` reads both."""
        return str(architecture) if self.notation is None else self.notation.format(architecture.options)

    def standalone_form(self, architecture: Architecture) -> Architecture:
        """The architecture that stands for all that are the same network when trained from scratch.

        Itself, unless the space's notation knows better. A supernet holds different weights for such
        architectures; a benchmark table has one result for them.
        """
        notation: object = self.notation
        if not isinstance(notation, StandaloneForms):
            return architecture
        return self.architecture(notation.standalone_form(architecture.options))

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether the output depends on the input, as the space's notation has it; True where it has nothing to say."""
        notation: object = self.notation
        return not isinstance(notation, Connectedness) or notation.is_connected(architecture.options)

    def enumerate(self) -> Iterator[Architecture]:
        """All distinct architectures, in lexicographic order of their indices."""
        return iter(self.architectures(self.enumerate_matrix()))

    def enumerate_matrix(self) -> Matrix:
        """(size, num_choices): all distinct architectures, in lexicographic order.

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
        """Counting and exact sampling by an additive cost.

        Prepared once per cost and kept, for the last four; costs of equal fingerprints are one.

        Args:
            table: a cost table, or a plain list of the costs of every choice's options, in the order of the space.

        Raises:
            SpaceError: the cost does not fit the space.
        """
        if not isinstance(table, Countable):
            # By name: counting stands above this room, and only a plain list asks for it here.
            made: Countable = importlib.import_module("onepath.counting").CostTable.of(self, table)
            return self.window_sampler(made)
        key = table.fingerprint
        if key not in self._samplers:
            if len(self._samplers) >= _MOST_SAMPLERS:
                del self._samplers[next(iter(self._samplers))]
            self._samplers[key] = table.sampler(self)
        return self._samplers[key]

    def count_within(self, table: Costs, low: float | None = None, high: float | None = None) -> int:
        """Number of distinct architectures with `low <= cost <= high`; None leaves a side open.

        Exact for most spaces, an estimate for the largest; see `WindowSampler.count`. `table` is as for
        `window_sampler`.

        Example:
            ``space.count_within(op.cost.table(supernet, (3, 32, 32), "macs"), None, 30_000_000)``
        """
        return self.window_sampler(table).count(low, high)

    def sample_within(
        self, table: Costs, low: float | None, high: float | None, num: int, rng: np.random.Generator
    ) -> Matrix:
        """Independent uniform draws of the distinct architectures with `low <= cost <= high`.

        Args:
            table: as for `window_sampler`.
            low: smallest cost, inclusive; None leaves the side open.
            high: largest cost, inclusive; None leaves the side open.
            num: rows to draw; the same architecture may come more than once.
            rng: the only source of chance.

        Returns:
            (num, num_choices) canonical rows.

        Raises:
            InfeasibleError: no architecture is in the window.
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
