"""An estimator that looks accuracies up in a benchmark's table instead of evaluating networks."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError, DataError, SpaceError, shown
from onepath.estimate.estimator import Estimate, architecture_of
from onepath.search import Limit, Proposal
from onepath.space import Architecture, SearchSpace, StandaloneForms

ARCHITECTURE_COLUMNS = ("architecture", "arch", "arch_str", "architecture_str", "cell")
ACCURACY_COLUMNS = (
    *("test_accuracy", "test_acc", "accuracy", "acc"),
    *("valid_accuracy", "validation_accuracy", "val_accuracy", "valid_acc", "val_acc"),
)
_MOST_LISTED = 100_000
_MOST_ROWS = 10_000_000
_MOST_BYTES = 2**30
_LARGEST = 1e12
_LONGEST_SHOWN = 80
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)


class TableEstimator:
    """Looks accuracies up in a .parquet or .csv file, so that a search takes seconds and the true accuracies are known.

    A row holds one architecture and its accuracy. The architecture is written as option indices, as JSON or in the
    paper's own notation. An architecture without a row gets the mean accuracy of the rows that have the same
    stand-alone form (`SearchSpace.standalone_form`), if there are any. Such rows are the same network when trained
    from scratch, though the table may have trained it once for each row.

    Args:
        space: search space of the architectures in the table.
        path: the .parquet or .csv file. A .csv starts with a header; spaces after its commas are ignored.
        architecture_column: name of the column of architectures; by default the first name of `ARCHITECTURE_COLUMNS`
            that is in the file.
        accuracy_column: name of any column of numbers, higher is better; by default the first name of
            `ACCURACY_COLUMNS` that is in the file, which prefers test accuracy to validation accuracy.

    Attributes:
        architectures: architecture of each row, in the order of the file.
        accuracies: float64 (rows,), in the table's own unit, which is percent in the published tables.
        architecture_column: name of the column that was read.
        accuracy_column: name of the column that was read.

    Raises:
        DataError: the file cannot be read or is too large; a row is not an architecture of the space; a row has no
            finite number, or has a number outside 0 to 100 where the column is one of `ACCURACY_COLUMNS`; or rows of
            one architecture have different accuracies.
        ConfigurationError: the file has another suffix, lacks a column that was asked for, or has no column with one of
            the default names.

    Example, with any algorithm; `feasible_set` adds other limits:

        >>> truth = TableEstimator(supernet.space, "nasbench201.parquet")           # doctest: +SKIP
        >>> feasible = FeasibleSet(supernet.space, [truth.limit()])                 # doctest: +SKIP
        >>> while proposals := algorithm.ask(feasible):                             # doctest: +SKIP
        ...     asked = [proposal.architecture for proposal in proposals]
        ...     algorithm.tell(asked, [truth.estimate(architecture).accuracy for architecture in asked])
    """

    def __init__(
        self,
        space: SearchSpace,
        path: str | Path,
        *,
        architecture_column: str | None = None,
        accuracy_column: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._space = space
        names = _column_names(self._path)
        self.architecture_column = _column(
            "architecture_column", architecture_column, ARCHITECTURE_COLUMNS, names, path
        )
        self.accuracy_column = _column("accuracy_column", accuracy_column, ACCURACY_COLUMNS, names, path)
        texts, values = _read(self._path, (self.architecture_column, self.accuracy_column))
        self.architectures = tuple(self._parse(row, text) for row, text in enumerate(texts))
        self.accuracies: npt.NDArray[np.float64] = np.array(
            [self._number(row, value) for row, value in enumerate(values)], dtype=np.float64
        )
        self._rows: dict[Architecture, int] = {}
        self._forms: dict[Architecture, list[int]] = {}
        for row, architecture in enumerate(self.architectures):
            first = self._rows.setdefault(architecture, row)
            if first == row:
                self._forms.setdefault(space.standalone_form(architecture), []).append(row)
            if self.accuracies[first] != self.accuracies[row]:
                raise DataError(
                    f"rows of {path} that are one architecture must have one {self.accuracy_column}, but row {first} "
                    f"({_brief(texts[first])}) has {self.accuracies[first]} and row {row} ({_brief(texts[row])}) "
                    f"{self.accuracies[row]}; keep one of them, or their mean"
                )

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.architectures)

    def __contains__(self, architecture: Architecture) -> bool:
        """Whether `estimate` has an accuracy for the architecture."""
        return architecture in self._rows or self._space.standalone_form(architecture) in self._forms

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the accuracy of an architecture in the table, in the table's unit.

        The table does not tell a loss: `loss` is infinite. `seconds` and `num_validation` are 0.

        Raises:
            SpaceError: the architecture is of another space.
            DataError: the table has neither the architecture nor another one with the same stand-alone form.
        """
        architecture = architecture_of(asked)
        self._space.matrix([architecture])  # an architecture of another space is an error
        row = self._rows.get(architecture)
        rows = [row] if row is not None else self._forms.get(self._space.standalone_form(architecture))
        if rows is None:
            raise DataError(
                f"an architecture must be in the table, but {self._space.format(architecture)} is not among the "
                f"{len(self)} rows of {self._path}; search under the estimator's limit(), or give a larger table"
            )
        accuracy = float(self.accuracies[rows].mean())
        return Estimate(accuracy=accuracy, loss=math.inf, seconds=0.0, num_validation=0)

    def is_known(self, matrix: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return (rows,) booleans, True where `estimate` has an accuracy for the architecture in a row of `matrix`."""
        architectures = self._space.architectures(matrix)
        return np.fromiter((architecture in self for architecture in architectures), np.bool_, len(matrix))

    def limit(self) -> Limit:
        """Return a limit that keeps a search inside the table, for tables that hold only a part of their space.

        Under this limit random architectures are drawn from the table itself, so that the table may be a small part of
        a large space.
        """
        return Limit(
            name="in_table",
            unit="architectures that the table lacks",
            maximum=0,
            costs=lambda matrix: (~self.is_known(matrix)).astype(np.int64),
            members=self._members(),
        )

    def _members(self) -> npt.NDArray[Any]:
        """Return the architectures of the rows and, in a small space, all others with the same stand-alone forms."""
        notation: object = self._space.notation
        if self._space.size > _MOST_LISTED or not isinstance(notation, StandaloneForms):
            return self._space.matrix(list(self._rows))
        every = self._space.enumerate_matrix()
        return every[self.is_known(every)]

    def _parse(self, row: int, text: Any) -> Architecture:
        if not isinstance(text, str | list):
            raise DataError(
                f"{self.architecture_column} of {self._path} must be text or lists of option indices, but row {row} "
                f"has {shown(text)}; write it as text, with all its zeros"
            )
        try:
            return self._space.parse(str(text))
        except SpaceError as error:
            raise DataError(
                f"every row of {self._path} must be an architecture of the space, but row {row} is not: {error}"
            ) from error

    def _number(self, row: int, value: Any) -> float:
        is_text = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        number = float(value) if is_text or (is_number and abs(value) <= _LARGEST) else math.nan
        if not abs(number) <= _LARGEST:
            raise DataError(
                f"every row of {self._path} must have a finite {self.accuracy_column}, but row {row} has {shown(value)}"
                "; remove the row, or choose another accuracy_column"
            )
        if self.accuracy_column in ACCURACY_COLUMNS and not 0 <= number <= 100:
            raise DataError(
                f"every {self.accuracy_column} of {self._path} must be from 0 to 100, but row {row} has {shown(value)}"
                "; remove the row, or rename a column of something else"
            )
        return number


def _brief(text: Any) -> str:
    """Return a value for an error message: as it is in the file where it is short and printable, else shortened."""
    text = str(text)
    return text if len(text) <= _LONGEST_SHOWN and text.isprintable() else shown(text)


def _column(
    argument: str, asked: str | None, known: Sequence[str], names: Sequence[str], path: str | Path
) -> str:
    """Return the column that was asked for or, if none was, the first of the known columns that the file has."""
    found = next((name for name in ((asked,) if asked is not None else known) if name in names), None)
    if found is None:
        what = f"{argument} must be a column of {path}" if asked else f"{argument} must be given for {path}"
        came = f"{asked!r} is not" if asked else f"none is called {' or '.join(known)}"
        raise ConfigurationError(f"{what}, but {came}; its columns are: {', '.join(names) or 'none'}")
    if list(names).count(found) > 1:
        raise DataError(
            f"the columns of {path} must have names of their own, but several are {found}; rename them"
        )
    return found


def _column_names(path: Path) -> Sequence[str]:
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigurationError(f"a table must be a .parquet or a .csv, but got {path}; convert it")
    if path.exists() and not path.is_file():
        raise DataError(f"a table must be a file, but {path} is none; give the path of a file")
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise DataError(
            f"a table must have at most {_MOST_BYTES:,} bytes, but {path} has {path.stat().st_size:,}; give fewer rows"
        )
    if path.suffix == ".csv":
        return next(iter(_csv_rows(path)), [])
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
        num_bytes = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        if metadata.num_rows > _MOST_ROWS or num_bytes > 4 * _MOST_BYTES:
            raise DataError(
                f"a table must have at most {_MOST_ROWS:,} rows of {4 * _MOST_BYTES:,} bytes in all, but {path} has "
                f"{metadata.num_rows:,} of {num_bytes:,}; give fewer rows"
            )
        return list(metadata.schema.to_arrow_schema().names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, columns: tuple[str, str]) -> tuple[list[Any], list[Any]]:
    """Read the values of two columns."""
    if path.suffix == ".csv":
        header, *rows = _csv_rows(path)
        places = [header.index(column) for column in columns]
        short = next((number for number, row in enumerate(rows) if len(row) != len(header)), None)
        if short is not None:
            raise DataError(
                f"every row of {path} must have the header's {len(header)} fields, but row {short} has "
                f"{len(rows[short])}; put fields that hold commas into quotes"
            )
        first, second = ([row[place] for row in rows] for place in places)
        return first, second
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(dict.fromkeys(columns)))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return table[columns[0]].to_pylist(), table[columns[1]].to_pylist()


def _csv_rows(path: Path) -> Iterable[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file, strict=True, skipinitialspace=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(
        f"a table must be readable, but {path} is not ({reason}); check the path, or write it again"
    )
