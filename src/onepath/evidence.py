"""What few networks and few examples can tell: intervals, a comparison with random networks, and what was gained.

Shares are of examples that were counted right; other values have no interval of their own, and only their spread over
networks tells anything. All values are higher-is-better, see `onepath.display.Metric.goodness`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from onepath.verdict import Scored, cost_of, score_of

Trial = TypeVar("Trial", bound=Scored)
_Z = 1.959963984540054  # 95 % of a normal distribution lie within this many standard deviations


def wilson(share: float, num: int) -> tuple[float, float]:
    """The interval of 95 % of a share that was counted on `num` examples.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    centre = (share + _Z**2 / (2 * num)) / (1 + _Z**2 / num)
    half = _Z * math.sqrt(share * (1 - share) / num + _Z**2 / (4 * num**2)) / (1 + _Z**2 / num)
    return max(0.0, centre - half), min(1.0, centre + half)


def sampling_error(share: float | None, num: int | None) -> float | None:
    """Standard deviation of a share counted on `num` examples; never under that of one example wrong."""
    if share is None or not num:
        return None
    inside = min(max(share, 1 / (num + 1)), num / (num + 1))
    return math.sqrt(inside * (1 - inside) / num)


@dataclass(frozen=True)
class Comparison:
    """A winner against random networks that were trained with the same budget.

    Attributes:
        winner: its value on the test set, higher is better.
        baseline: those of the random networks, at least one.
        noise: half width of what chance alone explains, see `compare`; None where nothing tells it.
    """

    winner: float
    baseline: tuple[float, ...]
    noise: float | None

    @property
    def difference(self) -> float:
        """The winner's value minus the mean of the baseline's."""
        return self.winner - statistics.fmean(self.baseline)

    @property
    def is_better(self) -> bool:
        """Above the baseline's mean by more than the noise, and above its best."""
        return self.noise is not None and self.difference > self.noise and self.winner > max(self.baseline)

    @property
    def is_worse(self) -> bool:
        """Below the baseline's mean by more than the noise, and below its worst."""
        return self.noise is not None and self.difference < -self.noise and self.winner < min(self.baseline)


def compare(winner: float, baseline: Sequence[float], num_examples: int | None) -> Comparison:
    """Whether a winner is told apart from random networks.

    The noise is twice the standard deviation of (one network - mean of n), s * sqrt(1 + 1/n). For s stands the larger
    of the baseline's own standard deviation and the sampling error of a share, sqrt(p (1 - p) / examples); that is
    never under one example, so that a difference of one example is no difference.

    Args:
        winner: value on the test set, higher is better.
        baseline: of the random networks, at least one.
        num_examples: of the test set where the values are shares of it; None for other metrics.
    """
    spread = statistics.stdev(baseline) if len(baseline) > 1 else None
    sampling = sampling_error(statistics.fmean(baseline), num_examples)
    deviations = [deviation for deviation in (spread, sampling) if deviation is not None]
    noise = 2 * max(deviations) * math.sqrt(1 + 1 / len(baseline)) if deviations else None
    return Comparison(winner, tuple(baseline), noise)


@dataclass(frozen=True)
class Gain:
    """The smallest network that still reaches the best score within its uncertainty.

    Attributes:
        number: of the trial.
        score: of the trial.
        best: the highest score of all.
        lowest: what counts as reaching it: the lower end of its interval, or `best` itself where it has none.
        cost: of the trial.
        of_best: that of the cheapest trial with the best score.
    """

    number: int
    score: float
    best: float
    lowest: float
    cost: float
    of_best: float


def smallest_as_good(trials: Sequence[Trial], cost: str, num_examples: int | None = None) -> Gain | None:
    """What a search gained: how cheap a network may be and still reach the best score within its uncertainty.

    Args:
        trials: rows of a search.
        cost: by its name.
        num_examples: on which scores were counted, where they are shares; else only an equal score reaches the best.

    Returns:
        None where no trial has both a score and the cost.
    """
    known = [
        (value, -score_of(row), row.number)
        for row in trials
        if (value := cost_of(row, cost)) is not None and score_of(row) > -math.inf
    ]
    if not known:
        return None
    best = max(-negative for _, negative, _ in known)
    lowest = wilson(best, num_examples)[0] if num_examples and 0 <= best <= 1 else best
    value, negative, number = min(row for row in known if -row[1] >= lowest)
    return Gain(number, -negative, best, lowest, value, min(row[0] for row in known if -row[1] == best))
