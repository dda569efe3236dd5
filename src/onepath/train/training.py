"""One training: its updates, its state, and how it is saved and continued."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, UserError, shown
from onepath.nn.carried import carried_states, carrying
from onepath.nn.layout import lay_channels_last
from onepath.randomness import generator
from onepath.train.counts import CandidateCounts
from onepath.train.curve import Tally, TrainingPoint
from onepath.train.depthwise import fast_depthwise
from onepath.train.evaluation import autocast
from onepath.train.interruption import DeferredInterrupt
from onepath.train.memory import keep_freed_memory
from onepath.train.optimizer import active_optimizer
from onepath.train.recipe import Recipe
from onepath.train.reduction import GradientCounter, Reduction
from onepath.train.threads import worthwhile_threads
from onepath.tree import Tree, detached, float_outputs, is_image_shape, to_device

if TYPE_CHECKING:
    from onepath.data import Task

_NUM_POINTS = 50
_ACCELERATOR_READ_EVERY = 20  # updates between two waits for an accelerator's results

Objective = Callable[[Sequence[Any], Any, "Task"], Tensor]
"""The loss that a path of an update is trained by: of the outputs of the update's paths so far, the last one with a graph
and the earlier ones detached, the targets, and the task. So a path can learn from what a larger one before it said."""
OnPoint = Callable[[TrainingPoint], None]
OnUpdate = Callable[[int, int], None]


class Checkpoint(Protocol):
    """Where a training's state is kept; `onepath.record.TrainingCheckpoint` is one."""

    def due(self) -> bool:
        """Whether it is time to save again."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`, atomically."""
        ...

    def load(self) -> dict[str, Any] | None:
        """The state saved last, or None."""
        ...


class BeforeUpdate(Protocol):
    """What happens before every update of the weights, such as a step of architecture parameters."""

    def to(self, device: torch.device) -> None:
        """Move what is trained to a device."""
        ...

    def step(self, training: Training, inputs: Tree, targets: Tree, rate: float) -> None:
        """Called with the update's batch, on the device, and the rate that the weights will move by."""
        ...

    def finish(self, training: Training) -> None:
        """Called once all updates are done, in the modes and with the random state of the training."""
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


@runtime_checkable
class FollowsProgress(Protocol):
    """A module that changes over a training, such as by a scheduled drop path."""

    def set_progress(self, progress: float) -> None:
        """Called with epochs done over epochs in all, in [0, 1)."""
        ...


