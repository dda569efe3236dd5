"""The stage `search`: the best architecture under the limits, by inherited accuracy or by a score."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.randomness import generator
from onepath.record import TrialRow
from onepath.runs.fronts import front_record
from onepath.runs.measuring import choose_within
from onepath.runs.methods import METHODS
from onepath.runs.opened import Run, StageClock
from onepath.runs.scored import num_evaluated, prefiltered, score_record, scoring_team
from onepath.verdict import Ties, loss_of, ordered, score_of

if TYPE_CHECKING:
    from onepath.estimate import Estimate, Estimator
    from onepath.methods import Trial
    from onepath.nn import Supernet
    from onepath.runs.scoring_team import ScoringTeam
    from onepath.search import Algorithm
    from onepath.space import Architecture


def search_stage(run: Run) -> None:
    """Search, storing every evaluated architecture at once; under a limit on latency, measure the best.

    What an algorithm asks for depends on its seed and the told scores alone, so that a search that was killed
    is replayed from the stored trials and the stored measurements, without making any of them again.
    """
    with run.stage("search") as clock, contextlib.ExitStack() as opened:
        replay = opened.enter_context(Replay(run, clock, run.directory.store.trials()))

        def search(step: int, screen_ms: float | None) -> list[TrialRow]:
            _evolve(run, replay, step, screen_ms)
            return ordered(replay.told(), ties(run))

        screen_ms = None
        if run.config.limit_ms is None:
            winner = search(0, None)[0]
        else:
            chosen = choose_within(run, search)
            winner, screen_ms = chosen.trial, chosen.screen_ms
        if run.config.proxy is not None and winner.accuracy is None:
            raise ConfigurationError(
                f"{run.config.proxy} must tell something about some network, but all {len(replay.told()):,} scored are "
                "degenerate; take another proxy"
            )
        replay.check_all_used()
        clock.record = search_record(run, run.blank.space.parse(winner.architecture), screen_ms)
    num_trials = len(run.directory.store.trials())
    value = f"{run.config.proxy or 'inherited accuracy'} {winner.accuracy or 0:.4f}"
    run.progress.note(
        f"found {winner.macs:,} MACs, {winner.params:,} parameters, {value} among {num_trials:,} evaluated"
    )
    if screen_ms is not None:
        latency = run.latencies.measure(run.blank.space.parse(winner.architecture))
        run.progress.note(
            f"measured {latency.median_ms:.3f} ms (IQR {latency.iqr_ms:.3f} ms) on {run.latencies.device.name}, with "
            f"its spread within {run.config.limit_ms:g} ms"
        )


def _evolve(run: Run, replay: Replay, step: int, screen_ms: float | None) -> None:
    """One search of the supernet; later ones, under a tightened screen, draw differently."""
    from onepath.methods import search_supernet

    algorithm, config = make_algorithm(run, step), run.config
    assert config.generations is not None, "the configuration is resolved"
    num_generations = config.generations + 1
    total = min(num_evaluated(run) * num_generations, run.blank.space.size)
    title = "searching" if step == 0 else f"searching under {screen_ms:.4g} ms"
    replay.begin(title, total, step * num_generations)
    search_supernet(
        run.blank,
        run.task,
        algorithm,
        constraints=run.constraints(screen_ms),
        estimator=replay,
        on_trial=replay.on_trial,
    )


def make_algorithm(run: Run, step: int = 0) -> Algorithm:
    """The search algorithm of the configuration's method, for the first search or one after it."""
    return prefiltered(run, METHODS[run.config.method].algorithm(run, algorithm_seed(run, step)))


def algorithm_seed(run: Run, step: int) -> int:
    """What the search algorithm draws from in the first search or one after it."""
    return int(generator(run.config.seed, "search", step).integers(2**31))


def make_estimator(run: Run) -> Estimator:
    """What gives the inherited accuracy of an architecture, or what the method searches by."""
    estimator = METHODS[run.config.method].estimator
    if estimator is not None:
        return estimator(run)
    return inherited_estimator(run, run.trained)


def inherited_estimator(run: Run, supernet: Supernet) -> Estimator:
    """The accuracy with the weights of a trained supernet, as the configuration has it."""
    from onepath.estimate import SupernetEstimator

    config = run.config
    return SupernetEstimator(
        supernet,
        run.task,
        calibration_images=config.calibration_images,
        validation_images=config.validation_images,
        device=config.train_on,
        seed=int(generator(config.seed, "estimate").integers(2**31)),
        precision=config.precision,
    )


def ties(run: Run) -> Ties:
    """What decides between equally good trials."""
    return "front" if METHODS[run.config.method].wins_from_front else "loss"


def searched_winner(run: Run) -> Architecture:
    """What the finished search found."""
    return run.blank.space.parse(run.directory.store.stage("search").record["winner"])


