"""Training of a supernet in phases; every supernet training of the package runs through `train_phases`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from onepath.errors import ConfigurationError
from onepath.nn.alignment import align_candidates, widest_path
from onepath.train.checks import check_supernet
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.phase import Phase, ends, stretches_of
from onepath.train.training import Checkpoint, OnPoint, OnUpdate, Training, num_updates
from onepath.tree import call

if TYPE_CHECKING:
    import numpy as np

    from onepath.data import Task
    from onepath.nn import Path, Supernet
    from onepath.train.recipe import Recipe
    from onepath.train.reduction import Reduction
    from onepath.train.samplers import Sampler


class OnePath:
    """A sampler that returns the same one path for every update.

    Args:
        path: a path of a supernet; None for the training of a plain network.
    """

    def __init__(self, path: Path | None) -> None:
        self._paths: Sequence[Any] = (path,)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Any]:  # noqa: ARG002
        """Return the one path."""
        return self._paths


def path_phases(
    supernet: Supernet, task: Task, recipe: Recipe, sampler: Sampler, *, reduction: Reduction = "sum"
) -> list[Phase]:
    """Return the phases of a training on sampled paths, with the recipe's start from one path.

    Args:
        supernet: the supernet to train; the start trains its widest path, see `widest_path`.
        task: the data; with the recipe it gives the number of updates.
        recipe: optimizer, schedule and length. Its `one_path` is the share of the start; there is no start if the share
            is 0 or less than one update.
        sampler: draws the paths of the phase after the start.
        reduction: how gradients of shared parameters are combined, see `Phase`.

    Returns:
        The phase "one path", if there is a start, and the phase "supernet". After a start, the latter begins by giving
        the weights of the path's candidates to the other candidates of their blocks.
    """
    rest = Phase("supernet", recipe, sampler, reduction=reduction)
    if not recipe.num_one_path(num_updates(task, recipe)):
        return [rest]
    first = widest_path(supernet)

    def align(trained: Supernet) -> None:
        align_candidates(trained, first)

    start = Phase("one path", recipe, OnePath(first), until=recipe.one_path, reduction=reduction)
    return [start, dataclasses.replace(rest, enter=align)]


def train_phases(
    supernet: Supernet,
    task: Task,
    phases: Sequence[Phase],
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Checkpoint | None = None,
    on_point: OnPoint | None = None,
    on_update: OnUpdate | None = None,
    compile: bool = False,
    counts: CandidateCounts | None = None,
) -> list[TrainingPoint]:
    """Train a supernet's shared weights in phases, in place.

    The paths of update t of the whole training are drawn from `(seed, "paths", t)`, dropout from `(seed,
    "dropout", t)`. Batches come in the task's own order; a later recipe draws a new order. One checkpoint holds the
    state of all phases. A training that continues from it ends with the same weights as one that never stopped.

    Args:
        supernet: trained in place and moved to `device`; its train / eval modes and its memory layout, which is
            channels_last during a training on images, are restored.
        task: gives training batches, loss and metric.
        phases: the phases of the training, in order; at least one.
        seed: seed of every random draw.
        device: where to train. On CPU the same arguments give the same result to the bit.
        checkpoint: saves the state when `checkpoint.due()`, at the end, and on Ctrl-C; a state that it holds is
            continued.
        on_point: called with each new point of the curve, about 50 times in all.
        on_update: called after each update with the number of updates done and their total.
        compile: whether the candidate blocks are compiled; the paths are not.
        counts: the number of times that each candidate is trained is added to it; the checkpoint keeps it.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        BindingError: the network takes other than one input.
        ConfigurationError: the loss is not finite (the checkpoint then still holds the last good state), the checkpoint
            belongs to another training or other phases, there are no phases, the shares of the phases of a recipe do
            not rise to 1, or a phase has no update.
        ShapeError: shapes do not fit, see `check_supernet`; raised before anything is trained.
    """
    _check(phases, task)
    for phase in phases:
        parts = getattr(phase.sampler, "num_parts", 1)
        size = min(phase.recipe.batch_size, task.num_examples("train")) // parts
        adds = getattr(phase.sampler, "adds_candidates", False)
        check_supernet(supernet, task, adds=adds, batch=max(1, min(size, 2)))
    if compile:
        supernet.compile_candidates()
    return Training(
        supernet,
        lambda inputs, path: call(supernet, inputs, path=path),
        task,
        phases,
        seed=seed,
        device=torch.device(device),
        counts=counts,
    ).run(checkpoint, on_point, on_update)


def _check(phases: Sequence[Phase], task: Task) -> None:
    """Raise ConfigurationError unless there are phases, and those of each recipe divide all its updates."""
    if not phases:
        raise ConfigurationError("a training needs at least one phase, but got none; give one")
    for stretch in stretches_of(phases):
        shares = [0.0, *(phase.until for phase in stretch)]
        if shares[-1] != 1 or any(not a < b for a, b in itertools.pairwise(shares)):
            raise ConfigurationError(
                f"`until` must increase over the phases of a recipe and be 1 in the last one, but got {shares[1:]}; "
                "change it"
            )
        num = num_updates(task, stretch[0].recipe)
        for phase, (begin, end) in zip(stretch, itertools.pairwise([0, *ends(stretch, num)]), strict=True):
            if begin == end:
                raise ConfigurationError(
                    f"every phase must have an update, but {phase.name!r} has none of {num}; change `until`, or train "
                    "longer"
                )
