"""What a run's records say: the winner, the baseline beside it, and how well inherited accuracy or a score ranks."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onepath.record import NetworkRow, RunRecord, TrialRow

_MOST_ENUMERATED = 7


@dataclass(frozen=True)
class Comparison:
    """The winner's accuracy against random architectures trained with the same budget.

    Attributes:
        winner: test accuracy in [0, 1].
        baseline: test accuracies of the random architectures, at least one.
        start: of the compared networks' weights, "scratch" or "inherited".
        is_handed_over: whether the compared winner is the network that the run hands over.
        noise: half width of what chance alone explains, see `compare`; None where nothing tells it.
    """

    winner: float
    baseline: tuple[float, ...]
    start: str
    is_handed_over: bool
    noise: float | None

    @property
    def difference(self) -> float:
        """The winner's accuracy minus the mean of the baseline's."""
        return self.winner - statistics.fmean(self.baseline)

    @property
    def is_better(self) -> bool:
        """Above the baseline's mean by more than the noise, and above its best."""
        return self.noise is not None and self.difference > self.noise and self.winner > max(self.baseline)

    @property
    def is_worse(self) -> bool:
        """Below the baseline's mean by more than the noise, and below its worst."""
        return self.noise is not None and self.difference < -self.noise and self.winner < min(self.baseline)


@dataclass(frozen=True)
class Ranking:
    """How inherited accuracy orders the stand-alone networks.

    Attributes:
        num: networks compared.
        kendall_tau, spearman: in [-1, 1]; None for fewer than two networks or where one side is all ties.
        chance: probability that a random order reaches at least this tau; None with it.
    """

    num: int
    kendall_tau: float | None
    spearman: float | None
    chance: float | None


@dataclass(frozen=True)
class Searched:
    """What the search made as large as it could, and how it is shown.

    Attributes:
        name: in a sentence.
        axis: of a diagram.
        factor: from what is stored to what is shown.
        unit: behind a number, with a space before it.
        is_score: whether it is a score without training, which is no accuracy and has no unit.
    """

    name: str
    axis: str
    factor: float
    unit: str
    is_score: bool

    def shown(self, value: float | None) -> float:
        """A stored value as a diagram has it."""
        assert value is not None, "only what was measured is drawn"
        return round(self.factor * value, 4)


def searched_by(record: RunRecord) -> Searched:
    """Inherited accuracy, or the score of a method that trains no supernet."""
    score = record.config.get("proxy")
    if score is None:
        return Searched("inherited accuracy", "inherited validation accuracy (%)", 100.0, " %", False)
    return Searched(f"the score {score}", f"{score} (score without training)", 1.0, "", True)


def stage_record(record: RunRecord, stage: str) -> Mapping[str, Any]:
    """What a stage left for the report; empty if the stage has not begun."""
    found = record.stages.get(stage, {}).get("record")
    return found if isinstance(found, dict) else {}


def is_done(record: RunRecord, stage: str) -> bool:
    """Whether a stage has finished."""
    return bool(record.stages.get(stage, {}).get("done"))


def best_trial(trials: Sequence[TrialRow]) -> TrialRow | None:
    """The highest accuracy, then the lowest loss, then the earliest; None if none has an accuracy."""
    scored = [trial for trial in trials if trial.accuracy is not None]
    return max(scored, key=_score, default=None)


def winner_network(record: RunRecord) -> NetworkRow | None:
    """The winner's stand-alone network that is handed over; None before it is trained."""
    rows = {row.start: row for row in record.networks if row.role == "winner"}
    handed_over = (
        stage_record(record, "export").get("start"),
        stage_record(record, "retrain").get("exported"),
    )
    for start in (*handed_over, "scratch", *rows):
        if start in rows:
            return rows[start]
    return None


def winner_trial(record: RunRecord) -> TrialRow | None:
    """The winner as the search evaluated it; the best so far before the search has ended."""
    network = winner_network(record)
    found = network.architecture if network else stage_record(record, "search").get("winner")
    matching = [trial for trial in record.trials if trial.architecture == found]
    return matching[0] if matching else best_trial(record.trials)


def baselines(record: RunRecord) -> list[NetworkRow]:
    """The random architectures' stand-alone networks."""
    return [row for row in record.networks if row.role != "winner"]


