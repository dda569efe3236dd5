"""Learning logits from the rewards of sampled architectures.

Source: Cai, Zhu and Han, ProxylessNAS (arXiv 1812.00332), section 3.3.2, with the released code's reward
accuracy * (reference / cost) ** exponent, ten samples a step and a baseline that decays by 0.99.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepath.nn import GatedPath
from onepath.nn.relaxations import Relaxation
from onepath.nn.relaxations.relaxation import one_path
from onepath.space import CostTable

Metric = Callable[[GatedPath], float]


@dataclass
class Reinforce:
    """The REINFORCE gradient with a moving baseline.

    Args:
        table: additive cost of an architecture; None rewards accuracy alone.
        reference: cost at which the reward is the accuracy, in the table's unit.
        exponent: of reference / cost.
        num_samples: architectures per step.
        decay: of the baseline.

    Attributes:
        baseline: moving mean of the rewards; None before the first step, which takes its own mean.
    """

    table: CostTable | None = None
    reference: float = 1.0
    exponent: float = 0.1
    num_samples: int = 10
    decay: float = 0.99
    baseline: float | None = None

    def gradients(self, relaxation: Relaxation, metric: Metric, rng: np.random.Generator) -> list[Tensor]:
        """The mean over samples of -(reward - baseline) * grad log p(sample), one tensor per relaxed choice.

        Args:
            relaxation: architectures are drawn from its probabilities.
            metric: of an architecture on the validation batch; higher is better.
            rng: draws the architectures.
        """
        probabilities = [p.detach() for p in relaxation.probabilities().values()]
        samples, rewards = [], []
        for _ in range(self.num_samples):
            gates = one_path(relaxation, rng)
            indices = [gate.active[0] for gate in gates.values()]
            rewards.append(metric(relaxation.gated(gates)) * self._factor(relaxation, indices))
            samples.append(indices)
        mean = float(np.mean(rewards))
        baseline = mean if self.baseline is None else self.baseline
        self.baseline = self.decay * baseline + (1 - self.decay) * mean
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
        """(reference / cost) ** exponent of what was sampled."""
        if self.table is None:
            return 1.0
        space = relaxation.space
        row = np.zeros((1, space.num_choices), dtype=space.dtype)
        for name, index in zip(relaxation.names, indices, strict=True):
            column = space.column(name)
            row[0, column] = min(index, space.choices[column].num_options - 1)
        cost = float(self.table.costs(space, row)[0])
        return float((self.reference / cost) ** self.exponent)
