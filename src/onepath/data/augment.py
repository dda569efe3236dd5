"""Augmentation of images (small ones a batch at a time, large ones one by one), resizing and normalisation."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onepath.errors import DataError

Pixels = NDArray[np.uint8 | np.float32]
"""Raw pixel values with the channels last: uint8 as decoded, or float32 for all other types."""

Size = tuple[int, int]
"""Height and width."""

Fit = Literal["crop", "pad"]
"""How an image of another aspect ratio is brought to a size: "crop" cuts its sides off, "pad" adds black."""

MIN_AREA = 0.08
MAX_ASPECT = 4 / 3
MAX_DEGREES = 10.0
MAX_LOG_SCALE = 0.1
MAX_SHIFT = 0.5
MAX_RESIZED = 2**27  # most pixels of a resized image before its centre is cut: 400 MB of colours


def crop_and_flip(images: Pixels, padding: int, flip: bool, rng: np.random.Generator) -> Pixels:
    """Shift every image of a batch by up to `padding` pixels each way, and mirror each with probability 1/2.

    This is the same as padding each image with zeros (black, before normalisation), cutting a window of the old size
    at a uniformly random place, and flipping it left to right with probability 1/2.

    Args:
        images: (B, H, W, C); not changed.
        padding: number of pixels added on every side, 0 or more.
        flip: whether images are mirrored.
        rng: draws B vertical offsets, then B horizontal offsets in [0, 2 padding], then B coins if `flip`.

    Returns:
        (B, H, W, C) of the same dtype, contiguous.
    """
    num, height, width, channels = images.shape
    top = rng.integers(0, 2 * padding + 1, num)
    left = rng.integers(0, 2 * padding + 1, num)
    padded = np.zeros((num, height + 2 * padding, (width + 2 * padding) * channels), images.dtype)
    padded[:, padding : padding + height, padding * channels : (padding + width) * channels] = images.reshape(
        num, height, width * channels
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width * channels), axis=(1, 2))
    cropped: Pixels = windows[np.arange(num), top, left * channels].reshape(num, height, width, channels)
    if flip:
        chosen = np.flatnonzero(rng.random(num) < 0.5)
        cropped[chosen] = torch.from_numpy(cropped[chosen]).flip(2).numpy()
    return cropped


def tilt(images: Pixels, flip: bool, rng: np.random.Generator) -> Pixels:
    """Turn, scale and shift every image of a batch a little; for images too small to be cropped.

    The angle, the logarithm of the scale and the shift of each image are uniformly random, up to 10 degrees, 0.1 and
    half a pixel in both directions. Values between pixels are interpolated bilinearly; outside the image they are zero
    (black, before normalisation).

    Args:
        images: (B, H, W, C); not changed. Unless H = W, turning distorts the image.
        flip: whether each image is also mirrored with probability 1/2.
        rng: draws B angles, then B scales, then B pairs of shifts, then B coins if `flip`.

    Returns:
        (B, H, W, C) of the same dtype, contiguous.
    """
    num, height, width, _ = images.shape
    angle = np.radians(rng.uniform(-MAX_DEGREES, MAX_DEGREES, num))
    scale = np.exp(rng.uniform(-MAX_LOG_SCALE, MAX_LOG_SCALE, num))
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, (num, 2)) * 2 / np.array([width, height])
    across = scale * (np.where(rng.random(num) < 0.5, -1.0, 1.0) if flip else 1.0)
    places = np.empty((num, 2, 3), np.float32)
    places[:, 0] = np.stack([across * np.cos(angle), -scale * np.sin(angle), shift[:, 0]], axis=1)
    places[:, 1] = np.stack([across * np.sin(angle), scale * np.cos(angle), shift[:, 1]], axis=1)
    pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
    grid = nn.functional.affine_grid(torch.from_numpy(places), list(pixels.shape), align_corners=False)
    moved = nn.functional.grid_sample(pixels, grid, align_corners=False).permute(0, 2, 3, 1).numpy()
    if images.dtype == np.uint8:
        moved = np.rint(moved)
    return np.ascontiguousarray(moved.astype(images.dtype))


def resized_crop(image: Pixels, size: Size, flip: bool, rng: np.random.Generator) -> Pixels:
    """Cut a random window out of an image, resize it, and mirror it with probability 1/2.

    The window covers a uniformly random 8 % to 100 % of the area. Its aspect ratio is log-uniform between 3/4 and 4/3
    of the aspect ratio of the result. After ten windows that do not fit into the image, the largest centred window
    within these ratios is taken.

    Args:
        image: (H, W, C).
        size: height and width of the result.
        flip: whether the window is mirrored.
        rng: generator for this image alone.

    Returns:
        (height, width, C).

    Source: Szegedy et al. 2015, Going deeper with convolutions, section 6, arXiv 1409.4842.
    """
    # This import takes more than a second; here, processes that only use small images do not pay for it.
    from torchvision.transforms.v2 import functional

    top, left, height, width = _window(image.shape[0], image.shape[1], size[1] / size[0], rng)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    tensor = functional.resized_crop(tensor, top, left, height, width, list(size), antialias=True)
    if flip and rng.random() < 0.5:
        tensor = functional.horizontal_flip(tensor)
    cut: Pixels = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
    return cut


def _window(height: int, width: int, wanted: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a window whose width over height is near `wanted`."""
    for _ in range(10):
        area = height * width * rng.uniform(MIN_AREA, 1.0)
        aspect = wanted * math.exp(rng.uniform(-math.log(MAX_ASPECT), math.log(MAX_ASPECT)))
        cut_width, cut_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < cut_width <= width and 0 < cut_height <= height:
            top = int(rng.integers(0, height - cut_height + 1))
            left = int(rng.integers(0, width - cut_width + 1))
            return top, left, cut_height, cut_width
    cut_width = max(1, min(width, round(height * wanted * MAX_ASPECT)))
    cut_height = max(1, min(height, round(width / wanted * MAX_ASPECT)))
    return (height - cut_height) // 2, (width - cut_width) // 2, cut_height, cut_width


