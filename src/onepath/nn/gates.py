"""The one gate that every search strategy sets.

A choice block computes `sum over active i of weight_i * candidate_i(x)`; a candidate that is not active is
not computed. Strategies differ only in which candidates they make active and where the weights come from:

- single path: one active, weight 1 (SPOS, FairNAS, evaluation of an architecture);
- path dropout: a random subset, weights 1;
- DARTS: all active, softmax weights;
- Gumbel softmax, ProxylessNAS: sampled, with weights whose backward is the estimator's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from onepath.errors import SpaceError
from onepath.space import Choice

Estimator = Callable[[Any, Tensor, Tensor], Tensor]
"""Takes the block, its input and its output; returns the output with another backward."""


@dataclass(frozen=True, eq=False)
class Gate:
    """Which candidates of a choice block run, and with which weights.

    Attributes:
        active: indices of the candidates that are computed, distinct, at least one, in the order of
            summation.
        weights: shape (len(active),), differentiable if the caller needs it; None means that every weight is
            1 and nothing is multiplied.
        estimator: changes how gradients flow back through the block, not what it computes; None leaves autograd's.
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
        """One candidate, weight 1."""
        return cls((index,))

    @classmethod
    def subset(cls, indices: tuple[int, ...]) -> Gate:
        """Several candidates, their plain sum."""
        return cls(indices)

    @classmethod
    def weighted(cls, weights: Tensor) -> Gate:
        """All candidates, weighted by a vector of shape (num_candidates,)."""
        return cls(tuple(range(weights.shape[0])), weights)


@runtime_checkable
class Gated(Protocol):
    """A module that reads a gate in place of the single option of its choice."""

    choice: Choice | None

    @property
    def gate_names(self) -> tuple[str, ...]:
        """What the indices of a gate mean."""
