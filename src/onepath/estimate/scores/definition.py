"""What a score is, what it needs, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from onepath.estimate.scores.probe import Probe

Need = Literal["inputs", "labels", "random input", "ReLU"]


@dataclasses.dataclass(frozen=True)
class Score:
    """What a score says about a network.

    Attributes:
        value: higher is better; minus infinity for a degenerate network, never NaN.
        reason: why the network is degenerate; None where it is not.
        seconds: the computation took; what several scores share is counted at the first of them.
    """

    value: float
    reason: str | None
    seconds: float

    @property
    def is_degenerate(self) -> bool:
        """Whether the score could tell nothing."""
        return self.reason is not None


@dataclasses.dataclass(frozen=True)
class ScoreDefinition:
    """A score, and what to know before using it.

    Attributes:
        name: on the command line and in `score`.
        compute: probe, options -> value, higher is better; raises `DegenerateNetworkError`.
        needs: what it reads. "inputs": real data, of which "labels" are the targets; "random input": only the shape and
            the device of the inputs; "ReLU": ReLUs in the network. None of them: the network alone (and for MACs the
            shape of an input).
        cost: in passes over the batch.
        direction: where the value comes from as higher is better.
        known_failure: what it gets wrong.
        reads_weights: False where the score draws weights of its own, or reads only their shapes.
    """

    name: str
    compute: Callable[..., float]
    needs: tuple[Need, ...]
    cost: str
    direction: str
    known_failure: str
    reads_weights: bool = True

    @property
    def reads_data(self) -> bool:
        """Whether it needs real examples."""
        return "inputs" in self.needs or "labels" in self.needs

    def __call__(self, probe: Probe, **options: Any) -> float:
        """The value for what is probed."""
        return self.compute(probe, **options)
