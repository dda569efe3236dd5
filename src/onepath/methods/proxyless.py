"""ProxylessNAS: binary gates, and an expected cost in the loss.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), sections 3.2 and 3.3. Weights are trained first with random gates; then weights and architecture in
turn. Differs from it: limits are hard, and the architecture is the most probable one within them; cost may be
multiply-accumulates; the length is scaled by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from onepath.cost import Constraint, table
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.methods.differentiable import Derived, search_relaxed
from onepath.nn import Supernet
from onepath.nn.relaxations import BinaryRelaxation, ExpectedCost, TwoPathRelaxation
from onepath.space import CostTable
from onepath.train import ArchitectureRecipe, ArchitectureTraining, CostLoss, Guard, Recipe, Reinforce
from onepath.train.cost_loss import Form

Gates = Literal["full", "two-path", "reinforce"]


def proxyless(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int = 120,
    warmup_epochs: int = 40,
    gates: Gates = "full",
    costs: CostTable | None = None,
    reference: float | None = None,
    form: Form = "add-linear",
    guard: Guard | None = None,
    architecture_rate: float = 1e-3,
    every: int = 5,
    batch_size: int = 256,
    seed: int = 0,
) -> Derived:
    """Train weights on sampled paths and the probabilities of the paths, and derive the best legal architecture.

    Args:
        supernet: trained in place; its choices are choice blocks and sets of edges.
        data: see `darts`.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split after the warm-up.
        warmup_epochs: before, with random gates and the weights alone.
        gates: "full" learns from every candidate with the memory of one path; "two-path" from two; "reinforce" from
            rewards of sampled paths, without differentiating.
        costs: table of the cost in the loss, such as milliseconds; None for multiply-accumulates where there is a
            reference.
        reference: cost aimed at, in the table's unit; None takes the first limit of the table's unit, and where there
            is none leaves cost out of the loss.
        form: how loss and cost are joined, see `CostLoss`.
        guard: stops the logits before a collapse.
        architecture_rate: learning rate of the logits.
        every: updates of the weights for one step of the logits.
        batch_size: of both splits.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: a size or a depth is a choice, or the reference is outside its domain.
    """
    if gates not in ("full", "two-path", "reinforce"):
        raise ConfigurationError(f"gates must be 'full', 'two-path' or 'reinforce', but got {gates!r}")
    relaxation = (
        TwoPathRelaxation(supernet, seed=seed)
        if gates == "two-path"
        else BinaryRelaxation(supernet, seed=seed)
    )
    if reference is None:
        unit = "macs" if costs is None else costs.unit.lower()
        reference = next((c.maximum for c in constraints if c.name.rsplit("_", 1)[-1] == unit), None)
    if reference is not None and not 0 < reference < math.inf:
        raise ConfigurationError(f"`reference > 0` must hold, but got {reference}. Raise it.")
    if reference is not None and costs is None:
        costs = table(supernet, data.input_shape, "macs")
    by_reward = gates == "reinforce"
    cost = None
    if costs is not None and reference is not None and not by_reward:
        cost = CostLoss(ExpectedCost(relaxation, costs), reference, form)
    rewards = None
    if by_reward:
        rewards = Reinforce(costs if reference is not None else None, 1.0 if reference is None else reference)
    architecture = ArchitectureRecipe(
        learning_rate=architecture_rate,
        betas=(0.0, 0.999),
        weight_decay=0.0,
        warmup_epochs=warmup_epochs,
        every=every,
    )
    training = ArchitectureTraining(
        supernet, relaxation, architecture, seed=seed, cost=cost, guard=guard, reinforce=rewards
    )
    recipe = proxyless_recipe(warmup_epochs + epochs, batch_size)
    return search_relaxed(supernet, data, training, recipe=recipe, constraints=constraints, seed=seed)


def proxyless_recipe(epochs: int, batch_size: int = 256) -> Recipe:
    """The weights' optimizer: a rate of 0.025 for 256 examples falling to 0 along a cosine."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.025,
        weight_decay=4e-5,
        label_smoothing=0.1,
        schedule="cosine",
    )
