"""Methods that search by a score without training: the estimator of a run, and what its results say of the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.randomness import generator
from onepath.record import TrialRow

if TYPE_CHECKING:
    from onepath.estimate import ScoreEstimator
    from onepath.pipeline.context import Run

# As in the released code of Zen-NAS; and as the papers of scores that read data.
RANDOM_BATCH, DATA_BATCH = 16, 64


def score_estimator(run: Run) -> ScoreEstimator:
    """The score of the configuration, for the stand-alone networks of the space."""
    from onepath.estimate import ScoreEstimator, score_definition

    name = run.config.proxy
    assert name is not None, "the configuration is resolved"
    reads_data = {"inputs", "labels"} & set(score_definition(name).needs)
    return ScoreEstimator(
        name,
        run.blank,
        run.task,
        batch_size=DATA_BATCH if reads_data else RANDOM_BATCH,
        device=run.config.train_on,
        seed=int(generator(run.config.seed, "estimate").integers(2**31)),
    )


def score_record(run: Run, trials: Sequence[TrialRow]) -> dict[str, Any] | None:
    """What the stage `search` stores of the score; None where inherited accuracy was searched."""
    if run.config.proxy is None:
        return None
    return {
        "name": run.config.proxy,
        "num_degenerate": sum(trial.accuracy is None for trial in trials),
    }


def score_result(record: Mapping[str, Any], searched: TrialRow) -> dict[str, Any] | None:
    """The score for `result.json`: its name, the winner's value, and how many networks were degenerate.

    Args:
        record: of the stage `search`.
        searched: the winner as the search scored it.
    """
    score = record.get("score")
    return None if score is None else {**score, "value": searched.accuracy}
