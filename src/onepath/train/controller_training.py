"""A controller and shared weights trained in turn: weights on paths that it draws, the controller on their rewards.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268),
and the released code: after each epoch of the weights come 30 steps of the controller, each on 10 architectures,
rewarded by their accuracy on a validation batch. Normalisation uses the statistics of that batch. Differs from the
code: the architectures of a step see the same batch, so that their rewards differ by the architecture alone; dropout
is off while rewards are measured; the baseline and the entropy are those of `onepath.policy.gradient`.
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.nn.frozen_statistics import frozen_statistics
from onepath.policy import LegalPolicy, PolicyGradient
from onepath.randomness import generator
from onepath.train.architecture import carried_kept
from onepath.train.evaluation import autocast
from onepath.tree import Tree, float_outputs, to_device

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.space import Architecture
    from onepath.train.training import Training


class ControllerPoint(NamedTuple):
    """The state of a controller after an epoch of the weights and the controller's steps.

    Attributes:
        epoch: epochs of the weights that are done.
        entropy: mean entropy of the architectures drawn in these steps, as a share of that of a uniform policy.
        reward: mean reward of these architectures, the task's score on validation batches.
        baseline: moving mean of the rewards after the steps, without the scale of the rewards.
    """

    epoch: int
    entropy: float
    reward: float
    baseline: float


class ControllerTraining:
    """Trains a controller between the epochs of shared weights; a `BeforeUpdate`, and the sampler of the weights.

    Draws depend on the seed, the epoch and the step alone, so that a resumed training continues to the bit.

    Args:
        supernet: the supernet whose weights are trained at the same time.
        policy: the controller, and which architectures it may draw.
        gradient: trains the controller.
        seed: seed of every random draw.
        num_steps: steps of the controller after each epoch of the weights.
        num_samples: architectures of each step.
        reward_scale: factor of the task's score in a reward, which sets the weight of the entropy against it.

    Attributes:
        points: one `ControllerPoint` for each epoch.
    """

    def __init__(
        self,
        supernet: Supernet,
        policy: LegalPolicy,
        gradient: PolicyGradient,
        *,
        seed: int,
        num_steps: int = 30,
        num_samples: int = 10,
        reward_scale: float = 1.0,
    ) -> None:
        self.supernet, self.policy, self.gradient, self.seed = supernet, policy, gradient, seed
        self.num_steps, self.num_samples, self.reward_scale = num_steps, num_samples, reward_scale
        self.points: list[ControllerPoint] = []

    # The sampler of the weights' updates.

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Architecture]:  # noqa: ARG002
        """Return one architecture, drawn anew for each update; see `Sampler`."""
        return self.supernet.space.architectures(self.policy.draw(1, rng))

    # The action before updates.

    def to(self, device: torch.device) -> None:
        """See `BeforeUpdate.to`; the controller stays on the CPU."""

    def step(self, training: Training, inputs: Tree, targets: Tree, rate: float) -> None:  # noqa: ARG002
        """Train the controller if an epoch of the weights is over; see `BeforeUpdate.step`."""
        if training.update and training.update % training.updates_per_epoch == 0:
            self._train_controller(training)

    def finish(self, training: Training) -> None:
        """Train the controller after the last epoch; see `BeforeUpdate.finish`."""
        self._train_controller(training)

    def _train_controller(self, training: Training) -> None:
        epoch = -(-training.update // training.updates_per_epoch)
        if self.points and self.points[-1].epoch >= epoch:
            return
        first = (epoch - 1) * self.num_steps
        batches = training.task.validation_batches(
            training.recipe.batch_size, seed=self.seed, first_step=first, num_steps=self.num_steps
        )
        rewards, entropies = [], []
        with self._measuring(training):
            for number, batch in enumerate(batches):
                rows = self.policy.draw(self.num_samples, generator(self.seed, "controller", first + number))
                inputs, expected = (to_device(part, training.device) for part in batch)
                own = [
                    self._reward(training, inputs, expected, architecture)
                    for architecture in self.supernet.space.architectures(rows)
                ]
                entropies.append(self.gradient.step(rows, [self.reward_scale * reward for reward in own]))
                rewards.append(float(np.mean(own)))
        most = sum(math.log(count) for count in self.supernet.space.num_options.tolist())
        baseline = (self.gradient.baseline.value or 0.0) / self.reward_scale
        entropy = float(np.mean(entropies)) / most if most else 0.0
        self.points.append(ControllerPoint(epoch, entropy, float(np.mean(rewards)), baseline))

    @torch.no_grad()
    def _reward(self, training: Training, inputs: Tree, targets: Tree, architecture: Architecture) -> float:
        """Return the task's score of an architecture on a batch; 0 if it is not finite."""
        with autocast(training.device, training.recipe.precision):
            outputs = training.forward(inputs, architecture)
        task = training.task
        score = task.score(task.metric(task.tally(float_outputs(outputs), targets)))
        return score if math.isfinite(score) else 0.0

    @contextlib.contextmanager
    def _measuring(self, training: Training) -> Iterator[None]:
        """Use the statistics of each batch and no dropout inside; running statistics and states do not change."""
        modes = [(module, module.training) for module in self.supernet.modules()]
        for module, mode in modes:
            module.training = mode and isinstance(module, _BatchNorm)
        try:
            with frozen_statistics(self.supernet), carried_kept(training):
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    # Checkpoints and records.

    def settings(self) -> dict[str, Any]:
        """See `BeforeUpdate.settings`."""
        return {
            "controller_seed": self.seed,
            "controller_steps": self.num_steps,
            "controller_samples": self.num_samples,
            "reward_scale": self.reward_scale,
            "controller": {**self.policy.controller.settings(), **self.gradient.settings()},
        }

    def state_dict(self) -> dict[str, Any]:
        """See `BeforeUpdate.state_dict`."""
        return {"gradient": self.gradient.state_dict(), "points": [list(point) for point in self.points]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `BeforeUpdate.load_state_dict`."""
        self.gradient.load_state_dict(state["gradient"])
        self.points = [ControllerPoint(*point) for point in state["points"]]

    def record(self) -> dict[str, Any]:
        """Return the controller's weights, as base64 of little-endian float32 values, and the points."""
        flat = nn.utils.parameters_to_vector(self.policy.controller.parameters()).detach()
        content = base64.b64encode(flat.numpy().astype("<f4").tobytes()).decode()
        return {"controller": content, "points": [point._asdict() for point in self.points]}

    def load_record(self, record: Mapping[str, Any]) -> None:
        """Restore the controller's weights of a record."""
        values = np.frombuffer(base64.b64decode(record["controller"]), dtype="<f4").astype(np.float32)
        nn.utils.vector_to_parameters(torch.from_numpy(values), self.policy.controller.parameters())
