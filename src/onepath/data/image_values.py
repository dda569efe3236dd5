"""Reading the values of an opened image as a viewer shows them: upright, in full depth, on a background.

Pillow alone does not give these values: it turns 16 bits of several channels into 8, leaves the orientation tag of most
formats to its caller, and keeps invisible colours under transparent pixels.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE, BLACK, GREY = 255, 0, 128
AnyValues = NDArray[Any]
"""An array (H, W, C) of type uint8, uint16, int32 or float32."""

_GREY_MODES = ("1", "L", "LA", "La", "I", "F")
_ORIENTATION = 0x0112
_ORIENTATION_SOURCES = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_TURNED: dict[int, Callable[[AnyValues], AnyValues]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_DEEP = tuple(f"{channels};16{order}" for channels in ("RGB", "RGBX", "RGBA") for order in "BLN")
_DEEP_GREY = "LA;16B"
_BAD_TAG = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    ArithmeticError,
    AttributeError,
    Warning,  # raised if the user turns warnings into errors
    struct.error,
)


def is_grey(image: Image.Image) -> bool:
    """Return whether an image has no colours, judging by its mode."""
    return image.mode in _GREY_MODES or image.mode.startswith("I;16") or _raw_mode(image) == _DEEP_GREY


def depth(image: Image.Image) -> str:
    """Return the type of the values of an image that is not decoded yet: "uint8", "uint16", "int32" or "float32"."""
    if image.mode.startswith("I;16") or _raw_mode(image) in (*_DEEP, _DEEP_GREY):
        return "uint16"
    if image.mode == "I":
        # Pillow converts a grey picture of more than 8 bits in a PPM file to 16 bits.
        return "uint16" if image.format == "PPM" else "int32"
    return "float32" if image.mode == "F" else "uint8"


def is_transposed(image: Image.Image) -> bool:
    """Return whether an image that is not decoded yet must exchange height and width to be upright."""
    # For a TIFF, Pillow reports the upright size and turns the image itself.
    return image.format != "TIFF" and _orientation(image) >= 5


def has_more_frames(image: Image.Image) -> bool:
    """Return whether a file holds several frames or pages; the previews that cameras add do not count."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except _BAD_TAG:
        return False


def read_values(
    image: Image.Image, reopen: Callable[[], Image.Image] | None = None, background: int = WHITE
) -> AnyValues:
    """Decode an opened image; if it has several frames, the first one.

    Args:
        image: an opened image. An image that is decoded already may have lost its full depth.
        reopen: function that opens the same image once more. Without it, values of 16 bits in several channels are
            reduced to 8 bits.
        background: grey of 0 ... 255 that shows through transparent pixels.

    Returns:
        (H, W, 1) for grey images, (H, W, 3), red first, for all others; a new array, upright.

    Raises:
        ValueError: pixels are NaN or infinite.
    """
    raw = _raw_mode(image)
    if raw == _DEEP_GREY:
        found = _deep_grey(image, background)
    elif raw in _DEEP and reopen is not None:
        found = _deep(image, raw, reopen, background)
    elif image.mode in ("I", "F") or image.mode.startswith("I;16"):
        found = _numbers(image, background)
    elif image.has_transparency_data:
        channels = np.asarray(image.convert("LA" if is_grey(image) else "RGBA"))
        found = _laid(channels, background, 255)
    elif is_grey(image):
        found = np.asarray(image if image.mode == "L" else image.convert("L"))[..., None]
    else:
        found = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    turn = _TURNED.get(_orientation(image))
    return np.array(found if turn is None else turn(found))


def _numbers(image: Image.Image, background: int) -> AnyValues:
    """Return grey values of more than 8 bits; a PNG may declare one value to be transparent."""
    kind = depth(image)
    values = np.asarray(image).astype(
        np.uint16 if kind == "uint16" else np.int32 if kind == "int32" else np.float32
    )
    if kind == "float32" and not np.isfinite(values).all():
        raise ValueError("it has pixels that are NaN or infinite")
    hidden = image.info.get("transparency")
    if kind == "uint16" and isinstance(hidden, int):
        values[values == hidden] = background * 257
    return values[..., None]


def _deep(image: Image.Image, raw: str, reopen: Callable[[], Image.Image], background: int) -> AnyValues:
    """Return values of 16 bits in several channels.

    Pillow keeps only the upper byte of each value. Told the opposite byte order, it keeps the lower byte instead, so
    the image is read twice.
    """
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[raw[-1]]
    lower = reopen()
    _read_as(lower, raw[:-1] + other)
    both = np.asarray(image).astype(np.uint16) * np.uint16(256) + np.asarray(lower)
    if raw.startswith("RGBA"):
        return _laid(both, background * 257, 65535)
    hidden = image.info.get("transparency")
    if isinstance(hidden, tuple):
        both[(both == np.array(hidden)).all(axis=-1)] = background * 257
    colours: AnyValues = both[..., :3]
    return colours


def _deep_grey(image: Image.Image, background: int) -> AnyValues:
    """Return values of 16 bits of grey with transparency, read as four channels of one byte."""
    _read_as(image, "RGBA")
    four = np.asarray(image).astype(np.uint16)
    return _laid(four[..., ::2] * np.uint16(256) + four[..., 1::2], background * 257, 65535)


def _laid(channels: AnyValues, background: int, opaque: int) -> AnyValues:
    """Lay colours on a background: from (H, W, C + 1) with the opacity last to (H, W, C)."""
    colours, alpha = channels[..., :-1], channels[..., -1:].astype(np.int64)
    if (alpha == opaque).all():
        return colours
    mixed = (colours * alpha + background * (opaque - alpha) + opaque // 2) // opaque
    laid: AnyValues = mixed.astype(channels.dtype)
    return laid


def _orientation(image: Image.Image) -> int:
    """Return the orientation tag, 1 ... 8; 1 if the image has no tag that can be read."""
    if image.format != "TIFF" and not any(name in image.info for name in _ORIENTATION_SOURCES):
        return 1
    try:
        # The getexif of PNG images is avoided: it decodes the image to find a tag behind the pixels.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except _BAD_TAG:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the arrangement of the values in the file; "" for an image that is decoded already."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _read_as(image: Image.Image, raw: str) -> None:
    """Make Pillow read a file that is not decoded yet as if its values were arranged as `raw`."""
    tiles: Any = getattr(image, "tile", [])
    for number, tile in enumerate(tiles):
        rest = tile[3][1:] if isinstance(tile[3], tuple) else None
        tiles[number] = type(tile)(*tile[:3], raw if rest is None else (raw, *rest))
