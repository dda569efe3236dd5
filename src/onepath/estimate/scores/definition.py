"""The definition of a score, and the value that a score gives a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from onepath.estimate.scores.probe import Probe

Need = Literal["inputs", "labels", "random input", "ReLU"]


@dataclasses.dataclass(frozen=True)
class Score:
    """The value of a score for one network.

    Attributes:
        value: value, higher is better; minus infinity for a degenerate network, never NaN.
        reason: why the network is degenerate; None if it is not.
        seconds: time that the computation took; the time of a shared pass counts for the first score that uses it.
    """

    value: float
    reason: str | None
    seconds: float

    @property
    def is_degenerate(self) -> bool:
        """Whether the score can say nothing about the network; `reason` says why."""
        return self.reason is not None


@dataclasses.dataclass(frozen=True)
class ScoreDefinition:
    """A score and the facts to know before using it.

    Attributes:
        name: name on the command line and in `score`.
        compute: function from a probe and the score's options to the value, higher is better; raises
            `DegenerateNetworkError` if the score can say nothing about the network.
        needs: what the score reads. "inputs": real examples; "labels": their targets; "random input": only the shape
            and the device of the inputs; "ReLU": ReLUs in the network. If empty, the score reads only the network (and
            for `macs` and `synflow` the shape of an input).
        cost: cost of the computation, in passes over the batch.
        direction: phrase that says which property counts as better.
        known_failure: phrase that says where the score is known to fail.
        reads_weights: False if the score draws weights of its own or reads only the shapes of weights.
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
        """Whether the score needs real examples or their labels."""
        return "inputs" in self.needs or "labels" in self.needs

    def __call__(self, probe: Probe, **options: Any) -> float:
        """Compute the value for the network and the batch of a probe; higher is better.

        Raises:
            DegenerateNetworkError: the score can say nothing about the network.
        """
        return self.compute(probe, **options)
