"""A training that takes a given time: it goes through its schedule faster or slower, by what its updates take."""

from __future__ import annotations

_FEWEST_UPDATES, _SHARE_OF_WINDOW = 20, 0.05
MOST_STRIDE = 4.0


class Pace:
    """Decides how far an update moves in the schedule of a training, so that the whole takes about a given time.

    The speed of a machine changes within minutes, so that a number of updates which is planned once can miss its time
    by a third. A stride of 1 is the recipe's own schedule; it stays between 1/4 and 4.

    Args:
        seconds: seconds of the whole training, those before a resumption included.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: tuple[int, float] | None = None
        self._stride = 1.0

    def stride(self, update: int, position: float, num_updates: int, seconds: float) -> float:
        """Return how far the next update moves in the schedule.

        Args:
            update: number of updates done.
            position: where in the schedule the training is, 0 to `num_updates`.
            num_updates: updates of the schedule.
            seconds: seconds of the training so far.
        """
        if self._since is None:
            self._since = update, seconds
        first, began = self._since
        is_new = update - first >= _FEWEST_UPDATES and seconds - began >= _SHARE_OF_WINDOW * self._seconds
        if is_new:
            each = (seconds - began) / (update - first)
            left = max(1.0, (self._seconds - seconds) / each)
            self._stride = min(max((num_updates - position) / left, 1 / MOST_STRIDE), MOST_STRIDE)
            self._since = update, seconds
        return self._stride
