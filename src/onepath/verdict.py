"""What a search's outcome means, said once: which trial is the best, which are on the front, what meets a limit, and
how well one score ranks another.

The search, `result.json`, the console and the report all ask here, so that they cannot differ. Rows are those of the
trial store, or anything with the same fields. A score is higher-is-better and finite; what is None or not finite is
below every score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from onepath.pareto import FrontOfPoints, front_of_points
from onepath.rank_correlation import chance_of_order, rank_correlation

Ties = Literal["loss", "front"]
"""Which of equally good trials wins: the one of less loss, or first those on the front of score and costs."""

COSTS = ("macs", "params")
"""The costs of a front where nothing else is limited or chosen."""


class Scored(Protocol):
    """A row of the trial store: its number, where it came from, its score, its loss."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def accuracy(self) -> float | None: ...  # noqa: D102
    @property
    def loss(self) -> float | None: ...  # noqa: D102


Trial = TypeVar("Trial", bound=Scored)


def cost_of(row: object, name: str) -> float | None:
    """A cost of a row by its name, such as "macs"; None where it was not counted or is not finite."""
    costs: Mapping[str, float | None] | None = getattr(row, "costs", None)
    value: float | None = getattr(row, name, None) if costs is None else costs.get(name)
    return value if value is not None and math.isfinite(value) else None


def score_of(row: Scored) -> float:
    """The score that a trial is ordered by; minus infinity where it has none."""
    return row.accuracy if row.accuracy is not None and math.isfinite(row.accuracy) else -math.inf


def loss_of(row: Scored) -> float:
    """The loss of a trial, lower is better; infinity where it has none."""
    return row.loss if row.loss is not None and math.isfinite(row.loss) else math.inf


def ordered(trials: Iterable[Trial], ties: Ties = "loss", costs: Sequence[str] = COSTS) -> list[Trial]:
    """Trials from the best to the worst: the order in which they win.

    Derived architectures come first, as the random ones beside them are for comparison; then the higher score; of equal
    scores those on the front, where the method says so; then the lower loss; then the earlier one.

    Args:
        trials: rows, in any order.
        ties: what decides between equal scores.
        costs: names of the costs of the front; used for "front" alone.
    """
    rows = list(trials)
    first = {row.number for row in on_front(rows, costs)} if ties == "front" else set()
    return sorted(
        rows,
        key=lambda row: (
            row.origin != "derived",
            -score_of(row),
            row.number not in first,
            loss_of(row),
            row.number,
        ),
    )


def best(trials: Iterable[Trial], ties: Ties = "loss", costs: Sequence[str] = COSTS) -> Trial | None:
    """The first of `ordered` that has a score; None if none has one."""
    return next((row for row in ordered(trials, ties, costs) if score_of(row) > -math.inf), None)


def on_front(trials: Sequence[Trial], costs: Sequence[str] = COSTS) -> list[Trial]:
    """The trials that no other one reaches in score and every cost and exceeds in one; by rising costs.

    Of equal trials all are on it. A trial without a score, or without one of the costs, is not.
    """
    return [trials[index] for index in front_of(trials, costs).indices] if trials else []


def front_of(
    trials: Sequence[Scored], costs: Sequence[str] = COSTS, reference: Sequence[float] | None = None
) -> FrontOfPoints:
    """The front of trials, see `on_front`, with its hypervolume; the indices are places in `trials`.

    Raises:
        ConfigurationError: no trial, no cost, or a wrong reference; see `front_of_points`.
    """
    scores = [score if (score := score_of(row)) > -math.inf else math.nan for row in trials]
    counted = [[_or_nan(cost_of(row, name)) for name in costs] for row in trials]
    return front_of_points(scores, counted, reference)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def held_ms(median_ms: float, iqr_ms: float) -> float:
    """What is held against a limit on latency: the median and its spread, so that another measurement meets it too."""
    return median_ms + iqr_ms


def within_latency(limit_ms: float, median_ms: float, iqr_ms: float, is_noisy: bool = False) -> bool:
    """Whether a measured latency meets a limit: median + IQR <= limit, so its spread to spare; a noisy one never."""
    return not is_noisy and held_ms(median_ms, iqr_ms) <= limit_ms


FEWEST_RANKED = 2
"""Networks below which there is no order."""
FEWEST_TOLD = 10
"""Networks below which a rank correlation proves nothing."""


class Trained(Protocol):
    """A network trained alone, as the trial store has it."""

    @property
    def start(self) -> str: ...  # noqa: D102
    @property
    def inherited_validation(self) -> float | None: ...  # noqa: D102
    @property
    def retrained_test(self) -> float | None: ...  # noqa: D102


Network = TypeVar("Network", bound=Trained)


@dataclass(frozen=True)
class Ranking:
    """How the score that was searched by orders the networks trained from scratch, against their test score.

    Attributes:
        num: networks compared.
        kendall_tau: tau-b in [-1, 1], 1 is the same order; None for fewer than two or where one side is constant.
        spearman: rho, as `kendall_tau`.
        chance: probability that a random order reaches at least this tau; None with it.
    """

    num: int
    kendall_tau: float | None
    spearman: float | None
    chance: float | None = None

    @property
    def proves_nothing(self) -> bool:
        """Whether there are too few networks for the figures to mean anything."""
        return self.num < FEWEST_TOLD

    def document(self) -> dict[str, Any]:
        """As `result.json` has it."""
        return {"num": self.num, "kendall_tau": self.kendall_tau, "spearman": self.spearman}


def ranked(networks: Iterable[Network]) -> list[Network]:
    """The networks that enter a ranking: trained from scratch, with a score of the search and one of the test set."""
    return [
        row
        for row in networks
        if row.start == "scratch" and row.inherited_validation is not None and row.retrained_test is not None
    ]


def ranking(networks: Iterable[Trained]) -> Ranking:
    """Kendall's tau-b and Spearman's rho of the networks that enter, equal ones as ties."""
    pairs = ranked(networks)
    searched_by = [row.inherited_validation or 0.0 for row in pairs]
    alone = [row.retrained_test or 0.0 for row in pairs]
    found = rank_correlation(searched_by, alone, fewest=FEWEST_RANKED)
    chance = None if found.kendall_tau is None else chance_of_order(searched_by, alone)
    return Ranking(len(pairs), found.kendall_tau, found.spearman, chance)
