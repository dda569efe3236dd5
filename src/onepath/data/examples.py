"""Labelled images as a source gives them, before they are split, resized or normalised."""

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
        num: how many.
        read: index -> encoded bytes or an opened image; may raise OSError or ValueError. Called from several threads.
        describe: index -> where the image is, for messages.
        files: their paths, where each is a file of its own.
    """

    num: int
    read: Callable[[int], bytes | Image.Image]
    describe: Callable[[int], str]
    files: Sequence[str] = ()

    def __len__(self) -> int:
        return self.num


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one part of a source, in its order.

    Attributes:
        where: the source, for messages.
        images: (N, H, W, C) uint8 or float32, or images still encoded.
        labels: (N,) int64, 0 or more; indices into `class_names` if there are any.
        class_names: None where the source has bare numbers.
        values: the raw values as they were given; None: bytes, or of encoded images what they turn out to hold.
        kind: images or sequences.
        channels: where an array had its channels; None: it had no such axis, or the images are encoded.
        notes: remarks for the user, one sentence each.
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
    """All that was found under one name or path.

    Attributes:
        name: short name, for records.
        train: the training data, or all data where there is only one part.
        validation: its own validation set, if it has one.
        test: its own test set, if it has one.
        notes: remarks for the user, one sentence each.
    """

    name: str
    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    notes: tuple[str, ...] = ()


def shows_characters(source: Source) -> bool:
    """Whether the images are digits, letters or signs, as far as names tell: their mirror images mean something else.

    True if the source's name contains a word such as "mnist" or "digit" (but not "fashion"), or if every class name
    that the source itself gives is a single character.
    """
    name = source.name.lower().replace("-", "").replace("_", "")
    if "fashion" not in name and any(word in name for word in _CHARACTER_WORDS):
        return True
    names = source.train.class_names
    return names is not None and all(len(class_name) == 1 for class_name in names)


def few(names: Sequence[object], limit: int = 10, most: int = 200) -> str:
    """The first names, text quoted and cut, and how many more there are."""
    some: list[str] = []
    for name in names[:limit]:
        some.append(shown(name, 40))
        if sum(map(len, some)) > most:
            break
    text = ", ".join(some)
    return text if len(names) == len(some) else f"{text} and {len(names) - len(some):,} more"


def reason(error: BaseException) -> str:
    """The first line of an error's text, cut and without the path, or its type where it has none."""
    text = ((isinstance(error, OSError) and error.strerror) or str(error)).strip()
    return plain(text.splitlines()[0][:120], 120) if text else type(error).__name__
