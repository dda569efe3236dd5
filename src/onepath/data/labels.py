"""Checking labels, turning them into numbers, and numbering the classes equally in all parts of the data."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.examples import Examples, few, reason
from onepath.errors import DataError, shown

MAX_NAME = 255  # most characters of a class name, the usual limit of file systems
_MAX_LABEL = 2**62
_MAX_WHOLE_FLOAT = 2**53  # beyond, floats no longer tell neighbouring whole numbers apart
_UNPRINTED = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of a character, line separators


def encode_labels(
    labels: NDArray[Any], where: str, class_names: tuple[str, ...] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Check labels, and turn strings into numbers.

    Args:
        labels: (N,) or (N, 1) whole numbers of any type, truth values, or strings; or (N, K) one-hot rows.
        where: name of the source, for messages.
        class_names: names that whole numbers are indices of; None if they are not known.

    Returns:
        The labels as (N,) int64, and the class names. For strings, the names are the distinct strings in sorted order,
        and the labels are their indices. Whole numbers are returned as they are, with `class_names`; without class
        names they may have gaps or be negative, see `common_classes`. Truth values become 0 and 1.

    Raises:
        DataError: labels are missing, are neither whole numbers nor strings, or exceed the class names.
    """
    array, _ = one_label_each(np.asarray(labels), where)
    if array.dtype.kind == "O":
        array = _of_one_type(array, where)
    if array.dtype.kind in "UST":
        names, numbers = np.unique(array, return_inverse=True)
        return numbers.astype(np.int64), texts(names, where)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and not _is_whole(array)):
        raise DataError(
            f"labels must be whole numbers or strings, but {_what_came(array, where)}; give every image a class"
        )
    if array.dtype.kind in "bf":
        array = array.astype(np.int64)
    _check_range(array, where, class_names)
    return array.astype(np.int64), class_names


def _check_range(array: NDArray[Any], where: str, class_names: tuple[str, ...] | None) -> None:
    if not array.size:
        return
    low, high = array.min(), array.max()
    if low < 0 and (class_names is not None or (low == -1 and len(np.unique(array[array >= 0])) > 1)):
        row = int(array.argmin())
        raise DataError(
            f"label >= 0 must hold, but {where} has label {array[row]} in row {row}, which beside other numbers means "
            f"no label; leave unlabelled images out, or give the classes as strings"
        )
    if class_names is not None and high >= len(class_names):
        row = int(array.argmax())
        raise DataError(
            f"label < number of class names must hold, but {where} has label {array[row]} in row {row} and "
            f"{len(class_names)} class names; correct the label or the names"
        )
    if high > _MAX_LABEL or low < -_MAX_LABEL:
        row = int(array.argmax() if high > _MAX_LABEL else array.argmin())
        raise DataError(
            f"labels must number the classes, but {where} has label {array[row]} in row {row}; count from 0"
        )


