"""DARTS.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), Algorithm 1: while not
converged, update the architecture by descending the validation loss at the weights (first order) or one step ahead of
them (second order), then update the weights by descending the training loss; at the end, derive the architecture.
Differs from it: limits are hard; the validation split of the data takes the place of half the training images; weight
decay leaves out biases and normalisation; the length is scaled to the data. The guard, the warm-up and the dropout of
skip connections are later work and off by default.
"""

from __future__ import annotations

from collections.abc import Sequence

from onepath.cost import Constraint
from onepath.data import Task
from onepath.methods.differentiable import Derived, search_relaxed
from onepath.nn import Supernet
from onepath.nn.relaxations import Rule, SoftmaxRelaxation
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Guard, Recipe
from onepath.train.architecture import Order


def darts(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int = 50,
    order: Order = "first",
    warmup_epochs: int = 0,
    skip_dropout: float = 0.0,
    guard: Guard | None = None,
    watch_eigenvalue: bool = False,
    rule: Rule = "weights",
    architecture_rate: float = 3e-4,
    batch_size: int = 64,
    seed: int = 0,
) -> Derived:
    """Train weights and architecture together and derive the best legal architecture.

    Args:
        supernet: trained in place; its choices are choice blocks and sets of edges.
        data: the training split trains the weights, the validation split the architecture; the test split is not read.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split; 50 in the paper.
        order: see `ArchitectureRecipe`.
        warmup_epochs: in which only weights are trained.
        skip_dropout: see `SoftmaxRelaxation`.
        guard: stops the logits before a collapse.
        watch_eigenvalue: notes the dominant eigenvalue of the validation Hessian.
        rule: see `derive`.
        architecture_rate: learning rate of the logits.
        batch_size: of both splits.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: a size or a depth is a choice.
    """
    relaxation = SoftmaxRelaxation(supernet, seed=seed, skip_dropout=skip_dropout)
    architecture = ArchitectureRecipe(
        order=order,
        learning_rate=architecture_rate,
        warmup_epochs=warmup_epochs,
        watch_eigenvalue=watch_eigenvalue,
    )
    training = ArchitectureTraining(supernet, relaxation, architecture, seed=seed, guard=guard, rule=rule)
    recipe = darts_recipe(epochs, batch_size)
    return search_relaxed(
        supernet, data, training, recipe=recipe, constraints=constraints, seed=seed, rule=rule
    )


def darts_recipe(epochs: int, batch_size: int = 64) -> Recipe:
    """The weights' optimizer of the search: 0.025 falling to 0.001 along a cosine, clipped at a norm of 5."""
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
