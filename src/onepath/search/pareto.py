"""Pareto tools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError


def pareto_front(objectives: npt.ArrayLike, maximise: bool | Sequence[bool] = True) -> npt.NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is nowhere worse and somewhere better; of equal points all are on the
    front. A point with a NaN is never on it.

    Args:
        objectives: (points, objectives).
        maximise: per objective, or for all: whether higher is better.

    Returns:
        (points,) True on the front.

    Raises:
        ConfigurationError: `objectives` is not a matrix, or `maximise` has another length.
    """
    from moocore import is_nondominated  # its import takes longer than the rest of this package

    points = np.asarray(objectives, dtype=np.float64)
    if points.ndim != 2 or not points.shape[1]:
        raise ConfigurationError(
            f"objectives must be (points, objectives); got shape {points.shape}; stack them as columns"
        )
    directions = [maximise] * points.shape[1] if isinstance(maximise, bool) else list(maximise)
    if len(directions) != points.shape[1]:
        raise ConfigurationError(
            f"maximise needs {points.shape[1]} entries; got {len(directions)}; give one per objective"
        )
    front = np.zeros(len(points), dtype=np.bool_)
    complete = np.flatnonzero(~np.isnan(points).any(axis=1))
    if len(complete):
        front[complete] = is_nondominated(points[complete], maximise=directions, keep_weakly=True)
    return front
