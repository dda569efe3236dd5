"""Recipes: optimizer, schedule and length of a training, and how the paper's are scaled to the size of the data."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, Self

from onepath.errors import ConfigurationError, shown
from onepath.most import BATCH, EPOCHS

if TYPE_CHECKING:
    from onepath.data import Task

Precision = Literal["float32", "bfloat16"]
Schedule = Literal["linear", "cosine"]
OptimizerName = Literal["sgd", "adamw"]


@dataclasses.dataclass(frozen=True)
class _Scale:
    """The settings for data with up to `num_train` training examples."""

    num_train: float
    batch_size: int
    learning_rate: float
    supernet_epochs: int
    retrain_epochs: int
    one_path: float
    weight_decay: float = 4e-5
    nesterov: bool = False
    clip_norm: float | None = None


# The scaling rule. The last row is the paper's own setting: 150,000 updates at batch 1024 on 1.28 million images, twice
# as many to retrain. Small data need smaller batches, to get more updates, and a start from one path; see
# `onepath.nn.alignment`. On digits, more decay and Nesterov's momentum gain as much as longer training would; clipping
# keeps networks without normalisation from diverging at that rate.
_SCALES = (
    _Scale(
        10_000,
        32,
        0.3,
        supernet_epochs=12,
        retrain_epochs=13,
        one_path=0.25,
        weight_decay=5e-4,
        nesterov=True,
        clip_norm=2.0,
    ),
    _Scale(
        100_000,
        64,
        0.2,
        supernet_epochs=8,
        retrain_epochs=16,
        one_path=0.15,
        weight_decay=1e-4,
        nesterov=True,
    ),
    _Scale(500_000, 256, 0.25, supernet_epochs=40, retrain_epochs=80, one_path=0.05),
    _Scale(math.inf, 1024, 0.5, supernet_epochs=120, retrain_epochs=240, one_path=0.0),
)
_WARMUP_FRACTION = 0.05  # the paper has no warm-up; short runs on small data diverge without one


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and length of a training.

    Args:
        epochs: passes over the training split; the last one may be a part, such as 7.25.
        batch_size: examples per update.
        learning_rate: peak learning rate of the schedule.
        momentum: SGD's momentum; 0 uses none.
        weight_decay: weight decay of parameters with two or more dimensions; others have none. It is part of the
            gradient for "sgd" and decoupled from it for "adamw".
        label_smoothing: label smoothing of the task's loss.
        schedule: curve by which the rate falls from the peak to `final_rate` after the warm-up, update by update.
        warmup_epochs: epochs over which the rate rises linearly to the peak; may be a fraction.
        nesterov: whether SGD uses Nesterov's momentum.
        clip_norm: largest norm of the whole accumulated gradient; None does not clip.
        clip_value: largest absolute value of an element of the accumulated gradient, applied before `clip_norm`; None
            does not clip.
        betas: decay rates of the means of "adamw", of the gradient and of its square; None takes (0.9, 0.999).
        epsilon: what "adamw" adds to the root of the mean square; None takes 1e-8.
        one_path: share of the updates, at the start of a supernet's training, that train one path alone; its weights
            are then given to the other candidates. 0 samples paths from the first update. Other trainings ignore it.
        final_rate: learning rate at the end of the schedule; at most `learning_rate`.
        precision: "bfloat16" runs the forward pass under autocast; weights and the loss stay float32.
        optimizer: "sgd" or "adamw"; "adamw" ignores `momentum` and `nesterov`.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    schedule: Schedule = "linear"
    warmup_epochs: float = 0.0
    nesterov: bool = False
    clip_norm: float | None = None
    precision: Precision = "float32"
    one_path: float = 0.0
    final_rate: float = 0.0
    optimizer: OptimizerName = "sgd"
    clip_value: float | None = None
    betas: tuple[float, float] | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        rules = {
            "epochs >= 1": self.epochs >= 1,
            f"epochs <= {EPOCHS:,}": self.epochs <= EPOCHS,
            "batch_size >= 1": self.batch_size >= 1,
            f"batch_size <= {BATCH:,}": self.batch_size <= BATCH,
            "learning_rate > 0": 0 < self.learning_rate < math.inf,
            "0 <= momentum < 1": 0 <= self.momentum < 1,
            "weight_decay >= 0": 0 <= self.weight_decay < math.inf,
            "0 <= label_smoothing < 1": 0 <= self.label_smoothing < 1,
            'schedule in ("linear", "cosine")': self.schedule in ("linear", "cosine"),
            "warmup_epochs >= 0": 0 <= self.warmup_epochs < math.inf,
            "nesterov needs momentum > 0": self.momentum > 0 or not self.nesterov,
            "clip_norm > 0 or None": self.clip_norm is None or self.clip_norm > 0,
            "clip_value > 0 or None": self.clip_value is None or self.clip_value > 0,
            "0 <= one_path < 1": 0 <= self.one_path < 1,
            "0 <= final_rate <= the highest rate": 0 <= self.final_rate <= self.learning_rate,
            'optimizer in ("sgd", "adamw")': self.optimizer in ("sgd", "adamw"),
            'precision in ("float32", "bfloat16")': self.precision in ("float32", "bfloat16"),
            "0 <= betas < 1 or None": self.betas is None or all(0 <= beta < 1 for beta in self.betas),
            "epsilon > 0 or None": self.epsilon is None or 0 < self.epsilon < math.inf,
        }
        for rule, holds in rules.items():
            if not holds:
                field = next(f.name for f in dataclasses.fields(self) if f.name in rule)
                raise ConfigurationError(
                    f"`{rule}` must hold, but got {field}={shown(getattr(self, field))}; change the recipe"
                )

    @classmethod
    def supernet(cls, num_train: int, epochs: float | None = None) -> Self:
        """Return the recipe of SPOS's supernet training, scaled to `num_train` examples.

        The paper's momentum, label smoothing and linear schedule are kept. Batch size, learning rate, weight
        decay and length follow the size of the data in four steps, the rate warms up over the first twentieth
        of the updates, and short trainings start from one path.

        Args:
            num_train: examples in the training split.
            epochs: replaces the epochs of the scaling rule; None keeps them.

        Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv
        1904.00420. Differs from it: batch size, rate and length as above; the warm-up; the one path.
        """
        scale = _scale(num_train)
        return cls._scaled(scale, scale.supernet_epochs if epochs is None else epochs)

    @classmethod
    def retrain(cls, num_train: int, epochs: float | None = None) -> Self:
        """Return the recipe of SPOS's stand-alone training: the settings of `supernet` for more epochs.

        Args:
            num_train: examples in the training split.
            epochs: replaces the epochs of the scaling rule; None keeps them.
        """
        scale = _scale(num_train)
        return cls._scaled(scale, scale.retrain_epochs if epochs is None else epochs)

    @classmethod
    def for_task(cls, task: Task, *, retrain: bool = False, epochs: float | None = None) -> Self:
        """Return the recipe for a task: `supernet` or `retrain`, with the settings of the task's kind of data.

        Args:
            task: gives the number of training examples, and in `recipe_settings` the fields to replace.
            retrain: True for a stand-alone training, False for a supernet's.
            epochs: replaces the epochs of the scaling rule; None keeps them.
        """
        make = cls.retrain if retrain else cls.supernet
        return dataclasses.replace(make(task.num_examples("train"), epochs), **task.recipe_settings)

    @classmethod
    def _scaled(cls, scale: _Scale, epochs: float) -> Self:
        return cls(
            epochs=epochs,
            batch_size=scale.batch_size,
            learning_rate=scale.learning_rate,
            warmup_epochs=_WARMUP_FRACTION * epochs,
            one_path=scale.one_path,
            weight_decay=scale.weight_decay,
            nesterov=scale.nesterov,
            clip_norm=scale.clip_norm,
        )

    def num_one_path(self, num_updates: int) -> int:
        """Return how many of `num_updates` updates train one path alone, at the start of a supernet's training."""
        return round(self.one_path * num_updates)

    def rate(self, update: float, num_updates: int, updates_per_epoch: int) -> float:
        """Return the learning rate of one update.

        During the warm-up, the first W updates, it is peak * (update + 1) / W. After it, with s = (update - W) /
        (num_updates - W), it is final + share * (peak - final), where share is 1 - s for "linear" and
        (1 + cos(pi s)) / 2 for "cosine".

        Args:
            update: number of the update, counted from 0; may be between two.
            num_updates: updates of the whole training.
            updates_per_epoch: updates of one epoch; it gives the length of the warm-up.
        """
        warmup = min(round(self.warmup_epochs * updates_per_epoch), num_updates)
        if update < warmup:
            return self.learning_rate * min(1.0, (update + 1) / warmup)
        progress = (update - warmup) / (num_updates - warmup)
        left = (1 + math.cos(math.pi * progress)) / 2 if self.schedule == "cosine" else 1 - progress
        return self.final_rate + (self.learning_rate - self.final_rate) * left


def _scale(num_train: int) -> _Scale:
    """Return the row of the scaling rule for `num_train` examples."""
    return next(scale for scale in _SCALES if num_train <= scale.num_train)
