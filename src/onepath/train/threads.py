"""Threads: as many as there are cores for, and not more than the work is worth."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

FEW_PIXELS = 16_384
"""Pixels of a batch below which one thread trains as fast as two: 63 against 75 ms for 32 images of 8x8."""


def usable_cores() -> int:
    """Cores that this process may run on; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_threads(num_processes: int) -> int:
    """Threads for each of this many processes that train at the same time, at least 1.

    Not more than torch would use in this process, which a user may have limited.
    """
    return max(1, min(torch.get_num_threads(), usable_cores() // num_processes))


@contextlib.contextmanager
def worthwhile_threads(num_pixels: int) -> Iterator[None]:
    """Inside, torch uses one CPU thread if a batch has few pixels; the caller's number of threads comes back after.

    Args:
        num_pixels: of the inputs of one batch: examples times height times width.
    """
    with threads(None if num_pixels >= FEW_PIXELS else 1):
        yield


@contextlib.contextmanager
def threads(num: int | None) -> Iterator[None]:
    """Inside, torch uses this many CPU threads; the caller's number comes back after. None changes nothing."""
    before = torch.get_num_threads()
    if num is None or num == before:
        yield
        return
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)
