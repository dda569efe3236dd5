"""The Pareto front of a set of points, its layers and its hypervolume.

The algorithms are moocore's. It is given places in an order, or gains of a size near 1, so that no number, however
large, reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError


def pareto_front(objectives: npt.ArrayLike, maximise: bool | Sequence[bool] = True) -> npt.NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is nowhere worse and somewhere better; of equal points all are on the
    front. A point with a NaN is never on it; an infinity is worse or better than every number.

    Args:
        objectives: (points, objectives); may be empty.
        maximise: per objective, or for all: whether higher is better.

    Returns:
        (points,) True on the front.

    Raises:
        ConfigurationError: `objectives` is not a matrix, or `maximise` has another length.
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
    """The front that each of (points, objectives) is in, all maximised: 0 where no other point dominates.

    A NaN counts as minus infinity.

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
    """The volume of what the points dominate and that dominates the reference point; higher is better.

    Points that are no better than the reference in some objective, or hold a NaN or an infinity, add nothing. The
    value depends on the units of the objectives and on the reference: compare only with equal ones.

    Args:
        objectives: (points, objectives).
        reference: (objectives,), a point that is worse than those that should count.
        maximise: per objective, or for all: whether higher is better.

    Returns:
        In the product of the units of the objectives; 0 without points, infinite where it is over what a float holds.

    Raises:
        ConfigurationError: `objectives` is not a matrix, or `maximise` or `reference` has another length or
            the reference is not finite.
    """
    import moocore

    worst = np.asarray(reference, dtype=np.float64)
    points, directions = _checked(objectives, maximise, worst.size)
    if worst.shape != (points.shape[1],) or not np.isfinite(worst).all():
        raise ConfigurationError(
            f"reference must be {points.shape[1]} finite numbers; got {reference!r}; give one per objective"
        )
    points = points[np.isfinite(points).all(axis=1)]
    # As gains over the reference: a point that loses somewhere would otherwise be taken as it is. Halved, as the
    # difference of two numbers may be over what a float holds.
    gains = np.where(directions, points / 2 - worst / 2, worst / 2 - points / 2)
    gains = gains[(gains > 0).all(axis=1)]
    if not len(gains):
        return 0.0
    # By powers of two, which change no digit.
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
        indices: of the points on it, by rising costs, the first cost first.
        costs: (indices, costs), theirs.
        hypervolume: share of the box between the reference (score 0, the given costs) and the ideal (score 1, cost 0)
            that the front dominates; higher is better, compare only with an equal reference.
    """

    indices: tuple[int, ...]
    costs: npt.NDArray[np.float64]
    hypervolume: float


def front_of_points(
    scores: npt.ArrayLike, costs: npt.ArrayLike, reference: Sequence[float] | None = None
) -> FrontOfPoints:
    """The front of points, whatever they are.

    Args:
        scores: (points,), higher is better; NaN is on no front.
        costs: (points, costs), lower is better.
        reference: a cost each, above 0; those at it or above add nothing to the hypervolume. The largest finite
            ones by default.

    Raises:
        ConfigurationError: no point, no cost, or a reference that is not one positive number per cost.
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
    """(costs,) the largest finite one of each column; 1 where there is none above 0."""
    known = np.where(np.isfinite(columns), columns, -np.inf).max(axis=0)
    return np.where(np.isfinite(known) & (known > 0), known, 1.0)


def _places(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The place of each value among the distinct ones of its column, lowest 0: nothing else tells who dominates."""
    columns = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.column_stack(columns).astype(np.float64)


def _checked(
    objectives: npt.ArrayLike, maximise: bool | Sequence[bool], num_objectives: int | None = None
) -> tuple[npt.NDArray[np.float64], list[bool]]:
    """The points as a matrix, and a direction per objective; an empty list is no points of `num_objectives`."""
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
