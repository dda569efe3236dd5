"""The front of accuracy against costs among the architectures that a search evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError
from onepath.methods.supernet_search import Found, Trial
from onepath.search import hypervolume, pareto_front
from onepath.search.feasible import Costs


@dataclass(frozen=True)
class Front:
    """Trade-offs: no evaluated architecture is at least as good in everything and better in something.

    Attributes:
        trials: those on the front, by rising cost, the first cost first.
        costs: (trials, costs), their costs.
        hypervolume: share of the box between the reference (accuracy 0, the given costs) and the ideal (accuracy
            1, cost 0) that the front dominates; higher is better, compare only with an equal reference.
    """

    trials: tuple[Trial, ...]
    costs: npt.NDArray[np.float64]
    hypervolume: float


def front_of(found: Found, costs: Sequence[Costs], reference: Sequence[float] | None = None) -> Front:
    """The front of a search, whatever its algorithm.

    Args:
        found: at least one trial.
        costs: matrix of architectures -> vector of costs, lower is better; at least one.
        reference: a cost each, above 0; those at it or above add nothing to the hypervolume. The largest ones
            evaluated by default.

    Raises:
        ConfigurationError: no trial, no costs, or a reference that is not one positive number per cost.
    """
    if not found.trials:
        raise ConfigurationError("a front needs evaluated architectures, but got none. Search first.")
    if not costs:
        raise ConfigurationError("a front needs at least one cost beside accuracy, but got none. Give one.")
    architectures = [trial.architecture for trial in found.trials]
    matrix = architectures[0].space.matrix(architectures)
    columns = np.column_stack([np.asarray(cost(matrix), dtype=np.float64) for cost in costs])
    largest = _largest(columns) if reference is None else np.asarray(reference, dtype=np.float64)
    if largest.shape != (len(costs),) or not ((largest > 0) & (largest < np.inf)).all():
        raise ConfigurationError(
            f"the reference must be {len(costs)} costs above 0 and finite, but got {largest.tolist()}; give one per "
            "cost"
        )
    accuracies = np.array([trial.estimate.accuracy for trial in found.trials])
    points = np.column_stack([accuracies, columns / largest])
    directions = [True] + [False] * len(costs)
    on_front = np.flatnonzero(pareto_front(points, maximise=directions))
    order = on_front[np.lexsort(columns[on_front].T[::-1])]
    volume = hypervolume(points[order], [0.0] + [1.0] * len(costs), maximise=directions)
    return Front(tuple(found.trials[index] for index in order), columns[order], volume)


def _largest(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(costs,) the largest finite one of each column; 1 where there is none."""
    known = np.where(np.isfinite(columns), columns, -np.inf).max(axis=0)
    return np.where(np.isfinite(known), known, 1.0)
