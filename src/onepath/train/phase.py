"""A phase: what one part of a training does, and what happens beside it."""

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
"""The loss that a path of an update is trained by: of the outputs of the update's paths so far, the last one with a
graph and the earlier ones detached, the targets, and the task. So a path can learn from a larger one before it."""


@runtime_checkable
class SeesBatch(Protocol):
    """A sampler or an objective that looks at each update's batch first, to choose paths or to ask a teacher."""

    def begin(
        self, forward: Callable[..., Any], inputs: Tree, targets: Tree, rng: np.random.Generator
    ) -> None:
        """Called before the paths of an update are drawn, with what runs a path on inputs: `forward(inputs, path)`."""
        ...


class BeforeUpdate(Protocol):
    """What happens before every update of the weights in its phases, such as a step of architecture parameters.

    What it reads of a training (`update`, `num_updates`, `recipe`) counts from the first update of the phase's recipe.
    """

    def to(self, device: torch.device) -> None:
        """Move what is trained to a device."""
        ...

    def step(self, training: Training, inputs: Tree, targets: Tree, rate: float) -> None:
        """Called with the update's batch, on the device, and the rate that the weights will move by."""
        ...

    def finish(self, training: Training) -> None:
        """Called once its phases are done, in the modes of the training; again after a resumption at that update."""
        ...

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree on: plain values."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the rest depends on: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        ...

    def record(self) -> dict[str, Any]:
        """Plain values that reports, and a process that goes on from the trained weights, need."""
        ...

    def load_record(self, record: Mapping[str, Any]) -> None:
        """Take over what `record` gave, as far as what follows a training depends on it."""
        ...


@dataclasses.dataclass(frozen=True)
class Phase:
    """What one part of a training does.

    Neighbouring phases of one recipe share its schedule and the optimizer's state, as a start from one path and the
    training after it do; a phase of another recipe begins anew, and so does one behind a phase that ended its recipe.

    Attributes:
        name: what it is called in records and messages, for example "supernet".
        recipe: optimizer, schedule and length.
        sampler: the paths of each update; it counts updates from the first one of the recipe.
        objective: the loss of an update's outputs so far, without label smoothing and second classifiers; None takes
            the task's loss of the last ones. See `Objective`.
        before: what happens before each update of this phase, such as a step of architecture parameters.
        enter: called once with the supernet as the phase begins, for example to align or to sort its weights.
        until: share of the recipe's updates at which the phase ends; the last one of a recipe ends at 1.
        reduction: how gradients of what several paths of an update share are joined; see `train_supernet`.

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
    """Phases that share out one recipe: those of it that follow each other, up to the one that ends at 1."""
    found: list[tuple[Phase, ...]] = []
    for phase in phases:
        last = found[-1][-1] if found else None
        if last is not None and last.recipe == phase.recipe and last.until < 1:
            found[-1] = (*found[-1], phase)
        else:
            found.append((phase,))
    return found


def ends(phases: Sequence[Phase], num_updates: int) -> list[int]:
    """The update, counted from the start of their recipe, before which each of the phases of one recipe ends."""
    return [round(phase.until * num_updates) for phase in phases]
