"""REINFORCE: rewards train a policy through the logarithm of the probabilities of what it drew.

Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
Learning 1992; with a moving baseline and Adam as in the released code of Pham et al., "Efficient Neural Architecture
Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268). Differs from that code: the advantage is taken before the
baseline moves, so that no reward is part of its own baseline; the entropy is a term of the objective with a gradient
of its own, not a part of the reward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.policy.controller import Walked
from onepath.space.conditions import Matrix


class Policy(Protocol):
    """A module that knows the probability of what it draws; `Controller` and `GrowthController` are policies."""

    def __call__(self, matrix: Matrix) -> Walked:
        """Return the log-probabilities and entropies of architectures, differentiable."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters that are trained."""

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take the parameters from a dictionary."""


class MovingMean:
    """A mean of rewards that forgets exponentially.

    Args:
        decay: share of the old mean that is kept at each move, in [0, 1).

    Attributes:
        value: the mean; None before the first move.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigurationError(f"`0 <= decay < 1` must hold for a moving mean, but got {decay}")
        self.decay = decay
        self.value: float | None = None

    def move(self, rewards: Sequence[float]) -> None:
        """Move by the mean of some rewards; the first move takes it as it is."""
        mean = float(np.mean(rewards))
        self.value = mean if self.value is None else self.decay * self.value + (1 - self.decay) * mean


def surrogate_loss(log_probabilities: Tensor, advantages: Tensor) -> Tensor:
    """Return a scalar whose gradient is REINFORCE's estimate of minus the gradient of the expected reward.

    Args:
        log_probabilities: (samples,) log-probabilities of what the policy drew.
        advantages: (samples,) reward minus a baseline that does not depend on the sample.
    """
    return -(advantages.detach() * log_probabilities).mean()


class PolicyGradient:
    """Trains a policy on the rewards of the architectures that it drew.

    Args:
        controller: the policy, trained in place.
        learning_rate: rate of Adam.
        entropy: weight of the mean entropy in what is maximised; it keeps the policy random.
        baseline_decay: share of the old baseline that is kept when it moves.
        target: weight of the mean divergence from the controller's targets in what is minimised.

    Attributes:
        baseline: the moving mean of the rewards. The first step, before which there is none, uses the mean of its own
            rewards.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    def __init__(
        self,
        controller: Policy,
        *,
        learning_rate: float = 0.0035,
        entropy: float = 1e-4,
        baseline_decay: float = 0.95,
        target: float = 0.0,
    ) -> None:
        rules = {
            "learning_rate > 0": 0 < learning_rate < math.inf,
            "entropy >= 0": 0 <= entropy < math.inf,
            "target >= 0": 0 <= target < math.inf,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigurationError(
                    f"`{rule}` must hold, but got learning_rate={learning_rate}, entropy={entropy}, "
                    f"target={target}; change it"
                )
        self.controller, self.entropy, self.target = controller, entropy, target
        self.baseline = MovingMean(baseline_decay)
        self.optimizer = torch.optim.Adam(controller.parameters(), lr=learning_rate)

    def step(self, matrix: Matrix, rewards: Sequence[float]) -> float:
        """Make one update, and return the mean entropy of the architectures before it, in nats.

        Args:
            matrix: (rows, num_choices) architectures that the controller drew with its present weights.
            rewards: finite reward of each row, higher is better.
        """
        walked = self.controller(matrix)
        baseline = float(np.mean(rewards)) if self.baseline.value is None else self.baseline.value
        advantages = torch.tensor(rewards, dtype=torch.float32) - baseline
        entropy = walked.entropies.mean()
        loss = surrogate_loss(walked.log_probabilities, advantages) - self.entropy * entropy
        loss = loss + self.target * walked.divergences.mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.baseline.move(rewards)
        return float(entropy.detach())

    def settings(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must agree on, as plain values; those of the policy are its own."""
        return {
            "rate": self.optimizer.defaults["lr"],
            "entropy": self.entropy,
            "target": self.target,
            "baseline_decay": self.baseline.decay,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the controller's weights, the optimizer's state and the baseline."""
        return {
            "controller": self.controller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline.value,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline.value = state["baseline"]
