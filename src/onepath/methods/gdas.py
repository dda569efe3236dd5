"""GDAS: one sampled candidate per choice, learned through Gumbel softmax.

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019 (arXiv 1910.04465),
Algorithm 1. Differs from it: limits are hard; only the sampled candidate's weight has a gradient; the weights are
trained as in DARTS; the length is scaled by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from onepath.cost import Constraint
from onepath.data import Task
from onepath.methods.darts import darts_recipe
from onepath.methods.differentiable import Derived, search_relaxed
from onepath.nn import Supernet
from onepath.nn.relaxations import GumbelRelaxation
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Guard


def gdas(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int = 50,
    temperatures: tuple[float, float] = (10.0, 0.1),
    hard: bool = True,
    guard: Guard | None = None,
    architecture_rate: float = 3e-4,
    batch_size: int = 64,
    seed: int = 0,
) -> Derived:
    """Train sampled paths and their probabilities together and derive the best legal architecture.

    Args:
        supernet: trained in place; its choices are choice blocks and sets of edges.
        data: see `darts`.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split.
        temperatures: first and last; linear between.
        hard: one candidate runs; otherwise all do, with relaxed weights, as in SNAS.
        guard: stops the logits before a collapse.
        architecture_rate: learning rate of the logits.
        batch_size: of both splits.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: a size or a depth is a choice, or a temperature is not above 0.
    """
    relaxation = GumbelRelaxation(supernet, seed=seed, temperatures=temperatures, hard=hard)
    architecture = ArchitectureRecipe(learning_rate=architecture_rate)
    training = ArchitectureTraining(supernet, relaxation, architecture, seed=seed, guard=guard)
    recipe = darts_recipe(epochs, batch_size)
    return search_relaxed(supernet, data, training, recipe=recipe, constraints=constraints, seed=seed)
