"""Searching a trained supernet under hard limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onepath.cost import Constraint
from onepath.data import Task
from onepath.estimate import AnticipatingEstimator, Estimate, Estimator, SupernetEstimator
from onepath.nn import Supernet
from onepath.search import Algorithm, FeasibleSet, Limit, Proposal
from onepath.space import Architecture
from onepath.train.checks import check_supernet


@dataclass(frozen=True)
class Trial:
    """One evaluated architecture.

    Attributes:
        architecture: what was evaluated.
        estimate: its inherited accuracy (higher is better) and loss (lower is better).
        origin: how it was proposed: "random", "mutation" or "crossover".
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
    """

    trials: tuple[Trial, ...]

    @property
    def best_trial(self) -> Trial:
        """The trial of highest accuracy; of equal ones, that of least loss; of equal ones, the first."""
        return max(self.trials, key=lambda trial: score(trial.estimate))

    @property
    def best(self) -> Architecture:
        """The architecture of the best trial."""
        return self.best_trial.architecture


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
    estimator = SupernetEstimator(supernet, data) if estimator is None else estimator
    trials: list[Trial] = []

    def evaluate(proposal: Proposal) -> tuple[float, float]:
        estimate = estimator.estimate(proposal.architecture)
        trials.append(Trial(proposal.architecture, estimate, proposal.origin, algorithm.generation))
        if on_trial is not None:
            on_trial(trials[-1])
        return score(estimate)

    while proposals := algorithm.ask(feasible):
        if isinstance(estimator, AnticipatingEstimator):
            estimator.anticipate([proposal.architecture for proposal in proposals])
        scores = [evaluate(proposal) for proposal in proposals]
        algorithm.tell([proposal.architecture for proposal in proposals], scores)
    return Found(tuple(trials))


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
