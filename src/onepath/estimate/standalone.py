"""Stand-alone accuracy: the accuracy of an architecture that is trained from scratch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from onepath.estimate.estimator import Estimate, architecture_of
from onepath.estimate.recalibration import recalibrate_on_task
from onepath.train import Recipe, evaluate, train_model
from onepath.train.checks import check_fresh

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.search import Proposal
    from onepath.space import Architecture


_CALIBRATION_IMAGES = 2000


class StandaloneEstimator:
    """Trains each architecture from fresh weights and scores it on the validation split.

    Before a network is scored, its normalisation is recalibrated on 2,000 training images. An architecture is trained
    once; asking again returns the same `Estimate`.

    Args:
        supernet: builds the network of an architecture; its weights are neither used nor changed. It may be another
            one than that of the architectures asked for, such as a narrower one of the same choices, whose options at
            the same places are then taken.
        task: data; networks are trained on its "train" split and scored on its "validation" split.
        recipe: recipe of the training; by default `Recipe.for_task(task, retrain=True)`.
        device: device to train on.
        seed: seed of the fresh weights and of the training, the same for every architecture.

    Raises:
        BindingError: a module cannot initialise its own parameters.
    """

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        *,
        recipe: Recipe | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        check_fresh(supernet)
        self._supernet = supernet
        self._task = task
        self._recipe = Recipe.for_task(task, retrain=True) if recipe is None else recipe
        self._device = device
        self._seed = seed
        self._estimates: dict[Architecture, Estimate] = {}

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the stand-alone accuracy and loss of one architecture of the supernet's space."""
        architecture = architecture_of(asked)
        known = self._estimates.get(architecture)
        if known is None:
            known = self._estimates[architecture] = self._train(architecture)
        return known

    def model(self, architecture: Architecture) -> nn.Module:
        """Train the network of an architecture again and return it in eval mode; on a CPU the weights are the same."""
        return self._trained(architecture).eval()

    def _train(self, architecture: Architecture) -> Estimate:
        started = time.perf_counter()
        model = self._trained(architecture)
        score = evaluate(
            model, self._task, "validation", device=self._device, precision=self._recipe.precision
        )
        return Estimate(self._task.score(score.metric), score.loss, time.perf_counter() - started, score.num)

    def _trained(self, architecture: Architecture) -> nn.Module:
        own = self._supernet.space.architecture(architecture.indices)
        model = self._supernet.extract(own, inherit=False, seed=self._seed)
        train_model(model, self._task, recipe=self._recipe, seed=self._seed, device=self._device)
        recalibrate_on_task(
            model, self._task, _CALIBRATION_IMAGES, device=self._device, precision=self._recipe.precision
        )
        return model