def compare(record: RunRecord) -> Comparison | None:
    """The winner against the baseline on the test set, both begun from the same start; None if one is missing.

    The noise is twice the standard deviation of (one network - mean of n), s * sqrt(1 + 1/n). For s stands the larger
    of the baseline's own standard deviation and the sampling error of the test set, sqrt(p (1 - p) / images).
    """
    others = [row for row in baselines(record) if row.retrained_test is not None]
    starts = {row.start for row in others}
    same = [row for row in record.networks if row.role == "winner" and row.start in starts]
    if not same or same[0].retrained_test is None:
        return None
    accuracies = tuple(row.retrained_test for row in others if row.retrained_test is not None)
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    sampling = sampling_error(statistics.fmean(accuracies), num_images(record, "test"))
    deviations = [deviation for deviation in (spread, sampling) if deviation is not None]
    noise = 2 * max(deviations) * math.sqrt(1 + 1 / len(accuracies)) if deviations else None
    handed_over = same[0] is winner_network(record)
    return Comparison(same[0].retrained_test, accuracies, same[0].start, handed_over, noise)


def rank(record: RunRecord) -> Ranking:
    """Kendall's tau-b and Spearman's rho of inherited against stand-alone (from scratch) test accuracy."""
    pairs = ranked_pairs(record)
    inherited = [row.inherited_validation for row in pairs]
    alone = [row.retrained_test for row in pairs]
    if len(set(inherited)) < 2 or len(set(alone)) < 2:
        return Ranking(len(pairs), None, None, None)
    from scipy.stats import kendalltau, spearmanr

    kendall = kendalltau(inherited, alone)
    tau = float(kendall.statistic)
    if len(pairs) <= _MOST_ENUMERATED:
        reached = _concordance(inherited, alone)
        chance = statistics.fmean(
            _concordance(inherited, order) >= reached for order in itertools.permutations(alone)
        )
    else:
        chance = float(kendalltau(inherited, alone, alternative="greater").pvalue)
    return Ranking(len(pairs), tau, float(spearmanr(inherited, alone).statistic), chance)


def ranked_pairs(record: RunRecord) -> list[NetworkRow]:
    """The networks trained from scratch of which both accuracies are known."""
    return [
        row
        for row in record.networks
        if row.start == "scratch" and row.inherited_validation is not None and row.retrained_test is not None
    ]


def pareto_front(trials: Sequence[TrialRow]) -> list[TrialRow]:
    """The trials with fewer MACs than every trial as accurate, by increasing MACs; one for each accuracy."""
    known = [trial for trial in trials if trial.macs is not None and trial.accuracy is not None]
    front: list[TrialRow] = []
    best = -math.inf
    for trial in sorted(known, key=lambda trial: (trial.macs, -_accuracy(trial), trial.number)):
        if _accuracy(trial) > best:
            front.append(trial)
            best = _accuracy(trial)
    return front


def limits(record: RunRecord) -> dict[str, float]:
    """The hard limits of the search by name, for example {"max_macs": 2000000}."""
    noted = stage_record(record, "search").get("limit")
    source = noted if isinstance(noted, dict) else record.config
    # Of several limits on latency the first is that of the directory itself.
    return {
        name: value[0] if isinstance(value, list) else value
        for name, value in source.items()
        if name.startswith("max_") and value is not None
    }


def num_images(record: RunRecord, split: str) -> int | None:
    """Images of a split of the data; None if it was not noted."""
    sources = (stage_record(record, "data"), record.result.get("data") or {})
    return next((int(source[split]) for source in sources if source.get(split)), None)


def num_scored(record: RunRecord) -> int | None:
    """Validation images that scored each architecture."""
    return record.config.get("validation_images") or num_images(record, "validation")


def sampling_error(accuracy: float | None, num: int | None) -> float | None:
    """Standard deviation of an accuracy measured on `num` images; never under that of one image wrong."""
    if accuracy is None or not num:
        return None
    inside = min(max(accuracy, 1 / (num + 1)), num / (num + 1))
    return math.sqrt(inside * (1 - inside) / num)


def _concordance(first: Sequence[float | None], second: Sequence[float | None]) -> int:
    """Concordant minus discordant pairs: the part of tau-b that an order changes."""
    pairs = itertools.combinations(zip(first, second, strict=True), 2)
    return sum(_sign(a[0], b[0]) * _sign(a[1], b[1]) for a, b in pairs)


def _sign(a: float | None, b: float | None) -> int:
    assert a is not None, "only networks with both accuracies are ranked"
    assert b is not None, "only networks with both accuracies are ranked"
    return int(a > b) - int(a < b)


def _score(trial: TrialRow) -> tuple[float, float]:
    return _accuracy(trial), -math.inf if trial.loss is None else -trial.loss


def _accuracy(trial: TrialRow) -> float:
    return -math.inf if trial.accuracy is None else trial.accuracy