class Training:
    """One training and its state: weights, momentum, the number of updates done, the curve."""

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Any, Any], Any],
        task: Task,
        *,
        paths: Callable[[int], Sequence[Any]],
        recipe: Recipe,
        seed: int,
        device: torch.device,
        reduction: Reduction = "sum",
        counts: CandidateCounts | None = None,
        before: BeforeUpdate | None = None,
        objective: Callable[[int], Objective | None] | None = None,
        names: Sequence[tuple[str, float]] = (),
    ) -> None:
        self.module = module.to(device)
        if is_image_shape(task.input_shape):
            lay_channels_last(module)
        self.forward = forward
        self.task = task
        self.paths = paths
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.updates_per_epoch = task.updates_per_epoch(recipe.batch_size)
        self.num_updates = recipe.epochs * self.updates_per_epoch
        self.optimizer = active_optimizer(module.named_parameters(), recipe)
        self.states = carried_states(module)
        self.before, self.objective, self.names = before, objective, names
        if before is not None:
            before.to(device)
        self.followers = [m for m in module.modules() if isinstance(m, FollowsProgress)]
        self.gradients = GradientCounter(module.parameters()) if reduction == "mean" else None
        self.reduction = reduction
        self.counts = CandidateCounts() if counts is None else counts
        self.tally = Tally(task, 1 if device.type == "cpu" else _ACCELERATOR_READ_EVERY)
        self.update = 0
        self.is_inside_update = False
        self.seconds = 0.0
        self.curve: list[TrainingPoint] = []

    def run(
        self, checkpoint: Checkpoint | None, on_point: OnPoint | None, on_update: OnUpdate | None
    ) -> list[TrainingPoint]:
        """Do all updates that are left; the whole curve."""
        state = None if checkpoint is None else self._resumed(checkpoint)
        if self.device.type == "cpu":
            keep_freed_memory()
        modes = [(m, m.training) for m in self.module.modules()]
        self.module.train()
        self.optimizer.clear()
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with (
                self._threads(),
                carrying(self.module),
                torch.random.fork_rng(devices),
                fast_depthwise(self.module, self.recipe.precision),
                self.counts.watch(self.module),
                contextlib.nullcontext() if self.gradients is None else self.gradients,
                DeferredInterrupt() as interrupt,
            ):
                self._start_carried(state)
                try:
                    self._run_updates(checkpoint, on_point, on_update, interrupt)
                    if self.before is not None and self.update == self.num_updates:
                        self.before.finish(self)
                except KeyboardInterrupt:
                    # Not after a first signal: the second came while that was being saved, and ends it at once.
                    if checkpoint is not None and not self.is_inside_update and not interrupt.requested:
                        self.save(checkpoint)
                    raise
        finally:
            self.optimizer.clear()
            for module, training in modes:
                module.training = training
        interrupt.act()
        return self.curve

    def _resumed(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Continue from the state in a checkpoint, if there is one; ConfigurationError if it is not such a state."""
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
        """One thread where the images of a batch are small; what is worth it is known of images alone."""
        if not is_image_shape(self.task.input_shape):
            return contextlib.nullcontext()
        return worthwhile_threads(self.recipe.batch_size * math.prod(self.task.input_shape[1:]))

    def _start_carried(self, saved: dict[str, Any] | None) -> None:
        """Carry on the states of a checkpoint; without one they are zeros."""
        firsts = [] if saved is None else saved.get("carried", [])
        for state, first in zip(self.states, firsts, strict=False):
            state.first = None if first is None else first.to(self.device)

    def _run_updates(
        self,
        checkpoint: Checkpoint | None,
        on_point: OnPoint | None,
        on_update: OnUpdate | None,
        interrupt: DeferredInterrupt,
    ) -> None:
        point_every = math.ceil(self.num_updates / _NUM_POINTS)
        started = time.perf_counter() - self.seconds
        for inputs, targets in self._batches():
            rate = self.recipe.rate(self.update, self.num_updates, self.updates_per_epoch)
            self._step(inputs, targets, rate)
            self.seconds = time.perf_counter() - started
            if self.update % point_every == 0 or self.update == self.num_updates:
                self._add_point(rate, on_point)
            if on_update is not None:
                on_update(self.update, self.num_updates)
            is_last = interrupt.requested or self.update == self.num_updates
            if checkpoint is not None and (is_last or checkpoint.due()):
                self.save(checkpoint)
            if is_last:
                return

    def _batches(self) -> Iterable[tuple[Tree, Tree]]:
        num_updates = self.num_updates - self.update
        if num_updates == 0:
            return ()
        return self.task.train_batches(
            self.recipe.batch_size, seed=self.seed, first_update=self.update, num_updates=num_updates
        )

    def _step(self, inputs: Tree, targets: Tree, rate: float) -> None:
        """One update. No graph outlives it, and only one path's graph lives at a time."""
        self.is_inside_update = True
        self.seed_torch()
        if self.update % self.updates_per_epoch == 0:
            for state in self.states:
                state.forget()
        inputs, targets = to_device(inputs, self.device), to_device(targets, self.device)
        for module in self.followers:
            module.set_progress(self.update // self.updates_per_epoch / self.recipe.epochs)
        if self.before is not None:
            self.before.step(self, inputs, targets, rate)
        objective = None if self.objective is None else self.objective(self.update)
        earlier: list[Any] = []
        for path in self.paths(self.update):
            with autocast(self.device, self.recipe.precision):
                outputs = self.forward(inputs, path)
            if objective is None:
                loss, auxiliary = self.losses(outputs, targets)
            else:
                loss, auxiliary = objective([*earlier, float_outputs(outputs)], targets, self.task), 0.0
                earlier.append(float_outputs(detached(outputs)))
            (loss + auxiliary).backward()  # type: ignore[no-untyped-call]
            self.tally.add(self.update, loss.detach(), detached(outputs), targets)
            del outputs, loss
        self.tally.read_if_due()
        if self.gradients is not None:
            self.gradients.average()
        self.optimizer.step(rate)
        for state in self.states:
            state.advance()
        self.update += 1
        self.is_inside_update = False

    def losses(self, outputs: Tree, targets: Tree) -> tuple[Tensor, Tensor | float]:
        """What a pass is trained by: the loss, and the weighted one of a network's second classifier or 0."""
        smoothing = self.recipe.label_smoothing
        loss = self.task.loss(float_outputs(outputs), targets, smoothing)
        auxiliary = getattr(self.module, "auxiliary_outputs", None)
        if auxiliary is None:
            return loss, 0.0
        weight: float = self.module.auxiliary_weight  # type: ignore[assignment]
        return loss, weight * self.task.loss(float_outputs(auxiliary), targets, smoothing)

    def seed_torch(self) -> None:
        """Make what torch draws in this update, such as dropout, depend on the seed and the update alone."""
        value = int(generator(self.seed, "dropout", self.update).integers(2**63 - 1))
        # Not torch.manual_seed: without a started CUDA it queues a stack trace at every call.
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(value)

    def _add_point(self, rate: float, on_point: OnPoint | None) -> None:
        loss, metric = self.tally.take_means()
        epoch = self.update / self.updates_per_epoch
        self.curve.append(TrainingPoint(self.update, epoch, loss, metric, rate, self.seconds))
        if on_point is not None:
            on_point(self.curve[-1])

    def _settings(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self.recipe),
            "reduction": self.reduction,
            "seed": self.seed,
            "num_updates": self.num_updates,
            "data": self.task.fingerprint,
            "phases": [list(name) for name in self.names],
            **({} if self.before is None else self.before.settings()),
        }

    def save(self, checkpoint: Checkpoint) -> None:
        """Save the state; ConfigurationError, and nothing saved, where it is not finite."""
        self.tally.read()
        if not all(torch.isfinite(p).all() for p in self.module.parameters()):
            raise ConfigurationError(
                f"weights must be finite, but some are not after update {self.update - 1}; "
                "lower the learning rate"
            )
        checkpoint.save(self.state())

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on (tensors are not copied)."""
        return {
            "settings": self._settings(),
            "update": self.update,
            "seconds": self.seconds,
            "model": dict(self.module.state_dict()),
            "momentum": self.optimizer.state_dict(),
            "sums": list(self.tally.sums),
            "tally": self.tally.tally,
            "counts": self.counts.state_dict(),
            "before": None if self.before is None else self.before.state_dict(),
            "carried": [state.first for state in self.states],
            "curve": [dataclasses.astuple(point) for point in self.curve],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`; ConfigurationError if it belongs to another training."""
        saved = state["settings"]
        for name, value in self._settings().items():
            if saved.get(name) != value:
                raise ConfigurationError(
                    f"a checkpoint continues the training it was saved by, but its {name} is "
                    f"{saved.get(name)!r} and {value!r} was asked for; use the saved setting or remove the "
                    "checkpoint"
                )
        try:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["momentum"])
        except (RuntimeError, KeyError) as error:
            raise ConfigurationError(
                "a checkpoint continues the network it was saved from, but its tensors are not this "
                "network's; remove the checkpoint"
            ) from error
        if self.before is not None:
            self.before.load_state_dict(state["before"])
        if not (isinstance(state["update"], int) and 0 <= state["update"] <= self.num_updates):
            raise ValueError(f"update {shown(state['update'])} of {self.num_updates}")
        self.update = state["update"]
        self.seconds = float(state["seconds"])
        self.tally.sums, self.tally.tally = list(state["sums"]), state["tally"]
        self.counts.load_state_dict(state.get("counts", {}))
        self.curve = [TrainingPoint(*point) for point in state["curve"]]
