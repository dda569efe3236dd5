"""Averages of a network's weights over the last part of its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.train.training import Checkpoint


class WeightAverage:
    """Averages a module's parameters while it trains; pass its `observe` as `on_update`.

    The n-th sample enters the mean with the rate max(1 / n, 1 - decay). With decay 1 this is the plain mean of all
    samples; with a lower decay older samples count less, and the start of the average has no lasting effect. Buffers
    are not averaged, so normalisation must be recalibrated before the averaged weights are used, as
    `SupernetEstimator` does for every candidate.

    Args:
        module: the module whose parameters are averaged; not changed until `apply`.
        begin: share of the updates after which the averaging begins, in [0, 1).
        decay: how long samples are remembered, in (0, 1]; 1 remembers all equally.
        every: number of updates from one sample to the next.

    Attributes:
        num_samples: number of samples taken so far.

    Raises:
        ConfigurationError: a value is out of its range.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407.
    Differs from it: there is no cyclical rate; samples come from a training whose rate falls as usual.
    """

    def __init__(
        self, module: nn.Module, *, begin: float = 0.75, decay: float = 1.0, every: int = 10
    ) -> None:
        if not 0 <= begin < 1 or not 0 < decay <= 1 or every < 1:
            raise ConfigurationError(
                f"`0 <= begin < 1`, `0 < decay <= 1` and `every >= 1` must hold, but got begin={begin}, decay={decay} "
                f"and every={every}; change the one that is out of range"
            )
        self._module = module
        self._begin, self._decay, self._every = begin, decay, every
        self._mean: dict[str, Tensor] = {}
        self.num_samples = 0

    @torch.no_grad()
    def observe(self, update: int, num_updates: int) -> None:
        """Take a sample of the parameters if one is due.

        Args:
            update: number of updates done.
            num_updates: number of updates in all.
        """
        if update <= self._begin * num_updates or ((num_updates - update) % self._every):
            return
        self.num_samples += 1
        rate = max(1 / self.num_samples, 1 - self._decay)
        for name, parameter in self._module.named_parameters():
            if name in self._mean:
                self._mean[name].lerp_(parameter.detach(), rate)
            else:
                self._mean[name] = parameter.detach().clone()

    @torch.no_grad()
    def apply(self) -> None:
        """Copy the mean into the module's parameters, in place.

        Raises:
            ConfigurationError: there is no sample yet.
        """
        if not self.num_samples:
            raise ConfigurationError(
                "an average of weights needs at least one sample, but none has been taken yet; finish the training, or "
                "begin the average earlier"
            )
        for name, parameter in self._module.named_parameters():
            parameter.copy_(self._mean[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint (tensors are not copied)."""
        return {"num_samples": self.num_samples, "mean": dict(self._mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned; tensors are moved to the devices of the parameters."""
        devices = {name: parameter.device for name, parameter in self._module.named_parameters()}
        self.num_samples = int(state["num_samples"])
        self._mean = {name: tensor.to(devices[name]) for name, tensor in state["mean"].items()}


class AveragedCheckpoint:
    """A checkpoint that keeps a `WeightAverage` together with the training's state.

    Args:
        checkpoint: the checkpoint that keeps both.
        average: the average to save and restore with the training's state.
    """

    def __init__(self, checkpoint: Checkpoint, average: WeightAverage) -> None:
        self._checkpoint = checkpoint
        self._average = average

    def due(self) -> bool:
        """Whether it is time to save again."""
        return self._checkpoint.due()

    def save(self, state: dict[str, Any]) -> None:
        """Save both states, atomically."""
        self._checkpoint.save({**state, "average": self._average.state_dict()})

    def load(self) -> dict[str, Any] | None:
        """Restore the average, and return the training's state saved last; None if there is none."""
        state = self._checkpoint.load()
        if state is not None:
            self._average.load_state_dict(state.pop("average"))
        return state
