"""The training loop, one for supernets and plain networks."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn.alignment import align_candidates, widest_path
from onepath.randomness import generator
from onepath.train.depthwise import fast_depthwise
from onepath.train.evaluation import autocast
from onepath.train.interruption import DeferredInterrupt
from onepath.train.memory import keep_freed_memory
from onepath.train.optimizer import ActiveSGD
from onepath.train.recipe import Recipe
from onepath.train.threads import worthwhile_threads

if TYPE_CHECKING:
    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture
    from onepath.train.samplers import Sampler

_NUM_POINTS = 50
_ACCELERATOR_READ_EVERY = 20  # updates between two waits for an accelerator's results


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


@dataclasses.dataclass(frozen=True)
class TrainingPoint:
    """One point of a training curve.

    Attributes:
        update: updates done.
        epoch: passes over the training split done.
        loss: mean training loss since the last point, with label smoothing.
        metric: the task's metric on the augmented training batches since the last point.
        learning_rate: of the last update.
        seconds: spent training so far, over all sessions of a resumed run.
    """

    update: int
    epoch: float
    loss: float
    metric: float
    learning_rate: float
    seconds: float


OnPoint = Callable[[TrainingPoint], None]
OnUpdate = Callable[[int, int], None]


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
) -> list[TrainingPoint]:
    """Train a supernet's shared weights, in place.

    For each update the sampler answers a list of paths; the gradients of their losses on the same batch are
    summed, then the optimizer steps once. Parameters of no sampled path keep gradient None and do not move,
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
        recipe: default `Recipe.supernet` for the size of the task's training split.
        device: where to train. On CPU the result is a function of the arguments to the bit.
        checkpoint: where the state is kept when `checkpoint.due()`, at the end, and on Ctrl-C. If it holds a
            state, training continues from it and ends with the same weights as if it had never stopped.
        on_point: called with each new point of the curve, about 50 times in all.
        on_update: called after each update with the updates done and their total.
        compile: compile the candidate blocks, not the paths.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        ConfigurationError: the loss is not finite (the checkpoint then still holds the last good state), or
            the checkpoint belongs to another training.
    """
    if recipe is None:
        recipe = Recipe.supernet(task.num_examples("train"), epochs)
    elif epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=epochs)
    if compile:
        supernet.compile_candidates()
    num_one_path = round(recipe.one_path * recipe.epochs * task.updates_per_epoch(recipe.batch_size))
    first = widest_path(supernet) if num_one_path else None

    def paths(update: int) -> Sequence[Architecture]:
        if first is not None and update < num_one_path:
            return (first,)
        if first is not None and update == num_one_path:
            align_candidates(supernet, first)
        return sampler.paths(update, generator(seed, "paths", update))

    return _Training(
        supernet,
        supernet,
        task,
        paths=paths,
        recipe=recipe,
        seed=seed,
        device=torch.device(device),
    ).run(checkpoint, on_point, on_update)


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
        recipe: default `Recipe.retrain` for the size of the task's training split.
        seed: of everything drawn.
        device: where to train.
        checkpoint: see `train_supernet`.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.

    Returns:
        The whole curve, including the part before a resumption.

    Raises:
        ConfigurationError: see `train_supernet`.
    """
    return _Training(
        model,
        lambda inputs, _: model(inputs),
        task,
        paths=lambda _: (None,),
        recipe=Recipe.retrain(task.num_examples("train")) if recipe is None else recipe,
        seed=seed,
        device=torch.device(device),
    ).run(checkpoint, on_point, on_update)


