"""Reading tables: columns of numbers and categories, from which another column is predicted."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from onepath.data.dataset_task import DatasetTask, make_task
from onepath.data.examples import few, reason
from onepath.data.preprocessing import Preprocessing
from onepath.errors import DataError, plain, shown
from onepath.randomness import generator

_MOST_ROWS, _MOST_COLUMNS, _MOST_CATEGORIES = 50_000_000, 10_000, 1000
_FEW_NUMBERS = 20  # up to this many different whole numbers are taken for classes
_MISSING = {"", "na", "nan", "null", "none"}
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class _Column:
    """A column as the network reads it: one standardised number, or a 0 or 1 for each category."""

    name: str
    categories: tuple[str, ...] | None
    mean: float = 0.0
    std: float = 1.0

    def values(self, raw: Sequence[Any]) -> NDArray[np.float32]:
        """Return (rows, numbers): a missing number becomes the mean, a missing or unknown category all zeros."""
        if self.categories is None:
            numbers = np.array([_number(value) for value in raw], dtype=np.float64)
            numbers = np.where(np.isnan(numbers), self.mean, numbers)
            return ((numbers - self.mean) / self.std).astype(np.float32)[:, None]
        places = {category: place for place, category in enumerate(self.categories)}
        found = np.zeros((len(raw), len(places)), dtype=np.float32)
        for row, value in enumerate(raw):
            place = places.get(str(value).strip())
            if place is not None:
                found[row, place] = 1.0
        return found


def read_csv(path: Path) -> dict[str, list[str]]:
    """Return the columns of a .csv as name -> texts; its first line holds the names.

    Raises:
        DataError: the file cannot be read, has no rows, has names that are empty or repeated, or a row has more or
            fewer cells than there are names.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            names = [name.strip() for name in next(lines, [])]
            rows = [row for row in lines if row]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"a .csv must be text with a line of names, but {plain(path)} is not: {reason(error)}; check the file"
        ) from error
    if not rows or len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"a .csv must have a line of different names and rows below it, but {plain(path)} has names "
            f"{few(names)} and {len(rows)} rows; check the file"
        )
    wrong = next((number for number, row in enumerate(rows, start=2) if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(
            f"every row of a .csv must have {len(names)} cells, but row {wrong} of {plain(path)} has "
            f"{len(rows[wrong - 2])}; check the file"
        )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def columns_of(frame: Any) -> dict[str, list[Any]]:
    """Return the columns of a data frame of pandas or polars as name -> list of values."""
    return {str(name): list(frame[name]) for name in frame.columns}


def table_task(
    name: str,
    train: Columns,
    test: Columns | None,
    *,
    target: str | None,
    kind: str | None,
    seed: int,
) -> DatasetTask:
    """Make the task of predicting one column of a table from the others.

    Numbers are standardised by their mean and standard deviation over the rows that are not test rows; categories
    become one 0 or 1 each. A missing number becomes the mean, a missing category all zeros. `notes` say what was
    guessed and filled in.

    Args:
        name: short name for records.
        train: column -> values of the training rows.
        test: column -> values of the test rows; None holds out a fifth of the training rows.
        target: name of the column to predict; None takes "label" or "target".
        kind: "classification" or "regression"; None guesses by the values of the target, and `notes` say so.
        seed: seed of the splits.

    Raises:
        DataError: the target is not a column; `kind` is not one of the two; no column or too many are left beside the
            target; a column has more than 1,000 categories; the test rows lack columns or have classes that the
            training rows lack; or a value of the target of a regression is not a finite number.
    """
    target = _target(train, target, name)
    rest = [column for column in train if column != target]
    if not rest or len(rest) > _MOST_COLUMNS:
        raise DataError(
            f"a table must have 1 to {_MOST_COLUMNS:,} columns beside the target, but {shown(name)} has {len(rest)}; "
            "check the file"
        )
    notes: list[str] = []
    held_out = None
    rows = np.arange(len(train[target]))
    if test is None:
        num = max(1, math.ceil(0.2 * len(rows)))
        order = generator(seed, "test split").permutation(rows)
        held_out, rows = np.sort(order[:num]), np.sort(order[num:])
        notes.append(f"There is no test set: 20 % of the rows ({num:,}) are held out, drawn from the seed.")
    else:
        lacking = [column for column in train if column not in test]
        if lacking:
            raise DataError(
                f"test rows must have the columns of the training rows, but lack {few(lacking)}; add them"
            )
    chosen = {column: [train[column][row] for row in rows.tolist()] for column in train}
    tested = (
        test
        if test is not None
        else {
            c: [train[c][row] for row in (held_out if held_out is not None else rows).tolist()] for c in train
        }
    )
    kind = _kind(chosen[target], kind, target, notes)
    columns = [_column(column, chosen[column], notes) for column in rest]
    classes = _classes(chosen[target]) if kind == "classification" else ()
    datasets = [
        TensorDataset(_inputs(columns, part), _targets(part[target], classes, target))
        for part in (chosen, tested)
    ]
    features = datasets[0].tensors[0].shape[1]
    task = make_task(
        datasets[0],
        None,
        datasets[1],
        loss="cross-entropy" if classes else "mse",
        metric="accuracy" if classes else "rmse",
        num_outputs=len(classes) or 1,
        name=name,
        seed=seed,
        class_names=classes or (target,),
        preprocessing=_preprocessing(features, columns, classes or (target,)),
    )
    task.notes = (*notes, *task.notes)
    return task


def _target(columns: Columns, target: str | None, name: str) -> str:
    found = target or next((column for column in ("label", "target") if column in columns), None)
    if found is None or found not in columns:
        raise DataError(
            f"target must be a column of the table, but got {shown(target)} and {shown(name)} has "
            f"{few(list(columns))}; give --target"
        )
    return found


def _kind(values: Sequence[Any], kind: str | None, target: str, notes: list[str]) -> str:
    if kind in ("classification", "regression"):
        return kind
    if kind is not None:
        raise DataError(
            f"kind of a table must be classification or regression, but got {shown(kind)}; change it"
        )
    numbers = [_number(value) for value in values]
    different = set(numbers)
    are_classes = any(math.isnan(number) for number in numbers) or (
        len(different) <= _FEW_NUMBERS and all(number == int(number) for number in different)
    )
    found = "classification" if are_classes else "regression"
    notes.append(f"Column {target!r} is read for {found}, a guess; kind says otherwise.")
    return found


def _column(name: str, values: Sequence[Any], notes: list[str]) -> _Column:
    texts = [str(value).strip() for value in values]
    missing = sum(text.lower() in _MISSING for text in texts)
    numbers = np.array([_number(value) for value in values], dtype=np.float64)
    if int(np.isnan(numbers).sum()) == missing:
        known = numbers[~np.isnan(numbers)]
        mean = float(known.mean()) if len(known) else 0.0
        std = float(known.std()) if len(known) else 0.0
        if missing:
            notes.append(f"{missing:,} missing values of column {name!r} are filled with its mean.")
        return _Column(name, None, mean, std or 1.0)
    categories = sorted({text for text in texts if text.lower() not in _MISSING})
    if len(categories) > _MOST_CATEGORIES:
        raise DataError(
            f"a column of categories must have at most {_MOST_CATEGORIES:,}, but {shown(name)} has "
            f"{len(categories):,}; leave the column out"
        )
    if missing:
        notes.append(f"{missing:,} missing values of column {name!r} are no category.")
    return _Column(name, tuple(categories))


def _classes(values: Sequence[Any]) -> tuple[str, ...]:
    texts = {str(value).strip() for value in values}
    is_numeric = all(not math.isnan(_number(text)) for text in texts)
    return tuple(sorted(texts, key=float if is_numeric else str))


def _targets(values: Sequence[Any], classes: tuple[str, ...], target: str) -> torch.Tensor:
    if classes:
        places = {name: place for place, name in enumerate(classes)}
        unknown = [value for value in values if str(value).strip() not in places]
        if unknown:
            raise DataError(
                f"classes of test rows must occur in training rows, but {few(unknown)} do not; check {target}"
            )
        return torch.tensor([places[str(value).strip()] for value in values])
    numbers = torch.tensor([_number(value) for value in values], dtype=torch.float32)
    if not torch.isfinite(numbers).all():
        raise DataError(
            f"values of the target {shown(target)} must be finite numbers, but some are not; drop these rows"
        )
    return numbers


def _inputs(columns: Sequence[_Column], rows: Columns) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([column.values(rows[column.name]) for column in columns], axis=1))


def _preprocessing(features: int, columns: Sequence[_Column], names: tuple[str, ...]) -> Preprocessing | None:
    """Return the standardisation of the columns for exported files; None if a column holds categories."""
    if any(column.categories is not None for column in columns):
        return None
    mean, std = tuple(column.mean for column in columns), tuple(column.std for column in columns)
    return Preprocessing((features,), names, mean, std, 1.0, "float32")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
