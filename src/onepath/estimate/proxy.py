"""Proxy trainings: what a training is cut down by, so that many architectures can be trained by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onepath.errors import ConfigurationError
from onepath.most import EPOCHS, PIXELS, WIDTH

if TYPE_CHECKING:
    from onepath.data import Task


@dataclass(frozen=True)
class Proxy:
    """A training that costs less than the whole one.

    Args:
        epochs: passes over the training examples that are left; None takes as many as the whole training.
        subset: share of the training examples, above 0 and at most 1.
        width: factor of the width of every network; 1 changes nothing.
        resolution: pixels of the shorter side of an image; None changes nothing.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    epochs: float | None = None
    subset: float = 1.0
    width: float = 1.0
    resolution: int | None = None

    def __post_init__(self) -> None:
        rules = {
            f"1 <= epochs <= {EPOCHS:,}": self.epochs is None or 1 <= self.epochs <= EPOCHS,
            "0 < subset <= 1": 0 < self.subset <= 1,
            f"0 < width <= {WIDTH:g}": 0 < self.width <= WIDTH,
            f"1 <= resolution <= {PIXELS:,}": self.resolution is None or 1 <= self.resolution <= PIXELS,
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigurationError(
                    f"`{rule}` must hold for a proxy training, but got {self}; change it"
                )

    def task(self, task: Task, seed: int) -> Task:
        """Return the task with the part of the data, and at the resolution, that are left.

        Args:
            task: the whole task.
            seed: seed of the draw of the examples.

        Raises:
            ConfigurationError: the task cannot be divided, or its images cannot be resized.
        """
        if self.subset < 1:
            task = task.part(self.subset, seed=seed)
        return task if self.resolution is None else task.resized(self.resolution)
