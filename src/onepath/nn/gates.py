"""The gate of a choice block, which every search strategy sets.

A choice block computes `sum over active i of weight_i * candidate_i(x)`; a candidate that is not active is
not computed. Strategies differ only in which candidates they make active and where the weights come from:

- single path (SPOS, FairNAS, evaluation of an architecture): one candidate is active, with weight 1;
- path dropout: a random subset is active, with weights 1;
- DARTS: all candidates are active, with softmax weights;
- Gumbel softmax, ProxylessNAS: sampled candidates are active, and an estimator defines the gradient of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from onepath.errors import SpaceError
from onepath.space import Choice

Estimator = Callable[[Any, Tensor, Tensor], Tensor]
"""A function of the block, its input and its output that returns the output with another backward pass."""


@dataclass(frozen=True, eq=False)
class Gate:
    """Which candidates of a choice block run, and with which weights.

    Attributes:
        active: distinct indices of the candidates that are computed, at least one, in the order of summation.
        weights: (len(active),) weight of each active candidate, differentiable if the caller needs it; None: every
            weight is 1 and nothing is multiplied.
        estimator: changes how gradients flow back through the block, but not what the block computes; None: the
            gradients are those of autograd.

    Raises:
        SpaceError: the indices are not distinct, below 0 or none, or the weights have another shape.
    """

    active: tuple[int, ...]
    weights: Tensor | None = None
    estimator: Estimator | None = None

    def __post_init__(self) -> None:
        if not self.active or len(set(self.active)) != len(self.active) or min(self.active) < 0:
            raise SpaceError(
                "the active candidates of a gate must be distinct indices of 0 or more and at least one, "
                f"but got {self.active}; give each index once"
            )
        if self.weights is not None and self.weights.shape != (len(self.active),):
            raise SpaceError(
                f"a gate needs one weight per active candidate: {len(self.active)} are active, but the weights have "
                f"shape {tuple(self.weights.shape)}; give a vector of that length"
            )

    @classmethod
    def single(cls, index: int) -> Gate:
        """Return the gate of one candidate, with weight 1."""
        return cls((index,))

    @classmethod
    def subset(cls, indices: tuple[int, ...]) -> Gate:
        """Return the gate of several candidates, each with weight 1."""
        return cls(indices)

    @classmethod
    def weighted(cls, weights: Tensor) -> Gate:
        """Return the gate of all candidates, with weights of shape (num_candidates,)."""
        return cls(tuple(range(weights.shape[0])), weights)


@runtime_checkable
class Gated(Protocol):
    """A module whose choice may have a gate in place of a single option."""

    choice: Choice | None

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The names that the indices of a gate stand for."""
