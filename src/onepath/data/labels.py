"""Labels: checked, turned into numbers, and numbered alike in all parts of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.examples import Examples, few
from onepath.errors import DataError


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
        raise DataError(f"labels must be one per image, but {where} has shape {array.shape}; {hint}")
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array):
        array = array.astype(str)
    if array.dtype.kind in "UST":
        names, numbers = np.unique(array.astype(str), return_inverse=True)
        return numbers.astype(np.int64), tuple(str(name) for name in names)
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
    return array.astype(np.int64), class_names


def _what_came(array: NDArray[Any], where: str) -> str:
    if array.dtype.kind == "f":
        odd = ~np.isfinite(array)
        if odd.any():
            return f"{int(odd.sum())} labels of {where} are NaN or infinite, the first in row {int(odd.argmax())}"
        fractional = array != np.floor(array)
        if fractional.any():
            row = int(fractional.argmax())
            return f"{where} has label {array[row]} in row {row}"
    return f"{where} has dtype {array.dtype}"


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
    names = train.class_names or tuple(str(label) for label in range(num))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"class names must be distinct, but {train.where} has {few(twice)} twice; rename one")
    counts = np.bincount(train.labels, minlength=num)
    if np.count_nonzero(counts) < 2:
        only = names[int(counts.argmax())]
        raise DataError(
            f"number of classes >= 2 must hold, but every image of {train.where} has class {only!r}; add images of "
            f"another class"
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
