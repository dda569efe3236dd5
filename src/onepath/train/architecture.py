"""Training of architecture parameters: one step on a validation batch before a step of the weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.nn.frozen_statistics import frozen_statistics
from onepath.nn.relaxations import Relaxation, Rule
from onepath.nn.supernet import bound_selection
from onepath.randomness import generator
from onepath.train.architecture_recipe import ArchitectureRecipe
from onepath.train.architecture_signals import ArchitecturePoint, Guard, dominant_eigenvalue, point
from onepath.train.bilevel import first_order, second_order
from onepath.train.cost_loss import CostLoss
from onepath.train.evaluation import autocast
from onepath.train.phase import Phase
from onepath.train.recipe import Recipe
from onepath.tree import Tree, float_outputs, to_device

if TYPE_CHECKING:
    import numpy as np

    from onepath.nn import GatedPath, Supernet
    from onepath.train.reinforce import Reinforce
    from onepath.train.training import Training


_DIGITS = 5


class ArchitectureTraining:
    """Trains the logits of a relaxation during a `Training` of the weights; a `BeforeUpdate`.

    The batch of step s comes from the task's validation split and depends on (seed, s). The gates of the step before
    update t are drawn from (seed, "architecture paths", t). The passes leave running statistics unchanged, and the
    weights are the same bit for bit before and after a step.

    Args:
        supernet: the supernet whose weights are trained at the same time.
        relaxation: the relaxation of the supernet's choices; its logits are trained in place.
        recipe: how the logits are trained.
        seed: seed of every random draw.
        cost: combines the validation loss with an expected cost; None uses the loss alone.
        guard: decides when the logits stop moving; None never stops them.
        reinforce: estimates the gradient from the rewards of sampled architectures; None differentiates the loss.
        rule: how the architecture of each `ArchitecturePoint` is derived.
        on_epoch: called with the new `ArchitecturePoint` after each epoch; None calls nothing.

    Attributes:
        progress: share of the updates after the warm-up that are done, in [0, 1]; below 0 during the warm-up.
        points: the signals of the search, one `ArchitecturePoint` per epoch.
        stopped: why and after which epoch the guard fired; None if it did not.
        stopped_epoch: the epoch after which the guard fired; None if it did not.
        kept_epoch: the epoch to whose logits the guard went back; None if it did not fire.
    """

    def __init__(
        self,
        supernet: Supernet,
        relaxation: Relaxation,
        recipe: ArchitectureRecipe,
        *,
        seed: int,
        cost: CostLoss | None = None,
        guard: Guard | None = None,
        reinforce: Reinforce | None = None,
        rule: Rule = "weights",
        on_epoch: Callable[[ArchitecturePoint], None] | None = None,
    ) -> None:
        if guard is not None and guard.eigenvalue_ratio is not None:
            recipe = dataclasses.replace(recipe, watch_eigenvalue=True)
        self.supernet, self.relaxation, self.recipe = supernet, relaxation, recipe
        self.seed, self.cost, self.guard, self.reinforce, self.rule = seed, cost, guard, reinforce, rule
        self.on_epoch = on_epoch
        self.logits = list(relaxation.logits)
        self.optimizer = torch.optim.Adam(
            self.logits, recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay
        )
        self.progress = 0.0
        self.points: list[ArchitecturePoint] = []
        self.stopped: str | None = None
        self.stopped_epoch: int | None = None
        self.kept_epoch: int | None = None
        self._trained: dict[int, list[Tensor]] = {}  # epoch -> logits after it, of epochs that trained them
        self._losses: list[Tensor] = []
        self._batches: Iterator[tuple[Tree, Tree]] | None = None

    def to(self, device: torch.device) -> None:
        """See `BeforeUpdate.to`."""
        self.relaxation.to(device)

    def step(self, training: Training, inputs: Tree, targets: Tree, rate: float) -> None:
        """Do one step of the logits if it is due, and `finish_epoch` first if an epoch is over.

        See `BeforeUpdate.step`.

        Raises:
            ConfigurationError: gradients of the logits are not finite, or the cost or the look ahead does not fit.
        """
        update, per_epoch = training.update, training.updates_per_epoch
        if update % per_epoch == 0 and update > 0:
            self.finish_epoch(training)
        after_warmup = update - self.recipe.warmup_epochs * per_epoch
        self.progress = _progress(update, update - after_warmup, training.num_updates)
        if after_warmup < 0 or after_warmup % self.recipe.every or self.stopped is not None:
            return
        number = after_warmup // self.recipe.every
        batch = self._validation_batch(training, number)
        progress = self.progress
        with self._without_trace(training):
            gradients = self._gradients(training, (inputs, targets), batch, rate, progress)
        if not torch.cat([gradient.flatten() for gradient in gradients]).isfinite().all():
            raise ConfigurationError(
                f"gradients of the architecture parameters must be finite, but some are not at update {update}; lower "
                "the learning rate"
            )
        before = [p.detach().clone() for p in self.logits]
        for parameter, gradient in zip(self.logits, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.relaxation.after_step(before)

    def finish(self, training: Training) -> None:
        """Add the signals of the last epoch; see `BeforeUpdate.finish`."""
        self.finish_epoch(training)

    def finish_epoch(self, training: Training) -> None:
        """Add the signals of the finished epoch to `points`, and stop the logits if the guard fires.

        If it fires, the logits go back to those of `kept_epoch`. A second call in the same epoch does nothing.
        """
        epoch = training.update // training.updates_per_epoch
        if self.points and self.points[-1].epoch >= epoch:
            return
        losses = self._loss_numbers()
        loss = sum(losses) / len(losses) if losses else None
        eigenvalue = self._eigenvalue(training, epoch) if self.recipe.watch_eigenvalue else None
        self._losses = []
        self.points.append(point(self.relaxation, epoch, loss, eigenvalue, self.rule))
        if self.guard is not None and self.stopped is None and epoch > self.recipe.warmup_epochs:
            self._trained[epoch] = [p.detach().clone() for p in self.logits]
            self._judge(self.guard, epoch)
        if self.on_epoch is not None:
            self.on_epoch(self.points[-1])

    @torch.no_grad()
    def _judge(self, guard: Guard, epoch: int) -> None:
        """Ask the guard, which counts epochs without the warm-up; if it fires, restore the logits that it keeps."""
        num_warmup = self.recipe.warmup_epochs
        judged = [
            dataclasses.replace(p, epoch=p.epoch - num_warmup) for p in self.points if p.epoch > num_warmup
        ]
        reason = guard.fires(judged)
        if reason is None:
            return
        self.stopped, self.stopped_epoch = f"{reason}, after epoch {epoch}", epoch
        self.kept_epoch = guard.kept_epoch(judged) + num_warmup
        for parameter, old in zip(self.logits, self._trained[self.kept_epoch], strict=True):
            parameter.copy_(old)

    def _gradients(
        self,
        training: Training,
        train: tuple[Tree, Tree],
        validation: tuple[Tree, Tree],
        rate: float,
        progress: float,
    ) -> list[Tensor]:
        if self.reinforce is not None:
            rng = generator(self.seed, "architecture paths", training.update)
            return self.reinforce.gradients(
                self.relaxation, lambda p: self._metric(training, validation, p), rng
            )

        def validation_loss() -> Tensor:
            outputs = self._outputs(training, validation[0], self._path(training.update, progress))
            loss = training.task.loss(outputs, validation[1])
            self._losses.append(loss.detach())
            return loss if self.cost is None else self.cost(loss)

        def train_loss() -> Tensor:
            outputs = self._outputs(training, train[0], self._path(training.update, progress))
            loss, auxiliary = training.losses(outputs, train[1])
            return loss + auxiliary

        weights = [p for p in self.supernet.parameters() if p.requires_grad]
        if self.recipe.order == "first":
            return first_order(validation_loss, self.logits, weights)
        return second_order(
            train_loss,
            validation_loss,
            weights,
            self.logits,
            training.optimizer.virtual_step(weights, rate, self.recipe.clip_norm),
            product="exact" if self.recipe.order == "second-exact" else "finite-difference",
        )

    def _path(self, update: int, progress: float) -> GatedPath:
        """Return the path of the logits' step; every call for one update draws the same path."""
        rng = generator(self.seed, "architecture paths", update)
        return self.relaxation.architecture_path(rng, progress)

    def _outputs(self, training: Training, inputs: Tree, path: GatedPath) -> Tree:
        """Return the outputs of one pass, in float32."""
        training.seed_torch()  # dropout is the same in every pass of a step
        with autocast(training.device, training.recipe.precision):
            outputs = training.forward(inputs, path)
        return float_outputs(outputs)

    @torch.no_grad()
    def _metric(self, training: Training, batch: tuple[Tree, Tree], path: GatedPath) -> float:
        with autocast(training.device, training.recipe.precision):
            outputs = training.forward(batch[0], path)
        task = training.task
        return task.score(task.metric(task.tally(float_outputs(outputs), batch[1])))

    def _validation_batch(self, training: Training, number: int) -> tuple[Tree, Tree]:
        if self._batches is None:
            left = (training.num_updates - training.update) // self.recipe.every + 1
            self._batches = iter(
                training.task.validation_batches(
                    training.recipe.batch_size, seed=self.seed, first_step=number, num_steps=left
                )
            )
        inputs, targets = next(self._batches)
        return to_device(inputs, training.device), to_device(targets, training.device)

    def _eigenvalue(self, training: Training, epoch: int) -> float:
        batch = next(
            iter(
                training.task.validation_batches(
                    training.recipe.batch_size, seed=self.seed, first_step=epoch, num_steps=1
                )
            )
        )
        inputs, targets = to_device(batch[0], training.device), to_device(batch[1], training.device)
        rng = generator(self.seed, "power iteration", epoch)
        start = torch.from_numpy(rng.normal(size=sum(p.numel() for p in self.logits))).to(self.logits[0])
        update = training.update - 1
        weights = [p for p in self.supernet.parameters() if p.requires_grad]

        def gradients() -> Sequence[Tensor]:
            path = self._path(update, 1.0)
            return first_order(
                lambda: training.task.loss(self._outputs(training, inputs, path), targets),
                self.logits,
                weights,
            )

        with self._without_trace(training):
            return dominant_eigenvalue(gradients, self.logits, start)

    @contextlib.contextmanager
    def _without_trace(self, training: Training) -> Iterator[None]:
        """Keep running statistics and carried states unchanged inside; afterwards no gate is active."""
        with frozen_statistics(self.supernet), carried_kept(training):
            try:
                yield
            finally:
                # A module cannot be copied while its gates hold a graph.
                bound_selection(self.supernet).gates.clear()

    def _loss_numbers(self) -> list[float]:
        """Return the losses of the epoch, read from the device in one transfer."""
        numbers: list[float] = torch.stack(self._losses).tolist() if self._losses else []
        return numbers

    def record(self) -> dict[str, Any]:
        """Return the logits, the signals of each epoch and the guard's decision, as plain values.

        Probabilities are rounded to five digits.
        """
        relaxation = self.relaxation
        points = [dataclasses.asdict(each) for each in self.points]
        for each in points:
            each["weights"] = {
                name: [round(p, _DIGITS) for p in values] for name, values in each["weights"].items()
            }
        return {
            "logits": {
                name: logits.detach().tolist()
                for name, logits in zip(relaxation.names, relaxation.logits, strict=True)
            },
            "candidates": {
                name: list(names) for name, names in zip(relaxation.names, relaxation.candidates, strict=True)
            },
            "points": points,
            "warmup_epochs": self.recipe.warmup_epochs,
            "order": self.recipe.order,
            "guard": None if self.guard is None else dataclasses.asdict(self.guard),
            "stopped": self.stopped,
            "stopped_epoch": self.stopped_epoch,
            "kept_epoch": self.kept_epoch,
        }

    @torch.no_grad()
    def load_record(self, record: Mapping[str, Any]) -> None:
        """Restore the logits of a record, from which an architecture can be derived."""
        for name, logits in zip(self.relaxation.names, self.relaxation.logits, strict=True):
            logits.copy_(torch.tensor(record["logits"][name]))

    def settings(self) -> dict[str, Any]:
        """See `BeforeUpdate.settings`."""
        return {
            "relaxation": self.relaxation.settings(),
            "architecture_seed": self.seed,
            "rule": self.rule,
            "cost": None if self.cost is None else self.cost.settings(),
            "reinforce": None if self.reinforce is None else self.reinforce.settings(self.relaxation),
            "architecture_recipe": {
                **dataclasses.asdict(self.recipe),
                "betas": list(self.recipe.betas),
            },
            "guard": None if self.guard is None else dataclasses.asdict(self.guard),
        }

    def state_dict(self) -> dict[str, Any]:
        """See `BeforeUpdate.state_dict`."""
        return {
            "logits": [p.detach() for p in self.logits],
            "trained": self._trained,
            "optimizer": self.optimizer.state_dict(),
            "losses": self._loss_numbers(),
            "points": [dataclasses.asdict(p) for p in self.points],
            "stopped": self.stopped,
            "stopped_epoch": self.stopped_epoch,
            "kept_epoch": self.kept_epoch,
            "baseline": None if self.reinforce is None else self.reinforce.baseline,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `BeforeUpdate.load_state_dict`."""
        for parameter, saved in zip(self.logits, state["logits"], strict=True):
            parameter.copy_(saved)
        device = self.logits[0].device
        self._trained = {
            epoch: [p.to(device) for p in saved] for epoch, saved in state.get("trained", {}).items()
        }
        self.optimizer.load_state_dict(state["optimizer"])
        self._losses = [torch.tensor(loss, dtype=torch.float32, device=device) for loss in state["losses"]]
        self.points = [ArchitecturePoint(**p) for p in state["points"]]
        self.stopped, self.stopped_epoch = state["stopped"], state["stopped_epoch"]
        self.kept_epoch = state.get("kept_epoch")
        if self.reinforce is not None:
            self.reinforce.baseline = state["baseline"]


class _RelaxedPaths:
    """A sampler of the paths on which the weights are trained in a differentiable search.

    Args:
        training: the training of the logits.
        is_warmup: whether the paths are for the warm-up, in which logits are not trained.
    """

    adds_candidates = True

    def __init__(self, training: ArchitectureTraining, *, is_warmup: bool) -> None:
        self._training, self._is_warmup = training, is_warmup

    def paths(self, update: int, rng: np.random.Generator) -> list[GatedPath]:  # noqa: ARG002
        """Return the one path of an update, drawn from the seed of the logits' training."""
        training = self._training
        own = generator(training.seed, "paths", update)
        if self._is_warmup:
            return [training.relaxation.warmup_path(own)]
        return [training.relaxation.weight_path(own, training.progress)]


def differentiable_phases(training: ArchitectureTraining, recipe: Recipe) -> list[Phase]:
    """Return the phases of a differentiable search: a warm-up of the weights, then weights and logits in turn.

    Args:
        training: the training of the logits; its recipe gives the length of the warm-up.
        recipe: optimizer, schedule and length of the weights' training, the warm-up included.

    Returns:
        The phase "warm-up", if there is one, and the phase "search".

    Raises:
        ConfigurationError: the warm-up leaves no epoch for the logits, or the order of their gradient needs a look
            ahead and the weights' optimizer is not SGD.
    """
    num_warmup, order = training.recipe.warmup_epochs, training.recipe.order
    if order != "first" and recipe.optimizer != "sgd":
        raise ConfigurationError(
            f"logits of order {order!r} look ahead by a step of optimizer 'sgd', but the recipe has "
            f"{recipe.optimizer!r}; use order first, or sgd"
        )
    if num_warmup >= recipe.epochs:
        raise ConfigurationError(
            f"`warmup_epochs < epochs` must hold, but got warmup_epochs={num_warmup}, epochs={recipe.epochs}; "
            "lower warmup_epochs"
        )
    phases = []
    if num_warmup:
        sampler = _RelaxedPaths(training, is_warmup=True)
        phases.append(Phase("warm-up", recipe, sampler, before=training, until=num_warmup / recipe.epochs))
    sampler = _RelaxedPaths(training, is_warmup=False)
    return [*phases, Phase("search", recipe, sampler, before=training)]


def _progress(update: int, num_warmup: int, num_updates: int) -> float:
    """Return the share of the updates after the warm-up that are done; below 0 during the warm-up."""
    return (update - num_warmup) / max(num_updates - num_warmup, 1)


@contextlib.contextmanager
def carried_kept(training: Training) -> Iterator[None]:
    """Let networks that carry a state begin with zeros inside, and restore the state afterwards."""
    kept = [(state, dict(state.__dict__)) for state in training.states]
    for state, _ in kept:
        state.forget()
    try:
        yield
    finally:
        for state, values in kept:
            state.__dict__.update({name: values[name] for name in ("first", "_last")})
