"""Zen-NAS.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063),
Algorithm 1: networks of a population are mutated, those that exceed the budget are thrown away, the others scored
without training, and the worst leaves; the best network at the end is trained. Differs from it: limits are hard and
the first population is drawn inside them; 4,096 networks are scored where the paper scores 480,000; a mutation changes
one choice; any score can take the place of Zen-score; the training is scaled to the size of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onepath.cost import Constraint
from onepath.data import Task
from onepath.estimate import ScoreEstimator
from onepath.methods.supernet_search import Found, search_supernet
from onepath.nn import Supernet
from onepath.search import MutationEvolution
from onepath.train import Recipe, train_model
from onepath.train.checks import check_fresh

POPULATION = 512
NUM_SCORED = 8 * POPULATION


@dataclass(frozen=True)
class Scored:
    """The result of a search by a score without training.

    Attributes:
        found: every scored architecture; the `accuracy` of its estimates is the score, which has no unit, minus
            infinity for a degenerate network.
        model: the best one, trained: plain torch layers. Others, untrained, are `found.model(architecture)`.
        num_degenerate: networks about which the score could tell nothing.
    """

    found: Found
    model: nn.Module
    num_degenerate: int


def zen(
    space: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    score: str = "zen",
    population: int = POPULATION,
    num: int = NUM_SCORED,
    batch_size: int = 16,
    epochs: int | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Scored:
    """From nothing to a trained network, without a supernet.

    Args:
        space: for example `op.spaces.build("zennas", num_classes=10)`; no weights of it are trained or read.
        data: the training split trains the network found; a score that reads data takes a batch of it.
        constraints: hard limits: `MaxMacs`, `MaxParams`, `MaxLayers`, `MaxLatency`.
        score: one of `op.estimate.SCORES`.
        population: networks that are kept.
        num: networks scored in all.
        batch_size: examples that a score sees.
        epochs: of the training of the network found; None scales it to the data.
        device: where networks are scored and trained.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: there is no such score.
        InfeasibleError: no architecture meets the limits.
        BindingError: a module cannot initialise its own parameters.
    """
    check_fresh(space)
    algorithm = MutationEvolution(space.space, seed=seed, num=num, population=population)
    estimator = ScoreEstimator(score, space, data, batch_size=batch_size, device=device, seed=seed)
    found = search_supernet(space, data, algorithm, constraints=constraints, estimator=estimator)
    model = space.extract(found.best, inherit=False, seed=seed)
    train_model(
        model, data, recipe=Recipe.for_task(data, retrain=True, epochs=epochs), seed=seed, device=device
    )
    return Scored(found, model, estimator.num_degenerate)
