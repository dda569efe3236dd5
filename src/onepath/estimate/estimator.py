"""What every estimator answers."""

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

    Attributes:
        accuracy: the task's `score`: its accuracy, or another figure of which more is better, in [0, 1].
        loss: mean per target, without label smoothing; infinite where the network's outputs are not finite.
        seconds: the estimation took.
        num_validation: targets it was scored on.
    """

    accuracy: float
    loss: float
    seconds: float
    num_validation: int


class Estimator(Protocol):
    """Anything that estimates architectures; the same architecture gets the same estimate."""

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """The estimate of a proposal, which says how its architecture came about, or of a bare architecture."""
        ...


@runtime_checkable
class AnticipatingEstimator(Estimator, Protocol):
    """An estimator that makes use of knowing what it will be asked next, as one that works on several at once does."""

    def anticipate(self, asked: Sequence[Proposal | Architecture]) -> None:
        """Each of these will be asked for, in this order."""
        ...


@runtime_checkable
class BuildingEstimator(Estimator, Protocol):
    """An estimator that gives the network that it estimates, not only the estimate."""

    def model(self, architecture: Architecture) -> nn.Module:
        """The network of an architecture as it is estimated, in eval mode, sharing no memory with anything else."""
        ...


def architecture_of(asked: Proposal | Architecture) -> Architecture:
    """The architecture that an estimator is asked about."""
    return asked.architecture if isinstance(asked, Proposal) else asked
