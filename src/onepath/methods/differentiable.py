"""What the differentiable methods share: train weights and logits together, then take the best legal architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from onepath.cost import Constraint
from onepath.data import Task
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.estimate import Estimator, SupernetEstimator
from onepath.methods.supernet_search import estimated_network, feasible_set
from onepath.nn import Supernet
from onepath.nn.relaxations import Relaxation, Rule, derive, option_scores
from onepath.randomness import generator
from onepath.search.feasible import Constraint as Limit
from onepath.space import Architecture
from onepath.train import (
    ArchitecturePoint,
    ArchitectureRecipe,
    ArchitectureTraining,
    Recipe,
    TrainingPoint,
    train_relaxed,
)
from onepath.train.checks import check_supernet, warn_unless_fresh
from onepath.train.training import Checkpoint, OnPoint, OnUpdate

NUM_SAMPLES = 4096


@dataclass(frozen=True)
class Derived:
    """The result of a differentiable search.

    Attributes:
        best: the most probable architecture within the limits.
        unlimited: the most probable one of all; equal to `best` without limits.
        points: signals, one per epoch.
        curve: of the weights' training.
        stopped: why the guard fired, None where it did not.
        estimator: scores architectures with the trained weights.
    """

    best: Architecture
    unlimited: Architecture
    points: tuple[ArchitecturePoint, ...]
    curve: tuple[TrainingPoint, ...]
    stopped: str | None
    estimator: Estimator | None = field(default=None, repr=False, compare=False)

    def model(self, architecture: Architecture | None = None) -> nn.Module:
        """The derived network with the weights of the search and recalibrated normalisation; see `Found.model`.

        Args:
            architecture: of the space searched; None takes `best`.
        """
        return estimated_network(self.estimator, self.best if architecture is None else architecture)


def search_relaxed(
    supernet: Supernet,
    data: Task,
    training: ArchitectureTraining,
    *,
    recipe: Recipe,
    constraints: Sequence[Constraint] = (),
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
) -> Derived:
    """Train, then derive within the limits by the rule of `training`; see `train_relaxed` and `derive_within`.

    Raises:
        ConfigurationError: the warm-up leaves no epoch for the logits, or the rule is unknown.
    """
    option_scores(training.relaxation, training.rule)  # a wrong rule is found before the training
    num_warmup = training.recipe.warmup_epochs
    if num_warmup >= recipe.epochs:
        raise ConfigurationError(
            f"warmup_epochs < epochs must hold, but got warmup_epochs={num_warmup}, epochs={recipe.epochs}; lower "
            "warmup_epochs"
        )
    warn_unless_fresh(supernet)
    check_supernet(supernet, data, adds=True)
    limits = feasible_set(supernet, data.input_shape, constraints).limits
    curve = train_relaxed(
        supernet,
        data,
        training,
        recipe=recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_point=on_point,
        on_update=on_update,
    )
    relaxation, rule = training.relaxation, training.rule
    return Derived(
        best=derive_within(relaxation, limits, seed=seed, rule=rule),
        unlimited=derive(relaxation, rule=rule),
        points=tuple(training.points),
        curve=tuple(curve),
        stopped=training.stopped,
        estimator=SupernetEstimator(supernet, data, device=device),
    )


def weights_recipe(
    paper: Recipe, data: Task, *, given: Recipe | None, epochs: int | None, batch_size: int | None
) -> Recipe:
    """How the weights are trained: as in the paper but for what this kind of data needs, or as `given`.

    Args:
        paper: for images.
        data: whose `recipe_settings` differ from that.
        given: in its place; None for none.
        epochs: instead of either's.
        batch_size: instead of either's.
    """
    recipe = dataclasses.replace(paper, **data.recipe_settings) if given is None else given
    return dataclasses.replace(
        recipe,
        epochs=recipe.epochs if epochs is None else epochs,
        batch_size=recipe.batch_size if batch_size is None else batch_size,
    )


def architecture_recipe(
    paper: ArchitectureRecipe, data: Task, weights: Recipe, *, rate: float | None = None
) -> ArchitectureRecipe:
    """How the logits are trained: as in the paper but for what this kind of data needs.

    Args:
        paper: for images.
        data: whose `architecture_settings` differ from that.
        weights: where it clips gradients, a look ahead does too.
        rate: learning rate instead of either's; None for none.
    """
    recipe = dataclasses.replace(paper, clip_norm=weights.clip_norm, **data.architecture_settings)
    return recipe if rate is None else dataclasses.replace(recipe, learning_rate=rate)


def derive_within(
    relaxation: Relaxation, limits: Sequence[Limit], *, seed: int = 0, rule: Rule = "weights"
) -> Architecture:
    """The most probable architecture that meets every limit.

    Without a limit, or with one whose cost is additive, that is exact. Otherwise: of the exact answers to each additive
    limit alone and of 4,096 architectures, half drawn uniformly (under the first additive limit) and half around the
    most probable one, the most probable that meets all. Its output depends on its input.

    Args:
        relaxation: after the search.
        limits: bound to the relaxation's space.
        seed: of the sampled architectures.
        rule: see `derive`.

    Raises:
        ConfigurationError: the rule is unknown.
        InfeasibleError: none is found; for one additive limit none exists.
    """
    tables = [(limit.table, limit.maximum) for limit in limits if limit.table is not None]
    answers = [derive(relaxation, rule=rule)]
    answers += [derive(relaxation, rule=rule, table=table, maximum=most) for table, most in tables]
    if len(tables) == len(limits) <= 1:
        return answers[-1]
    space, rng = relaxation.space, generator(seed, "legal architectures")
    first = tables[0] if tables else None
    half = NUM_SAMPLES // 2
    drawn = (
        space.sample(half, rng) if first is None else space.sample_within(first[0], None, first[1], half, rng)
    )
    near = space.mutate(np.repeat(space.matrix(answers[-1:]), half, axis=0), 0.2, rng)
    rows = np.concatenate([space.matrix(answers), drawn, near])
    legal = np.all(
        [np.asarray(limit.costs(rows), dtype=np.float64) <= limit.maximum for limit in limits], axis=0
    )
    legal[legal] = [space.is_connected(architecture) for architecture in space.architectures(rows[legal])]
    if not legal.any():
        raise InfeasibleError(
            f"an architecture must meet all of {', '.join(limit.name for limit in limits)}, but none of {len(rows)} "
            "does. Raise a limit."
        )
    rows = rows[legal]
    best = int(np.argmax(_scores(relaxation, rows, rule)))
    return space.architectures(rows[best : best + 1])[0]


def _scores(relaxation: Relaxation, rows: npt.NDArray[np.integer], rule: Rule) -> npt.NDArray[np.float64]:
    """What `derive` makes as large as it can, for each row."""
    space, active = relaxation.space, relaxation.space.active(rows)
    total = np.zeros(len(rows))
    for name, scores in option_scores(relaxation, rule).items():
        column = space.column(name)
        total += np.where(active[:, column], np.asarray(scores)[rows[:, column]], 0.0)
    return total
