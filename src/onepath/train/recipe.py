"""How a network is trained: optimizer settings, schedule, length, and how the paper's scale to the data at
hand.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, Self

from onepath.errors import ConfigurationError

Precision = Literal["float32", "bfloat16"]
Schedule = Literal["linear", "cosine"]

# The scaling rule, in one place: (up to this many training examples, batch size, supernet epochs, share of the updates
# that train one path first). The last row is the paper's own setting (150,000 updates at batch 1024 on 1.28 million
# images). The first share is needed by short trainings: see `onepath.nn.alignment`.
_SCALES: tuple[tuple[float, int, int, float], ...] = (
    (10_000, 64, 40, 0.25),
    (100_000, 64, 12, 0.15),
    (500_000, 256, 40, 0.05),
    (math.inf, 1024, 120, 0.0),
)
_LEARNING_RATE_AT_1024 = (
    0.5  # times the square root of the batch size's ratio: small batches need many updates
)
_RETRAIN_LENGTH = 2  # the paper retrains for twice the updates of the supernet
_WARMUP_FRACTION = 0.05  # the paper has none; short runs on small data diverge without


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of stochastic gradient descent with momentum.

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
        one_path: of a supernet's training only: the share of the updates, at the start, that train one path, whose
            weights its siblings then start from; 0 samples paths from the first update.
        precision: "bfloat16" runs the forward pass under autocast; weights and the loss stay float32.

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

    def __post_init__(self) -> None:
        rules = {
            "epochs >= 1": self.epochs >= 1,
            "batch_size >= 1": self.batch_size >= 1,
            "learning_rate > 0": 0 < self.learning_rate < math.inf,
            "0 <= momentum < 1": 0 <= self.momentum < 1,
            "weight_decay >= 0": 0 <= self.weight_decay < math.inf,
            "0 <= label_smoothing < 1": 0 <= self.label_smoothing < 1,
            'schedule in ("linear", "cosine")': self.schedule in ("linear", "cosine"),
            "warmup_epochs >= 0": 0 <= self.warmup_epochs < math.inf,
            "nesterov needs momentum > 0": self.momentum > 0 or not self.nesterov,
            "clip_norm > 0 or None": self.clip_norm is None or self.clip_norm > 0,
            "0 <= one_path < 1": 0 <= self.one_path < 1,
            'precision in ("float32", "bfloat16")': self.precision in ("float32", "bfloat16"),
        }
        for rule, holds in rules.items():
            if not holds:
                field = next(f.name for f in dataclasses.fields(self) if f.name in rule)
                raise ConfigurationError(
                    f"`{rule}` must hold, but got {field}={getattr(self, field)!r}. Change the recipe."
                )

    @classmethod
    def supernet(cls, num_train: int, epochs: int | None = None) -> Self:
        """SPOS's supernet training, scaled to `num_train` examples.

        The paper's momentum, weight decay, label smoothing and linear decay are kept. Batch size and epochs
        follow the size of the data in four steps, the learning rate follows the square root of the batch size, and it
        warms up over the first twentieth of the updates.

        Args:
            num_train: examples in the training split.
            epochs: instead of the rule's.

        Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv
        1904.00420. Differs from it: batch size, rate and length as above; the warm-up.
        """
        _, batch_size, default_epochs, one_path = next(row for row in _SCALES if num_train <= row[0])
        epochs = default_epochs if epochs is None else epochs
        return cls(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=_LEARNING_RATE_AT_1024 * math.sqrt(batch_size / 1024),
            warmup_epochs=_WARMUP_FRACTION * epochs,
            one_path=one_path,
        )

    @classmethod
    def retrain(cls, num_train: int, epochs: int | None = None) -> Self:
        """SPOS's retraining of the network found: the supernet's settings for twice as many epochs.

        Args:
            num_train: examples in the training split.
            epochs: instead of the rule's.
        """
        default_epochs = _RETRAIN_LENGTH * cls.supernet(num_train).epochs
        return cls.supernet(num_train, default_epochs if epochs is None else epochs)

    def rate(self, update: int, num_updates: int, updates_per_epoch: int) -> float:
        """The learning rate of update `update` (from 0) of `num_updates`.

        Warm-up over the first W updates: peak * (update + 1) / W. After it, with s = (update - W) /
        (num_updates - W): peak * (1 - s) for "linear", peak * (1 + cos(pi s)) / 2 for "cosine".
        """
        warmup = min(round(self.warmup_epochs * updates_per_epoch), num_updates)
        if update < warmup:
            return self.learning_rate * (update + 1) / warmup
        progress = (update - warmup) / (num_updates - warmup)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        return self.learning_rate * (1 - progress)
