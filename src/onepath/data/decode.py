"""Encoded images to pixels, and a clear message for those that cannot be read.

Pillow decodes: torchvision's own decoders are deprecated, and its PNG decoder ends the process on some damaged files.
"""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onepath.data.augment import resize_and_centre
from onepath.data.examples import EncodedImages
from onepath.errors import DataError

_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    IndexError,
    Image.DecompressionBombError,
)
_CHUNK = 256
_SMALL_BYTES = 16384


def decode(encoded: bytes | Image.Image) -> NDArray[np.uint8]:
    """Decode one image.

    Args:
        encoded: the bytes of a JPEG, PNG or any other format that Pillow reads, or an opened image.

    Returns:
        (H, W, 1) for grey images and (H, W, 3), red first, for all others. 16-bit greys keep their upper 8 bits,
        transparency is dropped, the first frame of a film is taken, the orientation tag is ignored.

    Raises:
        ValueError: the image is damaged, cut short, or of no known format.
    """
    try:
        if isinstance(encoded, bytes):
            with Image.open(io.BytesIO(encoded)) as image:
                return _pixels(image)
        return _pixels(encoded)
    except _UNREADABLE as error:
        raise ValueError(_reason(error)) from error


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I;16", "I")):
        return (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)[..., None]
    if image.mode in ("L", "1"):
        return np.array(image.convert("L"))[..., None]
    if image.mode == "LA":
        return np.array(image)[..., :1].copy()
    return np.array(image.convert("RGB"))


def header(encoded: bytes | Image.Image) -> tuple[int, int]:
    """(height, width) without decoding.

    Raises:
        ValueError: the image has no readable header.
    """
    try:
        if isinstance(encoded, bytes):
            with Image.open(io.BytesIO(encoded)) as image:
                return image.height, image.width
        return encoded.height, encoded.width
    except _UNREADABLE as error:
        raise ValueError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def refuse(images: EncodedImages, failures: list[tuple[int, str]], where: str) -> None:
    """Raise if there are failures, with their number and the first.

    Raises:
        DataError: there are.
    """
    if failures:
        index, reason = min(failures)
        raise DataError(
            f"every image must be readable, but {len(failures)} of {len(images)} in {where} "
            f"{'is' if len(failures) == 1 else 'are'} not, the first {images.describe(index)} ({reason}); "
            f"replace or remove {'it' if len(failures) == 1 else 'them'}"
        )


def decode_all(images: EncodedImages, where: str, size: int | None = None) -> NDArray[np.uint8]:
    """Decode every image into one array.

    Args:
        images: what to decode.
        where: the source, for messages.
        size: resize and centre to (size, size); None: all images must have one size.

    Returns:
        (N, H, W, 1) if every image is grey, else (N, H, W, 3).

    Raises:
        DataError: images that cannot be read, or of different sizes.
    """
    shape = (size, size) if size is not None else None
    pixels: NDArray[np.uint8] | None = None
    failures: list[tuple[int, str]] = []
    coloured = False

    def decode_chunk(start: int) -> list[NDArray[np.uint8] | str]:
        return [_attempt(images, index, shape) for index in range(start, min(start + _CHUNK, len(images)))]

    # Small images spend most of their time under the interpreter's lock; a second thread would only contend for it.
    with ThreadPoolExecutor(1 if _are_small(images) else 2) as pool:
        starts = range(0, len(images), _CHUNK)
        for start, chunk in zip(starts, pool.map(decode_chunk, starts), strict=True):
            for index, image in enumerate(chunk, start):
                if isinstance(image, str):
                    failures.append((index, image))
                    continue
                if pixels is None:
                    first, pixels = index, np.empty((len(images), *image.shape[:2], 3), np.uint8)
                if image.shape[:2] != pixels.shape[1:3]:
                    raise DataError(
                        f"images must have one size, but in {where} {images.describe(first)} has "
                        f"{pixels.shape[1]}x{pixels.shape[2]} and {images.describe(index)} {image.shape[0]}x{image.shape[1]} "
                        f"(height x width); give input_size to resize them"
                    )
                pixels[index] = image
                coloured = coloured or image.shape[2] == 3
    refuse(images, failures, where)
    assert pixels is not None
    return pixels if coloured else np.ascontiguousarray(pixels[..., :1])


def _are_small(images: EncodedImages) -> bool:
    first = images.read(0)
    return isinstance(first, bytes) and len(first) < _SMALL_BYTES


def _attempt(images: EncodedImages, index: int, shape: tuple[int, int] | None) -> NDArray[np.uint8] | str:
    try:
        image = decode(images.read(index))
    except _UNREADABLE as error:
        return _reason(error)
    if shape is None:
        return image
    resized = resize_and_centre(image, *shape)
    assert resized.dtype == np.uint8
    return resized  # type: ignore[return-value]
