"""Finding the raw value that counts as 1, and bringing all parts of the data to one scale.

Images come as bytes (0 ... 255), as floats of 0 ... 1, as floats that hold bytes, in 10, 12 or 16 bits, or in the
units of a sensor. A network does not see the unit, because inputs are normalised, but the unit must be the same in all
parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onepath.errors import DataError

_SAMPLED = 10**6
_BYTE, _BRIGHT = 255, 127  # floats up to 255 are bytes if the brightest one is above the middle
_APART = 8.0  # the brightest pixels of two parts in one unit differ by less than this factor
_STANDARDISED = 20.0


@dataclass(frozen=True)
class Values:
    """The type and the range of the raw values of some images.

    Attributes:
        kind: type of the values before any conversion; "integer" is every integer type but uint8.
        low: the smallest value.
        high: the largest value.
        is_whole: whether all values are whole numbers; for floats, whether those of a sample are.
        full_scale: the value that counts as 1; None if the source does not define it.
        dtype: name of the integer type; "" for other types or if it is not known.
    """

    kind: Literal["bool", "uint8", "integer", "float"]
    low: float
    high: float
    is_whole: bool = True
    full_scale: float | None = None
    dtype: str = ""

    @property
    def unit(self) -> float | None:
        """The value that counts as 1: `full_scale`, or by convention 255 or 1; None if there is no convention."""
        if self.full_scale is not None:
            return self.full_scale
        if self.kind == "bool" or (self.low >= 0 and self.high <= 1):
            return 1.0
        if self.kind == "uint8":
            return float(_BYTE)
        if self.low >= 0 and self.high <= _BYTE and (self.kind == "integer" or self.high > _BRIGHT):
            return float(_BYTE)
        return None

    @property
    def scale(self) -> float:
        """The value that counts as 1: `unit`, or without a unit the largest magnitude for integers and 1 for floats."""
        if self.unit is not None:
            return 255.0 if self.kind == "uint8" and self.full_scale is None else self.unit
        return self.most if self.kind == "integer" else 1.0

    @property
    def most(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        name = {"bool": "truth values", "uint8": "bytes", "integer": "integers", "float": "floats"}[self.kind]
        return f"{name} {_number(self.low)} ... {_number(self.high)}"


def values_of(array: NDArray[Any]) -> Values:
    """Return the type and the range of an array of whole numbers, floats or truth values; NaN values are ignored."""
    if array.dtype.kind == "b":
        return Values("bool", 0.0, 1.0)
    if array.dtype.kind in "iu":
        least, most = (int(array.min()), int(array.max())) if array.size else (0, 0)
        known = 65535.0 if array.dtype == np.uint16 and most > _BYTE else None
        kind: Literal["uint8", "integer"] = "uint8" if array.dtype == np.uint8 else "integer"
        return Values(kind, float(least), float(most), full_scale=known, dtype=array.dtype.name)
    low, high = (float(limit.reduce(array, axis=None)) if array.size else 0.0 for limit in (np.fmin, np.fmax))
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLED)]
    return Values("float", low, high, is_whole=bool((sample == np.floor(sample)).all()))


def common_scales(values: Sequence[Values], wheres: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return the raw value that counts as 1 in each part, such that all parts have the scale of the training data.

    Parts of one type keep their values as they are, except that floats of 0 ... 1 and floats that hold bytes are
    brought to one scale. Parts of different types are brought to one scale if both follow a convention: 255 for bytes,
    also as floats; 1 for floats of 0 ... 1; 65535 for 16 bits.

    Args:
        values: type and range of each part's values, the training data first.
        wheres: names of the parts, for messages.

    Returns:
        The value that counts as 1 in each part, and remarks for the user.

    Raises:
        DataError: a part has another scale than the training data, and nothing tells which; the message gives both
            ranges.
    """
    train = values[0]
    scales, notes = [train.scale], []
    for part, where in zip(values[1:], wheres[1:], strict=True):
        scale = _scale_as(train, part)
        if scale is None:
            raise DataError(
                f"training and test images must have one scale, but {wheres[0]} holds {train} and {where} holds "
                f"{part}; convert one, so that a value means the same in both"
            )
        if scale != train.scale:
            notes.append(
                f"Two scales are brought to one: {_number(scale)} of {where} ({part}) counts as {_number(train.scale)} "
                f"of {wheres[0]} ({train})."
            )
        scales.append(scale)
    return scales, notes


def _scale_as(train: Values, part: Values) -> float | None:
    """Return the value of a part that counts as 1 in the scale of the training data; None if it cannot be told."""
    if train.kind == part.kind == "float":
        return _scale_of_floats(train, part)
    if train.kind == part.kind and (train.kind != "integer" or _have_one_unit(train, part)):
        return train.scale
    if train.unit is not None and part.unit is not None:
        # The types alone prove nothing: values of 12 bits stored as 16 would appear 16 times darker than bytes.
        scale = train.scale * part.unit / train.unit
        if part.high <= 0 or train.high <= 0 or 1 / _APART <= _relative(train, part) <= _APART:
            return scale
    follows_none = part.unit is None or train.unit is None or part.unit != train.unit
    fits_bytes = "uint8" not in (part.kind, train.kind) or max(part.most, train.most) <= _BYTE
    if part.is_whole and train.is_whole and follows_none and fits_bytes and train.most > 0:
        # Whole numbers of about the same range have the same unit.
        return train.scale if 1 / _APART <= part.most / train.most <= _APART else None
    return None


def _have_one_unit(train: Values, part: Values) -> bool:
    """Return whether integers have one unit: their types, ranges or units agree, or one of them has no unit."""
    is_near = train.most == 0 or part.most == 0 or 1 / _APART <= part.most / train.most <= _APART
    return train.dtype == part.dtype or is_near or None in (train.unit, part.unit) or train.unit == part.unit


def _relative(train: Values, part: Values) -> float:
    assert train.unit is not None
    assert part.unit is not None
    return (part.high / part.unit) / (train.high / train.unit)


def _scale_of_floats(train: Values, part: Values) -> float | None:
    """Return the value of a part of floats that counts as 1, if the training data are floats too.

    Floats keep their values, unless one part is in 0 ... 1 and the other holds bytes. If one part holds bytes and the
    other is standardised, the scale cannot be told, and None is returned.
    """
    units = {train.unit, part.unit}
    if units == {1.0, 255.0}:
        return part.unit
    for one, other in ((train, part), (part, train)):
        is_bytes = one.unit == _BYTE
        if is_bytes and other.low < 0 and other.most <= _STANDARDISED:
            return None
    return train.scale


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
