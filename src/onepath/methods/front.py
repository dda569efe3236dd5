"""The front of accuracy against costs among the architectures that a search evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError
from onepath.methods.supernet_search import Found, Trial
from onepath.pareto import front_of_points
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
        raise ConfigurationError("a front needs evaluated architectures; got none; search first")
    architectures = [trial.architecture for trial in found.trials]
    matrix = architectures[0].space.matrix(architectures)
    columns = np.array([cost(matrix) for cost in costs], dtype=np.float64).reshape(len(costs), len(matrix)).T
    front = front_of_points([trial.estimate.accuracy for trial in found.trials], columns, reference)
    return Front(tuple(found.trials[index] for index in front.indices), front.costs, front.hypervolume)
