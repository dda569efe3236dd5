"""Accuracy of networks that grow: each begins with what its parent computes, and is trained on for a short time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import torch

from onepath.estimate.estimator import Estimate, architecture_of
from onepath.estimate.recalibration import recalibrate_on_task
from onepath.morph import grow
from onepath.search import Proposal
from onepath.train import Recipe, evaluate, train_model
from onepath.train.checks import check_fresh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture

_NUM_EXAMPLES, _NUM_CALIBRATION = 256, 2000


class WeightStore(Protocol):
    """Keeps the weights of networks by name."""

    def get(self, name: str) -> Mapping[str, Tensor] | None:
        """Return the weights of a network; None if it has none."""

    def put(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of a network."""


class GrownEstimator:
    """Trains the network of a proposal from its parent's weights, and scores it on the validation split.

    A proposal with a parent whose weights are known begins with a network that computes what the parent's does, see
    `onepath.morph.grow`; any other with fresh weights. The weights are kept for its own children.

    Args:
        supernet: builds the networks; its weights are neither used nor changed.
        task: data.
        store: keeps the weights.
        first: recipe of a network with fresh weights.
        further: recipe of a network that begins with its parent's.
        device: torch device of the trainings.
        seed: seed of fresh weights, of copies and noise, and of the trainings.
        noise: noise on the copies of channels, without which they would stay equal; see `onepath.morph.widen`.
    """

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        store: WeightStore,
        *,
        first: Recipe,
        further: Recipe,
        device: str | torch.device = "cpu",
        seed: int = 0,
        noise: float = 0.01,
    ) -> None:
        check_fresh(supernet)
        self._supernet, self._task, self._store = supernet, task, store
        self._first, self._further, self._device = first, further, device
        self._seed, self._noise = seed, noise

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Train the network of a proposal and return its accuracy and loss on the validation split."""
        started = time.perf_counter()
        architecture = architecture_of(asked)
        model, recipe = self._supernet.extract(architecture, inherit=False, seed=self._seed), self._first
        parent = asked.parent if isinstance(asked, Proposal) else None
        if parent is not None and (known := self._store.get(str(parent))) is not None:
            smaller = self._supernet.extract(parent, inherit=False, seed=None)
            smaller.load_state_dict(known)
            examples = self._task.example_inputs("train", _NUM_EXAMPLES)
            model = grow(smaller, model, examples, noise=self._noise, seed=self._seed)
            recipe = self._further
        train_model(model, self._task, recipe=recipe, seed=self._seed, device=self._device)
        recalibrate_on_task(
            model, self._task, _NUM_CALIBRATION, device=self._device, precision=recipe.precision
        )
        score = evaluate(model, self._task, "validation", device=self._device, precision=recipe.precision)
        self._store.put(str(architecture), {name: t.cpu() for name, t in model.state_dict().items()})
        return Estimate(self._task.score(score.metric), score.loss, time.perf_counter() - started, score.num)

    def model(self, architecture: Architecture) -> nn.Module:
        """Return the network of an architecture as it was scored, in eval mode.

        Raises:
            KeyError: it was not estimated.
        """
        known = self._store.get(str(architecture))
        if known is None:
            raise KeyError(f"{architecture} has no weights: it was not estimated")
        model = self._supernet.extract(architecture, inherit=False, seed=None)
        model.load_state_dict(known)
        return model.eval()
