"""Gradients of logits from the rewards of sampled architectures.

Source: Cai, Zhu and Han, ProxylessNAS (arXiv 1812.00332), section 3.3.2. From the released code come the reward
accuracy * (reference / cost) ** exponent, ten samples per step, and a baseline that moves by 0.99 of the way to the
newest mean before it is subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onepath.counting import CostTable
from onepath.errors import ConfigurationError
from onepath.nn import GatedPath
from onepath.nn.relaxations import ExpectedCost, Relaxation
from onepath.nn.relaxations.relaxation import one_path

Metric = Callable[[GatedPath], float]


@dataclass
class Reinforce:
    """The REINFORCE gradient with a moving baseline.

    Args:
        table: additive cost of an architecture; None rewards the metric alone.
        reference: cost at which the reward equals the metric, in the table's unit.
        exponent: exponent of (reference / cost) in the reward; 0 ignores the cost.
        num_samples: number of architectures sampled per step.
        rate: share of the newest mean reward in the baseline. The baseline moves before it is subtracted, so that it
            already contains the newest mean.

    Attributes:
        baseline: moving mean of the rewards; None before the first step, which uses its own mean.

    Raises:
        ConfigurationError: a number is out of its range. `gradients` raises it if a sampled architecture costs 0 or
            less.
    """

    table: CostTable | None = None
    reference: float = 1.0
    exponent: float = 0.1
    num_samples: int = 10
    rate: float = 0.99
    baseline: float | None = None
    _expected: ExpectedCost | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.reference < math.inf:
            raise ConfigurationError(f"`reference > 0` must hold, but got {self.reference}; raise it")
        rules = {
            "exponent >= 0": 0 <= self.exponent < math.inf,
            "num_samples >= 1": self.num_samples >= 1,
            "0 < rate <= 1": 0 < self.rate <= 1,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigurationError(
                    f"`{rule}` must hold, but got exponent={self.exponent}, num_samples={self.num_samples}, "
                    f"rate={self.rate}; change it"
                )

    def settings(self, relaxation: Relaxation) -> dict[str, Any]:
        """Return the settings that a checkpoint must agree on, as plain values.

        Args:
            relaxation: the relaxation whose logits learn; the cost is fingerprinted for its choices.
        """
        names = ("reference", "exponent", "num_samples", "rate")
        cost = None if self.table is None else self._cost(relaxation, self.table).fingerprint
        return {"cost": cost, **{name: getattr(self, name) for name in names}}

    def gradients(self, relaxation: Relaxation, metric: Metric, rng: np.random.Generator) -> list[Tensor]:
        """Return the mean over samples of -(reward - baseline) * grad log p(sample), and move the baseline.

        Args:
            relaxation: gives the probabilities from which architectures are drawn.
            metric: function from a path to its metric on the validation batch; higher is better.
            rng: generator that draws the architectures.

        Returns:
            One gradient per differentiable choice, in the order of `relaxation.logits` and of their shapes.

        Raises:
            ConfigurationError: a sampled architecture costs 0 or less.
        """
        probabilities = [p.detach() for p in relaxation.probabilities().values()]
        samples, rewards = [], []
        for _ in range(self.num_samples):
            gates = one_path(relaxation, rng)
            indices = [gate.active[0] for gate in gates.values()]
            rewards.append(metric(relaxation.gated(gates)) * self._factor(relaxation, indices))
            samples.append(indices)
        mean = float(np.mean(rewards))
        baseline = mean if self.baseline is None else self.baseline + self.rate * (mean - self.baseline)
        self.baseline = baseline
        gradients = []
        for column, p in enumerate(probabilities):
            total = torch.zeros_like(p)
            for indices, reward in zip(samples, rewards, strict=True):
                score = -p.clone()
                score[indices[column]] += 1
                total -= (reward - baseline) * score / self.num_samples
            gradients.append(total)
        return gradients

    def _factor(self, relaxation: Relaxation, indices: list[int]) -> float:
        """Return (reference / cost) ** exponent of a sampled architecture; a block's `none` costs nothing.

        Args:
            relaxation: the relaxation from which the architecture was drawn.
            indices: index of the sampled candidate of each differentiable choice.
        """
        if self.table is None:
            return 1.0
        sampled = {
            name: functional.one_hot(torch.tensor(index), len(candidates)).float()
            for name, index, candidates in zip(relaxation.names, indices, relaxation.candidates, strict=True)
        }
        cost = float(self._cost(relaxation, self.table)(sampled))
        if cost <= 0:
            raise ConfigurationError(
                f"a cost in a reward must be above 0, but a sampled architecture costs {cost:g}; take another cost"
            )
        return float((self.reference / cost) ** self.exponent)

    def _cost(self, relaxation: Relaxation, table: CostTable) -> ExpectedCost:
        """Return the cost of the relaxation's architectures; it is made once per relaxation."""
        if self._expected is None or self._expected.relaxation is not relaxation:
            self._expected = ExpectedCost(relaxation, table)
        return self._expected