class _Tally:
    """Sums of losses and metrics; results of an accelerator are read in one go, not update by update."""

    def __init__(self, task: Task, read_every: int) -> None:
        self._task = task
        self._read_every = read_every
        self._pending: list[tuple[int, Tensor, Tensor, Tensor]] = []
        self.sums = [0.0, 0.0, 0.0, 0.0]  # of losses, of passes, of the metric's total, of its count

    def add(self, update: int, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        self._pending.append((update, loss, outputs, targets))

    def read_if_due(self) -> None:
        if self._pending[-1][0] + 1 - self._pending[0][0] >= self._read_every:
            self.read()

    def read(self) -> None:
        """Take the pending results into the sums; ConfigurationError where a loss is not finite."""
        pending, self._pending = self._pending, []
        for update, loss, outputs, targets in pending:
            value = loss.item()
            if not math.isfinite(value):
                raise ConfigurationError(
                    f"the training loss must be finite, but got {value} at update {update}. "
                    "Lower the learning rate."
                )
            total, count = self._task.tally(outputs, targets)
            for index, amount in enumerate((value, 1.0, total, count)):
                self.sums[index] += amount

    def take_means(self) -> tuple[float, float]:
        """Mean loss and metric since the last call."""
        self.read()
        (losses, passes, total, count), self.sums = self.sums, [0.0, 0.0, 0.0, 0.0]
        return losses / passes, self._task.metric(total, int(count))


class _Training:
    """One training and its state: weights, momentum, the number of updates done, the curve."""

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor, Any], Tensor],
        task: Task,
        *,
        paths: Callable[[int], Sequence[Any]],
        recipe: Recipe,
        seed: int,
        device: torch.device,
    ) -> None:
        self.module = module.to(device)
        if len(task.input_shape) == 3:
            module.to(memory_format=torch.channels_last)
        self.forward = forward
        self.task = task
        self.paths = paths
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.updates_per_epoch = task.updates_per_epoch(recipe.batch_size)
        self.num_updates = recipe.epochs * self.updates_per_epoch
        self.optimizer = ActiveSGD(module.named_parameters(), recipe)
        self.tally = _Tally(task, 1 if device.type == "cpu" else _ACCELERATOR_READ_EVERY)
        self.update = 0
        self.is_inside_update = False
        self.seconds = 0.0
        self.curve: list[TrainingPoint] = []

    def run(
        self, checkpoint: Checkpoint | None, on_point: OnPoint | None, on_update: OnUpdate | None
    ) -> list[TrainingPoint]:
        if checkpoint is not None and (state := checkpoint.load()) is not None:
            self.load_state(state)
        if self.device.type == "cpu":
            keep_freed_memory()
        modes = [(m, m.training) for m in self.module.modules()]
        self.module.train()
        self.optimizer.clear()
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            num_pixels = self.recipe.batch_size * math.prod(self.task.input_shape[1:])
            with (
                worthwhile_threads(num_pixels),
                torch.random.fork_rng(devices),
                fast_depthwise(self.module, self.recipe.precision),
                DeferredInterrupt() as interrupt,
            ):
                self._run_updates(checkpoint, on_point, on_update, interrupt)
        except KeyboardInterrupt:
            if checkpoint is not None and not self.is_inside_update:
                self.save(checkpoint)
            raise
        finally:
            self.optimizer.clear()
            for module, training in modes:
                module.training = training
        if interrupt.requested:
            raise KeyboardInterrupt
        return self.curve

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

    def _batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        num_updates = self.num_updates - self.update
        if num_updates == 0:
            return ()
        return self.task.train_batches(
            self.recipe.batch_size, seed=self.seed, first_update=self.update, num_updates=num_updates
        )

    def _step(self, inputs: Tensor, targets: Tensor, rate: float) -> None:
        """One update. No graph outlives it, and only one path's graph lives at a time."""
        self.is_inside_update = True
        self._seed_torch()
        inputs = inputs.to(self.device, non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        for path in self.paths(self.update):
            with autocast(self.device, self.recipe.precision):
                outputs = self.forward(inputs, path)
            loss = self.task.loss(outputs.float(), targets, self.recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            self.tally.add(self.update, loss.detach(), outputs.detach(), targets)
            del outputs, loss
        self.tally.read_if_due()
        self.optimizer.step(rate)
        self.update += 1
        self.is_inside_update = False

    def _seed_torch(self) -> None:
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
            "seed": self.seed,
            "num_updates": self.num_updates,
            "data": self.task.fingerprint,
        }

    def save(self, checkpoint: Checkpoint) -> None:
        """Save the state; ConfigurationError, and nothing saved, where it is not finite."""
        self.tally.read()
        if not all(torch.isfinite(p).all() for p in self.module.parameters()):
            raise ConfigurationError(
                f"weights must be finite, but some are not after update {self.update - 1}. "
                "Lower the learning rate."
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
            "curve": [dataclasses.astuple(point) for point in self.curve],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`; ConfigurationError if it belongs to another training."""
        saved = state["settings"]
        for name, value in self._settings().items():
            if saved.get(name) != value:
                raise ConfigurationError(
                    f"a checkpoint continues the training it was saved by, but its {name} is "
                    f"{saved.get(name)!r} and {value!r} was asked for. Use the saved setting or remove the "
                    "checkpoint."
                )
        try:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["momentum"])
        except (RuntimeError, KeyError) as error:
            raise ConfigurationError(
                "a checkpoint continues the network it was saved from, but its tensors are not this "
                "network's. Remove the checkpoint."
            ) from error
        self.update = state["update"]
        self.seconds = state["seconds"]
        self.tally.sums = list(state["sums"])
        self.curve = [TrainingPoint(*point) for point in state["curve"]]