def fit_image(image: Pixels, size: Size, fit: Fit) -> Pixels:
    """Bring an image to a size, keeping its aspect ratio.

    Args:
        image: (H, W, C), uint8 or float32.
        size: height and width of the result.
        fit: "crop" calls `resize_and_centre`; "pad" resizes the image to fit into the size and adds black at its sides.

    Returns:
        (height, width, C), the image itself if it has that size already.

    Raises:
        DataError: see `resize_and_centre`.
    """
    if fit == "crop" or image.shape[:2] == size:
        return resize_and_centre(image, *size)
    height, width = image.shape[:2]
    # The same rounding as in Pillow's `ImageOps.pad`, which code outside this package uses to prepare an image.
    if width * size[0] > height * size[1]:
        inner = max(1, round(height / width * size[1])), size[1]
    else:
        inner = size[0], max(1, round(width / height * size[0]))
    return padded(_resized(image, inner), size)


def padded(image: Pixels, size: Size) -> Pixels:
    """Add black at two sides of an image, so that it has the aspect ratio of `size`.

    Args:
        image: (H, W, C); kept in the middle, not resized.
        size: height and width whose ratio is wanted.

    Returns:
        The larger image with its channels last, or the image itself if nothing is added.
    """
    height, width = image.shape[:2]
    add_height = max(0, round(width * size[0] / size[1]) - height)
    add_width = max(0, round(height * size[1] / size[0]) - width)
    if not add_height and not add_width:
        return image
    top, left = round(add_height / 2), round(add_width / 2)
    with_black: Pixels = np.pad(image, [(top, add_height - top), (left, add_width - left), (0, 0)])
    return with_black


def resize_and_centre(image: Pixels, height: int, width: int) -> Pixels:
    """Resize an image so that it just covers (height, width), keeping its aspect ratio, and cut out the centre.

    Args:
        image: (H, W, C), uint8 or float32.
        height: height of the result.
        width: width of the result.

    Returns:
        (height, width, C), the image itself if it has that size already.

    Raises:
        DataError: the image is so narrow that it would be resized to more than 134 million pixels.
    """
    if image.shape[:2] == (height, width):
        return image
    scale = max(height / image.shape[0], width / image.shape[1])
    covering = [max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale))]
    if math.prod(covering) > MAX_RESIZED:
        raise DataError(
            f"an image must be at most {MAX_RESIZED // (height * width):,} times as long as wide to cover "
            f"{width}x{height}, but one has {image.shape[1]}x{image.shape[0]} pixels; cut it"
        )
    resized = _resized(image, (covering[0], covering[1]))
    top, left = round((covering[0] - height) / 2), round((covering[1] - width) / 2)
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def _resized(image: Pixels, size: Size) -> Pixels:
    from torchvision.transforms.v2 import functional

    tensor = functional.resize(torch.from_numpy(image).permute(2, 0, 1), list(size), antialias=True)
    resized: Pixels = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
    return resized


class Normaliser:
    """A function from raw pixels to network inputs: `(x / full_scale - mean) / std`, per channel.

    Args:
        mean: mean of each channel, in units of the full scale.
        std: standard deviation of each channel, in units of the full scale; positive.
        full_scale: the raw value that counts as 1 (255 for ordinary uint8 images).
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], full_scale: float) -> None:
        factor = 1.0 / (full_scale * np.asarray(std))
        self._factor = factor.astype(np.float32)
        self._offset = (-np.asarray(mean) / np.asarray(std)).astype(np.float32)

    def __call__(self, images: Pixels) -> torch.Tensor:
        """Normalise (B, H, W, C) to float32 (B, C, H, W), a view with channels_last strides when C > 1."""
        num, height, width, channels = images.shape
        # Computed on rows of width * channels values: an innermost loop over 3 channels would be several times slower.
        rows = images.reshape(num * height, width * channels) * np.tile(self._factor, width)
        rows += np.tile(self._offset, width)
        tensor = torch.from_numpy(rows)
        if channels == 1:
            return tensor.view(num, 1, height, width)
        return tensor.view(num, height, width, channels).permute(0, 3, 1, 2)
