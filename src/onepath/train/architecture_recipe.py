"""Recipes for the training of architecture parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from onepath.errors import ConfigurationError

Order = Literal["first", "second", "second-exact"]


@dataclass(frozen=True)
class ArchitectureRecipe:
    """Optimizer and schedule of the logits. The defaults are those of DARTS.

    Args:
        order: where the gradient of the logits is computed: "first" at the present weights; "second" after one virtual
            step of the weights, with a finite difference for the second derivatives; "second-exact" after that step
            with exact second derivatives.
        learning_rate: Adam's learning rate.
        betas: Adam's two decay rates of the moments.
        weight_decay: Adam's weight decay.
        warmup_epochs: epochs at the start in which the weights alone are trained.
        every: number of updates of the weights per step of the logits.
        clip_norm: largest norm of the look ahead's gradients, see `VirtualStep`; None does not clip.
        watch_eigenvalue: whether the dominant eigenvalue of the validation Hessian is computed after each epoch, by 20
            gradients on one batch. A guard with an `eigenvalue_ratio` turns it on.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    order: Order = "first"
    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3
    warmup_epochs: int = 0
    every: int = 1
    clip_norm: float | None = None
    watch_eigenvalue: bool = False

    def __post_init__(self) -> None:
        clip_norm = self.clip_norm
        rules = {
            "order in ('first', 'second', 'second-exact')": self.order in ("first", "second", "second-exact"),
            "learning_rate > 0": 0 < self.learning_rate < math.inf,
            "betas in [0, 1)": len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "weight_decay >= 0": 0 <= self.weight_decay < math.inf,
            "clip_norm > 0 or None": clip_norm is None or 0 < clip_norm < math.inf,
            "warmup_epochs >= 0": self.warmup_epochs >= 0,
            "every >= 1": self.every >= 1,
        }
        for rule, holds in rules.items():
            if not holds:
                name = rule.split()[0]
                raise ConfigurationError(
                    f"`{rule}` must hold, but got {name}={getattr(self, name)!r}; change the recipe"
                )
