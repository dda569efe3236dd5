"""Functions that train a supernet, a plain network, or a supernet with architecture parameters."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.nn.finite import check_finite
from onepath.train.architecture import ArchitectureTraining, differentiable_phases
from onepath.train.checks import check_model
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.pace import Pace
from onepath.train.phase import Objective, Phase
from onepath.train.phases import OnePath, path_phases, train_phases
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.training import Checkpoint, OnPoint, OnUpdate, Training, num_updates
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

    For each update the sampler returns a list of paths. The gradients of their losses on the same batch are
    accumulated, then the optimizer steps once. A parameter that is on no sampled path keeps the gradient None and does
    not move, not even by momentum or weight decay. The paths of update t are drawn from `(seed, "paths", t)`, dropout
    from `(seed, "dropout", t)`, and batches from the task's own `(seed, t)`. The caller's global random state is
    restored. With `recipe.one_path`, the first updates train one path alone, and the weights of its candidates are then
    given to the other candidates of their blocks. The paper has enough updates and does not need this start.

    Args:
        supernet: trained in place and moved to `device`; its train / eval modes and its memory layout, which is
            channels_last during a training on images, are restored.
        task: gives training batches, loss and metric.
        sampler: draws the paths of each update.
        epochs: replaces the epochs of the recipe; None keeps them.
        seed: seed of every random draw.
        recipe: optimizer, schedule and length; the default is `Recipe.for_task`. The default has no start from one path
            if the sampler guarantees something about every update (`needs_every_update`), such as strict fairness.
        device: where to train. On CPU the same arguments give the same result to the bit.
        checkpoint: saves the state when `checkpoint.due()`, at the end, and on Ctrl-C. If it holds a state, training
            continues from it and ends with the same weights as if it had never stopped.
        on_point: called with each new point of the curve, about 50 times in all.
        on_update: called after each update with the number of updates done and their total.
        compile: whether the candidate blocks are compiled; the paths are not.
        reduction: how gradients are combined for a parameter that several of an update's paths reach, such as those of
            the stem and the head. "sum" is the gradient of the summed losses. "mean" divides by the number of paths
            that reach the parameter, so that with many paths it does not move faster than a candidate on only one path.
        counts: the number of times that each candidate is trained is added to it; the checkpoint keeps it.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        BindingError: the network takes other than one input.
        ConfigurationError: the loss is not finite (the checkpoint then still holds the last good state), or
            the checkpoint belongs to another training.
        ShapeError: shapes do not fit, see `check_supernet`; raised before anything is trained.
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
    objective: Objective | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
    until: float = 1.0,
    seconds: float | None = None,
) -> list[TrainingPoint]:
    """Train a plain network, in place.

    Seeds, checkpoints and hooks work as in `train_supernet`.

    Args:
        model: a network that is called with the inputs alone; trained in place and moved to `device`. Its train / eval
            modes and its memory layout, which is channels_last during a training on images, are restored.
        task: gives training batches, loss and metric.
        recipe: optimizer, schedule and length; the default is `Recipe.for_task` with `retrain=True`.
        objective: loss of the network, for example `Distillation` with a teacher; None for the loss of the task.
        seed: seed of every random draw.
        device: where to train.
        checkpoint: see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.
        until: share of the updates after which the training pauses; a later call with a larger share continues from the
            checkpoint, and ends as if it had never paused. The learning rate is that of the whole training.
        seconds: how long the whole training takes: the recipe's schedule is gone through faster or slower, as the
            updates turn out to take, so that two trainings are not the same. None does the recipe's updates.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        BindingError: the network takes other than one input.
        ConfigurationError: see `train_supernet`; or the network comes with weights that are not finite; or `until` is
            not above 0 and at most 1, or pauses without a checkpoint that could continue.
        ShapeError: shapes do not fit, see `check_model`; raised before anything is trained.
    """
    if not 0 < until <= 1 or (until < 1 and checkpoint is None):
        raise ConfigurationError(
            f"until must be above 0 and at most 1, and below 1 with a checkpoint from which to continue, but got "
            f"{until:g}{'' if checkpoint else ' without a checkpoint'}; change it"
        )
    check_finite(model)
    check_model(model, task)
    recipe = Recipe.for_task(task, retrain=True) if recipe is None else recipe
    paused = None if until == 1 else math.ceil(until * num_updates(task, recipe))
    return Training(
        model,
        lambda inputs, _: call(model, inputs),
        task,
        [Phase("network", recipe, OnePath(None), objective=objective)],
        seed=seed,
        device=torch.device(device),
        pace=None if seconds is None else Pace(seconds),
    ).run(checkpoint, on_point, on_update, paused)


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
    """Train a supernet's weights together with the logits of a relaxation, both in place.

    After the warm-up, the logits take a step on a validation batch before updates of the weights on a training batch;
    see `ArchitectureTraining`. Seeds, checkpoints and hooks work as in `train_supernet`: the same arguments give the
    same result, also after a resumption. A checkpoint holds the logits too.

    Args:
        supernet: trained in place and moved to `device`.
        task: its training split trains the weights, its validation split the logits.
        architecture: trains the logits; its relaxation is changed in place.
        recipe: optimizer, schedule and length of the weights' training.
        seed: seed of every random draw for the weights.
        device: where to train; the relaxation is moved there too.
        checkpoint: see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.
        counts: see `train_supernet`; passes in the steps of the logits are counted too.

    Returns:
        The curve of the weights' training; `architecture.points` holds the signals of the logits' training.

    Raises:
        BindingError: the network takes other than one input.
        ConfigurationError: the warm-up leaves no epoch for the logits, or the recipe's optimizer does not fit their
            order; see `differentiable_phases`. Also raised as by `train_supernet`.
        ShapeError: shapes do not fit, or the candidates of a block differ in output shape, since their outputs are
            added; see `check_supernet`.
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
