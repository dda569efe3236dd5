"""Fit a paper's network to smaller images and other widths than the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onepath.errors import ConfigurationError

SMALLEST_MAP = 4
# How many strides an input allows -> which positions of (stem, four stages) keep theirs.
KEPT_OF_FIVE: Mapping[int, Sequence[int]] = {
    5: (0, 1, 2, 3, 4),
    4: (1, 2, 3, 4),
    3: (1, 2, 4),
    2: (2, 3),
    1: (3,),
    0: (),
}


def kept_strides(input_size: int, kept: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """Return the stride, 1 or 2, of each position where the paper's network halves its input.

    As many strides of 2 are kept as leave the last map at least 4x4 pixels.

    Args:
        input_size: height and width of the images in pixels.
        kept: number of strides that an input allows, from 0 to all -> the positions that keep their stride of 2.

    Raises:
        ConfigurationError: the images have fewer than 4 pixels per side.
    """
    if input_size < SMALLEST_MAP:
        raise ConfigurationError(
            f"input_size >= {SMALLEST_MAP} must hold, but got input_size={input_size}; enlarge the images"
        )
    most = max(kept)
    num_kept, size = 0, -(-input_size // 2)
    while num_kept < most and size >= SMALLEST_MAP:
        num_kept, size = num_kept + 1, -(-size // 2)
    return tuple(2 if position in kept[num_kept] else 1 for position in range(most))


def stage_strides(input_size: int) -> tuple[int, tuple[int, ...]]:
    """Return the strides of an ImageNet network that halves five times: of the stem, and of four stages' first blocks.

    Inputs of 224 pixels become 7. Smaller inputs keep as many of the five strides as leave the last map at least 4x4
    pixels: inputs of 64 pixels keep all but the stem's; inputs of 28 and 32 keep three, with the third stage at 8x8
    pixels; inputs of 8 keep one, before the third stage.

    Raises:
        ConfigurationError: the images have fewer than 4 pixels per side.
    """
    stem, *stages = kept_strides(input_size, KEPT_OF_FIVE)
    return stem, tuple(stages)


def scaled(channels: int, width: float, least: int = 4) -> int:
    """Return `channels * width`, rounded to a multiple of 4, or `least` if that is more."""
    return max(least, round(channels * width / 4) * 4)


def check_width(width: float) -> None:
    """Raise unless `width` is a sensible factor on a network's channels.

    Raises:
        ConfigurationError: `width` is not above 0, or is above 8.
    """
    if not 0 < width <= 8:
        raise ConfigurationError(f"0 < width <= 8 must hold, but got width={width}; 1 is the paper's network")