def one_label_each(labels: NDArray[Any], where: str) -> tuple[NDArray[Any], list[str]]:
    """Return one label per example: a column is flattened, and a one-hot row becomes the number of its column.

    Returns:
        The labels, (N,), and remarks for the user.

    Raises:
        DataError: the labels have another shape, or rows that are not one-hot, such as several labels per example.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0], []
    if labels.ndim == 1:
        return labels, []
    if labels.ndim != 2:
        what = "one label per pixel or step" if labels.ndim > 2 else "a single value"
        raise DataError(
            f"labels must be one per image, but {where} has shape {shown(labels.shape)}, {what}; flatten them"
        )
    number = len(labels.T)
    rows = _as_numbers(labels, where)
    if np.isin(rows, (0, 1)).all():
        counts = rows.sum(axis=1)
        if (counts == 1).all():
            return rows.argmax(axis=1), [
                f"Labels are one-hot rows: the class is the column of the 1 among {number}."
            ]
        row = int((counts != 1).argmax())
        raise DataError(
            f"labels must be one per image, but row {row} of {where} marks {int(counts[row])} of {number} classes: "
            f"several labels per example are not supported; give each its one class"
        )
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise DataError(
            f"labels must be one per image, but the rows of {where} are probabilities of {number} classes, which are "
            f"not supported; take the most probable one of each with argmax(axis=1)"
        )
    raise DataError(
        f"labels must be one per image, but {where} has shape {shown(labels.shape)} and its rows are not one-hot; give "
        f"each its one class"
    )


def _as_numbers(labels: NDArray[Any], where: str) -> NDArray[np.float64]:
    try:
        return labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"labels must be one per image, but {where} has shape {shown(labels.shape)} and holds no numbers; give "
            f"each its one class"
        ) from error


def _of_one_type(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Return an array of Python objects as an array of strings or of numbers."""
    values = array.tolist()
    if all(isinstance(value, str) for value in values):
        _check_lengths(values, where)  # an array gives every string the room of the longest
        return array.astype(str)
    if all(isinstance(value, bytes) for value in values):
        return array.astype(bytes)
    kinds = (str,) if values and isinstance(values[0], str) else (int, float, np.bool_, np.number)
    for row, value in enumerate(values):
        if not isinstance(value, kinds) or isinstance(value, complex | np.complexfloating):
            beside = f" beside {type(values[0]).__name__}" if row else ""
            raise DataError(
                f"labels must be all whole numbers or all strings, but {where} has {shown(value)} of type "
                f"{type(value).__name__}{beside} in row {row}; give every image a class"
            )
    whole = all(isinstance(value, int | np.integer | np.bool_) for value in values)
    try:
        return array.astype(np.int64 if whole else np.float64)
    except (OverflowError, ValueError, TypeError) as error:
        raise DataError(
            f"labels must number the classes, but {where} has label {shown(max(values, key=abs))}; count from 0"
        ) from error


def _is_whole(array: NDArray[Any]) -> bool:
    array = array.astype(np.float64)
    return bool((np.isfinite(array) & (array == np.floor(array)) & (np.abs(array) < _MAX_WHOLE_FLOAT)).all())


def texts(array: NDArray[Any], where: str) -> tuple[str, ...]:
    """Return the strings of an array; bytes are decoded as UTF-8.

    Raises:
        DataError: a string is not valid UTF-8 or holds an invalid character.
    """
    try:
        if array.dtype.kind == "U" and array.size:
            codes = np.ascontiguousarray(array).view(f"{array.dtype.str[0]}u4")
            if codes.max() > sys.maxunicode:
                raise ValueError(f"{codes.max():#x} is no character")
        plain_texts = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        return tuple(str(text) for text in plain_texts.tolist())
    except ValueError as error:
        raise DataError(
            f"strings must be UTF-8, but {where} has some that are not ({reason(error)}); convert them"
        ) from error


def _check_lengths(names: Sequence[str], where: str) -> None:
    longest = max(names, key=len, default="")
    if len(longest) > MAX_NAME:
        raise DataError(
            f"a class name must have at most {MAX_NAME} characters, but {where} has {shown(longest, 40)}; shorten it"
        )


def check_names(names: Sequence[str], where: str) -> None:
    """Raise if a class name cannot be shown; class names are printed, and written into records and pages.

    Raises:
        DataError: a name is blank, has more than 255 characters, or has control characters or characters that UTF-8
            cannot encode.
    """
    _check_lengths(names, where)
    for name in names:
        if not name.strip():
            raise DataError(f"a class name must not be blank, but {where} has {shown(name)}; name the class")
        if any(unicodedata.category(char) in _UNPRINTED for char in name):
            raise DataError(
                f"a class name must be text without control characters, but {where} has {shown(name)}; rename it"
            )


def _what_came(array: NDArray[Any], where: str) -> str:
    if array.dtype.kind == "f":
        odd = ~np.isfinite(array)
        if odd.any():
            return f"{int(odd.sum())} labels of {where} are NaN or infinite, the first in row {int(odd.argmax())}"
        fractional = array != np.floor(array)
        if fractional.any():
            row = int(fractional.argmax())
            return f"{where} has label {array[row]} in row {row}: numbers to predict (regression) are not supported"
        row = int(np.abs(array).argmax())
        return f"{where} has label {array[row]} in row {row}"
    return f"{where} has dtype {shown(array.dtype)}"


