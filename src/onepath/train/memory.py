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
    """Let the process keep large freed blocks instead of returning them to the kernel; once per process.

    glibc maps large blocks afresh and unmaps them when freed, so that every training step would fault its
    activations in page by page. Raising the mmap and trim thresholds makes the next step reuse the same
    pages. Values computed do not change; the process holds its peak memory until it ends.

    Returns:
        Whether the thresholds were raised; False where the C library is not glibc.
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
