"""The training loop, one for supernets and plain networks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import nn

from onepath.train.architecture import ArchitectureTraining, differentiable_phases
from onepath.train.checks import check_model
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.phase import Phase
from onepath.train.phases import OnePath, path_phases, train_phases
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.training import Checkpoint, OnPoint, OnUpdate, Training
from onepath.tree import call

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.train.samplers import Sampler


def train_supernet(
    supernet: Supernet,
    task: Task,
    *,
    sampler: Sampler,
    epochs: int | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
    compile: bool = False,
    reduction: Reduction = "sum",
    counts: CandidateCounts | None = None,
) -> list[TrainingPoint]:
    """Train a supernet's shared weights, in place.

    For each update the sampler answers a list of paths; the gradients of their losses on the same batch are
    accumulated, then the optimizer steps once. Parameters of no sampled path keep gradient None and do not move,
    not even by momentum or weight decay. The paths of update t are drawn from `(seed, "paths", t)`, dropout
    from `(seed, "dropout", t)`, batches from the task's own `(seed, t)`; the caller's global random state is
    left as it was. With `recipe.one_path`, the first updates train one path, and its candidates' weights
    are then given to their siblings; the paper, which has updates enough, does not.

    Args:
        supernet: moved to `device`, in channels_last where the inputs are images; its train / eval modes are
            restored.
        task: training batches, loss and metric.
        sampler: the paths of each update.
        epochs: instead of the recipe's.
        seed: of everything drawn.
        recipe: default `Recipe.for_task`; without its start from one path for samplers that promise something
            of every update (`needs_every_update`), such as strict fairness.
        device: where to train. On CPU the result is a function of the arguments to the bit.
        checkpoint: where the state is kept when `checkpoint.due()`, at the end, and on Ctrl-C. If it holds a
            state, training continues from it and ends with the same weights as if it had never stopped.
        on_point: called with each new point of the curve, about 50 times in all.
        on_update: called after each update with the updates done and their total.
        compile: compile the candidate blocks, not the paths.
        reduction: of the gradients of a parameter that several of an update's paths reach, such as the stem's
            and the head's: "sum", the gradient of the summed losses; or "mean" over the paths that reach it,
            so that with many paths it does not move faster than a candidate that only one of them reaches.
        counts: how often each candidate is trained is added to it; kept in the checkpoint.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        ConfigurationError: the loss is not finite (the checkpoint then still holds the last good state), or
            the checkpoint belongs to another training.
        ShapeError: before anything is trained, shapes do not fit, see `check_supernet`.
    """
    if recipe is None:
        recipe = Recipe.for_task(task, epochs=epochs)
        if getattr(sampler, "needs_every_update", False):
            recipe = dataclasses.replace(recipe, one_path=0.0)
    elif epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=epochs)
    return train_phases(
        supernet,
        task,
        path_phases(supernet, task, recipe, sampler, reduction=reduction),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_point=on_point,
        on_update=on_update,
        compile=compile,
        counts=counts,
    )


def train_model(
    model: nn.Module,
    task: Task,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
) -> list[TrainingPoint]:
    """Train a plain network, in place; everything else as in `train_supernet`.

    Args:
        model: called with the inputs alone.
        task: training batches, loss and metric.
        recipe: default `Recipe.for_task`, to retrain.
        seed: of everything drawn.
        device: where to train.
        checkpoint: see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        ConfigurationError: see `train_supernet`.
        ShapeError: see `train_supernet`.
    """
    check_model(model, task)
    recipe = Recipe.for_task(task, retrain=True) if recipe is None else recipe
    return Training(
        model,
        lambda inputs, _: call(model, inputs),
        task,
        [Phase("network", recipe, OnePath(None))],
        seed=seed,
        device=torch.device(device),
    ).run(checkpoint, on_point, on_update)


def train_differentiable(
    supernet: Supernet,
    task: Task,
    architecture: ArchitectureTraining,
    *,
    recipe: Recipe,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
    counts: CandidateCounts | None = None,
) -> list[TrainingPoint]:
    """Train a supernet's weights and, beside them, the logits of a relaxation, both in place.

    Before every update of the weights on a training batch, the logits take a step on a validation batch, see
    `ArchitectureTraining`. Everything else as in `train_supernet`: the same arguments give the same result, also
    after a resumption from a checkpoint, which holds the logits too.

    Args:
        supernet: moved to `device`.
        task: its training split trains the weights, its validation split the logits.
        architecture: the logits' training.
        recipe: of the weights.
        seed: of everything drawn for the weights.
        device: where to train; the relaxation is moved there.
        checkpoint: see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.
        counts: see `train_supernet`; passes of the logits' steps are counted too.

    Returns:
        The curve of the weights' training; `architecture.points` holds the signals of the logits'.

    Raises:
        ConfigurationError: the warm-up leaves no epoch for the logits; otherwise see `train_supernet`.
        ShapeError: see `train_supernet`; candidates of a block must have one shape, since they are added.
    """
    return train_phases(
        supernet,
        task,
        differentiable_phases(architecture, recipe),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_point=on_point,
        on_update=on_update,
        counts=counts,
    )
