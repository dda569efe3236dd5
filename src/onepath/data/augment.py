"""Augmentation of small images, a whole batch at a time, and of large ones, one by one."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onepath.errors import DataError

Pixels = NDArray[np.uint8 | np.float32]
"""Raw pixel values with the channels last: uint8 as decoded, or float32 as given."""

Size = tuple[int, int]
"""Height and width."""

Fit = Literal["crop", "pad"]
"""How an image of another aspect ratio is brought to a size: its sides are cut off, or black is added."""

MIN_AREA = 0.08
MAX_ASPECT = 4 / 3
MAX_DEGREES = 10.0
MAX_LOG_SCALE = 0.1
MAX_SHIFT = 0.5
MAX_RESIZED = 2**27  # pixels before the centre is cut: 400 MB of colours


def crop_and_flip(images: Pixels, padding: int, flip: bool, rng: np.random.Generator) -> Pixels:
    """Shift every image by up to `padding` pixels each way, and mirror half of them.

    The same as padding with zeros (black, before normalisation), cutting a window of the old size at a
    uniformly random place, and flipping left to right with probability 1/2, image by image.

    Args:
        images: (B, H, W, C); not changed.
        padding: pixels added on every side, 0 or more.
        flip: whether to mirror.
        rng: draws B vertical offsets, B horizontal offsets in [0, 2 padding], then B coins if `flip`.

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
    """Turn, scale and shift every image a little, between its pixels; for images too small to be cropped.

    Angle, logarithm of the scale and shift are uniform up to 10 degrees, 0.1 and half a pixel,
    image by image. Values between pixels are bilinear; outside the image they are zero (black, before
    normalisation).

    Args:
        images: (B, H, W, C), H = W for angles to be angles; not changed.
        flip: whether to mirror half of the images too.
        rng: draws B angles, B scales, B pairs of shifts, then B coins if `flip`.

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
    """Cut a random window, resize it and mirror it with probability 1/2.

    The window covers a uniformly random 8 % to 100 % of the area, with a log-uniform aspect ratio between 3/4 and 4/3
    of that of the result; after ten windows that do not fit, the largest centred one within these ratios.

    Args:
        image: (H, W, C).
        size: height and width of the result.
        flip: whether to mirror.
        rng: the image's own generator.

    Returns:
        (height, width, C).

    Source: Szegedy et al. 2015, Going deeper with convolutions, section 6, arXiv 1409.4842.
    """
    # Here and not above: it takes more than a second, which small images need not pay in every process.
    from torchvision.transforms.v2 import functional

    top, left, height, width = _window(image.shape[0], image.shape[1], size[1] / size[0], rng)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    tensor = functional.resized_crop(tensor, top, left, height, width, list(size), antialias=True)
    if flip and rng.random() < 0.5:
        tensor = functional.horizontal_flip(tensor)
    cut: Pixels = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
    return cut


def _window(height: int, width: int, wanted: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window whose width over height is near the wanted one."""
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
    """Bring an image to a size: `resize_and_centre`, or resized to fit into it, with black beside it."""
    if fit == "crop" or image.shape[:2] == size:
        return resize_and_centre(image, *size)
    height, width = image.shape[:2]
    # Rounded as Pillow's `ImageOps.pad` does, with which others prepare an image.
    if width * size[0] > height * size[1]:
        inner = max(1, round(height / width * size[1])), size[1]
    else:
        inner = size[0], max(1, round(width / height * size[0]))
    return padded(_resized(image, inner), size)


def padded(image: Pixels, size: Size) -> Pixels:
    """An image in the middle of black, so that it has the aspect ratio of `size`; (H, W, C)."""
    height, width = image.shape[:2]
    add_height = max(0, round(width * size[0] / size[1]) - height)
    add_width = max(0, round(height * size[1] / size[0]) - width)
    if not add_height and not add_width:
        return image
    top, left = round(add_height / 2), round(add_width / 2)
    with_black: Pixels = np.pad(image, [(top, add_height - top), (left, add_width - left), (0, 0)])
    return with_black


def resize_and_centre(image: Pixels, height: int, width: int) -> Pixels:
    """Resize so that the image just covers (height, width), keeping its aspect ratio, and cut the centre.

    Args:
        image: (H, W, C), uint8 or float32.
        height: height of the result.
        width: width of the result.

    Returns:
        (height, width, C), the image itself where it has that size already.

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
    """Raw pixels to network inputs: `(x / full_scale - mean) / std`, per channel.

    Args:
        mean: one number per channel, in units of the full scale.
        std: the same; must be positive.
        full_scale: the raw value that counts as 1 (255 for ordinary uint8 images).
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], full_scale: float) -> None:
        factor = 1.0 / (full_scale * np.asarray(std))
        self._factor = factor.astype(np.float32)
        self._offset = (-np.asarray(mean) / np.asarray(std)).astype(np.float32)

    def __call__(self, images: Pixels) -> torch.Tensor:
        """Normalise (B, H, W, C) to float32 (B, C, H, W), a view with channels_last strides when C > 1."""
        num, height, width, channels = images.shape
        # Rows of width * channels values: an innermost loop over 3 channels would be several times slower.
        rows = images.reshape(num * height, width * channels) * np.tile(self._factor, width)
        rows += np.tile(self._offset, width)
        tensor = torch.from_numpy(rows)
        if channels == 1:
            return tensor.view(num, 1, height, width)
        return tensor.view(num, height, width, channels).permute(0, 3, 1, 2)
