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
    """The best trade-offs of a search: trials that no other trial dominates in accuracy and costs.

    A trial dominates another if it is nowhere worse and somewhere better.

    Attributes:
        trials: the trials on the front, sorted by rising costs: by the first cost, then by the next ones.
        costs: costs of these trials in the same order, (trials, costs).
        hypervolume: share of the box between the reference (accuracy 0, the reference costs) and the ideal (accuracy
            1, cost 0) that the front dominates; higher is better. Compare values only if the references are equal.
    """

    trials: tuple[Trial, ...]
    costs: npt.NDArray[np.float64]
    hypervolume: float


def front_of(found: Found, costs: Sequence[Costs], reference: Sequence[float] | None = None) -> Front:
    """Return the front of accuracy against costs among the trials of a search, whatever its algorithm.

    Args:
        found: the result of a search with at least one trial.
        costs: one function per cost, from a matrix of architectures, (rows, choices), to a vector of costs, (rows,),
            lower is better; at least one.
        reference: one number above 0 per cost; trials at or above it in some cost add nothing to the hypervolume. The
            default is the largest cost evaluated.

    Raises:
        ConfigurationError: there is no trial or no cost, or `reference` is not one finite positive number per cost.
    """
    if not found.trials:
        raise ConfigurationError("a front needs evaluated architectures; got none; search first")
    architectures = [trial.architecture for trial in found.trials]
    matrix = architectures[0].space.matrix(architectures)
    columns = np.array([cost(matrix) for cost in costs], dtype=np.float64).reshape(len(costs), len(matrix)).T
    front = front_of_points([trial.estimate.accuracy for trial in found.trials], columns, reference)
    return Front(tuple(found.trials[index] for index in front.indices), front.costs, front.hypervolume)
