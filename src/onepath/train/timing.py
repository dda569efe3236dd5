"""The time of an update, from a training that is begun and ended after some seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from onepath.train.training import OnUpdate

_FEWEST_TIMED = 4


class _EnoughError(Exception):
    """Ends a training that was begun for its time alone."""


class UpdateSeconds(NamedTuple):
    """Seconds of a training.

    Attributes:
        start: what it takes before its first update, and what that one takes longer than others.
        each: what an update takes.
    """

    start: float
    each: float


def update_seconds(train: Callable[[OnUpdate], object], seconds: float = 1.0) -> UpdateSeconds:
    """Return the seconds of the start and of an update of a training, which is ended after some time.

    Args:
        train: begins the training with this `on_update`.
        seconds: how long updates are timed after the first; at least four of them.
    """
    times: list[float] = []

    def on_update(update: int, num_updates: int) -> None:
        times.append(time.perf_counter())
        is_enough = len(times) > _FEWEST_TIMED and times[-1] - times[0] > seconds
        if is_enough or update == num_updates:
            raise _EnoughError

    began = time.perf_counter()
    with contextlib.suppress(_EnoughError):
        train(on_update)
    first = times[0] - began
    # The first update allocates, and does not count where there is another.
    each = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else first
    return UpdateSeconds(max(0.0, first - each), each)
