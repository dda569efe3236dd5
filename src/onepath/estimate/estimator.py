"""The interface of estimators, and the estimate that they return."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from onepath.search import Proposal

if TYPE_CHECKING:
    from torch import nn

    from onepath.space import Architecture


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How good an architecture is on the validation split.

    `TableEstimator` and `ScoreEstimator` fill the fields differently, as they say.

    Attributes:
        accuracy: the task's `score`: accuracy, or another figure in [0, 1] of which higher is better.
        loss: mean loss per target, without label smoothing; infinite where the network's outputs are not finite.
        seconds: time that the estimation took.
        num_validation: number of targets that the network was scored on.
    """

    accuracy: float
    loss: float
    seconds: float
    num_validation: int


class Estimator(Protocol):
    """Anything that estimates architectures; the same architecture gets the same estimate."""

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Estimate an architecture, given by itself or in a proposal, which also says how it was made."""
        ...


@runtime_checkable
class AnticipatingEstimator(Estimator, Protocol):
    """An estimator that can use the list of the next architectures, for example to work on several at once."""

    def anticipate(self, asked: Sequence[Proposal | Architecture]) -> None:
        """Announce that `estimate` will be called with each of these, in this order."""
        ...


@runtime_checkable
class BuildingEstimator(Estimator, Protocol):
    """An estimator that can return the network that it estimates, not only the estimate."""

    def model(self, architecture: Architecture) -> nn.Module:
        """Return the network that is estimated for an architecture, in eval mode, sharing no memory with others."""
        ...


def architecture_of(asked: Proposal | Architecture) -> Architecture:
    """Return the architecture of a proposal, or the architecture itself."""
    return asked.architecture if isinstance(asked, Proposal) else asked
