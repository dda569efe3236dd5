"""Deciding whether images are kept decoded in memory or decoded when needed, and to which size they are resized."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from onepath.data.augment import Fit, Pixels, Size, fit_image
from onepath.data.bounds import check_memory, check_unfolding, fits_memory
from onepath.data.decode import Header, decode, decode_all, header, refuse
from onepath.data.depth import Depth, common_depth
from onepath.data.examples import EncodedImages, Examples, reason
from onepath.data.image_values import BLACK, GREY, WHITE
from onepath.data.pixels import FileImages, ImageStore, MemoryImages, Request, with_channels
from onepath.data.scale import Values, common_scales, values_of
from onepath.errors import DataError

SMALL_SIDE = 64
MEMORY_SIDE = 128
MEMORY_BYTES = 2**31
DEFAULT_SIDE = 224
MAX_INPUT_SIZE = 4096  # a batch of 16 takes 3 GiB as floats
# Small pictures of a few plain colours also grow much when decoded, so only large ones count. Decoding 4 GiB takes
# some 10 seconds.
_LARGE_BYTES = 2**22
_FREE_BYTES = 2**32
_SAMPLE = 512
_MAX_HEADERS = 20_000
_BACKGROUND_SAMPLE = 64
_RANGE_SAMPLE = 64
_UNSEEN = 0.02  # share of an image that may be cut off without a remark


class Plan(NamedTuple):
    """How images are stored.

    Attributes:
        in_memory: whether images are decoded once and kept, else they are decoded whenever they are needed.
        size: height and width that images are resized to; None: they keep their size.
        channels: number of channels of images that are decoded when needed: 1 or 3. Images in memory keep theirs.
        fit: how images of another aspect ratio are brought to `size`, see `fit_image`.
        background: grey of 0 ... 255 on which transparent pixels are laid.
    """

    in_memory: bool
    size: Size | None
    channels: int
    fit: Fit = "crop"
    background: int = WHITE


class Stores(NamedTuple):
    """The images of all parts of the data.

    Attributes:
        stores: one store per part; all have one shape and one scale.
        plan: how the images are stored.
        background: grey of 0 ... 255 on which transparent pixels are laid; None if no image has any.
        notes: remarks for the user, one sentence each.
    """

    stores: list[ImageStore]
    plan: Plan
    background: int | None
    notes: list[str]


def make_stores(
    parts: Sequence[Examples],
    input_size: Size | None,
    in_memory: bool | None,
    num_workers: int | None,
    fit: Fit = "crop",
) -> Stores:
    """Make a store of the images of every part, from which batches can be read.

    Args:
        parts: the parts of the data, the training data first. The training images decide for all parts on size,
            channels, scale, and whether images are kept in memory.
        input_size: height and width; None: see `load_data`.
        in_memory: see `load_data`.
        num_workers: see `load_data`.
        fit: see `load_data`.

    Raises:
        DataError: images cannot be read or are too large, or the parts have different sizes, channels or scales.
    """
    workers = min(8, os.cpu_count() or 1) if num_workers is None else num_workers
    notes: list[str] = []
    background: int | None = None
    train = parts[0]
    if isinstance(train.images, EncodedImages):
        heads = _headers(train.images, train.where, _SAMPLE, strict=False)
        background = _background(train.images, heads)
        num = sum(len(part.labels) for part in parts)
        plan = _plan([head for _, head in heads], num, input_size, in_memory)
        plan = plan._replace(fit=fit, background=WHITE if background is None else background)
        notes += _notes_on_files([head for _, head in heads], background)
        sizes = [(head.height, head.width) for _, head in heads]
    else:
        plan = Plan(True, input_size, train.images.shape[3], fit)
        sizes = [(train.images.shape[1], train.images.shape[2])]
    if plan.size is not None:
        notes += _notes_on_size(sizes, plan, is_chosen=input_size is None)
    made = [_store(train, plan, workers)]
    height, width, _ = made[0][0].shape
    if height * width > MAX_INPUT_SIZE**2:
        raise DataError(
            f"images must have at most {MAX_INPUT_SIZE}x{MAX_INPUT_SIZE} pixels, but those of {train.where} have "
            f"{width}x{height}; give an input size to resize them"
        )
    made += [_like(made[0][0], part, plan, workers) for part in parts[1:]]
    scales, remarks = common_scales([values for _, values in made], [part.where for part in parts])
    for (store, _), scale in zip(made, scales, strict=True):
        store.full_scale = scale
    if isinstance(train.images, EncodedImages) and made[0][1].kind != "uint8":
        notes.append(
            f"Pixels have more than 8 bits and are read as they are: {made[0][1]}; {scales[0]:,.10g} counts as 1."
        )
    return Stores([store for store, _ in made], plan, background, [*notes, *remarks])


def _background(images: EncodedImages, heads: Sequence[tuple[int, Header]]) -> int | None:
    """Return the grey on which transparent pixels are laid: white, black or grey; None if no image has any.

    A drawing may consist of transparency alone; laid on its own colour, it would vanish. The contrast of an image on a
    background is its standard deviation there, relative to its best background. The background with the highest minimum
    contrast over all images is taken; of equal ones, white before black before grey.
    """
    transparent = [index for index, head in heads if head.is_transparent]
    if not transparent:
        return None
    every = max(1, len(transparent) // _BACKGROUND_SAMPLE)
    contrasts = []
    for index in transparent[::every]:
        try:
            encoded = images.read(index)
            laid = [decode(encoded, grey) for grey in (WHITE, BLACK, GREY)]
        except (OSError, ValueError):  # reported when all images are read
            continue
        shown_on = [float(values.astype(np.float64).std()) for values in laid]
        if max(shown_on) > 0:
            contrasts.append(np.array(shown_on) / max(shown_on))
    if not contrasts:
        return WHITE
    least = np.round(np.min(contrasts, axis=0), 6)
    return (WHITE, BLACK, GREY)[int(least.argmax())]


def _notes_on_files(heads: Sequence[Header], background: int | None) -> list[str]:
    notes = []
    if background is not None:
        name = {WHITE: "white", BLACK: "black", GREY: "grey"}[background]
        notes.append(f"Images with transparency are laid on {name} ({background}).")
    several = sum(head.has_more_frames for head in heads)
    if several:
        notes.append(
            f"Of images with several frames or pages the first is taken ({several:,} of {len(heads):,} seen)."
        )
    return notes


def _notes_on_size(sizes: Sequence[Size], plan: Plan, *, is_chosen: bool) -> list[str]:
    assert plan.size is not None
    height, width = plan.size
    areas = [sorted((old_height * width, old_width * height)) for old_height, old_width in sizes]
    most = 1 - min(least / greatest for least, greatest in areas)
    other = "; input_size sets another size" if is_chosen else ""
    if most <= _UNSEEN:
        return [f"Images are resized to {width}x{height} (width x height){other}."] if is_chosen else []
    if plan.fit == "pad":
        return [
            f"Images are resized to fit into {width}x{height} (width x height), with black beside them{other}."
        ]
    return [
        f"Images are resized to cover {width}x{height} (width x height) and their centre is taken: up to {most:.0%} of "
        f"an image is cut off; fit='pad' keeps all of it{other}."
    ]


def _plan(heads: Sequence[Header], num: int, input_size: Size | None, in_memory: bool | None) -> Plan:
    sizes = {(head.height, head.width) for head in heads}
    largest = max(max(size) for size in sizes)
    channels = 1 if all(head.is_grey for head in heads) else 3
    num_bytes = 1 if all(head.depth == "uint8" for head in heads) else 4
    if in_memory is None:
        side = max(input_size) if input_size else largest
        fits = (
            len(sizes) == 1
            and side <= MEMORY_SIDE
            and num * side * side * channels * num_bytes <= MEMORY_BYTES
        )
        in_memory = (side <= SMALL_SIDE or fits) and fits_memory(num * side * side * 3 * num_bytes)
    if in_memory or input_size is not None:
        return Plan(in_memory, input_size, channels)
    return Plan(False, _chosen_size(sizes, heads), channels)


def _chosen_size(sizes: set[Size], heads: Sequence[Header]) -> Size:
    """Return the size for large images: in their own aspect ratio if all have about the same one, else square."""
    by_area = sorted(heads, key=lambda head: head.height * head.width)
    height, width = by_area[len(by_area) // 2][:2]
    if len(sizes) == 1 and height == width:
        return (min(DEFAULT_SIDE, height),) * 2
    if height != width and all(
        min(a * width, b * height) >= (1 - _UNSEEN) * max(a * width, b * height) for a, b in sizes
    ):
        smaller = min(1.0, DEFAULT_SIDE / math.sqrt(height * width))
        return max(1, round(height * smaller)), max(1, round(width * smaller))
    # The shorter side of at least half of the images reaches this multiple of 32, the usual total stride of networks.
    typical = int(np.median([min(head.height, head.width) for head in heads]))
    return (max(32, min(DEFAULT_SIDE, typical // 32 * 32)),) * 2


def _headers(images: EncodedImages, where: str, limit: int, *, strict: bool) -> list[tuple[int, Header]]:
    """Return (index, header) of at most `limit` evenly spaced images; if `strict`, all of these must be readable."""
    heads: list[tuple[int, Header]] = []
    failures: list[tuple[int, str]] = []
    packed = unpacked = 0
    for index in np.unique(
        np.linspace(0, len(images) - 1, min(limit, len(images))).astype(np.int64)
    ).tolist():
        try:
            encoded = images.read(index)
            head = header(encoded)
            heads.append((index, head))
            unpacked += head.num_bytes
            packed += len(encoded) if isinstance(encoded, bytes) else head.num_bytes
        except (OSError, ValueError) as error:
            failures.append((index, reason(error)))
    if strict or not heads:
        refuse(images, failures, where)
    if heads and unpacked / len(heads) > _LARGE_BYTES:
        scale = len(images) / len(heads)
        check_unfolding(int(scale * packed), int(scale * unpacked), f"all of {where}", _FREE_BYTES)
    return heads


def _store(part: Examples, plan: Plan, workers: int) -> tuple[ImageStore, Values]:
    if not isinstance(part.images, EncodedImages):
        values = part.values or values_of(part.images)
        return MemoryImages(_resized(part.images, plan), values.scale), values
    if plan.in_memory:
        pixels, depth = decode_all(
            part.images, part.where, plan.size, fit=plan.fit, background=plan.background
        )
        values = _values(pixels, depth)
        return MemoryImages(pixels, values.scale), values
    assert plan.size is not None
    heads = _headers(part.images, part.where, _MAX_HEADERS, strict=True)
    depth = common_depth(np.array([head.depth for _, head in heads]), part.where)
    store = FileImages(
        part.images, plan.size, plan.channels, workers, depth=depth, fit=plan.fit, background=plan.background
    )
    return store, _values(_some(store, depth), depth)


def _some(store: FileImages, depth: Depth) -> Pixels:
    """Return a sample of the images, from which their range is found; no image if the format defines the range."""
    if not depth.is_deep:
        return np.zeros((0,), np.uint8)
    indices = np.unique(np.linspace(0, len(store) - 1, min(_RANGE_SAMPLE, len(store))).astype(np.int64))
    return next(store.batches([Request(indices, None)], False))


def _values(pixels: Pixels, depth: Depth) -> Values:
    """Return the type and the range of the raw values of images that were encoded."""
    if not depth.is_deep:
        return Values("uint8", 0.0, 255.0)
    found = values_of(pixels)
    if depth.types == ("float32",):
        return found
    name = "uint16" if depth.full_scale else "int32"
    return Values("integer", found.low, found.high, full_scale=depth.full_scale, dtype=name)


def _like(train: ImageStore, part: Examples, plan: Plan, workers: int) -> tuple[ImageStore, Values]:
    """Return a store of another part in the shape of the training images, and the values of its images."""
    store, values = _store(part, plan, workers)
    channels = train.shape[2]
    if (
        store.shape[2] != channels
        and isinstance(store, MemoryImages)
        and isinstance(part.images, EncodedImages)
    ):
        store = MemoryImages(with_channels(store.pixels, channels), store.full_scale)
    if store.shape != train.shape:
        shapes = ["x".join(str(length) for length in shape) for shape in (store.shape, train.shape)]
        raise DataError(
            f"all images must have one shape (height x width x channels), but those of {part.where} are {shapes[0]} "
            f"and the training images {shapes[1]}; convert them, or give an input size to resize them"
        )
    return store, values


def _resized(pixels: Pixels, plan: Plan) -> Pixels:
    size = plan.size
    if size is None or pixels.shape[1:3] == size:
        return pixels
    check_memory(len(pixels) * size[0] * size[1] * pixels.shape[3] * pixels.itemsize, "the resized images")
    resized: Pixels = np.stack([fit_image(image, size, plan.fit) for image in pixels])
    return resized
