"""The stage `retrain`: train the winner and a random baseline as stand-alone networks, and test each once."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from onepath.methods.finishing import network_seed, starts_of
from onepath.randomness import generator
from onepath.record import NetworkRow
from onepath.record.directory import TRIALS
from onepath.record.stage_records import reading_records
from onepath.runs.budget import planned_again
from onepath.runs.finals import play_finals
from onepath.runs.opened import Run
from onepath.runs.run_job import RunJob
from onepath.runs.searching import searched_winner
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork, network_score
from onepath.runs.training_watch import store_point
from onepath.runs.trainings import train_networks
from onepath.runs.workspace import StageClock

if TYPE_CHECKING:
    from onepath.space import Architecture

_MOST_DRAWS = 100
_MOST_REFUSED = 8  # random architectures that are measured over the limit


def retrain_stage(run: Run) -> None:
    """Train the winner and the baseline with the same budget, then evaluate each once on the test set.

    A stage that was killed continues inside the trainings that were unfinished.
    """
    with run.stage("retrain") as clock:
        if run.config.budget is not None:
            _plan_epochs(run, clock)
        play_finals(run, clock)
        if "networks" not in clock.record:
            clock.record["networks"] = [
                asdict(replace(network, seconds=clock.record.get("training_seconds")))
                for network in plan_networks(run)
            ]
            clock.save()
        with reading_records(run.path / TRIALS):
            networks = [PlannedNetwork(**network) for network in clock.record["networks"]]
        stored = {(row.role, row.start) for row in run.directory.store.networks()}
        left = [network for network in networks if (network.role, network.start) not in stored]
        train_networks(run, clock, left, len(networks), partial(_store, run))
        for network in networks:
            _test(run, network)
            clock.tick()
        clock.record["exported"] = chosen_start(run.directory.store.networks())
    _note_difference(run)


def _plan_epochs(run: Run, clock: StageClock) -> None:
    """Give the networks as many epochs as the budget has time for; once planned, a resumed run keeps them."""
    store = run.directory.store
    if "epochs" not in clock.record:
        stage = store.stage("search")
        names = stage.record.get("finalists", [stage.record["winner"]])
        planned = planned_again(run, [run.blank.space.parse(name) for name in names])
        if planned is not None and planned.num < len(names):
            store.put_stage(replace(stage, record={**stage.record, "finalists": names[: planned.num]}))
        clock.record["epochs"] = None if planned is None else planned.epochs
        clock.record["training_seconds"] = None if planned is None else planned.seconds
        clock.save()
    keep_plan(run)


def keep_plan(run: Run) -> float | None:
    """Give a run the epochs that its budget left for each network, and return the seconds of each training.

    Without a budget, or before these are planned, nothing changes and there are no seconds.
    """
    record = run.directory.store.stage("retrain").record
    if record.get("epochs") is not None:
        run.config = run.config.model_copy(update={"retrain_epochs": record["epochs"]})
    seconds: float | None = record.get("training_seconds")
    return seconds


def plan_networks(run: Run) -> list[PlannedNetwork]:
    """Return the networks to train: the winner from each start asked for, the baseline from the first of these."""
    config = run.config
    found = searched_winner(run)
    assert config.finish is not None, "the configuration is resolved"
    starts = starts_of(config.finish)
    members = [("winner", start, found) for start in starts]
    baseline = draw_baseline(run, found)
    members += [(f"baseline-{index}", starts[0], member) for index, member in enumerate(baseline)]
    inherited = _inherited_accuracies(run, [found, *baseline])
    roles = list(dict.fromkeys(role for role, _, _ in members))
    seeds = {role: network_seed(config.seed, step) for step, role in enumerate(roles)}
    return [
        PlannedNetwork(role, start, str(architecture), seeds[role], inherited[str(architecture)])
        for role, start, architecture in members
    ]


def draw_baseline(run: Run, winner: Architecture) -> list[Architecture]:
    """Draw distinct random architectures that meet the limits, none of them the winner.

    Under a limit on latency they are drawn under the same screen as the winner and measured in the same way; an
    architecture that is measured over the limit is left out.

    Args:
        run: the run, whose search has finished.
        winner: the architecture that the search found.

    Returns:
        `num_baselines` architectures; fewer if not enough were found.
    """
    limit_ms, num, limits = run.config.limit_ms, run.config.num_baselines, run.limits
    if limit_ms is not None:
        limits["max_latency_ms"] = run.directory.store.stage("search").record["screen_ms"]
    feasible = run.legal(limits)
    drawn: dict[Architecture, None] = {winner: None}
    taken: list[Architecture] = []
    rng = generator(run.config.seed, "baseline")
    if limit_ms is not None and num:
        run.progress.begin("measuring the random baseline", num)
    for _ in range(_MOST_DRAWS):
        if len(taken) >= num or len(drawn) > num + _MOST_REFUSED:
            break
        for architecture in run.blank.space.architectures(feasible.sample(num, rng)):
            if architecture in drawn or len(taken) >= num:
                continue
            drawn[architecture] = None
            if limit_ms is None or run.latencies.is_within(run.latencies.measure(architecture)):
                taken.append(architecture)
                if limit_ms is not None:
                    run.progress.advance(len(taken))
    if limit_ms is not None and len(taken) < num:
        run.progress.note(
            f"{len(taken)} of {num} random architectures: {len(drawn) - 1 - len(taken)} more were drawn, but not "
            f"measured within {limit_ms:g} ms"
        )
    return taken


def chosen_start(networks: list[NetworkRow]) -> str:
    """Return the start of the winner's training that is exported: the better on validation, scratch on a tie.

    Args:
        networks: rows of the trained networks; at least one of role "winner".
    """
    rows = [row for row in networks if row.role == "winner"]
    return max(rows, key=lambda row: (row.retrained_validation or 0.0, row.start == "scratch")).start


def _inherited_accuracies(run: Run, architectures: list[Architecture]) -> dict[str, float | None]:
    known = {trial.architecture: trial.accuracy for trial in run.directory.store.trials()}
    estimator = None
    for architecture in architectures:
        if str(architecture) not in known:
            if estimator is None:
                job, method = RunJob(run), run.config.options
                estimator = method.search(job, job.trained(method)).estimator
            value = estimator.estimate(architecture).accuracy
            known[str(architecture)] = value if math.isfinite(value) else None
    return known


def _store(run: Run, network: PlannedNetwork, trained: TrainedNetwork) -> None:
    stored = run.directory.store.curves().get(network.name, [])
    if [point.update_number for point in stored] != [point.update for point in trained.curve]:
        # A worker's checkpoint can be ahead of the points that a killed run had received from it.
        for point in trained.curve:
            store_point(run, network.name, point)
    row = NetworkRow(
        network.role,
        network.start,
        network.architecture,
        network.seed,
        inherited_validation=network.inherited_validation,
        costs=run.costs(run.blank.space.parse(network.architecture)),
        retrained_validation=trained.validation,
        retrained_test=None,
        seconds=trained.seconds,
    )
    if trained.weights is not None:
        run.keep_digest(network.name, trained.weights)
    run.directory.store.put_network(row)
    run.directory.checkpoint(network.name).remove()


def _test(run: Run, network: PlannedNetwork) -> None:
    rows = {(row.role, row.start): row for row in run.directory.store.networks()}
    row = rows[network.role, network.start]
    if row.retrained_test is None:
        run.directory.store.put_network(replace(row, retrained_test=network_score(run, network, "test")))


def _note_difference(run: Run) -> None:
    rows = {row.start: row for row in run.directory.store.networks() if row.role == "winner"}
    metric = run.metric_name
    for row in rows.values():
        run.progress.note(
            f"winner from {row.start}: {metric} {run.shown_score(row.retrained_validation or 0)} in validation, "
            f"{run.shown_score(row.retrained_test or 0)} on the test set"
        )
    if len(rows) == 2:
        difference = (rows["scratch"].retrained_test or 0) - (rows["inherited"].retrained_test or 0)
        run.progress.note(f"scratch minus inherited: {difference:+.4f} {metric} on the test set")
