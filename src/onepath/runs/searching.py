"""The stage `search`: find the best architecture under the limits, by an accuracy or by a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onepath.errors import ConfigurationError
from onepath.record import TrialRow
from onepath.runs.fronts import front_record
from onepath.runs.measuring import choose_within
from onepath.runs.opened import Run
from onepath.runs.replay import Replay, searched_by
from onepath.runs.run_job import RunJob
from onepath.verdict import ordered

if TYPE_CHECKING:
    from onepath.space import Architecture


def search_stage(run: Run) -> None:
    """Search, and store every evaluated architecture at once; under a limit on latency, measure the best ones.

    What an algorithm proposes depends only on its seed and on the scores that it was told. So a search that was killed
    is replayed from the stored trials and the stored measurements, and none of them is made again.

    Raises:
        ConfigurationError: the search goes by a score, and all scored networks are degenerate.
        InfeasibleError: no architecture meets the limits; on latency, predicted or measured.
    """
    method = run.config.options
    with run.stage("search") as clock, Replay(run, clock, run.costs) as replay:
        job = RunJob(run, clock)
        trained = job.trained(method)

        def search(step: int, screen_ms: float | None) -> list[TrialRow]:
            one = job.at(step, screen_ms, replay)
            asked = method.search(one, trained)
            one.search(asked)
            return ordered(replay.told(), asked.ties)

        screen_ms = None
        if run.config.limit_ms is None:
            best = finalists_of(search(0, None), run.config.finalists or 1)
        else:
            chosen = choose_within(run, search)
            best, screen_ms = chosen.trials, chosen.screen_ms
        winner = best[0]
        if winner.accuracy is None and method.score is not None:
            raise ConfigurationError(
                f"{searched_by(run)} must tell something about some network, but all {len(replay.told()):,} scored are "
                "degenerate; take another proxy"
            )
        replay.check_all_used()
        clock.record = search_record(run, run.blank.space.parse(winner.architecture), screen_ms)
        if len(best) > 1:
            clock.record["finalists"] = [trial.architecture for trial in best]
    _note_found(run, winner, screen_ms)


def finalists_of(trials: Sequence[TrialRow], num: int) -> list[TrialRow]:
    """Return the first trials that may win; if an architecture was derived, the random ones are only for comparison.

    Args:
        trials: the trials, best first.
        num: largest number of trials.
    """
    return [trial for trial in trials if trial.origin == "derived" or trials[0].origin != "derived"][:num]


def _note_found(run: Run, winner: TrialRow, screen_ms: float | None) -> None:
    num_trials = len(run.directory.store.trials())
    if winner.accuracy is None or not math.isfinite(winner.accuracy):
        run.progress.note(
            f"{num_trials:,} architectures, of which none has been evaluated before its training"
        )
        return
    by_score = run.config.options.score is not None
    what = searched_by(run) if by_score else f"{run.config.options.estimated} {searched_by(run)}"
    run.progress.note(
        f"found {int(winner.costs['macs']):,} MACs, {int(winner.costs['params']):,} parameters, {what} "
        f"{run.shown_score(winner.accuracy or 0)} among {num_trials:,} evaluated"
    )
    if screen_ms is not None:
        latency = run.latencies.measure(run.blank.space.parse(winner.architecture))
        run.progress.note(
            f"measured {latency.median_ms:.3f} ms (IQR {latency.iqr_ms:.3f} ms) on {run.latencies.device.name}, with "
            f"its spread within {run.config.limit_ms:g} ms"
        )


def searched_winner(run: Run) -> Architecture:
    """Return the architecture that the finished search found."""
    return run.blank.space.parse(run.directory.store.stage("search").record["winner"])


def search_record(run: Run, winner: Architecture, screen_ms: float | None) -> dict[str, Any]:
    """Return the record of a search: the winner, the choices of the space, the limits, and the front or the score.

    Args:
        run: the run, with all trials of the search stored.
        winner: the architecture that the search found.
        screen_ms: largest predicted latency of the last search, in ms; None without a limit on latency.
    """
    space, trials = winner.space, run.directory.store.trials()
    by_score = run.config.options.score is not None
    has_scores = any(trial.accuracy is not None and math.isfinite(trial.accuracy) for trial in trials)
    record = {
        "space_size": space.size,
        "winner": str(winner),
        "space_choices": [{"name": choice.name, "options": list(choice.options)} for choice in space.choices],
        "active": winner.options,
        "limit": run.limits,
        # A score has no scale on which a front's hypervolume could be measured.
        "front": None
        if by_score or not has_scores
        else front_record(trials, run.limits, run.config.options.ties),
        "score": score_record(run, trials) if by_score else None,
        "estimated": run.config.options.estimated,
        "num_random_legal": sum(trial.origin == "random" for trial in trials),
        "predictor": predictor_record(run),
    }
    if screen_ms is not None:
        record["screen_ms"] = screen_ms
        record["predicted_ms"] = run.latencies.predicted(space.parse(trial.architecture) for trial in trials)
    return record


def predictor_record(run: Run) -> dict[str, Any] | None:
    """Return what is stored of the accuracy predictor that the search used; None if it used none."""
    predictor = run.root.accuracy_predictor
    if predictor is None:
        return None
    return {
        "num_pairs": len(predictor.accuracies),
        "error": predictor.error,
        "tau": predictor.tau,
        "held_out": predictor.held_out.tolist(),
        "accuracies": predictor.accuracies.tolist(),
        "costs": {
            name: np.asarray(counted(predictor.rows)).tolist() for name, counted in run.counters.items()
        },
    }


def score_record(run: Run, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """Return what is stored of the score that the search used: its name, and how many trials are degenerate."""
    return {
        "name": searched_by(run),
        "num_degenerate": sum(trial.accuracy is None for trial in trials),
    }
