"""Phases: what each part of a training does, and the interfaces of the objects that take part in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.tree import Tree

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.train.samplers import Sampler
    from onepath.train.training import Training

Objective = Callable[[Sequence[Any], Any, "Task"], Tensor]
"""A function that returns the loss, a scalar, by which a path of an update is trained.

Its arguments are the outputs of the update's paths so far, the targets and the task. The last of the outputs, those of
the path itself, have a graph; the earlier ones are detached. So a path can learn from a larger path before it."""


@runtime_checkable
class SeesBatch(Protocol):
    """A sampler or an objective that sees the batch of each update first, to choose paths or to ask a teacher."""

    def begin(
        self, forward: Callable[..., Any], inputs: Tree, targets: Tree, rng: np.random.Generator
    ) -> None:
        """Look at the batch of an update; called before the paths of the update are drawn.

        Args:
            forward: runs a path: `forward(inputs, path)` returns its outputs.
            inputs: the batch's inputs, on the device.
            targets: the batch's targets, on the device.
            rng: generator of this update for every random draw.
        """
        ...


class BeforeUpdate(Protocol):
    """An action before every update of the weights in its phases, such as a step of architecture parameters.

    The `update` and `num_updates` of the training that it is given count from the first update of the phase's recipe.
    """

    def to(self, device: torch.device) -> None:
        """Move the parameters that it trains to a device."""
        ...

    def step(self, training: Training, inputs: Tree, targets: Tree, rate: float) -> None:
        """Act before an update of the weights.

        Args:
            training: the training, with `update` updates of the recipe done.
            inputs: the inputs of the update's batch, on the device.
            targets: the targets of the update's batch, on the device.
            rate: learning rate by which the weights move next.
        """
        ...

    def finish(self, training: Training) -> None:
        """Act once after its last phase; the modules are still in training mode.

        It is called again if the training is resumed at this update.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings that a checkpoint must agree on, as plain values."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of its work depends on, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        ...

    def record(self) -> dict[str, Any]:
        """Return the plain values that reports need, and a process that continues from the trained weights."""
        ...

    def load_record(self, record: Mapping[str, Any]) -> None:
        """Restore from a record the values that the steps after a training need."""
        ...


@dataclasses.dataclass(frozen=True)
class Phase:
    """One part of a training: its paths, its loss and its share of a recipe.

    Neighbouring phases with the same recipe share its schedule and the optimizer's state, for example a start from one
    path and the training after it. A phase with another recipe begins a new schedule with a new optimizer, and so does
    a phase after one that ended its recipe (`until=1`).

    Attributes:
        name: name of the phase in records and messages, for example "supernet".
        recipe: optimizer, schedule and length.
        sampler: draws the paths of each update; it counts updates from the first update of the recipe.
        objective: the loss of each path, see `Objective`; it gets no label smoothing and no second classifier. None
            uses the task's loss with both.
        before: an action before each update of this phase, such as a step of architecture parameters; None for none.
        enter: called once with the supernet when the phase begins, for example to align or to sort its weights; None
            calls nothing.
        until: share of the recipe's updates at which the phase ends; the last phase of a recipe ends at 1.
        reduction: how gradients are combined for parameters that several paths of an update share; see
            `train_supernet`.

    Example:
        >>> warm_up = Phase("warm-up", recipe, UniformSampler(space), until=0.2)
        >>> rest = Phase("supernet", recipe, StrictFairnessSampler(space), reduction="mean")
        >>> curve = train_phases(supernet, task, [warm_up, rest])
    """

    name: str
    recipe: Recipe
    sampler: Sampler
    objective: Objective | None = None
    before: BeforeUpdate | None = None
    enter: Callable[[Any], None] | None = None
    until: float = 1.0
    reduction: Reduction = "sum"


def stretches_of(phases: Sequence[Phase]) -> list[tuple[Phase, ...]]:
    """Group phases into stretches: neighbouring phases with the same recipe, up to the one that ends at 1."""
    found: list[tuple[Phase, ...]] = []
    for phase in phases:
        last = found[-1][-1] if found else None
        if last is not None and last.recipe == phase.recipe and last.until < 1:
            found[-1] = (*found[-1], phase)
        else:
            found.append((phase,))
    return found


def ends(phases: Sequence[Phase], num_updates: int) -> list[int]:
    """Return, for each phase of one recipe, the number of updates of the recipe that are done when it ends.

    Args:
        phases: the phases of one recipe, in order.
        num_updates: updates of the recipe.
    """
    return [round(phase.until * num_updates) for phase in phases]
