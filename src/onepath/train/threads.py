"""Not more threads than the work is worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FEW_PIXELS = 16_384
"""Pixels of a batch below which one thread trains as fast as two: 63 against 75 ms for 32 images of 8x8."""


@contextlib.contextmanager
def worthwhile_threads(num_pixels: int) -> Iterator[None]:
    """Inside, torch uses one CPU thread if a batch has few pixels; the caller's number of threads comes back after.

    Args:
        num_pixels: of the inputs of one batch: examples times height times width.
    """
    before = torch.get_num_threads()
    if num_pixels >= FEW_PIXELS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
