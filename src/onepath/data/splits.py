"""Stratified splits: every class keeps its share on both sides."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from onepath.errors import ConfigurationError, DataError, shown
from onepath.randomness import generator

MAX_VALIDATION = 5000


def stratified_split(
    labels: NDArray[np.int64], num_held_out: int, *, seed: int, purpose: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out a random part of the examples in which every class keeps its share.

    Args:
        labels: (N,) classes from 0; every class has 2 examples or more.
        num_held_out: how many examples to hold out. The number is raised to the number of classes if it is lower, and
            lowered if a class would otherwise keep no example.
        seed: seed of the draw.
        purpose: name of what is held out; it selects the random generator.

    Returns:
        Indices kept and indices held out: sorted, disjoint, together 0 ... N - 1. A class's share is rounded
        to one of its two neighbouring integers (largest remainders first, ties to the lower class), and is at
        least 1 on both sides.
    """
    counts = np.bincount(labels)
    assert counts.min() >= 2, "the caller checks"
    taken = _shares(counts, num_held_out)
    rng = generator(seed, f"{purpose} split")
    held_out = []
    for label, num in enumerate(taken):
        members = np.flatnonzero(labels == label)
        held_out.append(rng.choice(members, num, replace=False))
    chosen = np.zeros(len(labels), bool)
    chosen[np.concatenate(held_out)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def drawn_part(indices: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return a random share of some sorted indices, sorted, and at least one of them.

    With the same seed, a smaller share is a part of a larger one.

    Args:
        indices: the indices to draw from.
        share: share to draw, above 0 and at most 1.
        seed: seed of the draw.

    Raises:
        ConfigurationError: the share is out of its range.
    """
    if not 0 < share <= 1:
        raise ConfigurationError(
            f"a share of the training data must be above 0 and at most 1, but got {share:g}"
        )
    order = generator(seed, "part").permutation(indices)
    drawn: NDArray[np.int64] = np.sort(order[: max(1, round(share * len(indices)))])
    return drawn


def _shares(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return how many examples of each class to take: proportional to `counts`, at least 1, at most all but one."""
    shares, remainders = np.divmod(counts * total, counts.sum())
    order = np.argsort(-remainders, kind="stable")
    shares[order[: max(0, total - int(shares.sum()))]] += 1
    clipped: NDArray[np.int64] = np.clip(shares, 1, counts - 1)
    return clipped


def check_counts(
    labels: NDArray[np.int64], class_names: tuple[str, ...], splits: list[str], where: str
) -> None:
    """Raise if the data cannot be split such that every split has an example of every class.

    Args:
        labels: (N,) classes from 0.
        class_names: one name per class.
        splits: names of the splits to be made of the data.
        where: name of the source, for the message.

    Raises:
        DataError: a class has fewer examples than there are splits.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() < len(splits):
        rarest = int(counts.argmin())
        raise DataError(
            f"examples of every class >= {len(splits)} must hold, one for each split ({', '.join(splits)}), but in "
            f"{where} class {shown(class_names[rarest])} has {counts[rarest]}; add examples of it or leave it out"
        )


def check_fraction(fraction: float | None) -> None:
    """Raise unless a validation fraction is None or lies between 0 and 1, both excluded.

    Raises:
        DataError: the fraction is not such a number.
    """
    is_number = isinstance(fraction, int | float | np.floating) and not isinstance(fraction, bool)
    if fraction is not None and not (is_number and 0 < fraction < 1):
        raise DataError(
            f"0 < validation_fraction < 1 must hold, but got validation_fraction={shown(fraction)}; search "
            f"needs a validation split, 0.2 is usual"
        )


def num_validation(num_train: int, fraction: float | None) -> int:
    """Return the size of the validation split.

    It is 20 %, rounded down, but at most 5,000; or a given fraction, rounded down, at least 1, without that limit.
    """
    if fraction is None:
        return min(MAX_VALIDATION, num_train // 5)
    return max(1, math.floor(round(fraction * num_train, 6)))


def num_test(num_examples: int) -> int:
    """Return the size of the test split that is held out if the data have none: 20 %, rounded up."""
    return -(-num_examples // 5)
