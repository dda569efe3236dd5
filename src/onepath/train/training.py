"""The training loop: its updates, its state, and how the state is saved and continued."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, UserError, shown
from onepath.nn.carried import carried_states, carrying
from onepath.nn.layout import lay_channels_last, restore_layout
from onepath.randomness import generator
from onepath.train.counts import CandidateCounts
from onepath.train.curve import Tally, TrainingPoint
from onepath.train.depthwise import fast_depthwise
from onepath.train.evaluation import autocast
from onepath.train.interruption import DeferredInterrupt
from onepath.train.memory import keep_freed_memory
from onepath.train.optimizer import active_optimizer
from onepath.train.pace import MOST_STRIDE, Pace
from onepath.train.phase import Phase, SeesBatch, ends, stretches_of
from onepath.train.reduction import GradientCounter
from onepath.train.threads import worthwhile_threads
from onepath.tree import Tree, detached, float_outputs, is_image_shape, to_device

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.train.recipe import Recipe

_NUM_POINTS = 50
_ACCELERATOR_READ_EVERY = 20  # updates between two waits for an accelerator's results

OnPoint = Callable[[TrainingPoint], None]
OnUpdate = Callable[[int, int], None]


class Checkpoint(Protocol):
    """A place that keeps the state of a training, such as `onepath.record.TrainingCheckpoint`."""

    def due(self) -> bool:
        """Whether it is time to save again."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Save `state` atomically, in place of the state saved before."""
        ...

    def load(self) -> dict[str, Any] | None:
        """Return the state saved last, or None if there is none."""
        ...


@runtime_checkable
class FollowsProgress(Protocol):
    """A module that changes in the course of a training, for example one with a scheduled drop path."""

    def set_progress(self, progress: float) -> None:
        """Set how far the training is; called before every update.

        Args:
            progress: finished epochs divided by the recipe's epochs, in [0, 1).
        """
        ...


