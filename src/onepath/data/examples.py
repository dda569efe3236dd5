"""Labelled images as a source gives them, before they are split, resized or normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onepath.data.augment import Pixels
from onepath.errors import DataError


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Images that are read one by one: files, or encoded bytes in memory.

    Attributes:
        num: how many.
        read: index -> encoded bytes or an opened image; may raise OSError.
        describe: index -> where the image is, for messages.
    """

    num: int
    read: Callable[[int], bytes | Image.Image]
    describe: Callable[[int], str]

    def __len__(self) -> int:
        return self.num


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one source, in its order.

    Attributes:
        where: the source, for messages.
        images: (N, H, W, C) uint8 or float32, or images still encoded.
        labels: (N,) int64, 0 or more; indices into `class_names` if there are any.
        class_names: None where the source has bare numbers.
    """

    where: str
    images: Pixels | EncodedImages
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(
                f"number of images == number of labels must hold, but {self.where} has {len(self.images)} images and "
                f"{len(self.labels)} labels; give one label per image"
            )
        if len(self.labels) == 0:
            raise DataError(f"at least one image must be there, but {self.where} has none; check the path")


@dataclass(frozen=True, eq=False)
class Source:
    """All that was found under one name or path.

    Attributes:
        name: short name, for records.
        train: the training data, or all data where there is only one part.
        validation: its own validation split, if it has one.
        test: its own test split, if it has one.
        has_characters: the images show digits or letters, so that mirrored ones mean something else.
        full_scale: the raw value that counts as 1.
        notes: remarks for the user, one sentence each.
    """

    name: str
    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    has_characters: bool = False
    full_scale: float = 255.0
    notes: tuple[str, ...] = ()


def encode_labels(
    labels: NDArray[np.generic] | Sequence[object], where: str, class_names: tuple[str, ...] | None = None
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
        raise DataError(
            f"labels must be one number per image, but those of {where} have shape {array.shape}; {hint}"
        )
    if array.dtype.kind in "UST":
        names, numbers = np.unique(array.astype(str), return_inverse=True)
        return numbers.astype(np.int64), tuple(str(name) for name in names)
    if array.dtype.kind not in "iu":
        if array.dtype.kind == "f" and np.isnan(array).any():
            came = f"{int(np.isnan(array).sum())} of the labels of {where} are NaN"
        else:
            came = f"those of {where} have dtype {array.dtype}"
        raise DataError(f"labels must be integers or strings, but {came}; give every image a class")
    if array.size and array.min() < 0:
        row = int(array.argmin())
        raise DataError(
            f"labels must be 0 or more, but {where} has label {array[row]} in row {row}; leave unlabelled images out"
        )
    if class_names is not None and array.size and array.max() >= len(class_names):
        row = int(array.argmax())
        raise DataError(
            f"label < number of class names must hold, but {where} has label {array[row]} in row {row} and "
            f"{len(class_names)} class names; correct the label or the names"
        )
    return array.astype(np.int64), class_names


def common_classes(parts: Sequence[Examples]) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Number the classes of several parts as the first one, the training data, does.

    Returns:
        The labels of each part, int64, and the class names.

    Raises:
        DataError: the training data have one class, or a class without an image, or another part has a class that they
            do not have, or one part has class names and another bare numbers.
    """
    train = parts[0]
    num = len(train.class_names) if train.class_names is not None else int(train.labels.max()) + 1
    names = train.class_names or tuple(str(label) for label in range(num))
    if len(set(names)) < len(names):
        raise DataError(
            f"class names must be distinct, but {train.where} has {_few(list(names))}; rename one"
        )
    counts = np.bincount(train.labels, minlength=num)
    if np.count_nonzero(counts) < 2:
        only = names[int(counts.argmax())]
        raise DataError(
            f"number of classes >= 2 must hold, but every image of {train.where} has class {only}; add images of "
            f"another class"
        )
    if (counts == 0).any():
        empty = [names[label] for label in np.flatnonzero(counts == 0)]
        raise DataError(
            f"every class from 0 to {num - 1} must have training images, but in {train.where} {len(empty)} have none "
            f"({_few(empty)}); add images, or number the classes without gaps"
        )
    labels = [train.labels]
    for part in parts[1:]:
        labels.append(_renumber(part, names, train))
    return labels, names


def _renumber(part: Examples, names: tuple[str, ...], train: Examples) -> NDArray[np.int64]:
    if part.class_names is None:
        unknown = part.labels >= len(names)
        if unknown.any():
            row = int(unknown.argmax())
            raise DataError(
                f"label < number of training classes must hold, but {part.where} has label {part.labels[row]} in row {row} "
                f"and {train.where} has {len(names)} classes; correct the label or add training images of it"
            )
        return part.labels
    present = [part.class_names[label] for label in np.unique(part.labels)]
    missing = sorted(set(present) - set(names))
    if missing:
        raise DataError(
            f"every class must have training images, but {part.where} has classes that {train.where} lacks "
            f"({_few(missing)}); known are {_few(list(names))}"
        )
    number = {name: index for index, name in enumerate(names)}
    table = np.array([number.get(name, -1) for name in part.class_names], dtype=np.int64)
    renumbered: NDArray[np.int64] = table[part.labels]
    return renumbered


def _few(names: list[str], limit: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
