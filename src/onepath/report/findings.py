"""Facts read from a run's records: the winner, the random baseline, the costs, the limits and the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onepath.display import Metric, ShownCost, shown_cost
from onepath.evidence import Comparison, compare
from onepath.record import NetworkRow, RunRecord, TrialRow
from onepath.verdict import COSTS, Ties, best, cost_of


@dataclass(frozen=True)
class Searched:
    """The quantity that the search optimised, and how it is shown.

    Attributes:
        name: name in a sentence, for example "inherited accuracy".
        axis: title of the axis in a diagram.
        metric: metric of the values, which knows their format and direction.
        is_score: whether it is a score without training instead of a metric of the task.
        word: one word for it in titles, for example "inherited".
    """

    name: str
    axis: str
    metric: Metric
    is_score: bool
    word: str

    def shown(self, score: float | None) -> float:
        """Return a stored score, which must not be None, in the unit of the diagrams."""
        assert score is not None, "only what was measured is drawn"
        return self.metric.shown(score)


def metric_of(record: RunRecord) -> Metric:
    """Return the metric of the run's task, with its direction."""
    noted = stage_record(record, "data").get("metric")
    return Metric.of(noted or record.result.get("metric") or (record.result.get("data") or {}).get("metric"))


def searched_by(record: RunRecord) -> Searched:
    """Return what the search optimised: the metric, inherited or of short trainings, or a score without training."""
    stage = stage_record(record, "search")
    noted, word = stage.get("score") or {}, stage.get("estimated", "inherited")
    score, metric = noted.get("name") or record.config.get("proxy"), metric_of(record)
    if score is None:
        return Searched(f"{word} {metric.name}", metric.axis(f"{word} validation"), metric, False, word)
    return Searched(f"the score {score}", f"{score} (score without training)", Metric(score), True, "score")


def stage_record(record: RunRecord, stage: str) -> Mapping[str, Any]:
    """Return the values that a stage recorded; empty if it has not recorded any."""
    found = record.stages.get(stage, {}).get("record")
    return found if isinstance(found, dict) else {}


def is_done(record: RunRecord, stage: str) -> bool:
    """Whether a stage has finished."""
    return bool(record.stages.get(stage, {}).get("done"))


def winner_network(record: RunRecord) -> NetworkRow | None:
    """Return the stand-alone network of the winner that is or will be exported; None before one is trained."""
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
    """Return the winner's trial; before the search has ended the best trial so far, None if there is none."""
    network = winner_network(record)
    found = network.architecture if network else stage_record(record, "search").get("winner")
    matching = [trial for trial in record.trials if trial.architecture == found]
    return matching[0] if matching else best(record.trials, ties_of(record))


def ties_of(record: RunRecord) -> Ties:
    """Return what decided between equally good trials: "front" or "loss"."""
    return "front" if (stage_record(record, "search").get("front") or {}).get("decides_ties") else "loss"


def baselines(record: RunRecord) -> list[NetworkRow]:
    """List the stand-alone networks of random architectures."""
    return [row for row in record.networks if row.role != "winner"]


def compared(record: RunRecord) -> tuple[Comparison, NetworkRow] | None:
    """Compare the winner with the random baseline on the test set; None if a test result is missing.

    Of the winner's networks, the one that began with the same weights as the baseline (scratch or inherited) is
    compared.

    Returns:
        The comparison, whose values are the metric's `goodness` (higher is better), and the winner's network.
    """
    metric = metric_of(record)
    others = [row for row in baselines(record) if row.retrained_test is not None]
    starts = {row.start for row in others}
    same = [row for row in record.networks if row.role == "winner" and row.start in starts]
    if not same or same[0].retrained_test is None:
        return None
    tested = [metric.goodness(row.retrained_test) for row in others if row.retrained_test is not None]
    num = num_examples(record, "test") if metric.is_share else None
    return compare(metric.goodness(same[0].retrained_test), tested, num), same[0]


def limits(record: RunRecord) -> dict[str, float]:
    """Return the hard limits of the search by name, for example {"max_macs": 2000000}."""
    noted = stage_record(record, "search").get("limit")
    source = noted if isinstance(noted, dict) else record.config
    # In a run with several limits, the first one belongs to this directory.
    return {
        name: value[0] if isinstance(value, list) else value
        for name, value in source.items()
        if name.startswith("max_") and value is not None
    }


def shown_costs(record: RunRecord, rows: Sequence[object] | None = None) -> list[ShownCost]:
    """List the costs that tables and diagrams show: MACs, parameters, limited costs and costs of the front.

    A cost that no row has is left out.

    Args:
        record: records of the run.
        rows: rows that are shown; by default all trials and networks of the run.
    """
    shown = [*record.trials, *record.networks] if rows is None else rows
    front = (stage_record(record, "search").get("front") or {}).get("reference") or {}
    names = dict.fromkeys([*COSTS, *(name.removeprefix("max_") for name in limits(record)), *front])
    return [shown_cost(name) for name in names if any(cost_of(row, name) is not None for row in shown)]


def front_costs(record: RunRecord) -> list[ShownCost]:
    """List the costs that the front weighs against the score."""
    noted = stage_record(record, "search").get("front") or {}
    return [shown_cost(name) for name in noted.get("reference") or COSTS]


def front_trials(record: RunRecord) -> list[TrialRow]:
    """List the trials on the front, by rising cost; empty if the run has not recorded a front."""
    noted: Mapping[str, Any] = stage_record(record, "search").get("front") or {}
    by_number = {trial.number: trial for trial in record.trials}
    return [by_number[number] for number in noted.get("trials", ()) if number in by_number]


def num_examples(record: RunRecord, split: str) -> int | None:
    """Return the number of examples of a split of the data; None if it was not recorded."""
    sources = (stage_record(record, "data"), record.result.get("data") or {})
    return next((int(source[split]) for source in sources if source.get(split)), None)


def num_scored(record: RunRecord) -> int | None:
    """Return the number of validation examples on which the search scored each architecture; None if unknown."""
    return record.config.get("validation_images") or num_examples(record, "validation")
