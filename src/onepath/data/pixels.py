"""Where a task's images lie: decoded in memory, or encoded and decoded when they are needed."""

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
    """Which images make a batch; `rng` draws their augmentation, None: none."""

    indices: NDArray[np.int64]
    rng: np.random.Generator | None


class ImageStore(ABC):
    """Images of one size, of which batches can be asked.

    Attributes:
        shape: (H, W, C) of what `batches` gives.
        full_scale: the raw pixel value that counts as 1.
        pads: whether augmentation leaves black margins on images.
    """

    shape: tuple[int, int, int]
    full_scale: float
    pads: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def batches(self, requests: Iterable[Request], flip: bool) -> Iterator[Pixels]:
        """The raw pixels (B, H, W, C) of each request, in order, in arrays of their own.

        Args:
            requests: read lazily.
            flip: whether augmentation mirrors images.
        """

    @abstractmethod
    def statistics_indices(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `indices` that mean and standard deviation are taken over."""

    @abstractmethod
    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """What identifies the images `indices`: their bytes, decoded or encoded."""

    def moments(self, indices: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel over the images `indices`, in units of the full scale.

        A channel that never changes gets a standard deviation of 0, however its mean is rounded.
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
    """Decoded images; augmented by cropping with padding and mirroring, a whole batch at a time.

    Images of less than 16 pixels are tilted instead of cropped, see `tilt`.

    Args:
        pixels: (N, H, W, C); kept, not copied.
        full_scale: the raw pixel value that counts as 1.
    """

    def __init__(self, pixels: Pixels, full_scale: float) -> None:
        self.pixels = pixels
        self.full_scale = full_scale
        _, height, width, channels = pixels.shape
        self.shape = (height, width, channels)
        self.padding = min(height, width) // 8
        # A shift by a whole pixel is too much for tiny images: digits need twice the epochs with it.
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
        """All of them."""
        return indices

    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Decoded pixels."""
        for index in indices:
            yield self.pixels[index].tobytes()


class FileImages(ImageStore):
    """Encoded images, decoded when asked for; augmented one by one by a resized crop and mirroring.

    Threads decode the next batch while the caller works on this one: decoding and resizing release the
    interpreter's lock, so that no worker processes, with their copies and start-up, are needed.

    Args:
        images: what to decode.
        size: height and width of the images given.
        channels: 1 to give grey images, 3 for colours.
        num_workers: decoding threads; 0: none, the caller decodes.
        depth: what the values of all images have in common.
        fit: how an image of another aspect ratio is brought to `size`, see `fit_image`.
        background: grey on which transparent pixels are laid.
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
        """See `ImageStore.batches`."""
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
        """At most 2,048, evenly spaced: the estimate's error is far below what matters."""
        if len(indices) <= MAX_STATISTICS:
            return indices
        return indices[np.linspace(0, len(indices) - 1, MAX_STATISTICS).astype(np.int64)]

    def content(self, indices: NDArray[np.int64]) -> Iterator[bytes]:
        """Encoded bytes as they are stored."""
        for index in indices.tolist():
            encoded = self._images.read(index)
            yield encoded if isinstance(encoded, bytes) else self._decode(index).tobytes()

    def _jobs(self, request: Request, flip: bool) -> Iterator[Callable[[], Pixels]]:
        indices, rng = request
        # An image's randomness has a seed of its own, so that it does not depend on which thread comes first.
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
    """Grey to three equal channels, or colours to grey with the weights of ITU-R BT.601; (..., C)."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    rounded: Pixels = (np.rint(grey) if pixels.dtype == np.uint8 else grey).astype(pixels.dtype)
    return rounded[..., None]
