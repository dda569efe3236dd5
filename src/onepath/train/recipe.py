"""How a network is trained: optimizer settings, schedule, length, and how the paper's scale to the data at
hand.
"""

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
    """The settings for data of up to `num_train` examples."""

    num_train: float
    batch_size: int
    learning_rate: float
    supernet_epochs: int
    retrain_epochs: int
    one_path: float
    weight_decay: float = 4e-5
    nesterov: bool = False
    clip_norm: float | None = None


# The scaling rule, in one place. The last row is the paper's own setting: 150,000 updates at batch 1024 on 1.28 million
# images, twice as many to retrain. Small data need smaller batches, for the sake of more updates, and a start from one
# path; see `onepath.nn.alignment`. On digits, more decay and Nesterov's momentum gain what longer training would;
# clipping keeps networks without normalisation from diverging at that rate.
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
_WARMUP_FRACTION = 0.05  # the paper has none; short runs on small data diverge without


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and length of a training.

    Args:
        epochs: passes over the training split.
        batch_size: examples per update.
        learning_rate: the highest rate of the schedule.
        momentum: of the gradient's running sum; 0 keeps none.
        weight_decay: added to the gradient of parameters of two or more dimensions only.
        label_smoothing: given to the task's loss.
        schedule: how the rate falls to 0 after the warm-up, update by update.
        warmup_epochs: the rate rises linearly over these; may be a fraction.
        nesterov: look ahead along the momentum.
        clip_norm: largest norm of the whole gradient, after accumulation; None does not clip.
        clip_value: largest absolute value in it, likewise, before `clip_norm`.
        one_path: of a supernet's training only: the share of the updates, at the start, that train one path, whose
            weights its siblings then start from; 0 samples paths from the first update.
        final_rate: what the schedule ends at; at most `learning_rate`.
        precision: "bfloat16" runs the forward pass under autocast; weights and the loss stay float32.
        optimizer: "sgd", with momentum, or "adamw", which takes neither `momentum` nor `nesterov`.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    epochs: int
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
        }
        for rule, holds in rules.items():
            if not holds:
                field = next(f.name for f in dataclasses.fields(self) if f.name in rule)
                raise ConfigurationError(
                    f"`{rule}` must hold, but got {field}={shown(getattr(self, field))}; change the recipe"
                )

    @classmethod
    def supernet(cls, num_train: int, epochs: int | None = None) -> Self:
        """SPOS's supernet training, scaled to `num_train` examples.

        The paper's momentum, label smoothing and linear schedule are kept. Batch size, learning rate, weight
        decay and length follow the size of the data in four steps, the rate warms up over the first twentieth
        of the updates, and short trainings start from one path.

        Args:
            num_train: examples in the training split.
            epochs: instead of the rule's.

        Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv
        1904.00420. Differs from it: batch size, rate and length as above; the warm-up; the one path.
        """
        scale = _scale(num_train)
        return cls._scaled(scale, scale.supernet_epochs if epochs is None else epochs)

    @classmethod
    def retrain(cls, num_train: int, epochs: int | None = None) -> Self:
        """SPOS's retraining of the network found: the supernet's settings for more epochs.

        Args:
            num_train: examples in the training split.
            epochs: instead of the rule's.
        """
        scale = _scale(num_train)
        return cls._scaled(scale, scale.retrain_epochs if epochs is None else epochs)

    @classmethod
    def for_task(cls, task: Task, *, retrain: bool = False, epochs: int | None = None) -> Self:
        """`supernet`, or `retrain`, for the size of a task's training split, with the settings of its kind of data.

        Args:
            task: says the number of examples, and by `recipe_settings` what differs.
            retrain: whether a network is trained by itself.
            epochs: instead of the rule's.
        """
        make = cls.retrain if retrain else cls.supernet
        return dataclasses.replace(make(task.num_examples("train"), epochs), **task.recipe_settings)

    @classmethod
    def _scaled(cls, scale: _Scale, epochs: int) -> Self:
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
        """Updates of `num_updates`, at the start of a supernet's training, that train one path."""
        return round(self.one_path * num_updates)

    def rate(self, update: int, num_updates: int, updates_per_epoch: int) -> float:
        """The learning rate of update `update` (from 0) of `num_updates`.

        Warm-up over the first W updates: peak * (update + 1) / W. After it, with s = (update - W) /
        (num_updates - W): a share 1 - s for "linear", (1 + cos(pi s)) / 2 for "cosine", of the way from the final rate
        to the peak.
        """
        warmup = min(round(self.warmup_epochs * updates_per_epoch), num_updates)
        if update < warmup:
            return self.learning_rate * (update + 1) / warmup
        progress = (update - warmup) / (num_updates - warmup)
        left = (1 + math.cos(math.pi * progress)) / 2 if self.schedule == "cosine" else 1 - progress
        return self.final_rate + (self.learning_rate - self.final_rate) * left


def _scale(num_train: int) -> _Scale:
    """The row of the scaling rule for the size of the data."""
    return next(scale for scale in _SCALES if num_train <= scale.num_train)
