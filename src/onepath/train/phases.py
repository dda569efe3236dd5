"""Training a supernet in phases, the one way that all its trainings are carried out."""

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
    """A sampler that trains one path alone.

    Args:
        path: a path of a supernet; None where a plain network is trained.
    """

    def __init__(self, path: Path | None) -> None:
        self._paths: Sequence[Any] = (path,)

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Any]:  # noqa: ARG002
        """That path."""
        return self._paths


def path_phases(
    supernet: Supernet, task: Task, recipe: Recipe, sampler: Sampler, *, reduction: Reduction = "sum"
) -> list[Phase]:
    """The phases of a training on sampled paths, with the recipe's start from one path.

    Args:
        supernet: says which path trains the most.
        task: says how many updates the recipe has.
        recipe: its `one_path` is the share of the start; 0, or a share without an update, has none.
        sampler: of the phase after it.
        reduction: see `Phase`.

    Returns:
        "one path", where there is a start, and "supernet", which begins by giving the path's weights to the siblings of
        its candidates.
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
    "dropout", t)`.
    Batches come in the task's own order, which a later recipe draws anew. One checkpoint holds the state of all phases;
    what continues from it ends with the same weights as what never stopped.

    Args:
        supernet: moved to `device`, in channels_last where the inputs are images; its modes are restored.
        task: training batches, loss and metric.
        phases: in order; at least one.
        seed: of everything drawn.
        device: where to train. On CPU the result is a function of the arguments to the bit.
        checkpoint: where the state is kept when `checkpoint.due()`, at the end, and on Ctrl-C.
        on_point: called with each new point of the curve, about 50 times in all.
        on_update: called after each update with the updates done and their total.
        compile: compile the candidate blocks, not the paths.
        counts: how often each candidate is trained is added to it; kept in the checkpoint.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        ConfigurationError: the loss is not finite (the checkpoint then still holds the last good state), the checkpoint
            belongs to another training or other phases, or the shares of the phases do not rise to 1.
        ShapeError: before anything is trained, shapes do not fit, see `check_supernet`.
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
    """That there are phases, and that those of a recipe share out its updates."""
    if not phases:
        raise ConfigurationError("a training needs at least one phase, but got none; give one")
    for stretch in stretches_of(phases):
        shares = [0.0, *(phase.until for phase in stretch)]
        if shares[-1] != 1 or any(not a < b for a, b in itertools.pairwise(shares)):
            raise ConfigurationError(
                f"the phases of a recipe must end at rising shares of it, the last one at 1, but got {shares[1:]}; "
                "change `until`"
            )
        num = num_updates(task, stretch[0].recipe)
        for phase, (begin, end) in zip(stretch, itertools.pairwise([0, *ends(stretch, num)]), strict=True):
            if begin == end:
                raise ConfigurationError(
                    f"every phase must have an update, but {phase.name!r} has none of {num}; change `until`, or train "
                    "longer"
                )
