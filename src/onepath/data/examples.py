"""Labelled images as they are read from a source, before they are split, resized or normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onepath.data.augment import Pixels
from onepath.data.layout import Axis, Kind
from onepath.data.scale import Values
from onepath.errors import DataError, plain, shown

_CHARACTER_WORDS = (
    "mnist",
    "digit",
    "svhn",
    "usps",
    "semeion",
    "omniglot",
    "letter",
    "character",
    "gtsrb",
    "sst2",
)


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Images that are read one by one: files, or encoded bytes in memory.

    Attributes:
        num: number of images.
        read: function from an index to encoded bytes or an opened image; may raise OSError or ValueError. It is called
            from several threads.
        describe: function from an index to a text that says where the image is, for messages.
        files: paths of the images if each one is a file, else empty.
    """

    num: int
    read: Callable[[int], bytes | Image.Image]
    describe: Callable[[int], str]
    files: Sequence[str] = ()

    def __len__(self) -> int:
        return self.num


@dataclass(frozen=True, eq=False)
class Examples:
    """Images or sequences and their labels of one part of a source, such as its test set, in the source's order.

    Attributes:
        where: name of the source, for messages.
        images: (N, H, W, C) uint8 or float32, or images that are still encoded; sequences are (N, 1, T, C).
        labels: (N,) int64; indices into `class_names`, or without them the whole numbers that the source has, which may
            be negative.
        class_names: one name per class; None if the labels of the source are bare numbers.
        values: range and type of the raw values as they were given; None: they are taken from `images`.
        kind: whether the examples are images or sequences.
        channels: where an array had its channels; None if it had no such axis or the images are encoded.
        notes: remarks for the user, one sentence each.

    Raises:
        DataError: there is no image, or not one label per image.
    """

    where: str
    images: Pixels | EncodedImages
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None = None
    values: Values | None = None
    kind: Kind = "images"
    channels: Axis | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(
                f"number of images == number of labels must hold, but {self.where} has {len(self.images)} images "
                f"and {len(self.labels)} labels; give one label per image"
            )
        if len(self.labels) == 0:
            raise DataError(f"number of images >= 1 must hold, but {self.where} has none; check the path")


@dataclass(frozen=True, eq=False)
class Source:
    """All data that were found under one name or path.

    Attributes:
        name: short name for records.
        train: the training data, or all data if the source has only one part.
        validation: the source's own validation set; None if it has none.
        test: the source's own test set; None if it has none.
        notes: remarks for the user, one sentence each.
    """

    name: str
    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    notes: tuple[str, ...] = ()


def shows_characters(source: Source) -> bool:
    """Return whether, judging by names, the images show digits, letters or signs, which must not be mirrored.

    True if the name of the source contains a word such as "mnist" or "digit" (but not "fashion"), or if the source has
    class names and each one is a single character.
    """
    name = source.name.lower().replace("-", "").replace("_", "")
    if "fashion" not in name and any(word in name for word in _CHARACTER_WORDS):
        return True
    names = source.train.class_names
    return names is not None and all(len(class_name) == 1 for class_name in names)


def few(names: Sequence[object], limit: int = 10, most: int = 200) -> str:
    """Return the first names as one text, and how many more there are.

    Args:
        names: names to list; texts are quoted, and each name is shortened to 40 characters.
        limit: number of names that are listed at most.
        most: number of characters after which no further name is listed.
    """
    some: list[str] = []
    for name in names[:limit]:
        some.append(shown(name, 40))
        if sum(map(len, some)) > most:
            break
    text = ", ".join(some)
    return text if len(names) == len(some) else f"{text} and {len(names) - len(some):,} more"


def reason(error: BaseException) -> str:
    """Return the first line of an error's text, shortened and without the path, or its type if it has no text."""
    text = ((isinstance(error, OSError) and error.strerror) or str(error)).strip()
    return plain(text.splitlines()[0][:120], 120) if text else type(error).__name__
