"""Methods that search by a score without training: the estimator of a run, and what its results say of the score."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.randomness import generator
from onepath.record import EstimateStore, TrialRow
from onepath.record.estimates import ESTIMATES

if TYPE_CHECKING:
    from onepath.estimate import ScoreEstimator
    from onepath.runs.opened import Run
    from onepath.runs.scoring_team import ScoringTeam
    from onepath.search import Algorithm
    from onepath.space import Architecture

# As in the released code of Zen-NAS; and as the papers of scores that read data.
RANDOM_BATCH, DATA_BATCH = 16, 64
FEWEST_SCORED = 128
"""Networks for which a process is worth its start of some seconds."""


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


def scoring_team(run: Run) -> ScoringTeam | None:
    """As `score_estimator`, by several processes, with the same scores; None where one is as good.

    Few networks are scored before processes have started, and data would be loaded by each of them.
    """
    from onepath.estimate import score_definition
    from onepath.runs.scoring_team import ScoringTeam

    config = run.config
    assert config.proxy is not None, "the configuration is resolved"
    assert config.workers is not None, "the configuration is resolved"
    assert config.generations is not None, "the configuration is resolved"
    planned = min(num_evaluated(run) * (config.generations + 1), run.blank.space.size)
    num_left = planned - len(run.directory.store.trials())
    num_workers = min(config.workers, num_left // FEWEST_SCORED)
    if num_workers < 2 or len(run.input_shape) != 3 or score_definition(config.proxy).reads_data:
        return None
    num_examples = min(RANDOM_BATCH, run.facts["train"])
    return ScoringTeam(run, config.proxy, (num_examples, *run.input_shape), _seed(run), num_workers)


def prefiltered(run: Run, algorithm: Algorithm) -> Algorithm:
    """The algorithm, of whose proposals only the best by the configuration's prefilter are evaluated."""
    from onepath.search import Prefilter

    if run.config.prefilter is None:
        return algorithm
    name, share = parse_prefilter(run.config.prefilter)
    return Prefilter(algorithm, StoredScore(run, name), share)


def num_evaluated(run: Run) -> int:
    """Architectures that a generation evaluates at most."""
    population = run.config.population
    assert population is not None, "the configuration is resolved"
    if run.config.prefilter is None:
        return population
    return math.ceil(parse_prefilter(run.config.prefilter)[1] * population - 1e-9)


class StoredScore:
    """A score of architectures, higher is better; each is in the run's estimates as soon as it is made.

    The trials of a search tell what it evaluated, not what a prefilter left out: a search that was killed finds the
    scores of both here, and makes none of them again.

    Args:
        run: whose space is scored, with a seed and a batch that follow from its configuration.
        name: of the score.

    Raises:
        ConfigurationError: there is no such score.
        RunDirectoryError: the store cannot be read or, in a call, written.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._estimator = _estimator(run, name)
        self._path = run.path / ESTIMATES
        self._setting = f"score {name}, seed {run.config.seed}"
        with EstimateStore(self._path) as store:
            self._known = {text: row["score"] for text, row in store.read(self._setting).items()}

    def __call__(self, architecture: Architecture) -> float:
        """The score; minus infinity for a degenerate network."""
        text = str(architecture)
        if text not in self._known:
            found = self._estimator.score(architecture)
            with EstimateStore(self._path) as store:
                store.put(self._setting, text, {"score": found.value}, found.seconds)
            self._known[text] = found.value
        value = self._known[text]
        return -math.inf if value is None else value


def _estimator(run: Run, name: str) -> ScoreEstimator:
    from onepath.estimate import ScoreEstimator, score_definition

    reads_data = score_definition(name).reads_data
    return ScoreEstimator(
        name,
        run.blank,
        run.task,
        batch_size=DATA_BATCH if reads_data else RANDOM_BATCH,
        device=run.config.train_on,
        # As in a process of several: the same score, and small networks have no use for a second thread.
        num_threads=None if reads_data else 1,
        seed=_seed(run),
    )


def _seed(run: Run) -> int:
    return int(generator(run.config.seed, "estimate").integers(2**31))


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
