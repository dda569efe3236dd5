"""Kendall's and Spearman's rank correlations of one sample, or of many resamples of it at once.

A resample is a row of counts: how often it holds each of the n points. `kendall_tau` and `spearman` take R resamples as
a matrix (R, n) and return (R,) values, NaN where one side is constant. `rank_correlation` is for one sample and returns
None instead of NaN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEWEST_RANKED = 3
_MOST_ENUMERATED = 7  # largest number of points for which every order is tried
_BLOCK = 1024  # number of points whose signs against all others are in memory at once


class RankCorrelation(NamedTuple):
    """Both correlations, in [-1, 1], where 1 means the same order; None if undefined."""

    kendall_tau: float | None
    spearman: float | None


def rank_correlation(
    first: Sequence[float], second: Sequence[float], *, fewest: int = FEWEST_RANKED
) -> RankCorrelation:
    """Return Kendall's tau-b and Spearman's rho of pairs of values.

    Equal values are ties. Values that are not finite are equal to each other and below the others.

    Args:
        first: first value of each pair.
        second: second value of each pair.
        fewest: smallest number of pairs for which the correlations are computed.

    Returns:
        Both correlations; None for both if there are fewer than `fewest` pairs or one side is constant.

    Raises:
        ConfigurationError: the lengths differ.
    """
    if len(first) != len(second):
        raise ConfigurationError(
            f"a rank correlation is one of pairs, but got {len(first)} and {len(second)} values; give as many of each"
        )
    if len(first) < fewest:
        return RankCorrelation(None, None)
    x, y = ordinal(first), ordinal(second)
    once = np.ones((1, len(x)))
    return RankCorrelation(number(kendall_tau(x, y, once)[0]), number(spearman(x, y, once)[0]))


def number(value: float) -> float | None:
    """Return a Python float, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def ordinal(values: Sequence[float] | npt.NDArray[np.floating[Any]]) -> Integers:
    """Return (n,) the place of each value among the distinct values, the lowest at 0.

    Values that are not finite are equal to each other and below the others.
    """
    numbers = np.asarray(values, dtype=np.float64)
    _, places = np.unique(np.where(np.isfinite(numbers), numbers, -np.inf), return_inverse=True)
    return places.astype(np.int64)


def kendall_tau(first: Integers, second: Integers, counts: Floats) -> Floats:
    """Return Kendall's tau-b of every resample, (R,).

    With s the sign of a pair's difference, which is 0 for equal points,
    tau-b = sum s_x s_y / sqrt(sum s_x^2 * sum s_y^2). Over a resample with counts w this is a quadratic form in w, so
    that all resamples cost one product of matrices.

    Args:
        first: (n,) places, see `ordinal`.
        second: (n,) places, see `ordinal`.
        counts: (R, n) how often each resample holds each point.

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945).
    """
    weights = counts.astype(np.float32)
    agreement = np.zeros(len(counts))
    for start in range(0, len(first), _BLOCK):
        block = slice(start, start + _BLOCK)
        signs = np.sign(first[:, None] - first[None, block]) * np.sign(second[:, None] - second[None, block])
        # Whole numbers below 2^24, which float32 holds exactly.
        agreement += ((weights @ signs.astype(np.float32)) * weights[:, block]).sum(axis=1, dtype=np.float64)
    size = counts.sum(axis=1) ** 2
    untied = [size - (grouped(places, counts) ** 2).sum(axis=1) for places in (first, second)]
    return _ratio(agreement, untied[0] * untied[1])


def spearman(first: Integers, second: Integers, counts: Floats) -> Floats:
    """Return Spearman's rho of every resample, (R,): the correlation of mean ranks.

    The arguments are the same as for `kendall_tau`.
    """
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
    x, y = (mean_ranks(places, counts) - middle for places in (first, second))
    product = (counts * x * y).sum(axis=1)
    return _ratio(product, (counts * x * x).sum(axis=1) * (counts * y * y).sum(axis=1))


def mean_ranks(places: Integers, counts: Floats) -> Floats:
    """Return (R, n) the rank of every point in every resample, the lowest at 1; equal points share their mean rank.

    Args:
        places: (n,) places, see `ordinal`.
        counts: (R, n) how often each resample holds each point.
    """
    sums = grouped(places, counts)
    below = np.cumsum(sums, axis=1) - sums
    ranks: Floats = (below + (sums + 1) / 2)[:, places]
    return ranks


def num_better(places: Integers, counts: Floats) -> Floats:
    """Return (R, n) how many points of every resample are strictly above each point.

    The arguments are the same as for `mean_ranks`.
    """
    sums = grouped(places, counts)
    above: Floats = (counts.sum(axis=1, keepdims=True) - np.cumsum(sums, axis=1))[:, places]
    return above


def grouped(places: Integers, counts: Floats) -> Floats:
    """Return (R, distinct places) the sum of the counts of equal points, by rising place.

    The arguments are the same as for `mean_ranks`.
    """
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    sums: Floats = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums


def _ratio(product: Floats, squares: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(squares > 0, product / np.sqrt(squares), np.nan)
    return np.clip(ratio, -1.0, 1.0)


def chance_of_order(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the probability that a random order of `second` has at least its Kendall's tau with `first`.

    Up to seven points, all orders are tried one by one. For more points without ties, all orders are counted by their
    number of inversions. For more points with ties, the result is the normal approximation with its correction for
    ties.

    Args:
        first: first value of each pair.
        second: second value of each pair, as many as `first`.

    Source: Kendall, "Rank Correlation Methods", chapters 4 and 5.
    """
    x, y = ordinal(first), ordinal(second)
    num = len(x)
    reached = _concordance(x, y)
    if num <= _MOST_ENUMERATED:
        orders = np.array(list(itertools.permutations(y)))
        return float(np.mean([_concordance(x, order) >= reached for order in orders]))
    sizes = [np.bincount(places).astype(np.float64) for places in (x, y)]
    if all(size.max() == 1 for size in sizes):
        counts = np.ones(1)
        for length in range(2, num + 1):
            counts = np.convolve(counts, np.ones(length)) / length
        # The order with k discordant pairs has num (num - 1) / 2 - 2 k concordant minus discordant ones.
        return float(counts[: (num * (num - 1) // 2 - reached) // 2 + 1].sum())
    pairs = [(size * (size - 1)).sum() for size in sizes]
    thirds = [(size * (size - 1) * (size - 2)).sum() for size in sizes]
    plain = num * (num - 1) * (2 * num + 5) - sum(
        (size * (size - 1) * (2 * size + 5)).sum() for size in sizes
    )
    variance = (
        plain / 18
        + pairs[0] * pairs[1] / (2 * num * (num - 1))
        + thirds[0] * thirds[1] / (9 * num * (num - 1) * (num - 2))
    )
    return 0.5 * math.erfc(reached / math.sqrt(2 * variance)) if variance > 0 else 1.0


def _concordance(first: Integers, second: Integers) -> int:
    """Return the number of concordant minus discordant pairs, which is the part of tau-b that the order changes."""
    signs = np.sign(first[:, None] - first[None]) * np.sign(second[:, None] - second[None])
    return int(signs.sum()) // 2
