"""The C allocator's settings for training on CPU."""

from __future__ import annotations

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_THRESHOLDS_BYTES = (1 << 30, 1 << 25)  # glibc before 2.35 refuses an mmap threshold above 32 MiB


@functools.cache
def keep_freed_memory() -> bool:
    """Let the process keep large freed blocks of memory instead of returning them to the kernel.

    By default glibc maps every large block anew and unmaps it when it is freed, so that every training step causes page
    faults for all its activations. With higher mmap and trim thresholds the next step reuses the same pages. Computed
    values do not change, but the process holds its peak memory until it ends. Only the first call in a process acts.

    Returns:
        Whether the thresholds were raised; False if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    for threshold in _THRESHOLDS_BYTES:
        if mallopt(_M_MMAP_THRESHOLD, threshold) == 1:
            return bool(mallopt(_M_TRIM_THRESHOLD, threshold) == 1)
    return False
