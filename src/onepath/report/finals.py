"""The finals of a run in its report: what each finalist reached in each round."""

from __future__ import annotations

from dataclasses import dataclass

from onepath.record import RunRecord
from onepath.report.findings import stage_record
from onepath.search.halving import num_passes


@dataclass(frozen=True)
class Finalist:
    """A row of the table.

    Attributes:
        architecture: text of the architecture.
        scores: score on the validation split after each round; None where the finalist had left, or is not trained yet.
        is_winner: whether it has won.
    """

    architecture: str
    scores: list[float | None]
    is_winner: bool


@dataclass(frozen=True)
class Finals:
    """The table of the finalists.

    Attributes:
        shares: share of the training that each round has behind it.
        rows: the finalists, in the order of the search.
        trainings: the cost of the finals with the winner's training, in trainings of one network.
    """

    shares: list[float]
    rows: list[Finalist]
    trainings: float


def finals_of(record: RunRecord) -> Finals | None:
    """Return the table of the finalists; None if the run has none, or has not begun with them."""
    rounds = stage_record(record, "retrain").get("finals")
    searched = stage_record(record, "search")
    finalists = searched.get("finalists", [])
    if not rounds or not finalists:
        return None
    has_winner = len(stage_record(record, "retrain").get("networks", [])) > 0
    rows = [
        Finalist(
            architecture,
            [played["scores"].get(architecture) for played in rounds],
            has_winner and architecture == searched["winner"],
        )
        for architecture in finalists
    ]
    return Finals(
        [played["share"] for played in rounds],
        rows,
        num_passes(len(finalists), str(record.config.get("finish", ""))),
    )
