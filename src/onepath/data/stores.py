"""Which images are kept decoded in memory, which are decoded when needed, and at which size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from onepath.data.augment import Pixels, resize_and_centre
from onepath.data.bounds import check_memory, check_unfolding, fits_memory
from onepath.data.decode import Header, decode_all, inspect, refuse
from onepath.data.examples import EncodedImages, Examples, reason
from onepath.data.pixels import FileImages, ImageStore, MemoryImages, with_channels
from onepath.errors import DataError

SMALL_SIDE = 64
MEMORY_SIDE = 128
MEMORY_BYTES = 2**31
DEFAULT_SIDE = 224
MAX_INPUT_SIZE = 4096  # a batch of 16 takes 3 GiB as floats
# Pictures of a few plain colours unfold far too, but are not large as well; to decode 4 GiB takes some 10 seconds.
_LARGE_BYTES = 2**22
_FREE_BYTES = 2**32
_SAMPLE = 512
_MAX_HEADERS = 20_000


class Plan(NamedTuple):
    """How encoded images are kept.

    Attributes:
        in_memory: decoded once, or whenever they are needed.
        size: side of the square that they are resized to; None: as they are.
        channels: 1 or 3 for images that are decoded when needed.
    """

    in_memory: bool
    size: int | None
    channels: int


def make_stores(
    parts: Sequence[Examples], input_size: int | None, in_memory: bool | None, num_workers: int | None
) -> tuple[list[ImageStore], list[str]]:
    """Put the images of every part where batches can be made of them.

    Args:
        parts: the training data first; its images decide on size, channels and place for all.
        input_size: see `load_data`.
        in_memory: see `load_data`.
        num_workers: see `load_data`.

    Returns:
        One store per part, all of one shape, and remarks for the user.

    Raises:
        DataError: images that cannot be read, or whose size or channels differ.
    """
    workers = min(8, os.cpu_count() or 1) if num_workers is None else num_workers
    notes: list[str] = []
    train = parts[0]
    if isinstance(train.images, EncodedImages):
        plan = _plan(train, sum(len(part.labels) for part in parts), input_size, in_memory)
        if plan.size is not None and input_size is None:
            notes.append(
                f"Images are cropped and resized to {plan.size}x{plan.size}; an input size sets another."
            )
    else:
        plan = Plan(True, input_size, train.images.shape[3])
    stores = [_store(train, plan, workers)]
    height, width, _ = stores[0].shape
    if height * width > MAX_INPUT_SIZE**2:
        raise DataError(
            f"images must have at most {MAX_INPUT_SIZE}x{MAX_INPUT_SIZE} pixels, but those of {train.where} have "
            f"{width}x{height}; give an input size to resize them"
        )
    stores += [_like(stores[0], part, plan, workers) for part in parts[1:]]
    return stores, notes


def _plan(part: Examples, num: int, input_size: int | None, in_memory: bool | None) -> Plan:
    assert isinstance(part.images, EncodedImages)
    heads = _headers(part.images, part.where, _SAMPLE, strict=False)
    sizes = {(head.height, head.width) for head in heads}
    largest = max(max(size) for size in sizes)
    channels = 1 if all(head.is_grey for head in heads) else 3
    if in_memory is None:
        side = input_size or largest
        fits = len(sizes) == 1 and side <= MEMORY_SIDE and num * side * side * channels <= MEMORY_BYTES
        in_memory = (side <= SMALL_SIDE or fits) and fits_memory(num * side * side * 3)
    if in_memory or input_size is not None:
        return Plan(in_memory, input_size, channels)
    if len(sizes) == 1 and len(set(next(iter(sizes)))) == 1:
        return Plan(False, min(DEFAULT_SIDE, largest), channels)
    # A multiple of 32, the usual total stride, that at least half of the images reach with their shorter side.
    typical = int(np.median([min(head.height, head.width) for head in heads]))
    return Plan(False, max(32, min(DEFAULT_SIDE, typical // 32 * 32)), channels)


def _headers(images: EncodedImages, where: str, limit: int, *, strict: bool) -> list[Header]:
    """Headers of at most `limit` evenly spaced images; if `strict`, every one of these must be readable."""
    heads: list[Header] = []
    failures: list[tuple[int, str]] = []
    packed = unpacked = 0
    for index in np.unique(
        np.linspace(0, len(images) - 1, min(limit, len(images))).astype(np.int64)
    ).tolist():
        try:
            encoded = images.read(index)
            head, num_bytes = inspect(encoded)
            heads.append(head)
            unpacked += num_bytes
            packed += len(encoded) if isinstance(encoded, bytes) else num_bytes
        except (OSError, ValueError) as error:
            failures.append((index, reason(error)))
    if strict or not heads:
        refuse(images, failures, where)
    if heads and unpacked / len(heads) > _LARGE_BYTES:
        scale = len(images) / len(heads)
        check_unfolding(int(scale * packed), int(scale * unpacked), f"all of {where}", _FREE_BYTES)
    return heads


def _store(part: Examples, plan: Plan, workers: int) -> ImageStore:
    if not isinstance(part.images, EncodedImages):
        return MemoryImages(_resized(part.images, plan.size), part.scale)
    if plan.in_memory:
        return MemoryImages(decode_all(part.images, part.where, plan.size), part.scale)
    assert plan.size is not None
    _headers(part.images, part.where, _MAX_HEADERS, strict=True)
    return FileImages(part.images, plan.size, plan.channels, workers)


def _like(train: ImageStore, part: Examples, plan: Plan, workers: int) -> ImageStore:
    """The images of another part, in the shape of the training images."""
    store = _store(part, plan, workers)
    channels = train.shape[2]
    if (
        store.shape[2] != channels
        and isinstance(store, MemoryImages)
        and isinstance(part.images, EncodedImages)
    ):
        store = MemoryImages(with_channels(store.pixels.astype(np.uint8, copy=False), channels), part.scale)
    if store.shape != train.shape:
        shapes = ["x".join(str(length) for length in shape) for shape in (store.shape, train.shape)]
        raise DataError(
            f"all images must have one shape (height x width x channels), but those of {part.where} are {shapes[0]} "
            f"and the training images {shapes[1]}; convert them, or give an input size to resize them"
        )
    return store


def _resized(pixels: Pixels, size: int | None) -> Pixels:
    if size is None or pixels.shape[1:3] == (size, size):
        return pixels
    check_memory(len(pixels) * size * size * pixels.shape[3] * pixels.itemsize, "the resized images")
    resized: Pixels = np.stack([resize_and_centre(image, size, size) for image in pixels])
    return resized
