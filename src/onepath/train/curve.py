"""The training curve: losses and metrics, gathered update by update."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from torch import Tensor

from onepath.errors import ConfigurationError
from onepath.tree import Tree, tensors

if TYPE_CHECKING:
    from onepath.data import Task


@dataclasses.dataclass(frozen=True)
class TrainingPoint:
    """One point of a training curve.

    Attributes:
        update: number of updates done.
        epoch: number of passes over the training split done; may be a fraction.
        loss: mean training loss since the previous point, with label smoothing.
        metric: the task's metric on the augmented training batches since the previous point.
        learning_rate: learning rate of the last update.
        seconds: training time so far, over all sessions of a resumed run.
    """

    update: int
    epoch: float
    loss: float
    metric: float
    learning_rate: float
    seconds: float


_MOST_PENDING_NUMBERS = 1 << 24  # numbers in the outputs kept: 64 MiB in float32


class Tally:
    """Sums of losses and metrics; the results of several updates are read from an accelerator at once.

    Args:
        task: gives the metric.
        read_every: number of updates after which results are read from the device.
    """

    def __init__(self, task: Task, read_every: int) -> None:
        self._task = task
        self._read_every = read_every
        self._pending: list[tuple[int, Tensor, Tree, Tree]] = []
        self.sums = [0.0, 0.0]  # sum of the losses, number of passes
        self.tally: Tensor | None = None  # sum of the task's tallies

    def add(self, update: int, loss: Tensor, outputs: Tree, targets: Tree) -> None:
        """Add the results of one pass of update `update`; nothing is read from the device."""
        self._pending.append((update, loss, outputs, targets))

    def read_if_due(self) -> None:
        """Read the pending results if there are enough updates, or large outputs."""
        is_full = (
            sum(each.numel() for _, _, outputs, _ in self._pending for each in tensors(outputs))
            > _MOST_PENDING_NUMBERS
        )
        if is_full or self._pending[-1][0] + 1 - self._pending[0][0] >= self._read_every:
            self.read()

    def read(self) -> None:
        """Read the pending results from the device, and add them to the sums.

        Raises:
            ConfigurationError: a loss is not finite.
        """
        pending, self._pending = self._pending, []
        for update, loss, outputs, targets in pending:
            value = loss.item()
            if not math.isfinite(value):
                raise ConfigurationError(
                    f"the training loss must be finite, but got {value} at update {update}; "
                    "lower the learning rate"
                )
            part = self._task.tally(outputs, targets)
            self.tally = part if self.tally is None else self.tally + part
            self.sums = [self.sums[0] + value, self.sums[1] + 1]

    def take_means(self) -> tuple[float, float]:
        """Return the mean loss and the metric since the last call, and start new sums.

        Raises:
            ConfigurationError: a loss is not finite.
        """
        self.read()
        (losses, passes), self.sums = self.sums, [0.0, 0.0]
        assert self.tally is not None, "a pass was noted"
        tally, self.tally = self.tally, None
        return losses / passes, self._task.metric(tally)
