"""Joining a loss with an expected cost.

Source: Cai, Zhu and Han, ProxylessNAS (arXiv 1812.00332), section 3.3.1 and the released code, whose two forms and
default numbers these are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.nn.relaxations import ExpectedCost

Form = Literal["add-linear", "multiply-log"]


@dataclass(frozen=True)
class CostLoss:
    """A loss that grows with the expected cost E of the architecture; `r` is the reference.

    "add-linear": loss + strength * (E - r) / r. "multiply-log": scale * loss * (log E / log r) ** exponent, for costs
    above 1 in their unit.

    Args:
        cost: the expected cost.
        reference: a cost to aim at, in the same unit, above 0; above 1 for "multiply-log".
        form: one of the two.
        strength: of "add-linear".
        scale, exponent: of "multiply-log".

    Raises:
        ConfigurationError: a reference or a number outside its domain; at a call, an expected cost of 1 or less under
            "multiply-log", whose logarithm would not be positive.
    """

    cost: ExpectedCost
    reference: float
    form: Form = "add-linear"
    strength: float = 0.1
    scale: float = 0.2
    exponent: float = 0.3

    def __post_init__(self) -> None:
        least = 1.0 if self.form == "multiply-log" else 0.0
        if not least < self.reference < math.inf:
            raise ConfigurationError(
                f"reference > {least:g} must hold for the form {self.form!r}, but got {self.reference}; "
                "count in a smaller unit or use 'add-linear'"
            )
        numbers = (self.strength, self.scale, self.exponent)
        if self.form not in ("add-linear", "multiply-log") or not all(0 < n < math.inf for n in numbers):
            raise ConfigurationError(
                "a cost loss needs the form 'add-linear' or 'multiply-log' and strength, scale and exponent above 0, "
                f"but got {self.form!r}, {self.strength}, {self.scale} and {self.exponent}; change them"
            )

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree on: plain values."""
        names = ("reference", "form", "strength", "scale", "exponent")
        return {"cost": self.cost.fingerprint, **{name: getattr(self, name) for name in names}}

    def __call__(self, loss: Tensor) -> Tensor:
        """The joined loss, a scalar that can be differentiated in both."""
        expected = self.cost()
        if self.form == "add-linear":
            return loss + self.strength * (expected - self.reference) / self.reference
        if not float(expected.detach()) > 1:
            raise ConfigurationError(
                "an expected cost above 1 is needed for the form 'multiply-log', but it is "
                f"{float(expected.detach()):g}; "
                "count in a smaller unit or use 'add-linear'"
            )
        ratio: Tensor = torch.log(expected) / math.log(self.reference)
        return self.scale * loss * ratio**self.exponent