def common_classes(parts: Sequence[Examples]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of all parts in the way of the training data.

    Whole numbers without names are classes in ascending order, whatever the numbers are: -1 and 1, or 10, 20 and 30.

    Args:
        parts: the training data, then the other parts.

    Returns:
        The labels of each part, (N,) int64 in 0 ... number of classes - 1, and the class names.

    Raises:
        DataError: the training data have only one class, a class without an image, or two classes of one name; a class
            name cannot be shown; or another part has a class that the training data lack.
    """
    train = parts[0]
    values = np.unique(train.labels)
    num = len(values) if train.class_names is None else len(train.class_names)
    if num > len(train.labels):
        raise DataError(
            f"number of classes <= number of training images must hold, but {train.where} has "
            f"{len(train.labels)} images and {num} class names; leave out those without images"
        )
    for part in parts:
        check_names(part.class_names or (), part.where)
    names = train.class_names or tuple(str(value) for value in values.tolist())
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"class names must be distinct, but {train.where} has {few(twice)} twice; rename one")
    own = train.labels if train.class_names else np.searchsorted(values, train.labels)
    counts = np.bincount(own, minlength=num)
    if np.count_nonzero(counts) < 2:
        only = names[int(counts.argmax())]
        raise DataError(
            f"number of classes >= 2 must hold, but every image of {train.where} has class {shown(only)}; add "
            f"images of another class"
        )
    if (counts == 0).any():
        empty = [names[label] for label in np.flatnonzero(counts == 0)]
        raise DataError(
            f"every class must have training images, but in {train.where} {len(empty)} of {num} have none "
            f"({few(empty)}); add images of them, or leave out the names"
        )
    if train.class_names:
        # If all names are whole numbers, bare labels of other parts are such names; else they are indices of the names.
        are_numbers = all(name.isascii() and name.isdecimal() and str(int(name)) == name for name in names)
        values = np.arange(num)
        parts = [train, *(_named(part) if are_numbers else part for part in parts[1:])]
    return [own, *(_renumber(part, values, names, train.where) for part in parts[1:])], names


def numbering_note(train: Examples) -> list[str]:
    """Return a remark, as a list, if labels are whole numbers other than 0, 1, 2 ...; else an empty list."""
    values = np.unique(train.labels)
    if train.class_names is not None or np.array_equal(values, np.arange(len(values))):
        return []
    return [
        f"Labels are {few(values.tolist())}: {len(values)} classes in this order, which keep these names."
    ]


def _named(part: Examples) -> Examples:
    """Return the examples with the numbers of their classes as class names, if they have no names."""
    if part.class_names is not None:
        return part
    values, labels = np.unique(part.labels, return_inverse=True)
    return replace(part, labels=labels.astype(np.int64), class_names=tuple(map(str, values.tolist())))


def _renumber(
    part: Examples, values: NDArray[np.int64], names: tuple[str, ...], train: str
) -> NDArray[np.int64]:
    """Return the labels of another part in the numbering of the training data.

    Args:
        part: the other part.
        values: labels of the training data, in the order of `names`.
        names: class names of the training data.
        train: name of the training data, for messages.
    """
    if part.class_names is None:
        unknown = ~np.isin(part.labels, values)
        if unknown.any():
            row = int(unknown.argmax())
            is_range = np.array_equal(values, np.arange(len(values)))
            known = f"0 ... {len(values) - 1}" if is_range else few(values.tolist())
            raise DataError(
                f"every class must have training images, but {part.where} has label {part.labels[row]} in row {row} "
                f"and {train} has labels {known}; correct the label or add training images of it"
            )
        return np.searchsorted(values, part.labels)
    missing = sorted({part.class_names[label] for label in np.unique(part.labels)} - set(names))
    if missing:
        raise DataError(
            f"every class must have training images, but {part.where} has classes that {train} lacks ({few(missing)}; "
            f"{train} has {few(list(names))}); rename them or add training images"
        )
    number = {name: index for index, name in enumerate(names)}
    table = np.array([number.get(name, -1) for name in part.class_names], dtype=np.int64)
    renumbered: NDArray[np.int64] = table[part.labels]
    return renumbered
