"""Labels: checked, turned into numbers, and numbered alike in all parts of the data."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.examples import Examples, few, reason
from onepath.errors import DataError, shown

MAX_NAME = 255  # characters of a class name, as in a file system
_MAX_LABEL = 2**62
_UNPRINTED = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of a character, ends of a line


def encode_labels(
    labels: NDArray[Any], where: str, class_names: tuple[str, ...] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Check labels and turn strings into numbers.

    Args:
        labels: (N,) or (N, 1) integers, or strings.
        where: the source, for messages.
        class_names: names that integer labels index, where they are known.

    Returns:
        (N,) int64 and the class names: for strings the distinct ones in sorted order, for integers as given.

    Raises:
        DataError: labels that are missing, not integers, negative, or beyond the class names.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = "turn one-hot rows into numbers with argmax" if array.ndim == 2 else "flatten them"
        raise DataError(f"labels must be one per image, but {where} has shape {shown(array.shape)}; {hint}")
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array):
        _check_lengths(array.tolist(), where)  # an array of strings takes the longest one's room for each
        array = array.astype(str)
    if array.dtype.kind in "UST":
        names, numbers = np.unique(array, return_inverse=True)
        return numbers.astype(np.int64), texts(names, where)
    if array.dtype.kind not in "iu":
        raise DataError(
            f"labels must be integers or strings, but {_what_came(array, where)}; give every image a class"
        )
    if array.size and array.min() < 0:
        row = int(array.argmin())
        raise DataError(
            f"label >= 0 must hold, but {where} has label {array[row]} in row {row}; leave unlabelled images out"
        )
    if class_names is not None and array.size and array.max() >= len(class_names):
        row = int(array.argmax())
        raise DataError(
            f"label < number of class names must hold, but {where} has label {array[row]} in row {row} and "
            f"{len(class_names)} class names; correct the label or the names"
        )
    if array.size and array.max() > _MAX_LABEL:
        row = int(array.argmax())
        raise DataError(
            f"labels must number the classes from 0, but {where} has label {array[row]} in row {row}; number them anew"
        )
    return array.astype(np.int64), class_names


def texts(array: NDArray[Any], where: str) -> tuple[str, ...]:
    """Strings of an array; bytes are taken as UTF-8.

    Raises:
        DataError: they are not.
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
    """Refuse class names that cannot be shown: they are printed, and written into records and pages.

    Raises:
        DataError: one is blank, too long, or has control characters or characters that UTF-8 has not.
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
            return f"{where} has label {array[row]} in row {row}"
    return f"{where} has dtype {shown(array.dtype)}"


def common_classes(parts: Sequence[Examples]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of several parts as the first one, the training data, does.

    Returns:
        The labels of each part, int64, and the class names.

    Raises:
        DataError: the training data have one class, or a class without an image; or another part has a class that they
            lack.
    """
    train = parts[0]
    num = len(train.class_names) if train.class_names is not None else int(train.labels.max()) + 1
    if num > len(train.labels):
        # Also keeps a stray label of 10**12 from asking for that much memory below.
        raise DataError(
            f"number of classes <= number of training images must hold, but {train.where} has "
            f"{len(train.labels)} images and its labels or class names say {num} classes; number the classes from 0 "
            f"without gaps"
        )
    for part in parts:
        check_names(part.class_names or (), part.where)
    names = train.class_names or tuple(str(label) for label in range(num))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"class names must be distinct, but {train.where} has {few(twice)} twice; rename one")
    counts = np.bincount(train.labels, minlength=num)
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
            f"({few(empty)}); add images of them, or number the classes from 0 without gaps"
        )
    return [train.labels, *(_renumber(part, names, train.where) for part in parts[1:])], names


def _renumber(part: Examples, names: tuple[str, ...], train: str) -> NDArray[np.int64]:
    if part.class_names is None:
        unknown = part.labels >= len(names)
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"every class must have training images, but {part.where} has label {part.labels[row]} in row {row} "
                f"and {train} has labels 0 ... {len(names) - 1}; correct the label or add training images of it"
            )
        return part.labels
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
