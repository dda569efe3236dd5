"""The stage `retrain`: the winner and a random baseline, each trained on its own, and tested once at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from onepath.pipeline.context import Run, StageClock
from onepath.pipeline.searching import best_trial, make_estimator
from onepath.pipeline.training import watch
from onepath.randomness import generator
from onepath.record import NetworkRow, save_tensors

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Split
    from onepath.space import Architecture

_MOST_DRAWS = 100


@dataclass(frozen=True)
class PlannedNetwork:
    """A network to train: see `NetworkRow` for the fields."""

    role: str
    start: str
    architecture: str
    seed: int
    inherited_validation: float | None

    @property
    def name(self) -> str:
        """Of its curve and its files."""
        return f"{self.role}-{self.start}"


def retrain_stage(run: Run) -> None:
    """Train the winner and the baseline with the same budget, then evaluate each on the test set, once.

    Killed, it continues inside the network that was in training.
    """
    with run.stage("retrain") as clock:
        if "networks" not in clock.record:
            clock.record["networks"] = [asdict(network) for network in plan_networks(run)]
            clock.save()
        networks = [PlannedNetwork(**network) for network in clock.record["networks"]]
        trained = {(row.role, row.start) for row in run.directory.store.networks()}
        for position, network in enumerate(networks, start=1):
            if (network.role, network.start) not in trained:
                _train(run, clock, network, f"retraining {network.name} ({position} of {len(networks)})")
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


def _train(run: Run, clock: StageClock, network: PlannedNetwork, title: str) -> None:
    from onepath.train import train_model

    config = run.config
    architecture = run.blank.space.parse(network.architecture)
    model = _initial(run, network, architecture)
    checkpoint = run.directory.checkpoint(network.name, run.checkpoint_seconds)
    on_point, on_update = watch(run, clock, network.name, title)
    curve = train_model(
        model,
        run.task,
        recipe=run.recipe(retrain=True),
        seed=network.seed,
        device=config.train_on,
        checkpoint=checkpoint,
        on_point=on_point,
        on_update=on_update,
    )
    run.progress.finish()
    save_tensors(run.directory.weights_path(network.name), model.state_dict())
    macs, params = run.cost(architecture)
    validation = _accuracy(run, network, "validation")
    seconds = curve[-1].seconds if curve else 0.0
    row = NetworkRow(
        **asdict(network),
        macs=macs,
        params=params,
        retrained_validation=validation,
        retrained_test=None,
        seconds=seconds,
    )
    run.directory.store.put_network(row)
    checkpoint.remove()


def _initial(run: Run, network: PlannedNetwork, architecture: Architecture) -> nn.Module:
    if network.start == "inherited":
        return run.trained.extract(architecture, inherit=True)
    return run.blank.extract(architecture, inherit=False, seed=network.seed)


def _test(run: Run, network: PlannedNetwork) -> None:
    rows = {(row.role, row.start): row for row in run.directory.store.networks()}
    row = rows[network.role, network.start]
    if row.retrained_test is None:
        run.directory.store.put_network(replace(row, retrained_test=_accuracy(run, network, "test")))


def _accuracy(run: Run, network: PlannedNetwork, split: Split) -> float:
    """Of the weights on the disk, so that a kill before the evaluation changes nothing."""
    from onepath.train import evaluate

    architecture = run.blank.space.parse(network.architecture)
    model = run.network(architecture, network.start, run.directory.weights_path(network.name))
    found = evaluate(model, run.task, split, device=run.config.train_on, precision=run.config.precision)
    return found.metric


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
