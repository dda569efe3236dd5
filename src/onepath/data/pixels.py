"""Stores of a task's images: decoded in memory, or encoded and decoded when they are needed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onepath.data.augment import (
    Fit,
    Pixels,
    Size,
    crop_and_flip,
    fit_image,
    padded,
    resized_crop,
    tilt,
)
from onepath.data.decode import decode
from onepath.data.depth import EIGHT_BITS, Depth
from onepath.data.examples import EncodedImages, reason
from onepath.data.image_values import WHITE
from onepath.errors import DataError

MAX_STATISTICS = 2048
_CHUNK_BYTES = 2**24


SMALLEST_SHIFTED = 16


class Request(NamedTuple):
    """A request for a batch.

    Attributes:
        indices: indices of the batch's images in the store, int64.
        rng: generator that draws the augmentation; None: the images are not augmented.
    """

    indices: NDArray[np.int64]
    rng: np.random.Generator | None


class ImageStore(ABC):
    """A store of images that returns batches of them in one size.

    Attributes:
        shape: (H, W, C) of the images in a batch.
        full_scale: the raw pixel value that counts as 1.
        pads: whether augmentation leaves black margins on images.
    """

    shape: tuple[int, int, int]
    full_scale: float
    pads: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def batches(self, requests: Iterable[Request], flip: bool) -> Iterator[Pixels]:
        """Yield the raw pixels (B, H, W, C) of each request, in order, in new arrays.

        Args:
            requests: the batches wanted, read one after another as batches are yielded.
            flip: whether augmentation mirrors images.
        """

    @abstractmethod
    def statistics_indices(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of `indices` whose images are used to compute the mean and the standard deviation."""

    @abstractmethod
    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the bytes, decoded or encoded, of each image in `indices`, for a fingerprint."""

    def moments(self, indices: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation per channel over images, in units of the full scale.

        A channel that never changes gets a standard deviation of exactly 0, in spite of rounding.

        Args:
            indices: indices of the images; `statistics_indices` may reduce them to a sample.
        """
        indices = self.statistics_indices(indices)
        length = max(1, _CHUNK_BYTES // math.prod(self.shape))
        starts = range(0, len(indices), length)
        total = squares = np.zeros(self.shape[2])
        for chunk in self.batches(
            (Request(indices[start : start + length], None) for start in starts), False
        ):
            values = chunk.reshape(-1, self.shape[2])
            if values.dtype == np.uint8:
                # Exact and quicker than a sum of floats: count how often each of the 256 values occurs.
                counts = np.stack([np.bincount(channel, minlength=256) for channel in values.T])
                total = total + counts @ np.arange(256.0)
                squares = squares + counts @ np.arange(256.0) ** 2
            else:
                total = total + values.sum(axis=0, dtype=np.float64)
                squares = squares + np.square(values, dtype=np.float64).sum(axis=0)
        num = len(indices) * self.shape[0] * self.shape[1]
        mean = total / num
        std = np.sqrt(np.maximum(squares / num - mean**2, 0.0))
        std[std <= 1e-7 * np.abs(mean)] = 0.0
        return tuple((mean / self.full_scale).tolist()), tuple((std / self.full_scale).tolist())


class MemoryImages(ImageStore):
    """A store of decoded images, which are augmented a batch at a time by cropping with padding and mirroring.

    Images with a side of less than 16 pixels are tilted instead of cropped, see `tilt`.

    Args:
        pixels: N images, (N, H, W, C); kept, not copied.
        full_scale: the raw pixel value that counts as 1.
    """

    def __init__(self, pixels: Pixels, full_scale: float) -> None:
        self.pixels = pixels
        self.full_scale = full_scale
        _, height, width, channels = pixels.shape
        self.shape = (height, width, channels)
        self.padding = min(height, width) // 8
        # A shift by a whole pixel is too much for tiny images: with it, training on digits takes twice the epochs.
        self.is_tiny = min(height, width) < SMALLEST_SHIFTED
        self.pads = not self.is_tiny

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, requests: Iterable[Request], flip: bool) -> Iterator[Pixels]:
        """See `ImageStore.batches`."""
        for indices, rng in requests:
            images: Pixels = self.pixels[indices]
            if rng is None:
                yield images
            else:
                yield (
                    tilt(images, flip, rng)
                    if self.is_tiny
                    else crop_and_flip(images, self.padding, flip, rng)
                )

    def statistics_indices(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return all of `indices`."""
        return indices

    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the decoded pixels of each image."""
        for index in indices:
            yield self.pixels[index].tobytes()


class FileImages(ImageStore):
    """A store of encoded images, which are decoded when needed and augmented one by one.

    Augmentation is a resized crop and mirroring. Threads decode the next batch while the caller works on this one.
    Decoding and resizing release the interpreter's lock, so worker processes, which cost copies and start-up time, are
    not needed.

    Args:
        images: the encoded images.
        size: height and width of the images in a batch.
        channels: number of channels of the images in a batch: 1 for grey, 3 for colours.
        num_workers: number of decoding threads; 0: the calling thread decodes.
        depth: common depth of all images.
        fit: how an image of another aspect ratio is brought to `size`, see `fit_image`.
        background: grey of 0 ... 255 on which transparent pixels are laid.
    """

    def __init__(
        self,
        images: EncodedImages,
        size: Size,
        channels: int,
        num_workers: int,
        *,
        depth: Depth = EIGHT_BITS,
        fit: Fit = "crop",
        background: int = WHITE,
    ) -> None:
        self._images = images
        self.shape = (*size, channels)
        self.full_scale = depth.full_scale or 1.0
        self._num_workers = num_workers
        self._depth = depth
        self._fit: Fit = fit
        self._background = background

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, requests: Iterable[Request], flip: bool) -> Iterator[Pixels]:
        """See `ImageStore.batches`.

        Raises:
            DataError: an image cannot be read.
        """
        if self._num_workers == 0:
            for request in requests:
                yield np.stack([job() for job in self._jobs(request, flip)])
            return
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="onepath-decode")
        waiting: deque[list[Future[Pixels]]] = deque()
        try:
            for request in requests:
                waiting.append([pool.submit(job) for job in self._jobs(request, flip)])
                if len(waiting) > 1:
                    yield np.stack([future.result() for future in waiting.popleft()])
            while waiting:
                yield np.stack([future.result() for future in waiting.popleft()])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def statistics_indices(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return at most 2,048 of `indices`, evenly spaced, which is enough for a precise estimate."""
        if len(indices) <= MAX_STATISTICS:
            return indices
        return indices[np.linspace(0, len(indices) - 1, MAX_STATISTICS).astype(np.int64)]

    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the encoded bytes of each image as they are stored, or the decoded pixels if it has no bytes."""
        for index in indices.tolist():
            encoded = self._images.read(index)
            yield encoded if isinstance(encoded, bytes) else self._decode(index).tobytes()

    def _jobs(self, request: Request, flip: bool) -> Iterator[Callable[[], Pixels]]:
        indices, rng = request
        # Every image has its own seed, so that its augmentation does not depend on the order of the threads.
        seeds = [None] * len(indices) if rng is None else rng.integers(2**63 - 1, size=len(indices)).tolist()
        for index, seed in zip(indices.tolist(), seeds, strict=True):
            yield partial(self._one, index, seed, flip)

    def _one(self, index: int, seed: int | None, flip: bool) -> Pixels:
        size = self.shape[:2]
        image = with_channels(self._decode(index), self.shape[2])
        if seed is None:
            return fit_image(image, size, self._fit)
        whole = padded(image, size) if self._fit == "pad" else image
        return resized_crop(whole, size, flip, np.random.default_rng(seed))

    def _decode(self, index: int) -> Pixels:
        try:
            return self._depth.of(decode(self._images.read(index), self._background))
        except (OSError, ValueError) as error:
            raise DataError(
                f"every image must be readable, but {self._images.describe(index)} is not ({reason(error)}); replace "
                f"or remove it"
            ) from error


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return pixels with the given number of channels: grey repeated three times, or colours turned into grey.

    Args:
        pixels: (..., C) with 1 or 3 channels; returned unchanged if it has `channels` already.
        channels: 1, for grey with the weights of ITU-R BT.601, or 3.
    """
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    rounded: Pixels = (np.rint(grey) if pixels.dtype == np.uint8 else grey).astype(pixels.dtype)
    return rounded[..., None]
