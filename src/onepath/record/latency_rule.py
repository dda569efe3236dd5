"""When a measured latency meets a limit: the one rule of the search, its notes, the results and the report."""

from __future__ import annotations


def held_ms(median_ms: float, iqr_ms: float) -> float:
    """What is held against a limit: the median and its spread, so that another measurement meets the limit too."""
    return median_ms + iqr_ms


def is_within(limit_ms: float, median_ms: float, iqr_ms: float, is_noisy: bool) -> bool:
    """Whether a measured latency meets a limit with its spread to spare; a noisy one does not."""
    return not is_noisy and held_ms(median_ms, iqr_ms) <= limit_ms
