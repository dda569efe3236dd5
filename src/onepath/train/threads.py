"""Number of CPU threads: at most one per core, and only one if the work is too small for more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

FEW_PIXELS = 16_384
"""Pixels of a batch below which one thread trains as fast as two: 63 against 75 ms for 32 images of 8x8."""


def usable_cores() -> int:
    """Return the number of cores that this process may use; all cores of the machine if the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_threads(num_processes: int) -> int:
    """Return the number of threads for each of `num_processes` processes that train at the same time, at least 1.

    It is never above the number that torch uses in this process, because the user may have limited that.
    """
    return max(1, min(torch.get_num_threads(), usable_cores() // num_processes))


@contextlib.contextmanager
def worthwhile_threads(num_pixels: int) -> Iterator[None]:
    """Let torch use one CPU thread inside if a batch has few pixels; the former number is restored afterwards.

    Args:
        num_pixels: pixels in the inputs of one batch: examples times height times width.
    """
    with threads(None if num_pixels >= FEW_PIXELS else 1):
        yield


@contextlib.contextmanager
def threads(num: int | None) -> Iterator[None]:
    """Let torch use `num` CPU threads inside, and the former number afterwards; None changes nothing."""
    before = torch.get_num_threads()
    if num is None or num == before:
        yield
        return
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)
