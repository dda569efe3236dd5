"""Methods that search by a score without training: the estimator of a run, and what its results say of the score."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.randomness import generator
from onepath.record import TrialRow

if TYPE_CHECKING:
    from onepath.estimate import ScoreEstimator
    from onepath.pipeline.context import Run
    from onepath.search import Algorithm

# As in the released code of Zen-NAS; and as the papers of scores that read data.
RANDOM_BATCH, DATA_BATCH = 16, 64


def parse_prefilter(value: str) -> tuple[str, float]:
    """The score's name and the share of "nwot:0.2".

    Raises:
        ValueError: it is not NAME:SHARE with a share above 0 and at most 1.
    """
    name, _, share = value.rpartition(":")
    if not name or not re.fullmatch(r"[0-9]*\.?[0-9]+", share) or not 0 < float(share) <= 1:
        raise ValueError("must be a score and the share that is evaluated, such as nwot:0.2")
    return name, float(share)


def score_estimator(run: Run) -> ScoreEstimator:
    """The score of the configuration, for the stand-alone networks of the space."""
    name = run.config.proxy
    assert name is not None, "the configuration is resolved"
    return _estimator(run, name)


def prefiltered(run: Run, algorithm: Algorithm) -> Algorithm:
    """The algorithm, of whose proposals only the best by the configuration's prefilter are evaluated."""
    from onepath.search import Prefilter

    if run.config.prefilter is None:
        return algorithm
    name, share = parse_prefilter(run.config.prefilter)
    return Prefilter(algorithm, _estimator(run, name).value, share)


def num_evaluated(run: Run) -> int:
    """Architectures that a generation evaluates at most."""
    population = run.config.population
    assert population is not None, "the configuration is resolved"
    if run.config.prefilter is None:
        return population
    return math.ceil(parse_prefilter(run.config.prefilter)[1] * population - 1e-9)


def _estimator(run: Run, name: str) -> ScoreEstimator:
    from onepath.estimate import ScoreEstimator, score_definition

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
