"""What few networks and few examples can show: intervals, a comparison with random networks, and the gain of a search.

A share is the fraction of examples that were predicted correctly. Other values have no interval of their own: only
their spread over networks shows their uncertainty. Higher is better for all values, see
`onepath.display.Metric.goodness`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from onepath.verdict import Scored, cost_of, score_of

Trial = TypeVar("Trial", bound=Scored)
_Z = 1.959963984540054  # 95 % of a normal distribution lies within this many standard deviations


def wilson(share: float, num: int) -> tuple[float, float]:
    """Return (lowest, highest) of the 95 % interval of a share that was counted on `num` examples.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    centre = (share + _Z**2 / (2 * num)) / (1 + _Z**2 / num)
    half = _Z * math.sqrt(share * (1 - share) / num + _Z**2 / (4 * num**2)) / (1 + _Z**2 / num)
    return max(0.0, centre - half), min(1.0, centre + half)


def sampling_error(share: float | None, num: int | None) -> float | None:
    """Return the standard deviation of a share that was counted on `num` examples, or None if either is missing.

    The share counts as at least 1 / (num + 1) and at most num / (num + 1), so that the result is never 0.
    """
    if share is None or not num:
        return None
    inside = min(max(share, 1 / (num + 1)), num / (num + 1))
    return math.sqrt(inside * (1 - inside) / num)


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference of two ways over seeds, with what seeds and test examples leave uncertain.

    Attributes:
        mean: mean difference, higher is better.
        low: lower end of the 95 % interval.
        high: upper end of it.
        probability: probability that the difference is above 0.
    """

    mean: float
    low: float
    high: float
    probability: float


def paired_difference(
    differences: Sequence[float], examples: Sequence[Sequence[float] | None]
) -> PairedDifference | None:
    """Return the mean difference of two ways that share seeds and test examples, with its 95 % interval.

    Seeds and examples are crossed: the variance is the sum of that of the mean over seeds and that of the mean over
    test examples, where the difference on an example is the mean over seeds. What an example has in common in all
    seeds so stays, and what is the luck of one training shrinks with their number; it is counted in both, so that the
    interval is rather too wide. The degrees of freedom are those of Welch and Satterthwaite. With one seed only the
    examples count.

    Args:
        differences: for each seed, the value of the one minus that of the other; higher is better.
        examples: for each seed, the difference on each test example; None where it is not known. Seeds that share a
            test set have it in one order. Where each seed has a test set of its own, an example here is one of each
            set, and the variance is that of separate sets; the examples that random sets have in common, if they are
            few, are covered by what is counted in both variances.

    Returns:
        The difference; None for one seed without examples, which say nothing about what is uncertain.

    Source: Welch, "The generalization of 'Student's' problem", Biometrika 34 (1947); Owen, "The pigeonhole bootstrap",
    Annals of Applied Statistics 1 (2007), for crossed samples.
    """
    from scipy.stats import t

    num, mean = len(differences), statistics.fmean(differences)
    by_seed = statistics.variance(differences) / num if num > 1 else 0.0
    known = [each for each in examples if each is not None and len(each) > 1]
    if num < 2 and not known:
        return None
    shared = [known] if len({len(each) for each in known}) == 1 else [[each] for each in known]
    by_example = sum(
        (len(group) / len(known)) ** 2
        * statistics.variance([statistics.fmean(each) for each in zip(*group, strict=True)])
        / len(group[0])
        for group in shared
        if known
    )
    error = math.sqrt(by_seed + by_example)
    if error == 0:
        return PairedDifference(mean, mean, mean, 0.5 if mean == 0 else float(mean > 0))
    freedom = (by_seed + by_example) ** 2 / (
        (by_seed**2 / (num - 1) if num > 1 else 0.0)
        + (by_example**2 / (min(map(len, known)) - 1) if known else 0.0)
    )
    half = float(t.ppf(0.975, freedom)) * error
    return PairedDifference(mean, mean - half, mean + half, float(t.cdf(mean / error, freedom)))


@dataclass(frozen=True)
class Comparison:
    """A comparison of a winner with random networks that were trained with the same budget.

    Attributes:
        winner: the winner's value on the test set, higher is better.
        baseline: values of the random networks on the test set, at least one, higher is better.
        noise: half width of the 95 % interval of the difference, see `compare`; None if it cannot be estimated.
    """

    winner: float
    baseline: tuple[float, ...]
    noise: float | None

    @property
    def difference(self) -> float:
        """The winner's value minus the mean of the baseline."""
        return self.winner - statistics.fmean(self.baseline)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the 95 % interval of the difference; None if it cannot be estimated."""
        return None if self.noise is None else (self.difference - self.noise, self.difference + self.noise)

    @property
    def is_better(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.interval is not None and self.interval[1] < 0


def compare(winner: float, baseline: Sequence[float], num_examples: int | None) -> Comparison:
    """Compare a winner with random networks.

    The half width of the 95 % interval is the larger one of two: that of a further network like those of the baseline,
    t * s * sqrt(1 + 1/n), with their standard deviation s and Student's t of n - 1 degrees of freedom; and that of a
    share that was counted on the test examples, 1.96 * sqrt(p (1 - p) / examples) * sqrt(1 + 1/n). The latter's
    sampling error is never under one example, so that a difference of one example does not count as a difference.

    Args:
        winner: the winner's value on the test set, higher is better.
        baseline: values of the random networks on the test set, at least one.
        num_examples: number of test examples if the values are shares of them; None for other metrics.
    """
    from scipy.stats import t

    num = len(baseline)
    sampling = sampling_error(statistics.fmean(baseline), num_examples)
    halves = [] if sampling is None else [_Z * sampling]
    if num > 1:
        halves.append(float(t.ppf(0.975, num - 1)) * statistics.stdev(baseline))
    noise = max(halves) * math.sqrt(1 + 1 / num) if halves else None
    return Comparison(winner, tuple(baseline), noise)


@dataclass(frozen=True)
class Gain:
    """The smallest network that still reaches the best score within its uncertainty.

    Attributes:
        number: number of the smallest trial that reaches the best score.
        score: score of that trial.
        best: the highest score of all trials.
        lowest: lowest score that counts as reaching `best`: the lower end of its interval, or `best` if it has none.
        cost: cost of that trial.
        of_best: cost of the cheapest trial with the score `best`.
    """

    number: int
    score: float
    best: float
    lowest: float
    cost: float
    of_best: float


def smallest_as_good(trials: Sequence[Trial], cost: str, num_examples: int | None = None) -> Gain | None:
    """Return the cheapest trial that still reaches the best score within its uncertainty.

    Args:
        trials: the trials of a search.
        cost: name of the cost, such as "macs".
        num_examples: number of examples on which the scores were counted, if they are shares. None: only a score equal
            to the best one reaches it.

    Returns:
        The gain, or None if no trial has both a score and the cost.
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
