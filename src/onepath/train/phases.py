"""Training in phases: what one stretch of a supernet's training does, and the one way all of them are carried out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from onepath.errors import ConfigurationError
from onepath.nn.alignment import align_candidates, widest_path
from onepath.randomness import generator
from onepath.train.checks import check_supernet
from onepath.train.counts import CandidateCounts
from onepath.train.curve import TrainingPoint
from onepath.train.recipe import Recipe
from onepath.train.reduction import Reduction
from onepath.train.training import BeforeUpdate, Checkpoint, Objective, OnPoint, OnUpdate, Training
from onepath.tree import call

if TYPE_CHECKING:
    import numpy as np

    from onepath.data import Task
    from onepath.nn import Path, Supernet
    from onepath.train.samplers import Sampler


@dataclasses.dataclass(frozen=True)
class Phase:
    """What one stretch of training does.

    Neighbouring phases of one recipe share its schedule and the optimizer's state, as a start from one path and the
    training after it do; a phase of another recipe begins anew.

    Attributes:
        name: what it is called in records and messages, for example "supernet".
        recipe: optimizer, schedule and length.
        sampler: the paths of each update.
        objective: the loss of an update's outputs so far; None takes the task's loss of the last ones. See `Objective`.
        before: what happens before each update, such as a step of architecture parameters.
        enter: called once with the supernet as the phase begins, for example to align or to sort its weights.
        until: share of the recipe's updates at which the phase ends; the last one of a recipe ends at 1.
        reduction: how gradients of what several paths of an update share are joined; see `train_supernet`.
    """

    name: str
    recipe: Recipe
    sampler: Sampler
    objective: Objective | None = None
    before: BeforeUpdate | None = None
    enter: Callable[[Supernet], None] | None = None
    until: float = 1.0
    reduction: Reduction = "sum"


class OnePath:
    """A sampler that trains one path alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[Path]:  # noqa: ARG002
        """That path."""
        return (self.path,)


