"""An estimator that gives a search the score of an untrained network in the place of its accuracy."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from onepath.errors import ConfigurationError
from onepath.estimate.estimator import Estimate, architecture_of
from onepath.estimate.scores.catalogue import score_definition, score_definitions, scores
from onepath.estimate.scores.definition import Score
from onepath.estimate.scores.probe import Loss
from onepath.train.memory import keep_freed_memory
from onepath.train.threads import threads

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.search import Proposal
    from onepath.space import Architecture

_DRAWN = (_ConvNd, nn.Linear, _BatchNorm)
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


class ScoreEstimator:
    """Scores the stand-alone network of each architecture with fresh weights.

    In an `Estimate`, `accuracy` is the score, which has no unit; `loss` is 0; `num_validation` is the number of
    examples in the batch. An architecture is scored once. The method `value` gives the score as a function of the
    architecture, with which initial populations are ranked and proposals filtered (`search.Prefilter`).

    Several scores have different units. Of "nwot+layers" the value is the mean of both, each in standard deviations
    from its mean over some reference architectures; one that says nothing about any of these is left out.

    Args:
        name: name of the score, see `SCORES`; or of several, joined by "+".
        supernet: builds the network of an architecture; its weights are neither used nor changed.
        task: data; the batch is a fixed random subset of its "train" split, without augmentation.
        batch_size: number of examples in the batch; the papers take 64.
        device: device to compute on.
        num_threads: number of torch threads while a network is scored on a CPU; the last digits of a score depend on
            it. None keeps the current number.
        seed: seed of the fresh weights, the batch and the score; the same for every architecture.
        options: options of the score, if it is one.
        reference: architectures on which several scores are standardised, some tens of them.

    Raises:
        ConfigurationError: there is no score of this name, or several have no reference.
    """

    def __init__(
        self,
        name: str,
        supernet: Supernet,
        task: Task,
        *,
        batch_size: int = 64,
        device: str | torch.device = "cpu",
        num_threads: int | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        reference: Sequence[Architecture] = (),
    ) -> None:
        if len(score_definitions(name)) > 1 and len(reference) < 2:
            raise ConfigurationError(
                f"a mean of several scores needs two or more reference architectures, but got {len(reference)} for "
                f"{name}; give some tens of random ones"
            )
        inputs, targets = next(task.batches("train", batch_size, num_examples=batch_size, seed=seed))
        self._begin(name, supernet, inputs, targets, task.loss, device, num_threads, seed, options)
        self._reference = tuple(reference)

    @classmethod
    def without_data(
        cls,
        name: str,
        supernet: Supernet,
        shape: Sequence[int],
        *,
        device: str | torch.device = "cpu",
        num_threads: int | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an estimator for a score that reads no data; it gives the same scores as with a task of this shape.

        Args:
            name: name of the score.
            supernet: builds the network of an architecture.
            shape: shape of a batch of float32 inputs, for example (B, C, H, W).
            device: device to compute on.
            num_threads: number of torch threads while a network is scored on a CPU; None keeps the current number.
            seed: seed of the fresh weights and of the score.
            options: options of the score.

        Raises:
            ConfigurationError: there is no score of this name, or it reads data.
        """
        if score_definition(name).reads_data:
            raise ConfigurationError(
                f"a score without data must need none, but {name} does; give the estimator a task"
            )
        self = cls.__new__(cls)
        self._begin(name, supernet, torch.zeros(*shape), None, None, device, num_threads, seed, options)
        return self

    def _begin(
        self,
        name: str,
        supernet: Supernet,
        inputs: Tensor,
        targets: Tensor | None,
        loss: Loss | None,
        device: str | torch.device,
        num_threads: int | None,
        seed: int,
        options: Mapping[str, Any] | None,
    ) -> None:
        definitions = score_definitions(name)
        self._names = [definition.name for definition in definitions]
        self._reads_weights = any(definition.reads_weights for definition in definitions)
        self._supernet, self._reference = supernet, ()
        self._seed = seed
        self._device, self._num_threads = torch.device(device), num_threads
        self._loss = loss
        self._options = {self._names[0]: dict(options or {})}
        self._inputs = inputs.to(self._device)
        self._targets = None if targets is None else targets.to(self._device)
        self._scores: dict[Architecture, Score] = {}
        if self._device.type == "cpu":
            keep_freed_memory()

    @property
    def num_examples(self) -> int:
        """Number of examples in the batch."""
        return len(self._inputs)

    @property
    def num_degenerate(self) -> int:
        """Number of the architectures scored so far whose network is degenerate."""
        return sum(score.is_degenerate for score in self._scores.values())

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the score of one architecture of the supernet's space as an `Estimate`."""
        architecture = architecture_of(asked)
        score = self.score(architecture)
        return Estimate(score.value, 0.0, score.seconds, self.num_examples)

    def model(self, architecture: Architecture) -> nn.Module:
        """Return the stand-alone network of an architecture in eval mode, with fresh weights drawn from the seed."""
        return self._placed(self._supernet.extract(architecture, inherit=False, seed=self._seed)).eval()

    def value(self, architecture: Architecture) -> float:
        """Return the score as a number; higher is better, minus infinity for a degenerate network."""
        return self.score(architecture).value

    def score(self, architecture: Architecture) -> Score:
        """Return the score, with the reason if the network is degenerate; `seconds` includes building the network."""
        known = self._scores.get(architecture)
        if known is None:
            known = self._scores[architecture] = self._compute(architecture)
        return known

    def _compute(self, architecture: Architecture) -> Score:
        started = time.perf_counter()
        found = self._each(architecture)
        places = self._places
        reason = next((found[name].reason for name in places if found[name].is_degenerate), None)
        if not places:
            reason = "no score says anything about the reference"
        value = -math.inf
        if reason is None:
            value = statistics.fmean(
                (found[name].value - mean) / deviation for name, (mean, deviation) in places.items()
            )
        return Score(value, reason, time.perf_counter() - started)

    def _each(self, architecture: Architecture) -> dict[str, Score]:
        """Return every score of an architecture by its name."""
        with threads(self._num_threads):
            return scores(
                self._names,
                self._network(architecture),
                self._inputs,
                self._targets,
                seed=self._seed,
                loss=self._loss,
                options=self._options,
                is_disposable=True,
            )

    @cached_property
    def _places(self) -> dict[str, tuple[float, float]]:
        """Name of a score -> its mean and standard deviation over the reference; a deviation of 0 counts as 1.

        A score that says nothing about any of the reference is left out; one score alone keeps its value.
        """
        if len(self._names) == 1:
            return {self._names[0]: (0.0, 1.0)}
        found: dict[str, list[float]] = {name: [] for name in self._names}
        for architecture in self._reference:
            for name, score in self._each(architecture).items():
                if not score.is_degenerate:
                    found[name].append(score.value)
        return {
            name: (statistics.fmean(values), statistics.pstdev(values) or 1.0)
            for name, values in found.items()
            if values
        }

    def _network(self, architecture: Architecture) -> nn.Module:
        """Build the stand-alone network; its weights are not drawn if the score draws its own or reads only shapes."""
        if not self._reads_weights:
            model = self._supernet.extract(architecture, inherit=False, seed=None)
            if all(isinstance(module, _DRAWN) for module in model.modules() if module._parameters):
                return self._placed(model)
        model = self._supernet.extract(architecture, inherit=False, seed=self._seed)
        _show_blocks(model)
        return self._placed(model)

    def _placed(self, model: nn.Module) -> nn.Module:
        # `to` visits every parameter, which takes longer than a layer of a small network: only call it if needed.
        first = next(model.parameters(), None)
        return model if first is None or first.device == self._device else model.to(self._device)


@torch.no_grad()
def _show_blocks(model: nn.Module) -> None:
    """Set to 1 the scales of each normalisation whose scales are all 0.

    Scales of 0 make a residual block start as an identity; a score would see nothing of the layers in the block.
    """
    for module in model.modules():
        scale = module._parameters.get("weight") if isinstance(module, _NORMS) else None
        if scale is not None and not scale.any():
            scale.fill_(1.0)