def search_record(run: Run, winner: Architecture, screen_ms: float | None) -> dict[str, Any]:
    """What the report draws: the choices of the space, which of them the winner uses, and the limits."""
    space, trials = winner.space, run.directory.store.trials()
    limits = {limit.name: limit.maximum for limit in run.constraints(run.config.limit_ms)}
    record = {
        "space_size": space.size,
        "winner": str(winner),
        "space_choices": [{"name": choice.name, "options": list(choice.options)} for choice in space.choices],
        "active": winner.options,
        "limit": limits,
        # A score has no scale on which a front's hypervolume could be measured.
        "front": front_record(trials, limits, ties(run)) if run.config.proxy is None else None,
        "score": score_record(run, trials),
        "num_random_legal": sum(trial.origin == "random" for trial in trials),
    }
    if screen_ms is not None:
        record["screen_ms"] = screen_ms
        record["predicted_ms"] = run.latencies.predicted(space.parse(trial.architecture) for trial in trials)
    return record


class Replay:
    """An estimator that answers from the stored trials first, and stores what it evaluates; for a `with`."""

    def __init__(self, run: Run, clock: StageClock, stored: Sequence[TrialRow]) -> None:
        self._run = run
        self._clock = clock
        self._stored = stored
        self._by_architecture = {trial.architecture: trial for trial in stored}
        self._estimator: Estimator | None = None
        self._team: ScoringTeam | None = None
        self._told: dict[str, TrialRow] = {}
        self._costs = (0, 0)  # of the architecture that is being evaluated
        self._first = self._first_generation = 0
        self._best = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._team is not None:
            self._team.close()

    @property
    def _num(self) -> int:
        return len(self._told)

    def begin(self, title: str, total: int, first_generation: int) -> None:
        """A search begins, of at most `total` trials; its generations are counted from `first_generation`."""
        self._first, self._first_generation = self._num, first_generation
        self._run.progress.begin(title, total, min(max(len(self._stored) - self._first, 0), total))

    def told(self) -> list[TrialRow]:
        """The trials that the searches so far have asked for, in their order."""
        return list(self._told.values())

    def anticipate(self, architectures: Sequence[Architecture]) -> None:
        """Several processes begin to score what is not stored, where that is worth it."""
        new = [each for each in architectures if str(each) not in self._by_architecture]
        if not new:
            return
        if self._estimator is None and self._run.config.proxy is not None:
            self._estimator = self._team = scoring_team(self._run)
        if self._team is not None:
            self._team.anticipate(new)

    def estimate(self, architecture: Architecture) -> Estimate:
        """The stored estimate, to the bit, or a new one."""
        from onepath.estimate import Estimate

        row = self._by_architecture.get(str(architecture))
        if row is not None:
            num = self._run.facts["validation"]
            return Estimate(score_of(row), loss_of(row), row.seconds, num)
        if self._num < len(self._stored):
            raise self._mismatch()
        # Before the evaluation: the tables of costs take seconds, and a kill in them would lose what was evaluated.
        self._costs = self._run.cost(architecture)
        if self._estimator is None:
            self._estimator = make_estimator(self._run)
        return self._estimator.estimate(architecture)

    def on_trial(self, trial: Trial) -> None:
        """Store a trial, unless it was stored by an earlier process; then check that it is the same.

        What an earlier search asked for as well is no new trial; it counts as derived if either derived it.
        """
        architecture = str(trial.architecture)
        self._best = max(self._best, trial.estimate.accuracy)
        if architecture in self._told:
            if trial.origin == "derived":
                # Drawn for comparison by an earlier search, and under a tightened screen the most probable one.
                self._told[architecture] = dataclasses.replace(self._told[architecture], origin="derived")
            return
        if self._num < len(self._stored):
            row = self._stored[self._num]
            if row.architecture != architecture:
                raise self._mismatch()
            self._told[architecture] = row
            return
        macs, params = self._costs
        estimate, generation = trial.estimate, self._first_generation + trial.generation
        costs = (estimate.accuracy, estimate.loss, macs, params, estimate.seconds)
        row = TrialRow(self._num, architecture, generation, trial.origin, *costs)
        self._run.directory.store.add_trial(row)
        self._clock.tick()
        self._told[architecture] = row
        self._by_architecture[architecture] = row
        what = self._run.config.proxy or "accuracy"
        self._run.progress.advance(self._num - self._first, f"best {what} {self._best:.4f}")

    def check_all_used(self) -> None:
        """Every stored trial must have been asked for again."""
        if self._num < len(self._stored):
            raise self._mismatch()

    def _mismatch(self) -> RunDirectoryError:
        return RunDirectoryError(
            f"a search continues from its own trials, but trial {self._num} in {self._run.directory.path} is not the "
            "one that this onepath would evaluate; continue with the onepath that began it, or start over with --fresh"
        )