def path_phases(
    supernet: Supernet, recipe: Recipe, sampler: Sampler, *, reduction: Reduction = "sum"
) -> list[Phase]:
    """The phases of a training on sampled paths, with the recipe's start from one path.

    Args:
        supernet: says which path trains the most.
        recipe: its `one_path` is the share of the start; 0 has none.
        sampler: of the phase after it.
        reduction: see `Phase`.
    """
    if not recipe.one_path:
        return [Phase("supernet", recipe, sampler, reduction=reduction)]
    first = widest_path(supernet)

    def align(trained: Supernet) -> None:
        align_candidates(trained, first)

    return [
        Phase("one path", recipe, OnePath(first), until=recipe.one_path, reduction=reduction),
        Phase("supernet", recipe, sampler, enter=align, reduction=reduction),
    ]


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

    The paths of update t of the whole training are drawn from `(seed, "paths", t)`, dropout from `(seed, "dropout", t)`,
    batches from the task's own order. One checkpoint holds the state of all phases; what continues from it ends with the
    same weights as what never stopped.

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
            belongs to another training, or the shares of the phases do not rise to 1.
        ShapeError: before anything is trained, shapes do not fit, see `check_supernet`.
    """
    _check(phases)
    for phase in phases:
        parts = getattr(phase.sampler, "num_parts", 1)
        size = min(phase.recipe.batch_size, task.num_examples("train")) // parts
        adds = getattr(phase.sampler, "adds_candidates", False)
        check_supernet(supernet, task, adds=adds, batch=max(1, min(size, 2)))
    if compile:
        supernet.compile_candidates()
    stretches = [list(group) for _, group in itertools.groupby(phases, key=lambda phase: phase.recipe)]
    saved = None if checkpoint is None else checkpoint.load()
    first = 0 if saved is None else saved.get("stretch", 0)
    curve = [] if saved is None else [TrainingPoint(*point) for point in saved.get("earlier", [])]
    for number, stretch in enumerate(stretches):
        if number < first:
            continue
        curve += _train(
            supernet,
            task,
            stretch,
            # A later recipe sees the data in an order of its own.
            seed=seed if number == 0 else int(generator(seed, "stretch", number).integers(2**31)),
            device=torch.device(device),
            checkpoint=None
            if checkpoint is None
            else _Numbered(checkpoint, number, len(stretches), tuple(curve)),
            on_point=on_point,
            on_update=on_update,
            counts=counts,
            earlier=curve[-1] if curve else None,
            total=sum(_num_updates(task, other[0].recipe) for other in stretches),
        )
    return curve


def _train(
    supernet: Supernet,
    task: Task,
    stretch: Sequence[Phase],
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None,
    on_point: OnPoint | None,
    on_update: OnUpdate | None,
    counts: CandidateCounts | None,
    earlier: TrainingPoint | None,
    total: int,
) -> list[TrainingPoint]:
    """Train the phases of one recipe; the curve counts on from the last point before it."""
    recipe = stretch[0].recipe
    ending = ends(stretch, _num_updates(task, recipe))
    begins = {begin: phase for begin, phase in zip([0, *ending], stretch, strict=False)}

    def phase_of(update: int) -> Phase:
        return stretch[next(index for index, end in enumerate(ending) if update < end)]

    def paths(update: int) -> Sequence[Path]:
        beginning = begins.get(update)
        if beginning is not None and beginning.enter is not None:
            beginning.enter(supernet)
        return phase_of(update).sampler.paths(update, generator(seed, "paths", update))

    def moved(point: TrainingPoint) -> TrainingPoint:
        if earlier is None:
            return point
        return dataclasses.replace(
            point,
            update=earlier.update + point.update,
            epoch=earlier.epoch + point.epoch,
            seconds=earlier.seconds + point.seconds,
        )

    done = 0 if earlier is None else earlier.update
    training = Training(
        supernet,
        lambda inputs, path: call(supernet, inputs, path=path),
        task,
        paths=paths,
        recipe=recipe,
        seed=seed,
        device=device,
        reduction=stretch[-1].reduction,
        counts=counts,
        before=next((phase.before for phase in reversed(stretch) if phase.before is not None), None),
        objective=None
        if all(phase.objective is None for phase in stretch)
        else lambda update: phase_of(update).objective,
        names=tuple((phase.name, phase.until) for phase in stretch),
    )
    curve = training.run(
        checkpoint,
        None if on_point is None else lambda point: on_point(moved(point)),
        None if on_update is None else lambda update, _: on_update(done + update, total),
    )
    return [moved(point) for point in curve]


class _Numbered:
    """The checkpoint of a stretch of a longer training."""

    def __init__(
        self, checkpoint: Checkpoint, number: int, num: int, earlier: tuple[TrainingPoint, ...]
    ) -> None:
        self._checkpoint, self._number, self._num, self._earlier = checkpoint, number, num, earlier

    def due(self) -> bool:
        """As the one around it."""
        return self._checkpoint.due()

    def save(self, state: dict[str, Any]) -> None:
        """With the number of the stretch, and the curve before it."""
        if self._num > 1:
            earlier = [dataclasses.astuple(point) for point in self._earlier]
            state = {**state, "stretch": self._number, "earlier": earlier}
        self._checkpoint.save(state)

    def load(self) -> dict[str, Any] | None:
        """The state, if it is of this stretch."""
        state = self._checkpoint.load()
        return None if state is None or state.get("stretch", 0) != self._number else state


def _num_updates(task: Task, recipe: Recipe) -> int:
    return recipe.epochs * task.updates_per_epoch(recipe.batch_size)


def ends(stretch: Sequence[Phase], num_updates: int) -> list[int]:
    """The update, counted from the start of a recipe, before which each of its phases ends."""
    return [round(phase.until * num_updates) for phase in stretch]


def _check(phases: Sequence[Phase]) -> None:
    for _, group in itertools.groupby(phases, key=lambda phase: phase.recipe):
        shares = [0.0, *(phase.until for phase in group)]
        if shares[-1] != 1 or any(a >= b for a, b in itertools.pairwise(shares)):
            raise ConfigurationError(
                f"the phases of a recipe must end at rising shares of it, the last one at 1, but got {shares[1:]}; change "
                "`until`"
            )
    if not phases:
        raise ConfigurationError("a training needs at least one phase, but got none; give one")