class Training:
    """One training and its state: weights, the optimizer's state, the number of updates done, and the curve.

    Neighbouring phases of one recipe form a stretch, which has one schedule and one optimizer; see `stretches_of`.

    Args:
        module: the network or supernet to train, in place; moved to `device`. For images it is in channels_last until
            `run` ends, which gives it back in the layout that it came in.
        forward: function from inputs and a path to the outputs.
        task: gives training batches, loss and metric.
        phases: the phases of the training, in order; at least one.
        seed: seed of every random draw.
        device: where to train.
        counts: the number of times that each candidate is trained is added to it.
        pace: lets the whole training take a given time; it then has one stretch. None follows the recipe.

    Attributes:
        update: number of updates of the present stretch that are done.
        position: where in the schedule it is, 0 to `num_updates`; `update`, unless there is a pace.
        num_updates: number of updates of the present stretch in all, by its recipe.
        first_update: number of updates of the earlier stretches.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Any, Any], Any],
        task: Task,
        phases: Sequence[Phase],
        *,
        seed: int,
        device: torch.device,
        counts: CandidateCounts | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.pace = pace
        self.module = module.to(device)
        self._laid = lay_channels_last(module) if is_image_shape(task.input_shape) else []
        self.forward = forward
        self.task = task
        self.stretches = stretches_of(phases)
        self.lengths = [num_updates(task, stretch[0].recipe) for stretch in self.stretches]
        self.befores = list({id(p.before): p.before for p in phases if p.before is not None}.values())
        for before in self.befores:
            before.to(device)
        self.seed = seed
        self.device = device
        self.states = carried_states(module)
        self.followers = [m for m in module.modules() if isinstance(m, FollowsProgress)]
        joins = any(phase.reduction == "mean" for phase in phases)
        self.gradients = GradientCounter(module.parameters()) if joins else None
        self.counts = CandidateCounts() if counts is None else counts
        self.tally = Tally(task, 1 if device.type == "cpu" else _ACCELERATOR_READ_EVERY)
        self.is_inside_update = False
        self.seconds = 0.0
        self.curve: list[TrainingPoint] = []
        self._begin(0)

    def _begin(self, number: int) -> None:
        """Begin the stretch of index `number`, with an optimizer that has no state yet."""
        self.number, self.phases = number, self.stretches[number]
        self.recipe = self.phases[0].recipe
        self.updates_per_epoch = self.task.updates_per_epoch(self.recipe.batch_size)
        self.num_updates = self.lengths[number]
        self.first_update = sum(self.lengths[:number])
        self.update, self.position = 0, 0.0
        # The end of the last phase is left out: a training that is stepped by hand may go on after it.
        self._ends = ends(self.phases, self.num_updates)[:-1]
        self.optimizer = active_optimizer(self.module.named_parameters(), self.recipe)

    def run(
        self,
        checkpoint: Checkpoint | None,
        on_point: OnPoint | None,
        on_update: OnUpdate | None,
        until: int | None = None,
    ) -> list[TrainingPoint]:
        """Do all updates that are left, and return the whole curve.

        Args:
            checkpoint: saves the state when it is due, at the end and on Ctrl-C; a state that it holds is loaded first.
            on_point: called with each new point of the curve.
            on_update: called after each update with the number of updates done and their total.
            until: update of the schedule after which it stops, to be continued from the checkpoint; None goes to the
                end.

        Raises:
            ConfigurationError: the loss or the weights are not finite, or the checkpoint does not fit this training.
            KeyboardInterrupt: Ctrl-C or another signal asked the training to stop.
        """
        if self.device.type == "cpu":
            keep_freed_memory()
        modes = [(m, m.training) for m in self.module.modules()]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            state = None if checkpoint is None else self._resumed(checkpoint)
            self.module.train()
            self.optimizer.clear()
            with (
                carrying(self.module),
                torch.random.fork_rng(devices),
                self.counts.watch(self.module),
                contextlib.nullcontext() if self.gradients is None else self.gradients,
                DeferredInterrupt() as interrupt,
            ):
                self._start_carried(state)
                try:
                    for number in range(self.number, len(self.stretches)):
                        if number > self.number:
                            self._begin(number)
                        self._run_stretch(checkpoint, on_point, on_update, interrupt, until)
                        if interrupt.requested or self._is_paused(until):
                            break
                except KeyboardInterrupt:
                    # After a first signal nothing is saved: the second came during that save, and ends it at once.
                    if checkpoint is not None and not self.is_inside_update and not interrupt.requested:
                        self.save(checkpoint)
                    raise
        finally:
            self.optimizer.clear()
            for module, training in modes:
                module.training = training
            restore_layout(self._laid)
        interrupt.act()
        return self.curve

    def _resumed(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Load the state of a checkpoint, and return it; None if it holds none.

        Raises:
            ConfigurationError: the checkpoint holds something other than the state of this training.
        """
        try:
            state = checkpoint.load()
            if state is not None:
                self.load_state(state)
        except UserError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                "a checkpoint must hold what its training keeps, but this one lacks some of it or holds other things "
                f"({type(error).__name__}: {shown(error)}); remove the checkpoint"
            ) from error
        return state

    def _threads(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that uses one thread if the images of a batch are small; other inputs change nothing."""
        if not is_image_shape(self.task.input_shape):
            return contextlib.nullcontext()
        return worthwhile_threads(self.recipe.batch_size * math.prod(self.task.input_shape[1:]))

    def _start_carried(self, saved: dict[str, Any] | None) -> None:
        """Restore the carried states of a loaded state, if there is one; otherwise they stay zeros."""
        firsts = [] if saved is None else saved.get("carried", [])
        for state, first in zip(self.states, firsts, strict=False):
            state.first = None if first is None else first.to(self.device)

    def _run_stretch(
        self,
        checkpoint: Checkpoint | None,
        on_point: OnPoint | None,
        on_update: OnUpdate | None,
        interrupt: DeferredInterrupt,
        until: int | None,
    ) -> None:
        total = sum(self.lengths)
        left = math.ceil(self.num_updates - self.position)
        num = (
            left if until is None else min(left, max(0, math.ceil(until - self.first_update - self.position)))
        )
        num = num if self.pace is None else math.ceil(MOST_STRIDE * num)  # where every update moves least
        point_every = math.ceil(total / _NUM_POINTS)
        started = time.perf_counter() - self.seconds
        with self._threads(), fast_depthwise(self.module, self.recipe.precision):
            for inputs, targets in self._batches(num):
                rate = self.recipe.rate(self.position, self.num_updates, self.updates_per_epoch)
                self._step(inputs, targets, rate)
                self.seconds = time.perf_counter() - started
                if self.done % point_every == 0 or self.position == self.num_updates:
                    self._add_point(rate, on_point)
                if on_update is not None:
                    on_update(self.first_update + math.floor(self.position), total)
                is_last = interrupt.requested or self.position == self.num_updates or self._is_paused(until)
                if checkpoint is not None and (is_last or checkpoint.due()):
                    self.save(checkpoint)
                if is_last:
                    break
            last = self.phases[-1].before
            if last is not None and self.position == self.num_updates:
                last.finish(self)

    def _move(self) -> None:
        """Move on in the schedule after an update."""
        stride = 1.0
        if self.pace is not None:
            stride = self.pace.stride(self.update, self.position, self.num_updates, self.seconds)
        self.position = min(self.position + stride, float(self.num_updates))

    def _is_paused(self, until: int | None) -> bool:
        return until is not None and self.first_update + self.position >= until

    @property
    def done(self) -> int:
        """Number of updates of the whole training that are done."""
        return self.first_update + self.update

    def _batches(self, num: int) -> Iterable[tuple[Tree, Tree]]:
        """Return the batches of the next updates of the stretch.

        Args:
            num: number of updates.
        """
        if num == 0:
            return ()
        # Each later stretch sees the data in another order.
        number = self.number
        seed = int(generator(self.seed, "stretch", number).integers(2**31)) if number else self.seed
        return self.task.train_batches(
            self.recipe.batch_size, seed=seed, first_update=self.update, num_updates=num
        )

    def _phase(self) -> Phase:
        """Return the phase of the next update; if it begins now, finish the phase before it and enter it."""
        index = bisect.bisect_right(self._ends, self.update)
        phase = self.phases[index]
        if self.update == (self._ends[index - 1] if index else 0):
            last = self.phases[index - 1].before if index else None
            if last is not None and last is not phase.before:
                last.finish(self)
            if phase.enter is not None:
                phase.enter(self.module)
            self.seed_torch()
        return phase

    def _step(self, inputs: Tree, targets: Tree, rate: float) -> None:
        """Do one update. No graph outlives it, and only one path's graph lives at a time."""
        self.is_inside_update = True
        self.seed_torch()
        phase = self._phase()
        if self.update % self.updates_per_epoch == 0:
            for state in self.states:
                state.forget()
        inputs, targets = to_device(inputs, self.device), to_device(targets, self.device)
        for module in self.followers:
            module.set_progress(math.floor(self.position) // self.updates_per_epoch / self.recipe.epochs)
        if phase.before is not None:
            phase.before.step(self, inputs, targets, rate)
        parts: tuple[Any, ...] = (phase.sampler, phase.objective)
        for part in parts:
            if isinstance(part, SeesBatch):
                part.begin(self.forward, inputs, targets, generator(self.seed, "batch", self.done))
        earlier: list[Any] = []
        for path in phase.sampler.paths(self.update, generator(self.seed, "paths", self.done)):
            with autocast(self.device, self.recipe.precision):
                outputs = self.forward(inputs, path)
            if phase.objective is None:
                loss, auxiliary = self.losses(outputs, targets)
            else:
                loss, auxiliary = phase.objective([*earlier, float_outputs(outputs)], targets, self.task), 0.0
                earlier.append(float_outputs(detached(outputs)))
            (loss + auxiliary).backward()  # type: ignore[no-untyped-call]
            self.tally.add(self.done, loss.detach(), detached(outputs), targets)
            del outputs, loss
        self.tally.read_if_due()
        if self.gradients is not None:
            self.gradients.join(phase.reduction)
        self.optimizer.step(rate)
        for state in self.states:
            state.advance()
        self.update += 1
        self._move()
        self.is_inside_update = False

    def losses(self, outputs: Tree, targets: Tree) -> tuple[Tensor, Tensor | float]:
        """Return the two losses of a pass: the task's, and the weighted one of a second classifier.

        Args:
            outputs: outputs of the latest pass of `module`.
            targets: the batch's targets.

        Returns:
            The loss with label smoothing, a scalar; and the loss of the module's second (auxiliary) classifier times
            its weight, or 0 if the module has none.
        """
        smoothing = self.recipe.label_smoothing
        loss = self.task.loss(float_outputs(outputs), targets, smoothing)
        auxiliary = getattr(self.module, "auxiliary_outputs", None)
        if auxiliary is None:
            return loss, 0.0
        weight: float = self.module.auxiliary_weight  # type: ignore[assignment]
        return loss, weight * self.task.loss(float_outputs(auxiliary), targets, smoothing)

    def seed_torch(self) -> None:
        """Seed torch's generators, so that draws such as dropout depend on the seed and the update alone."""
        value = int(generator(self.seed, "dropout", self.done).integers(2**63 - 1))
        # torch.manual_seed would queue a stack trace at every call if CUDA has not been started.
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(value)

    def _add_point(self, rate: float, on_point: OnPoint | None) -> None:
        loss, metric = self.tally.take_means()
        earlier = sum(stretch[0].recipe.epochs for stretch in self.stretches[: self.number])
        epoch = earlier + self.update / self.updates_per_epoch
        self.curve.append(TrainingPoint(self.done, epoch, loss, metric, rate, self.seconds))
        if on_point is not None:
            on_point(self.curve[-1])

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the training and of each phase that a checkpoint must agree on."""
        phases = [phase for stretch in self.stretches for phase in stretch]
        found: dict[str, Any] = {
            "seed": self.seed,
            "data": self.task.fingerprint,
            "phases": [[phase.name, phase.until] for phase in phases],
        }
        for number, phase in enumerate(phases, 1):
            own = {
                **dataclasses.asdict(phase.recipe),
                "num_updates": num_updates(self.task, phase.recipe),
                "reduction": phase.reduction,
                **({} if phase.before is None else phase.before.settings()),
            }
            of = "" if number == 1 else f" of phase {number} ({phase.name!r})"
            found |= {f"{name}{of}": value for name, value in own.items()}
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Save the state.

        Raises:
            ConfigurationError: the loss or the weights are not finite; nothing is saved then.
        """
        self.tally.read()
        if not all(torch.isfinite(p).all() for p in self.module.parameters()):
            raise ConfigurationError(
                f"weights must be finite, but some are not after update {self.done - 1}; lower the learning rate"
            )
        checkpoint.save(self.state())

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on (tensors are not copied)."""
        return {
            "settings": self._settings(),
            "stretch": self.number,
            "update": self.update,
            "position": self.position,
            "seconds": self.seconds,
            "model": dict(self.module.state_dict()),
            "momentum": self.optimizer.state_dict(),
            "sums": list(self.tally.sums),
            "tally": self.tally.tally,
            "counts": self.counts.state_dict(),
            "before": [before.state_dict() for before in self.befores],
            "carried": [state.first for state in self.states],
            "curve": [dataclasses.astuple(point) for point in self.curve],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state` returned.

        Raises:
            ConfigurationError: the state belongs to another training or another network.
            LookupError, TypeError, ValueError: the state is not complete or holds values of other types.
        """
        saved, asked = state["settings"], self._settings()
        for name in {**asked, **saved}:
            if saved.get(name) != asked.get(name):
                raise ConfigurationError(
                    f"a checkpoint continues the training it was saved by, but its {name} is "
                    f"{saved.get(name)!r} and {asked.get(name)!r} was asked for; use the saved setting or remove the "
                    "checkpoint"
                )
        if state["stretch"] not in range(len(self.stretches)):
            raise ValueError(f"recipe {shown(state['stretch'])} of {len(self.stretches)}")
        self._begin(state["stretch"])
        try:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["momentum"])
        except (RuntimeError, KeyError) as error:
            raise ConfigurationError(
                "a checkpoint continues the network it was saved from, but its tensors are not this "
                "network's; remove the checkpoint"
            ) from error
        for before, own in zip(self.befores, state["before"], strict=True):
            before.load_state_dict(own)
        # A checkpoint of an older onepath has no position.
        update, position = state["update"], state.get("position", state["update"])
        fits = position == update if self.pace is None else update <= MOST_STRIDE * self.num_updates
        if not (isinstance(update, int) and update >= 0 and 0 <= position <= self.num_updates and fits):
            raise ValueError(f"update {shown(update)} at {shown(position)} of {self.num_updates}")
        self.update, self.position = update, float(position)
        self.seconds = float(state["seconds"])
        self.tally.sums, self.tally.tally = list(state["sums"]), state["tally"]
        self.counts.load_state_dict(state.get("counts", {}))
        self.curve = [TrainingPoint(*point) for point in state["curve"]]


def num_updates(task: Task, recipe: Recipe) -> int:
    """Return the number of updates of a whole training by a recipe."""
    return round(recipe.epochs * task.updates_per_epoch(recipe.batch_size))
