"""Rules about the outcome of a search: the best trial, the trials on the front, limits on latency, and rankings.

The search, `result.json`, the console and the report all use these functions, so that they cannot differ. Trials are
rows of the trial store, or any objects with the same fields. Scores are finite, and higher is better; a score that is
None or not finite counts as below every other score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from onepath.pareto import FrontOfPoints, front_of_points
from onepath.rank_correlation import chance_of_order, rank_correlation

Ties = Literal["loss", "front"]
"""Which of equally good trials wins: the one with the lower loss, or those on the front of score and costs first."""

COSTS = ("macs", "params")
"""The costs of a front if no other cost is limited or chosen."""


class Scored(Protocol):
    """A row of the trial store: its number, its origin, its score (`accuracy`) and its loss."""

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
    """Return a cost of a trial by its name, such as "macs"; None if it was not counted or is not finite."""
    costs: Mapping[str, float | None] | None = getattr(row, "costs", None)
    value: float | None = getattr(row, name, None) if costs is None else costs.get(name)
    return value if value is not None and math.isfinite(value) else None


def score_of(row: Scored) -> float:
    """Return the score by which a trial is ordered, higher is better; minus infinity if it has none."""
    return row.accuracy if row.accuracy is not None and math.isfinite(row.accuracy) else -math.inf


def loss_of(row: Scored) -> float:
    """Return the loss of a trial, lower is better; infinity if it has none."""
    return row.loss if row.loss is not None and math.isfinite(row.loss) else math.inf


def ordered(trials: Iterable[Trial], ties: Ties = "loss", costs: Sequence[str] = COSTS) -> list[Trial]:
    """Return the trials sorted from the best to the worst.

    Derived architectures come first, because the random ones evaluated with them are only for comparison. Then the
    higher score comes first. Of equal scores, those on the front come first if `ties` is "front"; then the lower loss;
    then the lower number.

    Args:
        trials: the trials, in any order.
        ties: what decides between equal scores.
        costs: names of the costs of the front; used only if `ties` is "front".
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
    """Return the first trial of `ordered` that has a score; None if no trial has a score."""
    return next((row for row in ordered(trials, ties, costs) if score_of(row) > -math.inf), None)


def on_front(trials: Sequence[Trial], costs: Sequence[str] = COSTS) -> list[Trial]:
    """Return the trials that no other trial dominates in score and costs, sorted by rising costs.

    A trial dominates another if it is nowhere worse and somewhere better. Equal trials are either all on the front or
    all not. A trial without a score, or without one of the costs, is not on the front.
    """
    return [trials[index] for index in front_of(trials, costs).indices] if trials else []


def front_of(
    trials: Sequence[Scored], costs: Sequence[str] = COSTS, reference: Sequence[float] | None = None
) -> FrontOfPoints:
    """Return the front of trials, see `on_front`, with its hypervolume.

    Args:
        trials: the trials; `indices` of the result are positions in this sequence.
        costs: names of the costs.
        reference: one number above 0 per cost, see `front_of_points`.

    Raises:
        ConfigurationError: there is no trial or no cost, or the reference is wrong; see `front_of_points`.
    """
    scores = [score if (score := score_of(row)) > -math.inf else math.nan for row in trials]
    counted = [[_or_nan(cost_of(row, name)) for name in costs] for row in trials]
    return front_of_points(scores, counted, reference)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def held_ms(median_ms: float, iqr_ms: float) -> float:
    """Return the latency that is compared with a limit: median + IQR, so that another measurement is within it too."""
    return median_ms + iqr_ms


def within_latency(limit_ms: float, median_ms: float, iqr_ms: float, is_noisy: bool = False) -> bool:
    """Whether a measured latency is within a limit: median + IQR <= limit; a noisy measurement never is."""
    return not is_noisy and held_ms(median_ms, iqr_ms) <= limit_ms


FEWEST_RANKED = 2
"""Smallest number of networks that can be ranked."""
FEWEST_TOLD = 10
"""Smallest number of networks for which a rank correlation proves anything."""


class Trained(Protocol):
    """A row of the trial store for a stand-alone network, one that was trained by itself."""

    @property
    def start(self) -> str: ...  # noqa: D102
    @property
    def inherited_validation(self) -> float | None: ...  # noqa: D102
    @property
    def retrained_test(self) -> float | None: ...  # noqa: D102


Network = TypeVar("Network", bound=Trained)


@dataclass(frozen=True)
class Ranking:
    """How well the score of the search ranks the networks that were trained from scratch, against their test score.

    Attributes:
        num: number of networks compared.
        kendall_tau: Kendall's tau-b in [-1, 1], where 1 means the same order; None for fewer than two networks, or if
            one side is constant.
        spearman: Spearman's rho in [-1, 1], where 1 means the same order; None if `kendall_tau` is None.
        chance: probability that a random order reaches at least this tau; None if `kendall_tau` is None.
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
        """Return the dictionary that `result.json` holds; it is without `chance`."""
        return {"num": self.num, "kendall_tau": self.kendall_tau, "spearman": self.spearman}


def ranked(networks: Iterable[Network]) -> list[Network]:
    """Return the networks that enter a ranking: trained from scratch, with a score of the search and a test score."""
    return [
        row
        for row in networks
        if row.start == "scratch" and row.inherited_validation is not None and row.retrained_test is not None
    ]


def ranking(networks: Iterable[Trained]) -> Ranking:
    """Return the ranking of the networks that `ranked` selects; equal scores count as ties."""
    pairs = ranked(networks)
    searched_by = [row.inherited_validation or 0.0 for row in pairs]
    alone = [row.retrained_test or 0.0 for row in pairs]
    found = rank_correlation(searched_by, alone, fewest=FEWEST_RANKED)
    chance = None if found.kendall_tau is None else chance_of_order(searched_by, alone)
    return Ranking(len(pairs), found.kendall_tau, found.spearman, chance)
