"""ProxylessNAS: binary gates, and an expected cost in the loss.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), sections 3.2 and 3.3. Weights are trained first with random gates; then weights and architecture in
turn. Differs from it: limits are hard, and the architecture is the most probable one within them; cost may be
multiply-accumulates. The released code warms up along a cosine of its own from 0.05 and leaves the logits alone for
one further epoch; here one cosine from 0.025 runs through warm-up and search, and the logits move from the first epoch
after the warm-up on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from onepath.cost import Constraint, table
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.methods.differentiable import Derived, architecture_recipe, search_relaxed, weights_recipe
from onepath.nn import Supernet
from onepath.nn.relaxations import BinaryRelaxation, ExpectedCost, Relaxation, Rule, TwoPathRelaxation
from onepath.space import CostTable
from onepath.train import ArchitectureRecipe, ArchitectureTraining, CostLoss, Guard, Recipe, Reinforce
from onepath.train.cost_loss import Form
from onepath.train.training import Checkpoint, OnPoint, OnUpdate

Gates = Literal["full", "two-path", "reinforce"]


def proxyless(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    warmup_epochs: int = 40,
    gates: Gates = "full",
    costs: CostTable | None = None,
    reference: float | None = None,
    form: Form = "add-linear",
    guard: Guard | None = None,
    rule: Rule = "weights",
    architecture_rate: float | None = None,
    every: int = 5,
    batch_size: int | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
) -> Derived:
    """Train weights on sampled paths and the probabilities of the paths, and derive the best legal architecture.

    Args:
        supernet: trained in place, on `device`; its choices are choice blocks and sets of edges.
        data: see `darts`.
        constraints: hard limits on the architecture derived.
        epochs: passes over the training split after the warm-up; None takes what the recipe leaves, 120 in the paper.
        warmup_epochs: before, with random gates and the weights alone.
        gates: "full" learns from every candidate with the memory of one path; "two-path" from two; "reinforce" from
            rewards of sampled paths, without differentiating.
        costs: table of the cost in the loss, such as milliseconds; None for multiply-accumulates where there is a
            reference.
        reference: cost aimed at, in the table's unit; None takes the first limit of the table's unit, and where there
            is none leaves cost out of the loss.
        form: how loss and cost are joined, see `CostLoss`.
        guard: stops the logits before a collapse.
        rule: see `derive`.
        architecture_rate: learning rate of the logits; None takes the paper's 1e-3, for text as in `darts`.
        every: updates of the weights for one step of the logits.
        batch_size: of both splits; None takes the recipe's, 256 in the paper.
        recipe: of the weights, its epochs with those of the warm-up; None takes `proxyless_recipe` with the task's
            `recipe_settings`.
        seed: of all that is drawn.
        device: where to train.
        checkpoint: where the search is kept and continued from, see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.

    Raises:
        ConfigurationError: a size or a depth is a choice, or an option is out of its range.
    """
    if gates not in ("full", "two-path", "reinforce"):
        raise ConfigurationError(f"gates must be 'full', 'two-path' or 'reinforce', but got {gates!r}")
    relaxation = (TwoPathRelaxation if gates == "two-path" else BinaryRelaxation)(supernet, seed=seed)
    total = None if epochs is None else warmup_epochs + epochs
    paper = proxyless_recipe(warmup_epochs + 120)
    weights = weights_recipe(paper, data, given=recipe, epochs=total, batch_size=batch_size)
    logits = ArchitectureRecipe(
        learning_rate=1e-3, betas=(0.0, 0.999), weight_decay=0.0, warmup_epochs=warmup_epochs, every=every
    )
    costs, reference = _aimed(supernet, data, constraints, costs, reference)
    training = ArchitectureTraining(
        supernet,
        relaxation,
        architecture_recipe(logits, data, weights, rate=architecture_rate),
        seed=seed,
        cost=None if gates == "reinforce" else _cost_loss(relaxation, costs, reference, form),
        guard=guard,
        reinforce=_rewards(costs, reference) if gates == "reinforce" else None,
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


def _aimed(
    supernet: Supernet,
    data: Task,
    constraints: Sequence[Constraint],
    costs: CostTable | None,
    reference: float | None,
) -> tuple[CostTable | None, float | None]:
    """The cost in the loss and what it aims at; without a reference there is none."""
    if reference is None:
        unit = "macs" if costs is None else costs.unit.lower()
        reference = next((c.maximum for c in constraints if c.name.rsplit("_", 1)[-1] == unit), None)
    if reference is None:
        return None, None
    if not 0 < reference < math.inf:
        raise ConfigurationError(f"`reference > 0` must hold, but got {reference}. Raise it.")
    return table(supernet, data.input_shape, "macs") if costs is None else costs, reference


def _cost_loss(
    relaxation: Relaxation, costs: CostTable | None, reference: float | None, form: Form
) -> CostLoss | None:
    if costs is None or reference is None:
        return None
    return CostLoss(ExpectedCost(relaxation, costs), reference, form)


def _rewards(costs: CostTable | None, reference: float | None) -> Reinforce:
    return Reinforce() if reference is None else Reinforce(costs, reference)


def proxyless_recipe(epochs: int = 160, batch_size: int = 256) -> Recipe:
    """The weights' optimizer: a rate of 0.025 for 256 examples falling to 0 along a cosine."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.025,
        weight_decay=4e-5,
        label_smoothing=0.1,
        schedule="cosine",
    )
