"""The stage `retrain`: the winner and a random baseline, each trained on its own, and tested once at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from onepath.pipeline.context import Run, StageClock
from onepath.pipeline.parallel import train_at_once
from onepath.pipeline.searching import best_trial, make_estimator
from onepath.pipeline.standalone import PlannedNetwork, TrainedNetwork, accuracy, train_network
from onepath.pipeline.training import store_point, watch
from onepath.randomness import generator
from onepath.record import NetworkRow

if TYPE_CHECKING:
    from onepath.space import Architecture

_MOST_DRAWS = 100


def retrain_stage(run: Run) -> None:
    """Train the winner and the baseline with the same budget, then evaluate each on the test set, once.

    Killed, it continues inside the networks that were in training.
    """
    with run.stage("retrain") as clock:
        if "networks" not in clock.record:
            clock.record["networks"] = [asdict(network) for network in plan_networks(run)]
            clock.save()
        networks = [PlannedNetwork(**network) for network in clock.record["networks"]]
        _train(run, clock, networks)
        for network in networks:
            _test(run, network)
            clock.tick()
        clock.record["exported"] = chosen_start(run.directory.store.networks())
    _note_difference(run)


def plan_networks(run: Run) -> list[PlannedNetwork]:
    """What to train: the winner from each start asked for, and the baseline from the first of these."""
    config, space = run.config, run.blank.space
    winner = space.parse(best_trial(run.directory.store.trials()).architecture)
    starts = ("scratch", "inherited") if config.retrain_from == "both" else (config.retrain_from,)
    members = [("winner", start, winner) for start in starts]
    baseline = draw_baseline(run, winner)
    members += [(f"baseline-{index}", starts[0], member) for index, member in enumerate(baseline)]
    inherited = _inherited_accuracies(run, [winner, *baseline])
    roles = list(dict.fromkeys(role for role, _, _ in members))
    seeds = {
        role: int(generator(config.seed, "retrain", step).integers(2**31)) for step, role in enumerate(roles)
    }
    return [
        PlannedNetwork(role, start, str(architecture), seeds[role], inherited[str(architecture)])
        for role, start, architecture in members
    ]


def draw_baseline(run: Run, winner: Architecture) -> list[Architecture]:
    """Distinct random architectures that meet the limits, without the winner; fewer where there are not enough."""
    drawn: dict[Architecture, None] = {}
    rng = generator(run.config.seed, "baseline")
    for _ in range(_MOST_DRAWS):
        if len(drawn) >= run.config.num_baselines:
            break
        matrix = run.feasible.sample(run.config.num_baselines, rng)
        drawn.update(dict.fromkeys(run.blank.space.architectures(matrix)))
        drawn.pop(winner, None)
    return list(drawn)[: run.config.num_baselines]


def chosen_start(networks: list[NetworkRow]) -> str:
    """Which of the winner's trainings is handed over: the better one on the validation split, scratch on a tie."""
    rows = [row for row in networks if row.role == "winner"]
    return max(rows, key=lambda row: (row.retrained_validation or 0.0, row.start == "scratch")).start


def _inherited_accuracies(run: Run, architectures: list[Architecture]) -> dict[str, float | None]:
    known = {trial.architecture: trial.accuracy for trial in run.directory.store.trials()}
    estimator = None
    for architecture in architectures:
        if str(architecture) not in known:
            estimator = make_estimator(run) if estimator is None else estimator
            known[str(architecture)] = estimator.estimate(architecture).accuracy
    return known


def _train(run: Run, clock: StageClock, networks: Sequence[PlannedNetwork]) -> None:
    """Train the networks that are not trained yet: several at a time in workers, or one by one in this process."""

    def on_trained(network: PlannedNetwork, trained: TrainedNetwork) -> None:
        _store(run, network, trained)

    stored = {(row.role, row.start) for row in run.directory.store.networks()}
    left = [network for network in networks if (network.role, network.start) not in stored]
    assert run.config.workers is not None, "the configuration is resolved"
    # Of all the networks and not of those that are left, for the threads of each depend on it.
    num_workers = min(run.config.workers, len(networks)) if run.is_loadable else 1
    if num_workers > 1 and left:
        train_at_once(
            run, clock, left, num_planned=len(networks), num_workers=num_workers, on_trained=on_trained
        )
        return
    for network in left:
        position = networks.index(network) + 1
        title = f"retraining {network.name} ({position} of {len(networks)})"
        on_point, on_update = watch(run, clock, network.name, title)
        seconds = run.checkpoint_seconds
        trained = train_network(
            run, network, checkpoint_seconds=seconds, on_point=on_point, on_update=on_update
        )
        run.progress.finish()
        on_trained(network, trained)


def _store(run: Run, network: PlannedNetwork, trained: TrainedNetwork) -> None:
    stored = run.directory.store.curves().get(network.name, [])
    if [point.update_number for point in stored] != [point.update for point in trained.curve]:
        # A worker's checkpoint can be ahead of the points that a killed run had heard of.
        for point in trained.curve:
            store_point(run, network.name, point)
    macs, params = run.cost(run.blank.space.parse(network.architecture))
    row = NetworkRow(
        **asdict(network),
        macs=macs,
        params=params,
        retrained_validation=trained.validation,
        retrained_test=None,
        seconds=trained.seconds,
    )
    run.directory.store.put_network(row)
    run.directory.checkpoint(network.name).remove()


def _test(run: Run, network: PlannedNetwork) -> None:
    rows = {(row.role, row.start): row for row in run.directory.store.networks()}
    row = rows[network.role, network.start]
    if row.retrained_test is None:
        run.directory.store.put_network(replace(row, retrained_test=accuracy(run, network, "test")))


def _note_difference(run: Run) -> None:
    rows = {row.start: row for row in run.directory.store.networks() if row.role == "winner"}
    for row in rows.values():
        run.progress.note(
            f"winner from {row.start}: validation accuracy {row.retrained_validation or 0:.4f}, "
            f"test accuracy {row.retrained_test or 0:.4f}"
        )
    if len(rows) == 2:
        difference = (rows["scratch"].retrained_test or 0) - (rows["inherited"].retrained_test or 0)
        run.progress.note(f"scratch minus inherited: {difference:+.4f} test accuracy")
