"""Decoding encoded images to pixels, with a clear message for images that cannot be read.

Pillow decodes: torchvision's own decoders are deprecated, and its PNG decoder ends the process on some damaged files.
The content of a file decides its format, not its name. Only the formats in `FORMATS` are read. They are made for
pictures and run no program; PostScript, for example, would start Ghostscript.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from onepath.data.augment import Fit, Pixels, Size, fit_image
from onepath.data.bounds import check_memory, unfolds_too_far
from onepath.data.depth import Depth, common_depth
from onepath.data.examples import EncodedImages, reason
from onepath.data.image_values import (
    WHITE,
    AnyValues,
    depth,
    has_more_frames,
    is_grey,
    is_transposed,
    read_values,
)
from onepath.errors import DataError

FORMATS = (
    "BMP",
    "GIF",
    "JPEG",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)  # MPO, a file of several JPEGs, is opened as JPEG
MAX_PIXELS = 89_478_485  # Pillow warns above this number, which is 256 MiB of colours
_FREE_BYTES = 2**26
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_CHUNK = 64
_SMALL_BYTES = 16384


class Header(NamedTuple):
    """The properties of an image that are known before it is decoded.

    Attributes:
        height: height of the upright image in pixels.
        width: width of the upright image in pixels.
        is_grey: whether the image has no colours.
        depth: type of its values, see `onepath.data.image_values.depth`.
        is_transparent: whether the image may have transparent pixels.
        has_more_frames: whether the file holds several frames or pages.
        num_bytes: size of the decoded image in bytes.
    """

    height: int
    width: int
    is_grey: bool
    depth: str = "uint8"
    is_transparent: bool = False
    has_more_frames: bool = False
    num_bytes: int = 0


@contextmanager
def _opened(encoded: bytes | Image.Image) -> Iterator[Image.Image]:
    """Yield the opened image; every error of a damaged image becomes a ValueError with a reason."""
    try:
        if isinstance(encoded, bytes):
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                _check_size(image, len(encoded))
                yield image
        else:
            yield encoded
    except UnidentifiedImageError as error:
        assert isinstance(encoded, bytes), "an opened image has been identified"
        raise ValueError(_what_came(encoded)) from error
    except _UNREADABLE as error:
        raise ValueError(reason(error)) from error


def _check_size(image: Image.Image, num_encoded: int) -> None:
    """Raise if a picture would take too much memory when it is decoded."""
    size = f"{image.width}x{image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{size}, more than {MAX_PIXELS:,} in all")
    if unfolds_too_far(num_encoded, _num_decoded(image), _FREE_BYTES):
        raise ValueError(f"{size} in {num_encoded:,} bytes, far more than an ordinary image unfolds to")


def _num_decoded(image: Image.Image) -> int:
    """Return the bytes of a decoded image in its own format, in which a black and white pixel takes one bit."""
    return image.width * image.height * (1 if image.mode == "1" else 8 * len(image.getbands())) // 8


def _what_came(encoded: bytes) -> str:
    """Return why bytes are not an image in one of `FORMATS`; no decoder is run."""
    if not encoded:
        return "empty"
    start = encoded[:16].ljust(16, b"\0")
    if start.startswith(b"%PDF"):
        return _refusal("PDF")
    Image.init()
    for name, (_, accept) in list(Image.OPEN.items()):
        if name not in FORMATS and accept is not None and accept(start) is True:
            return _refusal(name)
    return "not an image"


def _refusal(name: str) -> str:
    return f"its format is {name}, but {', '.join(FORMATS[:-1])} and {FORMATS[-1]} are read"


def header(encoded: bytes | Image.Image) -> Header:
    """Return the size and other properties of an image, without decoding it.

    Raises:
        ValueError: the image has no readable header, or would take too much memory when decoded.
    """
    with _opened(encoded) as image:
        size = (image.width, image.height) if is_transposed(image) else (image.height, image.width)
        return Header(
            *size,
            is_grey(image),
            depth(image),
            image.has_transparency_data,
            has_more_frames(image),
            _num_decoded(image),
        )


def decode(encoded: bytes | Image.Image, background: int = WHITE) -> AnyValues:
    """Decode one image.

    Args:
        encoded: the bytes of an image in one of `FORMATS`, or an opened image.
        background: grey of 0 ... 255 on which transparent pixels are laid.

    Returns:
        (H, W, 1) for grey images and (H, W, 3), red first, for all others; a new array. The image is upright as its
        orientation tag says, the first frame if there are several, in its own depth (uint8, uint16, int32 or float32).

    Raises:
        ValueError: the image is damaged, cut short, of no known format, would take too much memory, or has values that
            are not finite.
    """
    with _opened(encoded) as image:
        if isinstance(encoded, bytes):
            return read_values(image, lambda: Image.open(io.BytesIO(encoded), formats=FORMATS), background)
        return read_values(image, None, background)


def refuse(images: EncodedImages, failures: list[tuple[int, str]], where: str) -> None:
    """Raise if images could not be read.

    Args:
        images: all images, for their number and their descriptions.
        failures: (index, reason) of each image that could not be read; may be empty.
        where: name of the source, for the message.

    Raises:
        DataError: there are failures; the message gives their number and describes the first one.
    """
    if failures:
        index, why = min(failures)
        one = len(failures) == 1
        raise DataError(
            f"every image must be readable, but {len(failures)} of {len(images)} in {where} {'is' if one else 'are'} "
            f"not, the first {images.describe(index)} ({why}); replace or remove {'it' if one else 'them'}"
        )


def decode_all(
    images: EncodedImages,
    where: str,
    size: Size | None = None,
    *,
    fit: Fit = "crop",
    background: int = WHITE,
) -> tuple[Pixels, Depth]:
    """Decode every image into one array.

    Args:
        images: N images to decode.
        where: name of the source, for messages.
        size: height and width that images are resized to, see `fit_image`; None: all images must have one size.
        fit: see `fit_image`.
        background: see `decode`.

    Returns:
        The pixels, (N, H, W, 1) if every image is grey, else (N, H, W, 3), and the depth of their values. The pixels
        are uint8, or float32 if images have more than 8 bits.

    Raises:
        DataError: images cannot be read, have different sizes, have types without a common scale, or would take more
            than half of the memory.
    """
    pixels: Pixels = np.empty((0, 0, 0, 3), np.uint8)
    first = -1
    failures: list[tuple[int, str]] = []
    coloured = False
    types = np.full(len(images), "uint8", dtype="U7")
    for index, image in enumerate(_decoded(images, size, fit, background)):
        if isinstance(image, str):
            failures.append((index, image))
            continue
        types[index], values = image
        if first < 0:
            check_memory(3 * len(images) * math.prod(values.shape[:2]), f"the images of {where}, decoded,")
            first, pixels = index, np.empty((len(images), *values.shape[:2], 3), np.uint8)
        if values.shape[:2] != pixels.shape[1:3]:
            raise DataError(
                f"images must have one size, but in {where} {images.describe(first)} is "
                f"{pixels.shape[2]}x{pixels.shape[1]} and {images.describe(index)} {values.shape[1]}x{values.shape[0]} "
                f"(width x height); give an input size to resize them"
            )
        if values.dtype != np.uint8 and pixels.dtype == np.uint8:
            check_memory(4 * pixels.size, f"the images of {where}, decoded in more than 8 bits,")
            pixels = pixels.astype(np.float32)
        pixels[index] = values
        coloured = coloured or values.shape[2] == 3
    refuse(images, failures, where)
    common = common_depth(types, where)
    if common.factor > 1:
        pixels[types == "uint8"] *= common.factor
    return (pixels if coloured else np.ascontiguousarray(pixels[..., :1])), common


def _decoded(
    images: EncodedImages, size: Size | None, fit: Fit, background: int
) -> Iterator[tuple[str, Pixels] | str]:
    """Yield for each image, in order, its type and its pixels, or the reason why it cannot be read."""

    def attempt(index: int) -> tuple[str, Pixels] | str:
        try:
            values = decode(images.read(index), background)
            pixels: Pixels = values if values.dtype == np.uint8 else values.astype(np.float32)
            return values.dtype.name, pixels if size is None else fit_image(pixels, size, fit)
        except (OSError, ValueError) as error:
            return reason(error)

    # Decoding small images mostly holds the interpreter's lock; more threads would only wait for it.
    if _are_small(images):
        yield from map(attempt, range(len(images)))
        return
    with ThreadPoolExecutor(thread_name_prefix="onepath-decode") as pool:
        for start in range(0, len(images), _CHUNK):
            yield from pool.map(attempt, range(start, min(start + _CHUNK, len(images))))


def _are_small(images: EncodedImages) -> bool:
    try:
        first = images.read(0)
    except (OSError, ValueError):
        return False
    return isinstance(first, bytes) and len(first) < _SMALL_BYTES
