"""A score as the estimator of a search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from onepath.errors import ConfigurationError
from onepath.estimate.estimator import Estimate, architecture_of
from onepath.estimate.scores.catalogue import score_definition, scores
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
    """Scores the stand-alone network of each architecture with fresh weights; each once.

    In an `Estimate`, `accuracy` is the score, which has no unit, and `loss` is 0. The score is also a function of the
    architecture, `value`, which ranks initial populations and filters proposals (`search.Prefilter`).

    Args:
        name: of the score.
        supernet: says what network an architecture is; its weights are not used and not changed.
        task: the batch is a fixed random subset of its "train" split, without augmentation.
        batch_size: examples in the batch; the papers take 64.
        device: where to run.
        num_threads: of torch while a network is scored on a CPU, on which a score's last digits depend; None leaves
            them.
        seed: of the fresh weights, of the batch and of the score; the same for every architecture.
        options: of the score.

    Raises:
        ConfigurationError: there is no such score.
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
    ) -> None:
        score_definition(name)
        inputs, targets = next(task.batches("train", batch_size, num_examples=batch_size, seed=seed))
        self._begin(name, supernet, inputs, targets, task.loss, device, num_threads, seed, options)

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
        """For a score that needs no data: the same scores as with a task of this shape.

        Args:
            name: as for a task.
            supernet: as for a task.
            shape: of a batch: (B, C, H, W), of float32.
            device: as for a task.
            num_threads: as for a task.
            seed: as for a task.
            options: as for a task.

        Raises:
            ConfigurationError: there is no such score, or it reads data.
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
        self._name, self._reads_weights = name, score_definition(name).reads_weights
        self._supernet = supernet
        self._seed = seed
        self._device, self._num_threads = torch.device(device), num_threads
        self._loss = loss
        self._options = {name: dict(options or {})}
        self._inputs = inputs.to(self._device)
        self._targets = None if targets is None else targets.to(self._device)
        self._scores: dict[Architecture, Score] = {}
        if self._device.type == "cpu":
            keep_freed_memory()

    @property
    def num_examples(self) -> int:
        """In the batch."""
        return len(self._inputs)

    @property
    def num_degenerate(self) -> int:
        """How many of the architectures asked for so far were degenerate."""
        return sum(score.is_degenerate for score in self._scores.values())

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """The score of one architecture of the supernet's space."""
        architecture = architecture_of(asked)
        score = self.score(architecture)
        return Estimate(score.value, 0.0, score.seconds, self.num_examples)

    def model(self, architecture: Architecture) -> nn.Module:
        """The stand-alone network of an architecture with fresh weights of the estimator's seed, in eval mode."""
        return self._placed(self._supernet.extract(architecture, inherit=False, seed=self._seed)).eval()

    def value(self, architecture: Architecture) -> float:
        """The score as a number; higher is better."""
        return self.score(architecture).value

    def score(self, architecture: Architecture) -> Score:
        """The score with its reason; `seconds` includes building the network."""
        known = self._scores.get(architecture)
        if known is None:
            known = self._scores[architecture] = self._compute(architecture)
        return known

    def _compute(self, architecture: Architecture) -> Score:
        started = time.perf_counter()
        with threads(self._num_threads):
            found = scores(
                [self._name],
                self._network(architecture),
                self._inputs,
                self._targets,
                seed=self._seed,
                loss=self._loss,
                options=self._options,
                is_disposable=True,
            )[self._name]
        return Score(found.value, found.reason, time.perf_counter() - started)

    def _network(self, architecture: Architecture) -> nn.Module:
        """The stand-alone network; where the score draws weights of its own, others are not drawn before."""
        if not self._reads_weights:
            model = self._supernet.extract(architecture, inherit=False, seed=None)
            if all(isinstance(module, _DRAWN) for module in model.modules() if module._parameters):
                return self._placed(model)
        model = self._supernet.extract(architecture, inherit=False, seed=self._seed)
        _show_blocks(model)
        return self._placed(model)

    def _placed(self, model: nn.Module) -> nn.Module:
        # Visiting every parameter takes longer than a layer of a small network.
        first = next(model.parameters(), None)
        return model if first is None or first.device == self._device else model.to(self._device)


@torch.no_grad()
def _show_blocks(model: nn.Module) -> None:
    """Set scales of normalisation that are all 0 to 1: no score sees into a block that starts as an identity."""
    for module in model.modules():
        scale = module._parameters.get("weight") if isinstance(module, _NORMS) else None
        if scale is not None and not scale.any():
            scale.fill_(1.0)
