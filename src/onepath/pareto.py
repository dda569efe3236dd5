"""The Pareto front of a set of points, its layers and its hypervolume.

The algorithms are those of moocore. It is called with ranks of the values, or with gains scaled to a size near 1, so
that it never meets a very large number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError


def pareto_front(objectives: npt.ArrayLike, maximise: bool | Sequence[bool] = True) -> npt.NDArray[np.bool_]:
    """Return a mask of the points that no other point dominates.

    A point dominates another if it is nowhere worse and somewhere better. Equal points are either all on the front or
    all not. A point with a NaN is never on it; an infinity is worse or better than every number.

    Args:
        objectives: values of the points, (points, objectives); may be empty.
        maximise: whether higher is better, for all objectives or for each.

    Returns:
        (points,) True for a point on the front.

    Raises:
        ConfigurationError: `objectives` is not a matrix, or `maximise` does not have one entry per objective.
    """
    from moocore import is_nondominated  # its import takes longer than the rest of this package

    points, directions = _checked(objectives, maximise)
    front = np.zeros(len(points), dtype=np.bool_)
    complete = np.flatnonzero(~np.isnan(points).any(axis=1))
    if len(complete):
        values = _places(np.where(directions, points[complete], -points[complete]))
        front[complete] = is_nondominated(values, maximise=True, keep_weakly=True)
    return front


def nondomination_ranks(objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the number of the front that each point is in: 0 for a point that no other point dominates.

    A NaN counts as minus infinity.

    Args:
        objectives: values of the points, (points, objectives); higher is better for all.

    Returns:
        (points,) the rank of each point, lower is better.

    Source: Deb et al., NSGA-II, section III.A.
    """
    from moocore import pareto_rank  # its import takes longer than the rest of this package

    if not len(objectives):
        return np.zeros(0, dtype=np.int64)
    values = np.where(np.isnan(objectives), -np.inf, objectives)
    return np.asarray(pareto_rank(_places(values), maximise=True), dtype=np.int64)


def hypervolume(
    objectives: npt.ArrayLike, reference: npt.ArrayLike, maximise: bool | Sequence[bool] = True
) -> float:
    """Return the volume of the region between the points and the reference point; higher is better.

    The region holds every point that dominates the reference and that some given point dominates. Points that are no
    better than the reference in some objective, or hold a NaN or an infinity, add nothing. The value depends on the
    units of the objectives and on the reference: compare values only if both are equal.

    Args:
        objectives: values of the points, (points, objectives).
        reference: (objectives,), a point that is worse than all points that should count.
        maximise: whether higher is better, for all objectives or for each.

    Returns:
        The volume in the product of the units of the objectives; 0 without points, infinite if a float cannot hold it.

    Raises:
        ConfigurationError: `objectives` is not a matrix, `maximise` or `reference` does not have one entry per
            objective, or the reference is not finite.
    """
    import moocore

    worst = np.asarray(reference, dtype=np.float64)
    points, directions = _checked(objectives, maximise, worst.size)
    if worst.shape != (points.shape[1],) or not np.isfinite(worst).all():
        raise ConfigurationError(
            f"reference must be {points.shape[1]} finite numbers; got {reference!r}; give one per objective"
        )
    points = points[np.isfinite(points).all(axis=1)]
    # Gains over the reference, because a point that is worse in one objective must add nothing. Halved, because a
    # float may not hold the difference of two numbers.
    gains = np.where(directions, points / 2 - worst / 2, worst / 2 - points / 2)
    gains = gains[(gains > 0).all(axis=1)]
    if not len(gains):
        return 0.0
    # Scale by powers of two, which change no digit.
    exponents = np.frexp(gains.max(axis=0))[1]
    volume = float(moocore.hypervolume(np.ldexp(gains, -exponents), ref=0.0, maximise=True))
    try:
        return math.ldexp(volume, int(exponents.sum()) + len(exponents))
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class FrontOfPoints:
    """The front of scores against costs.

    Attributes:
        indices: indices of the points on the front, sorted by rising costs: by the first cost, then by the next ones.
        costs: costs of these points in the same order, (indices, costs).
        hypervolume: share of the box between the reference (score 0, the reference costs) and the ideal (score 1, cost
            0) that the front dominates; higher is better. Compare values only if the references are equal.
    """

    indices: tuple[int, ...]
    costs: npt.NDArray[np.float64]
    hypervolume: float


def front_of_points(
    scores: npt.ArrayLike, costs: npt.ArrayLike, reference: Sequence[float] | None = None
) -> FrontOfPoints:
    """Return the front of points with a score and one or more costs each.

    Args:
        scores: (points,), higher is better; a point whose score is NaN is not on the front.
        costs: (points, costs), lower is better.
        reference: one number above 0 per cost; points at or above it in some cost add nothing to the hypervolume. The
            default is the largest finite value of each cost.

    Raises:
        ConfigurationError: there is no point or no cost, or `reference` is not one finite positive number per cost.
    """
    heights, columns = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if not len(heights):
        raise ConfigurationError("a front needs evaluated architectures; got none; search first")
    if columns.ndim != 2 or not columns.shape[1]:
        raise ConfigurationError("a front needs at least one cost beside the score; got none; give one")
    largest = _largest(columns) if reference is None else np.asarray(reference, dtype=np.float64)
    if largest.shape != columns.shape[1:] or not ((largest > 0) & (largest < np.inf)).all():
        raise ConfigurationError(
            f"the reference must be {columns.shape[1]} costs above 0 and finite; got {largest.tolist()}; give one per "
            "cost"
        )
    points = np.column_stack([heights, columns / largest])
    directions = [True] + [False] * columns.shape[1]
    inside = np.flatnonzero(pareto_front(points, maximise=directions))
    order = inside[np.lexsort(columns[inside].T[::-1])]
    volume = hypervolume(points[order], [0.0] + [1.0] * columns.shape[1], maximise=directions)
    return FrontOfPoints(tuple(order.tolist()), columns[order], volume)


def _largest(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (costs,) the largest finite value of each column; 1 for a column without a finite value above 0."""
    known = np.where(np.isfinite(columns), columns, -np.inf).max(axis=0)
    return np.where(np.isfinite(known) & (known > 0), known, 1.0)


def _places(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rank of each value among the distinct values of its column, from 0; ranks alone decide dominance."""
    columns = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.column_stack(columns).astype(np.float64)


def _checked(
    objectives: npt.ArrayLike, maximise: bool | Sequence[bool], num_objectives: int | None = None
) -> tuple[npt.NDArray[np.float64], list[bool]]:
    """Return the points as a matrix and one direction per objective; an empty list becomes a matrix without rows."""
    points = np.asarray(objectives, dtype=np.float64)
    if points.shape == (0,):
        points = points.reshape(0, num_objectives or (np.size(maximise) or 1))
    if points.ndim != 2 or not points.shape[1]:
        raise ConfigurationError(
            f"objectives must be (points, objectives); got shape {points.shape}; stack them as columns"
        )
    directions = (
        [bool(maximise)] * points.shape[1] if isinstance(maximise, bool | np.bool_) else list(maximise)
    )
    if len(directions) != points.shape[1]:
        raise ConfigurationError(
            f"maximise needs {points.shape[1]} entries; got {len(directions)}; give one per objective"
        )
    return points, directions
