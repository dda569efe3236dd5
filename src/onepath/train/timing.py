"""The time of an update, from a training that is begun and ended after about a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onepath.train.training import OnUpdate

_TIMED_SECONDS, _FEWEST_TIMED = 1.0, 4


class _EnoughError(Exception):
    """Ends a training that was begun for its time alone."""


def seconds_per_update(train: Callable[[OnUpdate], object]) -> float:
    """Return the seconds of an update of a training, which is ended after about a second.

    Args:
        train: begins the training with this `on_update`.
    """
    times: list[float] = []

    def on_update(update: int, num_updates: int) -> None:
        times.append(time.perf_counter())
        is_enough = len(times) > _FEWEST_TIMED and times[-1] - times[0] > _TIMED_SECONDS
        if is_enough or update == num_updates:
            raise _EnoughError

    began = time.perf_counter()
    with contextlib.suppress(_EnoughError):
        train(on_update)
    # The first update allocates, and does not count where there is another.
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0] - began
