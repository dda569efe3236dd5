"""The stage `search`: the best architecture under the limits, by inherited accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onepath.errors import RunDirectoryError
from onepath.pipeline.context import Run, StageClock
from onepath.randomness import generator
from onepath.record import TrialRow

if TYPE_CHECKING:
    from onepath.estimate import Estimate, Estimator
    from onepath.methods import Trial
    from onepath.search import Evolution
    from onepath.space import Architecture


def search_stage(run: Run) -> None:
    """Search, storing every evaluated architecture at once.

    What an algorithm asks for depends on its seed and the told scores alone, so that a search that was killed
    is replayed from the stored trials, without evaluating any of them again.
    """
    from onepath.methods import search_supernet

    with run.stage("search") as clock:
        stored = run.directory.store.trials()
        algorithm = make_algorithm(run)
        total = algorithm.population * (algorithm.generations + 1)
        run.progress.begin("searching", min(total, run.blank.space.size), len(stored))
        replay = Replay(run, clock, stored)
        search_supernet(
            run.blank,
            run.task,
            algorithm,
            constraints=run.constraints,
            estimator=replay,
            on_trial=replay.on_trial,
        )
        replay.check_all_used()
        trials = run.directory.store.trials()
        winner = best_trial(trials)
        clock.record = search_record(run, run.blank.space.parse(winner.architecture))
    run.progress.note(
        f"found {winner.macs:,} MACs, {winner.params:,} parameters, inherited accuracy {winner.accuracy or 0:.4f} "
        f"among {len(trials):,} evaluated"
    )


def make_algorithm(run: Run) -> Evolution:
    """The search algorithm of the configuration."""
    from onepath.search import Evolution

    config = run.config
    assert config.population is not None, "the configuration is resolved"
    assert config.generations is not None, "the configuration is resolved"
    return Evolution(
        run.blank.space,
        seed=int(generator(config.seed, "search").integers(2**31)),
        population=config.population,
        generations=config.generations,
    )


def make_estimator(run: Run) -> Estimator:
    """What gives the inherited accuracy of an architecture."""
    from onepath.estimate import SupernetEstimator

    config = run.config
    return SupernetEstimator(
        run.trained,
        run.task,
        calibration_images=config.calibration_images,
        validation_images=config.validation_images,
        device=config.train_on,
        seed=int(generator(config.seed, "estimate").integers(2**31)),
        precision=config.precision,
    )


def best_trial(trials: Sequence[TrialRow]) -> TrialRow:
    """The winner: highest accuracy, then least loss, then the earliest."""
    return max(trials, key=lambda trial: (_accuracy(trial), -_loss(trial)))


def search_record(run: Run, winner: Architecture) -> dict[str, Any]:
    """What the report draws: the choices of the space, which of them the winner uses, and the limits."""
    space = winner.space
    return {
        "space_size": space.size,
        "winner": str(winner),
        "space_choices": [{"name": choice.name, "options": list(choice.options)} for choice in space.choices],
        "active": winner.options,
        "limit": {constraint.name: constraint.maximum for constraint in run.constraints},
        "num_random_legal": sum(trial.origin == "random" for trial in run.directory.store.trials()),
    }


class Replay:
    """An estimator that answers from the stored trials first, and stores what it evaluates."""

    def __init__(self, run: Run, clock: StageClock, stored: Sequence[TrialRow]) -> None:
        self._run = run
        self._clock = clock
        self._stored = stored
        self._by_architecture = {trial.architecture: trial for trial in stored}
        self._estimator: Estimator | None = None
        self._num = 0
        self._best = -math.inf

    def estimate(self, architecture: Architecture) -> Estimate:
        """The stored estimate, to the bit, or a new one."""
        from onepath.estimate import Estimate

        row = self._by_architecture.get(str(architecture))
        if row is not None:
            num = self._run.facts["validation"]
            return Estimate(_accuracy(row), _loss(row), row.seconds, num)
        if self._num < len(self._stored):
            raise self._mismatch()
        if self._estimator is None:
            self._estimator = make_estimator(self._run)
        return self._estimator.estimate(architecture)

    def on_trial(self, trial: Trial) -> None:
        """Store a trial, unless it was stored by an earlier process; then check that it is the same."""
        architecture = str(trial.architecture)
        if self._num < len(self._stored):
            if self._stored[self._num].architecture != architecture:
                raise self._mismatch()
        else:
            macs, params = self._run.cost(trial.architecture)
            estimate = trial.estimate
            row = (estimate.accuracy, estimate.loss, macs, params, estimate.seconds)
            store = self._run.directory.store
            store.add_trial(TrialRow(self._num, architecture, trial.generation, trial.origin, *row))
            self._clock.tick()
        self._num += 1
        self._best = max(self._best, trial.estimate.accuracy)
        if self._num > len(self._stored):
            self._run.progress.advance(self._num, f"best accuracy {self._best:.4f}")

    def check_all_used(self) -> None:
        """Every stored trial must have been asked for again."""
        if self._num < len(self._stored):
            raise self._mismatch()

    def _mismatch(self) -> RunDirectoryError:
        return RunDirectoryError(
            f"a search continues from its own trials, but trial {self._num} in {self._run.directory.path} is not the "
            "one that this onepath would evaluate; continue with the onepath that began it, or start over with --fresh"
        )


def _accuracy(row: TrialRow) -> float:
    return -math.inf if row.accuracy is None else row.accuracy


def _loss(row: TrialRow) -> float:
    return math.inf if row.loss is None else row.loss
