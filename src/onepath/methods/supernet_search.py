"""Searching under hard limits: every architecture that an algorithm asks for is evaluated, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from onepath.cost import Constraint
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import AnticipatingEstimator, BuildingEstimator, Estimate, Estimator, SupernetEstimator
from onepath.nn import Supernet
from onepath.search import Algorithm, FeasibleSet, Limit, Proposal, run_search
from onepath.space import Architecture
from onepath.train.checks import check_supernet
from onepath.verdict import COSTS, Ties, ordered

if TYPE_CHECKING:
    from onepath.search.feasible import Costs


@dataclass(frozen=True)
class Search:
    """How a method searches.

    Attributes:
        algorithm: proposes architectures, and observes their scores.
        estimator: says how good a proposal is.
        total: architectures that it evaluates at most.
        ties: which of equally accurate architectures wins: the one of less "loss", or one on the "front" of accuracy
            and costs.
    """

    algorithm: Algorithm
    estimator: Estimator
    total: int
    ties: Ties = "loss"


@dataclass(frozen=True)
class Trial:
    """One evaluated architecture.

    Attributes:
        architecture: what was evaluated.
        estimate: its inherited accuracy (higher is better) and loss (lower is better).
        origin: how it was proposed: "random", "mutation", "crossover" or "derived".
        generation: of the algorithm, from 0.
    """

    architecture: Architecture
    estimate: Estimate
    origin: str
    generation: int


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        trials: every evaluated architecture once, in the order of evaluation.
        estimator: what evaluated them, with the supernet and the data; None where no network was evaluated.
        order: numbers of the trials, best first, where the method has an order of its own; else empty.
    """

    trials: tuple[Trial, ...]
    estimator: Estimator | None = field(default=None, repr=False, compare=False)
    order: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @property
    def best_trial(self) -> Trial:
        """The trial of highest accuracy; of equal ones, that of least loss; of equal ones, the first.

        What a differentiable search derived comes before the architectures beside it, and a method that searches for a
        front prefers, of equally accurate ones, those on it.
        """
        if self.order:
            return self.trials[self.order[0]]
        return max(self.trials, key=lambda trial: score(trial.estimate))

    @property
    def best(self) -> Architecture:
        """The architecture of the best trial."""
        return self.best_trial.architecture

    def model(self, architecture: Architecture | None = None) -> nn.Module:
        """The network that the search scored: its metric on the validation split is that of its trial.

        On a supernet: inherited weights and normalisation recalibrated on the same training images, which `extract`
        alone leaves as the supernet has it. In a search by a score: fresh weights. The supernet must not have been
        trained since the search.

        Args:
            architecture: of the space searched; None takes the best.

        Returns:
            Plain torch layers in eval mode, on the estimator's device; a new module at every call.

        Raises:
            ConfigurationError: the estimates came from elsewhere, such as a table, so that there is no network.
        """
        return estimated_network(self.estimator, self.best if architecture is None else architecture)


def search_supernet(
    supernet: Supernet,
    data: Task,
    algorithm: Algorithm,
    *,
    constraints: Sequence[Constraint] = (),
    estimator: Estimator | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Found:
    """Evaluate the architectures an algorithm asks for, on the supernet's weights, and return them all.

    Args:
        supernet: trained; not changed.
        data: its training split recalibrates normalisation, its validation split scores.
        algorithm: for example `Evolution(supernet.space, seed=0)`.
        constraints: hard limits; nothing that exceeds one is evaluated.
        estimator: instead of `SupernetEstimator(supernet, data)`.
        on_trial: called after each evaluation.

    Raises:
        InfeasibleError: no architecture, or too few, meet the limits; names the smallest and the median cost.
        ShapeError: shapes do not fit, see `check_supernet`.
    """
    check_supernet(supernet, data)
    feasible = feasible_set(supernet, data.input_shape, constraints)
    own = SupernetEstimator(supernet, data) if estimator is None else estimator
    return searched(feasible, Search(algorithm, own, supernet.space.size), on_trial=on_trial)


def searched(
    feasible: FeasibleSet,
    search: Search,
    *,
    on_trial: Callable[[Trial], None] | None = None,
    counter: Callable[[str], Costs] | None = None,
) -> Found:
    """Drive a search to its end.

    Args:
        feasible: what may be evaluated.
        search: of a method.
        on_trial: called after each evaluation.
        counter: a cost by its name, for a search whose winner comes from a front.
    """
    trials: list[Trial] = []
    estimator, algorithm = search.estimator, search.algorithm

    def evaluate(proposal: Proposal) -> tuple[float, float]:
        estimate = estimator.estimate(proposal)
        trials.append(Trial(proposal.architecture, estimate, proposal.origin, algorithm.generation))
        if on_trial is not None:
            on_trial(trials[-1])
        return score(estimate)

    anticipate = estimator.anticipate if isinstance(estimator, AnticipatingEstimator) else None
    run_search(algorithm, feasible, evaluate, anticipate=anticipate)
    if isinstance(estimator, SupernetEstimator):
        estimator.release()  # what was found is kept for long, and needs no second copy of the data
    rows = [
        _Row(number, trial.origin, trial.estimate.accuracy, trial.estimate.loss, {})
        for number, trial in enumerate(trials)
    ]
    if search.ties == "front" and counter is not None and trials:
        matrix = feasible.space.matrix([trial.architecture for trial in trials])
        for name in COSTS:
            for row, cost in zip(rows, np.asarray(counter(name)(matrix)).tolist(), strict=True):
                row.costs[name] = cost
    return Found(tuple(trials), estimator, tuple(row.number for row in ordered(rows, search.ties)))


class _Row(NamedTuple):
    """A trial as the verdict reads it."""

    number: int
    origin: str
    accuracy: float | None
    loss: float | None
    costs: dict[str, float]


def estimated_network(estimator: Estimator | None, architecture: Architecture) -> nn.Module:
    """The network of an architecture as an estimator scores it; see `Found.model`."""
    if not isinstance(estimator, BuildingEstimator):
        raise ConfigurationError(
            f"the network that was scored comes from an estimator with a method model, but {type(estimator).__name__} "
            "has none; extract it from the supernet, and recalibrate it with onepath.estimate.recalibrate_on_task"
        )
    return estimator.model(architecture)


def score(estimate: Estimate) -> tuple[float, float]:
    """What an algorithm maximises: accuracy, and among equal accuracies less loss."""
    return estimate.accuracy, -estimate.loss


def feasible_set(
    supernet: Supernet, input_shape: tuple[int, ...], constraints: Sequence[Constraint]
) -> FeasibleSet:
    """The architectures of a supernet that meet every constraint for inputs of a shape (without the batch)."""
    bound = [constraint.bind(supernet, input_shape) for constraint in constraints]
    limits = [Limit(limit.name, limit.unit, limit.maximum, limit.costs, limit.table) for limit in bound]
    return FeasibleSet(supernet.space, limits)
