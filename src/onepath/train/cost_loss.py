"""A training loss combined with the expected cost of the architecture.

Source: Cai, Zhu and Han, ProxylessNAS (arXiv 1812.00332), section 3.3.1 and the released code. The two forms and their
default numbers are taken from there.
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
    """A loss that grows with the expected cost E of the architecture.

    With the reference cost r, the form "add-linear" is loss + strength * (E - r) / r. The form "multiply-log" is
    scale * loss * (log E / log r) ** exponent, for costs above 1 in their unit.

    Args:
        cost: computes the expected cost E.
        reference: the cost r to aim at, in the unit of `cost`; above 0, and above 1 for "multiply-log".
        form: "add-linear" or "multiply-log".
        strength: weight of the cost in "add-linear".
        scale: factor of the loss in "multiply-log".
        exponent: exponent of the ratio of logarithms in "multiply-log".

    Raises:
        ConfigurationError: the reference, the form or a number is out of its range. A call raises it too if the
            expected cost is 1 or less under "multiply-log", because its logarithm is not positive then.
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
        """Return the settings that a checkpoint must agree on, as plain values."""
        names = ("reference", "form", "strength", "scale", "exponent")
        return {"cost": self.cost.fingerprint, **{name: getattr(self, name) for name in names}}

    def __call__(self, loss: Tensor) -> Tensor:
        """Return the loss combined with the cost: a scalar with gradients through both.

        Args:
            loss: the task's loss, a scalar.
        """
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
