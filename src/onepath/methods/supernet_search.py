"""Search under hard limits: every architecture that an algorithm proposes is evaluated once."""

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
        algorithm: the search algorithm, which proposes architectures.
        estimator: estimates how good a proposal is.
        total: largest number of architectures evaluated.
        ties: which of equally accurate architectures wins: "loss" for the one with the lower loss, "front" for one on
            the front of accuracy and costs.
    """

    algorithm: Algorithm
    estimator: Estimator
    total: int
    ties: Ties = "loss"


@dataclass(frozen=True)
class Trial:
    """One evaluated architecture.

    Attributes:
        architecture: the architecture that was evaluated.
        estimate: the estimator's accuracy (higher is better) and loss (lower is better), for example inherited ones.
        origin: how the architecture came about: "random", "mutation", "crossover", "policy", "derived"
            or "given".
        generation: generation of the algorithm that proposed it, from 0.
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
        estimator: the estimator that evaluated them, with the supernet and the data; None if no network was evaluated.
        order: indices into `trials`, best first; empty if the order is by accuracy and then loss alone.
    """

    trials: tuple[Trial, ...]
    estimator: Estimator | None = field(default=None, repr=False, compare=False)
    order: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @property
    def best_trial(self) -> Trial:
        """The trial with the highest accuracy; of equal ones, the one with the lowest loss, then the first one.

        The derived architecture of a differentiable search comes before the random ones evaluated for comparison. A
        method that searches for a front prefers, of equally accurate architectures, those on the front.
        """
        if self.order:
            return self.trials[self.order[0]]
        return max(self.trials, key=lambda trial: score(trial.estimate))

    @property
    def best(self) -> Architecture:
        """The architecture of the best trial."""
        return self.best_trial.architecture

    def model(self, architecture: Architecture | None = None) -> nn.Module:
        """Return the network that the search scored: its metric on the validation split is that of its trial.

        After a search on a supernet it has inherited weights, and normalisation that is recalibrated on the same
        training images; `extract` alone would leave normalisation as it is in the supernet. After a search by a score
        without training it has fresh weights. The supernet must not have been trained since the search.

        Args:
            architecture: an architecture of the space searched; None takes the best.

        Returns:
            A network of plain torch layers in eval mode, on the estimator's device; a new module at every call.

        Raises:
            ConfigurationError: the estimates did not come from a network but, for example, from a table.
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
    """Evaluate the architectures that an algorithm proposes with the supernet's weights, and return them all.

    Args:
        supernet: the trained supernet; not changed.
        data: normalisation is recalibrated on its training split; architectures are scored on its validation split.
        algorithm: the search algorithm, for example `Evolution(supernet.space, seed=0)`.
        constraints: hard limits; an architecture that exceeds one is never evaluated.
        estimator: estimates how good an architecture is; None takes `SupernetEstimator(supernet, data)`.
        on_trial: called with each evaluated `Trial`.

    Raises:
        BindingError: the network takes other than one input.
        InfeasibleError: no architecture, or too few, meet the limits; the message names the smallest and the median
            cost.
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
    """Run a search to its end, and return all evaluated architectures.

    Args:
        feasible: the architectures that may be evaluated.
        search: algorithm and estimator of the search.
        on_trial: called with each evaluated `Trial`.
        counter: function from the name of a cost to the cost, as `Job.counter`; used if `search.ties` is "front".

    Raises:
        InfeasibleError: no architecture, or too few, meet the limits.
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
        estimator.release()  # the result lives for long, and needs no second copy of the data
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
    """A trial in the form that `onepath.verdict` reads."""

    number: int
    origin: str
    accuracy: float | None
    loss: float | None
    costs: dict[str, float]


def estimated_network(estimator: Estimator | None, architecture: Architecture) -> nn.Module:
    """Return the network of an architecture as an estimator scores it; see `Found.model`.

    Raises:
        ConfigurationError: the estimator has no method `model`.
    """
    if not isinstance(estimator, BuildingEstimator):
        raise ConfigurationError(
            f"the network that was scored comes from an estimator with a method model, but {type(estimator).__name__} "
            "has none; extract it from the supernet, and recalibrate it with onepath.estimate.recalibrate_on_task"
        )
    return estimator.model(architecture)


def score(estimate: Estimate) -> tuple[float, float]:
    """Return the score that an algorithm maximises: (accuracy, -loss)."""
    return estimate.accuracy, -estimate.loss


def feasible_set(
    supernet: Supernet, input_shape: tuple[int, ...], constraints: Sequence[Constraint]
) -> FeasibleSet:
    """Return the set of a supernet's architectures that meet every constraint.

    Args:
        supernet: the supernet whose architectures are limited; not changed.
        input_shape: shape of one example, without the batch.
        constraints: hard limits; without any, all architectures are in the set.
    """
    bound = [constraint.bind(supernet, input_shape) for constraint in constraints]
    limits = [Limit(limit.name, limit.unit, limit.maximum, limit.costs, limit.table) for limit in bound]
    return FeasibleSet(supernet.space, limits)
