"""DARTS.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), Algorithm 1: while not
converged, update the architecture by descending the validation loss at the weights (first order) or one step ahead of
them (second order), then update the weights by descending the training loss; at the end, derive the architecture.
Differs from it: limits are hard; the validation split of the data takes the place of half the training images; weight
decay leaves out biases and normalisation; the look ahead clips gradients as the weights' training does, which the
released code does for text alone; the rate for text falls along the cosine too, and the batch is that for images.
The guard, the warm-up and the dropout of skip connections are later work and off by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from onepath.cost import Constraint
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.methods.differentiable import Derived, architecture_recipe, search_relaxed, weights_recipe
from onepath.nn import Supernet
from onepath.nn.relaxations import Rule, SoftmaxRelaxation
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Guard, Recipe
from onepath.train.architecture_recipe import Order
from onepath.train.training import Checkpoint, OnPoint, OnUpdate

OrderName = Literal["first", "second", "exact", "second-exact"]
"""The order of a logits' gradient as users write it; "second-exact" is another word for "exact"."""

_ORDERS: Mapping[str, Order] = {
    "first": "first",
    "second": "second",
    "exact": "second-exact",
    "second-exact": "second-exact",
}


def darts(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    order: OrderName = "first",
    warmup_epochs: int = 0,
    skip_dropout: float = 0.0,
    guard: Guard | None = None,
    watch_eigenvalue: bool = False,
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
    """Train weights and architecture together and derive the best legal architecture.

    Args:
        supernet: trained in place, on `device`; its choices are choice blocks and sets of edges.
        data: the training split trains the weights, the validation split the architecture; the test split is not read.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split; None takes the recipe's, 50 in the paper.
        order: of the logits' gradient, "first", "second" (by a finite difference) or "exact"; see
            `ArchitectureRecipe`.
        warmup_epochs: of these, in which only weights are trained.
        skip_dropout: see `SoftmaxRelaxation`.
        guard: stops the logits before a collapse.
        watch_eigenvalue: notes the dominant eigenvalue of the validation Hessian.
        rule: see `derive`.
        architecture_rate: learning rate of the logits; None takes the released code's, 3e-4 for images and 3e-3 for
            text.
        batch_size: of both splits; None takes the recipe's, 64 in the paper.
        recipe: of the weights; None takes `darts_recipe` with the task's `recipe_settings`.
        seed: of all that is drawn.
        device: where to train.
        checkpoint: where the search is kept and continued from, see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.

    Raises:
        ConfigurationError: a size or a depth is a choice, or an option is out of its range.
    """
    weights = weights_recipe(darts_recipe(), data, given=recipe, epochs=epochs, batch_size=batch_size)
    paper = ArchitectureRecipe(
        order=order_of(order), warmup_epochs=warmup_epochs, watch_eigenvalue=watch_eigenvalue
    )
    training = ArchitectureTraining(
        supernet,
        SoftmaxRelaxation(supernet, seed=seed, skip_dropout=skip_dropout),
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


def order_of(name: str) -> Order:
    """The order of an `ArchitectureRecipe` from the word that users write.

    Raises:
        ConfigurationError: there is no such order.
    """
    if name not in _ORDERS:
        raise ConfigurationError(
            f"order must be 'first', 'second' or 'exact', but got {name!r}; use one of them"
        )
    return _ORDERS[name]


def darts_recipe(epochs: int = 50, batch_size: int = 64) -> Recipe:
    """The weights' optimizer of the search: 0.025 falling to 0.001 along a cosine, clipped at a norm of 5.

    For images; see `Task.recipe_settings` for other data.
    """
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.025,
        final_rate=0.001,
        momentum=0.9,
        weight_decay=3e-4,
        label_smoothing=0.0,
        schedule="cosine",
        clip_norm=5.0,
    )
