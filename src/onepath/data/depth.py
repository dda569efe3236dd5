"""The depth (8 bits, 16 bits, ...) of encoded images, and a common range for images of different depths."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onepath.data.augment import Pixels
from onepath.data.image_values import AnyValues
from onepath.errors import DataError

_NAMES = {"uint8": "8 bits", "uint16": "16 bits", "int32": "32-bit integers", "float32": "floats"}


class Depth(NamedTuple):
    """The types of the values of a set of images, and how they are brought to one range.

    Attributes:
        types: the types that occur, sorted by name, of "uint8", "uint16", "int32" and "float32".
        factor: number that values of 8 bits are multiplied by.
    """

    types: tuple[str, ...]
    factor: int = 1

    @property
    def full_scale(self) -> float | None:
        """The value that counts as 1 in the common range by the images' formats; None if the formats define none."""
        known = {("uint8",): 255.0, ("uint16",): 65535.0, ("uint16", "uint8"): 65535.0}
        return known.get(self.types)

    @property
    def is_deep(self) -> bool:
        """Whether values need more than 8 bits, so that pixels are kept as float32."""
        return self.types != ("uint8",)

    def of(self, values: AnyValues) -> Pixels:
        """Return the values of one image in the common range: float32 if `is_deep`, else the same array.

        Raises:
            ValueError: the image's type is not among `types` and has no common range with them.
        """
        name = values.dtype.name
        if name not in self.types and not (name == "uint8" and self.factor > 1):
            others = " or ".join(_NAMES[kind] for kind in self.types)
            raise ValueError(f"it has {_NAMES[name]}, the others {others}")
        if not self.is_deep:
            return values
        floats: NDArray[np.float32] = values.astype(np.float32)
        return floats * np.float32(self.factor) if name == "uint8" else floats

    def __str__(self) -> str:
        return " and ".join(_NAMES[kind] for kind in self.types)


EIGHT_BITS = Depth(("uint8",))


def common_depth(types: NDArray[np.str_], where: str) -> Depth:
    """Return the common depth of images of the given types.

    If images of 8 and of 16 bits occur, values of 8 bits are multiplied by 257, so that white has the same value in
    both.

    Args:
        types: type of the values of each image, (N,), as `Header.depth`.
        where: name of the source, for the message.

    Raises:
        DataError: the types have no common range, such as bytes and floats, whose range no format fixes.
    """
    names, counts = np.unique(types, return_counts=True)
    found = tuple(str(name) for name in names)
    if found in (("uint16", "uint8"), ("int32", "uint16")) or len(found) == 1:
        return Depth(found, 257 if found == ("uint16", "uint8") else 1)
    came = " and ".join(
        f"{count:,} of {_NAMES[name]}" for name, count in zip(found, counts.tolist(), strict=True)
    )
    raise DataError(f"images must have values of one scale, but {where} has {came}; convert them to one type")
