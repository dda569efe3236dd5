"""GDAS: one sampled candidate per choice, learned through Gumbel softmax.

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019 (arXiv 1910.04465),
Algorithm 1. Differs from it: limits are hard; only the sampled candidate's weight has a gradient; weights and logits
are trained as in DARTS; the warm-up is not the paper's and off by default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from onepath.cost import Constraint
from onepath.data import Task
from onepath.methods.darts import darts_recipe
from onepath.methods.differentiable import Derived, architecture_recipe, search_relaxed, weights_recipe
from onepath.nn import Supernet
from onepath.nn.relaxations import GumbelRelaxation, Rule
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Guard, Recipe
from onepath.train.training import Checkpoint, OnPoint, OnUpdate


def gdas(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    warmup_epochs: int = 0,
    temperatures: tuple[float, float] = (10.0, 0.1),
    hard: bool = True,
    guard: Guard | None = None,
    rule: Rule = "weights",
    architecture_rate: float | None = None,
    batch_size: int | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
) -> Derived:
    """Train sampled paths and their probabilities together and derive the best legal architecture.

    Args:
        supernet: trained in place, on `device`; its choices are choice blocks and sets of edges.
        data: see `darts`.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split; None takes the recipe's, 50 without one.
        warmup_epochs: of these, in which only weights are trained.
        temperatures: first and last; linear between.
        hard: one candidate runs; otherwise all do, with relaxed weights, as in SNAS.
        guard: stops the logits before a collapse.
        rule: see `derive`.
        architecture_rate: learning rate of the logits; None as in `darts`.
        batch_size: of both splits; None takes the recipe's, 64 without one.
        recipe: of the weights; None as in `darts`.
        seed: of all that is drawn.
        device: where to train.
        checkpoint: where the search is kept and continued from, see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.

    Raises:
        ConfigurationError: a size or a depth is a choice, or an option is out of its range.
    """
    weights = weights_recipe(darts_recipe(), data, given=recipe, epochs=epochs, batch_size=batch_size)
    paper = ArchitectureRecipe(warmup_epochs=warmup_epochs)
    training = ArchitectureTraining(
        supernet,
        GumbelRelaxation(supernet, seed=seed, temperatures=temperatures, hard=hard),
        architecture_recipe(paper, data, weights, rate=architecture_rate),
        seed=seed,
        guard=guard,
        rule=rule,
    )
    return search_relaxed(
        supernet,
        data,
        training,
        recipe=weights,
        constraints=constraints,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_point=on_point,
        on_update=on_update,
    )
